//! Certificates and files made for one test, and its patience.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "helpers of tests, of which each program uses a part"
)]

use std::path::PathBuf;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
    date_time_ymd,
};
use slim_config::{CaSource, CertificateSource, SecretText};
use tokio::time::timeout;

/// A CA.
pub struct Ca {
    pub pem: String,
    pub key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Pair {
    pub cert: String,
    pub key: String,
}

/// What is special about a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Valid,
    Expired,
    NotYet,
}

impl Ca {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            key_pem: key.serialize_pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A node's certificate for these names.
    pub fn server(&self, names: &[&str], life: Life) -> Pair {
        let params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        self.sign(params.unwrap(), ExtendedKeyUsagePurpose::ServerAuth, life)
    }

    /// A client's certificate.
    pub fn client(&self, name: &str, life: Life) -> Pair {
        let mut params = CertificateParams::new(vec!["alice.example".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI(
            format!("spiffe://example/{name}").try_into().unwrap(),
        ));
        params.distinguished_name.push(DnType::CommonName, name);
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Example, Inc");
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth, life)
    }

    pub fn source(&self) -> CaSource {
        CaSource::Pem {
            data: self.pem.clone(),
        }
    }

    /// The CA's own certificate and key.
    pub fn own(&self) -> Pair {
        Pair {
            cert: self.pem.clone(),
            key: self.key_pem.clone(),
        }
    }

    fn sign(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose, life: Life) -> Pair {
        params.extended_key_usages.push(usage);
        match life {
            Life::Valid => {}
            Life::Expired => {
                params.not_before = date_time_ymd(2020, 1, 1);
                params.not_after = date_time_ymd(2020, 12, 31);
            }
            Life::NotYet => {
                params.not_before = date_time_ymd(4000, 1, 1);
                params.not_after = date_time_ymd(4001, 1, 1);
            }
        }
        let key = KeyPair::generate().unwrap();
        Pair {
            cert: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Pair {
    pub fn source(&self) -> CertificateSource {
        CertificateSource::Pem {
            cert: self.cert.clone(),
            key: SecretText::new(&self.key),
        }
    }
}

/// A directory that goes with the test.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("slim-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What takes longer will not come.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("in time")
}
