"""Sessions through the API, against a node."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import slim_bindings
from slim_bindings import (
    MembershipEvent,
    PyName,
    PySessionConfiguration,
    PySessionDirection,
    PySessionInfo,
    Slim,
    SLIMSessionClosedError,
)
from support import CHANNEL, Node, application, free_port, greeted, group, identity, run, streaming


def test_s31_s33_new_sets_the_id_of_the_name_that_it_is_given() -> None:
    async def scenario() -> None:
        app = await application(None, "new")
        assert app.local_name.id != 2**128 - 1
        assert app.get_id() == app.local_name.id == app.svc.id
        assert app.svc.name == app.local_name
        assert str(app.local_name).startswith("org/tests/new/")
        assert app.identity_assurance == "shared_secret"

    run(scenario())


def test_an_id_given_by_the_caller_is_replaced() -> None:
    async def scenario() -> None:
        name = PyName("org", "tests", "given", 5)
        await Slim.new(name, *identity(name))
        assert name.id != 5

    run(scenario())


def test_s40_s43_a_group_hears_its_moderator_and_the_moderator_its_group(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob, carol = [await application(endpoint, name) for name in ("alice", "bob", "carol")]
        async with alice, bob, carol:
            info = await group(alice, bob, carol)
            bob_info, carol_info = await greeted(alice, info, bob, carol)
            assert bob_info.id == carol_info.id == info.id
            assert bob_info.destination_name == info.destination_name == CHANNEL
            assert bob_info.source_name == alice.local_name
            assert bob_info.source_identity.startswith("org/tests/alice_")

            await bob.publish(bob_info, b"from bob", bob_info.destination_name)
            for listener in (alice, carol):
                context, message = await listener.receive(session=info.id)
                assert message == b"from bob"
                assert context.source_name == bob.local_name

    run(scenario())


def test_s63_the_group_is_encrypted_and_every_member_sees_the_same_epoch(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        async with alice, bob:
            info = await group(alice, bob)
            (bob_info,) = await greeted(alice, info, bob)
            before = info.mls_epoch
            assert bob_info.mls_epoch == before
            carol = await application(endpoint, "carol")
            await alice.invite(info, carol.local_name)
            assert info.mls_epoch == bob_info.mls_epoch == before + 1
            plain = await alice.create_session(streaming(PyName("org", "tests", "plain"), mls_enabled=False))
            assert plain.mls_epoch is None

    run(scenario())


def test_s35_nothing_is_delivered_before_the_block_is_entered(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        async with alice:
            info = await group(alice, bob)
            early = asyncio.ensure_future(bob.receive())
            await alice.publish(info, b"hello", CHANNEL)
            # The message was acknowledged, so it is here; only the block is missing.
            await asyncio.sleep(0)
            assert not early.done()
            async with bob:
                _, message = await early
                assert message == b"hello"

    run(scenario())


def test_s35_leaving_the_block_does_not_disconnect(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        async with alice, bob:
            info = await group(alice, bob)
        await alice.publish(info, b"after the block", CHANNEL)
        async with bob:
            _, message = await bob.receive()
            assert message == b"after the block"

    run(scenario())


def test_s41_s42_s65_sessions_come_with_their_first_message_one_after_the_other(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        channels = [PyName("org", "tests", f"channel{number}") for number in range(3)]
        async with alice, bob:
            infos = []
            for channel in channels:
                infos.append(await alice.create_session(streaming(channel)))
                await alice.invite(infos[-1], bob.local_name)
            for number in (2, 0, 1):
                await alice.publish(infos[number], f"first {number}".encode(), channels[number])
                await alice.publish(infos[number], f"second {number}".encode(), channels[number])
                session, first = await bob.receive()
                assert (session.id, first) == (infos[number].id, f"first {number}".encode())
                assert session.destination_name == channels[number]
                assert set(bob.sessions) >= {session.id}
            for number in range(3):
                received = [(await bob.receive(session=infos[number].id))[1] for _ in range(2)]
                assert received == [f"first {number}".encode(), f"second {number}".encode()]

    run(scenario())


def test_a_message_to_one_member_reaches_that_member_only(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob, carol = [await application(endpoint, name) for name in ("alice", "bob", "carol")]
        async with alice, bob, carol:
            info = await group(alice, bob, carol)
            bob_info, _ = await greeted(alice, info, bob, carol)
            await alice.publish(info, b"for carol", PyName("org", "tests", "carol"))
            await alice.publish(info, b"for all", CHANNEL)
            context, message = await carol.receive(session=info.id)
            assert (message, context.direct) == (b"for carol", True)
            assert context.destination_name == CHANNEL
            context, message = await carol.receive(session=info.id)
            assert (message, context.direct) == (b"for all", False)
            assert (await bob.receive(session=info.id))[1] == b"for all"

            await bob.publish_to(bob_info, b"answer to alice")
            context, message = await alice.receive(session=info.id)
            assert (message, context.direct) == (b"answer to alice", True)

    run(scenario())


def test_payload_type_and_metadata_travel_with_the_message(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        async with alice, bob:
            info = await group(alice, bob)
            await alice.publish(info, b"", CHANNEL, payload_type="json", metadata={"key": "value"})
            await alice.publish(info, b"\x00\xff" * 500_000, CHANNEL)
            session, first = await bob.receive()
            assert (first, session.payload_type, session.metadata) == (b"", "json", {"key": "value"})
            await bob.receive(session=session.id)
            context, second = await bob.receive(session=session.id)
            assert (second, context.payload_type, context.metadata) == (b"\x00\xff" * 500_000, "msg", {})
            assert info.payload_type == ""

    run(scenario())


def test_s61_members_and_events_tell_who_is_there(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob, carol = [await application(endpoint, name) for name in ("alice", "bob", "carol")]
        async with alice, bob, carol:
            info = await group(alice, bob, carol)
            bob_info, carol_info = await greeted(alice, info, bob, carol)
            members = {member.name: member for member in await bob.members(bob_info)}
            assert set(members) == {alice.local_name, bob.local_name, carol.local_name}
            assert [name for name, member in members.items() if member.is_moderator] == [alice.local_name]
            assert all(online for _, online, _, _ in members.values())
            assert members[carol.local_name].subject.startswith("org/tests/carol_")

            at_alice, at_bob = alice.events(info), bob.events(bob_info)
            assert await anext(at_alice) == MembershipEvent(bob.local_name, "joined")
            assert await anext(at_alice) == MembershipEvent(carol.local_name, "joined")
            await carol.leave(carol_info)
            with pytest.raises(SLIMSessionClosedError, match="closed by this application"):
                await carol.receive(session=info.id)
            for events in (at_alice, at_bob):
                async for event in events:
                    if event == MembershipEvent(carol.local_name, "left"):
                        break
                else:
                    pytest.fail("nobody was told that carol left")
            assert len(await alice.members(info)) == 2

    run(scenario())


def test_events_hold_messages_back_for_receive(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        async with alice, bob:
            info = await group(alice, bob)
            (bob_info,) = await greeted(alice, info, bob)
            watching = asyncio.ensure_future(collect(bob.events(bob_info)))
            for number in range(5):
                await alice.publish(info, b"%d" % number, CHANNEL)
            received = [(await bob.receive(session=info.id))[1] for _ in range(5)]
            assert received == [b"0", b"1", b"2", b"3", b"4"]
            await alice.close_session(info)
            await watching

    run(scenario())


def test_s61_a_removed_member_is_told_and_the_group_goes_on(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob, carol = [await application(endpoint, name) for name in ("alice", "bob", "carol")]
        async with alice, bob, carol:
            info = await group(alice, bob, carol)
            await greeted(alice, info, bob, carol)
            await alice.remove(info, bob.local_name)
            with pytest.raises(SLIMSessionClosedError, match="removed by the moderator"):
                await bob.receive(session=info.id)
            await alice.publish(info, b"without bob", CHANNEL)
            assert (await carol.receive(session=info.id))[1] == b"without bob"

            await alice.invite(info, bob.local_name)
            await alice.publish(info, b"with bob again", CHANNEL)
            session, message = await bob.receive()
            assert (session.id, message) == (info.id, b"with bob again")

    run(scenario())


def test_s61_closing_the_session_ends_every_receive_for_good(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        async with alice, bob:
            info = await group(alice, bob)
            await greeted(alice, info, bob)
            await alice.publish(info, b"last words", CHANNEL)
            waiting = asyncio.ensure_future(alice.receive(session=info.id))
            await asyncio.sleep(0)
            await alice.delete_session(info.id)
            with pytest.raises(SLIMSessionClosedError):
                await waiting
            assert (await bob.receive(session=info.id))[1] == b"last words"
            for _ in range(2):
                with pytest.raises(SLIMSessionClosedError, match="closed by its moderator") as caught:
                    await bob.receive(session=info.id)
                assert caught.value.session_id == info.id
            with pytest.raises(SLIMSessionClosedError):
                await bob.publish(PySessionInfo(info.id), b"too late", CHANNEL)
            await bob.delete_session(info.id)
            assert info.id not in bob.sessions

    run(scenario())


def test_a_hand_made_info_works_as_a_handle(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        async with alice, bob:
            info = await group(alice, bob)
            by_hand = PySessionInfo(info.id)
            assert (by_hand.id, by_hand.destination_name, by_hand.metadata) == (info.id, None, {})
            await alice.publish(by_hand, b"hello", CHANNEL)
            assert (await bob.receive())[1] == b"hello"

    run(scenario())


def test_s37_a_printed_info_shows_number_and_names() -> None:
    async def scenario() -> None:
        alice = await application(None, "alice")
        info = await alice.create_session(streaming(CHANNEL))
        expected = f"PySessionInfo(id={info.id}, source={alice.local_name}, destination=org/tests/channel)"
        assert f"{info}" == expected

    run(scenario())


def test_s61_session_configurations_are_read_back_and_cannot_change() -> None:
    async def scenario() -> None:
        alice = await application(None, "alice")
        config = streaming(CHANNEL, max_retries=3, timeout=datetime.timedelta(milliseconds=250))
        info = await alice.create_session(config)
        assert await alice.get_session_config(info.id) == config
        await alice.set_session_config(info.id, config)
        sender = PySessionConfiguration.Streaming(
            PySessionDirection.SENDER, CHANNEL, True, 3, datetime.timedelta(milliseconds=250), True
        )
        with pytest.raises(ValueError, match="cannot change session_direction of session"):
            await alice.set_session_config(info.id, sender)
        for call in (
            alice.get_session_config(99),
            alice.set_session_config(99, config),
            alice.delete_session(99),
        ):
            with pytest.raises(ValueError, match="session not found: 99"):
                await call

    run(scenario())


def test_a_receiver_cannot_publish_and_a_sender_is_heard(endpoint: str) -> None:
    async def scenario() -> None:
        alice = await application(endpoint, "alice")
        listener = await application(endpoint, "listener", direction=PySessionDirection.RECEIVER)
        async with alice, listener:
            info = await group(alice, listener)
            (heard,) = await greeted(alice, info, listener)
            with pytest.raises(PermissionError, match="only receives"):
                await listener.publish(heard, b"no", CHANNEL)

    run(scenario())


def test_s66_applications_of_one_process_need_no_node() -> None:
    async def scenario() -> None:
        alice, bob = await application(None, "local-alice"), await application(None, "local-bob")
        async with alice, bob:
            info = await group(alice, bob)
            await greeted(alice, info, bob)

    run(scenario())


def test_s73_a_node_runs_inside_the_process() -> None:
    async def scenario() -> None:
        alice = await application(None, "alice")
        address = await alice.run_server({"endpoint": f"127.0.0.1:{free_port()}", "tls": {"insecure": True}})
        endpoint = f"http://{address}"
        bob = await application(endpoint, "bob")
        await alice.connect({"endpoint": endpoint, "tls": {"insecure": True}})
        async with alice, bob:
            info = await group(alice, bob)
            await greeted(alice, info, bob)
        for app in (alice, bob):
            await app.disconnect(endpoint)
        await alice.stop_server(address)
        with pytest.raises(ValueError, match="does not serve"):
            await alice.stop_server(address)

    run(scenario())


def test_connections_are_shared_counted_and_given_back(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        assert alice.conn_id == alice.conn_ids[endpoint] == bob.conn_id
        assert isinstance(alice.conn_id, int)
        again = await alice.connect({"endpoint": endpoint, "tls": {"insecure": True}})
        assert again == bob.conn_id
        await alice.disconnect(endpoint)
        assert (alice.conn_id, alice.conn_ids) == (None, {})
        with pytest.raises(KeyError):
            await alice.disconnect(endpoint)
        # Bob's connection is still there, and it is the process's.
        async with alice, bob:
            info = await group(bob, alice)
            await greeted(bob, info, alice)

    run(scenario())


def test_s38_routes_are_accepted_for_names_that_nobody_has(endpoint: str) -> None:
    async def scenario() -> None:
        alice = await application(endpoint, "alice")
        nobody = PyName("org", "tests", "nobody")
        await alice.set_route(nobody)
        await alice.remove_route(nobody)
        with pytest.raises(TypeError, match="PyName"):
            await alice.set_route("org/tests/nobody")  # type: ignore[arg-type]

    run(scenario())


def test_a_subscribed_name_can_be_invited_until_it_is_withdrawn(endpoint: str) -> None:
    async def scenario() -> None:
        alice, bob = await application(endpoint, "alice"), await application(endpoint, "bob")
        second = PyName("org", "tests", "second-name-of-bob")
        await bob.subscribe(second)
        async with alice, bob:
            impatient = {"max_retries": 1, "timeout": datetime.timedelta(milliseconds=300)}
            info = await alice.create_session(streaming(CHANNEL, **impatient))
            joined = await alice.invite(info, second)
            assert joined.id == bob.get_id()
            await alice.remove(info, joined)
            await bob.unsubscribe(second)
            with pytest.raises(slim_bindings.SLIMInviteError, match="second-name-of-bob"):
                await alice.invite(info, second)

    run(scenario())


def test_the_module_functions_do_what_the_class_does(endpoint: str) -> None:
    async def scenario() -> None:
        names = [PyName("org", "tests", name) for name in ("function-alice", "function-bob")]
        alice, bob = [await slim_bindings.create_pyservice(name, *identity(name)) for name in names]
        config = {"endpoint": endpoint, "tls": {"insecure": True}}
        connections = [await slim_bindings.connect(service, config) for service in (alice, bob)]
        await slim_bindings.subscribe(bob, connections[1], PyName("org", "tests", "function-other"))
        await slim_bindings.set_route(alice, connections[0], names[1])
        info = await slim_bindings.create_session(alice, streaming(CHANNEL))
        await slim_bindings.invite(alice, info, names[1])
        await slim_bindings.publish(alice, info, 1, b"hello", CHANNEL, "text", {"a": "b"})
        context, message = await slim_bindings.receive(bob)
        assert (message, context.payload_type, context.metadata) == (b"hello", "text", {"a": "b"})
        assert context.source_name == alice.name
        await slim_bindings.publish(bob, context, 1, b"answer")
        assert (await slim_bindings.receive(alice))[1] == b"answer"
        assert (await slim_bindings.get_session_config(alice, info.id)).topic == CHANNEL
        await slim_bindings.remove(alice, info, names[1])
        await slim_bindings.delete_session(alice, info.id)
        for service, connection in zip((alice, bob), connections, strict=True):
            await slim_bindings.disconnect(service, connection)

    run(scenario())


def test_s34_a_lost_link_is_restored_and_reliable_messages_get_through(tmp_path: Path) -> None:
    async def scenario(first: Node) -> None:
        alice, bob = await application(first.endpoint, "alice"), await application(first.endpoint, "bob")
        async with alice, bob:
            info = await group(alice, bob, max_retries=40)
            await greeted(alice, info, bob)
            first.close()
            publishing = asyncio.ensure_future(alice.publish(info, b"across the gap", CHANNEL))
            with Node(tmp_path, port=first.port):
                await publishing
                assert (await bob.receive(session=info.id))[1] == b"across the gap"
                for app in (alice, bob):
                    await app.disconnect(first.endpoint)

    with Node(tmp_path) as first:
        run(scenario(first))


async def collect(events: AsyncIterator[MembershipEvent]) -> list[MembershipEvent]:
    return [event async for event in events]
