//! Messages to any one instance of a name ("fire and forget"): who gets the next one.
//!
//! Such a session has no peer of its own. Each message names its receiver, and behind it stand one-to-one sessions,
//! one per instance, opened when they are needed and then kept:
//!
//! ```text
//! sticky     publish ── first contact with the name binds ──→ that instance, as long as it is there
//! otherwise  publish ── DiscoveryRequest ── who answers, in turn ──→ its session, new or kept
//! ```
//!
//! Nodes pass a request for a name on to its instances in turn (wire-routing A8), but other applications of the same
//! process, and nodes that choose at random, disturb the turn. So when somebody answers out of turn, the request is
//! repeated, a limited number of times.
//!
//! This file holds the state and the rule; `flow.rs` does what the endpoint has to do for it, `voice.rs` says what the
//! application hears.

mod flow;
mod voice;

use std::collections::{BTreeMap, BTreeSet};

use slim_proto::limits::{ANYCAST_CONTACTS_MAX, SEND_WINDOW_MAX};
use slim_proto::{FullName, Instant, Message};

use crate::api::{Reliability, SessionId, Ticket};
use crate::error::{CommandError, OperationError};
use crate::send::Draft;

/// A discovery that somebody answers out of turn is repeated so often before that instance is taken.
const OUT_OF_TURN_TRIES: u32 = 2;
/// While only one instance is known, every so many messages it is asked twice who is there.
const LOOK_AROUND_TURNS: u64 = 16;

/// Settings of a session whose messages go to any one instance of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnycastConfig {
    /// `None`: data is neither acknowledged nor ordered nor repeated.
    pub reliability: Option<Reliability>,
    /// All messages for a name go to the instance that answered first, until it leaves or is silent. Implied by `mls`.
    pub sticky: bool,
    /// End-to-end encryption.
    pub mls: bool,
    /// Told to every receiver in clear.
    pub metadata: BTreeMap<String, String>,
}

impl AnycastConfig {
    fn is_sticky(&self) -> bool {
        self.sticky || self.mls
    }
}

/// All sessions of this kind of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Anycasts {
    sessions: BTreeMap<u32, Anycast>,
    /// To which of them a one-to-one session belongs.
    owners: BTreeMap<u32, u32>,
    /// Tickets of commands that were given here, whose completion nobody outside waits for.
    internal: BTreeSet<Ticket>,
}

impl Anycasts {
    pub(crate) fn contains(&self, id: u32) -> bool {
        self.sessions.contains_key(&id)
    }

    /// The session of this kind behind which a one-to-one session stands.
    pub(crate) fn owner(&self, session: u32) -> Option<u32> {
        self.owners.get(&session).copied()
    }

    /// Numbers of the sessions of this kind.
    pub(crate) fn ids(&self) -> impl Iterator<Item = SessionId> {
        self.sessions.keys().copied().map(SessionId)
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// True if this reply answers a discovery of a message for any instance.
    pub(crate) fn is_asking(&self, reply: &Message) -> bool {
        self.asking(reply).is_some()
    }

    fn asking(&self, reply: &Message) -> Option<u32> {
        let (id, _) = self.sessions.iter().find(|(_, anycast)| {
            anycast.asks.get(&reply.message_id).is_some_and(|ask| {
                ask.request.session_id == reply.session_id
                    && ask.request.destination.same_components(&reply.source)
            })
        })?;
        Some(*id)
    }
}

/// One session of this kind.
#[derive(Debug)]
struct Anycast {
    config: AnycastConfig,
    /// By the number of the one-to-one session.
    contacts: BTreeMap<u32, Contact>,
    /// By the number of the discovery request.
    asks: BTreeMap<u32, Ask>,
    /// Messages given out so far.
    turns: u64,
    /// What waits for the application, over all contacts; each of them counts all of it.
    waiting: (usize, usize),
    /// Set while it closes.
    closing: Option<Ticket>,
}

/// An instance that is, or will be, spoken to.
#[derive(Debug)]
struct Contact {
    /// The instance. Until the session is open, the name that was asked for.
    name: FullName,
    /// When it last got a message.
    last_turn: u64,
    /// When somebody else than this one was last looked for, while it was the only one.
    looked_around: Option<u64>,
    /// The command that opens the session, until it is open.
    opening: Option<Ticket>,
    /// Messages that wait for the opening.
    carried: BTreeSet<Ticket>,
    /// Why the opening failed.
    failure: Option<OperationError>,
    /// On its way out; gets nothing more.
    retired: bool,
}

/// A message whose instance is looked for.
#[derive(Debug)]
struct Ask {
    draft: Draft,
    request: Message,
    started: Instant,
    repeats: u32,
    /// Answers out of turn so far.
    tries: u32,
    /// Who answered, if out of turn.
    candidate: Option<FullName>,
}

/// What to do about an answer.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    /// This instance gets the message.
    Take(FullName),
    /// Somebody else waits longer; ask once more.
    AskAgain(FullName),
}

