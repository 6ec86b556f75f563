//! `auth` of listeners and clients: today's form, the tutorial's, and what is wrong with either.

use std::time::Duration;

use serde_json::json;
use slim_config::{
    BasicAuth, ClientAuth, ClientJwtAuth, JwtAlgorithm, JwtClaims, JwtKey, JwtKeyFormat, JwtServerAuth,
    JwtSource, JwtVerification, OidcGrant, OidcServerAuth, RefreshToken, SecretText, ServerAuth, SpireConfig,
    StaticJwtAuth,
};

mod common;
use common::{client, server, warnings};

fn server_auth(auth: &str) -> ServerAuth {
    let loaded = server(auth).expect("accepted");
    assert_eq!(warnings(&loaded), [""; 0], "{auth}");
    loaded.config.auth.expect("some auth")
}

fn client_auth(auth: &str) -> ClientAuth {
    let loaded = client("auth", auth).expect("accepted");
    assert_eq!(warnings(&loaded), [""; 0], "{auth}");
    loaded.config.auth.expect("some auth")
}

fn alice() -> BasicAuth {
    BasicAuth {
        username: "alice".into(),
        password: SecretText::new("secret"),
    }
}

#[test]
fn no_auth_can_be_said_in_several_ways() {
    for auth in ["none", "{type: none}", "{}", "null"] {
        assert_eq!(server(auth).unwrap().config.auth, None, "{auth}");
        assert_eq!(client("auth", auth).unwrap().config.auth, None, "{auth}");
    }
}

#[test]
fn basic_is_the_same_on_both_sides_and_in_both_generations() {
    let new = "{type: basic, username: alice, password: secret}";
    assert_eq!(server_auth(new), ServerAuth::Basic(alice()));
    assert_eq!(client_auth(new), ClientAuth::Basic(alice()));
    let old = "{basic: {username: alice, password: secret}}";
    let expected = ["auth.basic: \"basic\" is the old name of this key; write \"type: basic\""];
    let loaded = server(old).unwrap();
    assert_eq!(loaded.config.auth, Some(ServerAuth::Basic(alice())));
    assert_eq!(warnings(&loaded), expected);
    let loaded = client("auth", old).unwrap();
    assert_eq!(loaded.config.auth, Some(ClientAuth::Basic(alice())));
    assert_eq!(warnings(&loaded), expected);
}

#[test]
fn a_listener_checks_tokens_with_keys_in_both_spellings() {
    let expected = ServerAuth::Jwt(JwtServerAuth {
        verification: JwtVerification::Keys(JwtKey {
            algorithm: JwtAlgorithm::from_name("ES256"),
            format: JwtKeyFormat::Pem,
            source: JwtSource::File("key.pem".into()),
        }),
        claims: JwtClaims {
            issuers: vec!["https://issuer".into()],
            audiences: vec!["a".into(), "b".into()],
            subjects: vec!["alice".into()],
            custom: Default::default(),
        },
        policy: Some("claims.admin == true".into()),
        bind_subject: false,
    });
    let new = "{type: jwt, key: {type: decoding, algorithm: ES256, format: pem, key: {file: key.pem}},
                claims: {aud: [a, b], iss: https://issuer, sub: alice},
                policy: {cel: claims.admin == true}}";
    assert_eq!(server_auth(new), expected);
    let old = "{jwt: {claims: {audience: [a, b], issuer: https://issuer, subject: alice}, duration: 1h,
                key: {decoding: {algorithm: ES256, format: Pem, file: key.pem}},
                policy: {cel: claims.admin == true}}}";
    let loaded = server(old).unwrap();
    assert_eq!(loaded.config.auth, Some(expected));
    assert_eq!(
        warnings(&loaded),
        [
            "auth.jwt: \"jwt\" is the old name of this key; write \"type: jwt\"",
            "auth.jwt.duration: a listener makes no tokens, so it needs no duration; remove the key",
            "auth.jwt.key.decoding: \"decoding\" is the old name of this key; write \"type: decoding\"",
            "auth.jwt.key.decoding.file: \"file\" is the old name of this key; write \"key\"",
        ]
    );
}

