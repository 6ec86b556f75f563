//! Checks against names as frames carry them, and against a naive model.

use proptest::prelude::*;
use slim_proto::{FullName, NameId, Prefix};

use super::*;
use crate::LinkIdentity;

fn set(patterns: &[[&str; 3]]) -> PatternSet {
    let filled = patterns
        .iter()
        .map(|pattern| pattern.map(|text| (text != "*").then(|| text.to_owned())));
    PatternSet::new(filled)
}

fn name(path: &str) -> FullName {
    path.parse().unwrap()
}

fn permissions(subscribe: PatternSet, publish: PatternSet, invite: PatternSet) -> Permissions {
    let bob = LinkIdentity {
        subject: Some("bob".into()),
        ..LinkIdentity::default()
    };
    Permissions::of(bob.principal(), subscribe, publish, invite)
}

#[test]
fn each_action_has_its_own_names_and_inviting_includes_writing() {
    let permissions = permissions(
        set(&[["a", "b", "bob"]]),
        set(&[["a", "b", "group"]]),
        set(&[["a", "b", "alice"]]),
    );
    let allowed = |path: &str| {
        let name = name(path);
        let view = name.view();
        [
            permissions.may_subscribe(&view).is_ok(),
            permissions.may_speak_as(&view).is_ok(),
            permissions.may_publish(&view).is_ok(),
            permissions.may_invite(&view).is_ok(),
        ]
    };
    assert_eq!(allowed("a/b/bob"), [true, true, false, false]);
    assert_eq!(allowed("a/b/group"), [false, false, true, false]);
    assert_eq!(allowed("a/b/alice"), [false, false, true, true]);
    assert_eq!(allowed("a/b/carol"), [false; 4]);
}

#[test]
fn a_name_is_allowed_with_every_id() {
    let permissions = permissions(set(&[["a", "b", "chat"]]), set(&[]), set(&[]));
    for id in [NameId::ANY, NameId(0), NameId(7)] {
        assert_eq!(
            permissions.may_subscribe(&name("a/b/chat").with_id(id).view()),
            Ok(())
        );
    }
    let (data, control) = slim_proto::name::channel_names(&name("a/b/chat"), "alice");
    assert_eq!(permissions.may_subscribe(&data.view()), Ok(()));
    assert_eq!(permissions.may_subscribe(&control.view()), Ok(()));
}

#[test]
fn a_refusal_names_who_what_and_whom() {
    let nothing = permissions(set(&[]), set(&[]), set(&[]));
    let alice = name("a/b/alice").with_id(NameId(3));
    let text = |denied: Result<(), Denied>| denied.unwrap_err().to_string();
    assert_eq!(
        text(nothing.may_subscribe(&alice.view())),
        r#""bob" may not subscribe to "a/b/alice""#
    );
    assert_eq!(
        text(nothing.may_publish(&alice.view())),
        r#""bob" may not publish to "a/b/alice""#
    );
    assert_eq!(
        text(nothing.may_invite(&alice.view())),
        r#""bob" may not invite "a/b/alice""#
    );
    assert_eq!(
        text(nothing.may_speak_as(&alice.view())),
        r#""bob" may not speak as "a/b/alice""#
    );
    assert_eq!(
        text(Permissions::nothing().may_publish(&alice.view())),
        r#"a link without identity may not publish to "a/b/alice""#
    );
}

#[test]
fn text_that_does_not_belong_to_its_hashes_opens_nothing() {
    let own = permissions(set(&[["a", "b", "bob"]]), set(&[]), set(&[]));
    let (alice, bob) = (name("a/b/alice"), name("a/b/bob"));
    // Routed to alice, readable as bob; and the other way round.
    let hashes_of_alice = NameView {
        text: bob.view().text,
        ..alice.view()
    };
    let hashes_of_bob = NameView {
        text: alice.view().text,
        ..bob.view()
    };
    let without_text = NameView {
        text: None,
        ..bob.view()
    };
    for spoofed in [hashes_of_alice, hashes_of_bob, without_text] {
        assert!(own.may_subscribe(&spoofed).is_err(), "{spoofed:?}");
    }
    assert!(own.may_subscribe(&bob.view()).is_ok());
    // Where every name is allowed, there is nothing to gain by a name without text.
    assert!(Permissions::everything().may_subscribe(&without_text).is_ok());
}

#[test]
fn names_with_equal_hashes_are_told_apart_by_their_text() {
    let mut patterns = set(&[["a", "b", "bob"]]);
    let bob = name("a/b/bob");
    // As if "eve" had the hashes of "bob": only one of the two is allowed.
    patterns.0[0].1[0].text[2] = "eve".into();
    assert!(!patterns.allows(&bob.view()));
    let eve = NameView {
        text: Some(["a", "b", "eve"]),
        ..bob.view()
    };
    assert!(patterns.allows(&eve));
}

#[test]
fn refusals_of_strange_names_stay_short() {
    let long = "é".repeat(100_000);
    let view = NameView {
        prefix: Prefix([1, 2, 3]),
        id: None,
        text: Some([&long, "\n", ""]),
    };
    let denied = Permissions::nothing().may_publish(&view).unwrap_err();
    assert!(denied.name.len() <= 3 * NAME_COMPONENT_BYTES_MAX + 2);
    assert!(!denied.to_string().contains('\n'), "one line in a log");
    let without = NameView { text: None, ..view };
    let denied = Permissions::nothing().may_publish(&without).unwrap_err();
    assert_eq!(
        denied.name,
        "0000000000000001/0000000000000002/0000000000000003 (sent without text)"
    );
}

#[test]
fn everything_and_nothing_know_themselves() {
    assert!(Permissions::everything().allow_everything());
    assert!(Permissions::nothing().allow_nothing());
    let some = permissions(set(&[["*", "*", "*"]]), set(&[["a", "b", "c"]]), set(&[]));
    assert!(!some.allow_everything() && !some.allow_nothing());
}

proptest! {
    /// Small alphabets, so that names and patterns meet often.
    #[test]
    fn patterns_allow_exactly_what_a_comparison_of_texts_allows(
        patterns in proptest::collection::vec(["[ab*]", "[ab*]", "[abc*]"], 0..12),
        path in ["[ab]", "[ab]", "[abc]"],
        id in any::<u128>(),
    ) {
        let naive = patterns.iter().any(|pattern| {
            pattern.iter().zip(&path).all(|(want, got)| want == "*" || want == got)
        });
        let texts: Vec<[&str; 3]> = patterns.iter().map(|[a, b, c]| [a.as_str(), b, c]).collect();
        let [a, b, c] = &path;
        let name = FullName::new(a, b, c).unwrap().with_id(NameId(id));
        prop_assert_eq!(set(&texts).allows(&name.view()), naive);
    }
}
