//! The records by the rules of wire-routing A7.

use slim_proto::{FullName, NameId, NameView};

use super::*;
use crate::testing::name;

fn link(slot: u32) -> LinkId {
    LinkId { slot, generation: 1 }
}

fn view(name: &FullName) -> NameView<'_> {
    NameView {
        prefix: name.prefix(),
        id: Some(name.id()),
        text: Some(name.components()),
    }
}

fn table() -> SubscriptionTable {
    SubscriptionTable::new(3, 5)
}

#[test]
fn a_repeated_subscribe_changes_nothing() {
    let (mut table, chat) = (table(), name("a/b/chat"));
    assert_eq!(table.subscribe(link(1), &view(&chat), 7), Ok(true));
    assert_eq!(table.subscribe(link(1), &view(&chat), 7), Ok(false));
    assert_eq!(table.len(), 1);
    assert!(table.unsubscribe(link(1), &view(&chat), 7).is_ok());
    assert_eq!(table.len(), 0);
}

#[test]
fn two_subscriptions_of_a_link_to_one_name_end_one_by_one() {
    let (mut table, chat) = (table(), name("a/b/chat"));
    table.subscribe(link(1), &view(&chat), 7).unwrap();
    table.subscribe(link(1), &view(&chat), 8).unwrap();
    table.unsubscribe(link(1), &view(&chat), 7).unwrap();
    assert_eq!(table.of_prefix(chat.prefix()).count(), 1);
}

#[test]
fn ids_of_two_links_do_not_collide() {
    let (mut table, chat) = (table(), name("a/b/chat"));
    table.subscribe(link(1), &view(&chat), 7).unwrap();
    table.subscribe(link(2), &view(&chat), 7).unwrap();
    table.unsubscribe(link(1), &view(&chat), 7).unwrap();
    let left: Vec<_> = table.of_prefix(chat.prefix()).map(|(key, _)| key.link).collect();
    assert_eq!(left, [link(2)]);
}

#[test]
fn each_kind_of_missing_record_has_its_text() {
    let (mut table, chat) = (table(), name("a/b/chat").with_id(NameId(1)));
    table.subscribe(link(1), &view(&chat), 7).unwrap();
    let mut text = |name: &FullName, id| {
        let error = table.unsubscribe(link(1), &view(name), id).unwrap_err();
        error.to_string()
    };
    assert_eq!(text(&name("a/b/other"), 7), "subscription not found");
    assert_eq!(
        text(&chat.with_id(NameId(0xAB)), 7),
        "id not found: 00000000-0000-0000-0000-0000000000ab"
    );
    assert_eq!(text(&chat.without_id(), 7), "id not found: NULL_COMPONENT");
    assert_eq!(text(&chat, 8), "subscription id not found: 8");
}

#[test]
fn an_absent_id_and_an_explicit_any_are_different_records() {
    let (mut table, chat) = (table(), name("a/b/chat"));
    let explicit = view(&chat);
    let absent = NameView { id: None, ..explicit };
    table.subscribe(link(1), &explicit, 7).unwrap();
    assert_eq!(
        table.unsubscribe(link(1), &absent, 7),
        Err(UnsubscribeError::Subscription(7))
    );
    table.subscribe(link(1), &absent, 7).unwrap();
    assert_eq!(table.len(), 2);
    assert!(table.unsubscribe(link(1), &absent, 7).is_ok());
    assert!(table.unsubscribe(link(1), &explicit, 7).is_ok());
}

#[test]
fn an_unsubscribe_with_the_original_id_removes_the_restored_record() {
    let (mut table, chat) = (table(), name("a/b/chat"));
    table.subscribe(link(1), &view(&chat), 0).unwrap();
    let removed = table.unsubscribe(link(1), &view(&chat), 4711).unwrap();
    assert_eq!(removed.subscription_id, 0);
    // Only that link's, and only once.
    table.subscribe(link(2), &view(&chat), 0).unwrap();
    assert_eq!(
        table.unsubscribe(link(1), &view(&chat), 4711),
        Err(UnsubscribeError::Subscription(4711))
    );
}

#[test]
fn both_limits_refuse_new_records_and_let_duplicates_pass() {
    let (mut table, chat) = (table(), name("a/b/chat"));
    for id in 1..=3 {
        table.subscribe(link(1), &view(&chat), id).unwrap();
    }
    let refused = table.subscribe(link(1), &view(&chat), 4).unwrap_err();
    assert_eq!(refused.to_string(), "subscription limit of this link reached (3)");
    assert_eq!(table.subscribe(link(1), &view(&chat), 3), Ok(false));
    for id in 1..=2 {
        table.subscribe(link(2), &view(&chat), id).unwrap();
    }
    let refused = table.subscribe(link(3), &view(&chat), 1).unwrap_err();
    assert_eq!(refused.to_string(), "subscription limit of this node reached (5)");
    table.unsubscribe(link(1), &view(&chat), 1).unwrap();
    assert_eq!(table.subscribe(link(3), &view(&chat), 1), Ok(true));
}

#[test]
fn a_lost_link_takes_its_records_along() {
    let (mut table, chat, other) = (table(), name("a/b/chat"), name("a/b/other"));
    table.subscribe(link(1), &view(&chat), 1).unwrap();
    table.subscribe(link(1), &view(&other), 2).unwrap();
    table.subscribe(link(2), &view(&chat), 1).unwrap();
    assert_eq!(table.remove_link(link(1)).len(), 2);
    assert_eq!((table.len(), table.remove_link(link(1)).len()), (1, 0));
    assert_eq!(table.of_prefix(other.prefix()).count(), 0);
}
