//! Fetching the keys of issuers for one application. When and where is decided by `slim_auth::KeyResolver`; this task
//! fetches, keeps the time, and hands verifiers to the driver.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use slim_auth::{Fetch, FetchId, KeyResolver, Verifier};
use slim_crypto::os_seed;
use slim_http::{HttpClient, HttpOptions, HttpUrl};
use slim_net::Clock;
use slim_proto::Now;
use slim_proto::limits::ISSUERS_MAX;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep_until, timeout};

use super::source::IdentitySetupError;
use crate::request::{AppKey, Request, Requests};

/// `create_app` waits so long for the first keys. Later ones are taken into use when they come.
const FIRST_KEYS_MAX: Duration = Duration::from_secs(5);
/// A resolver always has a next deadline; nothing depends on this one.
const IDLE: Duration = Duration::from_secs(3600);

/// How the driver tells the task which issuer's keys are wanted. The task ends when this is dropped.
#[derive(Debug)]
pub(crate) struct KeyQuestions {
    /// Which task; a verifier of an earlier one is of no use any more.
    pub(crate) fetcher: u64,
    questions: mpsc::Sender<Arc<str>>,
}

impl KeyQuestions {
    /// Says that newer keys of this issuer are wanted. If too many questions wait, so does this one's answer already.
    pub(crate) fn ask(&self, issuer: Arc<str>) {
        _ = self.questions.try_send(issuer);
    }
}

/// A verifier, and the task that fetches keys for it if its issuers publish them.
pub(crate) struct KeyFetcher {
    /// With the first keys, if they came in time.
    pub(crate) verifier: Verifier,
    pub(crate) questions: Option<KeyQuestions>,
    pub(crate) binding: Binding,
}

/// Binds a task to its application, once that exists.
pub(crate) struct Binding(Option<watch::Sender<Option<Customer>>>);

/// Whose verifier it is, and where new ones go.
type Customer = (AppKey, Requests);

impl KeyFetcher {
    /// Starts to fetch and waits a moment for the first keys. A verifier with fixed keys needs no task.
    pub(crate) async fn start(
        runtime: &Handle,
        verifier: Verifier,
        options: HttpOptions,
    ) -> Result<Self, IdentitySetupError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);

        if verifier.resolved_issuers().is_empty() {
            return Ok(Self {
                verifier,
                questions: None,
                binding: Binding(None),
            });
        }
        let (questions, wanted) = mpsc::channel(ISSUERS_MAX);
        let (app, customer) = watch::channel(None);
        let (first, mut first_round) = watch::channel(None);
        let fetcher = NEXT.fetch_add(1, Ordering::Relaxed);
        // All of it on the service's own runtime: callers poll their futures wherever they like.
        let verifier = runtime.spawn(async move {
            let clock = Clock::start();
            let plain_text = options.plain_text_anywhere;
            let resolver = KeyResolver::new(verifier.clone(), plain_text, clock.now(), os_seed())?;
            // The system's list of CAs is a file.
            let client = spawn_blocking(move || HttpClient::new(&options)).await;
            let Ok(client) = client else { return Ok(verifier) };
            let task = Task {
                resolver,
                client: client?,
                clock,
                fetches: JoinSet::new(),
                fetcher,
            };
            tokio::spawn(task.run(wanted, customer, first));
            let first = timeout(FIRST_KEYS_MAX, first_round.wait_for(Option::is_some)).await;
            let first = first.ok().and_then(|first| first.ok()?.clone());
            Ok(first.unwrap_or(verifier))
        });
        let verifier = verifier.await.unwrap_or(Err(IdentitySetupError::Stopping))?;
        Ok(Self {
            verifier,
            questions: Some(KeyQuestions { fetcher, questions }),
            binding: Binding(Some(app)),
        })
    }
}

impl Binding {
    /// From here on the driver gets every new verifier.
    pub(crate) fn to(self, key: AppKey, requests: Requests) {
        if let Some(app) = self.0 {
            app.send_replace(Some((key, requests)));
        }
    }
}

struct Task {
    resolver: KeyResolver,
    client: HttpClient,
    clock: Clock,
    fetches: JoinSet<(FetchId, Result<bytes::Bytes, Arc<str>>)>,
    fetcher: u64,
}

impl Task {
    async fn run(
        mut self,
        mut wanted: mpsc::Receiver<Arc<str>>,
        mut app: watch::Receiver<Option<Customer>>,
        first: watch::Sender<Option<Verifier>>,
    ) {
        let mut told = false;
        loop {
            self.start_fetches();
            if self.has_tried_all() {
                first.send_if_modified(|verifier| {
                    let is_first = verifier.is_none();
                    verifier.get_or_insert_with(|| self.resolver.verifier().clone());
                    is_first
                });
            }
            let bound = app.borrow().clone();
            if let Some((key, requests)) = bound {
                let news = self.resolver.poll_verifier();
                // What came between the first keys and the application's start is news too.
                let news = news.or_else(|| (!told).then(|| self.resolver.verifier().clone()));
                told = true;
                if let Some(verifier) = news {
                    let request = Request::KeysFetched {
                        app: key,
                        fetcher: self.fetcher,
                        verifier,
                    };
                    if requests.control.send(request).await.is_err() {
                        return;
                    }
                }
            }
            let deadline = self.resolver.poll_timeout().map(|(at, _)| at);
            let deadline = deadline.unwrap_or_else(|| self.now().mono + IDLE);
            tokio::select! {
                issuer = wanted.recv() => {
                    // The application is gone.
                    let Some(issuer) = issuer else { return };
                    self.resolver.ask_again(self.now(), &issuer);
                }
                changed = app.changed(), if !told => {
                    if changed.is_err() && app.borrow().is_none() {
                        return;
                    }
                }
                Some(fetched) = self.fetches.join_next() => {
                    // A fetch that was cut off is over by the resolver's own deadline.
                    if let Ok((id, result)) = fetched {
                        let result = result.as_deref().map_err(Arc::clone);
                        self.resolver.handle_fetched(self.now(), id, result);
                    }
                }
                () = sleep_until(self.clock.timer(deadline)) => self.resolver.handle_timeout(self.now()),
            }
        }
    }

    fn now(&self) -> Now {
        self.clock.now()
    }

    fn has_tried_all(&self) -> bool {
        let issuers = self.resolver.verifier().resolved_issuers();
        !issuers.iter().any(|issuer| self.resolver.is_fetching(issuer))
    }

    fn start_fetches(&mut self) {
        while let Some(Fetch { id, url, issuer }) = self.resolver.poll_fetch() {
            let client = self.client.clone();
            self.fetches.spawn(async move {
                let fetched = match HttpUrl::parse(&url) {
                    Ok(url) => client.fetch(&url).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = &fetched {
                    tracing::debug!(%issuer, %error, "keys of an issuer cannot be fetched");
                }
                let result = fetched.map(|answer| answer.body);
                (id, result.map_err(|error| error.to_string().into()))
            });
        }
    }
}
