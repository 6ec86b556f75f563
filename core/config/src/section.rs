//! Blocks of keys: strict access to a tree, with the path of everything that is read.
//!
//! A [`Section`] is opened with the table of its block, which decides what may stand there. Old names are replaced by
//! today's on the way in, so that whoever reads a section knows only those.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::duration::parse_duration;
use crate::error::{ConfigError, Problem};
use crate::field::Field;
use crate::nearest::nearest;
use crate::neutral::{is_none, says_nothing, says_only};
use crate::place::Place;
use crate::table::{Absence, Block, Key, Kind, Status};
use crate::tree::Value;
use crate::warning::Warning;

/// A block of keys, of which every key is known.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    place: Place,
    block: &'static Block,
    fields: Vec<Taken<'a>>,
}

/// A field under today's name.
#[derive(Debug)]
struct Taken<'a> {
    name: &'static str,
    /// The name in the text.
    written: &'static str,
    field: Field<'a>,
}

/// The key that tells the blocks of a [`Kind::Typed`] apart.
const TYPE: &str = "type";

impl<'a> Section<'a> {
    /// Opens a block. What its table does not allow is an error; what it calls old is a warning.
    pub(crate) fn open(field: &Field<'a>, block: &'static Block) -> Result<Self, ConfigError> {
        Self::of_entries(field, block, field.entries()?)
    }

    /// Opens the one of several blocks that `type` names; `None` if it says `none`, or nothing at all.
    pub(crate) fn open_typed(field: &Field<'a>, kind: &'static Kind) -> Result<Option<Self>, ConfigError> {
        let Kind::Typed(blocks) = *kind else {
            unreachable!("asked of typed keys only")
        };
        if is_none(field.value()) {
            return Ok(None);
        }
        let mut entries = field.entries()?;
        let Some(index) = entries.iter().position(|(key, _)| *key == TYPE) else {
            return Err(field.error(Problem::Missing { key: TYPE }));
        };
        let (_, kind) = entries.remove(index);
        let name = kind.text()?;
        if name == "none" {
            return Err(field.error(Problem::NoneWithKeys));
        }
        let Some(block) = blocks.iter().find(|block| block.name == name) else {
            return Err(kind.error(Problem::Variant {
                value: name.to_owned(),
                types: blocks.iter().map(|block| block.name).chain(["none"]).collect(),
            }));
        };
        Self::of_entries(field, block, entries).map(Some)
    }

    /// A block without keys, where something else than a block stands in the text.
    pub(crate) fn empty(field: &Field<'a>, block: &'static Block) -> Self {
        Self {
            place: field.place(),
            block,
            fields: Vec::new(),
        }
    }

    fn of_entries(
        field: &Field<'a>,
        block: &'static Block,
        entries: Vec<(&'a str, Field<'a>)>,
    ) -> Result<Self, ConfigError> {
        let mut section = Self {
            place: field.place(),
            block,
            fields: Vec::with_capacity(entries.len()),
        };
        for (name, value) in entries {
            let Some(key) = block.keys.iter().find(|key| key.name == name) else {
                let known = block
                    .keys
                    .iter()
                    .filter(|key| !matches!(key.status, Status::Wrong(_)));
                let known: Vec<&str> = known.map(|key| key.name).collect();
                let nearest = nearest(name, &known);
                return Err(value.error(Problem::UnknownKey { nearest }));
            };
            section.take(key, value)?;
        }
        section.check_old_shapes()?;
        Ok(section)
    }

