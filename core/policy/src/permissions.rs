//! What one link may do, compiled for checks frame by frame.

use std::fmt;
use std::sync::Arc;

use slim_proto::NameView;
use slim_proto::limits::NAME_COMPONENT_BYTES_MAX;
use slim_proto::name::component_hash;

use crate::identity::Principal;

/// What a link may do: deny by default, allow by pattern.
///
/// Checks go by what frames are routed by, the hashes, *and* by the text beside them. A name whose text is missing
/// or says something else than an allowed one is refused, even where the hashes agree: hashes of 64 bits can be made
/// to collide. The id of a name is not looked at: a name is allowed with every id, channels included.
///
/// A check costs up to eight binary searches and allocates only for a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    holder: Option<Arc<Principal>>,
    subscribe: PatternSet,
    publish: PatternSet,
    invite: PatternSet,
}

/// What a rule allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Receive what is sent to a name, and speak as it.
    Subscribe,
    /// Send to a name.
    Publish,
    /// Open a session with a name or add it to a group.
    Invite,
    /// Be the source of what is sent. Who may subscribe to a name may speak as it.
    Speak,
}

/// A refusal, with the text that its link gets to see. It names nothing but the link's own subject and request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Denied {
    /// What was tried.
    pub action: Action,
    /// The three components as sent (without id), cut where they are too long for a name.
    pub name: String,
    /// Who tried; `None` if the link proved no subject.
    pub holder: Option<Arc<Principal>>,
}

/// The patterns of one action, by which components they fix (a bit each).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PatternSet(Vec<(u8, Vec<Fixed>)>);

/// A pattern's fixed components; 0 and empty text in the place of the others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fixed {
    hashes: [u64; 3],
    text: [Box<str>; 3],
}

impl Permissions {
    /// Everything: what a link without rules may do.
    pub fn everything() -> Self {
        Self::of(
            None,
            PatternSet::everything(),
            PatternSet::everything(),
            PatternSet::everything(),
        )
    }

    /// Nothing.
    pub fn nothing() -> Self {
        Self::of(
            None,
            PatternSet::default(),
            PatternSet::default(),
            PatternSet::default(),
        )
    }

    pub(crate) fn of(
        holder: Option<Principal>,
        subscribe: PatternSet,
        publish: PatternSet,
        invite: PatternSet,
    ) -> Self {
        Self {
            holder: holder.map(Arc::new),
            subscribe,
            publish,
            invite,
        }
    }

    /// Whose permissions these are; `None` for those of nobody in particular.
    pub fn holder(&self) -> Option<&Arc<Principal>> {
        self.holder.as_ref()
    }

    /// Whether the link may receive what is sent to this name, and speak as it.
    pub fn may_subscribe(&self, name: &NameView<'_>) -> Result<(), Denied> {
        self.check(Action::Subscribe, self.subscribe.allows(name), name)
    }

    /// Whether the link may send as this name: if it may receive for it.
    pub fn may_speak_as(&self, name: &NameView<'_>) -> Result<(), Denied> {
        self.check(Action::Speak, self.subscribe.allows(name), name)
    }

    /// Whether the link may send to this name. Who may invite a name may send to it.
    pub fn may_publish(&self, name: &NameView<'_>) -> Result<(), Denied> {
        let allowed = self.publish.allows(name) || self.invite.allows(name);
        self.check(Action::Publish, allowed, name)
    }

    /// Whether the link may open a session with this name or add it to a group.
    pub fn may_invite(&self, name: &NameView<'_>) -> Result<(), Denied> {
        self.check(Action::Invite, self.invite.allows(name), name)
    }

    /// True if nothing is ever refused.
    pub fn allow_everything(&self) -> bool {
        [&self.subscribe, &self.publish, &self.invite]
            .iter()
            .all(|set| set.0.first().is_some_and(|(mask, _)| *mask == 0))
    }

    /// True if everything is refused.
    pub fn allow_nothing(&self) -> bool {
        [&self.subscribe, &self.publish, &self.invite]
            .iter()
            .all(|set| set.0.is_empty())
    }

    fn check(&self, action: Action, allowed: bool, name: &NameView<'_>) -> Result<(), Denied> {
        if allowed {
            return Ok(());
        }
        Err(Denied {
            action,
            name: readable(name),
            holder: self.holder.clone(),
        })
    }
}

impl PatternSet {
    /// Every name.
    pub(crate) fn everything() -> Self {
        Self::new([[None, None, None]])
    }

    /// The names that any of these patterns allows; `None` stands for any component.
    pub(crate) fn new(patterns: impl IntoIterator<Item = [Option<String>; 3]>) -> Self {
        let mut by_mask: Vec<Vec<Fixed>> = vec![Vec::new(); 8];
        for pattern in patterns {
            let mut mask = 0;
            let mut fixed = Fixed {
                hashes: [0; 3],
                text: Default::default(),
            };
            for (index, text) in pattern.into_iter().enumerate() {
                if let Some(text) = text {
                    mask |= 1 << index;
                    fixed.hashes[index] = component_hash(&text);
                    fixed.text[index] = text.into();
                }
            }
            by_mask[mask].push(fixed);
        }
        let sets = (0..).zip(by_mask).filter(|(_, patterns)| !patterns.is_empty());
        Self(
            sets.map(|(mask, mut patterns)| {
                patterns.sort_unstable();
                patterns.dedup();
                (mask, patterns)
            })
            .collect(),
        )
    }

    /// True if a pattern allows this name.
    pub(crate) fn allows(&self, name: &NameView<'_>) -> bool {
        self.0.iter().any(|(mask, patterns)| {
            let is_fixed = |index: usize| mask & (1 << index) != 0;
            let mut hashes = name.prefix.0;
            for (index, hash) in hashes.iter_mut().enumerate() {
                if !is_fixed(index) {
                    *hash = 0;
                }
            }
            let first = patterns.partition_point(|pattern| pattern.hashes < hashes);
            patterns[first..]
                .iter()
                .take_while(|pattern| pattern.hashes == hashes)
                .any(|pattern| {
                    *mask == 0
                        || name.text.is_some_and(|text| {
                            (0..3).all(|index| !is_fixed(index) || *pattern.text[index] == *text[index])
                        })
                })
        })
    }
}

impl Action {
    /// Its word in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Invite => "invite",
            Self::Speak => "speak",
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.holder {
            Some(holder) => write!(f, "{:?}", holder.subject())?,
            None => f.write_str("a link without identity")?,
        }
        let to = match self.action {
            Action::Subscribe | Action::Publish => " to",
            Action::Invite => "",
            Action::Speak => " as",
        };
        write!(f, " may not {}{to} {:?}", self.action.name(), self.name)
    }
}

/// The components as text, as far as they were sent; strangers choose them, so they are cut to a name's length.
fn readable(name: &NameView<'_>) -> String {
    let Some(text) = name.text else {
        let [a, b, c] = name.prefix.0;
        return format!("{a:016x}/{b:016x}/{c:016x} (sent without text)");
    };
    let parts = text.map(|part| {
        let end = (0..=part.len().min(NAME_COMPONENT_BYTES_MAX))
            .rev()
            .find(|end| part.is_char_boundary(*end));
        &part[..end.unwrap_or(0)]
    });
    parts.join("/")
}

#[cfg(test)]
mod tests;
