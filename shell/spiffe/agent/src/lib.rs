//! A SPIFFE agent for tests: the Workload API on a unix socket, with identities, failures and rotations on demand.
//!
//! It is written from the standard alone and shares no message type with the client, so that a wrong field number on
//! one side is noticed. It believes everybody who reaches its socket and gives all of them the same identities, which
//! is all that a test needs and nothing that may ever run elsewhere.

mod authority;
mod server;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use authority::Authority;

/// A running agent; it stops when it is dropped.
#[derive(Debug)]
pub struct Agent {
    socket: PathBuf,
    shared: Arc<Shared>,
    task: Option<AbortHandle>,
}

/// What somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The method's name, such as `FetchJWTSVID`.
    pub method: String,
    /// Of a token: its audiences.
    pub audiences: Vec<String>,
    /// Of a token: whose, if it was said.
    pub id: String,
}

/// How the next calls end, and streams that are open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The gRPC status.
    pub code: u32,
    /// Its text.
    pub message: String,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Told after each change that open streams must hear of.
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    /// One server stands behind all agents of a trust domain.
    authority: Arc<Mutex<Authority>>,
    ids: Vec<String>,
    jwt_life: Duration,
    federated: Vec<Federated>,
    refusal: Option<Refusal>,
    silent: bool,
    asked: Vec<Asked>,
}

/// What another trust domain publishes.
#[derive(Clone, Debug)]
struct Federated {
    trust_domain: String,
    jwks: String,
    ca: Vec<u8>,
}

impl Agent {
    /// Starts an agent that gives these identities, the first being the default, on the current runtime. The socket's
    /// folder must exist.
    pub fn start(socket: &Path, trust_domain: &str, ids: &[&str]) -> std::io::Result<Self> {
        let authority = Arc::new(Mutex::new(Authority::new(trust_domain)));
        Self::with(socket, authority, ids)
    }

    /// Starts another agent of the same trust domain, on another machine so to say. It hears of changes when it is told
    /// to [`renew_certificates`](Self::renew_certificates).
    pub fn beside(&self, socket: &Path, ids: &[&str]) -> std::io::Result<Self> {
        let authority = Arc::clone(&self.state().authority);
        Self::with(socket, authority, ids)
    }

    fn with(socket: &Path, authority: Arc<Mutex<Authority>>, ids: &[&str]) -> std::io::Result<Self> {
        let state = State {
            authority,
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            jwt_life: Duration::from_secs(300),
            federated: Vec::new(),
            refusal: None,
            silent: false,
            asked: Vec::new(),
        };
        let mut agent = Self {
            socket: socket.to_owned(),
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed: watch::Sender::new(()),
            }),
            task: None,
        };
        agent.resume()?;
        Ok(agent)
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Ends every connection and the socket, as a restart of the agent does.
    pub fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        let _ = std::fs::remove_file(&self.socket);
    }

    /// Listens again after [`stop`](Self::stop), with the keys of before.
    pub fn resume(&mut self) -> std::io::Result<()> {
        let _ = std::fs::remove_file(&self.socket);
        let listener = UnixListener::bind(&self.socket)?;
        self.task = Some(tokio::spawn(server::serve(listener, Arc::clone(&self.shared))).abort_handle());
        Ok(())
    }

    /// How long tokens live from now on: 300 s unless told otherwise.
    pub fn set_jwt_life(&self, life: Duration) {
        self.state().jwt_life = life;
    }

    /// Which identities there are from now on.
    pub fn set_ids(&self, ids: &[&str]) {
        self.state().ids = ids.iter().map(|id| (*id).to_owned()).collect();
        self.tell();
    }

    /// Tokens are signed with another key from now on. The one before stays in the bundle.
    pub fn rotate_jwt_key(&self) {
        self.state().authority().rotate_jwt_key();
        self.tell();
    }

    /// The newest key is the only one from now on.
    pub fn forget_old_jwt_keys(&self) {
        self.state().authority().forget_old_jwt_keys();
        self.tell();
    }

    /// New certificates are issued by the same CA, as an agent does halfway through their life.
    pub fn renew_certificates(&self) {
        self.tell();
    }

    /// Certificates are issued by another CA from now on, and the one before is believed no longer.
    pub fn replace_ca(&self) {
        self.state().authority().replace_ca();
        self.tell();
    }

    /// The bundles of another agent's trust domain are given out, too, as they are now.
    pub fn federate(&self, other: &Self) {
        let federated = other.state().authority().federated();
        self.state().federated.push(federated);
        self.tell();
    }

    /// Every call ends so from now on, and so do open streams; `None` is an end of that.
    pub fn refuse(&self, refusal: Option<Refusal>) {
        self.state().refusal = refusal;
        self.tell();
    }

    /// No call gets an answer from now on, until it is told otherwise.
    pub fn be_silent(&self, silent: bool) {
        self.state().silent = silent;
    }

    /// Everything that was asked, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// A token as the agent would give it, for tests that need one of somebody.
    pub fn token(&self, id: &str, audiences: &[String]) -> String {
        let state = self.state();
        state.authority().token(id, audiences, state.jwt_life)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    fn tell(&self) {
        self.shared.changed.send_replace(());
    }
}

impl State {
    fn authority(&self) -> MutexGuard<'_, Authority> {
        self.authority.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each field is valid whatever a panicking test did.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop();
    }
}
