//! Sessions between applications with JWT identities (wire-session §1.4, §1.5), each with a signing key of its own:
//! every algorithm family in one group, strangers, short-lived tokens, keys that are fetched late or replaced.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, missing_docs)]

mod common;

use std::time::Duration;

use common::{Net, group_config, pair_config};
use slim_auth::{Identity, JwtRules, JwtSigner, KeySet, Verifier};
use slim_crypto::jwa::{Algorithm, TokenSigningKey};
use slim_proto::NameId;
use slim_session::{Command, Event, OperationError};

/// The key that signs the tokens of all of one issuer's applications.
struct Issuer {
    algorithm: Algorithm,
    private: &'static str,
    public: &'static str,
}

const RSA: Issuer = Issuer {
    algorithm: Algorithm::Rs256,
    private: include_str!("../../auth/tests/vectors/rsa.pem"),
    public: include_str!("../../auth/tests/vectors/rsa.public.pem"),
};
const P256: Issuer = Issuer {
    algorithm: Algorithm::Es256,
    private: include_str!("../../auth/tests/vectors/p256.pem"),
    public: include_str!("../../auth/tests/vectors/p256.public.pem"),
};
const ED25519: Issuer = Issuer {
    algorithm: Algorithm::EdDsa,
    private: include_str!("../../auth/tests/vectors/ed25519.pem"),
    public: include_str!("../../auth/tests/vectors/ed25519.public.pem"),
};
/// All of these keys and more as one set, in which the token's `kid` names none.
const JWKS: &str = include_str!("../../auth/tests/vectors/jwks.json");

impl Issuer {
    fn identity(&self, name: &str, lifetime_secs: u64) -> Identity {
        Identity::jwt(JwtSigner {
            key: TokenSigningKey::from_text(self.algorithm, self.private).unwrap(),
            key_id: None,
            issuer: Some("https://issuer.example".to_owned()),
            audiences: vec!["slim".to_owned()],
            subject: format!("spiffe://example/{name}"),
            custom_claims: r#"{"role":"demo"}"#.to_owned(),
            lifetime: Duration::from_secs(lifetime_secs),
        })
        .unwrap()
    }

    fn keys(&self) -> KeySet {
        KeySet::from_pem(self.algorithm, self.public).unwrap()
    }
}

fn rules() -> JwtRules {
    JwtRules {
        issuers: vec!["https://issuer.example".to_owned()],
        audiences: vec!["slim".to_owned()],
        ..JwtRules::default()
    }
}

/// Three applications with three kinds of keys that all know the same key set.
fn net(lifetime_secs: u64) -> Net {
    let verifier = Verifier::jwt(KeySet::from_jwks(JWKS, None).unwrap(), rules());
    let mut net = Net::new();
    for (name, issuer) in [("alice", RSA), ("bob", P256), ("carol", ED25519)] {
        let identity = issuer.identity(name, lifetime_secs);
        net.add_identity(name, name, identity, verifier.clone());
    }
    net
}

fn refusals(net: &Net, app: &str) -> Vec<String> {
    let events = net.app(app).events.iter();
    let reasons = events.filter_map(|event| match event {
        Event::IdentityRefused { error, .. } => Some(error.to_string()),
        _ => None,
    });
    reasons.collect()
}

#[test]
fn groups_and_pairs_of_jwt_identities_talk_with_and_without_mls() {
    for mls in [true, false] {
        let mut net = net(3600);
        let session = net.group("alice", mls, &["bob", "carol"]);
        for (speaker, text) in [("alice", "one"), ("bob", "two"), ("carol", "three")] {
            net.publish(speaker, session, text).unwrap();
        }
        assert_eq!(net.texts("alice", session), ["two", "three"]);
        assert_eq!(net.texts("bob", session), ["one", "three"]);
        assert_eq!(net.texts("carol", session), ["one", "two"]);
        // The id is that of the configured subject, without anything random (§1.2).
        assert_eq!(net.name("bob").id(), NameId::of_subject("spiffe://example/bob"));
        if mls {
            net.assert_agreement(session, &["alice", "bob", "carol"]);
            let members = net.snapshot("carol", session).mls_members;
            assert!(
                members.contains(&"spiffe://example/alice".to_owned()),
                "{members:?}"
            );
        }
        net.remove("alice", session, "bob").unwrap();
        net.publish("carol", session, "without bob").unwrap();
        assert_eq!(net.texts("bob", session).len(), 2);

        let pair = net.open("carol", pair_config("bob", mls));
        net.publish("bob", pair, "hello").unwrap();
        assert_eq!(net.texts("carol", pair), ["hello"]);
    }
}

