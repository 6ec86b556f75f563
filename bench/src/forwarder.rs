//! `slim-bench forwarder`: what a node is compared with.
//!
//! A forwarder sends every gRPC message of a stream to all other streams, unparsed. It does what any forwarder
//! must (HTTP/2, gRPC framing, bounded queues) and nothing else: no routing, no header, no tag. Built three times,
//! on the three ways to speak gRPC from Rust.

mod h2;
mod hub;
mod hyper;
mod tonic;

use anyhow::Result;
use bytes::{BufMut as _, BytesMut};
use slim_proto::splice::BODY_COPY_MAX;
use slim_proto::{Egress, Frame, grpc};

use crate::serving;

/// What a forwarder is built on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Stack {
    /// The h2 crate, through the node's own `slim-net`
    H2,
    /// hyper's HTTP/2 server
    Hyper,
    /// tonic with a codec that copies bytes
    Tonic,
}

/// Messages that wait for one receiver, as in a node's egress queue.
const QUEUE_FRAMES: usize = slim_proto::limits::EGRESS_FRAMES_MAX;

/// Messages that one stream forwards before others of its thread get their turn, as in a node.
const FRAMES_PER_TURN: usize = 64;

/// Runs until standard input ends.
pub(crate) fn run(stack: Stack, cores: u32) -> Result<()> {
    let runtime = serving::runtime(cores)?;
    let address = runtime.block_on(async {
        match stack {
            Stack::H2 => h2::start().await,
            Stack::Hyper => hyper::start().await,
            Stack::Tonic => tonic::start().await,
        }
    })?;
    serving::announce(address)?;
    serving::wait_for_the_end_of_input();
    Ok(())
}

/// The message as it goes out again: a prefix and the bytes, copied together when small, as a node does it.
fn egress(frame: Frame, arena: &mut BytesMut) -> Egress {
    /// A node's arena block has the same size.
    const ARENA_BYTES: usize = 8 * 1024;
    let bytes = frame.into_bytes();
    let is_small = bytes.len() < BODY_COPY_MAX;
    let needed = grpc::PREFIX_BYTES + if is_small { bytes.len() } else { 0 };
    if arena.capacity() < needed {
        arena.reserve(ARENA_BYTES.max(needed));
    }
    grpc::put_prefix(arena, bytes.len());
    if is_small {
        arena.put_slice(&bytes);
        return Egress {
            head: arena.split().freeze(),
            tail: bytes::Bytes::new(),
        };
    }
    Egress {
        head: arena.split().freeze(),
        tail: bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_leaves_as_it_came_whatever_its_size() {
        let mut arena = BytesMut::new();
        for size in [0, 1, BODY_COPY_MAX - 1, BODY_COPY_MAX, 16 * 1024] {
            let frame = Frame::new(vec![7; size]).unwrap();
            let egress = egress(frame.clone(), &mut arena);
            assert_eq!(egress.len(), grpc::PREFIX_BYTES + size);
            assert_eq!(egress.head[..grpc::PREFIX_BYTES], grpc::prefix(size));
            assert_eq!(egress.into_frame(), Ok(frame));
        }
    }
}
