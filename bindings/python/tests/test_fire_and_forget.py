"""1:1 messages: to any instance of a name, to one and the same, acknowledged or not, encrypted or not; and answers."""

from __future__ import annotations

import asyncio
import datetime
import signal
from collections import Counter
from typing import Any

import pytest
import slim_bindings
from slim_bindings import (
    PyName,
    PySessionConfiguration,
    PySessionDirection,
    PySessionInfo,
    PySessionType,
    Slim,
    SLIMInviteError,
    SLIMTimeoutError,
)
from support import CHANNEL, TESTS, application, group, python, run, streaming

SECOND = datetime.timedelta(seconds=1)
WORKER = PyName("org", "tests", "worker")


def one_to_one(**keywords: Any) -> PySessionConfiguration.FireAndForget:
    """A reliable configuration, unless the keywords say otherwise."""
    return PySessionConfiguration.FireAndForget(**{"timeout": SECOND, "max_retries": 5, **keywords})


async def workers(endpoint: str | None, count: int) -> list[Slim]:
    """Instances of one name."""
    return [await application(endpoint, "worker") for _ in range(count)]


class Echo:
    """Answers every message of every session, and counts."""

    def __init__(self, app: Slim) -> None:
        self.app = app
        self.received: list[bytes] = []
        self.sessions = 0
        self.task = asyncio.create_task(self._accept())

    async def _accept(self) -> None:
        async with self.app, asyncio.TaskGroup() if hasattr(asyncio, "TaskGroup") else _Tasks() as tasks:
            while True:
                info, _ = await self.app.receive()
                self.sessions += 1
                tasks.create_task(self._answer(info))

    async def _answer(self, session: PySessionInfo) -> None:
        while True:
            try:
                info, message = await self.app.receive(session=session.id)
            except slim_bindings.SLIMSessionClosedError:
                return
            self.received.append(message)
            await self.app.publish_to(info, b"echo of " + message)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        # Or it would answer for its name until it is collected.
        await self.app.svc._app.close()


class _Tasks:
    """What Python 3.10 lacks of ``asyncio.TaskGroup``."""

    async def __aenter__(self) -> _Tasks:
        self._tasks: list[asyncio.Task[None]] = []
        return self

    def create_task(self, coroutine: Any) -> None:
        self._tasks.append(asyncio.create_task(coroutine))

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def test_s70_without_sticky_the_instances_take_turns(endpoint: str) -> None:
    async def scenario() -> None:
        alice = await application(endpoint, "alice")
        echoes = [Echo(worker) for worker in await workers(endpoint, 3)]
        async with alice:
            info = await alice.create_session(one_to_one())
            for number in range(12):
                await alice.publish(info, b"%d" % number, WORKER)
            senders = Counter([(await alice.receive(session=info.id))[0].source_name for _ in range(12)])
            assert [len(echo.received) for echo in echoes] == [4, 4, 4]
            # One session per instance is kept and used again.
            assert [echo.sessions for echo in echoes] == [1, 1, 1]
            assert senders == {echo.app.local_name: 4 for echo in echoes}
        for echo in echoes:
            await echo.stop()

    run(scenario())


@pytest.mark.parametrize("mls", [False, True])
def test_s67_s70_sticky_sends_a_thousand_messages_to_one_of_ten(endpoint: str, mls: bool) -> None:
    async def scenario() -> None:
        alice = await application(endpoint, "alice")
        echoes = [Echo(worker) for worker in await workers(endpoint, 10)]
        async with alice:
            info = await alice.create_session(one_to_one(sticky=not mls, mls_enabled=mls))
            for first in range(0, 1000, 100):
                await asyncio.gather(
                    *(alice.publish(info, b"%d" % number, WORKER) for number in range(first, first + 100))
                )
                for _ in range(100):
                    await alice.receive(session=info.id)
            busy = [echo for echo in echoes if echo.received]
            assert len(busy) == 1
            assert busy[0].received == [b"%d" % number for number in range(1000)]
            assert (info.mls_epoch is not None) == mls
        for echo in echoes:
            await echo.stop()

    run(scenario(), 120)


