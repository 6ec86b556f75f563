//! What is on the wire: names, frames, typed messages, limits and time types.
