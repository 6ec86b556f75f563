//! JWT identities: own tokens, tokens of other implementations, key rotation, static tokens (wire-session §1.4-§1.6).

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use std::time::Duration;

use common::{ISSUER, Issuer, NOW, after, claims, identity, key_set, rng, signer, with};
use serde_json::{Value, json};
use slim_auth::{
    Identity, IdentityError, JwtRules, JwtSigner, KeySet, KeySetError, Verifier, claimed_subject,
};
use slim_crypto::SigningKey;
use slim_crypto::jwa::{Algorithm, TokenKeyError, TokenSigningKey};
use slim_proto::NameId;

const SECRET: &str = "a-secret-of-more-than-thirty-two-bytes";
const JWKS: &str = include_str!("vectors/jwks.json");
const TOKENS: &str = include_str!("vectors/tokens.jsonl");
const RSA: &str = include_str!("vectors/rsa.pem");
const RSA_PUBLIC: &str = include_str!("vectors/rsa.public.pem");
const P256: &str = include_str!("vectors/p256.pem");
const P256_PUBLIC: &str = include_str!("vectors/p256.public.pem");
const P384: &str = include_str!("vectors/p384.pem");
const P384_PUBLIC: &str = include_str!("vectors/p384.public.pem");
const ED25519: &str = include_str!("vectors/ed25519.pem");
const ED25519_PUBLIC: &str = include_str!("vectors/ed25519.public.pem");

fn rules() -> JwtRules {
    JwtRules {
        issuers: vec![ISSUER.to_owned()],
        audiences: vec!["slim".to_owned()],
        require_issuer: true,
        require_audience: true,
        require_subject: true,
        ..JwtRules::default()
    }
}

/// The texts of a key pair for an algorithm.
fn pair(algorithm: Algorithm) -> (&'static str, &'static str) {
    match algorithm {
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => (SECRET, SECRET),
        Algorithm::Es256 => (P256, P256_PUBLIC),
        Algorithm::Es384 => (P384, P384_PUBLIC),
        Algorithm::EdDsa => (ED25519, ED25519_PUBLIC),
        Algorithm::Rs256
        | Algorithm::Rs384
        | Algorithm::Rs512
        | Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512 => (RSA, RSA_PUBLIC),
    }
}

#[test]
fn own_tokens_of_all_twelve_algorithms_verify_with_pem_and_with_the_key_set() {
    let mut rng = rng();
    for algorithm in Algorithm::ALL {
        let (private, public) = pair(algorithm);
        let key = TokenSigningKey::from_text(algorithm, private).unwrap();
        let identity = Identity::jwt(signer(key, "org/ns/alice")).unwrap();
        let token = identity.token(NOW, &mut rng);
        assert_ne!(token, identity.token(NOW, &mut rng), "{algorithm}");
        for verifier in [
            Verifier::jwt(KeySet::from_pem(algorithm, public).unwrap(), rules()),
            Verifier::jwt(KeySet::from_jwks(JWKS, None).unwrap(), rules()),
            Verifier::jwt(KeySet::from_jwks(JWKS, Some(algorithm)).unwrap(), rules()),
            identity.verifier(),
        ] {
            let verified = verifier.verify(&token, NOW).unwrap();
            assert_eq!(verified.subject, "org/ns/alice", "{algorithm}");
            assert_eq!(verified.issuer.as_deref(), Some(ISSUER));
            assert_eq!(verified.public_key, identity.signing_key().public_key());
            assert_eq!(verified.issued_at, NOW);
            assert_eq!(verified.expires_at, after(3660));
            assert_eq!(verified.name_id(), identity.name_id());
            assert!(verifier.verify(&token, after(3660)).is_ok());
            assert!(matches!(
                verifier.verify(&token, after(3661)),
                Err(IdentityError::Expired { .. })
            ));
            assert!(verifier.verify_at_any_time(&token).is_ok());
            assert!(matches!(
                verifier.verify(&token, after(-61)),
                Err(IdentityError::NotYetValid { .. })
            ));
        }
    }
}

#[test]
fn tokens_of_another_implementation_verify_for_all_twelve_algorithms() {
    let holder = SigningKey::from_pem_p256(P256).unwrap();
    let mut seen = Vec::new();
    for line in TOKENS.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let algorithm = Algorithm::from_name(line["alg"].as_str().unwrap()).unwrap();
        let token = line["token"].as_str().unwrap();
        let (_, public) = pair(algorithm);
        for keys in [KeySet::from_pem(algorithm, public), KeySet::from_jwks(JWKS, None)] {
            let verified = Verifier::jwt(keys.unwrap(), rules()).verify(token, NOW).unwrap();
            assert_eq!(verified.subject, "org/ns/python");
            assert_eq!(verified.public_key, holder.public_key());
        }
        assert_eq!(claimed_subject(token).as_deref(), Some("org/ns/python"));
        seen.push(algorithm);
    }
    assert_eq!(seen, Algorithm::ALL);
}

