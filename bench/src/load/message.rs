//! Messages as an SDK writes them: full names, a token, a version, a session header.

use anyhow::Result;
use bytes::Bytes;
use slim_proto::message::Content;
use slim_proto::{FullName, Message, NameId, SessionKind};

/// Bytes of a shared-secret token of an ordinary application.
const IDENTITY_BYTES: usize = 228;

/// What sessions write to reach all members of a group; anything but 1 means all.
const FANOUT_ALL: u32 = 256;

/// The name of one application or group of the load.
pub(crate) fn name(application: &str) -> Result<FullName> {
    let name = FullName::new("organisation", "benchmark", application)?;
    Ok(name.with_id(NameId::of_subject(application)))
}

/// Who sends to whom.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) source: FullName,
    pub(crate) destination: FullName,
    /// True if everybody who subscribed gets the message.
    pub(crate) to_all: bool,
}

impl Route {
    /// A data message with this number.
    pub(crate) fn message(&self, message_id: u32, payload_bytes: usize) -> Message {
        let content = Content::Application {
            payload_type: "msg".to_owned(),
            blob: payload(payload_bytes),
        };
        let kind = if self.to_all {
            SessionKind::Group
        } else {
            SessionKind::PointToPoint
        };
        let (source, destination) = (self.source.clone(), self.destination.clone());
        // Session numbers of the SDK are random; the varint of an ordinary one has five bytes.
        let mut message = Message::new(source, destination, kind, 0xA5A5_A5A5, message_id, content);
        message.fanout = if self.to_all { FANOUT_ALL } else { 1 };
        message.identity = identity(message_id);
        message
    }
}

/// Text like that of a token, another one for each number: some senders make a token for each message, so nothing on
/// the way may gain from two equal ones.
pub(crate) fn identity(number: u32) -> String {
    let part = format!("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9:{number:016x}:");
    part.chars().cycle().take(IDENTITY_BYTES).collect()
}

/// Bytes of which no two neighbours are equal, as in ciphertext.
fn payload(bytes: usize) -> Bytes {
    (0..bytes)
        .map(|index| u8::try_from(index * 167 % 251).unwrap_or_default())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_everything_that_an_sdk_writes() {
        let route = Route {
            source: name("sender").unwrap(),
            destination: name("group").unwrap(),
            to_all: true,
        };
        let message = route.message(7, 1024);
        let decoded = Message::decode(message.encode()).unwrap().unwrap();
        assert_eq!(decoded, message);
        assert_eq!(decoded.identity.len(), IDENTITY_BYTES);
        assert!(decoded.source.id().is_concrete() && decoded.destination.id().is_concrete());
        assert!(!decoded.version.is_empty());
        assert_eq!((decoded.fanout, decoded.message_id), (256, 7));
        let Content::Application { blob, .. } = decoded.content else {
            panic!("data is no command");
        };
        assert_eq!(blob.len(), 1024);
        assert_ne!(route.message(8, 1024).identity, message.identity);
    }
}
