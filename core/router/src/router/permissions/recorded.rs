//! Conversations of unmodified published applications, replayed at a node with rules: nothing that they need may be
//! refused, although no rule names a peer.

use std::collections::BTreeMap;

use slim_policy::{LinkIdentity, RuleSource, Rules};
use slim_proto::{Frame, FrameKind};

use super::*;
use crate::router::RouterConfig;
use crate::testing::{at, edge, tagged};

const GROUP: &str = include_str!("../../../../proto/vectors/group-3.3.8-mls.jsonl");
const PLAIN_GROUP: &str = include_str!("../../../../proto/vectors/group-3.3.8-plain.jsonl");
const PAIR: &str = include_str!("../../../../proto/vectors/p2p-3.3.8-mls.jsonl");

/// The frames that applications sent, in order, each with its application.
fn recorded(text: &str) -> Vec<(String, Frame)> {
    let frames = text.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        (line["to"] == "node").then(|| {
            let hex = line["hex"].as_str().unwrap();
            let bytes: Vec<u8> = (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect();
            (
                line["app"].as_str().unwrap().to_owned(),
                Frame::new(bytes).unwrap(),
            )
        })
    });
    frames.collect()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Replays a conversation and returns the router after it.
fn replay(recording: &str, rules: &Rules) -> Router {
    let mut router = Router::new(RouterConfig::default(), [5; 32]);
    let mut links = BTreeMap::new();
    let mut sent = 0;
    for (app, frame) in recorded(recording) {
        let link = *links.entry(app.clone()).or_insert_with(|| {
            let permissions = rules.permissions(&LinkIdentity {
                subject: Some(app),
                ..LinkIdentity::default()
            });
            router.handle_link_up_as(at(0), edge(), permissions)
        });
        if frame.kind() == Ok(FrameKind::Link) {
            continue;
        }
        // Keys of links are not recorded, so their tags cannot be checked here.
        router.handle_frame(at(0), link, &tagged(&frame, 8, None));
        while router.poll_output().is_some() {}
        sent += 1;
    }
    assert!(sent > 10, "{sent} frames");
    router
}

fn refusals(router: &mut Router) -> Vec<String> {
    std::iter::from_fn(|| router.poll_refusal())
        .map(|(_, denied)| denied.to_string())
        .collect()
}

#[test]
fn a_published_group_works_under_rules_that_name_nobody_but_itself() {
    for recording in [GROUP, PLAIN_GROUP] {
        let members = RuleSource {
            subscribe: texts(&["org/ns/{subject}", "org/ns/chan"]),
            publish: texts(&["org/ns/chan"]),
            invite: Some(Vec::new()),
            ..RuleSource::default()
        };
        let moderator = RuleSource {
            subjects: texts(&["alice"]),
            invite: Some(texts(&["org/ns/bob", "org/ns/carol"])),
            ..RuleSource::default()
        };
        let mut router = replay(
            recording,
            &Rules::compile(false, &[members.clone(), moderator]).unwrap(),
        );
        assert_eq!(refusals(&mut router), Vec::<String>::new());
        assert!(router.counters().copies > 50, "{:?}", router.counters());
        // The same without the right to invite ends at its first step.
        let mut router = replay(recording, &Rules::compile(false, &[members]).unwrap());
        let refused = refusals(&mut router);
        assert_eq!(refused[0], r#""alice" may not invite "org/ns/bob""#);
    }
}

#[test]
fn a_published_pair_works_under_a_rule_for_its_initiator_alone() {
    let everybody = RuleSource {
        subscribe: texts(&["org/ns/{subject}"]),
        ..RuleSource::default()
    };
    let initiator = RuleSource {
        subjects: texts(&["alice"]),
        invite: Some(texts(&["org/ns/bob"])),
        ..RuleSource::default()
    };
    let mut router = replay(PAIR, &Rules::compile(false, &[everybody, initiator]).unwrap());
    assert_eq!(refusals(&mut router), Vec::<String>::new());
    assert!(router.counters().copies > 10, "{:?}", router.counters());
}
