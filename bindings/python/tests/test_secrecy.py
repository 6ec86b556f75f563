"""What a node, and everybody on the way to it, sees of an encrypted group."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
from pathlib import Path
from types import TracebackType

import memory
import pytest
from support import SECRET, TESTS, Node, Process, python

MARKER = b"marker-4f1c9d"
TEXTS = [f"{kind} {MARKER.decode()}" for kind in ("to all", "to one", "answer")]


class Recorder:
    """A TCP proxy in front of a node that keeps every byte of both directions."""

    def __init__(self, port: int) -> None:
        self._node = port
        self._recorded = bytearray()
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def recorded(self) -> bytes:
        with self._lock:
            return bytes(self._recorded)

    def __enter__(self) -> Recorder:
        self._threads[0].start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for connection in (self._listener, *self._sockets):
            # Wakes the thread that sits in accept or recv.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            node = socket.create_connection(("127.0.0.1", self._node))
            self._sockets += [client, node]
            for source, target in ((client, node), (node, client)):
                thread = threading.Thread(target=self._copy, args=(source, target))
                self._threads.append(thread)
                thread.start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                with self._lock:
                    self._recorded += data
                target.sendall(data)
        except OSError:
            return


def tell(process: Process, **command: object) -> None:
    """Gives a member a command and waits until it is done."""
    process.write(json.dumps(command))
    process.wait_for_line(json.dumps({"done": command["do"]}))


def conversation(node: Node, mls: bool) -> bytes:
    """What passes the node while two processes exchange the marker: to all, to one, and back."""
    with Recorder(node.port) as recorder:
        # Names that no other test has: an invitation reaches any instance of a name.
        names = [f"recorded-{name}-{mls}" for name in ("alice", "bob")]
        member = (str(TESTS / "member.py"), recorder.endpoint)
        with python(*member, names[0], stdin=True) as alice, python(*member, names[1], stdin=True) as bob:
            for process in (alice, bob):
                process.wait_for_line("ready")
            tell(alice, do="open", invite=[names[1]], mls=mls)
            tell(alice, do="publish", texts=[TEXTS[0]])
            bob.wait_for_line(TEXTS[0])
            tell(alice, do="whisper", to=names[1], text=TEXTS[1])
            bob.wait_for_line(TEXTS[1])
            tell(bob, do="publish", texts=[TEXTS[2]])
            alice.wait_for_line(TEXTS[2])
            tell(alice, do="close")
            bob.wait_for_line("closed by its moderator")
            for process in (alice, bob):
                process.write(json.dumps({"do": "exit"}))
                assert process.wait() == 0, process.output
        return recorder.recorded


def test_s32_s63_no_byte_through_the_node_shows_text_or_secret_of_an_encrypted_group(node: Node) -> None:
    recorded = conversation(node, mls=True)
    # The names are in clear, so the recorder was at the right place.
    assert b"alice" in recorded
    assert MARKER not in recorded
    assert SECRET.encode() not in recorded


def test_s63_without_encryption_the_recorder_sees_the_text(node: Node) -> None:
    recorded = conversation(node, mls=False)
    # Each text went to the node and from there to the other process.
    assert recorded.count(MARKER) >= 2 * len(TEXTS)
    assert SECRET.encode() not in recorded


def memory_with_messages_for_a_stopped_member(node: Node, mls: bool, *needles: bytes) -> set[bytes]:
    """What the node's memory shows while it holds more messages for a member than fit on the way to it."""
    names = [f"held-{name}-{mls}" for name in ("alice", "bob")]
    member = (str(TESTS / "member.py"), node.endpoint)
    with python(*member, names[0], stdin=True) as alice, python(*member, names[1], stdin=True) as bob:
        for process in (alice, bob):
            process.wait_for_line("ready")
        tell(alice, do="open", invite=[names[1]], mls=mls)
        tell(alice, do="publish", texts=[TEXTS[0]])
        bob.wait_for_line(TEXTS[0])
        bob.signal(signal.SIGSTOP)
        # Enough to fill every buffer between node and member.
        tell(alice, do="flood", text=TEXTS[1], padding=200_000, count=40)
        seen: set[bytes] = set()
        for _ in range(10):
            # Again and again, while messages come and wait.
            seen |= memory.found(node.pid, *needles, names[1].encode())
        bob.signal(signal.SIGCONT)
        bob.wait_for_line(TEXTS[1])
        assert names[1].encode() in seen, "the name is in clear, so this is the memory of the node that knows it"
        return seen - {names[1].encode()}


@pytest.mark.parametrize("mls", [True, False], ids=lambda mls: f"mls={mls}")
def test_s63_the_memory_of_a_node_holds_no_text_of_an_encrypted_group(tmp_path: Path, mls: bool) -> None:
    # A node of its own: freed memory may still hold what other tests sent in clear.
    with Node(tmp_path) as node:
        if not memory.is_readable(node.pid):
            pytest.skip("this machine does not let us read the memory of another process (ptrace)")
        seen = memory_with_messages_for_a_stopped_member(node, mls, MARKER, b"x" * 1000, SECRET.encode())
    # Without encryption the same search finds the text, so it would find it with encryption too.
    assert seen == (set() if mls else {MARKER, b"x" * 1000})
