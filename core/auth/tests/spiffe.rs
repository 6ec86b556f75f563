//! JWT-SVIDs as identities and as proofs of links (wire-session §1.6), from bundles as the Workload API gives them.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use slim_auth::{
    Identity, IdentityError, JwtBundles, JwtSigner, KeySet, LinkVerifier, TokenPart, Verifier,
    claims_audience, read_svid,
};
use slim_crypto::jwa::{Algorithm, TokenSigningKey};
use slim_crypto::{Rng, SigningKey};
use slim_proto::UnixTime;

const P256: &str = include_str!("vectors/p256.pem");
const RSA: &str = include_str!("vectors/rsa.pem");
const JWKS: &str = include_str!("vectors/jwks.json");
const NOW: UnixTime = UnixTime(1_800_000_000);
const ALICE: &str = "spiffe://example.org/alice";

/// A token as an agent hands it out; the key id is the one of the set, or none.
fn svid(algorithm: Algorithm, pem: &str, subject: &str, audiences: &[String]) -> String {
    let signer = JwtSigner {
        key: TokenSigningKey::from_text(algorithm, pem).unwrap(),
        key_id: Some(String::new()),
        issuer: None,
        audiences: audiences.to_vec(),
        subject: subject.to_owned(),
        custom_claims: String::new(),
        lifetime: Duration::from_secs(300),
    };
    // Such a token has no `pubkey` of its own, like those of links.
    slim_auth::LinkSigner::new(signer)
        .unwrap()
        .mint(NOW, &mut Rng::from_seed([1; 32]))
}

fn audiences(key: &SigningKey) -> Vec<String> {
    vec!["slim".to_owned(), claims_audience(key.public_key())]
}

/// The set of all kinds of keys, as SPIFFE bundles mark them.
fn bundle() -> String {
    let mut set: serde_json::Value = serde_json::from_str(JWKS).unwrap();
    for key in set["keys"].as_array_mut().unwrap() {
        let key = key.as_object_mut().unwrap();
        key.insert("use".to_owned(), json!("jwt-svid"));
        key.remove("alg");
    }
    set.to_string()
}

fn bundles(of: &[&str]) -> JwtBundles {
    let keys = KeySet::from_jwt_bundle(&bundle()).unwrap();
    let entries = of.iter().map(|name| (name.parse().unwrap(), keys.clone()));
    JwtBundles::new(entries.collect::<BTreeMap<_, _>>()).unwrap()
}

fn verifier() -> Verifier {
    Verifier::spiffe(bundles(&["example.org"]), vec!["slim".to_owned()])
}

#[test]
fn a_svid_is_an_identity_whose_id_is_that_of_its_spiffe_id() {
    for (algorithm, pem) in [
        (Algorithm::Es256, P256),
        (Algorithm::Rs256, RSA),
        (Algorithm::Ps512, RSA),
    ] {
        let key = SigningKey::generate_p256();
        let token = svid(algorithm, pem, ALICE, &audiences(&key));
        let identity = Identity::spiffe(&token, key).unwrap();
        assert_eq!(identity.subject(), ALICE);
        let verified = verifier().verify(&token, NOW).unwrap();
        assert_eq!(verified.subject, ALICE);
        assert_eq!(verified.public_key, identity.signing_key().public_key());
        assert_eq!(verified.name_id(), identity.name_id());
        // Five minutes live five sixths of it in an MLS leaf, then the next token takes over.
        assert_eq!(identity.credential_refresh_secs(), 250);
    }
}

#[test]
fn a_newer_token_is_taken_for_the_same_subject_and_key_only() {
    let key = SigningKey::generate_p256();
    let wanted = audiences(&key);
    let first = svid(Algorithm::Es256, P256, ALICE, &wanted);
    let identity = Identity::spiffe(&first, key).unwrap();
    let second = svid(Algorithm::Rs256, RSA, ALICE, &wanted);
    let newer = identity.with_token(&second).unwrap();
    assert_eq!(newer.token(NOW, &mut Rng::from_seed([2; 32])), second);
    assert_eq!(
        newer.signing_key().public_key(),
        identity.signing_key().public_key()
    );

    let other_key = audiences(&SigningKey::generate_p256());
    for token in [
        svid(Algorithm::Es256, P256, "spiffe://example.org/bob", &wanted),
        svid(Algorithm::Es256, P256, ALICE, &other_key),
    ] {
        assert_eq!(
            identity.with_token(&token).unwrap_err(),
            IdentityError::OtherIdentity
        );
    }
    let secret = Identity::shared_secret("a/b/c", "secret", &mut Rng::from_seed([3; 32])).unwrap();
    assert_eq!(secret.with_token(&second).unwrap_err(), IdentityError::OwnTokens);
}

#[test]
fn tokens_of_other_trust_domains_and_audiences_are_refused_each_with_its_reason() {
    let key = SigningKey::generate_p256();
    let good = audiences(&key);
    let es256 = |subject: &str, audiences: &[String]| svid(Algorithm::Es256, P256, subject, audiences);
    for (token, expected) in [
        (
            es256("spiffe://other.org/alice", &good),
            IdentityError::WrongTrustDomain,
        ),
        (
            es256(ALICE, &["else".to_owned(), good[1].clone()]),
            IdentityError::WrongAudience,
        ),
        // The audience with our own claims is none to be met by.
        (es256(ALICE, &good[1..]), IdentityError::WrongAudience),
        (
            es256(ALICE, &[]),
            IdentityError::MissingClaim(TokenPart::Audience),
        ),
        (es256(ALICE, &good[..1]), IdentityError::NoKey),
        (
            svid(Algorithm::Es256, include_str!("vectors/p256.pem"), "alice", &good),
            IdentityError::SpiffeId(slim_auth::SpiffeIdError::Scheme),
        ),
    ] {
        assert_eq!(verifier().verify(&token, NOW).unwrap_err(), expected);
    }
    let token = es256(ALICE, &good);
    let late = UnixTime(NOW.0 + 361);
    assert!(matches!(
        verifier().verify(&token, late),
        Err(IdentityError::Expired { .. })
    ));
}

