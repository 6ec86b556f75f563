//! The processes of the demonstration: started, listened to, ended.

use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Lines on their way to the screen; a process that writes more waits.
const LINES_MAX: usize = 1024;
/// Distinct on dark and light terminals.
const COLOURS: [&str; 5] = ["\x1b[36m", "\x1b[33m", "\x1b[32m", "\x1b[35m", "\x1b[34m"];
const PLAIN: &str = "\x1b[0m";

/// Shows and keeps what the processes write.
pub(super) struct Stage {
    begun: Instant,
    deadline: Instant,
    coloured: bool,
    lines: Receiver<Line>,
    sender: SyncSender<Line>,
    log: Vec<Line>,
    actors: Vec<&'static str>,
}

struct Line {
    actor: &'static str,
    text: String,
    shown: bool,
}

/// A process; ended when it is dropped.
pub(super) struct Actor {
    name: &'static str,
    child: Child,
}

impl Stage {
    /// A stage whose play must be over within `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        let (sender, lines) = sync_channel(LINES_MAX);
        let begun = Instant::now();
        Self {
            begun,
            deadline: begun + limit,
            coloured: std::io::stdout().is_terminal(),
            lines,
            sender,
            log: Vec::new(),
            actors: Vec::new(),
        }
    }

    /// Starts a process and shows what it writes to standard output.
    pub(super) fn start(&self, name: &'static str, command: &mut Command) -> Result<Actor> {
        self.spawn(name, command, true)
    }

    /// Starts a process whose output is only kept.
    pub(super) fn start_quietly(&self, name: &'static str, command: &mut Command) -> Result<Actor> {
        self.spawn(name, command, false)
    }

    fn spawn(&self, name: &'static str, command: &mut Command, shown: bool) -> Result<Actor> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env("PYTHONUNBUFFERED", "1")
            .spawn()
            .with_context(|| format!("start of {command:?}"))?;
        if let Some(output) = child.stdout.take() {
            self.listen(name, output, shown);
        }
        if let Some(output) = child.stderr.take() {
            self.listen(name, output, false);
        }
        Ok(Actor { name, child })
    }

    fn listen(&self, actor: &'static str, output: impl Read + Send + 'static, shown: bool) {
        let sender = self.sender.clone();
        thread::spawn(move || {
            for text in BufReader::new(output).lines().map_while(Result::ok) {
                // The stage is gone: nobody reads any more.
                if sender.send(Line { actor, text, shown }).is_err() {
                    return;
                }
            }
        });
    }

    /// Shows lines until this actor writes one with this text.
    pub(super) fn wait_for_line(&mut self, actor: &mut Actor, text: &str) -> Result<()> {
        let found = |line: &Line| line.actor == actor.name && line.text.contains(text);
        loop {
            // It may have come while the stage waited for another one.
            if self.log.iter().any(found) {
                return Ok(());
            }
            if !self.show_next()? && actor.child.try_wait()?.is_some() {
                bail!("{} ended without a line with {text:?}", actor.name);
            }
        }
    }

    /// Shows lines until this actor ends well.
    pub(super) fn wait_for_success(&mut self, actor: &mut Actor) -> Result<()> {
        loop {
            let came = self.show_next()?;
            // What it wrote last is shown before its end is looked at.
            if !came && let Some(status) = actor.child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("{} ended with {status}", actor.name);
            }
        }
    }

    /// Shows a line of our own.
    pub(super) fn say(&mut self, actor: &'static str, text: &str) {
        self.show(&Line {
            actor,
            text: text.to_owned(),
            shown: true,
        });
    }

    /// Everything that was written, by actor.
    pub(super) fn print_logs(&mut self) {
        while let Ok(line) = self.lines.try_recv() {
            self.log.push(line);
        }
        self.log.sort_by_key(|line| line.actor);
        for line in &self.log {
            println!("{}| {}", line.actor, line.text);
        }
    }

    /// Shows the next line; false if none came for a moment.
    fn show_next(&mut self) -> Result<bool> {
        if Instant::now() > self.deadline {
            bail!(
                "not over after {} s",
                self.deadline.duration_since(self.begun).as_secs()
            );
        }
        match self.lines.recv_timeout(Duration::from_millis(50)) {
            Ok(line) => {
                if line.shown {
                    self.show(&line);
                }
                self.log.push(line);
                Ok(true)
            }
            Err(RecvTimeoutError::Timeout) => Ok(false),
            // The stage itself holds a sender.
            Err(RecvTimeoutError::Disconnected) => bail!("nobody writes any more"),
        }
    }

    fn show(&mut self, line: &Line) {
        let index = self
            .actors
            .iter()
            .position(|actor| *actor == line.actor)
            .unwrap_or_else(|| {
                self.actors.push(line.actor);
                self.actors.len() - 1
            });
        let (colour, plain) = if self.coloured {
            (COLOURS[index % COLOURS.len()], PLAIN)
        } else {
            ("", "")
        };
        let seconds = self.begun.elapsed().as_secs_f64();
        println!("{seconds:6.2} s  {colour}{:<10}{plain} {}", line.actor, line.text);
    }
}

impl Actor {
    /// How it ended, if it did.
    pub(super) fn status(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Ends it.
    pub(super) fn stop(&mut self) {
        // Fails when it ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.stop();
    }
}
