"""What is done in a cell: the whole life of a group or of a pair, as steps with names.

A life is a generator of its steps: it yields the name of each before it begins, so that whoever runs it knows where
it ended. The first of the others sits behind a proxy, which loses messages in the step that says so.
"""

import time
from collections.abc import Iterator

import pytest
from cells import GROUP, Cell
from lossy_proxy import LossyProxy
from peers import DEADLINE, INTERVAL_MS, OURS, V101, V141, Peer, PeerError, Session, everybody_hears_everybody

# Enough that no loss of this rate is final.
RETRIES = 8
LOSS_PERCENT = 5
# Where messages of every kind are lost: outside of the bursts there are too few for a smaller rate to meet them.
LOSS_OF_ALL_PERCENT = 10
# 200 messages; no more of them at once than a busy machine can repeat within the interval.
BURSTS, BURST = 4, 50
# A burst, its repairs, and a machine with other things to do.
BURST_DEADLINE = 60.0


class Life:
    """One cell's applications and sessions."""

    def __init__(self, world, cell: Cell, seed: int) -> None:
        self.world, self.cell = world, cell
        self.node = world.node(cell.node)
        self.proxy = None
        if cell.is_lossy:
            self.proxy = LossyProxy(self.node.endpoint, seed, cell.loses)
            world.peers.append(self.proxy)
            self.lose_as_usual()

    def steps(self) -> Iterator[str]:
        yield from self.group() if self.cell.kind == GROUP else self.pair()
        # Before the proxy ends: what is behind it dials again then, and says so.
        assert self.world.complaints() == []
        if self.proxy is None:
            return
        dropped = self.proxy.end()
        assert dropped.get("Msg"), f"the proxy dropped no message: {dropped}"
        if self.cell.loses == "all":
            assert sum(count > 0 for count in dropped.values()) > 4, f"the proxy dropped only data: {dropped}"

    def lose_as_usual(self) -> None:
        self.proxy.lose(LOSS_OF_ALL_PERCENT if self.cell.loses == "all" else 0)

    def application(self, kind: str, last: str, proxied: bool = False) -> Peer:
        return self.world.peer(kind, last, (proxied and self.proxy) or self.node, self.cell.binding)

    def group(self) -> Iterator[str]:
        cell = self.cell
        moderator = self.application(cell.first, "moderator", proxied=cell.loses == "all")
        members = [self.application(kind, f"member-{n}", proxied=n == 0) for n, kind in enumerate(cell.others)]

        yield "create, invite"
        m = moderator.open(
            "group", self.world.name("channel"), cell.mls, cell.reliable, interval_ms=INTERVAL_MS, retries=RETRIES
        )
        sessions = [m.invite(member) for member in members]
        for session in sessions:
            self.check_announcement(session, "group")
        everybody = [m, *sessions]
        assert_members(everybody)

        yield "publish"
        everybody_hears_everybody(everybody, "first round")

        yield "publish to one"
        for session in sessions:
            to_one = f"from {session.peer.name} to the moderator"
            session.publish(to_one, to=moderator)
            m.expect(to_one, session.peer, direct=True)
            to_one = f"from the moderator to {session.peer.name}"
            m.publish(to_one, to=session.peer)
            session.expect(to_one, moderator, direct=True)

        if self.proxy:
            yield "5 % lost"
            self.bursts([m, sessions[0]], everybody)

        yield "remove"
        *stayed, removed = everybody
        position = removed.peer.position()
        m.remove(removed.peer)
        removed.expect_closed(after=position)
        everybody_hears_everybody(stayed, "after the removal")
        assert_members(stayed)
        for text in removed.texts():
            assert "after the removal" not in text
        for receiver in everybody:
            direct = [text for text in receiver.texts() if " to " in text]
            mine = "the moderator" if receiver is m else receiver.peer.name
            assert all(text.endswith(f"to {mine}") for text in direct), direct

        yield "invite again"
        back = m.invite(removed.peer)
        everybody = [*stayed, back]
        everybody_hears_everybody(everybody, "after the second invitation")

        yield "leave"
        leaving, others = sessions[0], [session for session in everybody if session is not sessions[0]]
        position, seen = moderator.position(), leaving.peer.position()
        leaving.close()
        leaving.expect_closed(after=seen)
        hears_of_leave(m, leaving.peer, position)
        everybody_hears_everybody(others, "after one left")
        assert_members(others)

        yield "invite the one that left"
        if leaving.peer.kind in (V141, V101):
            with pytest.raises(PeerError, match="message send retries exhausted"):
                # The same among 1.4.1 or 1.0.1 alone at their own node: it discovers the one that left in vain.
                m.invite(leaving.peer)
            everybody = others
        else:
            everybody = [m, m.invite(leaving.peer), *others[1:]]
        everybody_hears_everybody(everybody, "after the one that left is back")

        if cell.survives_kills:
            yield "killed and back"
            everybody = self.kill_and_replace(m, everybody)

        yield "close"
        positions = [session.peer.position() for session in everybody]
        m.close()
        for session, position in zip(everybody, positions, strict=True):
            session.expect_closed(after=position)
        for session in [*everybody, *sessions, back]:
            assert_nothing_twice(session)

    def kill_and_replace(self, moderator: Session, everybody: list[Session]) -> list[Session]:
        """The last member's process dies, and another of its name takes its place."""
        survivors, killed = everybody[:-1], everybody[-1].peer
        complaints = self.world.complaints()
        assert complaints == [], complaints
        killed.kill()
        remove_dead(moderator, killed)
        everybody_hears_everybody(survivors, "after the kill")
        successor = self.application(killed.kind, killed.name.rsplit("/", 1)[1])
        everybody = [*survivors, moderator.invite(successor)]
        everybody_hears_everybody(everybody, "after the restart")
        assert_members(everybody)
        return everybody

    def pair(self) -> Iterator[str]:
        cell = self.cell
        initiator = self.application(cell.first, "initiator", proxied=cell.loses == "all")
        peer = self.application(cell.others[0], "peer", proxied=True)

        yield "create"
        a, b = self.connect(initiator, peer)

        yield "publish"
        for number in range(5):
            answer_each_other(a, b, f"number {number}")

        if self.proxy:
            yield "5 % lost"
            self.bursts([a, b], [a, b])

        yield "close by the initiator"
        self.close(a, b)

        yield "close by the peer"
        a, b = self.connect(initiator, peer)
        answer_each_other(a, b, "second session")
        self.close(b, a)

        yield "killed and back"
        a, b = self.connect(initiator, peer)
        answer_each_other(a, b, "third session")
        peer.kill()
        position = initiator.position()
        a.close()
        a.expect_closed(after=position)
        a, b = self.connect(initiator, self.application(peer.kind, "peer"))
        answer_each_other(a, b, "fourth session")
        self.close(a, b)

    def connect(self, initiator: Peer, peer: Peer) -> tuple[Session, Session]:
        position = peer.position()
        a = initiator.open(
            "point_to_point",
            peer.name,
            self.cell.mls,
            self.cell.reliable,
            interval_ms=INTERVAL_MS,
            retries=RETRIES,
        )
        b = peer.joined(after=position)
        self.check_announcement(b, "point_to_point")
        return a, b

    def close(self, first: Session, second: Session) -> None:
        positions = [session.peer.position() for session in (first, second)]
        first.close()
        for session, position in zip((first, second), positions, strict=True):
            session.expect_closed(after=position)
            assert_nothing_twice(session)

    def check_announcement(self, session: Session, kind: str) -> None:
        """The invitee sees the session as it was made."""
        event = session.peer.events_of("session", session=session.number)[-1]
        seen = (event["kind"], event["mls"], event["reliable"])
        assert seen == (kind, self.cell.mls, self.cell.reliable), event

    def bursts(self, senders: list[Session], receivers: list[Session]) -> None:
        """Many messages while the proxy loses some: all arrive where they are acknowledged, and nowhere one arrives
        twice or out of order."""
        self.proxy.lose(LOSS_PERCENT)
        ways = [(sender, receiver) for sender in senders for receiver in receivers if sender is not receiver]
        for number in range(BURSTS):
            requests = [
                sender.peer.begin("burst", session=sender.number, text=burst_text(sender, number), count=BURST)
                for sender in senders
            ]
            for sender, request in zip(senders, requests, strict=True):
                sender.peer.answer(request, BURST_DEADLINE)
            # Not before all that comes has come: where nothing is acknowledged, one of the last twenty is sign enough.
            last = [BURST - 1] if self.cell.reliable else range(BURST - 20, BURST)
            for sender, receiver in ways:
                receiver.expect_one_of([f"{burst_text(sender, number)} {n}" for n in last], BURST_DEADLINE)
        self.lose_as_usual()
        for sender in senders:
            sender.publish(f"{sender.peer.name} ends its bursts")
        for sender, receiver in ways:
            receiver.expect(f"{sender.peer.name} ends its bursts", sender.peer)
            self.check_bursts(sender, receiver)

    def check_bursts(self, sender: Session, receiver: Session) -> None:
        sent = [f"{burst_text(sender, number)} {n}" for number in range(BURSTS) for n in range(BURST)]
        known = set(sent)
        got = [text for text in receiver.texts() if text in known]
        if self.cell.reliable:
            assert got == sent, f"{receiver.peer.title} got {got}"
        else:
            arrived = set(got)
            assert got == [text for text in sent if text in arrived], f"{receiver.peer.title} got {got}"
            # Four in five: far below what this rate of loss leaves.
            assert len(got) > len(sent) * 0.8, f"{receiver.peer.title} got {got}"


