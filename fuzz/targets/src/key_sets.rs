//! What web servers answer: key sets and discovery documents of issuers, grants of providers; and keys in files.

use std::sync::Arc;
use std::time::Duration;

use slim_auth::{JwtRules, KeyResolver, KeySet, Verifier, read_grant, read_refusal, read_token_endpoint};
use slim_crypto::jwa::{Algorithm, TokenSigningKey};
use slim_proto::limits::KEY_SET_KEYS_MAX;
use slim_proto::{Instant, Now};

use crate::script::Script;

const ISSUER: &str = "https://issuer.example";

/// A document in every place where one of its kind is read.
pub fn key_sets(data: &[u8]) {
    let mut script = Script::new(data);
    let algorithm = script.choose(&Algorithm::ALL).copied();
    let body = script.rest();
    resolves(body);
    let _ = read_grant(body, Instant::ZERO);
    let _ = read_refusal(body);
    if let Ok(endpoint) = read_token_endpoint(body, ISSUER) {
        assert!(!endpoint.url.is_empty() || body.windows(2).any(|pair| pair == b"\"\""));
    }
    let Ok(text) = std::str::from_utf8(body) else {
        return;
    };
    let sets = [
        KeySet::from_published_jwks(text),
        KeySet::from_jwks(text, None),
        KeySet::from_jwks(text, algorithm),
        KeySet::from_jwk(text, algorithm),
    ];
    for set in sets.iter().flatten() {
        assert!((1..=KEY_SET_KEYS_MAX).contains(&set.len()));
    }
    if let [Ok(published), Ok(every), ..] = &sets {
        assert!(published.len() <= every.len());
    }
    // One for each algorithm that a key could be for.
    if let Ok(bundle) = KeySet::from_jwt_bundle(text) {
        assert!(bundle.len() <= KEY_SET_KEYS_MAX * Algorithm::ALL.len());
    }
    if let Some(algorithm) = algorithm {
        let _ = KeySet::from_pem(algorithm, text);
        if let Ok(key) = TokenSigningKey::from_text(algorithm, text) {
            assert_eq!(key.algorithm(), algorithm);
        }
    }
}

/// An issuer answers everything with this body: it is asked for something else, or again after a while, or not at all.
fn resolves(body: &[u8]) {
    let rules = JwtRules {
        issuers: vec![ISSUER.into()],
        ..JwtRules::default()
    };
    let verifier = Verifier::jwt_autoresolve(rules).expect("rules that name an issuer");
    let mut now = Now::default();
    let mut resolver =
        KeyResolver::new(verifier, false, now, [2; 32]).expect("the issuer has a usable address");
    for _ in 0..6 {
        while let Some(fetch) = resolver.poll_fetch() {
            assert!(
                is_of_issuer(&fetch.url),
                "an issuer sends us elsewhere: {}",
                fetch.url
            );
            resolver.handle_fetched(now, fetch.id, Ok(body));
        }
        let Some((at, _)) = resolver.poll_timeout() else {
            break;
        };
        assert!(at > now.mono, "a resolver that is never content");
        now.mono = at + Duration::from_millis(1);
        resolver.handle_timeout(now);
    }
    if let Some(fetch) = resolver.poll_fetch() {
        resolver.handle_fetched(now, fetch.id, Err(Arc::from("no answer")));
    }
}

/// Scheme, host and port are those of the issuer.
fn is_of_issuer(url: &str) -> bool {
    let authority = url
        .strip_prefix("https://")
        .and_then(|rest| rest.split(['/', '?', '#', '\\']).next());
    authority.is_some_and(|authority| {
        ["issuer.example", "issuer.example:443"].contains(&authority.to_ascii_lowercase().as_str())
    })
}
