//! Which keys a key set takes, and for which algorithm.

use serde_json::json;

use super::*;

fn point(key: &TokenSigningKey) -> (String, String) {
    let public = key.verification_key();
    let bytes = &public.public_bytes().unwrap()[1..];
    let (x, y) = bytes.split_at(bytes.len() / 2);
    (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y))
}

fn ec(algorithm: Algorithm, curve: &str) -> Value {
    let (x, y) = point(&TokenSigningKey::generate(algorithm).unwrap());
    json!({ "kty": "EC", "crv": curve, "x": x, "y": y })
}

fn with(mut jwk: Value, name: &str, value: Value) -> Value {
    jwk[name] = value;
    jwk
}

fn algorithms(jwks: &[Value], only: Option<Algorithm>) -> Result<Vec<Algorithm>, KeySetError> {
    let set = KeySet::from_jwks(&json!({ "keys": jwks }).to_string(), only)?;
    Ok(set.0.iter().map(|key| key.key.algorithm()).collect())
}

fn rsa() -> Value {
    // Any odd number of 2048 bits will do where nothing is verified.
    json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xff; 256]), "e": "AQAB" })
}

#[test]
fn an_elliptic_key_says_its_algorithm_by_its_curve() {
    let ed = TokenSigningKey::generate(Algorithm::EdDsa)
        .unwrap()
        .verification_key();
    let ed =
        json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(ed.public_bytes().unwrap()) });
    let keys = [ec(Algorithm::Es256, "P-256"), ec(Algorithm::Es384, "P-384"), ed];
    assert_eq!(
        algorithms(&keys, None),
        Ok(vec![Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa])
    );
    assert_eq!(
        algorithms(&keys, Some(Algorithm::Es384)),
        Ok(vec![Algorithm::Es384])
    );
}

#[test]
fn rsa_keys_and_secrets_are_used_with_a_declared_or_configured_algorithm_only() {
    let secret = json!({ "kty": "oct", "k": "c2VjcmV0" });
    let keys = [rsa(), secret.clone()];
    assert_eq!(algorithms(&keys, None), Err(KeySetError::NoUsableKey(2)));
    assert_eq!(
        algorithms(&keys, Some(Algorithm::Ps256)),
        Ok(vec![Algorithm::Ps256])
    );
    assert_eq!(
        algorithms(&keys, Some(Algorithm::Hs512)),
        Ok(vec![Algorithm::Hs512])
    );
    let declared = [
        with(rsa(), "alg", "RS384".into()),
        with(secret, "alg", "HS256".into()),
    ];
    assert_eq!(
        algorithms(&declared, None),
        Ok(vec![Algorithm::Rs384, Algorithm::Hs256])
    );
    assert_eq!(
        algorithms(&declared, Some(Algorithm::Rs256)),
        Err(KeySetError::NoUsableKey(2))
    );
    let published = KeySet::from_published_jwks(&json!({ "keys": declared }).to_string()).unwrap();
    assert_eq!(published.0.len(), 1, "a published secret is none");
}

#[test]
fn keys_for_other_purposes_and_damaged_keys_are_left_out() {
    let good = ec(Algorithm::Es256, "P-256");
    assert_eq!(
        algorithms(&[with(good.clone(), "use", "sig".into())], None),
        Ok(vec![Algorithm::Es256])
    );
    let operations = with(good.clone(), "key_ops", json!(["verify"]));
    assert_eq!(algorithms(&[operations], None), Ok(vec![Algorithm::Es256]));
    for bad in [
        with(good.clone(), "use", "enc".into()),
        with(good.clone(), "key_ops", json!(["encrypt"])),
        with(good.clone(), "key_ops", json!("verify")),
        with(good.clone(), "alg", "ES384".into()),
        with(good.clone(), "alg", "ECDH-ES".into()),
        with(good.clone(), "alg", "none".into()),
        with(good.clone(), "alg", "HS256".into()),
        with(good.clone(), "alg", 7.into()),
        with(good.clone(), "kty", "OKP".into()),
        with(good.clone(), "crv", "P-384".into()),
        with(good.clone(), "crv", "P-521".into()),
        with(good.clone(), "x", "AA".into()),
        with(good.clone(), "y", "*".into()),
        with(with(rsa(), "alg", "RS256".into()), "n", "AQAB".into()),
        with(with(rsa(), "alg", "RS256".into()), "e", "".into()),
        json!({ "kty": "oct", "k": "", "alg": "HS256" }),
        // The text of a public key as a secret: algorithm confusion, configured instead of claimed.
        json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode("-----BEGIN PUBLIC KEY-----"), "alg": "HS256" }),
        json!({ "kty": "EC" }),
        json!("key"),
        json!(null),
    ] {
        assert_eq!(
            algorithms(std::slice::from_ref(&bad), None),
            Err(KeySetError::NoUsableKey(1)),
            "{bad}"
        );
        assert_eq!(
            algorithms(&[bad.clone(), good.clone()], None),
            Ok(vec![Algorithm::Es256]),
            "{bad}"
        );
    }
}

#[test]
fn a_single_key_must_be_for_the_configured_algorithm() {
    let jwk = ec(Algorithm::Es256, "P-256").to_string();
    assert_eq!(KeySet::from_jwk(&jwk, None).unwrap().len(), 1);
    assert_eq!(KeySet::from_jwk(&jwk, Some(Algorithm::Es256)).unwrap().len(), 1);
    assert_eq!(
        KeySet::from_jwk(&jwk, Some(Algorithm::Rs256)).err(),
        Some(KeySetError::OtherAlgorithm {
            configured: Algorithm::Rs256
        })
    );
    assert_eq!(
        KeySet::from_jwk("{}", None).err(),
        Some(KeySetError::NoUsableKey(1))
    );
}

#[test]
fn texts_that_are_no_key_sets_and_too_large_ones_are_refused() {
    for text in ["", "{", "[]", "7", "{}", r#"{"keys":{}}"#] {
        assert_eq!(
            KeySet::from_jwks(text, None).err(),
            Some(KeySetError::NotKeySet),
            "{text}"
        );
    }
    assert_eq!(
        KeySet::from_jwks(r#"{"keys":[]}"#, None).err(),
        Some(KeySetError::NoUsableKey(0))
    );
    let text = " ".repeat(KEY_SET_BYTES_MAX + 1);
    assert_eq!(
        KeySet::from_jwks(&text, None).err(),
        Some(KeySetError::TooLong(KEY_SET_BYTES_MAX + 1))
    );
    let key = ec(Algorithm::Es256, "P-256");
    let full = vec![key.clone(); KEY_SET_KEYS_MAX];
    assert_eq!(
        algorithms(&full, None).map(|keys| keys.len()),
        Ok(KEY_SET_KEYS_MAX)
    );
    let more = vec![key; KEY_SET_KEYS_MAX + 1];
    assert_eq!(
        algorithms(&more, None),
        Err(KeySetError::TooManyKeys(KEY_SET_KEYS_MAX + 1))
    );
    // Deep nesting ends in an error of the parser, not in a full stack.
    let deep = format!("{}{}", "[".repeat(60_000), "]".repeat(60_000));
    assert_eq!(KeySet::from_jwks(&deep, None).err(), Some(KeySetError::NotKeySet));
}
