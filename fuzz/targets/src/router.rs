//! A node between two processes, fed with frames of any kind on links with and without tags: what strangers send reaches
//! nobody, what is forwarded fits, and nothing stays behind (Invariants 4, 6, 8, 10, 11).

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use slim_proto::control::{SubscriptionAck, SubscriptionAction, SubscriptionRequest};
use slim_proto::{
    Content, Frame, FrameKind, FullName, HeaderView, Instant, Message, NameId, Now, SessionKind,
};
use slim_router::{Direction, DropReason, LinkClass, LinkId, LinkInfo, MacKey, Output, Router, RouterConfig};

use crate::script::{Script, edited};

/// Few, so that short scripts reach them.
const LIMITS: RouterConfig = RouterConfig {
    subscriptions_per_link_max: 6,
    subscriptions_max: 16,
};

/// Plays a script of frames, link ends and time on one small network.
pub fn router(data: &[u8]) {
    let mut script = Script::new(data);
    let mut net = Network::new();
    while let Some(step) = script.step(8) {
        match step {
            0 => net.say(A, &made(&mut script)),
            1 => net.say(B, &made(&mut script)),
            2 => net.forge(&made(&mut script)),
            3 => net.inject(&made(&mut script)),
            4 => {
                if let Ok(frame) = Frame::new(Bytes::copy_from_slice(script.chunk())) {
                    net.inject(&frame);
                    net.forge(&frame);
                }
            }
            5 => net.answer(&made(&mut script)),
            6 => net.pass(Duration::from_millis(100 * u64::from(script.byte()))),
            _ => {
                let frame = made(&mut script);
                if let Ok(frame) = Frame::new(edited(frame.bytes(), &mut script)) {
                    net.say(A, &frame);
                    net.inject(&frame);
                }
            }
        }
    }
    net.end();
}

/// The two processes.
const A: usize = 0;
const B: usize = 1;

/// An application's process: its router, its application's link, its link to the node.
struct Process {
    router: Router,
    local: LinkId,
    uplink: LinkId,
    /// The other end of the uplink, at the node.
    at_node: LinkId,
}

struct Network {
    now: Now,
    node: Router,
    processes: Vec<Process>,
    /// A link without a key, which the node does not ask for one: everything on it is as the fuzzer says.
    open: LinkId,
}

impl Network {
    fn new() -> Self {
        let now = Now::default();
        let mut node = Router::new(LIMITS, [1; 32]);
        let processes = [3, 4].map(|byte| {
            let mut router = Router::new(RouterConfig::default(), [byte; 32]);
            Process {
                local: router.handle_link_up(now, LinkInfo::local()),
                uplink: router.handle_link_up(now, keyed(byte, Direction::Dialed)),
                at_node: node.handle_link_up(now, keyed(byte, Direction::Accepted)),
                router,
            }
        });
        let open = node.handle_link_up(
            now,
            LinkInfo {
                mac_key: None,
                strict: false,
                ..keyed(0, Direction::Accepted)
            },
        );
        Self {
            now,
            node,
            processes: processes.into(),
            open,
        }
    }

    /// The application of a process sends a frame.
    fn say(&mut self, process: usize, frame: &Frame) {
        let Process { router, local, .. } = &mut self.processes[process];
        router.handle_frame(self.now, *local, frame);
        self.settle(None);
    }

    /// Somebody on the path of the first process sends a frame without knowing the key.
    fn forge(&mut self, frame: &Frame) {
        let link = self.processes[A].at_node;
        let before = self.node.subscription_count();
        self.node.handle_frame(self.now, link, frame);
        assert_eq!(
            self.node.subscription_count(),
            before,
            "a frame without a tag changes nothing"
        );
        let output = self.node.poll_output();
        assert!(output.is_none(), "a frame without a tag causes {output:?}");
    }

    /// The peer on the open link sends a frame.
    fn inject(&mut self, frame: &Frame) {
        self.node.handle_frame(self.now, self.open, frame);
        let ttl = HeaderView::parse(frame).ok().map(|view| view.ttl);
        self.settle(ttl);
    }

    /// The node, or somebody who pretends to be it, sends a frame to the first process.
    fn answer(&mut self, frame: &Frame) {
        let Process { router, uplink, .. } = &mut self.processes[A];
        router.handle_frame(self.now, *uplink, frame);
        self.settle(None);
    }

    fn pass(&mut self, time: Duration) {
        self.now.mono = self.now.mono + time;
        let now = self.now;
        for router in self.routers() {
            if router.poll_timeout().is_some_and(|(at, _)| at <= now.mono) {
                router.handle_timeout(now);
            }
        }
        self.settle(None);
    }

