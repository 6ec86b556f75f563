//! What links may send, and what stays of them when they are lost.

use super::*;

#[test]
fn unsigned_and_expired_requests_are_dropped_without_an_answer() {
    let mut router = router();
    let info = keyed(LinkClass::Edge, Direction::Accepted, 1);
    let link = up(&mut router, info.clone());
    router.handle_frame(at(0), link, &subscribe(&chat(), 7));
    router.handle_frame(at(0), link, &tagged(&subscribe(&chat(), 7), 8, Some([1; 32])));
    router.handle_frame(at(0), link, &signed(&subscribe(&chat(), 7), &info, 1));
    assert_eq!(listen(&mut router), []);
    for reason in [
        DropReason::MacMissing,
        DropReason::MacWrong,
        DropReason::TtlExhausted,
    ] {
        assert_eq!(router.counters().drops(reason), 1, "{reason}");
    }
    // The link stays up.
    router.handle_frame(at(0), link, &signed(&subscribe(&chat(), 7), &info, 2));
    assert_eq!(frames(&mut router), [Ack(link, 7, Ok(()))]);
}

#[test]
fn other_frames_are_counted_and_change_nothing() {
    let mut router = router();
    let link = up(&mut router, edge());
    router.handle_frame(at(0), link, &Frame::new(&b"\x2a\x00"[..]).unwrap());
    router.handle_frame(at(0), link, &ack(99, Ok(())));
    router.handle_frame(at(0), link, &Frame::new(&b""[..]).unwrap());
    router.handle_frame(at(0), link, &Frame::new(&b"\x0a\x00"[..]).unwrap());
    router.handle_frame(at(0), link, &Frame::new(&b"\xff\xff"[..]).unwrap());
    router.handle_link_down(at(0), link);
    router.handle_frame(at(0), link, &subscribe(&chat(), 1));
    assert_eq!(listen(&mut router), []);
    let counters = router.counters();
    for (reason, count) in [
        (DropReason::Unexpected, 1),
        (DropReason::UnknownAck, 1),
        (DropReason::Undecodable, 2),
        (DropReason::IncompleteHeader, 1),
        (DropReason::UnknownLink, 1),
    ] {
        assert_eq!(counters.drops(reason), count, "{reason}");
    }
}

#[test]
fn a_lost_link_loses_its_routes_at_once_and_its_id_is_never_reused() {
    let mut router = router();
    let [sender, receiver] = std::array::from_fn(|_| up(&mut router, edge()));
    router.handle_frame(at(0), receiver, &subscribe(&chat(), 1));
    frames(&mut router);
    router.handle_link_down(at(1), receiver);
    let successor = up(&mut router, edge());
    assert_ne!(successor, receiver);
    router.handle_frame(at(1), sender, &publish(&chat(), 1));
    assert_eq!(listen(&mut router), [PublishedFib]);
    assert_eq!(router.counters().drops(DropReason::NoRoute), 1);
    router.handle_link_down(at(2), receiver);
    assert_eq!(router.link_count(), 2, "the successor stays");
}

#[test]
fn counts_of_closed_links_are_kept() {
    let mut router = router();
    let [sender, receiver] = std::array::from_fn(|_| up(&mut router, edge()));
    router.handle_frame(at(0), receiver, &subscribe(&chat(), 1));
    router.handle_frame(at(0), sender, &publish(&chat(), 1));
    assert_eq!(frames(&mut router).len(), 2);
    router.handle_link_down(at(1), sender);
    assert_eq!(router.counters().forwarded, 1);
}
