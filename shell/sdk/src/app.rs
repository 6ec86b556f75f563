//! An application as the process holds it: one name, one identity, many sessions.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use slim_auth::{Identity, Verifier};
use slim_http::HttpOptions;
use slim_proto::limits::HALF_JOINED_MAX;
use slim_proto::{FullName, SessionKind};
use slim_session::{
    AnycastConfig, Command, Counters, Invitation, Outcome, SessionConfig, SessionDefaults, SessionId,
};
use tokio::sync::Notify;

use crate::driver::connection::ConnectionId;
use crate::error::Error;
use crate::identity::KeyFetcher;
use crate::invitation::PendingInvitation;
use crate::refusal::{RecentRefusals, Refusal};
use crate::request::{AppKey, AppLease, NewApp, Request, Requests};
use crate::service::ServiceHandle;
use crate::session::{Session, SessionShared};

/// Sessions of others that wait to be accepted. Beyond it the application leaves new ones again.
pub(crate) const ACCEPT_MAX: usize = 1024;

/// An application. Clones are the same application; it closes when the last handle, its sessions' included, is
/// dropped, or with [`close`](Self::close).
#[derive(Clone)]
pub struct App {
    handle: Arc<AppHandle>,
}

/// The one owner of an application on the user's side.
#[derive(Debug)]
pub(crate) struct AppHandle {
    shared: Arc<AppShared>,
    pub(crate) requests: Requests,
    /// Closes the application when the last handle goes.
    _lease: AppLease,
    /// How issuers are asked for keys.
    issuers: HttpOptions,
    /// Keeps the service running.
    service: Arc<ServiceHandle>,
}

impl AppHandle {
    pub(crate) async fn use_identity(&self, identity: Identity) -> Result<(), Error> {
        let app = self.key();
        let request = |reply| Request::UseIdentity { app, identity, reply };
        self.requests.ask(request).await
    }

    pub(crate) async fn use_verifier(&self, verifier: Verifier) -> Result<(), Error> {
        let (app, runtime) = (self.key(), self.service.runtime());
        let fetcher = KeyFetcher::start(runtime, verifier, self.issuers.clone()).await?;
        let KeyFetcher {
            verifier,
            questions: keys,
            binding,
        } = fetcher;
        let request = |reply| Request::UseVerifier {
            app,
            verifier,
            keys,
            reply,
        };
        self.requests.ask(request).await?;
        binding.to(app, self.requests.clone());
        Ok(())
    }

    pub(crate) fn key(&self) -> AppKey {
        self.shared.key
    }
}

