//! Who may open a call, over real sockets: each kind of credential, good and bad, and what the dialer hears
//! (wire-routing A12).
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/gate.rs"]
mod gate;
#[path = "common/tokens.rs"]
mod tokens;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Directory, within};
use gate::{Server, keys_at, provider, static_jwt};
use http::StatusCode;
use serde_json::{Value, json};
use slim_net::grpc::{PATH, PATH_0_4};
use slim_net::{Code, ConnectionEnd, DialError};
use slim_policy::AuthMethod;
use tokens::{Issuer, claims, jwks, now, with};

const ISSUER: &str = "https://issuer.example";

#[tokio::test]
async fn a_name_and_a_password_open_a_call_and_nothing_else_does() {
    let auth = json!({"type": "basic", "username": "alice", "password": "correct horse"});
    let mut server = Server::start(&auth).await;
    let _link = within(server.dial(&auth)).await.unwrap();
    let identity = server.identity().await;
    assert_eq!(
        (identity.method, identity.subject.as_deref()),
        (AuthMethod::Basic, Some("alice"))
    );

    let wrong = json!({"type": "basic", "username": "alice", "password": "correct hors"});
    let error = within(server.dial(&wrong)).await.unwrap_err();
    assert!(
        matches!(&error, DialError::Unauthenticated { shown: true, .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("does not accept the credentials"),
        "{error}"
    );
    assert!(error.is_about_trust() && !error.is_transient());
    let error = within(server.dial(&Value::Null)).await.unwrap_err();
    assert!(
        matches!(&error, DialError::Unauthenticated { shown: false, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("set `auth`"), "{error}");
    assert!(server.calls.try_recv().is_err(), "no stream opened");
}

#[tokio::test]
async fn a_refusal_is_a_plain_http_answer_without_body() {
    let issuer = Issuer::new("one");
    let jwt = server_jwt(&json!({"type": "decoding", "format": "jwks", "key": {"data": jwks(&[&issuer])}}));
    let basic = json!({"type": "basic", "username": "a", "password": "b"});
    for (auth, header, status, challenge) in [
        (&basic, None, StatusCode::UNAUTHORIZED, Some("Basic")),
        (
            &basic,
            Some(format!("Basic {}", STANDARD.encode("a:c"))),
            StatusCode::UNAUTHORIZED,
            Some("Basic"),
        ),
        (&jwt, None, StatusCode::UNAUTHORIZED, None),
        (
            &jwt,
            Some("Bearer nonsense".to_owned()),
            StatusCode::UNAUTHORIZED,
            None,
        ),
        (
            &jwt,
            Some(format!(
                "Bearer {}",
                issuer.token(&with(claims(ISSUER), "role", json!("guest")))
            )),
            StatusCode::FORBIDDEN,
            None,
        ),
    ] {
        let server = Server::start(auth).await;
        // Applications of 0.4 show the same.
        for path in [PATH, PATH_0_4] {
            let response = server.bare_call(path, header.as_deref()).await;
            assert_eq!(response.status(), status, "{path}");
            let shown = response
                .headers()
                .get("www-authenticate")
                .map(|value| value.to_str().unwrap());
            assert_eq!(shown, challenge);
            assert!(response.headers().get("grpc-status").is_none());
            assert!(response.body().is_end_stream(), "no body");
        }
    }
}

#[tokio::test]
async fn every_defect_of_a_token_is_refused_and_a_good_one_is_not() {
    let (issuer, impostor, stranger) = (Issuer::new("one"), Issuer::new("one"), Issuer::new("two"));
    let key = json!({"type": "decoding", "format": "jwks", "key": {"data": jwks(&[&issuer])}});
    let mut server = Server::start(&server_jwt(&key)).await;
    let good = with(claims(ISSUER), "role", json!("admin"));
    let _link = within(server.dial(&static_jwt(&issuer.token(&good))))
        .await
        .unwrap();
    let identity = server.identity().await;
    assert_eq!(
        (identity.method, identity.subject.as_deref()),
        (AuthMethod::Jwt, Some("alice"))
    );
    assert_eq!(identity.issuer.as_deref(), Some(ISSUER));
    assert_eq!(identity.claims["role"], "admin");

    let change = |name: &str, value: Value| issuer.token(&with(good.clone(), name, value));
    for (name, token) in [
        ("expired", change("exp", json!(now() - 61))),
        ("without end", change("exp", Value::Null)),
        ("not yet valid", change("nbf", json!(now() + 90))),
        ("wrong audience", change("aud", json!("other"))),
        ("no audience", change("aud", Value::Null)),
        ("wrong issuer", change("iss", json!("https://evil.example"))),
        ("no issuer", change("iss", Value::Null)),
        (
            "alg none",
            issuer.token_with_header(&json!({"alg": "none"}), &good),
        ),
        (
            "HS256 under a public key",
            issuer.token_with_header(&json!({"alg": "HS256", "kid": "one"}), &good),
        ),
        ("unknown kid", stranger.token(&good)),
        ("somebody else's key", impostor.token(&good)),
        ("no token", "opaque".to_owned()),
    ] {
        let error = within(server.dial(&static_jwt(&token))).await.unwrap_err();
        assert!(
            matches!(error, DialError::Unauthenticated { .. }),
            "{name}: {error}"
        );
    }
    for (name, token) in [
        ("the policy says no", change("role", json!("guest"))),
        ("the policy misses a claim", change("role", Value::Null)),
    ] {
        let error = within(server.dial(&static_jwt(&token))).await.unwrap_err();
        assert!(
            matches!(error, DialError::PermissionDenied { .. }),
            "{name}: {error}"
        );
        assert!(error.to_string().contains("permission denied (403)"), "{error}");
    }
    assert!(server.calls.try_recv().is_err(), "no stream opened");
}

#[tokio::test]
async fn two_listeners_of_one_process_ask_for_different_things() {
    let issuer = Issuer::new("one");
    let key = json!({"type": "decoding", "format": "jwks", "key": {"data": jwks(&[&issuer])}});
    let token = static_jwt(&issuer.token(&with(claims(ISSUER), "role", json!("admin"))));
    let password = json!({"type": "basic", "username": "a", "password": "b"});
    let (basic, jwt) = (
        Server::start(&password).await,
        Server::start(&server_jwt(&key)).await,
    );
    assert!(within(basic.dial(&password)).await.is_ok());
    assert!(within(jwt.dial(&token)).await.is_ok());
    for (server, auth) in [(&basic, &token), (&jwt, &password)] {
        let error = within(server.dial(auth)).await.unwrap_err();
        assert!(
            matches!(error, DialError::Unauthenticated { shown: true, .. }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn keys_in_a_file_are_replaced_while_the_listener_runs_and_broken_ones_are_not() {
    let directory = Directory::new("auth-key-file");
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    directory.write("jwks.json", &jwks(&[&old]));
    let path = directory.path("jwks.json").display().to_string();
    let server = Server::start(&json!({
        "type": "jwt",
        "key": {"type": "decoding", "format": "jwks", "key": {"file": path}},
        "claims": {"audience": "slim"},
    }))
    .await;
    let token = |issuer: &Issuer| static_jwt(&issuer.token(&claims(ISSUER)));
    assert!(within(server.dial(&token(&old))).await.is_ok());
    assert!(within(server.dial(&token(&new))).await.is_err());

    directory.write("jwks.json", "{ half a file");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(
        within(server.dial(&token(&old))).await.is_ok(),
        "the old keys stay"
    );
    directory.write("jwks.json", &jwks(&[&new]));
    within(async {
        while server.dial(&token(&new)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let error = within(server.dial(&token(&old))).await.unwrap_err();
    assert!(matches!(error, DialError::Unauthenticated { .. }), "{error}");
}

#[tokio::test]
async fn keys_of_an_issuer_are_found_and_a_new_key_is_looked_up_when_a_token_names_it() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let (web, url) = provider(jwks(&[&old])).await;
    let mut server = Server::start(&json!({
        "type": "jwt",
        "key": {"type": "autoresolve"},
        "claims": {"issuer": url, "audience": "slim"},
    }))
    .await;
    let token = |issuer: &Issuer| static_jwt(&issuer.token(&claims(&url)));
    let _link = within(server.dial(&token(&old))).await.unwrap();
    assert_eq!(server.identity().await.method, AuthMethod::Jwt);
    let error = within(server.dial(&static_jwt(&old.token(&claims(ISSUER)))))
        .await
        .unwrap_err();
    assert!(
        matches!(error, DialError::Unauthenticated { .. }),
        "nobody else's: {error}"
    );
    let fetched = web.requests("/keys").len();
    assert!(within(server.dial(&token(&old))).await.is_ok());
    assert_eq!(web.requests("/keys").len(), fetched, "known keys are kept");

    // The issuer is asked again for the unknown key, but for a minute not more than once.
    let error = within(server.dial(&token(&new))).await.unwrap_err();
    assert!(matches!(error, DialError::Unauthenticated { .. }), "{error}");
    let error = within(server.dial(&token(&new))).await.unwrap_err();
    assert!(matches!(error, DialError::Unauthenticated { .. }), "{error}");
    assert!(web.requests("/keys").len() <= fetched + 1);
}

#[tokio::test]
async fn a_listener_of_a_provider_starts_without_it_and_says_so_to_those_who_dial() {
    let issuer = Issuer::new("one");
    let (web, url) = provider(jwks(&[&issuer])).await;
    let address = web.address;
    web.answer_with(|_| (503, "later".to_owned()));
    let oidc = json!({"type": "oidc", "issuer_url": url, "audience": "slim", "claim_cache_ttl": "10m"});
    let mut server = Server::start(&oidc).await;
    let token = static_jwt(&issuer.token(&claims(&url)));
    let error = within(server.dial(&token)).await.unwrap_err();
    assert!(
        matches!(&error, DialError::Refused(status) if status.code == Code::UNAVAILABLE),
        "{error}"
    );
    assert!(error.is_transient(), "the next dial may succeed");

    web.answer_with(keys_at(address, jwks(&[&issuer])));
    let link = within(async {
        loop {
            match server.dial(&token).await {
                Ok(link) => return link,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    })
    .await;
    assert_eq!(server.identity().await.method, AuthMethod::Oidc);
    drop(link);
    let other = issuer.token(&with(claims(&url), "aud", json!("other")));
    let error = within(server.dial(&static_jwt(&other))).await.unwrap_err();
    assert!(matches!(error, DialError::Unauthenticated { .. }), "{error}");
}

#[tokio::test]
async fn a_connection_ends_soon_after_its_token() {
    let issuer = Issuer::new("one");
    let key = json!({"type": "decoding", "format": "jwks", "key": {"data": jwks(&[&issuer])}});
    let mut server = Server::start_with(
        &json!({"type": "jwt", "key": key, "claims": {"audience": "slim"}}),
        &json!({"max_connection_age_grace": "200ms"}),
    )
    .await;
    // Accepted for one second more, with the minute that clocks may differ.
    let token = issuer.token(&with(claims(ISSUER), "exp", json!(now() - 58)));
    let before = std::time::Instant::now();
    let mut link = within(server.dial(&static_jwt(&token))).await.unwrap();
    let (call, open) = server.next_call().await;
    call.established.mark();
    assert!(within(link.reader.next()).await.is_err(), "cut");
    drop(open);
    assert!(matches!(server.next_end().await, ConnectionEnd::Expired));
    let lived = before.elapsed();
    assert!(
        lived > Duration::from_millis(200) && lived < Duration::from_secs(6),
        "{lived:?}"
    );
}

fn server_jwt(key: &Value) -> Value {
    json!({
        "type": "jwt",
        "key": key,
        "claims": {"issuer": [ISSUER], "audience": ["slim"]},
        "policy": {"cel": "claims.role == 'admin'"},
    })
}