#[test]
fn keys_of_issuers_are_believed_only_for_named_issuers() {
    let resolved = |auth: &str| {
        let Some(ServerAuth::Jwt(jwt)) = server(auth).unwrap().config.auth else {
            panic!("jwt")
        };
        jwt.verification
    };
    let claims = "claims: {issuer: https://issuer.example}";
    for key in ["{type: autoresolve}", "{autoresolve: true}"] {
        let auth = format!("{{type: jwt, key: {key}, {claims}}}");
        assert_eq!(resolved(&auth), JwtVerification::Autoresolve);
        let message = server(&format!("{{type: jwt, key: {key}}}")).unwrap_err();
        assert!(
            message.contains("claims.issuer must name the issuers"),
            "{message}"
        );
    }
}

#[test]
fn an_oidc_listener_names_provider_and_audience() {
    let auth = "{type: oidc, issuer_url: 'https://idp.example/realm', audience: slim, jwks_ttl: 5m,
                 claim_cache_ttl: 10s, policy: {cel: 'true'}}";
    assert_eq!(
        server_auth(auth),
        ServerAuth::Oidc(OidcServerAuth {
            issuer_url: "https://idp.example/realm".into(),
            audiences: vec!["slim".into()],
            jwks_ttl: Duration::from_secs(300),
            claim_cache_ttl: Duration::from_secs(10),
            policy: Some("true".into()),
            timeout: Duration::from_secs(10),
        })
    );
}

#[test]
fn a_client_signs_shows_or_asks_for_its_token() {
    let signed =
        "{type: jwt, duration: 5m, key: {type: encoding, algorithm: HS256, format: pem, key: {data: s}},
                   claims: {subject: alice, audience: slim, custom_claims: {team: blue, level: 1.5}}}";
    let ClientAuth::Jwt(ClientJwtAuth {
        key,
        claims,
        duration,
    }) = client_auth(signed)
    else {
        panic!("signed")
    };
    assert_eq!(key.source, JwtSource::Data(SecretText::new("s")));
    assert!(key.algorithm.unwrap().is_secret());
    assert_eq!(claims.custom["team"], json!("blue"));
    assert_eq!(claims.custom["level"], json!(1.5));
    assert_eq!(
        (claims.subjects, claims.audiences),
        (vec!["alice".into()], vec!["slim".into()])
    );
    assert_eq!(duration, Duration::from_secs(300));

    for name in ["file", "token_file"] {
        let shown = client_auth(&format!("{{type: static_jwt, {name}: t.jwt}}"));
        assert_eq!(
            shown,
            ClientAuth::StaticJwt(StaticJwtAuth {
                token: JwtSource::File("t.jwt".into()),
                duration: Duration::ZERO,
            })
        );
    }
    let old = client("auth", "{bearer: {token: t}}").unwrap();
    assert_eq!(
        old.config.auth,
        Some(ClientAuth::StaticJwt(StaticJwtAuth {
            token: JwtSource::Data(SecretText::new("t")),
            duration: Duration::ZERO,
        }))
    );
    assert_eq!(
        warnings(&old),
        ["auth.bearer: \"bearer\" is the old name of this key; write \"type: static_jwt\""]
    );
}

#[test]
fn an_oidc_client_has_one_source_of_its_token() {
    let grant = |keys: &str| {
        let ClientAuth::Oidc(oidc) = client_auth(&format!("{{type: oidc, issuer_url: https://idp, {keys}}}"))
        else {
            panic!("oidc")
        };
        oidc.grant
    };
    assert_eq!(
        grant("client_id: me, client_secret: s"),
        OidcGrant::ClientCredentials {
            client_id: "me".into(),
            client_secret: SecretText::new("s"),
        }
    );
    assert_eq!(
        grant("client_id: me, refresh_token_file: r"),
        OidcGrant::RefreshToken {
            client_id: "me".into(),
            client_secret: None,
            token: RefreshToken::File("r".into()),
        }
    );
    assert_eq!(
        grant("access_token_file: a"),
        OidcGrant::AccessTokenFile("a".into())
    );
}

