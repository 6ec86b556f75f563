//! The parameters of wire-session §3.1 as a configuration of the library.

use mls_rs::client_builder::{
    BaseConfig, WithCryptoProvider, WithGroupStateStorage, WithIdentityProvider, WithKeyPackageRepo,
};
use mls_rs::crypto::SignatureSecretKey;
use mls_rs::storage_provider::in_memory::InMemoryKeyPackageStorage;
use mls_rs::time::MlsTime;
use mls_rs::{CipherSuite, Client};
use mls_rs_crypto_awslc::AwsLcCryptoProvider;
use slim_auth::Identity;
use slim_crypto::SignatureKind;
use slim_proto::{Now, UnixTime};

use crate::credential::{Credentials, identity_with};
use crate::past_epochs::PastEpochs;

/// The suite of an identity's groups, which follows from its signature key and is not negotiated:
/// MLS_128_DHKEMP256_AES128GCM_SHA256_P256, the suite of upstream's default build, or ML-KEM-768 with X25519 and
/// Ed25519, its suite when post-quantum encryption is enforced.
pub(crate) fn suite_of(identity: &Identity) -> CipherSuite {
    match identity.signing_key().kind() {
        SignatureKind::P256 => CipherSuite::P256_AES128,
        SignatureKind::Ed25519 => CipherSuite::ML_KEM_768_X25519,
    }
}

/// The suites that leaves announce, in upstream's order: members must list their group's suite, and peers
/// compare nothing else. We use the third and the last.
const ANNOUNCED_SUITES: [u16; 9] = [1, 3, 2, 7, 5, 65001, 65002, 65003, 65100];

/// Life of a key package, from 60 seconds before it was made.
pub(crate) const LIFETIME_SECS: u64 = 365 * 24 * 3600;
const LIFETIME_BACKDATED_SECS: u64 = 60;

pub(crate) type Config = WithIdentityProvider<
    Credentials,
    WithCryptoProvider<
        AwsLcCryptoProvider,
        WithGroupStateStorage<PastEpochs, WithKeyPackageRepo<InMemoryKeyPackageStorage, BaseConfig>>,
    >,
>;

/// A library client for one operation: its credential is `token`, its key packages are shared, and the set of
/// accepted tokens belongs to the group that comes of it.
///
/// Rules left at the library's defaults, as §3 has them: public handshake messages, padding in steps of an eighth
/// of the power of two, ratchet tree in the one welcome, no external commits, no extensions.
pub(crate) fn client(
    identity: &Identity,
    token: &str,
    key_packages: &InMemoryKeyPackageStorage,
    credentials: &Credentials,
) -> Client<Config> {
    let suites = ANNOUNCED_SUITES.map(CipherSuite::new).to_vec();
    Client::builder()
        .key_package_repo(key_packages.clone())
        .group_state_storage(PastEpochs::default())
        .crypto_provider(AwsLcCryptoProvider::with_enabled_cipher_suites(suites))
        .identity_provider(credentials.clone())
        .key_package_lifetime(std::time::Duration::from_secs(LIFETIME_SECS))
        .signing_identity(
            identity_with(token, identity.signing_key().public_key()),
            secret_key(identity),
            suite_of(identity),
        )
        .build()
}

/// The identity's private key as the library wants it.
pub(crate) fn secret_key(identity: &Identity) -> SignatureSecretKey {
    SignatureSecretKey::from(identity.signing_key().secret_bytes().to_vec())
}

/// The moment of an operation.
pub(crate) fn time(now: Now) -> MlsTime {
    MlsTime::from(now.unix.0)
}

/// The start of the lifetime of something made now.
pub(crate) fn lifetime_start(now: Now) -> MlsTime {
    MlsTime::from(now.unix.0.saturating_sub(LIFETIME_BACKDATED_SECS))
}

/// When a key package was made, from the end of its lifetime.
pub(crate) fn made_at(expiration: u64) -> UnixTime {
    UnixTime(expiration.saturating_sub(LIFETIME_SECS - LIFETIME_BACKDATED_SECS))
}
