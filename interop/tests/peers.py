"""Processes of the tests: applications of either implementation behind one interface, and nodes.

Nothing sleeps: every wait is for a line of a process, or for a port to open, with a deadline.
"""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "target"
NODE = os.environ.get("SLIM_NODE", str(TARGET / "debug/slim"))
PEER = os.environ.get("SLIM_PEER", str(TARGET / "debug/examples/peer"))
OUR_PYTHON = os.environ.get("SLIM_PYTHON", str(TARGET / "venv/bin/python"))
UPSTREAM_PYTHON = os.environ.get("SLIM_UPSTREAM_PYTHON", str(TARGET / "venv-upstream/bin/python"))

SECRET = "an interoperability secret of more than 32 bytes"
# Far beyond what anything takes that works, on a busy machine.
DEADLINE = 20.0
INTERVAL_MS = 1000
RETRIES = 10

# For every child; the applications of the published package colour their log otherwise.
SETTINGS = {"NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}

OURS = "ours"
OUR_PACKAGE = "our package"
UPSTREAM = "3.3.8"
V220 = "2.2.0"
V141 = "1.4.1"
V101 = "1.0.1"
V041 = "0.4.1"

# The environments of earlier releases.
EARLIER_PYTHON = {
    V220: os.environ.get("SLIM_PYTHON_220", str(TARGET / "venv-220/bin/python")),
    V141: os.environ.get("SLIM_PYTHON_14", str(TARGET / "venv-14/bin/python")),
    V101: os.environ.get("SLIM_PYTHON_10", str(TARGET / "venv-10/bin/python")),
    V041: os.environ.get("SLIM_PYTHON_041", str(TARGET / "venv-041/bin/python")),
}

# How an application of each kind is started.
PROGRAMS = {
    OURS: [PEER],
    OUR_PACKAGE: [OUR_PYTHON, str(ROOT / "interop/peer_package.py")],
    UPSTREAM: [UPSTREAM_PYTHON, str(ROOT / "interop/peer_338.py")],
    V220: [EARLIER_PYTHON[V220], str(ROOT / "interop/peer_338.py")],
    V141: [EARLIER_PYTHON[V141], str(ROOT / "interop/peer_1x.py")],
    V101: [EARLIER_PYTHON[V101], str(ROOT / "interop/peer_1x.py")],
    V041: [EARLIER_PYTHON[V041], str(ROOT / "interop/peer_041.py")],
}


def require_earlier(kind: str) -> str:
    """The Python of an earlier release. By hand a test may do without; where somebody names one, it has to be there."""
    python = EARLIER_PYTHON[kind]
    if not Path(python).exists():
        absent = f"slim-bindings {kind} is not installed: {python} is absent (interop/README.md says how)"
        assert python not in os.environ.values(), absent
        pytest.skip(absent)
    return python


class PeerError(Exception):
    """The peer answered a request with an error."""


@dataclasses.dataclass
class Session:
    """One application's view of a session."""

    peer: "Peer"
    number: int

    def invite(self, invitee: "Peer") -> "Session":
        """Invites and returns the invitee's session."""
        position = invitee.position()
        self.peer.ask("invite", session=self.number, name=invitee.name)
        return invitee.joined(after=position)

    def remove(self, member: "Peer") -> None:
        self.peer.ask("remove", session=self.number, name=member.name)

    def publish(self, text: str, to: "Peer | None" = None, metadata: dict[str, str] | None = None) -> None:
        destination = {"to": to.name} if to else {}
        self.peer.ask("publish", session=self.number, text=text, metadata=metadata or {}, **destination)

    def expect(self, text: str, sender: "Peer", direct: bool = False) -> dict:
        """Waits for a message and checks who sent it; `wrong` messages cannot pass for it."""
        event = self.peer.wait_for("message", session=self.number, text=text)
        assert event["source"] == sender.full_name, event
        # 0.4.1 does not say it.
        assert event.get("direct", direct) == direct, event
        return event

    def expect_one_of(self, texts: list[str], deadline: float = DEADLINE) -> None:
        """Waits for a message with any of these texts."""
        self.peer.wait_until(lambda: not set(texts).isdisjoint(self.texts()), f"any of {texts}", deadline)

    def texts(self) -> list[str]:
        """Every message so far, in order."""
        events = self.peer.events_of("message", session=self.number)
        return [event["text"] for event in events]

    def close(self) -> None:
        self.peer.ask("close", session=self.number)

    def expect_closed(self, after: int = 0) -> dict:
        return self.peer.wait_for("closed", after=after, session=self.number)

    def member_names(self) -> set[str]:
        members = self.peer.ask("members", session=self.number)["members"]
        return {member["name"] for member in members if member["online"]}


def everybody_hears_everybody(sessions: list[Session], occasion: str) -> None:
    for sender in sessions:
        text = f"{occasion} from {sender.peer.full_name}"
        sender.publish(text)
        for receiver in sessions:
            if receiver is not sender:
                receiver.expect(text, sender.peer)


class Process:
    """A child with its log; the log is what a failed test prints."""

    def __init__(
        self, title: str, command: list[str], environment: dict[str, str], stdin: int, one_stream: bool = False
    ) -> None:
        self.title = title
        self.log: list[str] = []
        self._changed = threading.Condition()
        self.child = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if one_stream else subprocess.PIPE,
            text=True,
            env={**os.environ, **SETTINGS, **environment},
        )
        log = self.child.stderr or self.child.stdout
        self.readers = [threading.Thread(target=self._read_log, args=(log,), daemon=True)]
        self.readers[0].start()

    def _read_log(self, stream) -> None:
        for line in stream:
            self._note(line.rstrip("\n"))

    def _note(self, line: str) -> None:
        with self._changed:
            self.log.append(line)
            self._changed.notify_all()

    def wait_for_line(self, text: str, count: int = 1, deadline: float = DEADLINE) -> None:
        """Waits until the log holds this text `count` times."""
        end = time.monotonic() + deadline
        with self._changed:
            while sum(text in line for line in self.log) < count:
                left = end - time.monotonic()
                assert left > 0, f"{self.title}: no {count} lines with {text!r} for {deadline} s"
                self._changed.wait(left)

    def stop(self) -> None:
        self.child.send_signal(signal.SIGCONT)
        if self.child.stdin:
            try:
                self.child.stdin.close()
            except BrokenPipeError:
                pass  # it is gone already
        else:
            self.child.terminate()
        try:
            self.child.wait(5)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        for reader in self.readers:
            reader.join()

    def kill(self) -> None:
        """Without a chance to say goodbye."""
        self.child.kill()
        self.child.wait()

    def report(self, lines: int = int(os.environ.get("PEER_LOG_LINES", "150"))) -> str:
        return f"----- {self.title}\n" + "\n".join(self.log[-lines:])


