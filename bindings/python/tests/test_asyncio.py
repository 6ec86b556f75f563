"""The four known ways for a native package to hang Python, and cancelling without loss."""

from __future__ import annotations

import asyncio
import gc
import random
import shutil
import signal
import sys
import time

import pytest
from slim_bindings import PyName, PySessionInfo, Slim, SLIMSessionClosedError
from support import CHANNEL, TESTS, Process, application, greeted, group, python, run

MESSAGES = 1000


def test_cancelled_receives_lose_no_message_and_keep_the_order(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        chance = random.Random(7)
        received: list[int] = []
        cancelled = 0
        async with alice, bob:
            info = await group(alice, bob)
            await greeted(alice, info, bob)

            async def publish_all() -> None:
                for start in range(0, MESSAGES, 20):
                    batch = (alice.publish(info, b"%d" % number, CHANNEL) for number in range(start, start + 20))
                    await asyncio.gather(*batch)

            publishing = asyncio.ensure_future(publish_all())
            while len(received) < MESSAGES:
                try:
                    _, message = await asyncio.wait_for(bob.receive(session=info.id), chance.uniform(0, 0.002))
                    received.append(int(message))
                except asyncio.TimeoutError:
                    cancelled += 1
            await publishing
        assert received == list(range(MESSAGES))
        assert cancelled > 20

    run(scenario(), 120)


def test_tasks_cancelled_in_the_turn_of_an_arrival_lose_no_message(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        async with alice, bob:
            info = await group(alice, bob)
            await greeted(alice, info, bob)
            received = []
            for number in range(100):
                waiting = asyncio.ensure_future(bob.receive(session=info.id))
                await alice.publish(info, b"%d" % number, CHANNEL)
                # The message is here and the task may be woken already: the worst moment to cancel it.
                waiting.cancel()
                try:
                    received.append(int((await waiting)[1]))
                except asyncio.CancelledError:
                    received.append(int((await bob.receive(session=info.id))[1]))
            assert received == list(range(100))

    run(scenario())


def test_a_cancelled_wait_for_a_new_session_does_not_lose_the_session(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        async with alice, bob:
            for _ in range(50):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(bob.receive(), 0)
            info = await group(alice, bob)
            await greeted(alice, info, bob)

    run(scenario())


def test_two_hundred_receives_wait_at_once(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        async with alice, bob:
            info = await group(alice, bob)
            await greeted(alice, info, bob)
            waiting = [asyncio.ensure_future(bob.receive(session=info.id)) for _ in range(200)]
            await asyncio.gather(*(alice.publish(info, b"%d" % number, CHANNEL) for number in range(200)))
            messages = [message for _, message in await asyncio.gather(*waiting)]
            assert sorted(map(int, messages)) == list(range(200))

    run(scenario())


def test_a_cancelled_publish_goes_on(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        async with alice, bob:
            info = await group(alice, bob)
            await greeted(alice, info, bob)
            publishing = asyncio.ensure_future(alice.publish(info, b"sent anyway", CHANNEL))
            await asyncio.sleep(0.01)
            publishing.cancel()
            await asyncio.wait([publishing])
            assert (await bob.receive(session=info.id))[1] == b"sent anyway"

    run(scenario())


def test_a_second_run_in_the_same_process_works_with_old_and_new_applications(endpoint: str) -> None:
    async def first() -> tuple[Slim, Slim, PySessionInfo]:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        async with alice, bob:
            info = await group(alice, bob)
            await greeted(alice, info, bob)
            # Leaves a readiness future behind on a loop that is closed then.
            asyncio.ensure_future(bob.receive(session=info.id))
            await asyncio.sleep(0)
        return alice, bob, info

    async def second(alice: Slim, bob: Slim, info: PySessionInfo) -> None:
        async with alice, bob:
            await alice.publish(info, b"second run", CHANNEL)
            assert (await bob.receive(session=info.id))[1] == b"second run"
            carol = await application(endpoint, "carol")
            async with carol:
                await alice.invite(info, carol.local_name)
                await greeted(alice, info, carol)

    alice, bob, info = run(first())
    run(second(alice, bob, info))


def test_a_loop_closed_under_a_pending_future_harms_nobody(endpoint: str) -> None:
    async def prepare() -> tuple[Slim, Slim, PySessionInfo]:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        async with alice, bob:
            info = await group(alice, bob)
            await greeted(alice, info, bob)
        return alice, bob, info

    alice, bob, info = run(prepare())
    closed = asyncio.new_event_loop()

    async def leave_futures_pending() -> list[asyncio.Future[None]]:
        session = bob.sessions[info.id][1].session
        return [session.ready(), bob.svc._app.accept_ready()]

    futures = closed.run_until_complete(leave_futures_pending())
    closed.close()

    async def publish() -> None:
        # Resolves both futures of the closed loop.
        await alice.publish(info, b"into the void", CHANNEL)
        other = await alice.create_session(await alice.get_session_config(info.id))
        await alice.invite(other, bob.local_name)
        async with bob:
            assert (await bob.receive(session=info.id))[1] == b"into the void"

    run(publish())
    assert not any(future.done() for future in futures)
    del futures
    gc.collect()


def test_calls_outside_a_loop_raise_instead_of_hanging(endpoint: str) -> None:
    async def prepare() -> Slim:
        return await application(endpoint, "alice")

    alice = run(prepare())
    with pytest.raises(RuntimeError, match="no running event loop"):
        alice.svc._app.accept_ready()


def test_everything_works_on_one_core(endpoint: str) -> None:
    taskset = shutil.which("taskset")
    assert taskset is not None, "taskset belongs to util-linux, which every Linux has"
    with Process([taskset, "-c", "0", sys.executable, str(TESTS / "one_core.py"), endpoint]) as process:
        assert process.wait() == 0, process.output
        assert "200 messages, in order" in process.output


@pytest.mark.parametrize("what", ["receive", "publish"])
def test_s45_ctrl_c_ends_the_process_within_a_second(endpoint: str, what: str) -> None:
    with python(str(TESTS / "interrupted.py"), endpoint, what) as process:
        process.wait_for_line("waiting")
        started = time.monotonic()
        process.signal(signal.SIGINT)
        code = process.wait(10)
        took = time.monotonic() - started
        assert process.lines[-1] == "interrupted", process.output
        assert code == 0, process.output
        assert took < 1, f"{took:.2f} s"


def test_the_last_message_before_the_exit_arrives(endpoint: str) -> None:
    async def scenario() -> None:
        alice = await application(endpoint, "alice")
        with python(str(TESTS / "last_words.py"), endpoint) as process:
            process.wait_for_line("ready")
            async with alice:
                info = await group(alice, timeout=None, max_retries=0)
                await alice.invite(info, PyName("org", "tests", "last-words"))
                await alice.publish(info, b"speak", CHANNEL)
                assert (await alice.receive(session=info.id))[1] == b"last words"
            assert await asyncio.to_thread(process.wait) == 0, process.output

    run(scenario())


def test_a_forked_child_makes_its_own_applications_and_refuses_its_parents(endpoint: str) -> None:
    with python(str(TESTS / "forked.py"), endpoint) as process:
        assert process.wait() == 0, process.output
        assert "child: parent's application refused" in process.output
        assert "child: own group works" in process.output
        assert "parent: still works" in process.output


def test_an_application_that_nobody_refers_to_leaves_its_sessions_at_once(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        async with bob:
            info = await group(alice, bob)
            async with alice:
                await greeted(alice, info, bob)
                # Whoever waited before does not keep it.
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(alice.receive(session=info.id), 0.01)
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(alice.receive(), 0.01)
            del alice, info
            (id,) = bob.sessions
            with pytest.raises(SLIMSessionClosedError, match="closed by its moderator"):
                await bob.receive(session=id)

    gc.disable()
    try:
        run(scenario())
    finally:
        gc.enable()


def test_a_process_that_ends_leaves_its_sessions(endpoint: str) -> None:
    async def scenario() -> None:
        alice = await application(endpoint, "alice")
        with python(str(TESTS / "last_words.py"), endpoint, "stay") as process:
            process.wait_for_line("ready")
            async with alice:
                info = await group(alice)
                await alice.invite(info, PyName("org", "tests", "last-words"))
                await alice.publish(info, b"speak", CHANNEL)
                await alice.receive(session=info.id)
                process.signal(signal.SIGINT)
                async for event in alice.events(info):
                    if event.change == "left":
                        return
            pytest.fail("nobody was told")

    run(scenario())
