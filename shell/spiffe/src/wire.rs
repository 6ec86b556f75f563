//! The messages of the Workload API that we use, with the field numbers of its standard (SPIFFE Workload API,
//! appendix A). Fields that nothing here reads are left out.

use std::collections::BTreeMap;

use bytes::Bytes;

/// The service's path on the wire; it is in no package.
pub(crate) const SERVICE: &str = "/SpiffeWorkloadAPI/";

/// Asks for something that needs no telling what: certificates or bundles.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Empty {}

/// The identities of the caller as certificates.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct X509SvidResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) svids: Vec<X509SvidMessage>,
    /// CAs of other trust domains, each as DER certificates one after the other.
    #[prost(btree_map = "string, bytes", tag = "3")]
    pub(crate) federated_bundles: BTreeMap<String, Bytes>,
}

/// One identity as certificate. It holds a private key, so it is never printed; the one who reads it clears it.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(crate) struct X509SvidMessage {
    #[prost(string, tag = "1")]
    pub(crate) spiffe_id: String,
    /// The chain, DER certificates one after the other, the own one first.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) x509_svid: Vec<u8>,
    /// PKCS #8, DER.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) x509_svid_key: Vec<u8>,
    /// CAs of the own trust domain, DER certificates one after the other.
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) bundle: Vec<u8>,
}

impl std::fmt::Debug for X509SvidMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("X509SvidMessage")
            .field("spiffe_id", &self.spiffe_id)
            .finish_non_exhaustive()
    }
}

/// Asks for a token.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct JwtSvidRequest {
    #[prost(string, repeated, tag = "1")]
    pub(crate) audience: Vec<String>,
    /// Empty for all identities of the caller.
    #[prost(string, tag = "2")]
    pub(crate) spiffe_id: String,
}

/// The tokens.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct JwtSvidResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) svids: Vec<JwtSvidMessage>,
}

/// One identity as token.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(crate) struct JwtSvidMessage {
    #[prost(string, tag = "1")]
    pub(crate) spiffe_id: String,
    #[prost(string, tag = "2")]
    pub(crate) svid: String,
}

impl std::fmt::Debug for JwtSvidMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtSvidMessage")
            .field("spiffe_id", &self.spiffe_id)
            .finish_non_exhaustive()
    }
}

/// Keys of JWT-SVIDs: a JWKS by id of the trust domain.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct JwtBundlesResponse {
    #[prost(btree_map = "string, bytes", tag = "1")]
    pub(crate) bundles: BTreeMap<String, Bytes>,
}
