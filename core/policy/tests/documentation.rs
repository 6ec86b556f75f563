//! `docs/authorization.md` says what is so: its example, its patterns and its policies.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use slim_config::{DefaultAccess, NodeConfig};
use slim_policy::{AuthMethod, ClaimPolicy, LinkIdentity, NamePattern, Permissions, Rules};
use slim_proto::FullName;

const PAGE: &str = include_str!("../../../docs/authorization.md");

/// The blocks of one language on the page.
fn blocks(language: &str) -> Vec<&'static str> {
    let start = format!("```{language}\n");
    PAGE.split(start.as_str())
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

fn example() -> Rules {
    let loaded = NodeConfig::from_yaml_text(blocks("yaml")[0]).unwrap();
    assert!(loaded.warnings.is_empty());
    let config = loaded.config.services[0].authorization.clone().unwrap();
    Rules::compile(config.default == DefaultAccess::Allow, &config.rules).unwrap()
}

fn of(subject: &str) -> Permissions {
    example().permissions(&LinkIdentity {
        subject: Some(subject.to_owned()),
        method: AuthMethod::Oidc,
        ..LinkIdentity::default()
    })
}

fn name(application: &str) -> FullName {
    FullName::new("agntcy", "namespace", application).unwrap()
}

#[test]
fn the_worked_example_does_what_the_page_says() {
    let (participant, moderator) = (of("participant1"), of("moderator"));
    let group = name("group_channel");
    for (member, own) in [(&participant, "participant1"), (&moderator, "moderator")] {
        assert!(member.may_subscribe(&name(own).view()).is_ok());
        assert!(member.may_subscribe(&group.view()).is_ok());
        assert!(member.may_publish(&group.view()).is_ok());
    }
    let refused = participant
        .may_subscribe(&name("moderator").view())
        .unwrap_err()
        .to_string();
    assert!(PAGE.contains(&refused), "{refused}");
    assert!(participant.may_speak_as(&name("moderator").view()).is_err());
    assert!(participant.may_invite(&name("participant2").view()).is_err());
    assert!(participant.may_invite(&group.view()).is_err());
    assert!(moderator.may_invite(&name("participant1").view()).is_ok());
    let nobody = example().permissions(&LinkIdentity::default());
    assert!(nobody.allow_nothing());
}

#[test]
fn every_documented_pattern_is_one() {
    let section = PAGE
        .split("## Patterns")
        .nth(1)
        .unwrap()
        .split("##")
        .next()
        .unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let mut patterns = 0;
    for row in rows {
        let (written, _) = row.trim_start_matches("| ").split_once(" |").unwrap();
        for word in written.split('`').skip(1).step_by(2) {
            let pattern = if word.contains("**") {
                word.to_owned()
            } else {
                format!("a/b/{word}")
            };
            assert!(pattern.parse::<NamePattern>().is_ok(), "{pattern}");
            patterns += 1;
        }
    }
    assert!(patterns >= 5, "{patterns}");
}

#[test]
fn every_documented_policy_compiles() {
    let policies: Vec<&str> = blocks("text").iter().flat_map(|block| block.lines()).collect();
    assert_eq!(policies.len(), 2);
    for policy in policies {
        ClaimPolicy::compile(policy).unwrap_or_else(|error| panic!("{policy}: {error}"));
    }
}