    /// Carries everything where it goes. `ttl`: that of the frame which came in on the open link.
    fn settle(&mut self, ttl: Option<u32>) {
        let mut on_the_way: VecDeque<(usize, Frame)> = VecDeque::new();
        loop {
            let mut moved = false;
            while let Some(output) = self.node.poll_output() {
                moved = true;
                if let Output::Send { link, egress } = output {
                    let frame = egress.into_frame().expect("what is sent is a frame");
                    self.sent_by_node(link, &frame, ttl);
                    let to = self.processes.iter().position(|process| process.at_node == link);
                    if let Some(to) = to {
                        on_the_way.push_back((to, frame));
                    }
                }
            }
            while let Some((to, frame)) = on_the_way.pop_front() {
                let Process { router, uplink, .. } = &mut self.processes[to];
                let wrong = router.counters().drops(DropReason::MacWrong);
                router.handle_frame(self.now, *uplink, &frame);
                let still = router.counters().drops(DropReason::MacWrong);
                assert_eq!(still, wrong, "a node's own tag verifies");
            }
            for index in 0..self.processes.len() {
                while let Some(output) = self.processes[index].router.poll_output() {
                    moved = true;
                    if let Output::Send { link, egress } = output
                        && link == self.processes[index].uplink
                    {
                        let frame = egress.into_frame().expect("what is sent is a frame");
                        let at_node = self.processes[index].at_node;
                        self.node.handle_frame(self.now, at_node, &frame);
                    }
                }
            }
            if !moved {
                break;
            }
        }
        assert!(self.node.subscription_count() <= LIMITS.subscriptions_max);
    }

    fn sent_by_node(&self, link: LinkId, frame: &Frame, ttl: Option<u32>) {
        assert!(
            self.node.info(link).is_some(),
            "nothing goes to a link that is gone"
        );
        match frame.kind().expect("a node sends what has a kind") {
            FrameKind::Publish => {
                let view = HeaderView::parse(frame).expect("a publish that is sent has a header");
                assert_eq!((view.recv_from, view.forward_to), (None, None), "Invariant 6");
                assert_eq!(view.header_mac.is_some(), link != self.open);
                assert!(view.ttl > 0);
                if let Some(ttl) = ttl {
                    assert!(view.ttl < ttl, "Invariant 10");
                    assert_ne!(link, self.open, "a publish never goes back to its sender");
                }
                assert!(
                    slim_proto::structure::check_publish(frame).is_ok(),
                    "what receivers cannot decode goes nowhere"
                );
            }
            FrameKind::SubscriptionAck => {
                let ack = SubscriptionAck::decode(frame).expect("our own answers decode");
                assert!(ack.is_some_and(|ack| ack.subscription_id != 0));
            }
            kind @ (FrameKind::Subscribe | FrameKind::Unsubscribe | FrameKind::Link) => {
                panic!("a node without uplinks sends no {kind:?}")
            }
        }
    }

    fn routers(&mut self) -> impl Iterator<Item = &mut Router> {
        std::iter::once(&mut self.node).chain(self.processes.iter_mut().map(|process| &mut process.router))
    }

    /// Every link ends, the applications' first: nothing stays.
    fn end(mut self) {
        for index in 0..self.processes.len() {
            let Process { router, local, .. } = &mut self.processes[index];
            router.handle_link_down(self.now, *local);
            self.settle(None);
        }
        for process in &mut self.processes {
            let router = &mut process.router;
            router.handle_link_down(self.now, process.uplink);
            assert_eq!((router.link_count(), router.subscription_count()), (0, 0));
            self.node.handle_link_down(self.now, process.at_node);
        }
        self.node.handle_link_down(self.now, self.open);
        assert_eq!(
            (self.node.link_count(), self.node.subscription_count()),
            (0, 0),
            "links take everything of theirs along"
        );
        self.now.mono = Instant::ZERO + Duration::from_secs(100_000);
        let now = self.now;
        for router in self.routers() {
            router.handle_timeout(now);
            while let Some(output) = router.poll_output() {
                assert!(
                    !matches!(output, Output::Send { .. }),
                    "there is nobody to send to"
                );
            }
        }
    }
}

fn keyed(byte: u8, direction: Direction) -> LinkInfo {
    LinkInfo {
        class: LinkClass::Edge,
        direction,
        link_id: format!("link-{byte}"),
        mac_key: Some(MacKey::new(&[byte; 32])),
        strict: true,
    }
}

/// A frame of a few names and numbers.
fn made(script: &mut Script<'_>) -> Frame {
    let what = script.byte();
    let source = name(script.byte());
    let destination = name(script.byte());
    let number = u64::from(script.byte() % 8);
    let request = |action| {
        SubscriptionRequest {
            action,
            source: source.clone(),
            destination: destination.clone(),
            identity: "token".into(),
            subscription_id: number,
        }
        .encode()
    };
    match what % 5 {
        0 => request(SubscriptionAction::Subscribe),
        1 => request(SubscriptionAction::Unsubscribe),
        2 => SubscriptionAck {
            subscription_id: number,
            outcome: if what & 0x40 == 0 {
                Ok(())
            } else {
                Err("no".into())
            },
        }
        .encode(),
        _ => {
            let content = Content::Application {
                payload_type: "msg".into(),
                blob: Bytes::copy_from_slice(script.chunk()),
            };
            let mut message = Message::new(source, destination, SessionKind::Group, 1, 2, content);
            message.fanout = u32::from(what >> 5);
            message.ttl = number as u32;
            message.identity = "token".into();
            Frame::new(message.encode()).expect("scripts are shorter than frames")
        }
    }
}

/// One of four names with one of four ids.
fn name(byte: u8) -> FullName {
    let components = ["a", "b", "c", "d"];
    let component = components[usize::from(byte) % components.len()];
    let name = FullName::new("org", "ns", component).expect("three parts");
    match (byte >> 2) % 4 {
        0 => name,
        id => name.with_id(NameId(u128::from(id))),
    }
}
