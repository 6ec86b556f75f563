"""A group of twenty members in twenty processes, from the first invitation to the end."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator

from support import DEADLINE, TESTS, python

SIZE = 20
TEXTS = 5
#: Three heartbeats of ten seconds without a word, and the check after them.
OFFLINE_SECONDS = 45.0


class Member:
    """One process of the group."""

    def __init__(self, endpoint: str, name: str) -> None:
        self.name = name
        self.process = python(str(TESTS / "member.py"), endpoint, name, stdin=True)

    def do(self, what: str, **arguments: object) -> None:
        self.process.write(json.dumps({"do": what, **arguments}))

    def told(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.process.lines if line.startswith("{")]

    def heard(self) -> dict[str, list[str]]:
        """What it heard of each sender, in order."""
        heard: dict[str, list[str]] = {}
        for item in self.told():
            if "message" in item:
                heard.setdefault(item["sender"], []).append(item["message"])
        return heard

    def wait_until(self, what: str, condition: Callable[[list[dict[str, str]]], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition(self.told()):
            assert time.monotonic() < deadline, f"{self.name}: {what}; the output is:\n{self.process.output}"
            time.sleep(0.05)

    def wait_for_messages(self, count: int) -> None:
        def are_there(told: list[dict[str, str]]) -> bool:
            return sum("message" in item for item in told) >= count

        self.wait_until(f"{count} messages expected", are_there, DEADLINE)

    def wait_for(self, seconds: float = DEADLINE, **item: str) -> None:
        self.wait_until(f"no {item}", lambda told: any(item.items() <= entry.items() for entry in told), seconds)


@contextlib.contextmanager
def members(endpoint: str) -> Iterator[list[Member]]:
    with contextlib.ExitStack() as stack:
        everybody = []
        for number in range(SIZE):
            member = Member(endpoint, f"member{number:02}")
            stack.callback(member.process.close)
            everybody.append(member)
        for member in everybody:
            member.wait_for(ready=member.name)
        yield everybody


def test_s40_s61_s62_a_group_of_twenty_processes_from_beginning_to_end(endpoint: str) -> None:
    with members(endpoint) as everybody:
        moderator, *participants = everybody

        # Everybody joins, and hears everybody exactly once and in order.
        moderator.do("open", invite=[member.name for member in participants])
        moderator.wait_for(2 * DEADLINE, done="open")
        moderator.do("publish", texts=["welcome"])
        for member in participants:
            member.wait_for(message="welcome")
        texts = {member.name: [f"{member.name} says {number}" for number in range(TEXTS)] for member in everybody}
        for member in everybody:
            member.do("publish", texts=texts[member.name])
        for member in everybody:
            member.wait_for(done="publish")
            expected = {name: said for name, said in texts.items() if name != member.name}
            if member is not moderator:
                expected[moderator.name] = ["welcome", *expected[moderator.name]]
            member.wait_for_messages(sum(len(said) for said in expected.values()))
            assert member.heard() == expected

        # One is removed, one leaves, one is killed: the others are told, and those three are out.
        *rest, removed, leaving, killed = participants
        rest.insert(0, moderator)
        moderator.do("remove", name=removed.name)
        removed.wait_for(closed="this member was removed by the moderator")
        leaving.do("leave")
        leaving.wait_for(closed="closed by this application")
        killed.process.signal(signal.SIGKILL)
        for member in rest:
            member.wait_for(event="left", member=removed.name)
            member.wait_for(event="left", member=leaving.name)
        for member in rest:
            member.wait_for(OFFLINE_SECONDS, event="offline", member=killed.name)
        moderator.do("publish", texts=["to those who are left"])
        for member in rest[1:]:
            member.wait_for(message="to those who are left")
        # Exactly once: half a minute later nothing of the first round has come again.
        for member in rest:
            told_twice = [said for said in member.heard().values() if len(said) != len(set(said))]
            assert not told_twice
        for member in (removed, leaving):
            assert "to those who are left" not in member.process.output

        # The moderator closes, and everybody's receive ends.
        moderator.do("close")
        moderator.wait_for(closed="closed by this application")
        for member in rest[1:]:
            member.wait_for(closed="closed by its moderator")
        for member in everybody:
            if member is not killed:
                member.do("exit")
                assert member.process.wait() == 0, member.process.output
                assert "Traceback" not in member.process.output, member.process.output
