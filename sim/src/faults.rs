//! What goes wrong in a network, drawn from a seed, and how it goes right again.

use std::time::Duration;

use slim_crypto::Rng;

use crate::adversary::{Adversary, Habits};
use crate::net::Way;
use crate::world::{Happening, SILENCE_MAX, World};

/// Latency, and jitter on top of it, of every way after everything healed.
const HEALTHY: Duration = Duration::from_millis(20);

/// One fault, or its end.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// A connection breaks; the node notices after this time (half-open until then).
    Cut {
        app: usize,
        node_notices_after: Duration,
    },
    /// Nothing passes in these directions for a while; nobody is told.
    Partition {
        app: usize,
        ways: Vec<Way>,
        time: Duration,
    },
    PartitionEnds {
        app: usize,
    },
    /// The application's process stops as by SIGSTOP, and goes on later.
    Freeze {
        app: usize,
        time: Duration,
    },
    Thaw {
        app: usize,
    },
    /// The application is gone for good.
    Crash {
        app: usize,
    },
    /// The node's process ends; its tables are lost.
    NodeCrash {
        down: Duration,
    },
    NodeStarts,
    /// The application reads slowly.
    SlowReader {
        app: usize,
        reading: Duration,
        time: Duration,
    },
    SlowReaderEnds {
        app: usize,
    },
    /// A hostile node gets between the application and the node.
    Hostile {
        app: usize,
        habits: Habits,
        time: Duration,
    },
    HostileEnds {
        app: usize,
    },
}

/// Kinds of faults that a seed may draw.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FaultKinds {
    pub(crate) links: bool,
    pub(crate) freezes: bool,
    pub(crate) crashes: bool,
    pub(crate) node: bool,
    pub(crate) slow: bool,
    pub(crate) hostile: bool,
    /// A hostile node may also alter and replay; only where every session is encrypted, since nothing else
    /// authenticates data.
    pub(crate) forging: bool,
}

/// Faults for `apps` applications between two times, in any order.
pub(crate) fn draw(
    rng: &mut Rng,
    kinds: FaultKinds,
    apps: usize,
    from: Duration,
    until: Duration,
) -> Vec<(Duration, Fault)> {
    let mut faults = Vec::new();
    let span = u64::try_from(until.saturating_sub(from).as_millis()).unwrap_or(0);
    let mut crashed = 0;
    let wanted = usize::try_from(1 + rng.below(8)).unwrap_or(1);
    // Kinds that are not allowed are drawn again, but not for ever.
    for _ in 0..200 {
        if faults.len() >= wanted {
            break;
        }
        let at = from + Duration::from_millis(rng.below(span));
        let app = usize::try_from(rng.below(apps as u64)).unwrap_or(0);
        let time = Duration::from_millis(100 + rng.below(30_000));
        let freeze_max = if rng.below(3) == 0 { 119_000 } else { 15_000 };
        let fault = match rng.below(12) {
            0..3 if kinds.links => Fault::Cut {
                app,
                node_notices_after: Duration::from_millis(rng.below(2) * rng.below(20_000)),
            },
            3..5 if kinds.links => Fault::Partition {
                app,
                ways: match rng.below(4) {
                    0 => vec![Way::Up],
                    1 => vec![Way::Down],
                    _ => Way::BOTH.to_vec(),
                },
                time,
            },
            5..7 if kinds.freezes => Fault::Freeze {
                app,
                time: Duration::from_millis(1000 + rng.below(freeze_max)),
            },
            7 if kinds.crashes && crashed + 2 < apps => {
                crashed += 1;
                Fault::Crash { app }
            }
            8 if kinds.node => Fault::NodeCrash {
                down: Duration::from_millis(100 + rng.below(5000)),
            },
            9 if kinds.slow => Fault::SlowReader {
                app,
                reading: Duration::from_millis(50 + rng.below(450)),
                time,
            },
            10..12 if kinds.hostile => Fault::Hostile {
                app,
                habits: draw_habits(rng, kinds.forging),
                time,
            },
            _ => continue,
        };
        faults.push((at, fault));
    }
    faults
}

fn draw_habits(rng: &mut Rng, forging: bool) -> Habits {
    Habits {
        drop: rng.below(31),
        duplicate: rng.below(11),
        delay: rng.below(21),
        replay: if forging { rng.below(16) } else { 0 },
        alter: if forging { rng.below(16) } else { 0 },
    }
}

impl World {
    /// Makes a fault happen now.
    pub(crate) fn inflict(&mut self, fault: Fault) {
        let app = match &fault {
            Fault::Cut { app, .. }
            | Fault::Partition { app, .. }
            | Fault::PartitionEnds { app }
            | Fault::Freeze { app, .. }
            | Fault::Thaw { app }
            | Fault::Crash { app }
            | Fault::SlowReader { app, .. }
            | Fault::SlowReaderEnds { app }
            | Fault::Hostile { app, .. }
            | Fault::HostileEnds { app } => Some(*app),
            Fault::NodeCrash { .. } | Fault::NodeStarts => None,
        };
        if app.is_some_and(|app| !self.apps[app].is_alive) {
            return;
        }
        let whom = app.map_or("node", |app| self.apps[app].label.as_str());
        self.trace
            .note(self.now, "fault", format!("{whom}: {}", describe(&fault)));
        match fault {
            Fault::Cut {
                app,
                node_notices_after,
            } => self.cut(app, node_notices_after),
            Fault::Partition { app, ways, time } => {
                for way in ways {
                    self.links[app].set_blocked(way, true);
                }
                self.expect_silence(app);
                self.plan(self.now + time, Happening::Fault(Fault::PartitionEnds { app }));
            }
            Fault::PartitionEnds { app } => self.unblock(app),
            Fault::Freeze { app, time } => self.freeze(app, time),
            Fault::Thaw { app } => self.thaw(app),
            Fault::Crash { app } => self.crash(app),
            Fault::NodeCrash { down } => self.crash_node(down),
            Fault::NodeStarts => self.node.is_up = true,
            Fault::SlowReader { app, reading, time } => {
                self.links[app].set_reading(reading);
                self.plan(self.now + time, Happening::Fault(Fault::SlowReaderEnds { app }));
            }
            Fault::SlowReaderEnds { app } => self.links[app].set_reading(Duration::ZERO),
            Fault::Hostile { app, habits, time } => {
                self.check.lossy = true;
                self.links[app].adversary = Some(Adversary::with_habits(habits));
                // The way leads through another node now: it is a new connection.
                self.cut(app, Duration::ZERO);
                self.plan(self.now + time, Happening::Fault(Fault::HostileEnds { app }));
            }
            Fault::HostileEnds { app } => self.end_hostility(app),
        }
    }

