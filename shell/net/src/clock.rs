//! The only place that reads the clocks of the machine.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use slim_proto::{Instant, Now, UnixTime};

/// The clocks of a process; copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: tokio::time::Instant,
}

impl Clock {
    /// Monotonic time counts from here.
    pub fn start() -> Self {
        Self {
            start: tokio::time::Instant::now(),
        }
    }

    /// Both clocks at this moment.
    pub fn now(&self) -> Now {
        Now {
            mono: self.monotonic(),
            unix: UnixTime(unix_time().as_secs()),
        }
    }

    /// The monotonic clock alone, at half the price.
    pub fn monotonic(&self) -> Instant {
        Instant::from_start(self.start.elapsed())
    }

    /// The moment at which a timer for `deadline` fires.
    pub fn timer(&self, deadline: Instant) -> tokio::time::Instant {
        // Past the end of the timer's range nothing ever fires; a century is the same.
        const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);
        self.start + deadline.since_start().min(FAR)
    }
}

/// Time since the Unix epoch; zero on a machine whose clock stands before it.
pub fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn monotonic_time_follows_the_timer_of_the_runtime() {
        let clock = Clock::start();
        let deadline = clock.now().mono + Duration::from_secs(3);
        tokio::time::sleep_until(clock.timer(deadline)).await;
        let late = clock.now().mono.saturating_since(deadline);
        assert!(
            clock.now().mono >= deadline && late < Duration::from_millis(10),
            "{late:?}"
        );
        assert!(clock.now().unix > UnixTime(1_700_000_000));
    }

    #[test]
    fn a_deadline_at_the_end_of_time_is_no_overflow() {
        let clock = Clock::start();
        clock.timer(Instant::from_start(Duration::MAX));
    }
}
