"""Applications of 0.4.1, the tutorial's generation, through our node.

Its calls return before anything happened on the wire, and nobody is told that he joined, was removed, or that a session
ended: tests learn it from messages. What is odd about it is in docs/older-packages.md.
"""

import time

import pytest
from peers import DEADLINE, OURS, V041, Peer, Session, everybody_hears_everybody
from restarted_node import OurNodeOfOneTest

encrypted_and_not = pytest.mark.parametrize("mls", [True, False], ids=lambda mls: f"mls={mls}")


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


def group_of(world, node, mls: bool) -> list[Session]:
    alice, bob, carol = (world.peer(V041, last, node) for last in ["alice", "bob", "carol"])
    a = alice.open("group", world.name("channel"), mls)
    return [a, admit(a, bob), admit(a, carol)]


@encrypted_and_not
def test_a_group_from_its_creation_to_its_close(world, mls):
    a, b, c = group_of(world, world.node(OURS), mls)
    everybody_hears_everybody([a, b, c], "first round")
    b.publish("answer", to=a.peer)
    a.expect("answer", b.peer)

    # No call of 0.4.1 tells when the member is out; it is when it misses a message that the others got.
    a.remove(c.peer)
    end = time.monotonic() + DEADLINE
    for number in range(1000):
        assert time.monotonic() < end, "carol still hears the group"
        everybody_hears_everybody([a, b], f"round {number} without carol")
        last = f"round {number} without carol from {b.peer.full_name}"
        if not c.peer.hears("message", 0.3, session=c.number, text=last):
            break

    c = admit(a, c.peer)
    # Carol counts anew, and members that stayed drop what they take for repetitions.
    c.publish("as many as before")
    everybody_hears_everybody([a, b, c], "carol again")

    b.close()
    everybody_hears_everybody([a, c], "without bob")
    assert not any("without bob" in text for text in b.texts())
    a.close()


def workers_and_client(world, node):
    return [world.peer(V041, "worker", node) for _ in range(2)], world.peer(V041, "client", node)


def open_to_anyone(client: Peer, mls: bool, reliable: bool, sticky: bool) -> int:
    return client.ask(
        "open", kind="fire_and_forget", mls=mls, reliable=reliable, sticky=sticky, interval_ms=1000, retries=5
    )


def received(peer: Peer, session: int) -> list[str]:
    return [event["text"] for event in peer.events_of("message", session=session)]


def send_many(client: Peer, session: int, name: str, workers: list[Peer], count: int = 20) -> list[list[str]]:
    """What each of the workers got of so many messages to their name."""
    texts = [f"job {number}" for number in range(count)]
    for text in texts:
        client.ask("send", session=session, text=text, name=name)
    end = time.monotonic() + DEADLINE
    while sum(len(received(worker, session)) for worker in workers) < count:
        assert time.monotonic() < end, [received(worker, session) for worker in workers]
        workers[0].hears("message", 0.05, after=workers[0].position())
    got = [received(worker, session) for worker in workers]
    assert sorted(sum(got, [])) == sorted(texts), "a message was delivered twice"
    return got


@pytest.mark.parametrize("reliable", [True, False], ids=lambda reliable: f"reliable={reliable}")
def test_messages_to_a_name_reach_any_instance_and_answers_come_back(world, reliable):
    workers, client = workers_and_client(world, world.node(OURS))
    session = open_to_anyone(client, mls=False, reliable=reliable, sticky=False)
    got = send_many(client, session, world.name("worker"), workers)
    assert all(got), "one instance got everything"
    for worker in workers:
        worker.ask("publish", session=session, text=f"done by {worker.full_name}", to=client.name)
        client.wait_for("message", session=session, text=f"done by {worker.full_name}", source=worker.full_name)


@pytest.mark.parametrize("mls, reliable", [(True, True), (False, True), (False, False)])
def test_a_sticky_session_stays_with_one_instance(world, mls, reliable):
    workers, client = workers_and_client(world, world.node(OURS))
    session = open_to_anyone(client, mls=mls, reliable=reliable, sticky=True)
    got = send_many(client, session, world.name("worker"), workers)
    assert sorted(map(len, got)) == [0, 20]
    (chosen,) = [worker for worker in workers if received(worker, session)]
    chosen.ask("publish", session=session, text="done", to=client.name)
    client.wait_for("message", session=session, text="done", source=chosen.full_name)


@pytest.mark.parametrize("sticky", [True, False], ids=lambda sticky: f"sticky={sticky}")
def test_a_request_gets_its_reply(world, sticky):
    workers, client = workers_and_client(world, world.node(OURS))
    session = open_to_anyone(client, mls=False, reliable=True, sticky=sticky)
    position = {worker: worker.position() for worker in workers}
    request = client.begin("request", session=session, text="question", name=workers[0].name, timeout_ms=15000)
    end = time.monotonic() + DEADLINE
    while not (asked := [worker for worker in workers if received(worker, session)]):
        assert time.monotonic() < end, "nobody got the request"
        workers[0].hears("message", 0.05, after=position[workers[0]])
    asked[0].ask("publish", session=session, text="reply", to=client.name)
    assert client.answer(request) == {"source": asked[0].full_name, "text": "reply"}


def test_an_application_is_reached_under_a_further_name(world):
    """It subscribes that name without an id, and answers under it with its own: an id that no one has subscribed."""
    node = world.node(OURS)
    worker, client = world.peer(V041, "worker", node), world.peer(V041, "client", node)
    service = world.name("service")
    worker.ask("subscribe", name=service)
    session = open_to_anyone(client, mls=False, reliable=True, sticky=True)
    send_many(client, session, service, [worker])


def test_applications_return_after_our_node_was_restarted(world, tmp_path):
    """Quiet ones: 0.4.1 never receives again after it sent while its link was down, be it a repetition by itself."""
    with OurNodeOfOneTest(world, tmp_path) as node:
        workers, client = workers_and_client(world, node)
        session = open_to_anyone(client, mls=False, reliable=False, sticky=False)
        node.stop()
        node.start()
        for peer in [*workers, client]:
            peer.wait_for_line("connection re-established")
        # The line is written before the names are subscribed again.
        end = time.monotonic() + DEADLINE
        while not received(workers[0], session):
            assert time.monotonic() < end, "nobody heard the client"
            client.ask("send", session=session, text="back", name=workers[0].name)
            workers[0].hears("message", 0.3, session=session)
        workers[0].ask("publish", session=session, text="welcome back", to=client.name)
        client.wait_for("message", session=session, text="welcome back", source=workers[0].full_name)
