//! What a JWT verifier refuses, and why (wire-session §1.5; lessons 15; threat T-N3).

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use common::{ISSUER, Issuer, NOW, after, claims, jwks, key_set, refused_everywhere, rng, with, without};
use serde_json::{Value, json};
use slim_auth::{
    AuthenticationError, IdentityError, JwtRules, KeySet, SignatureFailure, TokenPart, Verifier,
    authenticate, sign_message,
};
use slim_crypto::SigningKey;
use slim_crypto::jwa::{Algorithm, TokenKeyError, TokenSigningKey, TokenVerificationKey};
use slim_proto::{Command, FullName, Message, SessionKind};

const SUBJECT: &str = "org/ns/alice";

fn rules() -> JwtRules {
    JwtRules {
        issuers: vec![ISSUER.to_owned()],
        audiences: vec!["slim".to_owned(), "other".to_owned()],
        ..JwtRules::default()
    }
}

#[test]
fn every_defect_of_a_token_has_its_own_error() {
    let issuer = Issuer::new(Algorithm::Es256, Some("one"));
    let foreigner = Issuer::new(Algorithm::Es256, Some("one"));
    let stranger = Issuer::new(Algorithm::Es256, Some("two"));
    let nameless = Issuer::new(Algorithm::Es256, None);
    let other_curve = Issuer::new(Algorithm::Es384, Some("one"));
    let verifier = Verifier::jwt(key_set(&[&issuer]), rules());
    let good = claims(SUBJECT, &SigningKey::generate_p256());
    assert_eq!(
        verifier.verify(&issuer.token(&good), NOW).unwrap().subject,
        SUBJECT
    );

    let change = |name: &str, value: Value| issuer.token(&with(good.clone(), name, value));
    let lack = |name: &str| issuer.token(&without(good.clone(), name));
    let header = |header: Value| issuer.token_with_header(&header, &good);
    let token = issuer.token(&good);
    let parts: Vec<&str> = token.split('.').collect();
    let malformed = IdentityError::Malformed;
    let missing = IdentityError::MissingClaim;
    let cases = [
        (
            "from the future",
            change("iat", json!(NOW.0 + 61)),
            IdentityError::NotYetValid {
                issued_at: after(61),
                now: NOW,
            },
        ),
        ("never expires", lack("exp"), missing(TokenPart::Expiry)),
        (
            "expiry is text",
            change("exp", json!("soon")),
            malformed(TokenPart::Expiry),
        ),
        (
            "wrong audience",
            change("aud", json!(["elsewhere"])),
            IdentityError::WrongAudience,
        ),
        (
            "issuer with a slash",
            change("iss", json!(format!("{ISSUER}/"))),
            IdentityError::WrongIssuer,
        ),
        (
            "issuer is a number",
            change("iss", json!(7)),
            malformed(TokenPart::Issuer),
        ),
        ("no subject", lack("sub"), missing(TokenPart::Subject)),
        (
            "empty subject",
            change("sub", json!("")),
            malformed(TokenPart::Subject),
        ),
        ("no public key", lack("pubkey"), IdentityError::NoKey),
        (
            "public key of no algorithm",
            change("pubkey", json!("AAAA")),
            IdentityError::UnknownKey(3),
        ),
        (
            "public key in base64url",
            change("pubkey", json!("-_-_")),
            malformed(TokenPart::PublicKey),
        ),
        (
            "alg none",
            header(json!({"alg": "none"})),
            IdentityError::AlgorithmNotAllowed,
        ),
        (
            "alg None",
            header(json!({"alg": "None"})),
            IdentityError::AlgorithmNotAllowed,
        ),
        (
            "no signature",
            format!("{}.{}.", parts[0], parts[1]),
            IdentityError::WrongSignature,
        ),
        (
            "unknown algorithm",
            header(json!({"alg": "ES256K"})),
            IdentityError::AlgorithmNotAllowed,
        ),
        (
            "other algorithm",
            header(json!({"alg": "ES384"})),
            IdentityError::AlgorithmNotAllowed,
        ),
        (
            "other algorithm, known name",
            header(json!({"alg": "RS256", "kid": "one"})),
            IdentityError::AlgorithmNotAllowed,
        ),
        (
            "other key and algorithm of a known name",
            other_curve.token(&good),
            IdentityError::AlgorithmNotAllowed,
        ),
        (
            "no algorithm",
            header(json!({"kid": "one"})),
            malformed(TokenPart::Header),
        ),
        (
            "algorithm is a number",
            header(json!({"alg": 7})),
            malformed(TokenPart::Header),
        ),
        (
            "name is a number",
            header(json!({"alg": "ES256", "kid": 7})),
            malformed(TokenPart::Header),
        ),
        (
            "must be understood",
            header(json!({"alg": "ES256", "crit": ["b64"]})),
            malformed(TokenPart::Header),
        ),
        (
            "foreign key of a known name",
            foreigner.token(&good),
            IdentityError::WrongSignature,
        ),
        (
            "foreign key without name",
            nameless.token(&good),
            IdentityError::WrongSignature,
        ),
        (
            "unknown name",
            stranger.token(&good),
            IdentityError::NoMatchingKey { tried: 1 },
        ),
        ("nothing", String::new(), malformed(TokenPart::Shape)),
        (
            "two parts",
            format!("{}.{}", parts[0], parts[1]),
            malformed(TokenPart::Shape),
        ),
        ("four parts", format!("{token}.x"), malformed(TokenPart::Shape)),
        (
            "header is no base64",
            format!("*.{}.{}", parts[1], parts[2]),
            malformed(TokenPart::Header),
        ),
        (
            "claims are a list",
            format!("{}.W10.{}", parts[0], parts[2]),
            malformed(TokenPart::Claims),
        ),
        (
            "padded signature",
            format!("{token}=="),
            malformed(TokenPart::Signature),
        ),
        ("a space", format!("{token} "), malformed(TokenPart::Signature)),
        ("too long", "a".repeat(9000), IdentityError::TooLong(9000)),
    ];
    for (name, token, expected) in refused_everywhere(change).into_iter().chain(cases) {
        assert_eq!(verifier.verify(&token, NOW).unwrap_err(), expected, "{name}");
    }
}