class Peer(Process):
    """An application of any implementation."""

    def __init__(self, kind: str, name: str, environment: dict[str, str] | None = None) -> None:
        if kind in EARLIER_PYTHON:
            require_earlier(kind)
        settings = {"RUST_LOG": os.environ.get("PEER_LOG", "info")} if kind == OURS else {}
        super().__init__(f"{name} ({kind})", PROGRAMS[kind], {**settings, **(environment or {})}, subprocess.PIPE)
        self.kind = kind
        self.name = name
        self.full_name = ""
        self.events: list[dict] = []
        self._answers: dict[int, dict] = {}
        self._requests = 0
        self._ended = False
        self.readers.append(threading.Thread(target=self._read_output, daemon=True))
        self.readers[-1].start()

    def start(
        self,
        endpoint: str | None,
        secret: str = SECRET,
        settings: dict | None = None,
        configured: bool = False,
        **identity: object,
    ) -> "Peer":
        """Creates the application and connects it; `settings` are the keys of a client's configuration. `configured`
        waits for the connection that the configuration file of a process of the published package asks for."""
        if not identity.keys() & {"jwt", "spire"}:
            identity["secret"] = secret
        self.full_name = self.ask("app", name=self.name, **identity)
        if endpoint:
            how = {"configured": True} if configured else {"settings": settings} if settings else {}
            self.ask("connect", endpoint=endpoint, **how)
        return self

    def ask(self, operation: str, deadline: float = DEADLINE, **arguments) -> object:
        """Performs an operation and returns its result."""
        return self.answer(self.begin(operation, **arguments), deadline)

    def begin(self, operation: str, **arguments) -> int:
        """Starts an operation."""
        self._requests += 1
        request = {"id": self._requests, "op": operation, **arguments}
        line = json.dumps(request) + "\n"
        self._note_exchange(">", line)
        self.child.stdin.write(line)
        self.child.stdin.flush()
        return self._requests

    def answer(self, request: int, deadline: float = DEADLINE) -> object:
        answer = self._wait(lambda: self._answers.get(request), f"answer to request {request}", deadline)
        if "error" in answer:
            raise PeerError(f"{self.title}: {answer['error']}")
        return answer["ok"]

    def open(
        self,
        kind: str,
        destination: str,
        mls: bool = True,
        reliable: bool = True,
        interval_ms: int = INTERVAL_MS,
        retries: int = RETRIES,
    ) -> Session:
        number = self.ask(
            "open",
            kind=kind,
            destination=destination,
            mls=mls,
            reliable=reliable,
            interval_ms=interval_ms,
            retries=retries,
        )
        return Session(self, number)

    def wait_until(self, is_so: Callable[[], bool], what: str, deadline: float = DEADLINE) -> None:
        """Asks again after every event."""
        self._wait(lambda: {} if is_so() else None, what, deadline)

    def position(self) -> int:
        """Events so far, to wait for one that comes later."""
        with self._changed:
            return len(self.events)

    def joined(self, after: int = 0) -> Session:
        """The next session that somebody else opened."""
        return Session(self, self.wait_for("session", after=after)["session"])

    def wait_for(self, event: str, after: int = 0, deadline: float = DEADLINE, **fields) -> dict:
        """The first such event from position `after` on."""
        return self._wait(
            lambda: next(iter(self._matching(event, after, fields)), None), f"event {event} {fields}", deadline
        )

    def hears(self, event: str, within: float, after: int = 0, **fields) -> bool:
        """Whether such an event comes in so many seconds."""
        try:
            self.wait_for(event, after, within, **fields)
        except AssertionError:
            return False
        return True

    def events_of(self, event: str, after: int = 0, **fields) -> list[dict]:
        with self._changed:
            return self._matching(event, after, fields)

    def _matching(self, event: str, after: int, fields: dict) -> list[dict]:
        wanted = {"event": event, **fields}
        return [seen for seen in self.events[after:] if wanted.items() <= seen.items()]

    def _wait(self, find: Callable[[], dict | None], what: str, deadline: float) -> dict:
        end = time.monotonic() + deadline
        with self._changed:
            while (found := find()) is None:
                left = end - time.monotonic()
                if left <= 0 or self._ended:
                    state = "process ended" if self._ended else f"nothing for {deadline} s"
                    raise AssertionError(f"{self.title}: no {what}: {state}")
                self._changed.wait(left)
            return found

    def _read_output(self) -> None:
        for line in self.child.stdout:
            message = json.loads(line)
            self._note_exchange("<", line)
            with self._changed:
                if "id" in message:
                    self._answers[message["id"]] = message
                else:
                    self.events.append(message)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _note_exchange(self, direction: str, line: str) -> None:
        # Payloads may be megabytes.
        self._note(f"{time.strftime('%H:%M:%S')} {direction} {line.rstrip():.400}")

    def pause(self) -> None:
        """Stops the process like a lost network or a sleeping laptop would."""
        self.child.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.child.send_signal(signal.SIGCONT)


