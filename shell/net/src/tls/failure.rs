//! Why a handshake failed, as the dialer sees it: one class and one sentence for each reason.

use std::time::Duration;

use rustls::{AlertDescription, CertificateError, PeerIncompatible};
use slim_config::TlsVersion;

use super::is_plain_text;
use super::spiffe::SpiffePeerError;

/// Why there is no TLS with a node. The texts complete "no TLS with HOST:PORT: ".
#[derive(Debug, thiserror::Error)]
pub enum TlsFailure {
    /// Something else than TLS came back.
    #[error(
        "the other side speaks plain text; use its TLS port, or set tls.insecure: true if plain text is meant"
    )]
    PlainText,
    /// The dialer speaks plain text and the node TLS.
    #[error("the other side speaks TLS and this one plain text; remove tls.insecure and write https://")]
    TlsExpected,
    /// Too old.
    #[error(
        "its certificate expired {} ago; the node needs a new one (or the clock here is wrong)",
        rough(*.ago)
    )]
    Expired {
        /// Time since it expired.
        ago: Duration,
    },
    /// Too new.
    #[error(
        "its certificate will be valid in {} only; check the clocks of both machines",
        rough(*.wait)
    )]
    NotYetValid {
        /// Time until it is valid.
        wait: Duration,
    },
    /// Nobody who is trusted signed it.
    #[error(
        "its certificate is signed by no CA that is trusted here; set tls.ca_source to the CA that signed it"
    )]
    UnknownCa,
    /// A certificate of another host.
    #[error("its certificate is {presented}, not for {expected}; use a name it has, or set server_name")]
    WrongName {
        /// The name asked for.
        expected: String,
        /// The names it has, for people.
        presented: String,
    },
    /// A CA's own certificate where a node's belongs.
    #[error("its certificate is that of a CA; the node needs one of its own, signed by the CA")]
    CaCertificate,
    /// Not who a SPIFFE trust domain says.
    #[error("{reason}")]
    Spiffe {
        /// Why.
        reason: SpiffePeerError,
    },
    /// Any other fault of its certificate.
    #[error("its certificate is refused: {error}")]
    Certificate {
        /// What is wrong.
        error: CertificateError,
    },
    /// No common version.
    #[error(
        "it does not speak {}, the one version that is allowed here; change tls.tls_version here or there",
        .allowed.name()
    )]
    Version {
        /// The version of this side.
        allowed: TlsVersion,
    },
    /// No common key exchange that resists quantum computers.
    #[error(
        "it offers no post-quantum key exchange (X25519MLKEM768), which enforce_pqc demands here; enable it there, \
         or take enforce_pqc away here"
    )]
    Classical,
    /// The node demands a certificate.
    #[error("it demands a client certificate and none was shown; set tls.source")]
    ClientCertificateMissing,
    /// The node does not like ours.
    #[error("it refused the client certificate of tls.source ({alert}); show one of a CA that it trusts")]
    ClientCertificateRefused {
        /// Its word for it.
        alert: &'static str,
    },
    /// The node has TLS for something else.
    #[error("it does not speak HTTP/2 over TLS; check the port")]
    NoHttp2,
    /// The handshake stood still.
    #[error("no handshake within {limit:?}")]
    Timeout {
        /// The limit.
        limit: Duration,
    },
    /// The connection broke.
    #[error("the connection broke during the handshake: {error}")]
    Broken {
        /// What the system says.
        error: std::io::Error,
    },
    /// Anything else.
    #[error("{error}")]
    Protocol {
        /// What the library says.
        error: rustls::Error,
    },
}

impl TlsFailure {
    /// True if the certificates and settings as they are cannot give another result.
    pub fn needs_other_settings(&self) -> bool {
        !matches!(self, Self::Timeout { .. } | Self::Broken { .. })
    }

