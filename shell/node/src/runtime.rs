//! The tokio runtime of a node process: the only file that knows how many threads there are.

use std::io;
use std::thread::available_parallelism;

use slim_config::RuntimeConfig;
use tokio::runtime::{Builder, Runtime};

/// More worker threads were asked for than there are CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("runtime.n_cores is {asked}, but there are {available} CPUs; using {available} worker threads")]
pub struct Clamped {
    /// As configured.
    pub asked: usize,
    /// CPUs that this process may use.
    pub available: usize,
}

/// How many worker threads a configuration means on a machine with `available` CPUs.
pub fn worker_threads(n_cores: u32, available: usize) -> (usize, Option<Clamped>) {
    let asked = usize::try_from(n_cores).unwrap_or(usize::MAX);
    match asked {
        0 => (available, None),
        asked if asked > available => (available, Some(Clamped { asked, available })),
        asked => (asked, None),
    }
}

/// Builds the runtime. The calling thread only waits in `block_on`; the named workers do everything, so one core
/// means one busy thread.
pub fn build(config: &RuntimeConfig) -> io::Result<(Runtime, Option<Clamped>)> {
    let available = available_parallelism().map_or(1, usize::from);
    let (threads, clamped) = worker_threads(config.n_cores, available);
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name(&config.thread_name)
        .enable_all()
        .build()?;
    Ok((runtime, clamped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_means_all_and_too_many_are_clamped_with_a_warning() {
        assert_eq!(worker_threads(0, 4), (4, None));
        assert_eq!(worker_threads(1, 4), (1, None));
        assert_eq!(worker_threads(4, 4), (4, None));
        let (threads, clamped) = worker_threads(9, 4);
        assert_eq!(threads, 4);
        assert_eq!(
            clamped.unwrap().to_string(),
            "runtime.n_cores is 9, but there are 4 CPUs; using 4 worker threads"
        );
    }

    #[test]
    fn workers_carry_the_configured_name() {
        let config = RuntimeConfig {
            n_cores: 1,
            thread_name: "some-name".into(),
            ..RuntimeConfig::default()
        };
        let (runtime, _) = build(&config).unwrap();
        let name = runtime.block_on(async {
            tokio::spawn(async { std::thread::current().name().map(str::to_owned) })
                .await
                .unwrap()
        });
        assert_eq!(name.as_deref(), Some("some-name"));
    }
}
