//! A session as its application holds it.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{self, Poll, ready};

use bytes::Bytes;
use slim_proto::FullName;
use slim_proto::limits::SEND_WINDOW_MAX;
use slim_session::{
    CloseReason, Command, CommandError, Member, OperationError, Outcome, PublishOutcome, Reliability,
    SessionId, SessionInfo, SessionSnapshot,
};
use tokio::sync::{Semaphore, oneshot};

use crate::app::AppHandle;
use crate::error::Error;
use crate::inbox::{End, Inbox, Item, Taken};
use crate::request::Request;

/// A publish takes one permit of the session's window per this many bytes begun, so that a full window of large
/// messages holds 16 MiB, the egress budget of a link, and not 512 times the largest payload.
const PERMIT_BYTES: usize = 32 * 1024;

/// One session of an [`App`](crate::App). Clones are the same session; dropping them does not end it.
#[derive(Clone)]
pub struct Session {
    shared: Arc<SessionShared>,
    app: Arc<AppHandle>,
}

/// What driver and handles share of a session.
#[derive(Debug)]
pub(crate) struct SessionShared {
    pub(crate) id: SessionId,
    pub(crate) info: Mutex<SessionInfo>,
    pub(crate) inbox: Inbox,
    pub(crate) window: Arc<Semaphore>,
}

impl SessionShared {
    pub(crate) fn new(info: SessionInfo) -> Self {
        Self {
            id: info.id,
            info: Mutex::new(info),
            inbox: Inbox::default(),
            window: Arc::new(Semaphore::new(SEND_WINDOW_MAX)),
        }
    }

    /// Nothing follows: readers get the rest and then the reason, waiting publishers get the reason now.
    pub(crate) fn end(&self, end: End) {
        self.inbox.end(end);
        self.window.close();
    }

    pub(crate) fn update(&self, info: SessionInfo) {
        *self.info.lock().unwrap_or_else(PoisonError::into_inner) = info;
    }
}

/// How to send a message. The default sends type `msg` to everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishOptions {
    /// The application's type text; `None` means `msg`.
    pub payload_type: Option<String>,
    /// Travels in clear; keys of the protocol are refused.
    pub metadata: BTreeMap<String, String>,
    /// Only to this member; a name without id means any one instance in the roster. In a session of
    /// [`App::open_anycast`](crate::App::open_anycast) the receiver, of any name, which must be given.
    pub to: Option<FullName>,
}

/// Result of an invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invited {
    /// The instance that joined.
    pub member: FullName,
    /// Members that did not confirm in time and count as offline.
    pub unreachable: Vec<FullName>,
}

/// Result of a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Who is out.
    pub members: Vec<FullName>,
    /// Members (possibly removed ones) that did not confirm in time.
    pub unreachable: Vec<FullName>,
}

/// What becomes of a message that was given to a session: see [`Session::publish`].
#[derive(Debug)]
pub struct Acknowledgement {
    answer: oneshot::Receiver<Result<Outcome, Error>>,
    session: Session,
}

impl Future for Acknowledgement {
    type Output = Result<PublishOutcome, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.answer).poll(context));
        let outcome = answer.unwrap_or(Err(Error::Closed));
        Poll::Ready(match outcome.map_err(|error| self.session.explain(error)) {
            Ok(Outcome::Published(outcome)) => Ok(outcome),
            Ok(outcome) => Err(foreign("publish", &outcome)),
            Err(error) => Err(error),
        })
    }
}

impl Session {
    pub(crate) fn new(shared: Arc<SessionShared>, app: Arc<AppHandle>) -> Self {
        Self { shared, app }
    }

    /// The session's number.
    pub fn id(&self) -> SessionId {
        self.shared.id
    }

