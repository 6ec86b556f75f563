//! What a block may say: one table for each, of which the parser, the JSON schema and the documentation are made.

/// A block of keys.
#[derive(Debug)]
pub struct Block {
    /// What it is called in the documentation; in a [`Kind::Typed`] its `type`.
    pub name: &'static str,
    /// One or two sentences about it.
    pub doc: &'static str,
    /// Everything that is known here, in the order of the documentation.
    pub keys: &'static [Key],
}

/// One key of a block.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// What holds without it.
    pub absence: Absence,
    /// Whether it should be written.
    pub status: Status,
    /// What it is for: a phrase without full stop, in Markdown.
    pub doc: &'static str,
}

/// What a value is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number of a range.
    Integer {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
    },
    /// Any text.
    Text,
    /// A text that is never shown.
    Secret,
    /// The path of a file.
    Path,
    /// `10s`, `1h30m`.
    Duration {
        /// Whether `0s` makes sense.
        zero: bool,
    },
    /// `host:port`, perhaps as a URL.
    Endpoint,
    /// `COUNT/SECONDS`.
    Rate,
    /// One of some words.
    Choice(&'static [&'static str]),
    /// One text, or a list of texts.
    Texts,
    /// One of some words, or a list of them.
    Choices(&'static [&'static str]),
    /// A list.
    List(&'static Self),
    /// Keys of the user's choice with values of one kind.
    Map(&'static Self),
    /// A block.
    Block(&'static Block),
    /// One of several blocks, told apart by their key `type`; `{type: none}` stands for no block at all.
    Typed(&'static [&'static Block]),
    /// A block, or one word instead of it.
    BlockOr(&'static Block, &'static str),
    /// Any value.
    Any,
}

/// What holds without a key.
#[derive(Clone, Copy, Debug)]
pub enum Absence {
    /// The block is refused.
    Refused,
    /// A value, as it would be written.
    Default(&'static str),
    /// Something that cannot be written as a value.
    Means(&'static str),
}

/// Whether a key should be written.
#[derive(Clone, Copy, Debug)]
pub enum Status {
    /// Yes.
    Current,
    /// An equal spelling of this key.
    Alias(&'static str),
    /// The old name of this key, with the same values: a warning.
    Old(&'static str),
    /// An old key with other values than this one, which replaces it: a warning.
    OldShape(&'static str),
    /// Never worked; this key is meant.
    Wrong(&'static str),
    /// Comes with a later release: refused, unless it says nothing or this.
    Later(Option<&'static str>),
    /// Refused, with the reason.
    Refused(&'static str),
    /// Refused, with the reason, unless it is one of these words.
    RefusedUnless(&'static [&'static str], &'static str),
    /// Read, without effect and with a warning that gives the reason, so that old files go on working.
    Ignored(&'static str),
    /// Belongs to something that is switched off; not looked at.
    Unused,
}

impl Key {
    /// A key that can be left out without consequence.
    pub(crate) const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self {
            name,
            kind,
            absence: Absence::Means(""),
            status: Status::Current,
            doc,
        }
    }

    /// With this value if it is left out.
    pub(crate) const fn or(self, default: &'static str) -> Self {
        Self {
            absence: Absence::Default(default),
            ..self
        }
    }

    /// With these words about its absence.
    pub(crate) const fn without(self, meaning: &'static str) -> Self {
        Self {
            absence: Absence::Means(meaning),
            ..self
        }
    }

    /// That must be there.
    pub(crate) const fn required(self) -> Self {
        Self {
            absence: Absence::Refused,
            ..self
        }
    }

    /// A key that is not to be written.
    pub(crate) const fn other(name: &'static str, status: Status) -> Self {
        Self {
            name,
            kind: Kind::Any,
            absence: Absence::Means(""),
            status,
            doc: "",
        }
    }

    /// An old name.
    pub(crate) const fn old(name: &'static str, new: &'static str) -> Self {
        Self::other(name, Status::Old(new))
    }

    /// An equal name.
    pub(crate) const fn alias(name: &'static str, of: &'static str) -> Self {
        Self::other(name, Status::Alias(of))
    }

    /// True for a key that belongs into a new file.
    pub fn is_current(&self) -> bool {
        matches!(self.status, Status::Current)
    }
}

impl Block {
    /// The key of this name, which the code that asks knows to be there.
    pub(crate) fn key(&self, name: &str) -> &'static Key {
        self.keys
            .iter()
            .find(|key| key.name == name)
            .unwrap_or_else(|| panic!("the table of {:?} has no key {name:?}", self.name))
    }
}