    /// What an error of the library means for a dialer that allows this version.
    #[expect(clippy::wildcard_enum_match_arm, reason = "rustls's lists grow")]
    pub(super) fn of(error: &rustls::Error, allowed: TlsVersion, enforce_pqc: bool) -> Self {
        match error {
            // With one key exchange on offer, the handshake fails for no other reason.
            rustls::Error::AlertReceived(AlertDescription::HandshakeFailure)
            | rustls::Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon)
                if enforce_pqc =>
            {
                Self::Classical
            }
            error if is_plain_text(error) => Self::PlainText,
            rustls::Error::InvalidCertificate(error) => Self::of_certificate(error),
            rustls::Error::AlertReceived(alert) => Self::of_alert(*alert, error, allowed),
            rustls::Error::PeerIncompatible(
                PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::ServerDoesNotSupportTls12Or13,
            ) => Self::Version { allowed },
            rustls::Error::NoApplicationProtocol => Self::NoHttp2,
            error => Self::Protocol { error: error.clone() },
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "rustls's lists grow")]
    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::ExpiredContext { time, not_after } => Self::Expired {
                ago: Duration::from_secs(time.as_secs().saturating_sub(not_after.as_secs())),
            },
            CertificateError::NotValidYetContext { time, not_before } => Self::NotYetValid {
                wait: Duration::from_secs(not_before.as_secs().saturating_sub(time.as_secs())),
            },
            // A bad signature is what a CA with the name of a trusted one and another key makes.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownCa,
            CertificateError::NotValidForNameContext { expected, presented } => Self::WrongName {
                expected: expected.to_str().into_owned(),
                presented: names(presented),
            },
            CertificateError::Other(other) if is_ca(other) => Self::CaCertificate,
            CertificateError::Other(other) => match other.0.downcast_ref::<SpiffePeerError>() {
                Some(reason) => Self::Spiffe {
                    reason: reason.clone(),
                },
                None => Self::Certificate { error: error.clone() },
            },
            error => Self::Certificate { error: error.clone() },
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "an open list")]
    fn of_alert(alert: AlertDescription, error: &rustls::Error, allowed: TlsVersion) -> Self {
        let refused = |alert| Self::ClientCertificateRefused { alert };
        match alert {
            AlertDescription::CertificateRequired => Self::ClientCertificateMissing,
            AlertDescription::UnknownCA => refused("unknown CA"),
            // A CA with the name of a trusted one and another key.
            AlertDescription::DecryptError => refused("bad signature"),
            AlertDescription::CertificateExpired => refused("expired"),
            AlertDescription::CertificateRevoked => refused("revoked"),
            AlertDescription::BadCertificate => refused("bad certificate"),
            AlertDescription::UnsupportedCertificate => refused("unsupported certificate"),
            AlertDescription::CertificateUnknown => refused("certificate unknown"),
            AlertDescription::AccessDenied => refused("access denied"),
            AlertDescription::ProtocolVersion => Self::Version { allowed },
            AlertDescription::NoApplicationProtocol => Self::NoHttp2,
            _ => Self::Protocol { error: error.clone() },
        }
    }
}

fn is_ca(error: &rustls::OtherError) -> bool {
    matches!(error.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// `for a, b and 3 more names`; the library writes `DnsName("a")`.
fn names(presented: &[String]) -> String {
    const SHOWN: usize = 4;
    let bare = |name: &String| name.split('"').nth(1).unwrap_or(name).to_owned();
    let shown: Vec<String> = presented.iter().take(SHOWN).map(bare).collect();
    match presented.len() {
        0 => "for no host at all".to_owned(),
        1..=SHOWN => format!("for {}", shown.join(", ")),
        all => format!("for {} and {} more names", shown.join(", "), all - SHOWN),
    }
}

/// A time as people say it.
fn rough(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7200 => format!("{} minutes", seconds / 60),
        7200..172_800 => format!("{} hours", seconds / 3600),
        172_800.. => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_names_are_short() {
        let said: Vec<String> = [1, 121, 7300, 400_000]
            .map(|seconds| rough(Duration::from_secs(seconds)))
            .into();
        assert_eq!(said, ["1 seconds", "2 minutes", "2 hours", "4 days"]);
        let presented = |count: usize| -> Vec<String> {
            (0..count)
                .map(|number| format!("DnsName(\"{number}\")"))
                .collect()
        };
        assert_eq!(names(&presented(0)), "for no host at all");
        assert_eq!(names(&presented(2)), "for 0, 1");
        assert_eq!(names(&presented(9)), "for 0, 1, 2, 3 and 5 more names");
    }

    #[test]
    fn alerts_about_certificates_are_told_apart() {
        for (alert, text) in [
            (
                AlertDescription::CertificateRequired,
                "it demands a client certificate and none was shown; set tls.source",
            ),
            (
                AlertDescription::CertificateRevoked,
                "it refused the client certificate of tls.source (revoked); show one of a CA that it trusts",
            ),
            (
                AlertDescription::DecryptError,
                "it refused the client certificate of tls.source (bad signature); show one of a CA that it trusts",
            ),
            (
                AlertDescription::ProtocolVersion,
                "it does not speak tls1.3, the one version that is allowed here; change tls.tls_version here or there",
            ),
            (
                AlertDescription::InternalError,
                "received fatal alert: InternalError",
            ),
        ] {
            let error = rustls::Error::AlertReceived(alert);
            assert!(
                TlsFailure::of(&error, TlsVersion::Tls13, false)
                    .to_string()
                    .starts_with(text),
                "{}",
                TlsFailure::of(&error, TlsVersion::Tls13, false)
            );
        }
    }
}
