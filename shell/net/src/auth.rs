//! Who opens a link: credentials of the dialling side, and what a listener makes of them (wire-routing A12).
//!
//! A credential travels in the `authorization` header of the call and nowhere else. What a token must say is decided
//! by `slim-auth`, what a policy means by `slim-policy`; here are the files, the clocks and the requests to issuers.
//! A certificate is the business of [`crate::tls`].

mod authenticator;
mod basic;
mod bearer;
mod credentials;
mod files;
mod issuer_keys;
mod key_file;
mod oidc;
mod refusals;
mod static_token;
mod svid;

pub use authenticator::{Admission, AuthSetupError, Authenticator, identity_below};
pub use credentials::{CredentialError, Credentials};
pub use files::FileError;
pub use oidc::OidcError;

pub(crate) use authenticator::Denial;
pub(crate) use basic::basic_credential;
