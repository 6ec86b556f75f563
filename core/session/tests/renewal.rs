//! Identities that are renewed while sessions run: another signing key, a newer token (wire-session §1.4, §1.6).
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, missing_docs)]

mod common;

use std::time::Duration;

use common::{Net, pair_config};
use slim_auth::{Identity, IdentityError, JwtRules, JwtSigner, KeySet, Verifier};
use slim_crypto::SigningKey;
use slim_crypto::jwa::{Algorithm, TokenSigningKey};
use slim_session::Event;

const OLD: Key = Key {
    algorithm: Algorithm::Es256,
    private: include_str!("../../auth/tests/vectors/p256.pem"),
    public: include_str!("../../auth/tests/vectors/p256.public.pem"),
};
const NEW: Key = Key {
    algorithm: Algorithm::EdDsa,
    private: include_str!("../../auth/tests/vectors/ed25519.pem"),
    public: include_str!("../../auth/tests/vectors/ed25519.public.pem"),
};
const JWKS: &str = include_str!("../../auth/tests/vectors/jwks.json");

struct Key {
    algorithm: Algorithm,
    private: &'static str,
    public: &'static str,
}

impl Key {
    fn signer(&self, name: &str, lifetime: Duration) -> JwtSigner {
        JwtSigner {
            key: TokenSigningKey::from_text(self.algorithm, self.private).unwrap(),
            key_id: None,
            issuer: None,
            audiences: Vec::new(),
            subject: name.to_owned(),
            custom_claims: String::new(),
            lifetime,
        }
    }

    fn verifier(&self) -> Verifier {
        Verifier::jwt(
            KeySet::from_pem(self.algorithm, self.public).unwrap(),
            JwtRules::default(),
        )
    }
}

const HOUR: Duration = Duration::from_secs(3600);

fn both() -> Verifier {
    Verifier::jwt(KeySet::from_jwks(JWKS, None).unwrap(), JwtRules::default())
}

fn rotate(net: &mut Net, name: &str, key: &Key, lifetime: Duration) {
    let now = net.now;
    let app = net.apps.get_mut(name).unwrap();
    let identity = app.identity.with_signer(key.signer(name, lifetime)).unwrap();
    app.identity = identity.clone();
    app.endpoint.use_identity(now, identity).unwrap();
    net.settle();
}

#[test]
fn a_group_moves_to_another_signing_key_and_newcomers_need_to_know_the_new_one_only() {
    let mut net = Net::new();
    let names = ["alice", "bob", "carol"];
    for name in names {
        let identity = Identity::jwt(OLD.signer(name, HOUR)).unwrap();
        net.add_identity(name, name, identity, both());
    }
    let session = net.group("alice", true, &["bob", "carol"]);
    for name in names {
        rotate(&mut net, name, &NEW, HOUR);
        net.publish(name, session, name).unwrap();
    }
    // The old key is retired when every leaf had the time to follow.
    net.advance(Duration::from_secs(120));
    for name in names {
        net.use_verifier(name, &NEW.verifier());
    }
    let dave = Identity::jwt(NEW.signer("dave", HOUR)).unwrap();
    net.add_identity("dave", "dave", dave, NEW.verifier());
    net.invite("alice", session, "dave").unwrap();
    net.publish("dave", session, "dave").unwrap();
    assert_eq!(net.texts("bob", session), ["alice", "carol", "dave"]);
    net.assert_agreement(session, &["alice", "bob", "carol", "dave"]);
    for name in names {
        assert_eq!(net.app(name).endpoint.counters().identity_refused, 0, "{name}");
        assert!(!net.app(name).events.iter().any(|event| matches!(
            event,
            Event::Lost { .. } | Event::Closed { .. } | Event::IdentityRefused { .. }
        )));
    }
}