impl Anycast {
    fn new(config: AnycastConfig) -> Self {
        Self {
            config,
            contacts: BTreeMap::new(),
            asks: BTreeMap::new(),
            turns: 0,
            waiting: (0, 0),
            closing: None,
        }
    }

    fn timing(&self) -> Reliability {
        self.config.reliability.unwrap_or_default()
    }

    /// Contacts that may get messages, in the order in which they were made.
    fn usable(&self) -> impl Iterator<Item = (u32, &Contact)> {
        self.contacts
            .iter()
            .filter(|(_, contact)| !contact.retired && contact.failure.is_none())
            .map(|(session, contact)| (*session, contact))
    }

    /// The contact for a receiver: the instance itself, or if sticky the one that the name is bound to.
    fn contact(&self, to: &FullName) -> Option<u32> {
        let fits = |contact: &Contact| {
            if to.id().is_concrete() {
                contact.name == *to
            } else {
                self.config.is_sticky() && contact.name.same_components(to)
            }
        };
        self.usable()
            .filter(|(_, contact)| fits(contact))
            .min_by_key(|(_, contact)| contact.opening.is_some())
            .map(|(session, _)| session)
    }

    /// The receiver of a message that names none: the only contact, if sticky.
    fn only_receiver(&self) -> Option<FullName> {
        let mut contacts = self.usable().filter(|_| self.config.is_sticky());
        let (_, only) = contacts.next()?;
        contacts.next().is_none().then(|| only.name.clone())
    }

    /// The rule: of the instances that answer, the one that waits longest.
    fn choose(&self, answered: &FullName, tries: u32, candidate: Option<&FullName>) -> Choice {
        let turn = |name: &FullName| {
            self.usable()
                .find(|(_, contact)| contact.name == *name)
                .map_or(0, |(_, contact)| contact.last_turn)
        };
        let best = match candidate {
            Some(earlier) if turn(earlier) < turn(answered) => earlier,
            Some(_) | None => answered,
        };
        let known = || {
            self.usable()
                .filter(|(_, contact)| contact.name.same_components(answered) && contact.opening.is_none())
        };
        let out_of_turn = known().any(|(_, contact)| contact.last_turn < turn(best));
        let alone = known().all(|(_, contact)| contact.name == *best && self.should_look_around(contact));
        if out_of_turn && tries < OUT_OF_TURN_TRIES || alone && known().count() == 1 && tries == 0 {
            Choice::AskAgain(best.clone())
        } else {
            Choice::Take(best.clone())
        }
    }

    /// The only instance known may be the only one there is, or the others are hidden by somebody else's requests.
    fn should_look_around(&self, contact: &Contact) -> bool {
        contact
            .looked_around
            .is_none_or(|looked| self.turns >= looked + LOOK_AROUND_TURNS)
    }

    /// Notes that others than this instance were looked for.
    fn has_looked_around(&mut self, instance: &FullName) {
        let turns = self.turns;
        let contact = self
            .contacts
            .values_mut()
            .find(|contact| contact.name == *instance);
        if let Some(contact) = contact {
            contact.looked_around = Some(turns);
        }
    }

    /// Notes that a contact gets a message now.
    fn take_turn(&mut self, session: u32) {
        self.turns += 1;
        if let Some(contact) = self.contacts.get_mut(&session) {
            contact.last_turn = self.turns;
        }
    }

    /// The contact to give up for a new one when there are too many.
    fn surplus(&self) -> Option<u32> {
        if self.contacts.len() < ANYCAST_CONTACTS_MAX {
            return None;
        }
        self.usable()
            .filter(|(_, contact)| contact.opening.is_none())
            .min_by_key(|(_, contact)| contact.last_turn)
            .map(|(session, _)| session)
    }