class Program(Process):
    """An example application of the published package, as it is; the output is the log."""

    def __init__(self, script: str, *arguments: str) -> None:
        command = [str(Path(UPSTREAM_PYTHON).parent / script), *arguments]
        super().__init__(" ".join([script, *arguments]), command, {}, subprocess.PIPE, one_stream=True)

    def stop(self) -> None:
        # The examples wait for a person; nothing in them is worth a graceful end.
        self.child.kill()
        super().stop()

    def type(self, line: str) -> None:
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()


class OurNode(Process):
    """The binary `slim`."""

    def __init__(self, folder: Path, port: int | None = None, **settings: object) -> None:
        self.port = port or free_port()
        config = folder / f"node-{self.port}.yaml"
        # Where listeners check who dials, our node also asks who may use which name.
        config.write_text(node_configuration(self.port, **({"authorization": {"default": "allow"}} | settings)))
        level = os.environ.get("NODE_LOG", "info")
        command = [NODE, "--config", str(config)]
        super().__init__("our node", command, {"RUST_LOG": level}, subprocess.DEVNULL, one_stream=True)
        self.endpoint = endpoint(self.port, **settings)
        wait_for_listener(self.endpoint, self.port, self)


class UpstreamNode(Peer):
    """The node that the published package runs itself."""

    def __init__(self, folder: Path, **settings: object) -> None:
        port = free_port()
        config = folder / f"upstream-{port}.yaml"
        config.write_text(node_configuration(port, **settings))
        super().__init__(UPSTREAM, "org/ns/upstream-node", {"PEER_CONFIG": str(config)})
        self.endpoint = endpoint(port, **settings)
        wait_for_listener(self.endpoint, port, self)


