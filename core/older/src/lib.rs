//! The older wires: 0.4 and 1.x, as a node serves them (wire-routing Part B, wire-1x).
//!
//! Applications of these generations cannot talk to those of others: headers, ids and sessions differ. So each dialect
//! has tables of its own, and a frame never leaves its dialect; equal names in two dialects are two names. That is why
//! this is a crate beside the router and not a case inside it: taking a generation out of service is deleting it here.
//!
//! [`OlderRouter`] is a plain state machine like the router: links come and go, frames come in, outputs go out. It has no
//! timers, since these wires have none that a node must keep. What is weak about them (0.4 carries shared secrets in clear
//! text, neither has tags or a hop budget) is for the shell to say.

mod dialect;
mod router;
mod table;
mod view;

pub use dialect::{Dialect, First};
pub use router::{Counters, OlderLink, OlderRouter, Output};
pub use view::{Key, Kind, LinkRequest, View, ViewError};
