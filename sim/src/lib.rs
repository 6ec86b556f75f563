//! Deterministic simulator: whole networks of real routers and endpoints in one thread.