#[test]
fn a_trust_domain_signs_for_its_own_ids_only() {
    let own = KeySet::from_jwt_bundle(&bundle()).unwrap();
    let bundles = BTreeMap::from([
        ("example.org".parse().unwrap(), KeySet::default()),
        ("evil.org".parse().unwrap(), own),
    ]);
    let verifier = Verifier::spiffe(JwtBundles::new(bundles).unwrap(), vec!["slim".to_owned()]);
    let key = SigningKey::generate_p256();
    let token = svid(Algorithm::Es256, P256, ALICE, &audiences(&key));
    assert_eq!(
        verifier.verify(&token, NOW).unwrap_err(),
        IdentityError::AlgorithmNotAllowed
    );
    let own = svid(
        Algorithm::Es256,
        P256,
        "spiffe://evil.org/alice",
        &audiences(&key),
    );
    assert!(verifier.verify(&own, NOW).is_ok());
}

#[test]
fn newer_bundles_replace_older_ones_at_once() {
    let key = SigningKey::generate_p256();
    let token = svid(Algorithm::Es256, P256, ALICE, &audiences(&key));
    let before = Verifier::spiffe(JwtBundles::default(), vec!["slim".to_owned()]);
    assert!(before.verify(&token, NOW).is_err());
    let after = before.with_bundles(bundles(&["example.org"])).unwrap();
    assert!(after.verify(&token, NOW).is_ok());
    let taken_away = after.with_bundles(bundles(&["other.org"])).unwrap();
    assert_eq!(
        taken_away.verify(&token, NOW).unwrap_err(),
        IdentityError::WrongTrustDomain
    );
    let jwt = Verifier::jwt(KeySet::default(), slim_auth::JwtRules::default());
    assert!(jwt.with_bundles(bundles(&["example.org"])).is_err());
}

#[test]
fn bundles_hold_keys_for_jwt_svids_only() {
    let keys = |key: serde_json::Value| {
        let text = json!({"keys": [key], "spiffe_sequence": 7, "spiffe_refresh_hint": 300}).to_string();
        KeySet::from_jwt_bundle(&text).unwrap().len()
    };
    let set: serde_json::Value = serde_json::from_str(JWKS).unwrap();
    let of_kind = |kind: &str| {
        let mut key = set["keys"]
            .as_array()
            .unwrap()
            .iter()
            .find(|key| key["kty"] == kind)
            .unwrap()
            .clone();
        key.as_object_mut().unwrap().remove("alg");
        key.as_object_mut().unwrap().remove("use");
        key
    };
    let with_use = |kind: &str, usage: &str| {
        let mut key = of_kind(kind);
        key["use"] = usage.into();
        key
    };
    assert_eq!(keys(of_kind("EC")), 1);
    assert_eq!(keys(with_use("EC", "jwt-svid")), 1);
    assert_eq!(keys(with_use("EC", "x509-svid")), 0);
    // One for each algorithm of RSA.
    assert_eq!(keys(with_use("RSA", "jwt-svid")), 6);
    assert_eq!(keys(with_use("OKP", "jwt-svid")), 0);
    assert_eq!(keys(json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"})), 0);
    assert_eq!(KeySet::from_jwt_bundle(r#"{"keys":[]}"#).unwrap().len(), 0);
    assert!(KeySet::from_jwt_bundle("[]").is_err());
}

#[test]
fn a_link_is_proven_by_a_svid_but_not_by_the_identity_of_an_application() {
    let verifier = LinkVerifier::spiffe(bundles(&["example.org"]), vec!["slim".to_owned()]);
    let link = svid(Algorithm::Es256, P256, ALICE, &["slim".to_owned()]);
    let claims = verifier.verify(&link, NOW).unwrap();
    assert_eq!(claims.subject.as_deref(), Some(ALICE));
    assert_eq!(claims.expires_at, UnixTime(NOW.0 + 360));
    let key = SigningKey::generate_p256();
    let identity = svid(Algorithm::Es256, P256, ALICE, &audiences(&key));
    assert_eq!(
        verifier.verify(&identity, NOW).unwrap_err(),
        IdentityError::IdentityAsProof
    );
    // What upstream shows for a link has a key, too: under an audience that is for links alone it is a proof.
    let audiences = vec!["slim-node".to_owned(), claims_audience(key.public_key())];
    let token = svid(Algorithm::Es256, P256, ALICE, &audiences);
    let links = LinkVerifier::spiffe(bundles(&["example.org"]), vec!["slim-node".to_owned()]);
    assert_eq!(links.verify(&token, NOW).unwrap().subject.as_deref(), Some(ALICE));
    assert!(verifier.verify(&token, NOW).is_err());
}

#[test]
fn what_the_agent_hands_out_can_be_read_before_anything_is_verified() {
    let token = svid(Algorithm::Es256, P256, ALICE, &["slim".to_owned()]);
    let claims = read_svid(&token).unwrap();
    assert_eq!(claims.id.as_str(), ALICE);
    assert_eq!(
        (claims.issued_at, claims.expires_at),
        (NOW, UnixTime(NOW.0 + 300))
    );
    let audience = claims_audience(&[1; 32]);
    let encoded = audience.strip_prefix("slim-claims:").unwrap();
    let json: serde_json::Value = serde_json::from_slice(&STANDARD.decode(encoded).unwrap()).unwrap();
    assert_eq!(json, json!({"pubkey": STANDARD.encode([1; 32])}));
}
