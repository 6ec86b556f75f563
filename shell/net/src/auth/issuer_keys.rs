//! Keys that token issuers publish, kept up to date by a task of their listener.
//!
//! When to fetch what is decided by [`KeyResolver`]; here are the requests. A call whose token needs keys that are
//! being fetched waits for them, but not longer than a call may take.

use std::sync::Arc;
use std::time::Duration;

use slim_auth::{FetchId, IdentityError, KeyResolver, LinkClaims, LinkVerifier};
use slim_crypto::os_seed;
use slim_http::{HttpClient, HttpOptions, HttpUrl};
use slim_proto::limits::{ISSUERS_MAX, LINK_KEYS_WAIT_MAX};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::authenticator::AuthSetupError;
use super::oidc::build;
use crate::clock::Clock;

/// The verifier of now, and the task that renews it.
pub(super) struct IssuerKeys {
    verifier: watch::Receiver<LinkVerifier>,
    asks: mpsc::Sender<Ask>,
    clock: Clock,
    task: AbortHandle,
}

/// A token names a key that nobody knows yet. The answer: a fetch is on its way.
struct Ask {
    issuer: Arc<str>,
    fetching: oneshot::Sender<bool>,
}

struct Task {
    resolver: KeyResolver<LinkVerifier>,
    http: HttpClient,
    /// Keys are fetched anew at this age, if that is sooner than the resolver does it anyway.
    keys_life: Duration,
    clock: Clock,
    verifier: watch::Sender<LinkVerifier>,
    asks: mpsc::Receiver<Ask>,
}

impl IssuerKeys {
    /// Begins to fetch. An issuer that cannot be reached keeps nobody from starting: its tokens are refused as long
    /// as that lasts.
    pub(super) async fn start(
        verifier: LinkVerifier,
        request_timeout: Duration,
        keys_life: Duration,
        clock: Clock,
    ) -> Result<Self, AuthSetupError> {
        let issuers = verifier.issuers_without_keys();
        let resolver = KeyResolver::new(verifier.clone(), false, clock.now(), os_seed());
        let resolver = resolver.map_err(AuthSetupError::Rules)?;
        let options = HttpOptions {
            timeout: request_timeout,
            plain_text_only: issuers.iter().all(|issuer| issuer.starts_with("http://")),
            ..HttpOptions::default()
        };
        let http = build(options).await?;
        let (sender, receiver) = watch::channel(verifier);
        // One question per issuer is enough; who finds the queue full waits for the answer to another's.
        let (asks_sender, asks) = mpsc::channel(ISSUERS_MAX);
        let task = Task {
            resolver,
            http,
            keys_life,
            clock,
            verifier: sender,
            asks,
        };
        Ok(Self {
            verifier: receiver,
            asks: asks_sender,
            clock,
            task: tokio::spawn(task.run()).abort_handle(),
        })
    }

    /// Judges a token with the keys of now, or with those that are on their way.
    pub(super) async fn verify(&self, token: &str) -> Result<LinkClaims, IdentityError> {
        let deadline = Instant::now() + LINK_KEYS_WAIT_MAX;
        let mut receiver = self.verifier.clone();
        let mut asked = false;
        loop {
            let verifier = receiver.borrow_and_update().clone();
            let error = match verifier.verify(token, self.clock.now().unix) {
                Ok(claims) => return Ok(claims),
                Err(error) => error,
            };
            let are_coming = match verifier.issuer_to_ask_again(token) {
                Some(issuer) if !asked => {
                    asked = true;
                    self.ask(issuer, deadline).await
                }
                // The first fetch is under way since the start.
                _ => matches!(error, IdentityError::KeysUnavailable { .. }),
            };
            if !are_coming || !matches!(timeout_at(deadline, receiver.changed()).await, Ok(Ok(()))) {
                return Err(error);
            }
        }
    }

    /// True if newer keys of this issuer are on their way.
    async fn ask(&self, issuer: Arc<str>, deadline: Instant) -> bool {
        let (fetching, answer) = oneshot::channel();
        let asked = async {
            self.asks.send(Ask { issuer, fetching }).await.ok()?;
            answer.await.ok()
        };
        timeout_at(deadline, asked).await.ok().flatten().unwrap_or(false)
    }
}

impl Drop for IssuerKeys {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Task {
    async fn run(mut self) {
        let mut fetches = JoinSet::new();
        let mut renewal = Instant::now() + self.keys_life;
        loop {
            while let Some(fetch) = self.resolver.poll_fetch() {
                fetches.spawn(request(self.http.clone(), fetch.id, fetch.url));
            }
            if let Some(verifier) = self.resolver.poll_verifier() {
                self.verifier.send_replace(verifier);
            }
            let due = self.resolver.poll_timeout().map(|(at, _)| self.clock.timer(at));
            let due = due.map_or(renewal, |due| due.min(renewal));
            tokio::select! {
                ask = self.asks.recv() => {
                    let Some(Ask { issuer, fetching }) = ask else { return };
                    self.resolver.ask_again(self.clock.now(), &issuer);
                    // Who asked may not wait any more.
                    let _ = fetching.send(self.resolver.is_fetching(&issuer));
                }
                Some(fetched) = fetches.join_next() => {
                    let Ok((id, result)) = fetched else { continue };
                    let result = match &result {
                        Ok(body) => Ok(&body[..]),
                        Err(reason) => Err(Arc::clone(reason)),
                    };
                    self.resolver.handle_fetched(self.clock.now(), id, result);
                }
                () = sleep_until(due) => {
                    if Instant::now() >= renewal {
                        renewal = Instant::now() + self.keys_life;
                        self.renew();
                    }
                    self.resolver.handle_timeout(self.clock.now());
                }
            }
        }
    }

    fn renew(&mut self) {
        for issuer in slim_auth::HoldsKeys::resolved_issuers(self.resolver.verifier()) {
            self.resolver.ask_again(self.clock.now(), &issuer);
        }
    }
}

async fn request(http: HttpClient, id: FetchId, url: String) -> (FetchId, Result<bytes::Bytes, Arc<str>>) {
    let fetch = async { http.fetch(&HttpUrl::parse(&url)?).await };
    let result = fetch.await.map(|answer| answer.body);
    if let Err(error) = &result {
        tracing::warn!(%error, "keys that check tokens cannot be fetched");
    }
    (id, result.map_err(|error| error.to_string().into()))
}
