//! Rules from text to permissions.

use proptest::prelude::*;
use serde_json::json;
use slim_proto::FullName;

use super::*;

fn jwt(subject: &str, claims: Value) -> LinkIdentity {
    LinkIdentity {
        subject: Some(subject.into()),
        issuer: Some("https://issuer.example".into()),
        method: AuthMethod::Jwt,
        claims,
    }
}

fn rule(subscribe: &[&str], publish: &[&str]) -> RuleSource {
    RuleSource {
        subscribe: subscribe.iter().map(|text| (*text).to_owned()).collect(),
        publish: publish.iter().map(|text| (*text).to_owned()).collect(),
        ..RuleSource::default()
    }
}

/// Whether the identity may subscribe to, publish to and invite the name.
fn may(rules: &Rules, identity: &LinkIdentity, path: &str) -> [bool; 3] {
    let permissions = rules.permissions(identity);
    let name: FullName = path.parse().unwrap();
    [
        permissions.may_subscribe(&name.view()).is_ok(),
        permissions.may_publish(&name.view()).is_ok(),
        permissions.may_invite(&name.view()).is_ok(),
    ]
}

fn compile(sources: &[RuleSource]) -> Rules {
    Rules::compile(false, sources).unwrap()
}

/// True if a rule with this selection matches the identity.
fn selects(source: RuleSource, identity: &LinkIdentity) -> bool {
    let rules = compile(&[RuleSource {
        subscribe: vec!["a/b/c".into()],
        ..source
    }]);
    may(&rules, identity, "a/b/c")[0]
}

#[test]
fn without_a_rule_nothing_is_allowed_unless_that_is_the_default() {
    let bob = jwt("bob", json!({}));
    assert!(Rules::default().permissions(&bob).allow_nothing());
    let open = Rules::compile(true, &[]).unwrap();
    assert!(open.permissions(&bob).allow_everything());
    // The default is for links that no rule names, not for what rules leave out.
    let only_bob = RuleSource {
        subjects: vec!["bob".into()],
        ..rule(&["a/b/bob"], &[])
    };
    let open = Rules::compile(true, &[only_bob]).unwrap();
    assert_eq!(may(&open, &bob, "a/b/alice"), [false; 3]);
    assert!(open.permissions(&jwt("carol", json!({}))).allow_everything());
}

#[test]
fn all_matching_rules_count() {
    let rules = compile(&[rule(&["a/b/{subject}"], &[]), rule(&[], &["a/b/group"])]);
    let bob = jwt("bob", json!({}));
    assert_eq!(may(&rules, &bob, "a/b/bob"), [true, false, false]);
    assert_eq!(may(&rules, &bob, "a/b/group"), [false, true, true]);
    assert_eq!(may(&rules, &bob, "a/b/alice"), [false; 3]);
}

#[test]
fn invitations_follow_publish_unless_they_have_a_list() {
    let bob = jwt("bob", json!({}));
    let with_list = |invite: Option<Vec<String>>| {
        compile(&[RuleSource {
            invite,
            ..rule(&[], &["a/b/alice"])
        }])
    };
    assert_eq!(may(&with_list(None), &bob, "a/b/alice"), [false, true, true]);
    let none = with_list(Some(Vec::new()));
    assert_eq!(may(&none, &bob, "a/b/alice"), [false, true, false]);
    let other = with_list(Some(vec!["a/b/carol".into()]));
    assert_eq!(may(&other, &bob, "a/b/alice"), [false, true, false]);
    assert_eq!(may(&other, &bob, "a/b/carol"), [false, true, true]);
}

#[test]
fn every_selector_of_a_rule_must_hold() {
    let bob = jwt(
        "bob",
        json!({"team": "red", "groups": ["chat", "ops"], "level": 3, "realm": {"role": "admin"}}),
    );
    let claim = |name: &str, value: Value| RuleSource {
        claims: [(name.to_owned(), value)].into(),
        ..RuleSource::default()
    };
    let subject = |glob: &str| RuleSource {
        subjects: vec![glob.into()],
        ..RuleSource::default()
    };
    let cel = |text: &str| RuleSource {
        cel: Some(text.into()),
        ..RuleSource::default()
    };
    let methods = |methods: &[AuthMethod]| RuleSource {
        methods: methods.to_vec(),
        ..RuleSource::default()
    };
    let issuer = |issuer: &str| RuleSource {
        issuers: vec![issuer.into()],
        ..RuleSource::default()
    };
    for (source, expected) in [
        (RuleSource::default(), true),
        (methods(&[AuthMethod::Basic, AuthMethod::Jwt]), true),
        (methods(&[AuthMethod::Basic]), false),
        (subject("bob"), true),
        (subject("b*b"), true),
        (subject("alice"), false),
        (issuer("https://issuer.example"), true),
        (issuer("https://issuer.example/"), false),
        (claim("team", json!("red")), true),
        (claim("team", json!("blue")), false),
        (claim("groups", json!("ops")), true),
        (claim("groups", json!(["chat", "ops"])), true),
        (claim("groups", json!("admin")), false),
        (claim("level", json!(3)), true),
        (claim("realm.role", json!("admin")), true),
        (claim("absent", json!(null)), false),
        (cel("claims.level > 2 && 'ops' in claims.groups"), true),
        (cel("claims.level > 3"), false),
        (cel("claims.absent == 1"), false),
    ] {
        assert_eq!(selects(source.clone(), &bob), expected, "{source:?}");
    }
    let both = RuleSource {
        claims: [("team".to_owned(), json!("red"))].into(),
        ..subject("alice")
    };
    assert!(!selects(both, &bob), "one of two is not enough");
}

