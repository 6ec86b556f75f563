//! Where something stands: the path of keys, and the line or the variable.

use std::fmt;

/// Where in the text something stands: `services.slim/0.pubsub.servers[0].tls`, line 14.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Keys from the top, joined by dots; list entries as `[index]`. Empty for the document itself.
    pub path: String,
    /// Where it was written.
    pub origin: Origin,
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Not in a file (JSON, Python).
    Unknown,
    /// In this line of the text, from 1.
    Line(u64),
    /// In this environment variable.
    Variable(String),
}

impl Origin {
    /// This one, or the other if this says nothing.
    pub(crate) fn or(self, other: &Self) -> Self {
        match self {
            Self::Unknown => other.clone(),
            Self::Line(_) | Self::Variable(_) => self,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() {
            "configuration"
        } else {
            &self.path
        };
        match &self.origin {
            Origin::Line(line) => write!(f, "{path} (line {line})"),
            Origin::Variable(name) => write!(f, "{path} (environment variable {name})"),
            Origin::Unknown => f.write_str(path),
        }
    }
}
