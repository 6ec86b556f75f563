"""Calls: the four kinds, who calls, many at once, and both ways to be called."""

from __future__ import annotations

import asyncio
import datetime

import pytest
from rpc_service import SERVICE, served
from slim_bindings import (
    Channel,
    Context,
    Invitation,
    PyName,
    RequestStream,
    ResponseSink,
    RpcError,
    Server,
    Slim,
    StreamMessage,
)
from support import application, run
from test_identity import application as signing
from test_identity import nameless, provider, verifier


def test_the_four_kinds_of_calls(endpoint: str) -> None:
    async def scenario() -> None:
        client = await application(endpoint, "client")
        async with served(endpoint) as server, Channel(client, server.name) as channel:
            assert await channel.call_unary_async(SERVICE, "Echo", b"hello") == b"hello"
            assert await channel.call_unary_async(SERVICE, "Echo", b"") == b""

            reader = await channel.call_unary_stream_async(SERVICE, "Count", b"3", datetime.timedelta(seconds=20), None)
            assert [await reader.next_async() for _ in range(5)] == [
                StreamMessage.DATA(b"0"),
                StreamMessage.DATA(b"1"),
                StreamMessage.DATA(b"2"),
                StreamMessage.END(),
                StreamMessage.END(),
            ]

            writer = channel.call_stream_unary(SERVICE, "Concatenate")
            for part in (b"a", b"", b"b"):
                await writer.send_async(part)
            assert await writer.finalize_async() == b"ab"
            assert await channel.call_stream_unary(SERVICE, "Concatenate").finalize_stream_async() == b""

            both = channel.call_stream_stream(SERVICE, "Upper")
            for part in (b"x", b"", b"y"):
                await both.send_async(part)
                message = await both.recv_async()
                assert message.is_DATA() and message.is_data() and message[0] == part.upper()
            await both.close_send_async()
            await both.close_send_async()
            assert (await both.recv_async()).is_END()

    run(scenario())


def test_streams_can_be_iterated_and_matched(endpoint: str) -> None:
    async def scenario() -> None:
        client = await application(endpoint, "client")
        async with served(endpoint) as server, Channel(client, server.name) as channel:
            reader = await channel.call_unary_stream_async(SERVICE, "Count", b"300")
            assert [response async for response in reader] == [str(number).encode() for number in range(300)]

            both = channel.call_stream_stream(SERVICE, "Upper")

            async def send() -> None:
                for number in range(300):
                    await both.send_async(f"n{number}".encode())
                await both.close_send_async()

            sending = asyncio.create_task(send())
            assert [response async for response in both] == [f"N{number}".encode() for number in range(300)]
            await sending

            match await (await channel.call_unary_stream_async(SERVICE, "Count", b"1")).next_async():
                case StreamMessage.DATA(data):
                    assert data == b"0"
                case other:
                    raise AssertionError(other)

    run(scenario())


def test_handlers_may_take_a_sink_or_yield(endpoint: str) -> None:
    async def with_sink(stream: RequestStream, context: Context, sink: ResponseSink) -> None:
        while (message := await stream.next_async()).is_DATA():
            await sink.send_async(message[0])
        assert not sink.is_closed()
        await sink.close_async()
        assert sink.is_closed() and await sink.is_closed_async()
        with pytest.raises(RpcError.Rpc, match="CANCELLED: this call was closed"):
            await sink.send_async(b"late")

    async def scenario() -> None:
        client, app = await application(endpoint, "client"), await application(endpoint, "server")
        server = Server.new_with_connection(app, app.local_name, app.conn_id)
        server.register_stream_stream(SERVICE, "Same", with_sink)
        serving = asyncio.create_task(server.serve_async())
        async with Channel.new_with_connection(client, PyName("org", "tests", "server"), client.conn_id) as channel:
            both = channel.call_stream_stream(SERVICE, "Same")
            await both.send_async(b"x")
            await both.close_send_async()
            assert [response async for response in both] == [b"x"]
        await server.shutdown_async()
        await serving

    run(scenario())


