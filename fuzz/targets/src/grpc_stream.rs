//! gRPC's framing: however a stream is cut into chunks, the frames are those of the stream.

use bytes::Bytes;
use slim_proto::grpc::{DeframeError, Deframer};

use crate::script::Script;

/// The limit of the run, in bytes: small, so that short inputs reach it.
const LIMIT: usize = 600;

/// Cuts a stream into chunks as the first bytes say, and compares with a reading of the whole.
pub fn grpc_stream(data: &[u8]) {
    let mut script = Script::new(data);
    let lengths: Vec<usize> = (0..8).map(|_| usize::from(script.byte())).collect();
    let stream = script.rest();
    let expected = read_whole(stream);

    let mut deframer = Deframer::with_limit(LIMIT);
    let mut frames = Vec::new();
    let mut end = Ok(());
    let mut rest = stream;
    let mut lengths = lengths.iter().cycle();
    // All lengths zero: everything in one chunk.
    while !rest.is_empty() && end.is_ok() {
        let length = lengths.next().copied().filter(|length| *length > 0);
        let (chunk, behind) = rest.split_at(length.unwrap_or(rest.len()).min(rest.len()));
        rest = behind;
        deframer.push(Bytes::copy_from_slice(chunk));
        loop {
            match deframer.next_frame() {
                Ok(Some(frame)) => {
                    assert!(frame.bytes().len() <= LIMIT);
                    frames.push(frame.bytes().to_vec());
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(deframer.next_frame(), Err(error), "an error is final");
                    end = Err(error);
                    break;
                }
            }
        }
    }
    let is_between = deframer.is_between_frames();
    assert_eq!((frames, end), (expected.frames, expected.end));
    if end.is_ok() {
        assert_eq!(is_between, expected.is_between);
    }
}

struct Whole {
    frames: Vec<Vec<u8>>,
    end: Result<(), DeframeError>,
    is_between: bool,
}

/// The naive reading: flag, length, bytes.
fn read_whole(mut stream: &[u8]) -> Whole {
    let mut frames = Vec::new();
    loop {
        let is_between = stream.is_empty();
        let Some(([flag, a, b, c, d], rest)) = stream.split_first_chunk::<5>() else {
            return Whole {
                frames,
                end: Ok(()),
                is_between,
            };
        };
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let end = if *flag != 0 {
            Err(DeframeError::Compressed(*flag))
        } else if length > LIMIT {
            Err(DeframeError::TooLarge { length, limit: LIMIT })
        } else {
            Ok(())
        };
        let is_between = false;
        let Some((frame, behind)) = rest.split_at_checked(length).filter(|_| end.is_ok()) else {
            return Whole {
                frames,
                end,
                is_between,
            };
        };
        frames.push(frame.to_vec());
        stream = behind;
    }
}
