//! How a call ended: the codes of gRPC, and a text.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// Status codes, numbered as in gRPC (wire-session §7.5).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Code { $($(#[$doc])* $name = $number),* }

        impl Code {
            /// All of them, in the order of their numbers.
            pub const ALL: [Self; 17] = [$(Self::$name),*];

            /// The name in capitals, as gRPC writes it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

codes! {
    /// Success.
    Ok = 0, "OK";
    /// The caller does not want the result any more, or the server stops.
    Cancelled = 1, "CANCELLED";
    /// Something without a code of its own.
    Unknown = 2, "UNKNOWN";
    /// The request makes no sense, whatever the state of the server.
    InvalidArgument = 3, "INVALID_ARGUMENT";
    /// Time is up.
    DeadlineExceeded = 4, "DEADLINE_EXCEEDED";
    /// What the request names is not there.
    NotFound = 5, "NOT_FOUND";
    /// What the request would make is there already.
    AlreadyExists = 6, "ALREADY_EXISTS";
    /// The caller may not do this.
    PermissionDenied = 7, "PERMISSION_DENIED";
    /// A limit is reached.
    ResourceExhausted = 8, "RESOURCE_EXHAUSTED";
    /// The state of the server does not allow this.
    FailedPrecondition = 9, "FAILED_PRECONDITION";
    /// Another call was in the way.
    Aborted = 10, "ABORTED";
    /// Beyond the end.
    OutOfRange = 11, "OUT_OF_RANGE";
    /// No such method.
    Unimplemented = 12, "UNIMPLEMENTED";
    /// The server or the connection is broken.
    Internal = 13, "INTERNAL";
    /// The server cannot be reached; worth another attempt.
    Unavailable = 14, "UNAVAILABLE";
    /// Data is lost for good.
    DataLoss = 15, "DATA_LOSS";
    /// The caller is not known.
    Unauthenticated = 16, "UNAUTHENTICATED";
}

impl Code {
    /// The number on the wire.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// From the wire's text. What is no number or none of gRPC's counts as OK there (wire-session §7.4).
    pub fn from_wire(text: &str) -> Self {
        let number: Option<usize> = text.trim().parse().ok();
        number
            .and_then(|number| Self::ALL.get(number).copied())
            .unwrap_or(Self::Ok)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A call that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Status {
    /// Never [`Code::Ok`].
    pub code: Code,
    /// For people.
    pub message: String,
}

impl Status {
    /// A failure. A code of OK makes no failure and becomes UNKNOWN.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code: if code == Code::Ok { Code::Unknown } else { code },
            message: message.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_numbers_of_grpc_and_survive_the_wire() {
        for (number, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(code.number()), number);
            assert_eq!(Code::from_wire(&number.to_string()), code);
        }
    }

    #[test]
    fn what_is_no_code_counts_as_ok() {
        for text in ["", "17", "-1", "abc", "99999999999999999999"] {
            assert_eq!(Code::from_wire(text), Code::Ok, "{text}");
        }
    }

    #[test]
    fn a_failure_never_says_ok() {
        assert_eq!(Status::new(Code::Ok, "odd").code, Code::Unknown);
        assert_eq!(
            Status::new(Code::NotFound, "no such thing").to_string(),
            "NOT_FOUND: no such thing"
        );
    }
}
