//! Make and check identity tokens, given the time; sign and check command messages with them.
//!
//! An [`Identity`] says who we are: it owns a subject and a signature key and mints tokens. A [`Verifier`] tells
//! who somebody else is: it turns a token into [`Verified`] claims. [`sign_message`] and [`authenticate`] bind a
//! command message to its token (wire-session §1 and §2).
//!
//! What this crate deliberately does not do: decide what a subject may do, remember replays (both are the
//! session's), or cache verdicts. Checking a shared-secret token costs one HMAC over some 250 bytes, about as
//! much as the strong hash that a safe cache key would need.

mod error;
mod identity;
mod message;
mod token;
mod verifier;

pub use error::{AuthenticationError, IdentityError, SignatureFailure, TokenPart};
pub use identity::Identity;
pub use message::{authenticate, sign_message, verify_message};
pub use verifier::{Verified, Verifier, claimed_subject};
