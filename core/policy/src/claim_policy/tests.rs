//! Policies over claims: what they say, what they cannot, and what they may cost.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::identity::AuthMethod;

fn policy(text: &str) -> ClaimPolicy {
    ClaimPolicy::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn answer(text: &str, claims: &Value) -> Result<bool, PolicyError> {
    evaluate(&policy(text), claims)
}

/// What the policy says to a link that showed a token with these claims.
fn evaluate(policy: &ClaimPolicy, claims: &Value) -> Result<bool, PolicyError> {
    let text = |name| claims.get(name).and_then(Value::as_str).map(str::to_owned);
    policy.evaluate_for(&LinkIdentity {
        subject: text("sub"),
        issuer: text("iss"),
        method: AuthMethod::Jwt,
        claims: claims.clone(),
    })
}

fn claims() -> Value {
    json!({
        "sub": "bob",
        "iss": "https://issuer.example",
        "aud": ["slim", "other"],
        "exp": 1_900_000_000,
        "level": 3,
        "ratio": 0.5,
        "big": u64::MAX,
        "email": "bob@example.org",
        "groups": ["chat", "ops"],
        "verified": true,
        "nothing": null,
        "realm": {"role": "admin", "https://c.example/x": 1},
    })
}

#[test]
fn a_policy_sees_the_claims() {
    for (text, expected) in [
        ("claims.level == 3", true),
        ("claims.level > 2 && claims.level <= 3", true),
        ("claims.level + 1 == 4", true),
        ("claims.ratio < 1.0", true),
        ("claims.exp > 1800000000", true),
        ("claims.big > 1", true),
        ("sub == 'bob' && iss == 'https://issuer.example'", true),
        ("'slim' in aud && size(aud) == 2", true),
        ("method == 'jwt'", true),
        ("claims.email.endsWith('@example.org')", true),
        ("claims.email.startsWith('alice')", false),
        ("claims.email.contains('@')", true),
        ("claims.groups.exists(g, g == 'ops')", true),
        ("claims.groups.all(g, g.startsWith('o'))", false),
        ("claims.groups.filter(g, g != 'chat') == ['ops']", true),
        ("claims.groups.map(g, size(g)).exists_one(n, n == 4)", true),
        ("claims.realm.role == 'admin'", true),
        ("claims.realm['https://c.example/x'] == 1", true),
        ("claims.verified", true),
        ("claims.nothing == null", true),
        ("has(claims.email) && !has(claims.phone)", true),
        ("has(claims.phone) && claims.phone == '1'", false),
        ("'phone' in claims", false),
        ("claims.level == 3 ? true : false", true),
        ("type(claims.level) == int", true),
        ("string(claims.level) == '3' && int('3') == claims.level", true),
        ("dyn(claims.level) == 3", true),
        ("double(claims.level) == 3.0 && uint(3) == 3u", true),
        ("bytes('ab') == b'ab'", true),
        ("bool('true')", true),
        ("['alice', 'bob'].exists(name, name == sub)", true),
        ("{'bob': 1}.exists(name, name == sub)", true),
    ] {
        assert_eq!(answer(text, &claims()), Ok(expected), "{text}");
    }
}

#[test]
fn an_audience_is_always_a_list_and_absent_texts_are_empty() {
    assert_eq!(answer("aud == ['slim']", &json!({"aud": "slim"})), Ok(true));
    assert_eq!(
        answer("aud == [] && sub == '' && iss == ''", &json!({})),
        Ok(true)
    );
    assert_eq!(answer("size(claims) == 0", &Value::Null), Ok(true));
}

#[test]
fn a_policy_sees_a_link_without_token_by_its_method_and_subject() {
    let link = LinkIdentity {
        subject: Some("CN=bob".into()),
        method: AuthMethod::Certificate,
        ..LinkIdentity::default()
    };
    let policy = policy("method == 'certificate' && sub == 'CN=bob'");
    assert_eq!(policy.evaluate_for(&link), Ok(true));
    assert_eq!(policy.evaluate_for(&LinkIdentity::default()), Ok(false));
}

#[test]
fn what_has_no_answer_is_an_error_without_values() {
    use PolicyError as E;
    for (text, error) in [
        ("claims.phone == '1'", E::Absent("phone".into())),
        ("claims.level", E::NoAnswer),
        ("sub", E::NoAnswer),
        ("claims.groups[7] == 'x'", E::Failed),
        ("claims.level / 0 == 1", E::Failed),
    ] {
        assert_eq!(answer(text, &claims()), Err(error), "{text}");
    }
    let error = answer("claims.email.startsWith(3)", &claims()).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("example.org"), "{error:?}");
    assert!(answer("claims.email < 3", &claims()).is_err());
}

