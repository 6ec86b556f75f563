//! The keys of a trust domain, and what they sign.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SanType,
};
use slim_auth::{JwtSigner, LinkSigner};
use slim_crypto::jwa::{Algorithm, TokenSigningKey};
use slim_crypto::{Rng, os_seed};
use slim_proto::UnixTime;

use crate::Federated;

/// A trust domain.
#[derive(Debug)]
pub(crate) struct Authority {
    trust_domain: String,
    jwt_keys: Vec<JwtKey>,
    next_key: u32,
    ca: Ca,
}

#[derive(Debug)]
struct JwtKey {
    id: String,
    pair: KeyPair,
}

struct Ca {
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

/// One identity as certificate.
pub(crate) struct Issued {
    pub(crate) chain: Vec<u8>,
    pub(crate) key: Vec<u8>,
    pub(crate) bundle: Vec<u8>,
}

impl Authority {
    pub(crate) fn new(trust_domain: &str) -> Self {
        let mut authority = Self {
            trust_domain: trust_domain.to_owned(),
            jwt_keys: Vec::new(),
            next_key: 1,
            ca: Ca::new(trust_domain),
        };
        authority.rotate_jwt_key();
        authority
    }

    pub(crate) fn rotate_jwt_key(&mut self) {
        self.jwt_keys.push(JwtKey {
            id: format!("key-{}", self.next_key),
            pair: KeyPair::generate().expect("the system has randomness"),
        });
        self.next_key += 1;
    }

    pub(crate) fn forget_old_jwt_keys(&mut self) {
        self.jwt_keys.drain(..self.jwt_keys.len() - 1);
    }

    pub(crate) fn replace_ca(&mut self) {
        self.ca = Ca::new(&self.trust_domain);
    }

    pub(crate) fn trust_domain_id(&self) -> String {
        format!("spiffe://{}", self.trust_domain)
    }

    pub(crate) fn federated(&self) -> Federated {
        Federated {
            trust_domain: self.trust_domain_id(),
            jwks: self.jwks(),
            ca: self.ca.der.clone(),
        }
    }

    /// The keys of tokens, as an agent gives them to workloads: a plain JWKS.
    pub(crate) fn jwks(&self) -> String {
        let keys: Vec<serde_json::Value> = self
            .jwt_keys
            .iter()
            .map(|key| {
                // An uncompressed point: 0x04, X, Y.
                let point = key.pair.der_bytes();
                serde_json::json!({
                    "kty": "EC",
                    "crv": "P-256",
                    "kid": key.id,
                    "x": URL_SAFE_NO_PAD.encode(&point[1..33]),
                    "y": URL_SAFE_NO_PAD.encode(&point[33..65]),
                })
            })
            .collect();
        serde_json::json!({ "keys": keys }).to_string()
    }

    /// A JWT-SVID of now.
    pub(crate) fn token(&self, id: &str, audiences: &[String], life: Duration) -> String {
        let key = self.jwt_keys.last().expect("there is always one");
        let pem = key.pair.serialize_pem();
        let signer = JwtSigner {
            key: TokenSigningKey::from_text(Algorithm::Es256, &pem).expect("a P-256 key"),
            key_id: Some(key.id.clone()),
            issuer: None,
            audiences: audiences.to_vec(),
            subject: id.to_owned(),
            custom_claims: String::new(),
            lifetime: life,
        };
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = UnixTime(since.unwrap_or_default().as_secs());
        let signer = LinkSigner::new(signer).expect("a life of one second to one hour");
        signer.mint(now, &mut Rng::from_seed(os_seed()))
    }

    /// A fresh X.509-SVID.
    pub(crate) fn certificate(&self, id: &str) -> Issued {
        let key = KeyPair::generate().expect("the system has randomness");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::OrganizationName, "SPIRE");
        params.subject_alt_names = vec![SanType::URI(id.try_into().expect("an id is ASCII"))];
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = params
            .signed_by(&key, &self.ca.issuer)
            .expect("all parameters are valid");
        Issued {
            chain: certificate.der().to_vec(),
            key: key.serialize_der(),
            bundle: self.ca.der.clone(),
        }
    }
}

impl Ca {
    fn new(trust_domain: &str) -> Self {
        let key = KeyPair::generate().expect("the system has randomness");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::OrganizationName, "SPIFFE");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let uri = format!("spiffe://{trust_domain}");
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("a trust domain is ASCII"))];
        let der = params
            .self_signed(&key)
            .expect("all parameters are valid")
            .der()
            .to_vec();
        Self {
            der,
            issuer: Issuer::new(params, key),
        }
    }
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ca(..)")
    }
}
