//! Log lines that strangers can cause: one in ten seconds, the others counted.

use std::time::Duration;

use slim_proto::Instant;

/// At most one line in so much time.
const INTERVAL: Duration = Duration::from_secs(10);

/// When the last line was written, and what was kept back since.
#[derive(Debug, Default)]
pub struct SparseLog {
    said: Option<Instant>,
    unsaid: u64,
}

impl SparseLog {
    /// To be asked for each line. If it is to be written, how many were not since the last one; else it is counted.
    pub fn is_due(&mut self, now: Instant) -> Option<u64> {
        if self
            .said
            .is_some_and(|said| now.saturating_since(said) < INTERVAL)
        {
            self.unsaid += 1;
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_every_ten_seconds_at_most_and_the_others_are_counted() {
        let mut log = SparseLog::default();
        let mut at = |seconds| log.is_due(Instant::ZERO + Duration::from_secs(seconds));
        assert_eq!(at(0), Some(0));
        assert_eq!((at(1), at(9)), (None, None));
        assert_eq!(at(10), Some(2));
        assert_eq!(at(21), Some(0));
    }
}