def burst_text(sender: Session, number: int) -> str:
    return f"burst {number} of {sender.peer.name},"


def answer_each_other(a: Session, b: Session, text: str) -> None:
    """A message with metadata each way."""
    for sender, receiver in [(a, b), (b, a)]:
        sent = f"{text}, from {sender.peer.name}"
        sender.publish(sent, metadata={"text": text})
        assert receiver.expect(sent, sender.peer)["metadata"]["text"] == text


def assert_members(sessions: list[Session]) -> None:
    """All see the same members. Nobody waits until everybody else knows of a new one, so this asks until it is so."""
    names = {session.peer.full_name for session in sessions}
    for session in sessions:
        end = time.monotonic() + DEADLINE
        while (seen := session.member_names()) != names:
            assert time.monotonic() < end, f"{session.peer.title} sees {seen}"
            time.sleep(0.05)


def hears_of_leave(moderator: Session, leaver: Peer, position: int) -> None:
    if moderator.peer.kind == OURS:
        moderator.peer.wait_for("member", after=position, member=leaver.full_name, change="left")
    else:
        notice = moderator.peer.wait_for("notice", after=position, session=moderator.number)
        assert "participant disconnected" in notice["text"], notice


def remove_dead(moderator: Session, member: Peer) -> None:
    """It cannot say that it leaves; the published packages remove it and report that as an error."""
    if moderator.peer.kind == OURS:
        moderator.remove(member)
    else:
        with pytest.raises(PeerError, match="message send retries exhausted"):
            moderator.remove(member)


def assert_nothing_twice(session: Session) -> None:
    texts = session.texts()
    assert len(texts) == len(set(texts)), f"{session.peer.title}: a message was delivered twice"
