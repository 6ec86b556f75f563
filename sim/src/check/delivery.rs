//! Who got which message: nothing twice, each sender in order (I2), and every outcome true (I1).

use std::collections::{BTreeMap, BTreeSet};

use slim_session::{OperationError, Outcome, PublishOutcome, Received, SessionId};

use super::Who;

/// A message, by its number in the run.
#[derive(Clone, Debug)]
pub(super) struct Published {
    session: SessionId,
    sender: usize,
    to: Option<usize>,
    reliable: bool,
    /// The sender's epoch when it published; unknown while it was alone and the message waits for a member.
    pub(super) epoch: Option<u64>,
    /// Members that the sender believed online and that were in the session, and for the how manieth time.
    expected: BTreeMap<usize, u32>,
    /// Who has it, by its own word to the sender.
    delivered: Option<BTreeSet<usize>>,
}

/// All messages of a run.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    last_number: u64,
    published: BTreeMap<u64, Published>,
    received: BTreeSet<(u64, usize)>,
    /// Highest number that a receiver, in its current stay in a session, got of a sender's messages to all.
    latest: BTreeMap<(SessionId, usize, usize, u32), u64>,
}

impl Delivery {
    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one record")]
    pub(super) fn publishing(
        &mut self,
        number: u64,
        session: SessionId,
        sender: usize,
        to: Option<usize>,
        reliable: bool,
        epoch: Option<u64>,
        expected: BTreeMap<usize, u32>,
    ) {
        self.published.insert(
            number,
            Published {
                session,
                sender,
                to,
                reliable,
                epoch,
                expected,
                delivered: None,
            },
        );
    }

    pub(super) fn held_back(&mut self, number: u64) {
        if let Some(published) = self.published.get_mut(&number) {
            published.epoch = None;
            published.expected.clear();
        }
    }

    pub(super) fn not_published(&mut self, number: u64) {
        self.published.remove(&number);
    }

    /// The application got a message. `in_order`: the links lost and reordered nothing, so even unreliable data is
    /// in order.
    pub(super) fn received(
        &mut self,
        app: usize,
        sender: Option<usize>,
        session: SessionId,
        run: u32,
        message: &Received,
        in_order: bool,
    ) -> Result<Published, String> {
        let digits = message.payload.len().saturating_sub(8);
        let number: Option<u64> = message
            .payload
            .get(digits..)
            .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        let number = number.ok_or("the payload is not one that was published")?;
        let published = self
            .published
            .get(&number)
            .ok_or("the message was refused when it was published")?;
        if published.session != session {
            return Err("it belongs to another session".to_owned());
        }
        if Some(published.sender) != sender {
            return Err(format!("it was sent by application {}", published.sender));
        }
        if published.to.is_some_and(|to| to != app) || message.direct != published.to.is_some() {
            return Err(format!("it was for {:?}", published.to));
        }
        let again = !self.received.insert((number, app));
        if again && (published.reliable || in_order) {
            return Err("I2: a second time".to_owned());
        }
        if published.to.is_none() && (published.reliable || in_order) {
            let latest = self
                .latest
                .entry((session, published.sender, app, run))
                .or_default();
            if *latest > number {
                return Err(format!("I2: after {latest}"));
            }
            *latest = number;
        }
        Ok(published.clone())
    }

    /// The sender's ticket completed: everybody expected is accounted for, once.
    pub(super) fn completed(
        &mut self,
        number: u64,
        result: &Result<Outcome, OperationError>,
        who: &Who,
    ) -> Result<(), String> {
        let outcome: &PublishOutcome = match result {
            Ok(Outcome::Published(outcome)) | Err(OperationError::PublishIncomplete { outcome, .. }) => {
                outcome
            }
            Ok(other) => return Err(format!("completed as {other:?}")),
            Err(_) => return Ok(()),
        };
        let Some(published) = self.published.get_mut(&number) else {
            return Err("completed without having been accepted".to_owned());
        };
        if !published.reliable {
            return Ok(());
        }
        let mut named = BTreeSet::new();
        let missed = outcome.missed.iter().map(|(name, _)| name);
        for name in outcome.delivered.iter().chain(missed) {
            let app = who.of(name.id()).ok_or_else(|| format!("{name} is nobody"))?;
            if !named.insert(app) {
                return Err(format!("{name} is reported twice"));
            }
        }
        if let Some(forgotten) = published.expected.keys().find(|app| !named.contains(app)) {
            return Err(format!("nothing is reported about application {forgotten}"));
        }
        published.delivered = Some(
            outcome
                .delivered
                .iter()
                .filter_map(|name| who.of(name.id()))
                .collect(),
        );
        Ok(())
    }

    /// At rest: whoever acknowledged a message got it, if it is still in the session that it was in then.
    pub(super) fn accounts(&self, is_still_in: impl Fn(usize, SessionId, u32) -> bool) -> Result<(), String> {
        for (number, published) in &self.published {
            for app in published.delivered.iter().flatten() {
                let Some(run) = published.expected.get(app) else {
                    continue;
                };
                if is_still_in(*app, published.session, *run) && !self.received.contains(&(*number, *app)) {
                    return Err(format!(
                        "I1: message {number} of application {} was reported as delivered to application {app}, \
                         which never got it",
                        published.sender
                    ));
                }
            }
        }
        Ok(())
    }

    pub(super) fn delivered(&self) -> u64 {
        self.received.len() as u64
    }

    /// Messages of one session that applications received.
    pub(super) fn delivered_in(&self, session: SessionId) -> u64 {
        let of_session = |number: &u64| {
            self.published
                .get(number)
                .is_some_and(|message| message.session == session)
        };
        self.received
            .iter()
            .filter(|(number, _)| of_session(number))
            .count() as u64
    }
}