@pytest.mark.parametrize("mls", [False, True])
@pytest.mark.parametrize("reliable", [False, True])
def test_s78_the_calls_are_those_of_groups_with_another_configuration(endpoint: str, mls: bool, reliable: bool) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        async with alice, bob:
            config = one_to_one(mls_enabled=mls, **({} if reliable else {"timeout": None, "max_retries": None}))
            info = await alice.create_session(config)
            assert await alice.get_session_config(info.id) == config
            assert info.destination_name is None
            await alice.publish(info, b"hello", bob.local_name, payload_type="greeting", metadata={"a": "b"})
            session, first = await bob.receive()
            again, same = await bob.receive(session=session.id)
            assert (first, same) == (b"hello", b"hello")
            assert (again.payload_type, again.metadata) == ("greeting", {"a": "b"})
            assert again.source_name == again.destination_name == alice.local_name
            assert (await bob.get_session_config(session.id)).mls_enabled == mls
            # Three ways to answer.
            await bob.publish_to(again, b"one")
            await bob.publish(again, b"two", again.source_name)
            await bob.publish(session, b"three", alice.local_name)
            for expected in (b"one", b"two", b"three"):
                context, message = await alice.receive(session=info.id)
                assert message == expected
                assert (context.id, context.source_name) == (info.id, bob.local_name)
                assert context.destination_name == bob.local_name
            await alice.publish_to(context, b"heard")
            assert (await bob.receive(session=session.id))[1] == b"heard"

    run(scenario())


def test_a_receiver_cannot_send_to_others_in_the_session_of_a_peer() -> None:
    async def scenario() -> None:
        alice, bob, carol = [await application(None, name) for name in ("alice", "bob", "carol")]
        async with alice, bob, carol:
            info = await alice.create_session(one_to_one())
            await alice.publish(info, b"hello", bob.local_name)
            session, _ = await bob.receive()
            with pytest.raises(ValueError, match="carol.* is not a member"):
                await bob.publish(session, b"hello", carol.local_name)
            # Its own session may speak to anybody.
            await alice.publish(info, b"hello", carol.local_name)
            assert (await carol.receive())[1] == b"hello"

    run(scenario())


def test_s70_a_message_that_nobody_acknowledges_times_out_with_its_number_and_session(endpoint: str) -> None:
    async def scenario() -> None:
        alice = await application(endpoint, "alice")
        async with alice:
            config = one_to_one(timeout=SECOND / 2, max_retries=2, sticky=True)
            info = await alice.create_session(config)
            silent = PyName("org", "tests", "silent")
            with python(str(TESTS / "member.py"), endpoint, "silent", stdin=True) as member:
                member.wait_for_line('"ready"')
                await alice.publish(info, b"heard", silent)
                member.signal(signal.SIGSTOP)
                with pytest.raises(SLIMTimeoutError, match="not acknowledged by org/tests/silent") as caught:
                    await alice.publish(info, b"not heard", silent)
            assert (caught.value.message_id, caught.value.session_id) == (2, info.id)
            # Old programs find it on the queue.
            with pytest.raises(SLIMTimeoutError) as queued:
                await alice.receive(session=info.id)
            assert isinstance(queued.value.original_exception, SLIMTimeoutError)
            assert (queued.value.message_id, queued.value.session_id) == (2, info.id)

    run(scenario())


@pytest.mark.parametrize("sticky", [False, True])
def test_a_name_that_nobody_serves_times_out_by_the_law_of_the_timers(endpoint: str, sticky: bool) -> None:
    async def scenario() -> None:
        alice = await application(endpoint, "alice")
        async with alice:
            config = one_to_one(timeout=datetime.timedelta(milliseconds=50), max_retries=3, sticky=sticky)
            info = await alice.create_session(config)
            started = asyncio.get_running_loop().time()
            with pytest.raises(SLIMInviteError, match="org/tests/nobody") as caught:
                await alice.publish(info, b"hello", PyName("org", "tests", "nobody"))
            assert 0.19 < asyncio.get_running_loop().time() - started < 10
            assert isinstance(caught.value, SLIMTimeoutError)
            assert (caught.value.step, caught.value.session_id) == ("discovery", info.id)

    run(scenario())


