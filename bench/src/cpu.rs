//! Processor time of another process, as the operating system counts it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Length of a tick in `/proc/PID/stat`. The kernel's internal tick may differ; what it shows to programs is 100 a
/// second on every machine of today (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// Time that all threads of a process have spent computing, in user and kernel mode together.
///
/// Precise to 10 ms, so a measurement should last a second or more.
pub(crate) fn of_process(process: u32) -> Result<Duration> {
    let path = PathBuf::from(format!("/proc/{process}/stat"));
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let ticks = ticks(&text).with_context(|| format!("unexpected text in {}", path.display()))?;
    Ok(TICK * ticks)
}

/// `utime` plus `stime`: fields 14 and 15, counted from 1 (proc_pid_stat(5)).
fn ticks(stat: &str) -> Option<u32> {
    // Field 2 is the program's name in parentheses and may hold anything, spaces and parentheses included.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let kernel: u32 = fields.next()?.parse().ok()?;
    user.checked_add(kernel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_kernel_time_are_added_whatever_the_program_is_called() {
        let stat = "4242 (a) b (c) R 1 4242 4242 0 -1 4194304 119 0 0 0 150 25 7 8 20 0 1 0 447978";
        assert_eq!(ticks(stat), Some(175));
        assert_eq!(ticks("4242 (short) R 1"), None);
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn computing_costs_processor_time() {
        let own = std::process::id();
        let before = of_process(own).unwrap();
        let mut sum = 0u64;
        while of_process(own).unwrap() < before + 2 * TICK {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
        }
        assert!(of_process(own).unwrap() >= before + 2 * TICK);
    }

    #[test]
    fn a_process_that_does_not_exist_is_an_error() {
        assert!(of_process(u32::MAX).is_err());
    }
}