#[test]
fn claims_can_be_required_and_subjects_restricted() {
    let issuer = Issuer::new(Algorithm::EdDsa, None);
    let good = claims(SUBJECT, &SigningKey::generate_p256());
    let verify = |rules: JwtRules, claims: &Value| {
        let verifier = Verifier::jwt(key_set(&[&issuer]), rules);
        verifier
            .verify(&issuer.token(claims), NOW)
            .map(|verified| verified.subject)
    };
    let bare = without(without(good.clone(), "iss"), "aud");
    assert_eq!(
        verify(rules(), &bare),
        Ok(SUBJECT.into()),
        "missing claims are accepted"
    );
    assert_eq!(
        verify(
            JwtRules {
                require_issuer: true,
                ..rules()
            },
            &bare
        ),
        Err(IdentityError::MissingClaim(TokenPart::Issuer))
    );
    assert_eq!(
        verify(
            JwtRules {
                require_audience: true,
                ..rules()
            },
            &bare
        ),
        Err(IdentityError::MissingClaim(TokenPart::Audience))
    );
    // §9.4 item 26: without an audience of its own a verifier takes no token that has one.
    assert_eq!(
        verify(JwtRules::default(), &good),
        Err(IdentityError::WrongAudience)
    );

    let by_id = with(without(good.clone(), "sub"), "id", json!("by-id"));
    assert_eq!(verify(rules(), &by_id), Ok("by-id".into()));
    assert_eq!(
        verify(
            JwtRules {
                require_subject: true,
                ..rules()
            },
            &by_id
        ),
        Err(IdentityError::MissingClaim(TokenPart::Subject))
    );
    let only = |subject: &str| JwtRules {
        subjects: vec![subject.to_owned()],
        ..rules()
    };
    assert_eq!(verify(only(SUBJECT), &good), Ok(SUBJECT.into()));
    assert_eq!(
        verify(only("org/ns/bob"), &good),
        Err(IdentityError::WrongSubject)
    );
}