#[test]
fn keys_are_read_in_every_usual_encoding_and_refused_for_other_algorithms() {
    let sec1 = include_str!("vectors/p256-sec1.pem");
    let pkcs1 = include_str!("vectors/rsa-pkcs1.pem");
    for (algorithm, private, public) in [
        (
            Algorithm::Es256,
            sec1,
            include_str!("vectors/p256-sec1.public.pem"),
        ),
        (
            Algorithm::Ps384,
            pkcs1,
            include_str!("vectors/rsa-pkcs1.public.pem"),
        ),
    ] {
        let key = TokenSigningKey::from_text(algorithm, private).unwrap();
        let token = Identity::jwt(signer(key, "a")).unwrap().token(NOW, &mut rng());
        let verifier = Verifier::jwt(KeySet::from_pem(algorithm, public).unwrap(), rules());
        assert_eq!(verifier.verify(&token, NOW).unwrap().subject, "a");
    }
    let public = |algorithm, text| match KeySet::from_pem(algorithm, text) {
        Err(KeySetError::Key(error)) => error,
        other => panic!("{other:?}"),
    };
    let rejected = |algorithm| TokenKeyError::Rejected { algorithm };
    for (algorithm, private, of_public) in [
        (Algorithm::Es256, P384, P384_PUBLIC),
        (Algorithm::Es384, P256, P256_PUBLIC),
        (Algorithm::EdDsa, P256, P256_PUBLIC),
        (Algorithm::Rs256, ED25519, ED25519_PUBLIC),
        (Algorithm::Es256, RSA, RSA_PUBLIC),
    ] {
        assert_eq!(
            TokenSigningKey::from_text(algorithm, private).unwrap_err(),
            rejected(algorithm)
        );
        assert_eq!(public(algorithm, of_public), rejected(algorithm));
    }
    assert_eq!(
        public(Algorithm::Rs256, include_str!("vectors/rsa-1024.public.pem")),
        rejected(Algorithm::Rs256)
    );
    assert_eq!(
        public(Algorithm::Es256, P256),
        TokenKeyError::WrongSection { expected: "public" }
    );
    assert_eq!(
        TokenSigningKey::from_text(Algorithm::Es256, P256_PUBLIC).unwrap_err(),
        TokenKeyError::WrongSection { expected: "private" }
    );
    assert_eq!(
        TokenSigningKey::from_text(Algorithm::Es256, include_str!("vectors/p256-encrypted.pem")).unwrap_err(),
        TokenKeyError::DamagedPem
    );
}

#[test]
fn a_rotation_loses_nobody_while_old_and_new_key_overlap() {
    let (old, new) = (
        Issuer::new(Algorithm::Es256, Some("old")),
        Issuer::new(Algorithm::Es256, Some("new")),
    );
    let (alice, bob) = (
        claims("alice", &SigningKey::generate_p256()),
        claims("bob", &SigningKey::generate_p256()),
    );
    let (by_old, by_new) = (old.token(&alice), new.token(&bob));

    let empty = Verifier::jwt_autoresolve(rules()).unwrap();
    assert_eq!(empty.issuers_without_keys(), [ISSUER.into()]);
    let unavailable = IdentityError::KeysUnavailable {
        issuer: ISSUER.into(),
    };
    assert_eq!(empty.verify(&by_old, NOW), Err(unavailable.clone()));

    let before = empty.with_keys(ISSUER, key_set(&[&old])).unwrap();
    let overlap = before.with_keys(ISSUER, key_set(&[&old, &new])).unwrap();
    let after = overlap.with_keys(ISSUER, key_set(&[&new])).unwrap();
    let unknown = Err(IdentityError::NoMatchingKey { tried: 1 });
    for (verifier, old_token, new_token) in [
        (&before, Ok("alice".to_owned()), unknown.clone()),
        (&overlap, Ok("alice".to_owned()), Ok("bob".to_owned())),
        (&after, unknown, Ok("bob".to_owned())),
    ] {
        let subject = |token| verifier.verify(token, NOW).map(|verified| verified.subject);
        assert_eq!(subject(&by_old), old_token);
        assert_eq!(subject(&by_new), new_token);
        assert!(verifier.issuers_without_keys().is_empty());
    }
    // Verifiers are values: the first one still knows nothing.
    assert_eq!(empty.verify(&by_old, NOW), Err(unavailable));
}