#[test]
fn a_spire_agent_is_asked_for_the_audience_slim() {
    assert_eq!(
        server_auth("{type: spire}"),
        ServerAuth::Spire(SpireConfig::default())
    );
    let spire = "{type: spire, socket_path: /s, target_spiffe_id: 'spiffe://d/a', jwt_audiences: [x], trust_domains: [d]}";
    assert_eq!(
        client_auth(spire),
        ClientAuth::Spire(SpireConfig {
            socket_path: Some("/s".into()),
            target_spiffe_id: Some("spiffe://d/a".into()),
            jwt_audiences: vec!["x".into()],
            trust_domains: vec!["d".into()],
        })
    );
}

#[test]
fn what_is_wrong_with_auth_of_a_listener_is_one_sentence() {
    let key = "key: {type: decoding, algorithm: ES256, format: pem, key: {data: K}}";
    for (auth, message) in [
        (
            "{type: basic, username: a}",
            "auth: the key \"password\" is missing",
        ),
        (
            "{type: basic, username: 'a:b', password: c}",
            "auth.username: a user name has no colon",
        ),
        (
            "{type: basic, username: '', password: c}",
            "auth.username: must not be empty",
        ),
        ("{username: a, password: c}", "auth: the key \"type\" is missing"),
        (
            "{type: basics, username: a}",
            "auth.type: \"basics\" is none of basic, jwt, oidc, spire, none",
        ),
        (
            "{type: none, username: a}",
            "auth: type: none goes without other keys; remove them, or name the type that they belong to",
        ),
        (
            "{type: basic, basic: {username: a, password: b}}",
            "auth.basic: \"basic\" is the old name of \"type: basic\"; keep only \"type: basic\"",
        ),
        (
            "{basic: {username: a, passwort: b}}",
            "auth.basic.passwort: unknown key; did you mean \"password\"?",
        ),
        (
            "{bearer: {token: t}}",
            "auth.bearer: a listener takes no fixed token any more; write auth: {type: basic, …} for one secret, or auth: \
             {type: jwt, …} for signed tokens",
        ),
        ("{type: jwt}", "auth: the key \"key\" is missing"),
        (
            "{type: jwt, key: {type: decoding, format: pem, key: {data: K}}}",
            "auth.key: the key \"algorithm\" is missing; a PEM key or a secret does not say what it is for",
        ),
        (
            "{type: jwt, key: {decoding: {pem: K}}}",
            "auth.key.decoding.pem: unknown key; did you mean \"key\"?",
        ),
        (
            "{type: jwt, key: {type: decoding, algorithm: none, format: pem, key: {data: K}}}",
            "auth.key.algorithm: \"none\" is none of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, \
             ES256, ES384, EdDSA",
        ),
        (
            "{type: jwt, key: {type: decoding, algorithm: ES256, format: pem, key: {data: K, file: f}}}",
            "auth.key.key.file: \"data\" and \"file\" exclude each other; keep one of them",
        ),
        (
            "{type: jwt, key: {type: decoding, algorithm: ES256, format: pem, str: K, key: {data: K}}}",
            "auth.key.str: \"str\" is the old name of \"key\"; keep only \"key\"",
        ),
        (
            "{type: jwt, key: {type: encoding, algorithm: ES256, format: pem, key: {data: K}}}",
            "auth.key.type: \"encoding\" is none of decoding, autoresolve, none",
        ),
        (
            "{type: jwt, key: {encoding: {algorithm: ES256, format: pem, str: K}}}",
            "auth.key.encoding: a listener checks tokens; write the public key as {type: decoding, …}",
        ),
        (
            &format!("{{type: jwt, {key}, claims: {{aud: a, audience: b}}}}"),
            "auth.claims.aud: \"aud\" is another name of \"audience\"; keep only \"audience\"",
        ),
        (
            &format!("{{type: jwt, {key}, policy: {{rego: x}}}}"),
            "auth.policy.rego: policies are written in CEL here, not in Rego; write policy: {cel: …}",
        ),
        (
            &format!("{{type: jwt, {key}, subject_binding: warn}}"),
            "auth.subject_binding: \"warn\" is none of off, enforce",
        ),
        (
            "{type: oidc, issuer_url: https://a}",
            "auth: the key \"audience\" is missing",
        ),
        (
            "{type: oidc, issuer_url: idp, audience: a}",
            "auth.issuer_url: \"idp\" is no URL of a web server; write https://HOST or https://HOST/PATH",
        ),
        (
            "{type: oidc, issuer_url: https://a, audience: a, jwks_url: https://a/k}",
            "auth.jwks_url: unknown key; did you mean \"issuer_url\"?",
        ),
        (
            "{type: oidc, issuer_url: https://a, audience: a, client_secret: s}",
            "auth.client_secret: a listener does not use this key; it belongs to auth of a client",
        ),
    ] {
        assert_eq!(server(auth).unwrap_err(), message, "{auth}");
    }
    let broken = server(&format!("{{type: jwt, {key}, policy: {{cel: 'claims.'}}}}")).unwrap_err();
    assert!(broken.starts_with("auth.policy.cel: "), "{broken}");
}