#[test]
fn with_bound_subjects_no_member_signs_in_the_name_of_another() {
    let (alice, bob) = (
        Issuer::new(Algorithm::Es256, Some("alice")),
        Issuer::new(Algorithm::EdDsa, Some("bob")),
    );
    let bound = JwtRules {
        bind_subject: true,
        ..rules()
    };
    let judge = |bind: bool, signer: &Issuer, subject: &str| {
        let rules = if bind { bound.clone() } else { rules() };
        let verifier = Verifier::jwt(key_set(&[&alice, &bob]), rules);
        let token = signer.token(&claims(subject, &SigningKey::generate_p256()));
        verifier.verify(&token, NOW).map(|verified| verified.subject)
    };
    assert_eq!(judge(true, &alice, "alice"), Ok("alice".to_owned()));
    assert_eq!(judge(true, &bob, "bob"), Ok("bob".to_owned()));
    assert_eq!(judge(true, &bob, "alice"), Err(IdentityError::SubjectNotBound));
    assert_eq!(judge(true, &alice, "bob"), Err(IdentityError::SubjectNotBound));
    assert_eq!(judge(false, &bob, "alice"), Ok("alice".to_owned()));
    // A key that is a name itself.
    let did = |issuer: &Issuer| {
        let public = issuer.key.verification_key();
        format!(
            "did:key:z{}",
            base58(&[&[0xed, 0x01], public.public_bytes().unwrap()].concat())
        )
    };
    assert_eq!(judge(true, &bob, &did(&bob)), Ok(did(&bob)));
    let other = Issuer::new(Algorithm::EdDsa, None);
    assert_eq!(
        judge(true, &bob, &did(&other)),
        Err(IdentityError::SubjectNotBound)
    );
}

/// By long division, unlike the crate's own.
fn base58(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let (mut number, mut text) = (bytes.to_vec(), String::new());
    while number.iter().any(|byte| *byte != 0) {
        let mut rest = 0_usize;
        for byte in &mut number {
            let part = rest * 256 + usize::from(*byte);
            *byte = u8::try_from(part / 58).unwrap();
            rest = part % 58;
        }
        text.insert(0, char::from(DIGITS[rest]));
    }
    text
}

