//! What handles ask of the driver, and how they reach it.
//!
//! Asynchronous calls use two bounded channels: one for publishes, which the driver leaves waiting while the
//! links are full, and one for everything else. What is said from synchronous code (consumed messages, dropped
//! handles) goes through [`Wake`], which cannot be full.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use slim_auth::{Identity, Verifier};
use slim_config::ClientConfig;
use slim_proto::FullName;
use slim_session::{Command, Counters, Outcome, SessionId, SessionSnapshot};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot};

use crate::app::AppShared;
use crate::driver::connection::ConnectionId;
use crate::error::Error;
use crate::identity::KeyQuestions;
use crate::invitation::AppOptions;
use crate::session::SessionShared;

/// Requests that wait for the driver, each lane: a burst of one request per caller of a busy process.
pub(crate) const REQUESTS_MAX: usize = 256;

/// Number of an application in its service, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AppKey(pub(crate) u64);

pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// Everything but publishes.
#[derive(Debug)]
pub(crate) enum Request {
    CreateApp {
        name: FullName,
        identity: Identity,
        verifier: Verifier,
        keys: Option<KeyQuestions>,
        options: AppOptions,
        reply: Reply<NewApp>,
    },
    UseVerifier {
        app: AppKey,
        verifier: Verifier,
        keys: Option<KeyQuestions>,
        reply: Reply<()>,
    },
    KeysFetched {
        app: AppKey,
        fetcher: u64,
        verifier: Verifier,
    },
    UseIdentity {
        app: AppKey,
        identity: Identity,
        reply: Reply<()>,
    },
    /// A command that opens a session.
    Open {
        app: AppKey,
        command: Box<Command>,
        reply: Reply<Arc<SessionShared>>,
    },
    Command(CommandRequest),
    Snapshot {
        app: AppKey,
        session: SessionId,
        reply: Reply<Option<SessionSnapshot>>,
    },
    Counters {
        app: AppKey,
        reply: Reply<Counters>,
    },
    CloseApp {
        app: AppKey,
        reply: Reply<()>,
    },
    Connect {
        config: Box<ClientConfig>,
        reply: Reply<ConnectionId>,
    },
    SetRoute {
        name: FullName,
        connection: ConnectionId,
        reply: Reply<()>,
    },
    RemoveRoute {
        name: FullName,
        reply: Reply<()>,
    },
    Disconnect {
        connection: ConnectionId,
        reply: Reply<()>,
    },
    Shutdown {
        flush: Duration,
    },
}

/// A command for an endpoint. The permit, if any, is given back when the command ended.
#[derive(Debug)]
pub(crate) struct CommandRequest {
    pub(crate) app: AppKey,
    pub(crate) command: Command,
    pub(crate) permit: Option<OwnedSemaphorePermit>,
    pub(crate) reply: Reply<Outcome>,
}

/// The way from handles to the driver.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    pub(crate) control: mpsc::Sender<Request>,
    pub(crate) publishes: mpsc::Sender<CommandRequest>,
    pub(crate) wake: Arc<Wake>,
}

/// The driver's ends.
#[derive(Debug)]
pub(crate) struct RequestQueues {
    pub(crate) control: mpsc::Receiver<Request>,
    pub(crate) publishes: mpsc::Receiver<CommandRequest>,
    pub(crate) wake: Arc<Wake>,
}

pub(crate) fn channel() -> (Requests, RequestQueues) {
    let (control, control_queue) = mpsc::channel(REQUESTS_MAX);
    let (publishes, publish_queue) = mpsc::channel(REQUESTS_MAX);
    let wake = Arc::new(Wake::default());
    let requests = Requests {
        control,
        publishes,
        wake: Arc::clone(&wake),
    };
    (
        requests,
        RequestQueues {
            control: control_queue,
            publishes: publish_queue,
            wake,
        },
    )
}

impl Requests {
    /// Asks and waits for the answer. A driver that stops answers everything with [`Error::Closed`].
    pub(crate) async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.control
            .send(request(reply))
            .await
            .map_err(|_| Error::Closed)?;
        answer.await.unwrap_or(Err(Error::Closed))
    }

    /// Like [`ask`](Self::ask), for a command without permit.
    pub(crate) async fn command(&self, app: AppKey, command: Command) -> Result<Outcome, Error> {
        self.ask(|reply| {
            Request::Command(CommandRequest {
                app,
                command,
                permit: None,
                reply,
            })
        })
        .await
    }

    /// Like [`command`](Self::command) on the lane of publishes; resolves when the driver will take it in its turn.
    pub(crate) async fn publish(
        &self,
        app: AppKey,
        command: Command,
        permit: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Result<Outcome, Error>>, Error> {
        let (reply, answer) = oneshot::channel();
        let request = CommandRequest {
            app,
            command,
            permit: Some(permit),
            reply,
        };
        self.publishes.send(request).await.map_err(|_| Error::Closed)?;
        Ok(answer)
    }
}

/// A created application on its way to its first handle. Dropped on the way, the application closes.
#[derive(Debug)]
pub(crate) struct NewApp {
    pub(crate) shared: Arc<AppShared>,
    pub(crate) lease: AppLease,
}

/// Held by the handles of an application; its drop abandons the application.
#[derive(Debug)]
pub(crate) struct AppLease {
    app: AppKey,
    wake: Arc<Wake>,
}

impl AppLease {
    pub(crate) fn new(app: AppKey, wake: Arc<Wake>) -> Self {
        Self { app, wake }
    }
}

impl Drop for AppLease {
    fn drop(&mut self) {
        let app = self.app;
        self.wake.leave(|left| {
            left.abandoned.insert(app);
        });
    }
}

/// Facts that synchronous code leaves for the driver. Each is bounded by what exists: sessions, applications.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    left: Mutex<Left>,
    notify: Notify,
}

/// What was left since the driver last looked.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Sessions whose inbox has consumption to report.
    pub(crate) consumed: BTreeSet<(AppKey, SessionId)>,
    /// Applications without handles.
    pub(crate) abandoned: BTreeSet<AppKey>,
    /// No handle of the service is left: stop, with this much time to flush.
    pub(crate) abandoned_service: Option<Duration>,
}

impl Wake {
    pub(crate) fn leave(&self, note: impl FnOnce(&mut Left)) {
        note(&mut self.left.lock().unwrap_or_else(PoisonError::into_inner));
        self.notify.notify_one();
    }

    /// Waits until something was left. For one waiter.
    pub(crate) async fn left(&self) {
        self.notify.notified().await;
    }

    pub(crate) fn collect(&self) -> Left {
        std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
