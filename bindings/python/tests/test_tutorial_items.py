"""Items of the tutorial that are about one name or one call each."""

from __future__ import annotations

import ast
import asyncio
import datetime
import inspect
import re
from pathlib import Path

import pytest
import slim_bindings
from slim_bindings import (
    PyIdentityProvider,
    PyIdentityVerifier,
    PyName,
    PySessionConfiguration,
    PySessionDirection,
    Slim,
)
from support import CHANNEL, TESTS, Node, application, free_port, greeted, group, python, run, streaming

TUTORIAL = TESTS / "tutorial"


def imported(script: Path) -> set[str]:
    """What a script imports from the package."""
    statements = ast.walk(ast.parse(script.read_text()))
    return {
        alias.name
        for statement in statements
        if isinstance(statement, ast.ImportFrom) and statement.module == "slim_bindings"
        for alias in statement.names
    }


def test_s30_everything_that_the_scripts_import_is_there_also_what_they_never_call() -> None:
    wanted = imported(TUTORIAL / "moderator.py") | imported(TUTORIAL / "participant.py")
    assert {"PyService", "PySessionInfo", "PySessionDirection", "init_tracing"} <= wanted
    assert wanted <= set(slim_bindings.__all__)
    for name in wanted:
        assert getattr(slim_bindings, name).__doc__, name


def test_s31_the_text_of_a_name_is_the_same_for_provider_and_verifier_and_gets_an_id_on_creation() -> None:
    async def scenario() -> None:
        name = PyName("agntcy", "namespace", "moderator")
        texts = [f"{name}" for _ in range(2)]
        assert texts[0] == texts[1]
        provider = PyIdentityProvider.SharedSecret(identity=texts[0], shared_secret="shared_secret")
        verifier = PyIdentityVerifier.SharedSecret(identity=texts[1], shared_secret="shared_secret")
        assert name.id == 2**128 - 1
        app = await Slim.new(name, provider, verifier)
        assert name.id not in (0, 2**128 - 1)
        # Two applications of one name have ids of their own.
        other = PyName("agntcy", "namespace", "moderator")
        await Slim.new(other, provider, verifier)
        assert (other.id == name.id, other.equal_without_id(name)) == (False, True)
        assert f"{app.local_name}".startswith("agntcy/namespace/moderator/")

    run(scenario())


def test_s33_new_is_a_coroutine_that_connects_nowhere() -> None:
    assert inspect.iscoroutinefunction(Slim.new)

    async def scenario() -> None:
        app = await application(None, "unconnected")
        assert (app.conn_id, app.conn_ids) == (None, {})
        connect = app.connect({"endpoint": f"http://127.0.0.1:{free_port()}", "tls": {"insecure": True}})
        connecting = asyncio.ensure_future(connect)
        await asyncio.sleep(0.05)
        # Nobody listens there, and only `connect` cares.
        assert not connecting.done()
        connecting.cancel()

    run(scenario())


def test_s34_connect_takes_the_dict_of_the_scripts_and_returns_a_number(node: Node) -> None:
    async def scenario() -> None:
        app = await application(None, "connects")
        number = await app.connect({"endpoint": node.endpoint, "tls": {"insecure": True}})
        assert isinstance(number, int)
        assert (app.conn_id, app.conn_ids) == (number, {node.endpoint: number})

    run(scenario())


def test_s36_streaming_takes_the_arguments_of_the_script_and_keeps_them() -> None:
    topic = PyName("agntcy", "namespace", "group_channel")
    config = PySessionConfiguration.Streaming(
        PySessionDirection.BIDIRECTIONAL,
        topic=topic,
        moderator=True,
        max_retries=5,
        timeout=datetime.timedelta(seconds=5),
        mls_enabled=True,
    )
    kept = (config.session_direction, config.topic, config.moderator, config.max_retries, config.mls_enabled)
    assert kept == (PySessionDirection.BIDIRECTIONAL, topic, True, 5, True)
    assert config.timeout == datetime.timedelta(seconds=5)