def test_another_secret_is_as_good_as_nobody(endpoint: str) -> None:
    async def scenario() -> None:
        alice = await application(endpoint, "alice")
        stranger = await application(endpoint, "of-another-secret", "quite another secret of at least 32 bytes")
        async with alice, stranger:
            info = await alice.create_session(one_to_one(timeout=SECOND / 10, max_retries=1))
            with pytest.raises(SLIMInviteError):
                await alice.publish(info, b"hello", PyName("org", "tests", "of-another-secret"))

    run(scenario())


def test_s71_request_reply_returns_the_reply_and_who_gave_it(endpoint: str) -> None:
    async def scenario() -> None:
        alice = await application(endpoint, "alice")
        echo = Echo(await application(endpoint, "worker"))
        async with alice:
            info = await alice.create_session(one_to_one())
            for request in (b"one", b"two"):
                context, reply = await alice.request_reply(info, request, WORKER, timeout=5 * SECOND)
                assert reply == b"echo of " + request
                assert context.source_name == echo.app.local_name
            # Positional, as the example of the 0.4 generation calls it.
            assert (await alice.request_reply(info, b"three", WORKER, 5 * SECOND))[1] == b"echo of three"
        await echo.stop()

    run(scenario())


def test_s71_request_reply_without_a_reply_raises_timeout_error_and_a_late_reply_is_not_lost(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        async with alice, bob:
            info = await alice.create_session(one_to_one())
            with pytest.raises(asyncio.TimeoutError):
                await alice.request_reply(info, b"anybody?", bob.local_name, timeout=SECOND / 2)
            session, _ = await bob.receive()
            await bob.publish_to((await bob.receive(session=session.id))[0], b"late")
            assert (await alice.receive(session=info.id))[1] == b"late"

    run(scenario())


def test_s71_request_reply_to_nobody_raises_once(endpoint: str) -> None:
    async def scenario() -> None:
        alice = await application(endpoint, "alice")
        async with alice:
            info = await alice.create_session(one_to_one(timeout=SECOND / 20, max_retries=0))
            with pytest.raises(SLIMTimeoutError):
                await alice.request_reply(info, b"hello", PyName("org", "tests", "nobody"), timeout=5 * SECOND)
            # The caller has it; the queue has no second one.
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(alice.receive(session=info.id), 0.2)

    run(scenario())


def test_s67_instances_of_one_name_have_ids_and_one_can_be_addressed(endpoint: str) -> None:
    async def scenario() -> None:
        alice = await application(endpoint, "alice")
        echoes = [Echo(worker) for worker in await workers(endpoint, 3)]
        assert len({echo.app.get_id() for echo in echoes}) == 3
        async with alice:
            info = await alice.create_session(one_to_one())
            chosen = echoes[1].app.local_name
            for _ in range(4):
                context, _ = await alice.request_reply(info, b"you", chosen, timeout=5 * SECOND)
                assert context.source_name == chosen
            assert [len(echo.received) for echo in echoes] == [0, 4, 0]
        for echo in echoes:
            await echo.stop()

    run(scenario())


def test_who_is_spoken_to_is_seen_as_members_and_events(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        async with alice, bob:
            info = await alice.create_session(one_to_one())
            assert await alice.members(info) == []
            await alice.publish(info, b"hello", bob.local_name)
            event = await anext(alice.events(info).__aiter__())
            assert (event.member, event.change) == (bob.local_name, "joined")
            assert {member.name for member in await alice.members(info)} == {alice.local_name, bob.local_name}
            session, _ = await bob.receive()
            await alice.delete_session(info.id)
            await bob.receive(session=session.id)
            with pytest.raises(slim_bindings.SLIMSessionClosedError):
                await bob.receive(session=session.id)
            with pytest.raises(ValueError, match="session not found"):
                await alice.get_session_config(info.id)

    run(scenario())


def test_a_session_without_peer_takes_no_invitations() -> None:
    async def scenario() -> None:
        alice = await application(None, "alice")
        info = await alice.create_session(one_to_one())
        with pytest.raises(ValueError, match="one to one"):
            await alice.invite(info, WORKER)
        with pytest.raises(ValueError, match="no message to answer"):
            await alice.publish_to(info, b"to whom?")

    run(scenario())


def test_the_configuration_says_what_it_does() -> None:
    kind = PySessionConfiguration.FireAndForget
    plain = kind()
    assert (plain.timeout, plain.max_retries, plain.sticky, plain.mls_enabled) == (None, None, False, False)
    assert kind(mls_enabled=True).sticky
    assert kind(SECOND, 3, True, False) == kind(timeout=SECOND, max_retries=3, sticky=True)
    assert kind(SECOND) != kind() and hash(kind(SECOND)) == hash(kind(SECOND))
    assert kind(SECOND, 3) != streaming(CHANNEL)
    assert repr(plain) == (
        "PySessionConfiguration.FireAndForget(timeout=None, max_retries=None, sticky=False, mls_enabled=False)"
    )
    with pytest.raises(TypeError, match="timeout is datetime.timedelta or None"):
        kind(timeout=5)
    with pytest.raises(ValueError, match="max_retries is 0"):
        kind(timeout=SECOND, max_retries=-1)


def test_timers_of_a_running_session_can_be_changed_and_nothing_else(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        async with alice, bob:
            short = {"timeout": SECOND / 20, "max_retries": 1}
            info = await alice.create_session(one_to_one(sticky=True))
            channel = await group(alice, bob)
            for session, config in ((info, one_to_one(sticky=True, **short)), (channel, streaming(CHANNEL, **short))):
                await alice.set_session_config(session.id, config)
                assert await alice.get_session_config(session.id) == config
            # They apply: nobody answers, and it takes a tenth of a second instead of six.
            started = asyncio.get_running_loop().time()
            with pytest.raises(SLIMTimeoutError):
                await alice.publish(info, b"hello", PyName("org", "tests", "nobody"))
            assert asyncio.get_running_loop().time() - started < 3

            receiver = PySessionConfiguration.Streaming(
                PySessionDirection.RECEIVER, topic=CHANNEL, moderator=True, mls_enabled=True, **short
            )
            with pytest.raises(ValueError, match="cannot change session_direction of session"):
                await alice.set_session_config(channel.id, receiver)
            for session, config, field in (
                (info, one_to_one(sticky=False, **short), "sticky"),
                (info, one_to_one(sticky=True, timeout=None), "timeout"),
                (channel, streaming(CHANNEL, mls_enabled=False, **short), "mls_enabled"),
                (info, streaming(CHANNEL), "FireAndForget"),
            ):
                with pytest.raises(ValueError, match=field):
                    await alice.set_session_config(session.id, config)
            with pytest.raises(ValueError, match="session not found: 4711"):
                await alice.set_session_config(4711, one_to_one())
            with pytest.raises(TypeError):
                await alice.set_session_config(info.id, {"timeout": 5})

    run(scenario())


def test_defaults_apply_in_sessions_that_others_open(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        async with alice, bob:
            default = await bob.get_default_session_config(PySessionType.FIRE_AND_FORGET)
            assert default == PySessionConfiguration.FireAndForget(timeout=SECOND, max_retries=5)
            assert (await bob.get_default_session_config(PySessionType.STREAMING)).max_retries == 10
            own = PySessionConfiguration.FireAndForget(timeout=3 * SECOND, max_retries=7)
            await bob.set_default_session_config(own)
            receiver = PySessionConfiguration.Streaming(
                PySessionDirection.RECEIVER, topic=CHANNEL, max_retries=8, timeout=4 * SECOND
            )
            await bob.set_default_session_config(receiver)
            assert await bob.get_default_session_config(PySessionType.FIRE_AND_FORGET) == own
            assert await bob.get_default_session_config(PySessionType.STREAMING) == receiver

            info = await alice.create_session(one_to_one())
            await alice.publish(info, b"hello", bob.local_name)
            session, _ = await bob.receive()
            config = await bob.get_session_config(session.id)
            assert (config.timeout, config.max_retries) == (3 * SECOND, 7)

            channel = await group(alice, bob)
            await alice.publish(channel, b"hello", CHANNEL)
            session, _ = await bob.receive()
            config = await bob.get_session_config(session.id)
            assert config.session_direction == PySessionDirection.RECEIVER
            assert (config.timeout, config.max_retries) == (4 * SECOND, 8)
            with pytest.raises(PermissionError):
                await bob.publish(session, b"hello", CHANNEL)

    run(scenario())
