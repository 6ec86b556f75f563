"""The life of a group of 0.4.1, whose calls return before anything happened on the wire and whose members are told
neither that they joined, nor that they were removed, nor that a session ended: everything is learnt from messages.
"""

import time
from collections.abc import Iterator

from cells import Cell
from peers import DEADLINE, INTERVAL_MS, Peer, Session, everybody_hears_everybody

RETRIES = 5


class TutorialLife:
    """One cell's applications and session. There is no step with losses: the proxy does not read this wire."""

    def __init__(self, world, cell: Cell, _seed: int) -> None:
        self.world, self.cell = world, cell
        self.node = world.node(cell.node)

    def steps(self) -> Iterator[str]:
        cell = self.cell
        moderator, *members = (
            self.world.peer(kind, f"member-{number}", self.node)
            for number, kind in enumerate([cell.first, *cell.others])
        )

        yield "create, invite"
        m = moderator.open(
            "group", self.world.name("channel"), cell.mls, cell.reliable, interval_ms=INTERVAL_MS, retries=RETRIES
        )
        everybody = [m, *(admit(m, member) for member in members)]

        yield "publish"
        everybody_hears_everybody(everybody, "first round")

        yield "publish to one"
        for session in everybody[1:]:
            # Where the name of the addressee ends up is not told, so that nobody else gets it is seen from the texts.
            session.publish(f"for the moderator alone, from {session.peer.name}", to=moderator)
            m.peer.wait_for(
                "message", session=m.number, text=f"for the moderator alone, from {session.peer.name}"
            )

        yield "remove"
        *stayed, removed = everybody
        m.remove(removed.peer)
        talk_until_unheard(stayed, removed)
        assert not any("moderator alone" in text for session in everybody[1:] for text in session.texts())

        yield "invite again"
        everybody = [*stayed, admit(m, removed.peer)]
        # The returned one counts anew, and members that stayed drop what they take for repetitions.
        everybody[-1].publish("as many as before")
        everybody_hears_everybody(everybody, "after the second invitation")

        yield "leave"
        leaving, others = everybody[1], [everybody[0], *everybody[2:]]
        leaving.close()
        everybody_hears_everybody(others, "after one left")
        assert not any("after one left" in text for text in leaving.texts())

        yield "close"
        m.close()


def admit(group: Session, invitee: Peer) -> Session:
    """Invites, and talks until the invitee hears it. Sessions have one number everywhere."""
    position = invitee.position()
    group.peer.ask("invite", session=group.number, name=invitee.name)
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        welcome = f"welcome, {invitee.name}, at {time.monotonic()}"
        group.publish(welcome)
        if invitee.hears("message", 0.5, after=position, session=group.number, text=welcome):
            return Session(invitee, group.number)
    raise AssertionError(f"{invitee.title} did not hear a word of session {group.number}")


def talk_until_unheard(sessions: list[Session], removed: Session) -> None:
    """No call tells when a member is out; it is when it misses a message that the others got."""
    end = time.monotonic() + DEADLINE
    rounds = 0
    while True:
        occasion = f"round {rounds} after the removal"
        everybody_hears_everybody(sessions, occasion)
        last = f"{occasion} from {sessions[-1].peer.full_name}"
        if not removed.peer.hears("message", 0.3, session=removed.number, text=last):
            return
        rounds += 1
        assert time.monotonic() < end, f"{removed.peer.title} still hears the group"
