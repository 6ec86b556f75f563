//! The bytes that header signatures and MLS authenticated data cover (wire-session §2.1, §2.2, §3.6).

use prost::Message as _;

use crate::r#gen as wire;
use crate::message::{Content, Message, metadata, session_type};

/// Canonical `HeaderIntegrityAad` of a message; its identity and ids must be final.
pub fn header_aad(message: &Message) -> Vec<u8> {
    let payload_type = match &message.content {
        Content::Application { payload_type, .. } => payload_type.clone(),
        Content::Command(_) => String::new(),
    };
    wire::HeaderIntegrityAad {
        version: 1,
        source: Some(message.source.to_wire()),
        destination: Some(message.destination.to_wire()),
        identity: message.identity.clone(),
        session_type: session_type(message.session_kind),
        session_message_type: message.kind as i32,
        session_id: message.session_id,
        message_id: message.message_id,
        payload_type,
    }
    .encode_to_vec()
}

/// The input of the payload signature, given the header's authenticated data.
pub fn payload_signing_input(message: &Message, header_aad: &[u8]) -> Vec<u8> {
    let mut input = b"slim-payload-v1".to_vec();
    append(&mut input, header_aad);
    append(&mut input, &message.content_bytes());
    // The map is ordered by key and keys are unique, so this is the order (key, value) bytewise.
    for (key, value) in &message.metadata {
        let unsigned = metadata::TRACE.contains(&key.as_str())
            || [metadata::PAYLOAD_SIGNATURE, metadata::PEER_SUBJECT].contains(&key.as_str());
        if !unsigned {
            append(&mut input, key.as_bytes());
            append(&mut input, value.as_bytes());
        }
    }
    input
}

fn append(output: &mut Vec<u8>, bytes: &[u8]) {
    output.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    output.extend_from_slice(bytes);
}
