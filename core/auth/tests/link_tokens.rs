//! Bearer tokens of links: which are accepted without a `pubkey`, and which are refused, and why (wire-routing A12).

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use std::time::Duration;

use common::{ISSUER, Issuer, NOW, after, claims, key_set, refused_everywhere, rng, with, without};
use serde_json::{Value, json};
use slim_auth::{IdentityError, JwtRules, JwtSigner, KeySet, LinkSigner, LinkVerifier, TokenPart};
use slim_crypto::SigningKey;
use slim_crypto::jwa::{Algorithm, TokenSigningKey, TokenVerificationKey};

fn rules() -> JwtRules {
    JwtRules {
        issuers: vec![ISSUER.to_owned()],
        audiences: vec!["slim".to_owned()],
        ..JwtRules::default()
    }
}

/// Claims of a good token: no `pubkey`.
fn good() -> Value {
    without(claims("alice", &SigningKey::generate_p256()), "pubkey")
}

#[test]
fn a_token_without_a_public_key_opens_links_and_all_its_claims_are_known() {
    let issuer = Issuer::new(Algorithm::Es256, Some("one"));
    let verifier = LinkVerifier::fixed(key_set(&[&issuer]), rules());
    let token = issuer.token(&with(good(), "groups", json!(["admin", "dev"])));
    let verified = verifier.verify(&token, NOW).unwrap();
    assert_eq!(verified.subject.as_deref(), Some("alice"));
    assert_eq!(verified.issuer.as_deref(), Some(ISSUER));
    assert_eq!(verified.expires_at, after(3660));
    assert_eq!(verified.claims["groups"], json!(["admin", "dev"]));
}

#[test]
fn a_subject_is_needed_only_if_the_rules_ask_for_one() {
    let issuer = Issuer::new(Algorithm::EdDsa, None);
    let token = issuer.token(&with(without(good(), "sub"), "client_id", json!("robot")));
    let verify = |rules| LinkVerifier::fixed(key_set(&[&issuer]), rules).verify(&token, NOW);
    let verified = verify(rules()).unwrap();
    assert_eq!(verified.subject, None);
    assert_eq!(verified.claims["client_id"], "robot");
    let missing = Err(IdentityError::MissingClaim(TokenPart::Subject));
    let subjects = vec!["robot".to_owned()];
    assert_eq!(verify(JwtRules { subjects, ..rules() }), missing);
    let demanding = JwtRules {
        require_subject: true,
        ..rules()
    };
    assert_eq!(verify(demanding), missing);
    let empty = issuer.token(&with(good(), "sub", json!("")));
    assert_eq!(
        LinkVerifier::fixed(key_set(&[&issuer]), rules()).verify(&empty, NOW),
        Err(IdentityError::Malformed(TokenPart::Subject))
    );
}

#[test]
fn with_bound_subjects_a_trusted_key_opens_links_in_its_own_name_only() {
    let (alice, bob) = (
        Issuer::new(Algorithm::Es256, Some("alice")),
        Issuer::new(Algorithm::Es256, Some("bob")),
    );
    let bound = JwtRules {
        bind_subject: true,
        ..rules()
    };
    let verifier = LinkVerifier::fixed(key_set(&[&alice, &bob]), bound);
    assert!(verifier.verify(&alice.token(&good()), NOW).is_ok());
    assert_eq!(
        verifier.verify(&bob.token(&good()), NOW),
        Err(IdentityError::SubjectNotBound)
    );
}

