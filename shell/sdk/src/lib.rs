//! The Rust SDK of SLIM: services, applications and sessions.
//!
//! A [`Service`] owns one background thread with its own runtime. On it one driver task owns a router and every
//! application of the process; [`App`] and [`Session`] are cheap handles that send it requests and read inboxes.
//! All protocol decisions are taken in the cores (`slim-session`, `slim-router`); this crate moves bytes, keeps
//! the time and hands results over.
//!
//! Futures of this crate may be polled on any executor and dropped at any time. A dropped `publish` or `invite`
//! goes on in the background; a dropped `receive` or `accept` loses nothing.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use slim::{Direction, Identity, PublishOptions, Rng, Service, SessionConfig, SessionKind, os_seed};
//!
//! let service = Service::new()?;
//! let secret = "a shared secret of at least 32 bytes";
//! let identity = Identity::shared_secret("org/ns/alice", secret, &mut Rng::from_seed(os_seed()))?;
//! let verifier = identity.verifier();
//! let app = service.create_app("org/ns/alice".parse()?, identity, verifier, Direction::Bidirectional).await?;
//! let session = app
//!     .open(SessionConfig {
//!         kind: SessionKind::Group,
//!         destination: "org/ns/chat".parse()?,
//!         reliability: Some(slim::Reliability::default()),
//!         mls: true,
//!         direction: Direction::Bidirectional,
//!         metadata: Default::default(),
//!     })
//!     .await?;
//! session.invite("org/ns/bob".parse()?).await?;
//! session.publish("hello".into(), PublishOptions::default()).await?;
//! # Ok(())
//! # }
//! ```

mod app;
mod driver;
mod error;
pub mod identity;
mod inbox;
mod invitation;
mod refusal;
mod request;
pub mod rpc;
mod servers;
mod service;
mod session;
mod warnings;

pub use app::App;
pub use driver::connection::ConnectionId;
pub use error::{Cause, Error};
pub use inbox::Item;
pub use invitation::{AppOptions, PendingInvitation};
pub use refusal::Refusal;
pub use service::Service;
pub use session::{Acknowledgement, Invited, PublishOptions, Removed, Session};

pub use slim_auth::{
    AuthenticationError, Identity, IdentityError, PayloadSignatures, SignatureFailure, Verifier,
};
pub use slim_config::{AuthorizationConfig, ClientConfig, DefaultAccess, Endpoint, RuleSource, ServerConfig};
pub use slim_crypto::{Rng, os_seed};
pub use slim_net::{DialError, TlsFailure, TlsSetupError, UpgradeError};
pub use slim_proto::{FullName, NameError, NameId, SessionKind, limits};
pub use slim_session::{
    AnycastConfig, CloseReason, CommandError, Counters, Direction, Invitation, InvitationPolicy, InviteStep,
    Inviters, Member, MembershipChange, MissReason, OperationError, PublishOutcome, Received, Reliability,
    SessionConfig, SessionDefaults, SessionId, SessionInfo, SessionSnapshot, SubjectPattern,
};
