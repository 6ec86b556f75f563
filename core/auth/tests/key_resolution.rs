//! Fetching the keys of issuers as dialogues in virtual time: what is asked for when, and what comes of the answers.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{ISSUER, Issuer, NOW, claims, jwks, with};
use serde_json::json;
use slim_auth::{Fetch, IdentityError, JwtRules, KeyFetchFailure, KeyResolver, Verifier};
use slim_crypto::SigningKey;
use slim_crypto::jwa::Algorithm;
use slim_proto::limits::{ISSUER_BACKOFF_MAX, ISSUER_FETCH_TIMEOUT, ISSUER_KEYS_LIFE, ISSUER_KEYS_LIFE_MAX};
use slim_proto::{Instant, Now, UnixTime};

const DISCOVERY: &str = "https://issuer.example/.well-known/openid-configuration";
const FALLBACK: &str = "https://issuer.example/.well-known/jwks.json";

/// A resolver, its clock, and the verifier as an endpoint has it.
struct Side {
    resolver: KeyResolver,
    verifier: Verifier,
    since_start: Duration,
}

impl Side {
    fn new() -> Self {
        let verifier = Verifier::jwt_autoresolve(rules(&[ISSUER])).unwrap();
        let resolver = KeyResolver::new(verifier.clone(), false, at(Duration::ZERO), [3; 32]).unwrap();
        Self {
            resolver,
            verifier,
            since_start: Duration::ZERO,
        }
    }

    fn now(&self) -> Now {
        at(self.since_start)
    }

    /// The one fetch that is wanted.
    fn fetch(&mut self) -> Fetch {
        let fetch = self.resolver.poll_fetch().expect("something to fetch");
        assert_eq!(self.resolver.poll_fetch(), None);
        fetch
    }

    fn answer(&mut self, fetch: &Fetch, body: &str) {
        let now = self.now();
        self.resolver.handle_fetched(now, fetch.id, Ok(body.as_bytes()));
        self.take();
    }

    fn fail(&mut self, fetch: &Fetch) {
        let now = self.now();
        self.resolver
            .handle_fetched(now, fetch.id, Err("cannot connect".into()));
        self.take();
    }

    /// Both documents cannot be had.
    fn fail_both(&mut self) {
        for url in [DISCOVERY, FALLBACK] {
            let fetch = self.fetch();
            assert_eq!(fetch.url, url);
            self.fail(&fetch);
        }
    }

    /// There is no discovery document, and these keys.
    fn serve(&mut self, keys: &str) {
        let discovery = self.fetch();
        self.fail(&discovery);
        let fallback = self.fetch();
        assert_eq!(fallback.url, FALLBACK);
        self.answer(&fallback, keys);
    }

    /// Lets time pass up to the next deadline and gives the time that passed.
    fn wait(&mut self) -> Duration {
        let (due, _) = self.resolver.poll_timeout().expect("something to wait for");
        let passed = due.saturating_since(self.now().mono);
        self.pass(passed);
        passed
    }

    fn pass(&mut self, time: Duration) {
        self.since_start += time;
        let now = self.now();
        self.resolver.handle_timeout(now);
        self.take();
    }

    fn ask_again(&mut self, issuer: &str) {
        let now = self.now();
        self.resolver.ask_again(now, issuer);
    }

    fn take(&mut self) {
        if let Some(verifier) = self.resolver.poll_verifier() {
            self.verifier = verifier;
        }
    }

    fn judge(&self, token: &str) -> Result<String, IdentityError> {
        self.verifier.verify(token, NOW).map(|verified| verified.subject)
    }
}

