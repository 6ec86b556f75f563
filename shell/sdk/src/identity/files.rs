//! Keys and tokens in files, read again when they change. A file that cannot be used keeps what was there before and
//! says so, once for each change.

use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::{Duration, SystemTime};

use slim_auth::{Identity, Verifier};
use slim_crypto::SignatureKind;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::provider::IdentityProvider;
use super::source::IdentitySetupError;
use super::spire::FromAgent;
use super::verifier::IdentityVerifier;
use crate::app::AppHandle;
use crate::error::Error;

/// How often files are looked at: a key that is rotated every few seconds is followed in time.
const INTERVAL: Duration = Duration::from_secs(1);

/// What is followed for one application.
pub(crate) struct Followed {
    provider: IdentityProvider,
    verifier: IdentityVerifier,
    identity: Identity,
    own: Seen,
    others: Seen,
}

impl Followed {
    /// Looks at the files as they are, which is before they are read.
    pub(crate) fn new(
        provider: IdentityProvider,
        verifier: IdentityVerifier,
        agent: &FromAgent,
        kind: SignatureKind,
    ) -> Result<(Self, Verifier), IdentitySetupError> {
        let own = Seen::of(provider.files());
        let others = Seen::of(verifier.files());
        let judge = agent.verifier().map_or_else(|| verifier.verifier(), Ok)?;
        let followed = Self {
            identity: agent
                .identity()
                .map_or_else(|| provider.identity_with(kind), Ok)?,
            provider,
            verifier,
            own,
            others,
        };
        Ok((followed, judge))
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Follows the files until the application is gone.
    pub(crate) fn follow(self, runtime: &Handle, app: Weak<AppHandle>) {
        if !self.own.files.is_empty() || !self.others.files.is_empty() {
            runtime.spawn(self.run(app));
        }
    }

    async fn run(mut self, app: Weak<AppHandle>) {
        loop {
            sleep(INTERVAL).await;
            let looked = spawn_blocking(move || {
                let news = self.look();
                (self, news)
            });
            let Ok((followed, news)) = looked.await else {
                return;
            };
            self = followed;
            // Held no longer than for the answer: the application ends with its last handle of the user.
            let Some(app) = app.upgrade() else { return };
            if let Some(verifier) = news.verifier
                && matches!(app.use_verifier(verifier).await, Err(Error::Closed))
            {
                return;
            }
            if let Some(identity) = news.identity {
                match app.use_identity(identity.clone()).await {
                    Ok(()) => self.identity = identity,
                    Err(Error::Closed) => return,
                    Err(error) => tracing::warn!(%error, "the renewed identity is not used"),
                }
            }
        }
    }

    fn look(&mut self) -> News {
        News {
            identity: take(&mut self.own, "identity", || {
                self.provider.renewed(&self.identity)
            }),
            verifier: take(&mut self.others, "verifier", || self.verifier.verifier()),
        }
    }
}

struct News {
    identity: Option<Identity>,
    verifier: Option<Verifier>,
}

fn take<T>(
    seen: &mut Seen,
    what: &'static str,
    make: impl FnOnce() -> Result<T, IdentitySetupError>,
) -> Option<T> {
    if !seen.has_changed() {
        return None;
    }
    match make() {
        Ok(made) => {
            tracing::info!(files = ?seen.files, what, "read again, since the file has changed");
            Some(made)
        }
        Err(error) => {
            tracing::warn!(%error, what, "a changed file cannot be used; what was read before stays in use");
            None
        }
    }
}

/// Files, and what they looked like.
struct Seen {
    files: Vec<PathBuf>,
    looks: Vec<Look>,
}

/// Enough to notice a change: who replaces a file within a tick of its clock by one of the same length waits for the
/// next change.
type Look = Option<(SystemTime, u64)>;

impl Seen {
    fn of(files: Vec<PathBuf>) -> Self {
        let looks = files.iter().map(|file| look(file)).collect();
        Self { files, looks }
    }

    fn has_changed(&mut self) -> bool {
        let looks: Vec<Look> = self.files.iter().map(|file| look(file)).collect();
        let changed = looks != self.looks;
        self.looks = looks;
        changed
    }
}

fn look(file: &Path) -> Look {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