def test_s37_a_created_session_has_a_number_and_prints_its_names() -> None:
    async def scenario() -> None:
        app = await application(None, "creates")
        info = await app.create_session(streaming(CHANNEL))
        assert isinstance(info.id, int)
        printed = f"Session created: {info}"
        assert f"{info.id}" in printed
        assert "org/tests/channel" in printed
        assert " object at 0x" not in printed

    run(scenario())


def test_s40_the_sender_does_not_hear_itself_and_others_hear_it_once(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "echo-alice"), await application(endpoint, "echo-bob")
        async with alice, bob:
            info = await group(alice, bob)
            (theirs,) = await greeted(alice, info, bob)
            for number in range(20):
                await alice.publish(info, b"%d" % number, CHANNEL)
            await bob.publish(theirs, b"answer", theirs.destination_name)
            assert [int((await bob.receive(session=info.id))[1]) for _ in range(20)] == list(range(20))
            assert (await alice.receive(session=info.id))[1] == b"answer"
            for app in (alice, bob):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(app.receive(session=info.id), 0.2)

    run(scenario())


def test_s39_s46_a_whole_invitation_takes_well_under_a_second(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "fast-alice"), await application(endpoint, "fast-bob")
        async with alice, bob:
            info = await alice.create_session(streaming(CHANNEL))
            loop = asyncio.get_running_loop()
            times = []
            for _ in range(3):
                before = loop.time()
                await alice.invite(info, bob.local_name)
                times.append(loop.time() - before)
                await alice.remove(info, bob.local_name)
            # The best of three: the machine may do other work at the same time.
            assert min(times) < 0.5, times

    run(scenario())


def test_s50_init_tracing_takes_the_block_of_the_configuration_and_its_columns() -> None:
    code = (
        "import asyncio, slim_bindings as s\n"
        "async def main():\n"
        "    await s.init_tracing({'log_level': 'info', 'display_thread_names': NAMES, 'display_thread_ids': IDS})\n"
        "    name = s.PyName('a', 'b', 'c')\n"
        "    secret = {'identity': 'a', 'shared_secret': 'short'}\n"
        "    provider = s.PyIdentityProvider.SharedSecret(**secret)\n"
        "    app = await s.Slim.new(name, provider, s.PyIdentityVerifier.SharedSecret(**secret))\n"
        "    await app.run_server({'endpoint': '127.0.0.1:0', 'tls': {'insecure': True}})\n"
        "asyncio.run(main())\n"
    )
    for names in (True, False):
        for ids in (True, False):
            with python("-W", "ignore", "-c", code.replace("NAMES", str(names)).replace("IDS", str(ids))) as process:
                assert process.wait() == 0, process.output
                line = process.wait_for_line("starting server 127.0.0.1:0")
            name = r" \S+" if names else ""
            number = r" ThreadId\(\d\d+\)" if ids else ""
            pattern = rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{6}}Z  INFO{name}{number} slim_service: starting server .*"
            assert re.fullmatch(pattern, line), line


def test_s67_instances_of_one_name_have_ids_and_an_invitation_reaches_one(endpoint: str) -> None:
    async def scenario() -> None:
        alice = await application(endpoint, "instances-alice")
        twins = [await application(endpoint, "twin") for _ in range(3)]
        assert len({twin.get_id() for twin in twins}) == 3
        async with alice:
            info = await alice.create_session(streaming(CHANNEL))
            joined = await alice.invite(info, PyName("org", "tests", "twin"))
            (member,) = [twin for twin in twins if twin.get_id() == joined.id]
            await alice.publish(info, b"to the one", CHANNEL)
            async with member:
                assert (await member.receive())[1] == b"to the one"
            others = [twin for twin in twins if twin is not member]
            async with others[0], others[1]:
                for other in others:
                    with pytest.raises(asyncio.TimeoutError):
                        await asyncio.wait_for(other.receive(), 0.2)

    run(scenario())