    /// Name, kind and settings. One to one, the destination carries the peer's id once it joined.
    pub fn info(&self) -> SessionInfo {
        self.shared
            .info
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Adds a member (moderator of a group). Resolves when the member can decrypt and every online member has the
    /// new epoch, at the latest after the session's (retries + 1) × interval per step.
    pub async fn invite(&self, name: FullName) -> Result<Invited, Error> {
        let outcome = self
            .command(Command::Invite {
                session: self.id(),
                name,
            })
            .await?;
        let Outcome::Invited { member, unreachable } = outcome else {
            return Err(foreign("invite", &outcome));
        };
        Ok(Invited { member, unreachable })
    }

    /// Removes a member (moderator of a group); a name without id removes every instance of the name.
    pub async fn remove(&self, name: FullName) -> Result<Removed, Error> {
        let outcome = self
            .command(Command::Remove {
                session: self.id(),
                name,
            })
            .await?;
        let Outcome::Removed { members, unreachable } = outcome else {
            return Err(foreign("remove", &outcome));
        };
        Ok(Removed { members, unreachable })
    }

    /// Sends a message. In a reliable session it resolves when everybody expected has acknowledged, or fails with
    /// who did not; in an unreliable one when the message was handed to the link. While too much is
    /// unacknowledged it waits.
    pub async fn publish(&self, payload: Bytes, options: PublishOptions) -> Result<PublishOutcome, Error> {
        self.submit(payload, options).await?.await
    }

    /// The first half of [`publish`](Self::publish): waits while too much is unacknowledged, and resolves when the message
    /// has its place behind those before it. The second half is the returned future; without it the message goes its way
    /// all the same.
    pub async fn submit(&self, payload: Bytes, options: PublishOptions) -> Result<Acknowledgement, Error> {
        let permits = payload.len().div_ceil(PERMIT_BYTES).clamp(1, SEND_WINDOW_MAX);
        // At most SEND_WINDOW_MAX, so the conversion cannot fail.
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        let window = Arc::clone(&self.shared.window);
        let permit = window
            .acquire_many_owned(permits)
            .await
            .map_err(|_| self.ended())?;
        let command = Command::Publish {
            session: self.id(),
            payload,
            payload_type: options.payload_type,
            metadata: options.metadata,
            to: options.to,
        };
        let result = self.app.requests.publish(self.app.key(), command, permit).await;
        Ok(Acknowledgement {
            answer: result.map_err(|error| self.explain(error))?,
            session: self.clone(),
        })
    }

    /// The next item. After the session ended, what is left, then [`Error::SessionClosed`] for ever.
    ///
    /// Cancel-safe: an item leaves the queue only in the poll that returns it.
    pub async fn receive(&self) -> Result<Item, Error> {
        loop {
            if let Some(result) = self.try_receive() {
                return result;
            }
            self.shared.inbox.ready().await;
        }
    }

    /// The next item if there is one now, or the end of the session.
    pub fn try_receive(&self) -> Option<Result<Item, Error>> {
        let Taken { item, report } = match self.shared.inbox.take()? {
            Ok(taken) => taken,
            Err(end) => return Some(Err(self.end_error(end))),
        };
        if report {
            let key = (self.app.key(), self.id());
            self.app.requests.wake.leave(|left| {
                left.consumed.insert(key);
            });
        }
        Some(Ok(item))
    }

    /// Resolves when [`try_receive`](Self::try_receive) would return something. Takes nothing; several tasks may
    /// wait, and one of them may then find the queue empty again.
    pub fn ready(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        async move { shared.inbox.ready().await }
    }

    /// Resolves when the session is over, whatever is still unread.
    pub async fn closed(&self) -> Error {
        let end = self.shared.inbox.finished().await;
        self.end_error(end)
    }

    /// True once the session is over; unread items may be left.
    pub fn is_closed(&self) -> bool {
        self.shared.inbox.ended().is_some()
    }

    /// New timers for what this application sends in a reliable session; others keep theirs.
    pub async fn reconfigure(&self, reliability: Reliability) -> Result<(), Error> {
        let session = self.id();
        self.command(Command::Reconfigure { session, reliability })
            .await?;
        let info = SessionInfo {
            reliability: Some(reliability),
            ..self.info()
        };
        self.shared.update(info);
        Ok(())
    }

    /// Who is in the session, oneself included, ordered by name.
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        Ok(self.snapshot().await?.members)
    }

    /// The state of the session, for display and tests.
    pub async fn snapshot(&self) -> Result<SessionSnapshot, Error> {
        let (app, session) = (self.app.key(), self.id());
        let snapshot = self
            .app
            .requests
            .ask(|reply| Request::Snapshot { app, session, reply })
            .await?;
        snapshot.ok_or_else(|| self.explain(CommandError::SessionUnknown(session).into()))
    }

    /// Goes offline in a group and stays a member.
    pub async fn go_offline(&self) -> Result<(), Error> {
        self.command(Command::GoOffline { session: self.id() })
            .await
            .map(drop)
    }

    /// Comes back online in a group.
    pub async fn go_online(&self) -> Result<(), Error> {
        self.command(Command::GoOnline { session: self.id() })
            .await
            .map(drop)
    }

    /// Ends the session (its initiator) or leaves it (everybody else). Closing a closed session succeeds.
    pub async fn close(&self) -> Result<(), Error> {
        match self.command(Command::Close { session: self.id() }).await {
            Ok(_) | Err(Error::SessionClosed { .. }) => Ok(()),
            // Somebody else's close is under way; it has the core's deadline.
            Err(Error::Command(CommandError::Closing(_))) => {
                self.shared.inbox.finished().await;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Losses and membership changes that were dropped because nobody reads this session.
    pub fn notices_dropped(&self) -> u64 {
        self.shared.inbox.notices_dropped()
    }

    async fn command(&self, command: Command) -> Result<Outcome, Error> {
        let result = self.app.requests.command(self.app.key(), command).await;
        result.map_err(|error| self.explain(error))
    }

    /// Gives errors that only say "the session is gone" their reason.
    fn explain(&self, error: Error) -> Error {
        if let Error::Operation(OperationError::SessionClosed(reason)) = error {
            return self.closed_error(reason);
        }
        if let Error::Command(CommandError::SessionUnknown(_)) = error
            && let Some(end) = self.shared.inbox.ended()
        {
            return self.end_error(end);
        }
        error
    }

    fn ended(&self) -> Error {
        // The window is closed after the inbox ended, so there is a reason.
        self.shared
            .inbox
            .ended()
            .map_or(Error::Closed, |end| self.end_error(end))
    }

    fn end_error(&self, end: End) -> Error {
        match end {
            End::Session(reason) => self.closed_error(reason),
            End::Closed => Error::Closed,
        }
    }

    fn closed_error(&self, reason: CloseReason) -> Error {
        Error::SessionClosed {
            session: self.id(),
            reason,
        }
    }
}

/// The core answers each command with its own kind of outcome; anything else is a bug of ours.
fn foreign(command: &'static str, outcome: &Outcome) -> Error {
    debug_assert!(false, "{command} ended with {outcome:?}");
    tracing::error!(command, "the core answered a command with another one's outcome");
    Error::Closed
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
