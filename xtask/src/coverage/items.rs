//! The items of the tutorial: everything that it names or implies, with the numbers by which tests refer to them.

use std::ops::RangeInclusive;

use Priority::{P0, P1, P2};

/// One item.
pub(super) struct Item {
    /// The number behind `S-`.
    pub(super) id: u32,
    /// What works, in a few words.
    pub(super) what: &'static str,
    pub(super) priority: Priority,
    is_due: bool,
}

/// How much depends on an item.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Priority {
    /// The tutorial fails without it.
    P0,
    /// The tutorial names or implies it.
    P1,
    /// Reached only through a link in it.
    P2,
}

/// Items that belong together.
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) ids: RangeInclusive<u32>,
}

pub(super) const SECTIONS: [Section; 5] = [
    Section {
        title: "Node and configuration",
        ids: 1..=16,
    },
    Section {
        title: "Container, command line, log",
        ids: 20..=26,
    },
    Section {
        title: "The Python API of the two scripts",
        ids: 30..=50,
    },
    Section {
        title: "What the text promises",
        ids: 60..=68,
    },
    Section {
        title: "What it refers to",
        ids: 70..=80,
    },
];

impl Item {
    /// Whether it must have a test now.
    pub(super) fn is_due(&self) -> bool {
        self.is_due && self.priority != P2
    }

    /// What to say where there is no test.
    pub(super) fn absence(&self) -> &'static str {
        if self.is_due {
            "not there"
        } else {
            "comes with its own issue"
        }
    }
}

impl Priority {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::P0 => "P0",
            Self::P1 => "P1",
            Self::P2 => "P2",
        }
    }
}

pub(super) const ITEMS: [Item; 64] = [
    due(1, P0, "the tutorial's configuration loads as it is printed"),
    due(2, P0, "`tracing.log_level` filters what is logged"),
    due(3, P0, "`tracing.display_thread_names` shows or hides that column"),
    due(4, P0, "`tracing.display_thread_ids` shows or hides that column"),
    due(
        5,
        P0,
        "`runtime.n_cores`: 0 for all, 1 for a single thread, more than there are is clamped with a warning",
    ),
    due(6, P0, "`runtime.thread_name` is the name of the worker threads"),
    due(7, P0, "`runtime.drain_timeout` bounds the end of the process"),
    due(8, P0, "durations as text, both generations' units and sums"),
    due(
        9,
        P0,
        "service ids `slim/NAME`; another kind or no service is an error",
    ),
    due(
        10,
        P0,
        "`pubsub:` is accepted beside `dataplane:`, both at once are not",
    ),
    due(
        11,
        P0,
        "endpoints of listeners in every spelling; a port in use is named",
    ),
    due(
        12,
        P0,
        "`tls.insecure: true` is plain HTTP/2; a listener with neither it nor a certificate does not start",
    ),
    due(
        13,
        P0,
        "`clients: []`; unknown keys are refused with the nearest known one",
    ),
    due(14, P1, "three keys at the top and no other"),
    due(
        15,
        P1,
        "a configuration reference that is held against the parser",
    ),
    due(
        16,
        P1,
        "production: TLS, mutual TLS, authentication, authorization by name",
    ),
    later(20, P0, "the container image runs `/slim --config /config.yaml`"),
    due(21, P0, "`--config`, `-c`, `CONFIG`, `--version`, `-v`"),
    due(22, P0, "the format of a log line"),
    due(23, P0, "the six lines of a start, in order"),
    due(
        24,
        P1,
        "the listener's configuration in the fifth line, every field, no secret",
    ),
    due(25, P1, "nothing else on the main thread at level info"),
    due(26, P0, "SIGINT and SIGTERM drain and exit with 0"),
    due(30, P0, "all names that the scripts import"),
    due(
        31,
        P0,
        "`PyName`: three texts, an id, a text that serves as identity",
    ),
    due(
        32,
        P0,
        "shared secrets as identity; a wrong one is refused and said; the secret never travels",
    ),
    due(33, P0, "`Slim.new` makes an application without connecting"),
    due(
        34,
        P0,
        "`connect` with a dict; an error when nobody listens; dials again and subscribes again",
    ),
    due(
        35,
        P0,
        "`async with` starts and ends the delivery, not the connection",
    ),
    due(
        36,
        P0,
        "`PySessionConfiguration.Streaming` with the tutorial's arguments",
    ),
    due(
        37,
        P0,
        "`create_session` returns an info with an id that prints well",
    ),
    due(38, P0, "`set_route` for a name that is known, unknown or absent"),
    due(
        39,
        P0,
        "`invite` brings a member in, or fails in time and names the invitee",
    ),
    due(
        40,
        P0,
        "`publish` reaches every other member once, not the sender; an unknown session raises",
    ),
    due(41, P0, "`receive()` returns a new session with its first message"),
    due(
        42,
        P0,
        "`receive(session=id)` returns that session's next message, and its errors",
    ),
    due(
        43,
        P0,
        "`id` and `destination_name` of a received session serve to answer the group",
    ),
    due(44, P0, "the tutorial's scripts print what the tutorial shows"),
    due(45, P1, "Ctrl-C ends a program within a second"),
    due(
        46,
        P0,
        "the first message after an invitation is never lost, with or without the pause",
    ),
    due(47, P1, "either script may start first"),
    due(48, P1, "a script as printed defines `main` and does nothing"),
    due(49, P2, "type hints are not enforced"),
    due(50, P1, "`init_tracing` takes the tracing block"),
    later(60, P1, "names route through several nodes"),
    due(
        61,
        P1,
        "sessions are created, changed and ended by a moderator, and members are told",
    ),
    due(62, P1, "one message reaches many members"),
    due(
        63,
        P1,
        "nodes see no plaintext, on the wire or in memory; past and future members read nothing",
    ),
    due(
        64,
        P1,
        "each member is authenticated; a forged or expired identity does not join",
    ),
    due(65, P1, "an invitation alone tells session and channel"),
    due(66, P1, "applications need no process beside them"),
    due(67, P1, "several instances of one name, each with its own id"),
    later(68, P1, "a group over several nodes"),
    due(70, P1, "fire and forget, to any instance or to one, as a command"),
    due(71, P1, "request and reply, as a command"),
    due(72, P1, "a group chat, as a command"),
    due(73, P2, "a node inside a Python program, as a command"),
    due(
        74,
        P1,
        "JWT identities from a key or a file, with audience and key set",
    ),
    due(75, P2, "every option of the commands as an environment variable"),
    later(76, P1, "MCP over SLIM"),
    later(77, P1, "A2A over SLIM"),
    due(78, P1, "1:1 sessions with the same calls, encrypted too"),
    later(79, P2, "an image of our own name, also with a shell"),
    due(80, P2, "OpenTelemetry"),
];

const fn due(id: u32, priority: Priority, what: &'static str) -> Item {
    Item {
        id,
        what,
        priority,
        is_due: true,
    }
}

/// Comes with an issue of its own.
const fn later(id: u32, priority: Priority, what: &'static str) -> Item {
    Item {
        is_due: false,
        ..due(id, priority, what)
    }
}
