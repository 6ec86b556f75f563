//! How a link over WebSocket says why it ends: the codes of Close (RFC 6455 §7.4) and what they mean to a link.
//!
//! The wire has no status channel here (wire-routing A13). The one thing that a dialer must know, that it is not
//! wanted again, is said with 1008; peers that do not look at codes see a connection that was closed.

use tungstenite::protocol::frame::coding::CloseCode;

use super::deframer::Violation;
use crate::grpc::status::{Code, Status};

/// Code and text of a Close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseReason {
    /// Its number.
    pub code: u16,
    /// Text for people; may be empty.
    pub text: String,
}

/// Longest text that is sent or kept: a control frame has 125 bytes, of which the code takes two.
const TEXT_BYTES_MAX: usize = 123;

/// The normal end.
const NORMAL: u16 = 1000;
/// The node stops, or the connection is too old.
pub(super) const GOING_AWAY: u16 = 1001;
const PROTOCOL: u16 = 1002;
const UNSUPPORTED: u16 = 1003;
const UNDECODABLE: u16 = 1007;
const FORBIDDEN: u16 = 1008;
const TOO_LARGE: u16 = 1009;
const FAILED: u16 = 1011;
const LATER: u16 = 1013;

impl Violation {
    /// The code that tells the peer.
    pub fn close_code(self) -> u16 {
        match self {
            Self::Text => UNSUPPORTED,
            Self::TooLarge { .. } => TOO_LARGE,
            Self::Undecodable => UNDECODABLE,
            Self::Opcode
            | Self::Extension
            | Self::Unmasked
            | Self::Masked
            | Self::Control
            | Self::Continuation
            | Self::Interrupted
            | Self::Close => PROTOCOL,
        }
    }
}

impl CloseReason {
    /// A code without text.
    pub(super) fn code(code: u16) -> Self {
        Self {
            code,
            text: String::new(),
        }
    }

    /// How a status is said.
    pub(super) fn of(status: &Status) -> Self {
        let code = match status.code {
            Code::OK => NORMAL,
            Code::PERMISSION_DENIED => FORBIDDEN,
            Code::UNAVAILABLE | Code::RESOURCE_EXHAUSTED => LATER,
            _ => FAILED,
        };
        Self {
            code,
            text: cut(&status.message),
        }
    }

    /// What a peer's Close means to a link.
    pub(super) fn status(&self) -> Status {
        let code = match self.code {
            NORMAL | GOING_AWAY => Code::OK,
            FORBIDDEN => Code::PERMISSION_DENIED,
            LATER => Code::UNAVAILABLE,
            _ => Code::UNKNOWN,
        };
        match code {
            Code::OK => Status::ok(),
            Code::UNKNOWN if self.text.is_empty() => {
                Status::new(code, &format!("closed with code {}", self.code))
            }
            _ => Status::new(code, &self.text),
        }
    }

    /// The payload of the frame.
    pub(super) fn payload(&self) -> Vec<u8> {
        let mut payload = self.code.to_be_bytes().to_vec();
        payload.extend_from_slice(cut(&self.text).as_bytes());
        payload
    }
}

/// Reads the payload of a Close.
pub(super) fn read_close(payload: &[u8]) -> Result<Option<CloseReason>, Violation> {
    let Some((code, text)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() {
            Ok(None)
        } else {
            Err(Violation::Close)
        };
    };
    let code = u16::from_be_bytes(*code);
    if !CloseCode::from(code).is_allowed() {
        return Err(Violation::Close);
    }
    let text = std::str::from_utf8(text).map_err(|_| Violation::Close)?;
    // On its way to our log.
    let text = text.chars().filter(|letter| !letter.is_control()).collect();
    Ok(Some(CloseReason { code, text }))
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dialer_must_know_survives_and_the_rest_is_an_end() {
        for (status, read) in [
            (Status::ok(), Status::ok()),
            (
                Status::new(Code::PERMISSION_DENIED, "not you\n"),
                Status::new(Code::PERMISSION_DENIED, "not you"),
            ),
            (
                Status::new(Code::UNAVAILABLE, ""),
                Status::new(Code::UNAVAILABLE, ""),
            ),
            (
                Status::new(Code::INTERNAL, ""),
                Status::new(Code::UNKNOWN, "closed with code 1011"),
            ),
        ] {
            let payload = CloseReason::of(&status).payload();
            assert_eq!(read_close(&payload).unwrap().unwrap().status(), read);
        }
        let long = Status::new(Code::PERMISSION_DENIED, &"ä".repeat(200));
        assert_eq!(CloseReason::of(&long).payload().len(), 2 + 122);
    }

    #[test]
    fn a_close_has_a_code_that_may_be_sent_and_text() {
        assert_eq!(read_close(&[]), Ok(None));
        for malformed in [&[3][..], &[3, 237], &[0, 0], &[3, 232, 0xFF]] {
            assert_eq!(read_close(malformed), Err(Violation::Close), "{malformed:?}");
        }
    }
}