    /// Does what a key's status says about it.
    fn take(&mut self, key: &'static Key, field: Field<'a>) -> Result<(), ConfigError> {
        match key.status {
            Status::Current | Status::OldShape(_) => self.add(key.name, key.name, field),
            Status::Alias(name) => self.add(name, key.name, field),
            Status::Old(name) => {
                field.warn(|place| Warning::OldKey {
                    place,
                    old: key.name,
                    new: name,
                });
                self.add(name, key.name, field)
            }
            Status::Wrong(name) => Err(field.error(Problem::UnknownKey { nearest: Some(name) })),
            Status::Later(neutral) => {
                let asks_nothing = says_nothing(field.value())
                    || is_none(field.value())
                    || neutral.is_some_and(|neutral| says_only(field.value(), neutral));
                if asks_nothing {
                    return Ok(());
                }
                Err(field.error(Problem::NotYet { neutral }))
            }
            Status::Refused(_) | Status::Ignored(_)
                if says_nothing(field.value()) || is_none(field.value()) =>
            {
                Ok(())
            }
            Status::RefusedUnless(neutral, reason) => {
                if neutral.iter().any(|neutral| says_only(field.value(), neutral)) {
                    return Ok(());
                }
                Err(field.error(Problem::Refused { reason }))
            }
            Status::Refused(reason) => Err(field.error(Problem::Refused { reason })),
            Status::Ignored(reason) => {
                field.warn(|place| Warning::NoEffect { place, reason });
                Ok(())
            }
            Status::Unused => Ok(()),
        }
    }

    fn add(
        &mut self,
        name: &'static str,
        written: &'static str,
        field: Field<'a>,
    ) -> Result<(), ConfigError> {
        if let Some(other) = self.fields.iter().find(|other| other.name == name) {
            // Whichever comes first in the text, the old spelling is the one to remove.
            let (old, field) = if written == name {
                (other.written, &other.field)
            } else {
                (written, &field)
            };
            let is_alias = matches!(self.block.key(old).status, Status::Alias(_));
            return Err(field.error(if is_alias {
                Problem::Twice {
                    alias: old,
                    key: name,
                }
            } else {
                Problem::OldAndNew { old, new: name }
            }));
        }
        self.fields.push(Taken { name, written, field });
        Ok(())
    }

    /// An old key with other values stays under its name; beside its successor it is an error.
    fn check_old_shapes(&self) -> Result<(), ConfigError> {
        for Taken { name, field, .. } in &self.fields {
            let Status::OldShape(new) = self.block.key(name).status else {
                continue;
            };
            if *field.value() != Value::Null && self.field(new).is_some() {
                return Err(field.error(Problem::OldAndNew { old: name, new }));
            }
        }
        Ok(())
    }

    /// The field of an old key with other values, with its warning.
    pub(crate) fn old_shape(&self, name: &'static str) -> Option<&Field<'a>> {
        let Status::OldShape(new) = self.block.key(name).status else {
            unreachable!("asked of old keys only")
        };
        let field = self.field(name)?;
        field.warn(|place| Warning::OldKey {
            place,
            old: name,
            new,
        });
        Some(field)
    }

    /// The table of the block.
    pub(crate) fn block(&self) -> &'static Block {
        self.block
    }