#[test]
fn rotating_every_five_seconds_for_two_minutes_loses_nothing() {
    for mls in [true, false] {
        let mut net = Net::new();
        let names = ["alice", "bob", "carol"];
        for name in names {
            let identity = Identity::jwt(OLD.signer(name, HOUR)).unwrap();
            net.add_identity(name, name, identity, both());
        }
        let session = net.group("alice", mls, &["bob", "carol"]);
        let mut sent = Vec::new();
        for round in 0..24 {
            let key = if round % 2 == 0 { &NEW } else { &OLD };
            for name in names {
                rotate(&mut net, name, key, HOUR);
            }
            for second in 0..5 {
                let text = format!("{round}.{second}");
                net.publish("alice", session, &text).unwrap();
                sent.push(text);
                net.advance(Duration::from_secs(1));
            }
        }
        assert_eq!(net.texts("bob", session), sent);
        assert_eq!(net.texts("carol", session), sent);
        if mls {
            net.assert_agreement(session, &names);
            let epoch = net.snapshot("bob", session).epoch.unwrap();
            // Leaves follow, but not each time: every refresh is a commit of the whole group.
            assert!((5..40).contains(&epoch), "{epoch}");
        }
    }
}

#[test]
fn the_first_message_after_a_renewal_has_the_new_token() {
    let mut net = Net::new();
    for name in ["alice", "bob"] {
        let identity = Identity::jwt(OLD.signer(name, HOUR)).unwrap();
        net.add_identity(name, name, identity, both());
    }
    let pair = net.open("alice", pair_config("bob", false));
    net.publish("alice", pair, "one").unwrap();
    rotate(&mut net, "alice", &NEW, HOUR);
    // Bob trusts the new key alone from now on.
    net.use_verifier("bob", &NEW.verifier());
    net.publish("alice", pair, "two").unwrap();
    assert_eq!(net.texts("bob", pair), ["one", "two"]);
}

#[test]
fn another_subject_or_signature_key_is_refused_and_nothing_changes() {
    let mut net = Net::new();
    for name in ["alice", "bob"] {
        let identity = Identity::jwt(OLD.signer(name, HOUR)).unwrap();
        net.add_identity(name, name, identity, both());
    }
    let pair = net.open("alice", pair_config("bob", true));
    let now = net.now;
    for other in [
        Identity::jwt(OLD.signer("mallory", HOUR)).unwrap(),
        Identity::jwt(OLD.signer("alice", HOUR)).unwrap(),
    ] {
        let endpoint = &mut net.apps.get_mut("alice").unwrap().endpoint;
        assert_eq!(
            endpoint.use_identity(now, other),
            Err(IdentityError::OtherIdentity)
        );
    }
    let alice = &net.app("alice").identity;
    assert!(alice.with_signer(OLD.signer("mallory", HOUR)).is_err());
    net.publish("alice", pair, "still alice").unwrap();
    assert_eq!(net.texts("bob", pair), ["still alice"]);
}

#[test]
fn a_given_token_is_replaced_before_it_expires() {
    let signature_key = include_str!("../../auth/tests/vectors/p256.pem");
    let token = |net: &Net| {
        // The issuer binds the token to the key of its holder, as a signer does for itself.
        let key = SigningKey::from_pem_p256(signature_key).unwrap();
        let maker = Identity::jwt_with_key(NEW.signer("alice", Duration::from_secs(300)), key).unwrap();
        let mut rng = slim_crypto::Rng::from_seed([7; 32]);
        maker.token(net.now.unix, &mut rng)
    };
    let mut net = Net::new();
    let key = SigningKey::from_pem_p256(signature_key).unwrap();
    let alice = Identity::static_jwt(&token(&net), Some(key)).unwrap();
    net.add_identity("alice", "alice", alice, both());
    let bob = Identity::jwt(OLD.signer("bob", HOUR)).unwrap();
    net.add_identity("bob", "bob", bob, both());
    let session = net.group("alice", true, &["bob"]);
    for minute in 0..30 {
        net.publish("alice", session, &minute.to_string()).unwrap();
        net.advance(Duration::from_secs(60));
        if minute % 4 == 3 {
            let (now, token) = (net.now, token(&net));
            let app = net.apps.get_mut("alice").unwrap();
            app.identity = app.identity.with_token(&token).unwrap();
            let identity = app.identity.clone();
            app.endpoint.use_identity(now, identity).unwrap();
            net.settle();
        }
    }
    assert_eq!(net.texts("bob", session).len(), 30);
    assert_eq!(net.app("bob").endpoint.counters().identity_refused, 0);
    net.assert_agreement(session, &["alice", "bob"]);
}