#[test]
fn each_issuer_is_trusted_with_its_own_keys_only() {
    let (one, two) = (
        Issuer::new(Algorithm::EdDsa, None),
        Issuer::new(Algorithm::EdDsa, None),
    );
    let issuers = JwtRules {
        issuers: vec!["https://one".into(), "https://two".into()],
        audiences: vec!["slim".into()],
        ..JwtRules::default()
    };
    let verifier = Verifier::jwt_autoresolve(issuers).unwrap();
    let verifier = verifier.with_keys("https://one", key_set(&[&one])).unwrap();
    assert_eq!(verifier.issuers_without_keys(), ["https://two".into()]);
    let verifier = verifier.with_keys("https://two", key_set(&[&two])).unwrap();
    let token = |signer: &Issuer, issuer: &str| {
        signer.token(&with(
            claims("a", &SigningKey::generate_p256()),
            "iss",
            json!(issuer),
        ))
    };
    assert!(verifier.verify(&token(&one, "https://one"), NOW).is_ok());
    assert!(verifier.verify(&token(&two, "https://two"), NOW).is_ok());
    assert_eq!(
        verifier.verify(&token(&two, "https://one"), NOW),
        Err(IdentityError::WrongSignature)
    );
    assert_eq!(
        verifier.verify(&token(&one, "https://three"), NOW),
        Err(IdentityError::WrongIssuer)
    );
    assert_eq!(
        verifier.with_keys("https://three", key_set(&[&one])).unwrap_err(),
        IdentityError::UnknownIssuer
    );
    let fixed = Verifier::jwt(key_set(&[&one]), JwtRules::default());
    assert_eq!(
        fixed.with_keys("https://one", key_set(&[&two])).unwrap_err(),
        IdentityError::UnknownIssuer
    );
    assert_eq!(
        Verifier::jwt_autoresolve(JwtRules::default()).unwrap_err(),
        IdentityError::NoIssuer
    );
    let many = JwtRules {
        issuers: (0..17).map(|number| format!("https://{number}")).collect(),
        ..JwtRules::default()
    };
    assert_eq!(
        Verifier::jwt_autoresolve(many).unwrap_err(),
        IdentityError::TooManyIssuers(17)
    );
}

