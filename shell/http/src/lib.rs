//! A small HTTPS client: fetches the key sets of token issuers, and tokens of OpenID Connect providers.
//!
//! One request is one connection, one deadline and one bounded body; nothing is kept between requests but the
//! trusted CAs. Certificates are always verified. Plain `http://` is spoken to this machine only, unless the options
//! say otherwise. A redirect to another origin is an error: who may answer for an issuer is the caller's decision and
//! not the answer's. Caching, retries and what the bytes mean belong to the callers.

mod client;
mod error;
mod form;
mod tls;
mod url;

pub use client::{Answer, HttpClient, HttpOptions};
pub use error::{HttpError, HttpSetupError, UrlProblem};
pub use form::{Form, basic_authorization};
pub use url::{HttpUrl, Scheme};
