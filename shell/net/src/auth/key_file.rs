//! Keys in a file that may change while the node runs.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use slim_auth::{JwtRules, LinkVerifier};
use slim_config::JwtKey;
use slim_proto::Instant;
use tokio::sync::Mutex;

use super::authenticator::AuthSetupError;
use super::files;
use crate::clock::Clock;
use crate::configured_key::checking_keys;

/// The file is looked at this often, and only when a token is to be checked.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Follows the file: a good new version counts from the next token on, a broken one is named once in the log and
/// changes nothing.
pub(super) struct KeyFile {
    key: JwtKey,
    path: PathBuf,
    rules: JwtRules,
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    verifier: LinkVerifier,
    /// When the version that was last looked at was written, good or not.
    written: Option<SystemTime>,
    looked: Instant,
}

impl KeyFile {
    pub(super) async fn load(
        key: &JwtKey,
        path: &Path,
        rules: JwtRules,
        clock: Clock,
    ) -> Result<Self, AuthSetupError> {
        let (text, written) = files::read(path).await?;
        let verifier = LinkVerifier::fixed(checking_keys(key, &text)?, rules.clone());
        Ok(Self {
            key: key.clone(),
            path: path.to_owned(),
            rules,
            clock,
            state: Mutex::new(State {
                verifier,
                written,
                looked: clock.monotonic(),
            }),
        })
    }

    /// The verifier of now.
    pub(super) async fn verifier(&self) -> LinkVerifier {
        let mut state = self.state.lock().await;
        let now = self.clock.monotonic();
        if now.saturating_since(state.looked) >= LOOK_INTERVAL {
            state.looked = now;
            let written = files::written(&self.path).await;
            if written != state.written {
                state.written = written;
                self.reload(&mut state).await;
            }
        }
        state.verifier.clone()
    }

    async fn reload(&self, state: &mut State) {
        let path = self.path.display();
        let read = match files::read(&self.path).await {
            Ok((text, _)) => checking_keys(&self.key, &text).map_err(AuthSetupError::from),
            Err(error) => Err(AuthSetupError::File(error)),
        };
        match read {
            Ok(keys) => {
                tracing::info!(%path, keys = keys.len(), "the keys that check tokens were read again");
                state.verifier = LinkVerifier::fixed(keys, self.rules.clone());
            }
            Err(error) => {
                tracing::warn!(%path, %error, "the keys that check tokens changed and cannot be used; keeping the old ones");
            }
        }
    }
}