#[test]
fn every_defect_of_a_link_token_has_its_own_error() {
    let issuer = Issuer::new(Algorithm::Es256, Some("one"));
    let impostor = Issuer::new(Algorithm::Es256, Some("one"));
    let stranger = Issuer::new(Algorithm::Es256, Some("two"));
    let verifier = LinkVerifier::fixed(key_set(&[&issuer]), rules());
    let change = |name: &str, value: Value| issuer.token(&with(good(), name, value));
    // Whatever its secret is, also the text of the public key: the listener's key is for another algorithm.
    let confused = Issuer::new(Algorithm::Hs256, Some("one"));
    let missing = IdentityError::MissingClaim;
    let cases = [
        (
            "without end",
            issuer.token(&without(good(), "exp")),
            missing(TokenPart::Expiry),
        ),
        (
            "wrong audience",
            change("aud", json!("other")),
            IdentityError::WrongAudience,
        ),
        (
            "alg none",
            issuer.token_with_header(&json!({"alg": "none"}), &good()),
            IdentityError::AlgorithmNotAllowed,
        ),
        (
            "unknown kid",
            stranger.token(&good()),
            IdentityError::NoMatchingKey { tried: 1 },
        ),
        (
            "another's key under a known name",
            impostor.token(&good()),
            IdentityError::WrongSignature,
        ),
        (
            "no token",
            "opaque".to_owned(),
            IdentityError::Malformed(TokenPart::Shape),
        ),
        (
            "HS256 where public keys are configured",
            confused.token(&good()),
            IdentityError::AlgorithmNotAllowed,
        ),
    ];
    for (name, token, expected) in refused_everywhere(change).into_iter().chain(cases) {
        assert_eq!(verifier.verify(&token, NOW).unwrap_err(), expected, "{name}");
    }
}

#[test]
fn keys_of_an_issuer_may_come_later_and_sign_for_it_alone() {
    let (ours, theirs) = (
        Issuer::new(Algorithm::Es256, Some("one")),
        Issuer::new(Algorithm::Es256, Some("two")),
    );
    let issuers = vec![ISSUER.to_owned(), "https://second.example".to_owned()];
    let verifier = LinkVerifier::per_issuer(JwtRules { issuers, ..rules() }).unwrap();
    assert_eq!(verifier.issuers_without_keys().len(), 2);
    let token = ours.token(&good());
    assert_eq!(
        verifier.verify(&token, NOW),
        Err(IdentityError::KeysUnavailable {
            issuer: ISSUER.into()
        })
    );
    let verifier = verifier.with_keys(ISSUER, key_set(&[&ours])).unwrap();
    let verifier = verifier
        .with_keys("https://second.example", key_set(&[&theirs]))
        .unwrap();
    assert!(verifier.verify(&token, NOW).is_ok());
    assert_eq!(
        verifier.verify(&theirs.token(&good()), NOW),
        Err(IdentityError::NoMatchingKey { tried: 1 })
    );
    assert!(LinkVerifier::per_issuer(JwtRules::default()).is_err());
}

#[test]
fn a_link_signer_makes_tokens_that_a_listener_accepts_and_that_carry_no_key() {
    let signer = |subject: &str| {
        LinkSigner::new(JwtSigner {
            key: TokenSigningKey::from_text(Algorithm::Hs256, &"s".repeat(32)).unwrap(),
            key_id: None,
            issuer: Some(ISSUER.to_owned()),
            audiences: vec!["slim".to_owned()],
            subject: subject.to_owned(),
            custom_claims: r#"{"tenant":"blue"}"#.to_owned(),
            lifetime: Duration::from_secs(60),
        })
        .unwrap()
    };
    let keys = KeySet::from_pem(Algorithm::Hs256, &"s".repeat(32)).unwrap();
    let verifier = LinkVerifier::fixed(keys, rules());
    let mut rng = rng();
    let alice = signer("alice");
    let (first, second) = (alice.mint(NOW, &mut rng), alice.mint(NOW, &mut rng));
    assert_ne!(first, second);
    let verified = verifier.verify(&first, NOW).unwrap();
    assert_eq!(verified.subject.as_deref(), Some("alice"));
    assert_eq!(verified.claims["tenant"], "blue");
    assert!(!verified.claims.contains_key("pubkey"));
    assert!(verifier.verify(&first, after(121)).is_err());
    let nameless = verifier.verify(&signer("").mint(NOW, &mut rng), NOW).unwrap();
    assert_eq!(nameless.subject, None);
}

#[test]
fn nothing_of_keys_or_tokens_is_printed() {
    let key = TokenVerificationKey::from_secret(Algorithm::Hs256, &[7; 32]).unwrap();
    assert!(!format!("{key:?}").contains('7'));
    let keys = KeySet::from_pem(Algorithm::Hs256, &"hunter22".repeat(4)).unwrap();
    let verifier = LinkVerifier::fixed(keys, rules());
    assert_eq!(format!("{verifier:?}"), "LinkVerifier([redacted])");
}