#[test]
fn signers_that_make_no_usable_token_are_refused() {
    let refuse = |change: &dyn Fn(&mut JwtSigner)| {
        let mut signer = signer(TokenSigningKey::from_text(Algorithm::Es256, P256).unwrap(), "a");
        change(&mut signer);
        Identity::jwt(signer).unwrap_err()
    };
    assert_eq!(refuse(&|s| s.subject.clear()), IdentityError::EmptySubject);
    for (lifetime, secs) in [(0, 0), (999, 0), (3_601_000, 3601)] {
        assert_eq!(
            refuse(&|s| s.lifetime = Duration::from_millis(lifetime)),
            IdentityError::Lifetime { secs }
        );
    }
    for text in ["{", "[]", "7", "null"] {
        assert_eq!(
            refuse(&|s| s.custom_claims = text.into()),
            IdentityError::CustomClaims
        );
    }
    assert_eq!(
        refuse(&|s| s.custom_claims = r#"{"role":"x","sub":"root"}"#.into()),
        IdentityError::ReservedClaim { name: "sub" }
    );
    assert!(matches!(
        refuse(&|s| s.subject = "a".repeat(8000)),
        IdentityError::TooLong(_)
    ));
    assert!(matches!(
        refuse(&|s| s.custom_claims = " [".repeat(8000)),
        IdentityError::TooLong(_)
    ));
}

#[test]
fn own_tokens_carry_what_was_configured() {
    use base64::Engine as _;
    let key = TokenSigningKey::from_text(Algorithm::Hs256, "short").unwrap();
    let mut signer = signer(key, "org/ns/alice");
    signer.custom_claims = r#"{"role":"sensor","level":[1,2]}"#.into();
    signer.lifetime = Duration::from_secs(60);
    let identity = Identity::jwt(signer).unwrap();
    assert!(identity.secret_is_weak());
    for (lifetime, refresh) in [(3600, 3000), (600, 500), (60, 60), (1, 60)] {
        let mut signer = common::signer(TokenSigningKey::from_text(Algorithm::Hs256, SECRET).unwrap(), "a");
        signer.lifetime = Duration::from_secs(lifetime);
        assert_eq!(Identity::jwt(signer).unwrap().credential_refresh_secs(), refresh);
    }
    assert_eq!(identity.name_id(), NameId::of_subject("org/ns/alice"));
    let token = identity.token(NOW, &mut rng());
    let part = |index: usize| -> Value {
        let text = token.split('.').nth(index).unwrap();
        let json = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(text)
            .unwrap();
        serde_json::from_slice(&json).unwrap()
    };
    assert_eq!(
        part(0),
        json!({"alg": "HS256", "kid": "org/ns/alice", "typ": "JWT"})
    );
    let mut claims = part(1);
    let nonce = claims.as_object_mut().unwrap().remove("jti").unwrap();
    assert_eq!(nonce.as_str().unwrap().len(), 16);
    assert_eq!(
        claims,
        json!({
            "iss": ISSUER, "aud": ["slim"], "sub": "org/ns/alice", "role": "sensor", "level": [1, 2],
            "iat": NOW.0, "nbf": NOW.0, "exp": NOW.0 + 60,
            "pubkey": base64::engine::general_purpose::STANDARD.encode(identity.signing_key().public_key()),
        })
    );
    let named = |key_id: Option<&str>| {
        let key = TokenSigningKey::from_text(Algorithm::Hs256, SECRET).unwrap();
        let mut signer = common::signer(key, "a");
        signer.key_id = key_id.map(str::to_owned);
        signer.audiences.clear();
        signer.issuer = None;
        Identity::jwt(signer).unwrap()
    };
    // Without audience and issuer a verifier without rules takes it.
    let verifier = Verifier::jwt(KeySet::from_jwks(JWKS, None).unwrap(), JwtRules::default());
    assert!(verifier.verify(&named(None).token(NOW, &mut rng()), NOW).is_ok());
    assert!(
        verifier
            .verify(&named(Some("HS256")).token(NOW, &mut rng()), NOW)
            .is_ok()
    );
    assert_eq!(
        verifier.verify(&named(Some("p384")).token(NOW, &mut rng()), NOW),
        Err(IdentityError::AlgorithmNotAllowed)
    );
    assert!(!named(None).secret_is_weak());
}

#[test]
fn a_static_token_is_an_identity_with_the_private_key_of_its_pubkey() {
    let issuer = Issuer::new(Algorithm::Es256, None);
    let key = || SigningKey::from_pem_p256(P256).unwrap();
    let token = issuer.token(&claims("org/ns/static", &key()));
    let identity = Identity::static_jwt(&format!("{token}\n"), Some(key())).unwrap();
    assert_eq!(identity.subject(), "org/ns/static");
    assert_eq!(identity.token(after(5), &mut rng()), token);
    assert!(!identity.secret_is_weak());
    let verified = Verifier::jwt(key_set(&[&issuer]), rules())
        .verify(&token, NOW)
        .unwrap();
    assert_eq!(verified.public_key, identity.signing_key().public_key());
    // Who made it is not known to its holder.
    assert_eq!(
        identity.verifier().verify(&token, NOW),
        Err(IdentityError::AlgorithmNotAllowed)
    );

    assert_eq!(
        Identity::static_jwt(&token, None).unwrap_err(),
        IdentityError::NoPrivateKey
    );
    assert_eq!(
        Identity::static_jwt(&token, Some(SigningKey::generate_p256())).unwrap_err(),
        IdentityError::OtherPrivateKey
    );
    let keyless = issuer.token(&common::without(claims("a", &key()), "pubkey"));
    assert_eq!(
        Identity::static_jwt(&keyless, None).unwrap_err(),
        IdentityError::NoKey
    );
    assert!(matches!(
        Identity::static_jwt("no token", None),
        Err(IdentityError::Malformed(_))
    ));
}

#[test]
fn shared_secret_and_jwt_verifiers_refuse_each_others_tokens() {
    let mut rng = rng();
    let jwt = identity(Algorithm::Es256, "org/ns/alice");
    let shared = Identity::shared_secret("org/ns/bob", SECRET, &mut rng).unwrap();
    let (jwt_token, shared_token) = (jwt.token(NOW, &mut rng), shared.token(NOW, &mut rng));
    assert!(matches!(
        shared.verifier().verify(&jwt_token, NOW),
        Err(IdentityError::Malformed(_))
    ));
    assert!(matches!(
        jwt.verifier().verify(&shared_token, NOW),
        Err(IdentityError::Malformed(_))
    ));
    assert_eq!(claimed_subject(&jwt_token).as_deref(), Some("org/ns/alice"));
    assert_eq!(claimed_subject(&shared_token).as_deref(), Some(shared.subject()));
}

#[test]
fn debug_shows_no_key() {
    let key = TokenSigningKey::from_text(Algorithm::Hs256, "canary-canary").unwrap();
    let signer = signer(key, "a");
    let text = format!("{signer:?}");
    let identity = Identity::jwt(signer).unwrap();
    let keys = KeySet::from_pem(Algorithm::Hs256, "canary-canary").unwrap();
    let text = format!("{text} {identity:?} {:?} {keys:?}", identity.verifier());
    assert!(!text.contains("canary"), "{text}");
}