#[test]
fn an_application_with_a_key_that_nobody_knows_gets_in_nowhere() {
    for mls in [true, false] {
        let mut net = Net::new();
        let known = Verifier::jwt(P256.keys(), rules());
        net.add_identity("alice", "alice", P256.identity("alice", 3600), known);
        // Mallory trusts both, and signs with a key that alice does not know.
        let both = Verifier::jwt(KeySet::from_jwks(JWKS, None).unwrap(), rules());
        net.add_identity("mallory", "mallory", ED25519.identity("mallory", 3600), both);

        let ticket = net
            .command(
                "mallory",
                Command::Open {
                    config: pair_config("alice", mls),
                    id: None,
                },
            )
            .unwrap();
        assert!(net.completed("mallory", ticket).is_err());
        assert!(net.app("alice").endpoint.session_ids().is_empty());
        assert!(
            refusals(&net, "alice")[0].contains("algorithm"),
            "{:?}",
            refusals(&net, "alice")
        );

        let session = net.open("alice", group_config(mls));
        assert!(matches!(
            net.invite("alice", session, "mallory"),
            Err(OperationError::InviteFailed { .. })
        ));
        let snapshot = net.snapshot("alice", session);
        let mallory = net.name("mallory");
        assert!(snapshot.members.iter().all(|member| member.name != mallory));
        let subject = "spiffe://example/mallory".to_owned();
        assert!(
            !snapshot.mls_members.contains(&subject),
            "{:?}",
            snapshot.mls_members
        );
    }
}

#[test]
fn tokens_of_ten_seconds_lose_nothing_in_five_minutes() {
    for mls in [true, false] {
        let mut net = net(10);
        let session = net.group("alice", mls, &["bob", "carol"]);
        let mut expected = Vec::new();
        for second in 0..60 {
            net.advance(Duration::from_secs(5));
            let text = format!("message {second}");
            net.publish(if second % 2 == 0 { "alice" } else { "bob" }, session, &text)
                .unwrap();
            expected.push(text);
        }
        assert_eq!(net.texts("carol", session), expected);
        for app in ["alice", "bob", "carol"] {
            assert_eq!(refusals(&net, app), Vec::<String>::new());
            assert_eq!(net.snapshot(app, session).members.len(), 3, "{app}");
        }
    }
}

#[test]
fn a_group_goes_on_when_the_issuer_replaces_its_key() {
    let issuer = "https://issuer.example";
    let mut net = Net::new();
    let verifier = Verifier::jwt_autoresolve(rules()).unwrap();
    let verifier = verifier.with_keys(issuer, P256.keys()).unwrap();
    for name in ["alice", "bob"] {
        net.add_identity(name, name, P256.identity(name, 3600), verifier.clone());
    }
    let session = net.group("alice", true, &["bob"]);

    // The overlap: newcomers have tokens of the new key, members of the old one.
    let overlap = verifier
        .with_keys(issuer, KeySet::from_published_jwks(JWKS).unwrap())
        .unwrap();
    net.add_identity("carol", "carol", ED25519.identity("carol", 3600), overlap.clone());
    assert!(net.invite("alice", session, "carol").is_err());
    for app in net.apps.values_mut() {
        app.endpoint.use_verifier(net.now, overlap.clone());
    }
    net.invite("alice", session, "carol").unwrap();
    for speaker in ["alice", "bob", "carol"] {
        net.publish(speaker, session, speaker).unwrap();
    }
    assert_eq!(net.texts("carol", session), ["alice", "bob"]);
    assert_eq!(net.texts("alice", session), ["bob", "carol"]);
    net.assert_agreement(session, &["alice", "bob", "carol"]);
}
