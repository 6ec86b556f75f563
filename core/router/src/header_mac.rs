//! The per-link tag over the routing header: preimage, sign, check (wire-routing A5.2 to A5.4).

use slim_proto::{FrameKind, HeaderView, NameView};

use crate::counters::DropReason;
use crate::link::LinkInfo;

const DOMAIN: &[u8; 15] = b"SLIM-DP-HDR-v1\0";

/// The header fields that a tag covers and that differ between the two sides of a node.
struct Hop {
    ttl: u32,
    recv_from: Option<u64>,
    forward_to: Option<u64>,
}

/// The tag for a frame that leaves on `link` with this ttl; `None` if it leaves without one.
///
/// Covers the header as it will be sent: without recv_from and forward_to.
pub(crate) fn sign(
    link: &LinkInfo,
    header: &HeaderView<'_>,
    ttl: u32,
    scratch: &mut Vec<u8>,
) -> Result<Option<[u8; 32]>, DropReason> {
    if !link.class.uses_mac() {
        return Ok(None);
    }
    let Some(key) = &link.mac_key else {
        return if link.strict {
            Err(DropReason::KeyMissing)
        } else {
            Ok(None)
        };
    };
    let hop = Hop {
        ttl,
        recv_from: None,
        forward_to: None,
    };
    preimage(&link.link_id, header, &hop, scratch);
    Ok(Some(key.sign(scratch)))
}

/// The receiving rules of wire-routing A5.4.
pub(crate) fn check(
    link: &LinkInfo,
    header: &HeaderView<'_>,
    scratch: &mut Vec<u8>,
) -> Result<(), DropReason> {
    if !link.class.uses_mac() {
        return Ok(());
    }
    let tag = header.header_mac.filter(|tag| !tag.is_empty());
    let is_publish = header.kind == FrameKind::Publish;
    let (key, tag) = match (&link.mac_key, tag) {
        (None, _) if link.strict => return Err(DropReason::KeyMissing),
        (None, Some(_)) if is_publish => return Err(DropReason::MacUnverifiable),
        (None, _) => return Ok(()),
        (Some(_), None) if is_publish || link.strict => return Err(DropReason::MacMissing),
        (Some(_), None) => return Ok(()),
        (Some(key), Some(tag)) => (key, tag),
    };
    let hop = Hop {
        ttl: header.ttl,
        recv_from: header.recv_from,
        forward_to: header.forward_to,
    };
    preimage(&link.link_id, header, &hop, scratch);
    if key.verify(scratch, tag) {
        Ok(())
    } else {
        Err(DropReason::MacWrong)
    }
}

fn preimage(link_id: &str, header: &HeaderView<'_>, hop: &Hop, output: &mut Vec<u8>) {
    output.clear();
    output.extend_from_slice(DOMAIN);
    put_text(output, link_id);
    put_name(output, &header.source);
    put_name(output, &header.destination);
    put_text(output, header.identity);
    output.extend_from_slice(&header.fanout.to_le_bytes());
    put_optional(output, hop.recv_from);
    put_optional(output, hop.forward_to);
    match header.error {
        None => output.push(0),
        Some(error) => output.extend_from_slice(&[1, u8::from(error)]),
    }
    output.extend_from_slice(&hop.ttl.to_le_bytes());
}

/// Name and encoded part are always present: a header without them is refused before (wire-routing A6).
fn put_name(output: &mut Vec<u8>, name: &NameView<'_>) {
    output.extend_from_slice(&[1, 1]);
    for component in name.prefix.0 {
        output.extend_from_slice(&component.to_le_bytes());
    }
    match name.id {
        None => output.push(0),
        Some(id) => {
            let (high, low) = id.halves();
            output.push(1);
            output.extend_from_slice(&high.to_le_bytes());
            output.extend_from_slice(&low.to_le_bytes());
        }
    }
    match name.text {
        None => output.push(0),
        Some(components) => {
            output.push(1);
            for component in components {
                put_text(output, component);
            }
        }
    }
}

fn put_text(output: &mut Vec<u8>, text: &str) {
    // Texts are parts of a frame, so their length fits.
    output.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    output.extend_from_slice(text.as_bytes());
}

fn put_optional(output: &mut Vec<u8>, value: Option<u64>) {
    match value {
        None => output.push(0),
        Some(value) => {
            output.push(1);
            output.extend_from_slice(&value.to_le_bytes());
        }
    }
}

/// Part D of wire-routing.
#[cfg(test)]
pub(crate) mod vector {
    pub(crate) const LINK_ID: &str = "11111111-2222-3333-4444-555555555555";

    pub(crate) fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }
}

#[cfg(test)]
mod tests;