#[test]
fn what_cannot_be_compiled_says_why() {
    use PolicyError as E;
    for (text, error) in [
        ("package slim\nallow { true }", E::Rego),
        ("claim.x == 1", E::Variable("claim".into())),
        ("now() < 3", E::Function("now".into())),
        ("sub.matches('b.*')", E::Function("matches".into())),
        ("timestamp(sub) == 3", E::Function("timestamp".into())),
        ("aud.map(a, aud.map(b, aud.map(c, a + b + c))) == []", E::Nesting),
        ("sub + sub + sub + sub + sub + sub == ''", E::Additions),
    ] {
        assert_eq!(ClaimPolicy::compile(text).err(), Some(error), "{text}");
    }
    for broken in ["", "claims.", "a b", "1 +", "(((", "\"open", "claims.x = 1"] {
        let error = ClaimPolicy::compile(broken).unwrap_err();
        assert!(matches!(error, E::Syntax(_)), "{broken}: {error:?}");
    }
    let long = format!("sub == '{}'", "x".repeat(POLICY_BYTES_MAX));
    assert_eq!(ClaimPolicy::compile(&long).err(), Some(E::TooLong(long.len())));
}

#[test]
fn deep_nesting_is_refused_and_never_fatal() {
    for text in [
        format!("{}true{}", "(".repeat(2000), ")".repeat(2000)),
        format!("{}true", "!".repeat(4000)),
        format!("{}1 == 1", "-".repeat(4000)),
        format!("claims{} == 1", ".a".repeat(2000)),
        format!("{}1{} == []", "[".repeat(2000), "]".repeat(2000)),
        format!("{}true{}", "true ? ".repeat(200), " : false".repeat(200)),
        vec!["true"; 500].join(" && "),
    ] {
        // Test threads have 2 MiB of stack, as tokio's workers do.
        let _ = ClaimPolicy::compile(&text).map(|policy| evaluate(&policy, &claims()));
    }
}

#[test]
fn the_cost_is_bounded_before_anything_runs() {
    let quadratic = policy("claims.groups.all(a, claims.groups.exists(b, a == b))");
    let groups = |count: usize| json!({"groups": vec!["g"; count]});
    assert_eq!(evaluate(&quadratic, &groups(20)), Ok(true));
    assert!(matches!(
        evaluate(&quadratic, &groups(1000)),
        Err(PolicyError::Cost { .. })
    ));
    // One macro over the same claims is fine.
    assert_eq!(answer("claims.groups.all(a, a == 'g')", &groups(1000)), Ok(true));
    // So is a policy without any over the largest token.
    assert_eq!(answer("size(claims.groups) == 4000", &groups(4000)), Ok(true));
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,200}") {
        let _ = ClaimPolicy::compile(&text).map(|policy| evaluate(&policy, &claims()));
    }

    #[test]
    fn no_made_up_expression_panics(words in proptest::collection::vec(
        prop::sample::select(vec![
            "claims", ".", "level", "groups", "sub", "aud", "(", ")", "[", "]", "==", "&&", "||", "!", "in", "?", ":",
            "1", "'x'", "+", "-", "*", "/", "%", "all(g, g == 'x')", "map(x, x)", "has(claims.x)", "size(aud)", "{", "}", ",",
            "0", "9223372036854775807", "null", "true", "e", "u",
        ]),
        0..24,
    )) {
        let text = words.concat();
        let _ = ClaimPolicy::compile(&text).map(|policy| evaluate(&policy, &claims()));
    }
}
