//! `authorization`, `proxy`, `rate_limit` and `enforce_pqc`.

use std::time::Duration;

use serde_json::json;
use slim_config::{AuthMethod, DefaultAccess, Proxy, RateLimit, RuleSource};

mod common;
use common::{client, service};

#[test]
fn rules_say_whose_links_may_use_which_names() {
    let text = "    authorization:
      rules:
        - match: { method: [jwt, oidc], subject: 'svc-*', claims: { team: blue } }
          subscribe: agntcy/demo/{subject}
          publish: [agntcy/demo/*, agntcy/**]
          invite: []
        - { match: any, publish: 'agntcy/public/**' }
";
    let loaded = service(text).unwrap();
    let authorization = loaded.config.services[0].authorization.clone().unwrap();
    assert_eq!(authorization.default, DefaultAccess::Deny);
    assert_eq!(
        authorization.rules,
        [
            RuleSource {
                methods: vec![AuthMethod::Jwt, AuthMethod::Oidc],
                subjects: vec!["svc-*".into()],
                claims: [("team".to_owned(), json!("blue"))].into(),
                subscribe: vec!["agntcy/demo/{subject}".into()],
                publish: vec!["agntcy/demo/*".into(), "agntcy/**".into()],
                invite: Some(vec![]),
                ..RuleSource::default()
            },
            RuleSource {
                publish: vec!["agntcy/public/**".into()],
                ..RuleSource::default()
            },
        ]
    );
}

#[test]
fn a_wrong_rule_is_named_with_its_line() {
    let rule =
        |rule: &str| service(&format!("    authorization:\n      rules:\n        - {rule}\n")).unwrap_err();
    let place = "services.slim/0.authorization.rules[0]";
    for (text, message) in [
        ("{publish: 'a/b/c'}", " (line 6): the key \"match\" is missing"),
        (
            "{match: any, publish: 'a/b'}",
            ".publish (line 6): a name pattern is organisation/namespace/application, or ends in /** earlier; not \"a/b\"",
        ),
        (
            "{match: any, subscribe: ['**/a']}",
            ".subscribe[0] (line 6): ** stands for all components that are left, so it comes last; not \"**/a\"",
        ),
        (
            "{match: {method: password}, publish: 'a/b/c'}",
            ".match.method (line 6): \"password\" is none of basic, jwt, oidc, certificate, spire, none",
        ),
        (
            "{match: {user: a}, publish: 'a/b/c'}",
            ".match.user (line 6): unknown key",
        ),
        (
            "{match: all}",
            ".match (line 6): expected a block of keys, got text",
        ),
        (
            "{match: any, publishes: 'a/b/c'}",
            ".publishes (line 6): unknown key; did you mean \"publish\"?",
        ),
    ] {
        assert_eq!(rule(text), format!("{place}{message}"));
    }
}

#[test]
fn a_proxy_is_the_environments_or_none_or_a_certain_one() {
    let proxy = |text: &str| client("proxy", text).map(|loaded| loaded.config.proxy);
    for text in ["null", "{}", "{headers: {}}"] {
        assert_eq!(proxy(text), Ok(Proxy::Environment), "{text}");
    }
    assert_eq!(proxy("direct"), Ok(Proxy::Direct));
    let Ok(Proxy::Through(config)) = proxy(
        "{url: 'https://proxy.example:3128', username: me, password: geheim, headers: {x-a: b}, tls: {ca_source: {type: pem, data: C}}}",
    ) else {
        panic!("a proxy")
    };
    assert_eq!(config.endpoint.to_string(), "proxy.example:3128");
    assert_eq!(config.credentials.as_ref().unwrap().password.expose(), "geheim");
    assert_eq!(config.headers["x-a"].expose(), "b");
    assert!(config.tls.as_ref().unwrap().ca.is_some());
    assert!(!format!("{config:?}").contains("geheim"));
    for (text, message) in [
        ("{username: me}", "proxy: the key \"url\" is missing"),
        (
            "{url: 'http://p:1', password: x}",
            "proxy: the key \"username\" is missing",
        ),
        (
            "{url: 'http://me:geheim@p:1'}",
            "proxy.url: write the user and the password of a proxy as the keys username and password",
        ),
        (
            "{url: 'socks5://p:1'}",
            "proxy.url: a proxy is http://host:port or https://host:port",
        ),
    ] {
        assert_eq!(proxy(text).unwrap_err(), message, "{text}");
    }
}

#[test]
fn a_rate_limit_is_a_count_and_seconds() {
    let limit = client("rate_limit", "20/60").unwrap().config.rate_limit;
    assert_eq!(
        limit,
        Some(RateLimit {
            count: 20,
            per: Duration::from_secs(60)
        })
    );
    assert_eq!(
        client("rate_limit", "fast").unwrap_err(),
        "rate_limit: \"fast\" is no rate limit; write COUNT/SECONDS, for example 20/60 for 20 messages a minute"
    );
}

#[test]
fn post_quantum_keys_are_asked_for_in_one_place_or_in_each() {
    let text = "    node_id: a\n";
    assert!(!service(text).unwrap().config.services[0].servers[0].enforce_pqc);
    let everywhere = "services: {slim/0: {dataplane: {enforce_pqc: true,
        servers: [{endpoint: '127.0.0.1:1', tls: {insecure: true}}],
        clients: [{endpoint: 'a:1', enforce_pqc: false}]}}}";
    let config = slim_config::NodeConfig::from_yaml_text(everywhere)
        .unwrap()
        .config;
    assert!(config.services[0].enforce_pqc && config.services[0].servers[0].enforce_pqc);
    assert!(!config.services[0].clients[0].enforce_pqc);
    let old_tls = r#"{"endpoint": "a:1", "enforce_pqc": true, "tls": {"tls_version": "tls1.2"}}"#;
    assert_eq!(
        slim_config::ClientConfig::from_json_text(old_tls)
            .unwrap_err()
            .to_string(),
        "enforce_pqc: enforce_pqc needs tls_version: tls1.3"
    );
}
