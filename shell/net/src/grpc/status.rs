//! gRPC statuses: how a call says why it ended.

use std::fmt;

use http::{HeaderMap, HeaderValue};

const STATUS: &str = "grpc-status";
const MESSAGE: &str = "grpc-message";

/// Longest message that is kept of a peer's; it ends up in a log line.
const MESSAGE_BYTES_MAX: usize = 256;

/// The number of a status, as the gRPC specification has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u32);

impl Code {
    /// Everything is fine; also how a refused negotiation looks (wire-routing A4.3).
    pub const OK: Self = Self(0);
    /// Nothing is known.
    pub const UNKNOWN: Self = Self(2);
    /// The peer refuses this link; a dialer must not come again (wire-routing A4.4).
    pub const PERMISSION_DENIED: Self = Self(7);
    /// A limit.
    pub const RESOURCE_EXHAUSTED: Self = Self(8);
    /// No such service, method or encoding.
    pub const UNIMPLEMENTED: Self = Self(12);
    /// A failure inside the peer.
    pub const INTERNAL: Self = Self(13);
    /// Not now.
    pub const UNAVAILABLE: Self = Self(14);
    /// No credentials, or wrong ones.
    pub const UNAUTHENTICATED: Self = Self(16);

    /// What a gRPC client makes of a plain HTTP answer.
    pub(crate) fn of_http(status: http::StatusCode) -> Self {
        match status.as_u16() {
            400 => Self::INTERNAL,
            401 => Self::UNAUTHENTICATED,
            403 => Self::PERMISSION_DENIED,
            404 => Self::UNIMPLEMENTED,
            429 | 502 | 503 | 504 => Self::UNAVAILABLE,
            _ => Self::UNKNOWN,
        }
    }

    fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "OK",
            1 => "CANCELLED",
            2 => "UNKNOWN",
            3 => "INVALID_ARGUMENT",
            4 => "DEADLINE_EXCEEDED",
            5 => "NOT_FOUND",
            6 => "ALREADY_EXISTS",
            7 => "PERMISSION_DENIED",
            8 => "RESOURCE_EXHAUSTED",
            9 => "FAILED_PRECONDITION",
            10 => "ABORTED",
            11 => "OUT_OF_RANGE",
            12 => "UNIMPLEMENTED",
            13 => "INTERNAL",
            14 => "UNAVAILABLE",
            15 => "DATA_LOSS",
            16 => "UNAUTHENTICATED",
            _ => return None,
        })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "status {}", self.0),
        }
    }
}

/// A status with its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its number.
    pub code: Code,
    /// Text for people; may be empty.
    pub message: String,
}

impl Status {
    /// The normal end of a call.
    pub fn ok() -> Self {
        Self::new(Code::OK, "")
    }

    /// A status with text.
    pub fn new(code: Code, message: &str) -> Self {
        Self {
            code,
            message: message.to_owned(),
        }
    }

    /// Adds the status to trailers, or to headers of an answer that has nothing else.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        headers.insert(STATUS, HeaderValue::from(self.code.0));
        if !self.message.is_empty()
            && let Ok(message) = HeaderValue::from_str(&percent_encode(&self.message))
        {
            headers.insert(MESSAGE, message);
        }
    }

    /// Reads the status of trailers (or of headers that are also the end).
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        let code = headers.get(STATUS)?.to_str().ok()?.parse().ok()?;
        let message = headers.get(MESSAGE).map_or(&b""[..], |value| value.as_bytes());
        Some(Self {
            code: Code(code),
            message: percent_decode(message),
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            return fmt::Display::fmt(&self.code, f);
        }
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// gRPC allows printable ASCII except the percent sign.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Decodes what it can, drops control characters, and cuts: this is a peer's text on its way to our log.
fn percent_decode(bytes: &[u8]) -> String {
    let mut decoded = Vec::new();
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let hex = |byte: &u8| {
            char::from(*byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        let (byte, tail) = match tail {
            [high, low, after @ ..] if *first == b'%' => match (hex(high), hex(low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                _ => (*first, tail),
            },
            _ => (*first, tail),
        };
        decoded.push(byte);
        rest = tail;
        if decoded.len() == MESSAGE_BYTES_MAX {
            break;
        }
    }
    String::from_utf8_lossy(&decoded)
        .chars()
        .filter(|letter| !letter.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_survives_trailers_whatever_its_text() {
        for message in ["", "self-connection rejected: same node_id", "100 % größer"] {
            let status = Status::new(Code::PERMISSION_DENIED, message);
            let mut trailers = HeaderMap::new();
            status.write(&mut trailers);
            assert_eq!(Status::read(&trailers), Some(status));
        }
    }

    #[test]
    fn a_peers_text_is_cut_and_cannot_break_a_log_line() {
        let mut trailers = HeaderMap::new();
        trailers.insert(STATUS, HeaderValue::from_static("14"));
        let text = format!("a%0Ab%1B%zz%{}", "x".repeat(1000));
        trailers.insert(MESSAGE, HeaderValue::from_str(&text).unwrap());
        let status = Status::read(&trailers).unwrap();
        assert!(status.message.starts_with("ab%zz%xxx") && status.message.len() <= MESSAGE_BYTES_MAX);
        assert!(status.to_string().starts_with("UNAVAILABLE: ab"));
        assert_eq!(Status::read(&HeaderMap::new()), None);
    }
}
