//! Deterministic simulator: whole networks of real routers and endpoints in one thread.
//!
//! Everything follows from a seed: applications, links, workload, faults. Time is virtual, so an hour of heartbeats
//! takes milliseconds. [`run_seed`] runs one network and checks it after every step and at rest; [`run_scenario`]
//! runs a text that people can read. What the links can do and what is checked: `docs/simulator.md`.

mod adversary;
mod app;
mod check;
mod faults;
mod intruder;
mod net;
mod node;
mod plan;
mod run;
mod scenario;
mod trace;
mod workload;
mod world;

pub use run::{Failure, Report, run_day, run_seed};
pub use scenario::{ScenarioError, run_scenario};