    /// Everything is well from now on: phase 2 begins.
    pub(crate) fn heal(&mut self) {
        self.trace.note(self.now, "heal", "everything heals".to_owned());
        self.node.is_up = true;
        for app in 0..self.apps.len() {
            if !self.apps[app].is_alive {
                continue;
            }
            self.unblock(app);
            self.links[app].set_reading(Duration::ZERO);
            // Retransmission timers may be shorter than a slow way: then nothing comes to rest.
            let speed = &mut self.links[app].speed;
            speed.latency = speed.latency.min(HEALTHY);
            speed.jitter = speed.jitter.min(HEALTHY);
            self.end_hostility(app);
            self.thaw(app);
        }
    }

    fn freeze(&mut self, app: usize, time: Duration) {
        if self.apps[app].is_frozen {
            return;
        }
        self.apps[app].is_frozen = true;
        self.check.frozen(self.now, app);
        self.expect_silence(app);
        self.plan(self.now + time, Happening::Fault(Fault::Thaw { app }));
    }

    /// What a process finds when it goes on: its timers are due, its sockets are full, or closed. Which of these it
    /// sees first is chance.
    fn thaw(&mut self, app: usize) {
        if !self.apps[app].is_frozen {
            return;
        }
        self.apps[app].is_frozen = false;
        self.check.thawed(self.now, app);
        if self.rng.below(2) == 0 {
            let now = self.clock();
            self.apps[app].timeout(now);
            self.after_app(app);
        }
        if self.links[app].app_end.is_some() && !self.links[app].is_whole() {
            self.lose_app_end(app);
        }
        self.connect(app);
        self.plan(self.now, Happening::Arrive { app, way: Way::Down });
        self.apps[app].wake = None;
        self.plan(self.now, Happening::WakeApp(app));
    }

    fn unblock(&mut self, app: usize) {
        for way in Way::BOTH {
            self.links[app].set_blocked(way, false);
            self.launch(app, way);
            self.plan(self.now, Happening::Arrive { app, way });
        }
    }

    fn crash(&mut self, app: usize) {
        self.apps[app].is_alive = false;
        self.check.app_crashed(app);
        let notices = Duration::from_millis(self.rng.below(20_000));
        self.cut(app, notices);
        self.links[app].app_end = None;
    }

    fn crash_node(&mut self, down: Duration) {
        if !self.node.is_up {
            return;
        }
        self.node.crash();
        self.node_run += 1;
        for app in 0..self.apps.len() {
            self.links[app].lose_all();
            self.links[app].node_end = None;
            if self.apps[app].is_running() {
                self.lose_app_end(app);
            }
        }
        self.plan(self.now + down, Happening::Fault(Fault::NodeStarts));
    }

    fn end_hostility(&mut self, app: usize) {
        if self.links[app].adversary.take().is_some() {
            self.cut(app, Duration::ZERO);
        }
    }

    fn expect_silence(&mut self, app: usize) {
        let generation = self.links[app].generation;
        self.plan(self.now + SILENCE_MAX, Happening::SilenceEnds { app, generation });
    }
}

fn describe(fault: &Fault) -> String {
    let seconds = |time: &Duration| format!("{:.1} s", time.as_secs_f64());
    match fault {
        Fault::Cut {
            node_notices_after, ..
        } if node_notices_after.is_zero() => "link cut".to_owned(),
        Fault::Cut {
            node_notices_after, ..
        } => format!("link cut, the node notices after {}", seconds(node_notices_after)),
        Fault::Partition { ways, time, .. } => format!("partition {ways:?} for {}", seconds(time)),
        Fault::PartitionEnds { .. } => "partition ends".to_owned(),
        Fault::Freeze { time, .. } => format!("frozen for {}", seconds(time)),
        Fault::Thaw { .. } => "goes on".to_owned(),
        Fault::Crash { .. } => "crashes".to_owned(),
        Fault::NodeCrash { down } => format!("crashes for {}", seconds(down)),
        Fault::NodeStarts => "starts again".to_owned(),
        Fault::SlowReader { reading, time, .. } => {
            format!(
                "reads a frame in {} ms for {}",
                reading.as_millis(),
                seconds(time)
            )
        }
        Fault::SlowReaderEnds { .. } => "reads fast again".to_owned(),
        Fault::Hostile { habits, time, .. } => {
            format!("behind a hostile node for {}: {habits:?}", seconds(time))
        }
        Fault::HostileEnds { .. } => "the hostile node is gone".to_owned(),
    }
}
