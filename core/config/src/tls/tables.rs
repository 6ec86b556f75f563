//! The tables of the `tls` block, of listeners and of clients.

use super::TlsVersion;
use crate::auth::{AGENT, OWN_ID};
use crate::table::{Block, Key, Kind, Status};

pub(super) static SOURCE_FILE: Block = Block {
    name: "file",
    doc: "PEM files.",
    keys: &[
        Key::new(
            "cert",
            Kind::Path,
            "the certificate, then what leads from it to the CA",
        )
        .required(),
        Key::new("key", Kind::Path, "its private key").required(),
    ],
};

pub(super) static SOURCE_PEM: Block = Block {
    name: "pem",
    doc: "PEM text.",
    keys: &[
        Key::new(
            "cert",
            Kind::Text,
            "the certificate, then what leads from it to the CA",
        )
        .required(),
        Key::new("key", Kind::Secret, "its private key").required(),
    ],
};

pub(super) static CA_FILE: Block = Block {
    name: "file",
    doc: "A PEM file; all certificates of a bundle count.",
    keys: &[Key::new("path", Kind::Path, "the file").required()],
};

pub(super) static CA_PEM: Block = Block {
    name: "pem",
    doc: "PEM text; all certificates of a bundle count.",
    keys: &[Key::new("data", Kind::Text, "the text").required()],
};

pub(super) static SOURCE_SPIRE: Block = Block {
    name: "spire",
    doc: "An X.509-SVID of the local SPIRE agent, which also renews it.",
    keys: &[AGENT, OWN_ID],
};

pub(super) static CA_SPIRE: Block = Block {
    name: "spire",
    doc: "The bundles of the local SPIRE agent; a peer is judged by its SPIFFE id, not by its host name.",
    keys: &[
        AGENT,
        Key::new("target_spiffe_id", Kind::Text, "who the peer must be").without("any of the trust domains"),
        Key::new("trust_domains", Kind::Texts, "whose identities are believed").without("those of its own"),
    ],
};

const SOURCE: Kind = Kind::Typed(&[&SOURCE_FILE, &SOURCE_PEM, &SOURCE_SPIRE]);
const CA: Kind = Kind::Typed(&[&CA_FILE, &CA_PEM, &CA_SPIRE]);

const INSECURE: Key = Key::new("insecure", Kind::Bool, "`true`: plain text").or("false");
const VERSION: Key = Key::new(
    "tls_version",
    Kind::Choice(TlsVersion::NAMES),
    "the one version that is spoken",
)
.or("tls1.3");
const RELOAD: Key = Key::new(
    "reload_interval",
    Kind::Duration { zero: false },
    "pause between two looks at the files; one that changed is read again, and links that are open stay",
)
.or("10s");
const LISTENER_HAS_NO_CA: &str =
    "a listener does not use this key; set tls.client_ca to demand certificates of clients";

pub(crate) static SERVER_TLS: Block = Block {
    name: "tls",
    doc: "How a listener is protected: TLS, unless `insecure: true` stands there.",
    keys: &[
        INSECURE,
        Key::new("source", SOURCE, "the listener's certificate and key").without("a listener does not start"),
        Key::new(
            "client_ca",
            CA,
            "who must have signed the certificate that every client then has to show",
        )
        .without("no certificate is asked for"),
        VERSION,
        RELOAD,
        Key::other("cert_file", Status::OldShape("source")),
        Key::other("key_file", Status::OldShape("source")),
        Key::other("cert_pem", Status::OldShape("source")),
        Key::other("key_pem", Status::OldShape("source")),
        Key::other("client_ca_file", Status::OldShape("client_ca")),
        Key::other("client_ca_pem", Status::OldShape("client_ca")),
        Key::other("ca_source", Status::Refused(LISTENER_HAS_NO_CA)),
        Key::other("ca_file", Status::Refused(LISTENER_HAS_NO_CA)),
        Key::other("ca_pem", Status::Refused(LISTENER_HAS_NO_CA)),
        // A listener believes the CAs of `client_ca` and no others.
        Key::other("include_system_ca_certs_pool", Status::Unused),
        // Every file is read again when it changes, this one too.
        Key::other("reload_client_ca_file", Status::Unused),
    ],
};

pub(crate) static CLIENT_TLS: Block = Block {
    name: "tls",
    doc: "How a link is protected: TLS, unless `insecure: true` stands there. Without the block the node's certificate \
          must be signed by a CA that the system trusts.",
    keys: &[
        INSECURE,
        Key::new(
            "insecure_skip_verify",
            Kind::Bool,
            "`true`: believe whoever answers; for tests only",
        )
        .or("false"),
        Key::new(
            "source",
            SOURCE,
            "the client's own certificate and key, for listeners that demand one",
        )
        .without("none is shown"),
        Key::new(
            "ca_source",
            CA,
            "who may sign the node's certificate, beside the system's CAs",
        )
        .without("the system's CAs alone"),
        Key::new(
            "include_system_ca_certs_pool",
            Kind::Bool,
            "`false`: the CAs of `ca_source` alone",
        )
        .or("true"),
        VERSION,
        RELOAD,
        Key::other("cert_file", Status::OldShape("source")),
        Key::other("key_file", Status::OldShape("source")),
        Key::other("cert_pem", Status::OldShape("source")),
        Key::other("key_pem", Status::OldShape("source")),
        Key::other("ca_file", Status::OldShape("ca_source")),
        Key::other("ca_pem", Status::OldShape("ca_source")),
    ],
};
