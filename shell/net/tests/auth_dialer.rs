//! What a dialer shows, over real sockets: tokens that it signs, reads from a file, or gets from a provider
//! (wire-routing A12).
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/gate.rs"]
mod gate;
#[path = "common/tokens.rs"]
mod tokens;

use common::{Directory, within};
use gate::{Server, give_out, provider};
use serde_json::{Value, json};
use slim_net::{Credentials, DialError, dial_as};
use tokens::{Issuer, claims, discovery, jwks, now, with};

const ISSUER: &str = "https://issuer.example";

#[tokio::test]
async fn a_dialer_signs_a_fresh_token_for_each_dial_with_the_key_that_is_there() {
    let directory = Directory::new("auth-signing");
    let key = rcgen::KeyPair::generate().unwrap();
    directory.write("key.pem", &key.serialize_pem());
    directory.write("public.pem", &key.public_key_pem());
    let path = |name: &str| directory.path(name).display().to_string();
    let mut server = Server::start(&json!({
        "type": "jwt",
        "key": {"type": "decoding", "algorithm": "ES256", "format": "pem", "key": {"file": path("public.pem")}},
        "claims": {"audience": ["slim"], "issuer": ["me"]},
    }))
    .await;
    let auth = json!({
        "type": "jwt",
        "key": {"type": "encoding", "algorithm": "ES256", "format": "pem", "key": {"file": path("key.pem")}},
        "claims": {"audience": ["slim"], "issuer": "me", "subject": "robot"},
        "duration": "5m",
    });
    let config = server.client(&auth);
    let credentials = Credentials::of(&config);
    let mut identities = Vec::new();
    for _ in 0..2 {
        let _link = within(dial_as(&config, &credentials)).await.unwrap();
        identities.push(server.identity().await);
    }
    assert_eq!(identities[0].subject.as_deref(), Some("robot"));
    assert_ne!(identities[0].claims["jti"], identities[1].claims["jti"]);

    directory.write("key.pem", &rcgen::KeyPair::generate().unwrap().serialize_pem());
    let error = within(dial_as(&config, &credentials)).await.err().unwrap();
    assert!(matches!(error, DialError::Unauthenticated { .. }), "{error}");
    directory.write("key.pem", "no key");
    let error = within(dial_as(&config, &credentials)).await.err().unwrap();
    assert!(matches!(error, DialError::Credentials { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("the signing key of the link cannot be used"),
        "{error}"
    );
}

#[tokio::test]
async fn a_token_file_is_read_at_each_dial_and_a_missing_one_is_named() {
    let directory = Directory::new("auth-token-file");
    let issuer = Issuer::new("one");
    let key = json!({"type": "decoding", "format": "jwks", "key": {"data": jwks(&[&issuer])}});
    let server = Server::start(&json!({"type": "jwt", "key": key, "claims": {"audience": "slim"}})).await;
    let path = directory.path("token").display().to_string();
    let config = server.client(&json!({"type": "static_jwt", "token_file": path}));
    let credentials = Credentials::of(&config);
    let error = within(dial_as(&config, &credentials)).await.err().unwrap();
    assert!(
        error.to_string().contains(&path) && error.is_about_trust(),
        "{error}"
    );
    directory.write(
        "token",
        &issuer.token(&with(claims(ISSUER), "exp", json!(now() - 100))),
    );
    let error = within(dial_as(&config, &credentials)).await.err().unwrap();
    assert!(matches!(error, DialError::Unauthenticated { .. }), "{error}");
    directory.write("token", &format!("{}\n", issuer.token(&claims(ISSUER))));
    assert!(within(dial_as(&config, &credentials)).await.is_ok());
}

#[tokio::test]
async fn tokens_of_a_provider_are_asked_for_once_for_all_dials() {
    let issuer = Issuer::new("one");
    let (web, url) = provider(jwks(&[&issuer])).await;
    let mut server = Server::start(&json!({"type": "oidc", "issuer_url": url, "audience": "slim"})).await;
    let config = server.client(&json!({
        "type": "oidc", "issuer_url": url, "client_id": "robot", "client_secret": "s3cret", "scope": "a b",
        "audience": "slim",
    }));
    let token = issuer.token(&with(claims(&url), "sub", json!("robot")));
    give_out(
        &web,
        jwks(&[&issuer]),
        json!({"access_token": token, "expires_in": 600}),
    );
    let credentials = Credentials::of(&config);
    let (first, second) = tokio::join!(
        within(dial_as(&config, &credentials)),
        within(dial_as(&config, &credentials))
    );
    let _links = (first.unwrap(), second.unwrap());
    assert_eq!(server.identity().await.subject.as_deref(), Some("robot"));
    let requests = web.requests("/token");
    assert_eq!(requests.len(), 1, "single flight, then cached");
    assert!(
        requests[0].contains("authorization: Basic cm9ib3Q6czNjcmV0"),
        "{}",
        requests[0]
    );
    assert!(
        requests[0].ends_with("grant_type=client_credentials&scope=a+b&audience=slim"),
        "{}",
        requests[0]
    );
}

#[tokio::test]
async fn a_provider_that_refuses_or_is_gone_is_named_and_its_answer_is_not_shown() {
    let (web, url) = provider(String::new()).await;
    let server = Server::start(&Value::Null).await;
    let auth = json!({"type": "oidc", "issuer_url": url, "client_id": "robot", "client_secret": "s3cret"});
    let address = web.address;
    web.answer_with(move |request| match request.starts_with("POST") {
        true => (
            401,
            json!({"error": "invalid_client", "error_description": "s3cret?"}).to_string(),
        ),
        false => (200, discovery(&format!("http://{address}"))),
    });
    let error = within(server.dial(&auth)).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("refuses the token request: invalid_client"),
        "{error}"
    );
    assert!(!format!("{error} {error:?}").contains("s3cret?\""), "{error:?}");
    assert!(error.is_about_trust());
    web.answer_with(|_| (503, "busy".to_owned()));
    let error = within(server.dial(&auth)).await.unwrap_err();
    assert!(error.is_transient() && !error.is_about_trust(), "{error}");
}

#[tokio::test]
async fn a_refresh_token_that_the_provider_replaces_is_kept_in_its_file() {
    let directory = Directory::new("auth-refresh");
    directory.write("refresh", "first\n");
    let issuer = Issuer::new("one");
    let (web, url) = provider(jwks(&[&issuer])).await;
    let server = Server::start(&json!({"type": "oidc", "issuer_url": url, "audience": "slim"})).await;
    let config = server.client(&json!({
        "type": "oidc", "issuer_url": url, "client_id": "robot",
        "refresh_token_file": directory.path("refresh").display().to_string(),
    }));
    // Never fresh, so that each dial asks.
    let token = issuer.token(&claims(&url));
    let grant = json!({"access_token": token, "expires_in": 0, "refresh_token": "second"});
    give_out(&web, jwks(&[&issuer]), grant);
    let credentials = Credentials::of(&config);
    for _ in 0..2 {
        assert!(within(dial_as(&config, &credentials)).await.is_ok());
    }
    let sent = web.requests("/token");
    assert!(
        sent[0].contains("grant_type=refresh_token&refresh_token=first"),
        "{}",
        sent[0]
    );
    assert!(sent[1].contains("refresh_token=second"), "{}", sent[1]);
    assert!(sent[1].contains("client_id=robot"), "{}", sent[1]);
    assert_eq!(
        std::fs::read_to_string(directory.path("refresh")).unwrap(),
        "second"
    );
}
