//! A server without handlers: it gives every call to who asks for the next one, on whatever executor that runs.

use slim_rpc::MethodShape;
use tokio::sync::{mpsc, oneshot};

use super::served_call::IncomingCall;
use super::server_task::{NewCall, ServerCommand, ServerTask};
use crate::app::App;

/// Commands of handlers that wait for the server's task.
const COMMANDS_MAX: usize = 256;
/// Calls that wait to be taken; the task waits beyond it.
const CALLS_MAX: usize = 64;

/// Takes the calls of these methods, out of every session of an application that does not [`accept`](App::accept) itself.
/// Dropped, it stops as [`ServingShutdown::shut_down`] does, but nobody hears when that is done.
#[derive(Debug)]
pub struct Serving {
    commands: mpsc::Sender<ServerCommand>,
    calls: mpsc::Receiver<NewCall>,
}

/// Ends a [`Serving`] from elsewhere.
#[derive(Clone, Debug)]
pub struct ServingShutdown(mpsc::WeakSender<ServerCommand>);

impl Serving {
    /// Serves these methods (service, method and how many messages it takes and gives) from now on.
    pub fn start(app: &App, methods: impl IntoIterator<Item = (String, String, MethodShape)>) -> Self {
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let (sender, calls) = mpsc::channel(CALLS_MAX);
        let task = ServerTask::new(app.clone(), methods.into_iter(), queue, sender);
        app.spawn(task.run());
        Self { commands, calls }
    }

    /// The next call; `None` when the server has stopped or the application was closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<IncomingCall> {
        let call = self.calls.recv().await?;
        Some(IncomingCall::new(call, &self.commands))
    }

    /// What ends this.
    pub fn shutdown(&self) -> ServingShutdown {
        ServingShutdown(self.commands.downgrade())
    }
}

impl ServingShutdown {
    /// Running calls end with CANCELLED and new ones are not taken; resolves when that is said. Harmless twice.
    pub async fn shut_down(&self) {
        let Some(commands) = self.0.upgrade() else { return };
        let (done, stopped) = oneshot::channel();
        if commands.send(ServerCommand::ShutDown { done }).await.is_ok() {
            let _ = stopped.await;
        }
    }
}
