//! The only crate that knows mls-rs and MLS key material (wire-session §3).
//!
//! An [`MlsClient`] belongs to one session: it makes key packages, creates the group or joins it. A [`Group`] is
//! one member's state: the moderator makes commits, the others apply them, everybody seals and opens messages.
//! Every operation either succeeds or leaves the group as it was; `&mut self` methods that return an error
//! have changed nothing.
//!
//! Credentials are identity tokens. They are judged when a leaf enters the tree and not again while they stay
//! in it, so that a group outlives the hour that a token lives; see [`Group::expired_members`].
//!
//! What this crate deliberately does not do: order commits and park early messages (the session does, by
//! `commit_id` and by [`OpenError::FutureEpoch`]), compare authenticated data with headers, or store anything.

mod apply;
mod client;
mod commit;
mod config;
mod credential;
mod error;
mod group;
mod key_package;
mod past_epochs;
mod roster;
mod seal;

pub use apply::Applied;
pub use client::MlsClient;
pub use commit::Commit;
pub use error::{CredentialError, MessageName, MlsError, OpenError, ProtocolError};
pub use group::Group;
pub use key_package::{key_package_subject, key_package_token};
pub use seal::Opened;