#[test]
fn a_link_without_identity_matches_only_rules_that_ask_for_nothing() {
    let nobody = LinkIdentity::default();
    assert!(selects(RuleSource::default(), &nobody));
    for asking in [
        RuleSource {
            subjects: vec!["*".into()],
            ..RuleSource::default()
        },
        RuleSource {
            issuers: vec![String::new()],
            ..RuleSource::default()
        },
        RuleSource {
            methods: vec![AuthMethod::Certificate],
            ..RuleSource::default()
        },
    ] {
        assert!(!selects(asking, &nobody));
    }
    // A rule for everybody with a placeholder gives nobody's subject to nobody.
    let rules = compile(&[rule(&["a/b/{subject}"], &[])]);
    assert!(rules.permissions(&nobody).allow_nothing());
}

#[test]
fn an_error_says_which_rule_and_which_list() {
    let good = rule(&["a/**"], &[]);
    let text = |bad: RuleSource| {
        Rules::compile(false, &[good.clone(), bad])
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        text(rule(&[], &["a/b"])),
        "rule 2: publish: a name pattern is organisation/namespace/application, or ends in /** earlier; not \"a/b\""
    );
    let invite = RuleSource {
        invite: Some(vec!["a/b/c*".into()]),
        ..RuleSource::default()
    };
    assert_eq!(
        text(invite),
        "rule 2: invite: * stands for a whole component; \"c*\" has it beside other text"
    );
    let cel = RuleSource {
        cel: Some("claim.x == 1".into()),
        ..RuleSource::default()
    };
    assert_eq!(
        text(cel),
        "rule 2: cel: unknown variable \"claim\" in a policy: there are claims, sub, iss, aud and method"
    );
}

#[test]
fn the_limits_of_rules_and_patterns_hold() {
    let one = rule(&["a/b/c"], &[]);
    assert!(Rules::compile(false, &vec![one.clone(); RULES_MAX]).is_ok());
    assert_eq!(
        Rules::compile(false, &vec![one; RULES_MAX + 1]).err(),
        Some(RulesError::TooMany(RULES_MAX + 1))
    );
    let many = RuleSource {
        subscribe: vec!["a/b/c".into(); RULE_PATTERNS_MAX],
        ..RuleSource::default()
    };
    assert!(Rules::compile(false, std::slice::from_ref(&many)).is_ok());
    assert_eq!(
        Rules::compile(false, &[many, rule(&["a/b/c"], &[])]).err(),
        Some(RulesError::TooManyPatterns(RULE_PATTERNS_MAX + 1))
    );
}

#[test]
fn globs_match_whole_subjects() {
    for (glob, text, expected) in [
        ("bob", "bob", true),
        ("bob", "bobby", false),
        ("bob", "a bob", false),
        ("*", "", true),
        ("*", "anything/at all", true),
        ("spiffe://example.org/*", "spiffe://example.org/ns/x", true),
        ("spiffe://example.org/*", "spiffe://example.org.evil/ns/x", false),
        ("*.example.org", "host.example.org", true),
        ("*.example.org", "host.example.org.evil", false),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-c-b", false),
        ("a*a", "a", false),
        ("", "", true),
        ("", "x", false),
    ] {
        assert_eq!(glob_matches(glob, text), expected, "{glob} {text}");
    }
}

proptest! {
    /// Whatever somebody is called: a pattern for their own name never gives them another's.
    #[test]
    fn no_subject_gets_a_name_that_is_not_its_own(subject in ".{0,40}", other in "[a-z]{1,8}") {
        prop_assume!(subject != other);
        let rules = compile(&[rule(&["a/b/{subject}"], &["a/b/{subject}"])]);
        let identity = jwt(&subject, json!({}));
        prop_assert_eq!(may(&rules, &identity, &format!("a/b/{other}")), [false; 3]);
        prop_assert_eq!(may(&rules, &identity, &format!("a/{other}/b")), [false; 3]);
        if let Ok(own) = FullName::new("a", "b", &subject) {
            prop_assert!(rules.permissions(&identity).may_subscribe(&own.view()).is_ok());
        }
    }

    #[test]
    fn globs_agree_with_a_naive_matcher(glob in "[ab*]{0,8}", text in "[ab]{0,8}") {
        fn naive(glob: &[u8], text: &[u8]) -> bool {
            match (glob.split_first(), text.split_first()) {
                (None, None) => true,
                (Some((b'*', rest)), _) => {
                    naive(rest, text) || text.split_first().is_some_and(|(_, after)| naive(glob, after))
                }
                (Some((a, rest)), Some((b, after))) => a == b && naive(rest, after),
                (Some(_), None) | (None, Some(_)) => false,
            }
        }
        prop_assert_eq!(glob_matches(&glob, &text), naive(glob.as_bytes(), text.as_bytes()));
    }
}