def test_a_handler_knows_who_calls_what_came_along_and_how_long_there_is(endpoint: str) -> None:
    async def scenario() -> None:
        client = await application(endpoint, "client")
        async with served(endpoint) as server, Channel(client, server.name) as channel:
            limit = datetime.timedelta(seconds=30)
            await channel.call_unary_async(SERVICE, "Look", b"", limit, {"trace": "42"})
            (context,) = server.calls.contexts
            assert context.peer_subject().startswith("org/tests/client_")
            assert context.peer_issuer() is None, "a shared secret has no issuer"
            assert context.metadata() == {"trace": "42"}
            assert context.session_id().isdigit()
            # A second is added on the way, since the clock of a peer may be behind.
            assert datetime.timedelta(seconds=20) < context.remaining_time() <= limit + datetime.timedelta(seconds=1)
            assert not context.is_deadline_exceeded()
            left = context.deadline() - datetime.datetime.now(datetime.timezone.utc)
            assert datetime.timedelta(seconds=20) < left <= limit + datetime.timedelta(seconds=1)
            # Without a limit there are ten hours.
            await channel.call_unary_async(SERVICE, "Look", b"")
            assert server.calls.contexts[1].remaining_time() > datetime.timedelta(hours=9)

    run(scenario())


def test_a_handler_knows_who_vouches_for_its_caller() -> None:
    async def scenario() -> None:
        client = await signing(provider("client", issuer="https://issuer"), verifier(issuer="https://issuer"))
        app = await signing(provider("server", issuer="https://issuer"), verifier(issuer="https://issuer"))
        server, seen = Server(app, app.local_name), []

        async def look(request: bytes, context: Context) -> bytes:
            seen.append((context.peer_subject(), context.peer_issuer()))
            return b""

        server.register_unary_unary(SERVICE, "Look", look)
        serving = asyncio.create_task(server.serve_async())
        async with Channel(client, nameless(app)) as channel:
            await channel.call_unary_async(SERVICE, "Look", b"")
        ((subject, issuer),) = seen
        assert subject.startswith("client") and issuer == "https://issuer"
        await server.shutdown_async()
        await serving

    run(scenario())


def test_a_hundred_calls_at_once_share_a_session(endpoint: str) -> None:
    async def scenario() -> None:
        client = await application(endpoint, "client")
        async with served(endpoint) as server, Channel(client, server.name) as channel:
            requests = [str(number).encode() for number in range(100)]
            calls = (channel.call_unary_async(SERVICE, "Echo", request) for request in requests)
            assert await asyncio.gather(*calls) == requests
            await asyncio.gather(*(channel.call_unary_async(SERVICE, "Look", b"") for _ in range(100)))
            assert len({context.session_id() for context in server.calls.contexts}) == 1

    run(scenario())


def test_a_server_serves_a_further_name_and_takes_all_sessions(endpoint: str) -> None:
    async def scenario() -> None:
        client, app = await application(endpoint, "client"), await application(endpoint, "server")
        server = Server(app.svc, PyName("org", "tests", "alias"))

        async def echo(request: bytes, context: Context) -> bytes:
            return request

        server.register_unary_unary(SERVICE, "Echo", echo)
        serving = asyncio.create_task(server.serve_async())
        async with Channel(client.svc, PyName("org", "tests", "alias")) as channel:
            assert await channel.call_unary_async(SERVICE, "Echo", b"x") == b"x"
        async with app:
            with pytest.raises(RuntimeError, match="serves calls"):
                await app.receive()
        with pytest.raises(RuntimeError, match="serves already"):
            await Server(app, app.local_name).serve_async()
        with pytest.raises(RuntimeError, match="before the server serves"):
            server.register_unary_unary(SERVICE, "Late", echo)
        await server.shutdown_async()
        await serving
        await server.shutdown_async()

    run(scenario())


def test_a_server_takes_calls_of_whom_its_application_accepts(endpoint: str) -> None:
    asked: list[str] = []

    async def accept(invitation: Invitation) -> bool:
        asked.append(invitation.subject)
        return invitation.subject.startswith("org/tests/friend_")

    async def echo(request: bytes, context: Context) -> bytes:
        return request

    async def scenario() -> None:
        friend, stranger = await application(endpoint, "friend"), await application(endpoint, "stranger")
        app = await application(endpoint, "server", accept=accept)
        server = Server(app, app.local_name)
        server.register_unary_unary(SERVICE, "Echo", echo)
        serving = asyncio.create_task(server.serve_async())
        name, soon = PyName("org", "tests", "server"), datetime.timedelta(seconds=2)
        with pytest.raises(RpcError.Rpc, match="DEADLINE_EXCEEDED"):
            await Channel(stranger, name).call_unary_async(SERVICE, "Echo", b"x", soon)
        async with Channel(friend, name) as channel:
            assert await channel.call_unary_async(SERVICE, "Echo", b"x") == b"x"
        assert {subject.split("_")[0] for subject in asked} == {"org/tests/stranger", "org/tests/friend"}
        await server.shutdown_async()
        await serving

    run(scenario())


