//! The members of a session: the one place where membership is stored (Invariant 21).

use std::collections::{BTreeMap, BTreeSet};

use slim_proto::limits::{HEARTBEAT_MISSES_MAX, MEMBERS_MAX};
use slim_proto::{FullName, NameId, Participant};

use crate::api::{Direction, Member};

/// When a member came, seen from here: decides where its data stream starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seniority {
    /// It was there before this member; its stream may start anywhere.
    Older,
    /// It came later; its stream starts at 1.
    Newer,
}

/// One member.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) participant: Participant,
    pub(crate) subject: Option<String>,
    pub(crate) seniority: Seniority,
    /// False at the moderator until the welcome is confirmed: no data is expected to arrive yet.
    pub(crate) joined: bool,
    misses: u32,
}

/// Members by full name, oneself included.
#[derive(Clone, Debug)]
pub(crate) struct Roster {
    own: FullName,
    moderator: FullName,
    members: BTreeMap<FullName, Entry>,
}

impl Roster {
    /// A roster of the moderator alone, or (at an invitee) still empty.
    pub(crate) fn new(own: FullName, moderator: FullName) -> Self {
        Self {
            own,
            moderator,
            members: BTreeMap::new(),
        }
    }

    /// Adds or replaces a member; false if the group is full.
    pub(crate) fn insert(
        &mut self,
        participant: Participant,
        subject: Option<String>,
        seniority: Seniority,
    ) -> bool {
        if self.members.len() >= MEMBERS_MAX && !self.members.contains_key(&participant.name) {
            return false;
        }
        let name = participant.name.clone();
        self.members.insert(
            name,
            Entry {
                participant,
                subject,
                seniority,
                joined: true,
                misses: 0,
            },
        );
        true
    }

    pub(crate) fn remove(&mut self, name: &FullName) -> Option<Entry> {
        self.members.remove(name)
    }

    pub(crate) fn get(&self, name: &FullName) -> Option<&Entry> {
        self.members.get(name)
    }

    pub(crate) fn contains(&self, name: &FullName) -> bool {
        self.members.contains_key(name)
    }

    pub(crate) fn moderator(&self) -> &FullName {
        &self.moderator
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn set_subject(&mut self, name: &FullName, subject: &str) {
        if let Some(entry) = self.members.get_mut(name) {
            entry.subject = Some(subject.to_owned());
        }
    }

    /// The welcome is confirmed (or not yet).
    pub(crate) fn set_joined(&mut self, name: &FullName, joined: bool) {
        if let Some(entry) = self.members.get_mut(name) {
            entry.joined = joined;
        }
    }

    /// Changes presence; true if it was different.
    pub(crate) fn set_online(&mut self, name: &FullName, online: bool) -> bool {
        let Some(entry) = self.members.get_mut(name) else {
            return false;
        };
        entry.misses = 0;
        std::mem::replace(&mut entry.participant.online, online) != online
    }

    /// A verified sign of life.
    pub(crate) fn heard(&mut self, name: &FullName) {
        if let Some(entry) = self.members.get_mut(name) {
            entry.misses = 0;
        }
    }

    /// A heartbeat period passed: counts it for everybody online and returns those that were silent too long.
    pub(crate) fn count_silence(&mut self) -> Vec<FullName> {
        let mut silent = Vec::new();
        for (name, entry) in &mut self.members {
            if *name == self.own || !entry.participant.online {
                continue;
            }
            entry.misses += 1;
            if entry.misses >= HEARTBEAT_MISSES_MAX {
                silent.push(name.clone());
            }
        }
        silent
    }

    /// Everybody else.
    pub(crate) fn others(&self) -> impl Iterator<Item = (&FullName, &Entry)> {
        self.members.iter().filter(|(name, _)| **name != self.own)
    }

    /// Everybody else who is online: expected to answer control messages.
    pub(crate) fn online_others(&self) -> BTreeSet<FullName> {
        self.others()
            .filter(|(_, entry)| entry.participant.online)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Everybody else who is expected to acknowledge data.
    pub(crate) fn data_recipients(&self) -> BTreeSet<FullName> {
        self.others()
            .filter(|(_, entry)| entry.participant.online && entry.participant.receives_data && entry.joined)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Members with these three components, whatever the id, or exactly this one if it has an id.
    pub(crate) fn matching(&self, name: &FullName) -> Vec<FullName> {
        self.members
            .keys()
            .filter(|member| {
                member.same_components(name) && (name.id() == NameId::ANY || member.id() == name.id())
            })
            .cloned()
            .collect()
    }

    /// True if a member with this name, or with these three components if it has no id, is online.
    pub(crate) fn is_online(&self, name: &FullName) -> bool {
        self.matching(name)
            .iter()
            .any(|member| self.get(member).is_some_and(|entry| entry.participant.online))
    }

    /// The roster as it travels.
    pub(crate) fn participants(&self) -> Vec<Participant> {
        self.members
            .values()
            .map(|entry| entry.participant.clone())
            .collect()
    }

    pub(crate) fn names(&self) -> Vec<FullName> {
        self.members.keys().cloned().collect()
    }

    /// The roster as the application sees it.
    pub(crate) fn view(&self) -> Vec<Member> {
        self.members
            .iter()
            .map(|(name, entry)| Member {
                name: name.clone(),
                subject: entry.subject.clone(),
                online: entry.participant.online,
                is_moderator: *name == self.moderator,
            })
            .collect()
    }
}

/// A participant entry for the wire.
pub(crate) fn participant(name: FullName, direction: Direction) -> Participant {
    Participant {
        name,
        sends_data: direction.sends(),
        receives_data: direction.receives(),
        online: true,
    }
}
