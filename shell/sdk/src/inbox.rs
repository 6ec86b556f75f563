//! The bounded queue between the driver and the application, one per session.
//!
//! The core counts messages against the inbox before it opens them, so this queue never refuses one. Notices
//! (losses, membership) are bounded here. Items leave only in the moment in which they are handed over, which
//! is what makes `receive` safe to cancel.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use slim_proto::FullName;
use slim_proto::limits::{INBOX_BYTES_MAX, INBOX_MESSAGES_MAX, MEMBERS_MAX};
use slim_session::{CloseReason, MembershipChange, Received};
use tokio::sync::Notify;

/// Notices that wait for the application: two changes of every member of the largest group.
const NOTICES_MAX: usize = 2 * MEMBERS_MAX;
/// The core is told of consumed messages in lots of this many, which costs it 1/16 of the inbox.
const REPORT_MESSAGES: usize = INBOX_MESSAGES_MAX / 16;
/// The same in bytes.
const REPORT_BYTES: usize = INBOX_BYTES_MAX / 16;

/// What an application reads from a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Data.
    Message(Received),
    /// Messages of a sender that are lost for good.
    Lost {
        /// Whose.
        sender: FullName,
        /// First lost number.
        first: u32,
        /// Last lost number.
        last: u32,
    },
    /// The roster changed.
    Membership {
        /// Whom.
        member: FullName,
        /// How.
        change: MembershipChange,
    },
}

/// Why nothing more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The session is over.
    Session(CloseReason),
    /// The application or the service was closed.
    Closed,
}

/// An item on its way to the application.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) item: Item,
    /// Enough was consumed to wake the driver, which collects [`Inbox::consumed`].
    pub(crate) report: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    notices: usize,
    notices_dropped: u64,
    consumed_messages: usize,
    consumed_bytes: usize,
    end: Option<End>,
}

impl Inbox {
    /// Appends an item. Of too many notices the oldest is dropped and counted; messages are never dropped.
    pub(crate) fn push(&self, item: Item) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        if !matches!(item, Item::Message(_)) {
            if state.notices == NOTICES_MAX {
                let oldest = state
                    .items
                    .iter()
                    .position(|item| !matches!(item, Item::Message(_)));
                if let Some(position) = oldest {
                    state.items.remove(position);
                    state.notices -= 1;
                    state.notices_dropped += 1;
                }
            }
            state.notices += 1;
        }
        state.items.push_back(item);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Nothing follows. The first reason stays.
    pub(crate) fn end(&self, end: End) {
        self.lock().end.get_or_insert(end);
        self.changed.notify_waiters();
    }

    /// Removes the next item; behind the last one, the end.
    pub(crate) fn take(&self) -> Option<Result<Taken, End>> {
        let mut state = self.lock();
        let Some(item) = state.items.pop_front() else {
            return state.end.map(Err);
        };
        let Item::Message(message) = &item else {
            state.notices -= 1;
            return Some(Ok(Taken { item, report: false }));
        };
        state.consumed_messages += 1;
        state.consumed_bytes += message.payload.len();
        let report = state.consumed_messages >= REPORT_MESSAGES || state.consumed_bytes >= REPORT_BYTES;
        Some(Ok(Taken { item, report }))
    }

    /// Messages and bytes taken since the last call, for `Endpoint::consumed`.
    pub(crate) fn consumed(&self) -> (usize, usize) {
        let mut state = self.lock();
        (
            std::mem::take(&mut state.consumed_messages),
            std::mem::take(&mut state.consumed_bytes),
        )
    }

    /// Notices dropped because the application does not read.
    pub(crate) fn notices_dropped(&self) -> u64 {
        self.lock().notices_dropped
    }

    /// Why the inbox ended, whatever is still queued.
    pub(crate) fn ended(&self) -> Option<End> {
        self.lock().end
    }

    /// Waits until `take` returns something. Takes nothing, so several may wait.
    pub(crate) async fn ready(&self) {
        self.wait(|state| !state.items.is_empty() || state.end.is_some())
            .await;
    }

    /// Waits until nothing can be added any more.
    pub(crate) async fn finished(&self) -> End {
        loop {
            self.wait(|state| state.end.is_some()).await;
            if let Some(end) = self.ended() {
                return end;
            }
        }
    }

    async fn wait(&self, is_there: impl Fn(&State) -> bool) {
        loop {
            // Registered before the check: a push between check and await is not missed.
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if is_there(&self.lock()) {
                return;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic between two consistent states of this small struct is impossible; go on regardless.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn message(id: u32, size: usize) -> Item {
        let name: FullName = "org/ns/bob".parse().unwrap();
        Item::Message(Received {
            source: name.clone(),
            destination: name,
            subject: "bob".into(),
            issuer: None,
            payload_type: "msg".into(),
            metadata: Default::default(),
            message_id: id,
            direct: false,
            payload: Bytes::from(vec![0; size]),
        })
    }

    fn notice(first: u32) -> Item {
        Item::Lost {
            sender: "org/ns/bob".parse().unwrap(),
            first,
            last: first,
        }
    }

    #[test]
    fn items_that_arrived_before_the_end_are_read_before_it() {
        let inbox = Inbox::default();
        inbox.push(message(1, 3));
        inbox.end(End::Session(CloseReason::Removed));
        inbox.end(End::Closed);
        inbox.push(message(2, 3));
        assert_eq!(
            inbox.take(),
            Some(Ok(Taken {
                item: message(1, 3),
                report: false
            }))
        );
        assert_eq!(inbox.take(), Some(Err(End::Session(CloseReason::Removed))));
        assert_eq!(inbox.take(), Some(Err(End::Session(CloseReason::Removed))));
    }

    #[test]
    fn consumption_is_reported_in_lots_and_never_forgotten() {
        let inbox = Inbox::default();
        let mut reported = (0, 0);
        for id in 0..1000u32 {
            inbox.push(message(id, 10));
            if inbox.take().unwrap().unwrap().report {
                let lot = inbox.consumed();
                assert_eq!(lot.0, REPORT_MESSAGES);
                reported = (reported.0 + lot.0, reported.1 + lot.1);
            }
        }
        assert!(1000 - reported.0 < REPORT_MESSAGES);
        assert_eq!(reported.1, reported.0 * 10);
        inbox.push(message(0, REPORT_BYTES));
        assert!(inbox.take().unwrap().unwrap().report);
        assert_eq!(inbox.take(), None);
    }

    #[test]
    fn of_too_many_notices_the_oldest_goes_and_messages_stay() {
        let inbox = Inbox::default();
        inbox.push(message(7, 1));
        for first in 0..u32::try_from(NOTICES_MAX).unwrap() + 5 {
            inbox.push(notice(first));
        }
        assert_eq!(inbox.notices_dropped(), 5);
        assert_eq!(
            inbox.take(),
            Some(Ok(Taken {
                item: message(7, 1),
                report: false
            }))
        );
        assert_eq!(
            inbox.take(),
            Some(Ok(Taken {
                item: notice(5),
                report: false
            }))
        );
    }

    #[tokio::test]
    async fn everybody_who_waits_learns_of_the_end() {
        let inbox = std::sync::Arc::new(Inbox::default());
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let inbox = std::sync::Arc::clone(&inbox);
                tokio::spawn(async move { inbox.finished().await })
            })
            .collect();
        tokio::task::yield_now().await;
        inbox.end(End::Closed);
        for task in waiting {
            assert_eq!(task.await.unwrap(), End::Closed);
        }
    }
}
