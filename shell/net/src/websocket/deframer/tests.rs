//! Frames and violations, by the bytes of RFC 6455 §5.

use proptest::prelude::*;

use super::*;

const MASK: [u8; 4] = [0xA1, 7, 0, 0xFF];

/// A frame as its bytes; `first` is the first byte, with FIN and opcode.
fn frame(first: u8, mask: bool, payload: &[u8]) -> Vec<u8> {
    let bit = if mask { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        length @ ..126 => bytes.push(bit | u8::try_from(length).unwrap()),
        length @ ..65_536 => {
            bytes.push(bit | 126);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            bytes.push(bit | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    let mut payload = payload.to_vec();
    if mask {
        bytes.extend(MASK);
        apply_mask(&mut payload, MASK);
    }
    bytes.extend(payload);
    bytes
}

/// A frame of the data plane: an unknown field, which is legal, of some length.
fn message(length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Field 15, length-delimited.
    bytes.push(0x7A);
    let mut rest = length;
    while rest >= 0x80 {
        bytes.push(u8::try_from(rest & 0x7F).unwrap() | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes.extend(std::iter::repeat_n(0x55, length));
    bytes
}

fn of_client(bytes: &[u8]) -> (Vec<Event>, Option<Violation>) {
    events(Sender::Client, FRAME_BYTES_MAX, bytes)
}

#[test]
fn messages_come_whole_with_control_frames_between_their_parts() {
    let whole = message(300);
    let bytes = [
        frame(0x02, true, &whole[..100]),
        frame(0x89, true, b"are you there"),
        frame(0x00, true, &[]),
        frame(0x80, true, &whole[100..]),
        frame(0x8A, true, b"yes"),
        frame(0x82, true, &message(0)),
        frame(0x88, true, &[3, 232, b'o', b'k']),
    ]
    .concat();
    let close = CloseReason {
        code: 1000,
        text: "ok".into(),
    };
    let expected = vec![
        Event::Ping(Bytes::from_static(b"are you there")),
        Event::Message(Frame::new(whole).unwrap()),
        Event::Pong(Bytes::from_static(b"yes")),
        Event::Message(Frame::new(message(0)).unwrap()),
        Event::Close(Some(close)),
    ];
    assert_eq!(of_client(&bytes), (expected, None));
}

#[test]
fn each_violation_is_found_and_final() {
    let large = u64::try_from(FRAME_BYTES_MAX).unwrap() + 1;
    let mut oversize = vec![0x82, 0xFF];
    oversize.extend(large.to_be_bytes());
    oversize.extend(MASK);
    let in_parts = [
        frame(0x02, true, &[0; 40]),
        [&[0x00, 0xFF][..], &(large - 40).to_be_bytes(), &MASK].concat(),
    ]
    .concat();
    for (bytes, violation) in [
        (frame(0x81, true, b"text"), Violation::Text),
        (frame(0x01, true, b"te"), Violation::Text),
        (frame(0x83, true, &[]), Violation::Opcode),
        (frame(0x8B, true, &[]), Violation::Opcode),
        (frame(0xC2, true, &[]), Violation::Extension),
        (frame(0x82, false, &[]), Violation::Unmasked),
        (frame(0x89, false, &[]), Violation::Unmasked),
        (frame(0x09, true, &[]), Violation::Control),
        (frame(0x89, true, &[0; 126]), Violation::Control),
        (frame(0x80, true, &[]), Violation::Continuation),
        (
            [frame(0x02, true, &[]), frame(0x82, true, &[])].concat(),
            Violation::Interrupted,
        ),
        (
            oversize,
            Violation::TooLarge {
                length: large,
                limit: FRAME_BYTES_MAX,
            },
        ),
        (
            in_parts,
            Violation::TooLarge {
                length: large,
                limit: FRAME_BYTES_MAX,
            },
        ),
        (frame(0x88, true, &[3]), Violation::Close),
        (frame(0x82, true, &[0xFF; 3]), Violation::Undecodable),
    ] {
        let mut deframer = Deframer::new(Sender::Client, FRAME_BYTES_MAX);
        deframer.push(&bytes);
        assert_eq!(deframer.next_event(), Err(violation), "{bytes:?}");
        deframer.push(&frame(0x89, true, &[]));
        assert_eq!(deframer.next_event(), Err(violation), "the error stays");
    }
    let (_, masked) = events(Sender::Server, FRAME_BYTES_MAX, &frame(0x82, true, &[]));
    assert_eq!(masked, Some(Violation::Masked));
}

#[test]
fn the_limit_holds_for_the_sum_of_parts_and_can_be_raised() {
    let bytes = frame(0x82, false, &message(30));
    assert_eq!(events(Sender::Server, 32, &bytes).0.len(), 1);
    let (_, violation) = events(Sender::Server, 31, &bytes);
    assert_eq!(
        violation,
        Some(Violation::TooLarge {
            length: 32,
            limit: 31
        })
    );
    let mut deframer = Deframer::new(Sender::Server, 31);
    deframer.set_limit(32);
    deframer.push(&bytes);
    assert!(deframer.next_event().unwrap().is_some());
}

#[test]
fn an_announced_length_alone_reserves_little_memory() {
    let mut deframer = Deframer::new(Sender::Client, FRAME_BYTES_MAX);
    let mut announced = vec![0x82, 0xFF];
    announced.extend((FRAME_BYTES_MAX as u64).to_be_bytes());
    announced.extend(MASK);
    deframer.push(&announced);
    assert_eq!(deframer.next_event(), Ok(None));
    assert!(deframer.buffer().capacity() <= EARLY_BYTES_MAX);
    assert!(!deframer.is_between_messages());
}

proptest! {
    #[test]
    fn chunking_does_not_change_the_events(
        lengths in proptest::collection::vec(0usize..700, 0..8),
        cuts in proptest::collection::vec(1usize..90, 1..50),
    ) {
        let bytes: Vec<u8> = lengths.iter().flat_map(|length| frame(0x82, true, &message(*length))).collect();
        let mut deframer = Deframer::new(Sender::Client, FRAME_BYTES_MAX);
        let mut found = Vec::new();
        let mut rest = &bytes[..];
        for cut in cuts.into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at(cut.min(rest.len()));
            deframer.buffer().extend_from_slice(now);
            rest = later;
            while let Some(event) = deframer.next_event().unwrap() {
                found.push(event);
            }
        }
        prop_assert_eq!(found, of_client(&bytes).0);
        prop_assert!(deframer.is_between_messages());
    }

    #[test]
    fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (events, _) = of_client(&bytes);
        prop_assert!(events.len() <= bytes.len());
    }
}
