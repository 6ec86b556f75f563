//! A client of the SPIFFE Workload API: the identities, keys and bundles that the local agent has for this process.
//!
//! [`WorkloadApi`] makes single calls. The sources keep what came fresh for as long as they live: [`TokenSource`] a
//! JWT-SVID, [`BundleSource`] the keys that JWT-SVIDs are checked with, [`X509Source`] an X.509-SVID with the
//! CAs of all trust domains. Each is one task on the caller's runtime, and gives its newest value at any time.
//!
//! What this crate deliberately does not do: judge tokens (`slim-auth`) or handshakes (`slim-net`). The agent is
//! believed: it is on this machine, behind a socket that the operator chose.

mod address;
mod bundle_source;
mod call;
mod error;
mod keeper;
mod schedule;
mod token_source;
mod wire;
mod workload_api;
mod x509;
mod x509_source;

pub use address::{WorkloadAddress, target};
pub use bundle_source::{BundleSource, trust_domains};
pub use error::{AddressError, SpiffeError};
pub use token_source::{Svid, TokenSource};
pub use workload_api::{JwtBundleStream, WorkloadApi, X509Stream};
pub use x509::{Certificates, X509Svid};
pub use x509_source::X509Source;