    fn check_room(&self, id: SessionId) -> Result<(), CommandError> {
        if self.asks.len() >= SEND_WINDOW_MAX {
            return Err(CommandError::WindowFull(id));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use slim_proto::NameId;

    use super::*;

    fn instance(id: u128) -> FullName {
        "org/ns/worker".parse::<FullName>().unwrap().with_id(NameId(id))
    }

    fn with_turns(turns: &[(u128, u64)]) -> Anycast {
        let mut anycast = Anycast::new(AnycastConfig::default());
        for (id, last_turn) in turns {
            anycast.contacts.insert(
                u32::try_from(*id).unwrap(),
                Contact {
                    name: instance(*id),
                    last_turn: *last_turn,
                    looked_around: None,
                    opening: None,
                    carried: BTreeSet::new(),
                    failure: None,
                    retired: false,
                },
            );
        }
        anycast
    }

    #[test]
    fn who_was_never_served_is_taken_at_once() {
        let anycast = with_turns(&[(1, 4), (2, 5)]);
        assert_eq!(anycast.choose(&instance(3), 0, None), Choice::Take(instance(3)));
    }

    #[test]
    fn the_one_whose_turn_it_is_is_taken_at_once() {
        let anycast = with_turns(&[(1, 4), (2, 5), (3, 3)]);
        assert_eq!(anycast.choose(&instance(3), 0, None), Choice::Take(instance(3)));
    }

    #[test]
    fn an_answer_out_of_turn_is_asked_again_a_limited_number_of_times_and_then_the_best_is_taken() {
        let anycast = with_turns(&[(1, 4), (2, 5), (3, 3)]);
        assert_eq!(
            anycast.choose(&instance(1), 0, None),
            Choice::AskAgain(instance(1))
        );
        assert_eq!(
            anycast.choose(&instance(2), 1, Some(&instance(1))),
            Choice::AskAgain(instance(1))
        );
        assert_eq!(
            anycast.choose(&instance(2), OUT_OF_TURN_TRIES, Some(&instance(1))),
            Choice::Take(instance(1))
        );
    }

    #[test]
    fn the_only_one_known_is_taken_once_others_were_looked_for_and_again_after_a_while() {
        let mut anycast = with_turns(&[(1, 4)]);
        anycast.turns = 4;
        let (again, take) = (Choice::AskAgain(instance(1)), Choice::Take(instance(1)));
        assert_eq!(anycast.choose(&instance(1), 0, None), again);
        assert_eq!(anycast.choose(&instance(1), 1, Some(&instance(1))), take);
        anycast.has_looked_around(&instance(1));
        assert_eq!(anycast.choose(&instance(1), 0, None), take);
        anycast.turns += LOOK_AROUND_TURNS;
        assert_eq!(anycast.choose(&instance(1), 0, None), again);
    }

    #[test]
    fn nobody_waits_for_contacts_that_are_gone_or_serve_another_name() {
        let mut anycast = with_turns(&[(1, 4), (2, 3)]);
        anycast.contacts.get_mut(&2).unwrap().retired = true;
        anycast.has_looked_around(&instance(1));
        assert_eq!(anycast.choose(&instance(1), 0, None), Choice::Take(instance(1)));
        let mut anycast = with_turns(&[(1, 4), (2, 3)]);
        anycast.contacts.get_mut(&2).unwrap().name = "org/ns/other".parse().unwrap();
        anycast.has_looked_around(&instance(1));
        assert_eq!(anycast.choose(&instance(1), 0, None), Choice::Take(instance(1)));
    }

    #[test]
    fn beyond_the_limit_the_contact_that_waits_longest_is_given_up() {
        let turns: Vec<(u128, u64)> = (1..=ANYCAST_CONTACTS_MAX as u64)
            .map(|turn| (u128::from(turn), 1000 - turn))
            .collect();
        assert_eq!(with_turns(&turns[1..]).surplus(), None);
        let last = u32::try_from(ANYCAST_CONTACTS_MAX).unwrap();
        assert_eq!(with_turns(&turns).surplus(), Some(last));
    }
}