def test_programs_without_an_event_loop_call_and_serve(endpoint: str) -> None:
    client: Slim = run(application(endpoint, "client"))
    app = run(application(endpoint, "server"))
    server = Server(app, app.local_name)

    async def echo(request: bytes, context: Context) -> bytes:
        return request

    async def numbers(request: bytes, context: Context, sink: ResponseSink) -> None:
        def work() -> None:
            for number in range(int(request)):
                sink.send(str(number).encode())

        await asyncio.to_thread(work)

    async def concatenate(stream: RequestStream, context: Context) -> bytes:
        def work() -> bytes:
            parts = b""
            while (message := stream.next()).is_DATA():
                parts += message[0]
            return parts

        return await asyncio.to_thread(work)

    server.register_unary_unary(SERVICE, "Echo", echo)
    server.register_unary_stream(SERVICE, "Count", numbers)
    server.register_stream_unary(SERVICE, "Concatenate", concatenate)

    async def serve_and_call() -> None:
        serving = asyncio.create_task(asyncio.to_thread(server.serve_blocking))
        await asyncio.to_thread(call)
        await asyncio.to_thread(server.shutdown_blocking)
        await serving

    def call() -> None:
        channel = Channel(client, PyName("org", "tests", "server"))
        limit = datetime.timedelta(seconds=30)
        assert channel.call_unary(SERVICE, "Echo", b"x", limit, None) == b"x"
        reader = channel.call_unary_stream(SERVICE, "Count", b"2", limit, None)
        assert [reader.next()[0], reader.next()[0]] == [b"0", b"1"]
        assert reader.next().is_END()
        writer = channel.call_stream_unary(SERVICE, "Concatenate", limit, None)
        writer.send(b"a")
        writer.send(b"b")
        assert writer.finalize_stream() == b"ab"
        with pytest.raises(RpcError.Rpc, match="UNIMPLEMENTED"):
            channel.call_unary(SERVICE, "Nothing", b"x")
        channel.close_blocking()

    run(serve_and_call())


def test_a_blocking_call_refuses_the_thread_of_a_loop() -> None:
    async def scenario() -> None:
        client = await application(None, "client")
        channel = Channel(client, PyName("org", "tests", "server"))
        with pytest.raises(RuntimeError, match="await call_unary_async instead"):
            channel.call_unary(SERVICE, "Echo", b"x")

    run(scenario())


def test_wrong_arguments_are_named() -> None:
    async def scenario() -> None:
        client = await application(None, "client")
        with pytest.raises(TypeError, match="app is a Slim"):
            Channel("client", client.local_name)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="a server is a PyName"):
            Channel(client, "org/tests/server")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="at least one server"):
            Channel.new_group(client, [])
        one, group = Channel(client, client.local_name), Channel.new_group(client, [client.local_name])
        with pytest.raises(TypeError, match="timeout is a datetime.timedelta"):
            await one.call_unary_async(SERVICE, "Echo", b"", 5)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="leads to a group"):
            await group.call_unary_async(SERVICE, "Echo", b"")
        with pytest.raises(ValueError, match="leads to one server"):
            one.call_multicast_stream_stream(SERVICE, "Echo")
        server = Server(client, client.local_name)
        with pytest.raises(TypeError, match="a handler is a coroutine function"):
            server.register_unary_unary(SERVICE, "Echo", lambda request, context: request)

        async def yields(request: bytes, context: Context):  # type: ignore[no-untyped-def]
            yield request

        with pytest.raises(TypeError, match="several responses"):
            server.register_unary_unary(SERVICE, "Echo", yields)
        with pytest.raises(ValueError, match="have names"):
            server.register_unary_unary("", "Echo", yields)

    run(scenario())