#[test]
fn the_discovery_document_leads_to_the_keys() {
    let (mut side, issuer) = (Side::new(), issuer("one"));
    let token = token(&issuer);
    assert!(matches!(
        side.judge(&token),
        Err(IdentityError::KeysUnavailable { .. })
    ));
    let discovery = side.fetch();
    assert_eq!(discovery.url, DISCOVERY);
    // A slash more or less is the same issuer; the port may be spelt out.
    let document =
        json!({ "issuer": "https://issuer.example/", "jwks_uri": "https://issuer.example:443/keys" });
    side.answer(&discovery, &document.to_string());
    let keys = side.fetch();
    assert_eq!(
        (&*keys.issuer, &*keys.url),
        (ISSUER, "https://issuer.example:443/keys")
    );
    side.answer(&keys, &jwks(&[&issuer]));
    assert_eq!(side.judge(&token), Ok("alice".to_owned()));
    assert_eq!(side.resolver.poll_fetch(), None);
}

#[test]
fn without_a_usable_discovery_document_the_well_known_key_set_is_taken() {
    for document in [
        None,
        Some("no json"),
        Some("{}"),
        Some("[]"),
        Some(r#"{"jwks_uri":7}"#),
    ] {
        let (mut side, issuer) = (Side::new(), issuer("one"));
        let discovery = side.fetch();
        match document {
            Some(document) => side.answer(&discovery, document),
            None => side.fail(&discovery),
        }
        let keys = side.fetch();
        assert_eq!(keys.url, FALLBACK);
        side.answer(&keys, &jwks(&[&issuer]));
        assert!(side.judge(&token(&issuer)).is_ok());
    }
}

#[test]
fn a_document_of_another_issuer_or_keys_of_another_origin_are_refused() {
    for (document, failure) in [
        (
            json!({ "issuer": "https://evil.example", "jwks_uri": "https://issuer.example/keys" }),
            KeyFetchFailure::OtherIssuer,
        ),
        (
            json!({ "issuer": ISSUER, "jwks_uri": "https://evil.example/keys" }),
            KeyFetchFailure::OtherOrigin,
        ),
        (
            json!({ "jwks_uri": "http://issuer.example/keys" }),
            KeyFetchFailure::OtherOrigin,
        ),
        (
            json!({ "jwks_uri": "https://issuer.example@evil.example/keys" }),
            KeyFetchFailure::OtherOrigin,
        ),
        (
            json!({ "jwks_uri": "http://169.254.169.254/latest" }),
            KeyFetchFailure::OtherOrigin,
        ),
    ] {
        let mut side = Side::new();
        let discovery = side.fetch();
        side.answer(&discovery, &document.to_string());
        assert_eq!(side.resolver.poll_fetch(), None, "{document}");
        let error = side.judge(&token(&issuer("one"))).unwrap_err();
        let expected = IdentityError::IssuerUnavailable {
            issuer: ISSUER.into(),
            failure,
        };
        assert_eq!(error, expected);
    }
}

#[test]
fn an_unreachable_issuer_and_a_wrong_signature_are_different_errors() {
    let (mut side, issuer, forger) = (Side::new(), issuer("one"), issuer("one"));
    side.fail_both();
    let error = side.judge(&token(&issuer)).unwrap_err();
    assert!(error.is_about_missing_keys());
    assert!(error.to_string().contains("cannot connect"), "{error}");
    side.wait();
    side.serve(&jwks(&[&issuer]));
    assert_eq!(side.judge(&token(&forger)), Err(IdentityError::WrongSignature));
    assert_eq!(side.judge(&token(&issuer)), Ok("alice".to_owned()));
}

#[test]
fn a_failing_issuer_is_asked_later_and_later_and_each_failure_costs_one_attempt() {
    let mut side = Side::new();
    let mut pauses = Vec::new();
    for _ in 0..14 {
        side.fail_both();
        // However many tokens come meanwhile: the back-off decides.
        side.ask_again(ISSUER);
        assert_eq!(side.resolver.poll_fetch(), None);
        pauses.push(side.wait());
    }
    for (attempt, pause) in pauses.iter().enumerate() {
        let whole = Duration::from_secs(1 << attempt).min(ISSUER_BACKOFF_MAX);
        assert!(
            *pause >= whole / 2 && *pause <= whole,
            "{attempt}: {pause:?} of {whole:?}"
        );
    }
    side.serve(&jwks(&[&issuer("one")]));
    assert_eq!(side.wait(), ISSUER_KEYS_LIFE);
}

#[test]
fn an_answer_that_does_not_come_is_a_failure_and_late_it_is_ignored() {
    let (mut side, issuer) = (Side::new(), issuer("one"));
    let discovery = side.fetch();
    assert_eq!(side.wait(), ISSUER_FETCH_TIMEOUT);
    assert!(matches!(
        side.judge(&token(&issuer)),
        Err(IdentityError::IssuerUnavailable {
            failure: KeyFetchFailure::TimedOut,
            ..
        })
    ));
    side.answer(&discovery, "{}");
    assert_eq!(side.resolver.poll_fetch(), None);
    side.wait();
    assert_eq!(side.fetch().url, DISCOVERY);
}

#[test]
fn what_is_no_key_set_is_a_failure_with_its_reason() {
    for body in [
        "",
        "<html>",
        "{}",
        r#"{"keys":[]}"#,
        r#"{"keys":[{"kty":"oct","k":"AAAA","alg":"HS256"}]}"#,
    ] {
        let mut side = Side::new();
        side.serve(body);
        assert!(
            matches!(
                side.judge(&token(&issuer("one"))),
                Err(IdentityError::IssuerUnavailable {
                    failure: KeyFetchFailure::KeySet(_),
                    ..
                })
            ),
            "{body}"
        );
    }
}

#[test]
fn keys_are_fetched_anew_each_hour_and_retired_ones_vanish() {
    let (mut side, old, new) = (Side::new(), issuer("old"), issuer("new"));
    side.serve(&jwks(&[&old]));
    assert_eq!(side.wait(), ISSUER_KEYS_LIFE);
    // While the new ones are on their way the old ones count.
    assert!(side.judge(&token(&old)).is_ok());
    side.serve(&jwks(&[&new]));
    assert!(side.judge(&token(&old)).is_err());
    assert!(side.judge(&token(&new)).is_ok());
}

#[test]
fn keys_outlive_an_outage_of_hours_and_no_longer() {
    let (mut side, issuer) = (Side::new(), issuer("one"));
    side.serve(&jwks(&[&issuer]));
    side.wait();
    while side.since_start < ISSUER_KEYS_LIFE_MAX {
        assert!(side.judge(&token(&issuer)).is_ok(), "{:?}", side.since_start);
        side.fail_both();
        side.wait();
    }
    side.fail_both();
    assert!(side.judge(&token(&issuer)).unwrap_err().is_about_missing_keys());
}

#[test]
fn a_rotation_is_followed_at_once_and_forged_keys_cost_one_fetch_a_minute() {
    let mut side = Side::new();
    let issuers: Vec<_> = ["one", "two", "three"].map(issuer).into();
    side.serve(&jwks(&[&issuers[0]]));
    for (old, new) in issuers.iter().zip(&issuers[1..]) {
        side.pass(Duration::from_secs(5));
        let by_new = token(new);
        assert_eq!(
            side.judge(&by_new),
            Err(IdentityError::NoMatchingKey { tried: 1 })
        );
        let wanted = side.verifier.issuer_to_ask_again(&by_new);
        side.ask_again(wanted.as_deref().expect("the issuer"));
        side.serve(&jwks(&[old, new]));
        assert!(side.judge(&by_new).is_ok());
        assert!(side.judge(&token(old)).is_ok());
        side.pass(Duration::from_secs(1));
        side.ask_again(ISSUER);
        side.serve(&jwks(&[new]));
    }
    // From here on nothing is new.
    side.pass(Duration::from_secs(1));
    side.ask_again(ISSUER);
    side.serve(&jwks(&[&issuers[2]]));
    for _ in 0..59 {
        side.pass(Duration::from_secs(1));
        side.ask_again(ISSUER);
        assert_eq!(side.resolver.poll_fetch(), None);
    }
    side.pass(Duration::from_secs(1));
    for _ in 0..100 {
        side.ask_again(ISSUER);
    }
    side.serve(&jwks(&[&issuers[2]]));
    assert_eq!(side.resolver.poll_fetch(), None);
}

#[test]
fn only_a_token_that_names_no_known_key_is_a_reason_to_ask() {
    let (mut side, issuer) = (Side::new(), issuer("one"));
    assert_eq!(side.verifier.issuer_to_ask_again(&token(&issuer)), None);
    side.serve(&jwks(&[&issuer]));
    let asks = |token: &str| side.verifier.issuer_to_ask_again(token).is_some();
    assert!(!asks(&token(&issuer)));
    // Forged under the name of a key that is there.
    assert!(!asks(&token(&Issuer::new(Algorithm::EdDsa, Some("one")))));
    assert!(asks(&token(&Issuer::new(Algorithm::EdDsa, Some("two")))));
    assert!(asks(&token(&Issuer::new(Algorithm::Es256, None))));
    assert!(!asks("no token"));
    let elsewhere = with(claims_of_alice(), "iss", json!("https://evil.example"));
    assert!(!asks(&Issuer::new(Algorithm::EdDsa, None).token(&elsewhere)));
}

#[test]
fn issuers_that_no_rule_names_are_never_asked() {
    let mut side = Side::new();
    side.serve(&jwks(&[&issuer("one")]));
    side.pass(Duration::from_secs(120));
    side.ask_again("https://evil.example");
    assert_eq!(side.resolver.poll_fetch(), None);
}

#[test]
fn each_issuer_has_a_fetch_of_its_own() {
    let issuers = ["https://one.example", "https://two.example/realm/"];
    let verifier = Verifier::jwt_autoresolve(rules(&issuers)).unwrap();
    let now = at(Duration::ZERO);
    let mut resolver = KeyResolver::new(verifier, false, now, [3; 32]).unwrap();
    let urls: Vec<String> = std::iter::from_fn(|| resolver.poll_fetch())
        .map(|fetch| fetch.url)
        .collect();
    assert_eq!(
        urls,
        [
            "https://one.example/.well-known/openid-configuration",
            "https://two.example/realm/.well-known/openid-configuration",
        ]
    );
}

#[test]
fn issuers_without_a_safe_address_are_refused_at_the_start() {
    let make = |issuer: &str, plain_text: bool| {
        let verifier = Verifier::jwt_autoresolve(rules(&[issuer])).unwrap();
        KeyResolver::new(verifier, plain_text, at(Duration::ZERO), [3; 32]).map(drop)
    };
    let refused = |issuer: &str| {
        Err(IdentityError::IssuerAddress {
            issuer: issuer.into(),
        })
    };
    for issuer in ["my-issuer", "http://issuer.example", "file:///keys"] {
        assert_eq!(make(issuer, false), refused(issuer));
    }
    assert_eq!(make("http://issuer.example", true), Ok(()));
    assert_eq!(make("http://localhost:8080", false), Ok(()));
    // Fixed keys need nobody.
    let fixed = Verifier::shared_secret("a secret");
    let resolver = KeyResolver::new(fixed, false, at(Duration::ZERO), [3; 32]).unwrap();
    assert_eq!(resolver.poll_timeout(), None);
}

fn at(since_start: Duration) -> Now {
    Now {
        mono: Instant::from_start(since_start),
        unix: UnixTime(NOW.0 + since_start.as_secs()),
    }
}

fn rules(issuers: &[&str]) -> JwtRules {
    JwtRules {
        issuers: issuers.iter().map(|issuer| (*issuer).to_owned()).collect(),
        audiences: vec!["slim".to_owned()],
        ..JwtRules::default()
    }
}

fn issuer(key_id: &'static str) -> Arc<Issuer> {
    Arc::new(Issuer::new(Algorithm::EdDsa, Some(key_id)))
}

fn claims_of_alice() -> serde_json::Value {
    claims("alice", &SigningKey::generate_p256())
}

fn token(issuer: &Issuer) -> String {
    issuer.token(&claims_of_alice())
}
