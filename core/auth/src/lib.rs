//! Make and check identity tokens, given the time; sign and check command messages with them.
//!
//! An [`Identity`] says who we are: it owns a subject and a signature key and mints tokens. A [`Verifier`] tells
//! who somebody else is: it turns a token into [`Verified`] claims. [`sign_message`] and [`authenticate`] bind a
//! command message to its token (wire-session §1 and §2).
//!
//! Tokens are of one of two kinds: made and checked with a shared secret, or JSON Web Tokens, signed with a private
//! key ([`JwtSigner`]) or by somebody else, and checked with public keys ([`KeySet`]) under [`JwtRules`]. A SPIFFE trust
//! domain's tokens are such, too: its keys are in [`JwtBundles`].
//!
//! Beside them are the tokens of links ([`LinkSigner`], [`LinkVerifier`]): no identities, and seen by one node only.
//!
//! What this crate deliberately does not do: decide what a subject may do, remember replays (both are the session's),
//! fetch keys (a [`KeyResolver`] says what to fetch, the shell fetches), or cache verdicts on identities. Checking a
//! shared-secret token costs one HMAC over some 250 bytes, about as much as the strong hash that a safe cache key
//! would need. A listener may have verdicts on links remembered ([`LinkVerdicts`]).

mod access_token;
mod claims;
mod did_key;
mod error;
mod identity;
mod jwt;
mod jwt_signer;
mod jwt_verifier;
mod key_resolution;
mod key_set;
mod link_token;
mod link_verdicts;
mod message;
mod spiffe_id;
mod svid;
mod token;
mod verifier;

pub use access_token::{
    AccessToken, GrantError, TokenEndpoint, TokenGrant, read_grant, read_refusal, read_token_endpoint,
};
pub use claims::JwtRules;
pub use error::{AuthenticationError, IdentityError, KeySetError, SignatureFailure, TokenPart};
pub use identity::Identity;
pub use jwt_signer::JwtSigner;
pub use key_resolution::{Fetch, FetchId, HoldsKeys, KeyFetchFailure, KeyResolver};
pub use key_set::KeySet;
pub use link_token::{LinkClaims, LinkSigner, LinkVerifier};
pub use link_verdicts::LinkVerdicts;
pub use message::{PayloadSignatures, authenticate, sign_message, verify_message};
pub use spiffe_id::{SpiffeId, SpiffeIdError, TrustDomain};
pub use svid::{JwtBundles, SvidClaims, claims_audience, read_svid};
pub use verifier::{Verified, Verifier, claimed_subject};