    /// All fields under today's names, in the order of the text.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'static str, &Field<'a>)> {
        self.fields.iter().map(|taken| (taken.name, &taken.field))
    }

    /// The field, unless it is absent or says nothing (`key:` or `key: null`).
    pub(crate) fn field(&self, key: &str) -> Option<&Field<'a>> {
        debug_assert!(
            self.block.keys.iter().any(|known| known.name == key),
            "{key} is in the table of {}",
            self.block.name
        );
        self.fields
            .iter()
            .find(|taken| taken.name == key && *taken.field.value() != Value::Null)
            .map(|taken| &taken.field)
    }

    /// The field, which must be there.
    pub(crate) fn required(&self, key: &'static str) -> Result<&Field<'a>, ConfigError> {
        self.field(key)
            .ok_or_else(|| self.error(Problem::Missing { key }))
    }

    /// A problem of the block as a whole.
    pub(crate) fn error(&self, problem: Problem) -> ConfigError {
        ConfigError {
            place: self.place.clone(),
            problem,
        }
    }

    /// The block under this key.
    pub(crate) fn section(&self, key: &str) -> Result<Option<Self>, ConfigError> {
        let (Kind::Block(block) | Kind::BlockOr(block, _)) = self.block.key(key).kind else {
            unreachable!("asked of blocks only")
        };
        let field = self.field(key);
        field.map(|field| Section::open(field, block)).transpose()
    }

    /// The block of several under this key.
    pub(crate) fn typed(&self, key: &str) -> Result<Option<Self>, ConfigError> {
        let kind = &self.block.key(key).kind;
        let section = self.field(key).map(|field| Section::open_typed(field, kind));
        Ok(section.transpose()?.flatten())
    }

    /// `true` or `false`.
    pub(crate) fn bool(&self, key: &str) -> Result<bool, ConfigError> {
        self.field(key)
            .map_or_else(|| Ok(self.default(key) == "true"), Field::bool)
    }

    /// A duration.
    pub(crate) fn duration(&self, key: &str) -> Result<Duration, ConfigError> {
        let written = self.duration_if(key)?;
        Ok(written.unwrap_or_else(|| parse_duration(self.default(key)).expect("a test reads every default")))
    }

    /// A duration, if it is there.
    pub(crate) fn duration_if(&self, key: &str) -> Result<Option<Duration>, ConfigError> {
        let Kind::Duration { zero } = self.block.key(key).kind else {
            unreachable!("asked of durations only")
        };
        let Some(field) = self.field(key) else {
            return Ok(None);
        };
        match field.duration()? {
            Duration::ZERO if !zero => Err(field.error(Problem::ZeroDuration)),
            duration => Ok(Some(duration)),
        }
    }

    /// A whole number.
    pub(crate) fn integer(&self, key: &str) -> Result<u32, ConfigError> {
        let written = self.integer_if(key)?;
        Ok(written.unwrap_or_else(|| self.default(key).parse().expect("a test reads every default")))
    }

    /// A whole number, if it is there.
    pub(crate) fn integer_if(&self, key: &str) -> Result<Option<u32>, ConfigError> {
        let Kind::Integer { min, max } = self.block.key(key).kind else {
            unreachable!("asked of numbers only")
        };
        let value = self.field(key).map(|field| field.integer(min, max)).transpose()?;
        Ok(value.map(|value| u32::try_from(value).unwrap_or(u32::MAX)))
    }

    /// A text that says something, if it is there.
    pub(crate) fn text_if(&self, key: &str) -> Result<Option<String>, ConfigError> {
        self.field(key).map(Field::filled_text).transpose()
    }

    /// A text that says something and must be there.
    pub(crate) fn text(&self, key: &'static str) -> Result<String, ConfigError> {
        self.required(key)?.filled_text()
    }

    /// A text or a list of texts; empty if it is absent.
    pub(crate) fn texts(&self, key: &str) -> Result<Vec<String>, ConfigError> {
        let Some(field) = self.field(key) else {
            return Ok(Vec::new());
        };
        let fields = field.one_or_more()?;
        fields.iter().map(Field::filled_text).collect()
    }

    /// A block of keys of the writer's choice with any values; empty if it is absent.
    pub(crate) fn json_values(&self, key: &str) -> Result<BTreeMap<String, serde_json::Value>, ConfigError> {
        let Some(field) = self.field(key) else {
            return Ok(BTreeMap::new());
        };
        let entries = field.entries()?.into_iter();
        Ok(entries
            .map(|(name, value)| (name.to_owned(), value.json()))
            .collect())
    }

    /// One of the words that the table lists; `values` are what they mean, in its order.
    pub(crate) fn choice<T: Copy>(&self, key: &str, values: &[T]) -> Result<T, ConfigError> {
        let Kind::Choice(names) = self.block.key(key).kind else {
            unreachable!("asked of choices only")
        };
        let default = || {
            let default = self.default(key);
            let named = names.iter().zip(values).find(|(name, _)| **name == default);
            *named.expect("a test reads every default").1
        };
        Ok(self.choice_if(key, values)?.unwrap_or_else(default))
    }

    /// One of the words that the table lists, if it is there.
    pub(crate) fn choice_if<T: Copy>(&self, key: &str, values: &[T]) -> Result<Option<T>, ConfigError> {
        let Kind::Choice(names) = self.block.key(key).kind else {
            unreachable!("asked of choices only")
        };
        let field = self.field(key);
        field.map(|field| field.choice(names, values)).transpose()
    }

    fn default(&self, key: &str) -> &'static str {
        match self.block.key(key).absence {
            Absence::Default(default) => default,
            Absence::Refused | Absence::Means(_) => unreachable!("asked of keys with a default only"),
        }
    }
}
