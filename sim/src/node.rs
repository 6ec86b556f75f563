//! The routing node: a real [`Router`] and the checks that need to see one frame go in and its copies come out.

use std::collections::BTreeSet;

use slim_crypto::Rng;
use slim_policy::Permissions;
use slim_proto::{Egress, Frame, FrameKind, Instant, Now};
use slim_router::{LinkId, LinkInfo, Output, Router, RouterConfig};

/// A node.
pub(crate) struct Node {
    router: Router,
    pub(crate) is_up: bool,
    /// For when a wake-up is planned.
    pub(crate) wake: Option<Instant>,
    seeds: Rng,
}

/// What a node wants sent.
pub(crate) type Sends = Vec<(LinkId, Egress)>;

impl Node {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        let mut seeds = Rng::from_seed(seed);
        Self {
            router: Router::new(RouterConfig::default(), seeds.derive()),
            is_up: true,
            wake: None,
            seeds,
        }
    }

    /// Its process ends; its tables are gone.
    pub(crate) fn crash(&mut self) {
        self.router = Router::new(RouterConfig::default(), self.seeds.derive());
        self.is_up = false;
    }

    pub(crate) fn link_up(
        &mut self,
        now: Now,
        info: LinkInfo,
        permissions: Option<Permissions>,
    ) -> (LinkId, Sends) {
        let link = match permissions {
            Some(permissions) => self.router.handle_link_up_as(now, info, permissions),
            None => self.router.handle_link_up(now, info),
        };
        (link, self.drain())
    }

    pub(crate) fn link_down(&mut self, now: Now, link: LinkId) -> Sends {
        self.router.handle_link_down(now, link);
        self.drain()
    }

    pub(crate) fn timeout(&mut self, now: Now) -> Sends {
        self.router.handle_timeout(now);
        self.drain()
    }

    /// Forwards a frame. Fails if a copy returns to where the frame came from or goes to one receiver twice (I10).
    pub(crate) fn frame(&mut self, now: Now, ingress: LinkId, frame: &Frame) -> Result<Sends, String> {
        self.router.handle_frame(now, ingress, frame);
        let sends = self.drain();
        if frame.kind() == Ok(FrameKind::Publish) {
            let mut receivers = BTreeSet::new();
            for (link, _) in &sends {
                if *link == ingress {
                    return Err("the node returned a publish to the link it came from".to_owned());
                }
                if !receivers.insert(*link) {
                    return Err("the node sent two copies of one publish to one link".to_owned());
                }
            }
        }
        Ok(sends)
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.router.poll_timeout().map(|(at, _)| at)
    }

    pub(crate) fn subscription_count(&self) -> usize {
        self.router.subscription_count()
    }

    fn drain(&mut self) -> Sends {
        let mut sends = Vec::new();
        while let Some(output) = self.router.poll_output() {
            match output {
                Output::Send { link, egress } => sends.push((link, egress)),
                // Forwarding happens in the router itself, so it has the table already.
                Output::PublishFib(_) => {}
                // Only for links that this router dialed; a node here only accepts.
                Output::CloseLink { .. } | Output::Succeeded { .. } => {}
            }
        }
        sends
    }
}
