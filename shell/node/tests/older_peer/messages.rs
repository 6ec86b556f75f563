//! Messages of 0.4 and 1.x, and the recordings of unmodified packages.

use bytes::{BufMut, Bytes, BytesMut};
use slim_older::Dialect;
use slim_proto::name::component_hash;
use slim_proto::wire::{Fields, put_length_tag, put_varint_field};

pub const TUTORIAL_0_4: &str = include_str!("../../../../core/older/vectors/tutorial-0.4.1.jsonl");
pub const GROUP_1_4: &str = include_str!("../../../../core/older/vectors/group-1.4.1-mls.jsonl");
pub const BOTH: [Dialect; 2] = [Dialect::V0_4, Dialect::V1];

fn submessage(number: u32, body: &[u8]) -> Vec<u8> {
    let mut output = BytesMut::new();
    put_length_tag(&mut output, number, body.len());
    output.put_slice(body);
    output.to_vec()
}

fn varint(number: u32, value: u64) -> Vec<u8> {
    let mut output = BytesMut::new();
    put_varint_field(&mut output, number, value);
    output.to_vec()
}

fn name(dialect: Dialect, text: &str, id: u64) -> Vec<u8> {
    let mut hashes = Vec::new();
    let mut strings = Vec::new();
    for (number, part) in (1..).zip(text.split('/')) {
        hashes.extend(varint(number, component_hash(part)));
        strings.extend(submessage(number, part.as_bytes()));
    }
    hashes.extend(varint(4, id));
    match dialect {
        Dialect::V0_4 => hashes,
        Dialect::V1 => [submessage(1, &hashes), submessage(2, &strings)].concat(),
    }
}

fn header(dialect: Dialect, destination: &str, id: u64, fanout: u64) -> Vec<u8> {
    let parts = [
        submessage(1, &name(dialect, "org/ns/sender", 1)),
        submessage(2, &name(dialect, destination, id)),
        varint(3, fanout),
    ];
    submessage(1, &parts.concat())
}

pub fn subscription(dialect: Dialect, destination: &str, id: u64, number: u64) -> Bytes {
    let mut body = header(dialect, destination, id, 0);
    match dialect {
        Dialect::V0_4 => {
            for (field, part) in (2..).zip(destination.split('/')) {
                body.extend(submessage(field, part.as_bytes()));
            }
        }
        Dialect::V1 => body.extend(varint(2, number)),
    }
    submessage(1, &body).into()
}

/// A message with these bytes in it.
pub fn publish(dialect: Dialect, destination: &str, id: u64, fanout: u64, blob: &[u8]) -> Bytes {
    let content = match dialect {
        Dialect::V0_4 => 4,
        Dialect::V1 => 3,
    };
    let body = [
        header(dialect, destination, id, fanout),
        submessage(2, &varint(3, 77)),
        submessage(content, &submessage(2, blob)),
    ];
    submessage(3, &body.concat()).into()
}

/// The negotiation of 1.3 and later.
pub fn link_request(link_id: &str) -> Bytes {
    let body = [submessage(1, link_id.as_bytes()), submessage(2, b"1.4.0")];
    submessage(5, &submessage(1, &body.concat())).into()
}

/// A subscription of 0.6: the names of 0.4 on today's path.
pub fn subscription_0_6(destination: &str) -> Bytes {
    subscription(Dialect::V0_4, destination, 7, 0)
}

/// One message of a recording.
pub struct Line {
    pub app: String,
    pub to_node: bool,
    pub bytes: Bytes,
}

pub fn lines(recording: &str) -> Vec<Line> {
    recording
        .lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let text = |key: &str| value[key].as_str().expect("a text").to_owned();
            let hex = text("hex");
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
            Line {
                app: format!("{} {}", text("app"), value["link"]),
                to_node: text("to") == "node",
                bytes: (0..hex.len()).step_by(2).map(byte).collect(),
            }
        })
        .collect()
}

/// The outer fields in one order: a node that decodes and encodes again shuffles the metadata.
pub fn parts(message: &[u8]) -> Vec<Vec<u8>> {
    let mut parts: Vec<Vec<u8>> = Fields::of(message)
        .map(|field| message[field.expect("protobuf").span].to_vec())
        .collect();
    parts.sort();
    parts
}
