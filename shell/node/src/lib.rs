//! A running node: threads, link drivers, shutdown.
