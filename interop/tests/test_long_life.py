"""Encrypted sessions of both implementations past the hour that a credential lives, with an hour in a minute.

3.3.8 never replaces the credential in its leaf of the encrypted group, and judges the leaves of others at each message.
Ours replace theirs in time, and judge a leaf once, when it comes in. What follows from that is what these tests show;
docs/upstream-behaviours.md says it in words.
"""

import pytest
from faked_time import clock  # noqa: F401  (a fixture)
from peers import DEADLINE, OURS, UPSTREAM, PeerError

# In faked time: a third of a second.
INTERVAL_MS = 20_000
RETRIES = 5
CREDENTIAL_MINUTES = 60


class Circle:
    """The sessions of everybody in one group or pair, and who heard whom."""

    def __init__(self, sessions: list) -> None:
        self.sessions = sessions
        self.rounds = 0

    def heard(self, expected: set[tuple[str, str]]) -> set[tuple[str, str]]:
        """Everybody says something, 3.3.8 first, and it is waited for where it is expected; returns who heard whom.
        Nobody waits for the end of a publication: where one is not read, ours fails and that of 3.3.8 may never end."""
        self.rounds += 1
        speakers = sorted(self.sessions, key=lambda session: session.peer.kind != UPSTREAM)
        for session in speakers:
            session.peer.begin("publish", session=session.number, text=self.text(session))
        heard = set()
        for wait in (True, False):
            for speaker in speakers:
                for listener in self.sessions:
                    both = (last(speaker), last(listener))
                    if speaker is listener or (both in expected) != wait:
                        continue
                    if hears(listener, self.text(speaker), DEADLINE if wait else 0.1):
                        heard.add(both)
        return heard

    def text(self, session) -> str:
        return f"{session.peer.title} {self.rounds}"

    def everybody(self) -> set[tuple[str, str]]:
        return {(last(a), last(b)) for a in self.sessions for b in self.sessions if a is not b}

    def between(self, *kinds: str) -> set[tuple[str, str]]:
        """Pairs of speaker and listener of these kinds."""
        return {
            (last(a), last(b))
            for a in self.sessions
            for b in self.sessions
            if a is not b and (a.peer.kind, b.peer.kind) == kinds
        }


def last(session) -> str:
    return session.peer.name.rsplit("/", 1)[-1]


def hears(session, text: str, patience: float) -> bool:
    try:
        session.peer.wait_for("message", deadline=patience, session=session.number, text=text)
    except AssertionError:
        return False
    return True


def group(world, node, clock, name: str, kinds: list[str]) -> Circle:
    peers = [world.peer(kind, f"{name}-{number}", node, environment=clock.environment) for number, kind in enumerate(kinds)]
    moderator = peers[0].open("group", world.name(name), interval_ms=INTERVAL_MS, retries=RETRIES)
    return Circle([moderator, *(moderator.invite(peer) for peer in peers[1:])])


def pair(world, node, clock, name: str, kinds: list[str]) -> Circle:
    peers = [world.peer(kind, f"{name}-{number}", node, environment=clock.environment) for number, kind in enumerate(kinds)]
    initiator = peers[0].open("point_to_point", peers[1].name, interval_ms=INTERVAL_MS, retries=RETRIES)
    return Circle([initiator, peers[1].joined()])


def test_sessions_of_both_past_the_hour_of_a_credential(world, clock):  # noqa: F811
    node = world.node(OURS)
    ours = group(world, node, clock, "ours", [OURS, UPSTREAM, OURS, UPSTREAM])
    theirs = group(world, node, clock, "theirs", [UPSTREAM, OURS, UPSTREAM])
    pairs = [pair(world, node, clock, "call", [OURS, UPSTREAM]), pair(world, node, clock, "called", [UPSTREAM, OURS])]
    circles = [ours, theirs, *pairs]
    formed = clock.minutes()
    for minutes in (20, 40):
        clock.wait_until(formed + minutes)
        for circle in circles:
            everybody = circle.everybody()
            assert circle.heard(everybody) == everybody, f"at {minutes} minutes"
    clock.wait_until(formed + CREDENTIAL_MINUTES + 3)
    for circle in circles:
        # Whoever is ours hears everybody and is heard by everybody; of 3.3.8 nobody hears another.
        expected = circle.everybody() - circle.between(UPSTREAM, UPSTREAM)
        assert circle.heard(expected) == expected
    a_moderator_of_ours_goes_on(world, node, clock, ours)
    a_moderator_of_upstream_admits_nobody(world, node, clock, theirs)


def a_moderator_of_ours_goes_on(world, node, clock, circle: Circle) -> None:
    moderator = circle.sessions[0]

    def newcomer(kind: str, name: str):
        return world.peer(kind, name, node, environment=clock.environment)

    circle.sessions.append(moderator.invite(newcomer(OURS, "late")))
    expected = circle.everybody() - circle.between(UPSTREAM, UPSTREAM)
    assert circle.heard(expected) == expected
    late = newcomer(UPSTREAM, "later")
    with pytest.raises(PeerError, match="credentials that have expired.*remove and invite them again"):
        moderator.peer.ask("invite", session=moderator.number, name=late.name)
    # The remedy that the error names: out and in again, which is a new credential.
    old = [session for session in circle.sessions if session.peer.kind == UPSTREAM]
    for session in old:
        moderator.remove(session.peer)
        session.expect_closed()
        circle.sessions.remove(session)
    for peer in [*(session.peer for session in old), late]:
        circle.sessions.append(moderator.invite(peer))
    everybody = circle.everybody()
    assert circle.heard(everybody) == everybody


def a_moderator_of_upstream_admits_nobody(world, node, clock, circle: Circle) -> None:
    moderator = circle.sessions[0]
    vain = world.peer(OURS, "vain", node, environment=clock.environment)
    with pytest.raises(PeerError, match="token invalid"):
        moderator.peer.ask("invite", session=moderator.number, name=vain.name)