#[test]
fn what_is_wrong_with_auth_of_a_client_is_one_sentence() {
    let key = "key: {type: encoding, algorithm: ES256, format: pem, key: {data: K}}";
    for (auth, message) in [
        ("{type: static_jwt}", "auth: one of file, token must be there"),
        (
            "{type: static_jwt, file: f, token: t}",
            "auth.token: \"file\" and \"token\" exclude each other; keep one of them",
        ),
        (
            &format!("{{type: jwt, {key}}}"),
            "auth: the key \"claims\" is missing",
        ),
        (
            &format!("{{type: jwt, {key}, claims: {{}}}}"),
            "auth.claims: the key \"subject\" is missing",
        ),
        (
            &format!("{{type: jwt, {key}, claims: {{sub: [a, b]}}}}"),
            "auth.claims.sub: expected one value, got 2",
        ),
        (
            "{type: jwt, key: {type: autoresolve}, claims: {sub: a}}",
            "auth.key.type: \"autoresolve\" is none of encoding, none",
        ),
        (
            "{type: jwt, key: {autoresolve: true}, claims: {sub: a}}",
            "auth.key: a client signs its tokens; write the private key as {type: encoding, …}",
        ),
        (
            "{type: jwt, key: {type: encoding, format: jwks, key: {data: K}}, claims: {sub: a}}",
            "auth.key: a token is signed with one key; write it as pem or jwk",
        ),
        (
            "{type: oidc, issuer_url: https://a, client_id: me}",
            "auth: the key \"client_secret\" is missing",
        ),
        (
            "{type: oidc, issuer_url: https://a, client_id: me, access_token_file: f}",
            "auth.client_id: \"access_token_file\" and \"client_id\" exclude each other; keep one of them",
        ),
        (
            "{type: oidc, issuer_url: https://a, client_id: me, refresh_token: r, refresh_token_file: f}",
            "auth.refresh_token: \"refresh_token_file\" and \"refresh_token\" exclude each other; keep one of them",
        ),
        (
            "{type: oidc, issuer_url: https://a, token_file: f}",
            "auth.token_file: unknown key; did you mean \"access_token_file\"?",
        ),
    ] {
        assert_eq!(client("auth", auth).unwrap_err(), message, "{auth}");
    }
}

#[test]
fn secrets_are_in_no_debug_output_and_no_error() {
    let loaded = server("{type: basic, username: alice, password: geheim}").unwrap();
    assert!(!format!("{loaded:?}").contains("geheim"));
    for auth in [
        "{type: basic, username: alice, password: [geheim]}",
        "{type: basic, username: alice, password: geheim, x: y}",
    ] {
        let error = server(auth).unwrap_err();
        assert!(!error.contains("geheim"), "{error}");
    }
}

#[test]
fn the_log_line_of_a_listener_names_the_kind_of_authentication_and_no_secret() {
    let shown = server("{type: basic, username: alice, password: geheim}")
        .unwrap()
        .config
        .to_string();
    assert!(shown.ends_with(", auth: Some(basic) }"), "{shown}");
    assert!(!shown.contains("geheim") && !shown.contains("alice"), "{shown}");
}
