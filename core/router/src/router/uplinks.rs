//! The part of [`Router`] that knows which of several uplinks leads to whom.

use slim_proto::{Frame, FrameKind, FullName, HeaderView};

use super::Router;
use crate::counters::DropReason;
use crate::link::LinkId;
use crate::preferences::RouteLimit;

/// Why a route cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// There is no such link, or it leads to no routing node.
    #[error("{0}: not a link to a routing node")]
    Link(DropReason),
    /// Too many.
    #[error(transparent)]
    Limit(#[from] RouteLimit),
}

impl Router {
    /// Local applications send to names with these three components over this uplink, when there are several and
    /// no subscription says more. Holds until the link is down; a successor inherits it.
    pub fn prefer_uplink(&mut self, uplink: LinkId, name: &FullName) -> Result<(), RouteError> {
        if !self.info(uplink).is_some_and(|info| info.is_uplink()) {
            return Err(RouteError::Link(DropReason::UnknownLink));
        }
        self.preferences.choose(name.prefix(), uplink)?;
        self.uplinks_changed = true;
        Ok(())
    }

    /// Takes [`prefer_uplink`](Self::prefer_uplink) back; false if there was no such route.
    pub fn forget_preference(&mut self, name: &FullName) -> bool {
        self.uplinks_changed = true;
        self.preferences.forget_choice(name.prefix())
    }

    /// Who speaks over one of several uplinks is answered over it.
    pub(super) fn learn_route(&mut self, link: LinkId, frame: &Frame) {
        let is_uplink = self.info(link).is_some_and(|info| info.is_uplink());
        if !is_uplink || self.fib.defaults().uplinks.len() < 2 || frame.kind() != Ok(FrameKind::Publish) {
            return;
        }
        if let Ok(header) = HeaderView::parse(frame)
            && self.preferences.learn(header.source.prefix, link)
        {
            self.uplinks_changed = true;
        }
    }

    /// The uplinks that are told what local applications subscribe to.
    pub(super) fn uplinks(&self) -> Vec<LinkId> {
        self.links
            .iter()
            .filter(|(_, state)| state.ingress.link().is_uplink())
            .map(|(_, state)| state.ingress.id())
            .filter(|link| !self.retired.contains(link))
            .collect()
    }
}
