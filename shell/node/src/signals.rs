//! The signals of a node: SIGINT and SIGTERM stop it, also as process 1 of a container; SIGHUP has it read its
//! configuration again.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens from its construction on. Process 1 has no default reaction to signals, so build it first.
#[cfg(unix)]
#[derive(Debug)]
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

#[cfg(unix)]
impl StopSignals {
    /// Installs the handlers.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The name of the next signal.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// The signal that asks for another look at the configuration: SIGHUP. Without a listener it would end the process,
/// so build it early.
#[cfg(unix)]
#[derive(Debug)]
pub struct ReloadSignal(Signal);

#[cfg(unix)]
impl ReloadSignal {
    /// Installs the handler.
    pub fn install() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Returns when it was sent.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}

/// Systems without signals never ask.
#[cfg(not(unix))]
#[derive(Debug)]
pub struct ReloadSignal;

#[cfg(not(unix))]
impl ReloadSignal {
    /// Nothing to install.
    pub fn install() -> io::Result<Self> {
        Ok(Self)
    }

    /// Never returns.
    pub async fn next(&mut self) {
        std::future::pending().await
    }
}

/// Systems without signals have Ctrl-C only.
#[cfg(not(unix))]
#[derive(Debug)]
pub struct StopSignals;

#[cfg(not(unix))]
impl StopSignals {
    /// Nothing to install.
    pub fn install() -> io::Result<Self> {
        Ok(Self)
    }

    /// The name of the next signal.
    pub async fn next(&mut self) -> &'static str {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "Ctrl-C"
    }
}
