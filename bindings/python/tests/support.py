"""What the tests share: a node to talk to, applications, and the patience to wait for events."""

from __future__ import annotations

import asyncio
import datetime
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import slim_bindings
from slim_bindings import (
    PyIdentityProvider,
    PyIdentityVerifier,
    PyName,
    PySessionConfiguration,
    PySessionDirection,
    PySessionInfo,
    Slim,
)

T = TypeVar("T")

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parents[2]
SECRET = "tests share this secret of at least 32 bytes"

#: No test waits longer than this for anything, on a machine that does other work too.
DEADLINE = 60.0

CONFIGURATION = """\
tracing:
  log_level: info
services:
  slim/0:
    dataplane:
      servers:
        - endpoint: "127.0.0.1:{port}"
          tls:
            insecure: true
      clients: []
"""


def node_binary() -> Path:
    """The node to test against."""
    named = os.environ.get("SLIM_BIN") or os.environ.get("SLIM_NODE")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    binary = Path(named) if named else target / "debug" / "slim"
    if not binary.exists():
        raise FileNotFoundError(f"{binary}: build it with `cargo build -p slim-cli`, or set SLIM_BIN")
    return binary


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A child process whose output is collected line by line."""

    def __init__(self, command: list[str], environment: dict[str, str] | None = None, stdin: bool = False) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        with self._changed:
            return "\n".join(self.lines)

    def write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def wait_for_line(self, text: str, seconds: float = DEADLINE) -> str:
        """The first line with this text."""
        deadline = time.monotonic() + seconds
        looked_at = 0
        with self._changed:
            while True:
                for line in self.lines[looked_at:]:
                    if text in line:
                        return line
                looked_at = len(self.lines)
                left = deadline - time.monotonic()
                if left <= 0 or (self._process.poll() is not None and not self._reader.is_alive()):
                    raise AssertionError(f"no line with {text!r}; the output is:\n" + "\n".join(self.lines))
                self._changed.wait(min(left, 0.2))

    def wait(self, seconds: float = DEADLINE) -> int:
        """The exit code, once all output was read."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s; the output is:\n{self.output}") from None
        self._reader.join(seconds)
        return code

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def close(self) -> None:
        """Ends it, however it is."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()


class Node(Process):
    """A running node. Leaves the configuration file to its caller's folder."""

    def __init__(self, folder: Path, configuration: str | None = None, port: int | None = None) -> None:
        self.port = port or free_port()
        path = folder / f"node-{self.port}.yaml"
        path.write_text(configuration or CONFIGURATION.format(port=self.port))
        super().__init__([str(node_binary()), "--config", str(path)])
        self._wait_until_it_listens()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.02)
        self.close()
        raise AssertionError(f"the node does not listen; its output is:\n{self.output}")


def python(*arguments: str, environment: dict[str, str] | None = None, stdin: bool = False) -> Process:
    """A Python process with the interpreter of the tests."""
    return Process([sys.executable, *arguments], environment, stdin)


def run(coroutine: Coroutine[Any, Any, T], seconds: float = DEADLINE) -> T:
    """Runs a test's coroutine in a loop of its own, with a deadline."""

    async def bounded() -> T:
        return await asyncio.wait_for(coroutine, seconds)

    return asyncio.run(bounded())


def identity(
    name: PyName, secret: str = SECRET
) -> tuple[PyIdentityProvider.SharedSecret, PyIdentityVerifier.SharedSecret]:
    """What an application presents and how it checks others."""
    provider = PyIdentityProvider.SharedSecret(identity=str(name), shared_secret=secret)
    return provider, PyIdentityVerifier.SharedSecret(identity=str(name), shared_secret=secret)


async def application(endpoint: str | None, application: str, secret: str = SECRET, **keywords: Any) -> Slim:
    """An application, connected unless there is no endpoint: those of one process need none."""
    name = PyName("org", "tests", application)
    app = await Slim.new(name, *identity(name, secret), **keywords)
    if endpoint is not None:
        await app.connect({"endpoint": endpoint, "tls": {"insecure": True}})
    return app


def streaming(channel: PyName, **keywords: Any) -> slim_bindings.PySessionConfiguration.Streaming:
    """A moderator's configuration."""
    settings: dict[str, Any] = {
        "moderator": True,
        "max_retries": 5,
        "timeout": datetime.timedelta(seconds=1),
        "mls_enabled": True,
    }
    settings.update(keywords)
    return PySessionConfiguration.Streaming(PySessionDirection.BIDIRECTIONAL, topic=channel, **settings)


CHANNEL = PyName("org", "tests", "channel")


async def group(moderator: Slim, *members: Slim, **keywords: Any) -> PySessionInfo:
    """A group of these applications; the others have not received anything yet."""
    info = await moderator.create_session(streaming(CHANNEL, **keywords))
    for member in members:
        await moderator.invite(info, member.local_name)
    return info


async def greeted(moderator: Slim, info: PySessionInfo, *members: Slim) -> list[PySessionInfo]:
    """Lets the members learn of the session; returns their infos. They must be inside `async with`."""
    await moderator.publish(info, b"welcome", CHANNEL)
    infos = []
    for member in members:
        session, first = await member.receive()
        again, same = await member.receive(session=session.id)
        assert (first, same) == (b"welcome", b"welcome")
        infos.append(again)
    return infos
