//! The forwarding table of the moment, read by every link and written by the router task.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use slim_router::Fib;

/// Holds the current table. A reader that finds the generation unchanged takes no lock.
#[derive(Debug)]
pub(crate) struct FibCell {
    generation: AtomicU64,
    current: Mutex<Arc<Fib>>,
}

/// One link's view of the table.
#[derive(Debug)]
pub(crate) struct FibReader {
    cell: Arc<FibCell>,
    generation: u64,
    fib: Arc<Fib>,
}

impl FibCell {
    pub(crate) fn new(fib: Arc<Fib>) -> Arc<Self> {
        Arc::new(Self {
            generation: AtomicU64::new(0),
            current: Mutex::new(fib),
        })
    }

    /// Replaces the table. Whoever is told something afterwards (an acknowledgement) forwards by the new one.
    pub(crate) fn publish(&self, fib: Arc<Fib>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = fib;
        self.generation.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn reader(self: &Arc<Self>) -> FibReader {
        // Generation before table: a publish in between is then seen as a change, not missed.
        let generation = self.generation.load(Ordering::Acquire);
        FibReader {
            generation,
            fib: self.load(),
            cell: Arc::clone(self),
        }
    }

    fn load(&self) -> Arc<Fib> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl FibReader {
    /// The current table.
    pub(crate) fn current(&mut self) -> &Fib {
        let generation = self.cell.generation.load(Ordering::Acquire);
        if generation != self.generation {
            self.generation = generation;
            self.fib = self.cell.load();
        }
        &self.fib
    }
}