#[test]
fn a_public_key_is_no_secret() {
    let pem = include_str!("vectors/rsa.public.pem");
    let verifier = Verifier::jwt(KeySet::from_pem(Algorithm::Rs256, pem).unwrap(), rules());
    // The attack: the text of the public key as HMAC secret. Neither our signer nor a key set takes it for one...
    for algorithm in [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512] {
        let refused = TokenKeyError::PemAsSecret(algorithm);
        assert_eq!(TokenSigningKey::from_text(algorithm, pem).err(), Some(refused));
        assert_eq!(
            TokenVerificationKey::from_text(algorithm, pem).err(),
            Some(refused)
        );
        assert!(KeySet::from_pem(algorithm, pem).is_err());
    }
    // ...so the attacker does it by hand, with the text and with its DER.
    use base64::Engine as _;
    let base64url = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
    let good = claims(SUBJECT, &SigningKey::generate_p256());
    let signed = format!(
        "{}.{}",
        base64url.encode(r#"{"alg":"HS256","typ":"JWT"}"#),
        base64url.encode(good.to_string())
    );
    for secret in [pem.as_bytes(), &der] {
        let mac = base64url.encode(slim_crypto::hmac_sha256(secret, signed.as_bytes()));
        let forged = format!("{signed}.{mac}");
        assert_eq!(
            verifier.verify(&forged, NOW),
            Err(IdentityError::AlgorithmNotAllowed)
        );
        // The same signature is good where the secret is one, so the forgery is well made.
        if let Ok(key) = TokenVerificationKey::from_secret(Algorithm::Hs256, secret) {
            assert!(key.verify(signed.as_bytes(), &base64url.decode(&mac).unwrap()));
        }
    }
}

#[test]
fn with_five_keys_and_no_names_each_member_is_verified_and_a_foreigner_is_not() {
    let issuers: Vec<Issuer> = (0..5).map(|_| Issuer::new(Algorithm::Es256, None)).collect();
    let verifier = Verifier::jwt(key_set(&issuers.iter().collect::<Vec<_>>()), rules());
    for (number, issuer) in issuers.iter().enumerate() {
        let subject = format!("org/ns/member-{number}");
        let token = issuer.token(&claims(&subject, &SigningKey::generate_p256()));
        assert_eq!(verifier.verify(&token, NOW).unwrap().subject, subject);
        // The first key that fits decides: what is wrong with the claims is told, not that other keys do not fit.
        let expired = issuer.token(&with(
            claims(&subject, &SigningKey::generate_p256()),
            "exp",
            json!(1),
        ));
        assert!(matches!(
            verifier.verify(&expired, NOW),
            Err(IdentityError::Expired { .. })
        ));
    }
    let foreigner = Issuer::new(Algorithm::Es256, None);
    let token = foreigner.token(&claims(SUBJECT, &SigningKey::generate_p256()));
    assert_eq!(verifier.verify(&token, NOW), Err(IdentityError::WrongSignature));
}

#[test]
fn a_named_key_decides_alone_and_other_names_are_only_a_hint() {
    let (one, two) = (
        Issuer::new(Algorithm::Es256, Some("one")),
        Issuer::new(Algorithm::Es256, Some("two")),
    );
    let verifier = Verifier::jwt(key_set(&[&one, &two]), rules());
    let good = claims(SUBJECT, &SigningKey::generate_p256());
    for issuer in [&one, &two] {
        assert!(verifier.verify(&issuer.token(&good), NOW).is_ok());
        // Upstream signers put the subject there (§1.4).
        let by_subject = json!({"alg": "ES256", "kid": SUBJECT});
        assert!(
            verifier
                .verify(&issuer.token_with_header(&by_subject, &good), NOW)
                .is_ok()
        );
    }
    let misnamed = json!({"alg": "ES256", "kid": "two"});
    assert_eq!(
        verifier.verify(&one.token_with_header(&misnamed, &good), NOW),
        Err(IdentityError::WrongSignature)
    );
}

#[test]
fn another_members_token_does_not_sign_messages() {
    let issuer = Issuer::new(Algorithm::Es384, None);
    let verifier = Verifier::jwt(key_set(&[&issuer]), rules());
    let thief = common::identity(Algorithm::Es256, "org/ns/thief");
    let victim_key = SigningKey::generate_p256();
    let stolen = issuer.token(&claims(SUBJECT, &victim_key));
    let victim_id = verifier.verify(&stolen, NOW).unwrap().name_id();
    let name = |app: &str| FullName::new("org", "ns", app).unwrap();
    let mut message = Message::new(
        name("alice").with_id(victim_id),
        name("bob"),
        SessionKind::Group,
        7,
        8,
        Command::Heartbeat { epoch: 3 },
    );
    message.identity = stolen;
    sign_message(&thief, &mut message);
    assert_eq!(
        authenticate(&message, &verifier, NOW),
        Err(AuthenticationError::Signature(SignatureFailure::HeaderInvalid))
    );
    // With a good token of one's own, but the victim's name.
    let own = with(claims("org/ns/thief", &SigningKey::generate_p256()), "pubkey", {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD
            .encode(thief.signing_key().public_key())
            .into()
    });
    message.identity = issuer.token(&own);
    sign_message(&thief, &mut message);
    assert!(matches!(
        authenticate(&message, &verifier, NOW),
        Err(AuthenticationError::Signature(
            SignatureFailure::SourceNotBound { .. }
        ))
    ));
}

#[test]
fn a_thousand_random_changes_are_refused_without_a_panic() {
    let issuer = Issuer::new(Algorithm::Es256, Some("one"));
    let verifier = Verifier::jwt(key_set(&[&issuer]), rules());
    let token = issuer.token(&claims(SUBJECT, &SigningKey::generate_p256()));
    let mut rng = rng();
    let place = |rng: &mut slim_crypto::Rng, bound: usize| usize::try_from(rng.below(bound as u64)).unwrap();
    for _ in 0..1000 {
        let mut changed = token.clone().into_bytes();
        for _ in 0..=rng.below(3) {
            let at = place(&mut rng, changed.len());
            match rng.below(4) {
                0 => changed[at] ^= 1 << rng.below(7),
                1 => drop(changed.remove(at)),
                2 => changed.insert(at, b"A.=-_:\xc3{"[place(&mut rng, 8)]),
                _ => changed.truncate(at.max(1)),
            }
        }
        if changed == token.as_bytes() {
            continue;
        }
        let changed = String::from_utf8_lossy(&changed);
        assert!(verifier.verify(&changed, NOW).is_err(), "{changed}");
        assert!(verifier.verify_at_any_time(&changed).is_err(), "{changed}");
        drop(slim_auth::claimed_subject(&changed));
    }
}

#[test]
fn a_thousand_random_changes_of_a_key_set_never_panic() {
    let issuers = [
        Issuer::new(Algorithm::Es256, Some("one")),
        Issuer::new(Algorithm::EdDsa, None),
    ];
    let text = jwks(&[&issuers[0], &issuers[1]]);
    let mut rng = rng();
    for _ in 0..1000 {
        let mut changed = text.clone().into_bytes();
        let at = usize::try_from(rng.below(changed.len() as u64)).unwrap();
        changed[at] = b"{}[]\",:0Az_"[usize::try_from(rng.below(11)).unwrap()];
        let changed = String::from_utf8(changed).unwrap();
        if let Ok(keys) = KeySet::from_jwks(&changed, None) {
            assert!((1..=2).contains(&keys.len()));
        }
    }
}