/// What driver and handles share of an application.
#[derive(Debug)]
pub(crate) struct AppShared {
    pub(crate) key: AppKey,
    pub(crate) name: FullName,
    state: Mutex<AppState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct AppState {
    sessions: BTreeMap<SessionId, Arc<SessionShared>>,
    /// Sessions that others opened and nobody accepted yet.
    incoming: VecDeque<Arc<SessionShared>>,
    /// Invitations that nobody looked at yet.
    invitations: VecDeque<Invitation>,
    refusals: RecentRefusals,
    closed: bool,
}

impl AppShared {
    pub(crate) fn new(key: AppKey, name: FullName) -> Self {
        Self {
            key,
            name,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    pub(crate) fn session(&self, id: SessionId) -> Option<Arc<SessionShared>> {
        self.lock().sessions.get(&id).cloned()
    }

    pub(crate) fn insert(&self, session: Arc<SessionShared>) {
        self.lock().sessions.insert(session.id, session);
    }

    pub(crate) fn remove(&self, id: SessionId) -> Option<Arc<SessionShared>> {
        self.lock().sessions.remove(&id)
    }

    /// Offers a session to `accept`; false if too many wait.
    pub(crate) fn offer(&self, session: Arc<SessionShared>) -> bool {
        let mut state = self.lock();
        if state.incoming.len() >= ACCEPT_MAX {
            // Sessions that ended unseen make room first.
            state.incoming.retain(|waiting| waiting.inbox.ended().is_none());
        }
        if state.incoming.len() >= ACCEPT_MAX {
            return false;
        }
        state.incoming.push_back(session);
        drop(state);
        self.changed.notify_waiters();
        true
    }

    /// Remembers an identity that was not believed.
    pub(crate) fn refused(&self, refusal: Refusal) {
        self.lock().refusals.push(refusal);
    }

    /// Hands an invitation to `next_invitation`. The core has no more open ones than fit, so the oldest is no question
    /// any more when there is no room.
    pub(crate) fn ask(&self, invitation: Invitation) {
        let mut state = self.lock();
        if state.invitations.len() >= HALF_JOINED_MAX {
            state.invitations.pop_front();
        }
        state.invitations.push_back(invitation);
        drop(state);
        self.changed.notify_waiters();
    }

    fn try_next_invitation(&self) -> Option<Result<Invitation, Error>> {
        let mut state = self.lock();
        match state.invitations.pop_front() {
            Some(invitation) => Some(Ok(invitation)),
            None => state.closed.then_some(Err(Error::Closed)),
        }
    }

    /// Nothing follows; returns the sessions that were open.
    pub(crate) fn close(&self) -> Vec<Arc<SessionShared>> {
        let mut state = self.lock();
        state.closed = true;
        let sessions = std::mem::take(&mut state.sessions).into_values().collect();
        drop(state);
        self.changed.notify_waiters();
        sessions
    }

    fn try_accept(&self) -> Option<Result<Arc<SessionShared>, Error>> {
        let mut state = self.lock();
        match state.incoming.pop_front() {
            Some(session) => Some(Ok(session)),
            None => state.closed.then_some(Err(Error::Closed)),
        }
    }

    async fn ready(&self) {
        self.wait(|state| !state.incoming.is_empty()).await;
    }

    async fn invited(&self) {
        self.wait(|state| !state.invitations.is_empty()).await;
    }

    async fn wait(&self, is_there: impl Fn(&AppState) -> bool) {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            let is_ready = {
                let state = self.lock();
                is_there(&state) || state.closed
            };
            if is_ready {
                return;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, AppState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    pub(crate) fn new(
        app: NewApp,
        requests: Requests,
        issuers: HttpOptions,
        service: Arc<ServiceHandle>,
    ) -> Self {
        let NewApp { shared, lease } = app;
        Self {
            handle: Arc::new(AppHandle {
                shared,
                requests,
                _lease: lease,
                issuers,
                service,
            }),
        }
    }

    /// The application's name with its id.
    pub fn name(&self) -> FullName {
        self.handle.shared.name.clone()
    }

    /// Opens a session as its initiator: a group at once, one to one when the peer joined.
    pub async fn open(&self, config: SessionConfig) -> Result<Session, Error> {
        self.open_with(Command::Open { config, id: None }).await
    }

    /// Opens a session whose messages go to any one instance of the name that each of them gives
    /// ([`PublishOptions::to`](crate::PublishOptions::to)): to one and the same as long as it is there if sticky or
    /// encrypted, else to the instances in turn. Nothing is sent before the first message.
    pub async fn open_anycast(&self, config: AnycastConfig) -> Result<Session, Error> {
        self.open_with(Command::OpenAnycast { config, id: None }).await
    }

    /// What applies here in sessions of a kind that others open from now on.
    pub async fn set_defaults(&self, kind: SessionKind, defaults: SessionDefaults) -> Result<(), Error> {
        self.command(Command::SetDefaults { kind, defaults })
            .await
            .map(drop)
    }

    async fn open_with(&self, command: Command) -> Result<Session, Error> {
        let (app, command) = (self.handle.key(), Box::new(command));
        let shared = self
            .handle
            .requests
            .ask(|reply| Request::Open { app, command, reply })
            .await?;
        Ok(self.wrap(shared))
    }

    /// The next session that somebody else opened with this application. Ends with [`Error::Closed`].
    ///
    /// Cancel-safe: a session leaves the queue only in the poll that returns it.
    pub async fn accept(&self) -> Result<Session, Error> {
        loop {
            if let Some(result) = self.try_accept() {
                return result;
            }
            self.handle.shared.ready().await;
        }
    }

    /// The next session that somebody else opened, if one waits, or the end of the application.
    pub fn try_accept(&self) -> Option<Result<Session, Error>> {
        let result = self.handle.shared.try_accept()?;
        Some(result.map(|shared| self.wrap(shared)))
    }

    /// Resolves when [`try_accept`](Self::try_accept) would return something. Takes nothing.
    pub fn accept_ready(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.handle.shared);
        async move { shared.ready().await }
    }

    /// The next invitation that waits for an answer, for an application whose policy is
    /// [`Inviters::Asked`](crate::Inviters::Asked). Ends with [`Error::Closed`]. Cancel-safe.
    pub async fn next_invitation(&self) -> Result<PendingInvitation, Error> {
        loop {
            if let Some(result) = self.try_next_invitation() {
                return result;
            }
            self.handle.shared.invited().await;
        }
    }

    /// The next invitation, if one waits, or the end of the application.
    pub fn try_next_invitation(&self) -> Option<Result<PendingInvitation, Error>> {
        let result = self.handle.shared.try_next_invitation()?;
        Some(result.map(|details| PendingInvitation::new(details, Arc::clone(&self.handle))))
    }

    /// Resolves when [`try_next_invitation`](Self::try_next_invitation) would return something. Takes nothing.
    pub fn invitation_ready(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.handle.shared);
        async move { shared.invited().await }
    }

    /// Serves a further name, with the application's id. Resolves when the connected nodes confirmed it.
    pub async fn subscribe(&self, name: FullName) -> Result<(), Error> {
        self.command(Command::Subscribe { name }).await.map(drop)
    }

    /// Stops serving a further name.
    pub async fn unsubscribe(&self, name: FullName) -> Result<(), Error> {
        self.command(Command::Unsubscribe { name }).await.map(drop)
    }

    /// Sends to names with these three components over this connection. Needed only by a process with several
    /// connections, for names that nobody has been heard from yet: with one connection everything goes over it, and
    /// whoever spoke is answered where the message came from. Holds for every application of the service, until
    /// [`remove_route`](Self::remove_route) or the end of the connection.
    pub async fn set_route(&self, name: FullName, connection: ConnectionId) -> Result<(), Error> {
        let set = |reply| Request::SetRoute {
            name,
            connection,
            reply,
        };
        self.handle.requests.ask(set).await
    }

    /// Takes [`set_route`](Self::set_route) back; harmless if there was no such route.
    pub async fn remove_route(&self, name: FullName) -> Result<(), Error> {
        let remove = |reply| Request::RemoveRoute { name, reply };
        self.handle.requests.ask(remove).await
    }

    /// An open session by its number, accepted or not.
    pub fn session(&self, id: SessionId) -> Option<Session> {
        self.handle.shared.session(id).map(|shared| self.wrap(shared))
    }

    /// Every open session, ordered by number.
    pub fn sessions(&self) -> Vec<Session> {
        let sessions: Vec<_> = self.handle.shared.lock().sessions.values().cloned().collect();
        sessions.into_iter().map(|shared| self.wrap(shared)).collect()
    }

    /// Proves who this application is in another way from now on: a newer token ([`Identity::with_token`]) or another
    /// key that signs tokens ([`Identity::with_signer`]). Sessions go on. Another subject or signature key is refused.
    ///
    /// Peers must know the new key before they see a token of it.
    pub async fn use_identity(&self, identity: Identity) -> Result<(), Error> {
        self.handle.use_identity(identity).await
    }

    /// Judges others in another way from now on. Sessions go on; members of encrypted groups stay who they are.
    pub async fn use_verifier(&self, verifier: Verifier) -> Result<(), Error> {
        self.handle.use_verifier(verifier).await
    }

    pub(crate) fn weak(&self) -> Weak<AppHandle> {
        Arc::downgrade(&self.handle)
    }

    /// The identities that were not believed lately, oldest first; [`counters`](Self::counters) has the number of
    /// all.
    pub fn identity_refusals(&self) -> Vec<Refusal> {
        self.handle.shared.lock().refusals.list()
    }

    /// What was refused, dropped and repeated so far.
    pub async fn counters(&self) -> Result<Counters, Error> {
        let app = self.handle.key();
        self.handle
            .requests
            .ask(|reply| Request::Counters { app, reply })
            .await
    }

    /// Ends or leaves every session, withdraws the names and ends the application; bounded, and harmless twice.
    pub async fn close(&self) -> Result<(), Error> {
        let app = self.handle.key();
        match self
            .handle
            .requests
            .ask(|reply| Request::CloseApp { app, reply })
            .await
        {
            Ok(()) | Err(Error::Closed) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn command(&self, command: Command) -> Result<Outcome, Error> {
        self.handle.requests.command(self.handle.key(), command).await
    }

    /// Runs a task of ours on the service's thread.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.service.runtime().spawn(task);
    }

    fn wrap(&self, shared: Arc<SessionShared>) -> Session {
        Session::new(shared, Arc::clone(&self.handle))
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("name", &self.handle.shared.name)
            .finish_non_exhaustive()
    }
}