def node_configuration(
    port: int,
    tls: dict | None = None,
    enforce_pqc: bool = False,
    auth: dict | None = None,
    authorization: dict | None = None,
    legacy: bool = True,
    transport: str | None = None,
) -> str:
    """A file that both nodes understand, but for `authorization` and `legacy`, which are ours alone; JSON is YAML."""
    where = endpoint(port, transport=transport) if transport else f"127.0.0.1:{port}"
    server = {"endpoint": where, "tls": tls or {"insecure": True}} | ({"auth": auth} if auth else {})
    server |= {} if legacy else {"legacy": False}
    dataplane = {"servers": [server], "clients": []} | ({"enforce_pqc": True} if enforce_pqc else {})
    service = {"dataplane": dataplane} | ({"authorization": authorization} if authorization else {})
    return json.dumps({"services": {"slim/0": service}}, indent=1)


def endpoint(port: int, tls: dict | None = None, transport: str | None = None, **_settings: object) -> str:
    """`transport` is `ws` or `wss`, with a path of their own, or `unix`; TCP and gRPC are what nodes have otherwise."""
    if transport == "unix":
        return f"unix://{tempfile.gettempdir()}/slim-{os.getpid()}-{port}"
    if transport:
        return f"{transport}://127.0.0.1:{port}/slim"
    return f"{'https' if tls else 'http'}://127.0.0.1:{port}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_listener(endpoint: str, port: int, process: Process) -> None:
    if not endpoint.startswith("unix://"):
        return wait_for_port(port, process)
    end = time.monotonic() + DEADLINE
    while not Path(endpoint.removeprefix("unix://")).is_socket():
        alive = process.child.poll() is None
        assert alive and time.monotonic() < end, f"{process.title} does not listen\n{process.report()}"
        threading.Event().wait(0.02)


def wait_for_port(port: int, process: Process) -> None:
    end = time.monotonic() + DEADLINE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            alive = process.child.poll() is None
            assert alive and time.monotonic() < end, f"{process.title} does not listen\n{process.report()}"
            # There is no event for "somebody else's port opened".
            threading.Event().wait(0.02)
