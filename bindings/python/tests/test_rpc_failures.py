"""How calls fail and end: codes, deadlines, cancellation, handlers that break, servers that stop."""

from __future__ import annotations

import asyncio
import datetime
import gc
import logging

import pytest
from rpc_service import SERVICE, served
from slim_bindings import Channel, Context, PyName, RpcCode, RpcError, Slim, StreamMessage
from support import application, run

SOON = datetime.timedelta(milliseconds=500)


async def failure(call: object) -> RpcError.Rpc:  # type: ignore[name-defined]
    with pytest.raises(RpcError.Rpc) as caught:
        await call  # type: ignore[misc]
    return caught.value


@pytest.mark.parametrize("code", [code for code in RpcCode if code is not RpcCode.OK], ids=lambda code: code.name)
def test_every_code_reaches_the_caller(endpoint: str, code: RpcCode) -> None:
    async def scenario() -> None:
        client = await application(endpoint, "client")
        async with served(endpoint) as server, Channel(client, server.name) as channel:
            error = await failure(channel.call_unary_async(SERVICE, "Fail", str(code.value).encode()))
            # Details stay where they are: the wire has no place for them.
            assert (error.code, error.message, error.details) == (code, f"code {code.value}", None)
            assert str(error) == f"{code.name}: code {code.value}"

    run(scenario())


def test_codes_have_the_numbers_of_grpc() -> None:
    assert [code.value for code in RpcCode] == list(range(17))
    assert RpcCode(16) is RpcCode.UNAUTHENTICATED


def test_a_failure_cannot_say_ok(endpoint: str) -> None:
    async def scenario() -> None:
        client = await application(endpoint, "client")
        async with served(endpoint) as server, Channel(client, server.name) as channel:
            error = await failure(channel.call_unary_async(SERVICE, "Fail", b"0"))
            assert error.code is RpcCode.UNKNOWN

    run(scenario())


def test_a_broken_handler_is_told_by_its_type_and_logged_here(endpoint: str, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(request: bytes, context: Context) -> bytes:
        raise KeyError("the password is swordfish")

    async def no_bytes(request: bytes, context: Context) -> str:
        return "text"

    async def scenario() -> None:
        client = await application(endpoint, "client")
        methods = {"Broken": broken, "NoBytes": no_bytes}
        async with served(endpoint, **methods) as server, Channel(client, server.name) as channel:
            error = await failure(channel.call_unary_async(SERVICE, "Broken", b""))
            assert (error.code, error.message) == (RpcCode.UNKNOWN, "the handler failed: KeyError")
            error = await failure(channel.call_unary_async(SERVICE, "NoBytes", b""))
            assert (error.code, error.message) == (RpcCode.UNKNOWN, "the handler failed: TypeError")
            # The server goes on.
            assert await channel.call_unary_async(SERVICE, "Echo", b"x") == b"x"

    with caplog.at_level(logging.ERROR, "slim_bindings"):
        run(scenario())
    assert "swordfish" in caplog.text and "a response is bytes, not str" in caplog.text


def test_an_unknown_method_and_reserved_metadata_are_refused(endpoint: str) -> None:
    async def scenario() -> None:
        client = await application(endpoint, "client")
        async with served(endpoint) as server, Channel(client, server.name) as channel:
            error = await failure(channel.call_unary_async(SERVICE, "Nothing", b""))
            assert (error.code, error.message) == (RpcCode.UNIMPLEMENTED, f"Method not found: {SERVICE}/Nothing")
            error = await failure(channel.call_unary_async(SERVICE, "Echo", b"", None, {"rpc-id": "mine"}))
            assert error.code is RpcCode.INVALID_ARGUMENT and "rpc-id" in error.message
            writer = channel.call_stream_unary("", "Concatenate")
            assert (await failure(writer.send_async(b"x"))).code is RpcCode.INVALID_ARGUMENT

    run(scenario())


def test_a_stream_delivers_its_error_and_then_the_end(endpoint: str) -> None:
    async def scenario() -> None:
        client = await application(endpoint, "client")
        async with served(endpoint) as server, Channel(client, server.name) as channel:
            reader = await channel.call_unary_stream_async(SERVICE, "Count", b"none")
            message = await reader.next_async()
            assert message.is_ERROR() and not message.is_DATA()
            assert isinstance(message, StreamMessage.ERROR) and message[0].code is RpcCode.UNKNOWN
            assert (await reader.next_async()).is_END()
            with pytest.raises(RpcError.Rpc, match="ValueError"):
                async for _ in await channel.call_unary_stream_async(SERVICE, "Count", b"none"):
                    raise AssertionError("it counts to none")

    run(scenario())


def test_a_deadline_ends_the_call_and_its_handler(endpoint: str) -> None:
    async def scenario() -> None:
        client = await application(endpoint, "client")
        async with served(endpoint) as server, Channel(client, server.name) as channel:
            error = await failure(channel.call_unary_async(SERVICE, "Wait", b"", SOON))
            assert error.code is RpcCode.DEADLINE_EXCEEDED
            await server.calls.cancelled.wait()
            # No time at all is not enough either.
            error = await failure(channel.call_unary_async(SERVICE, "Echo", b"", datetime.timedelta(seconds=-1)))
            assert error.code is RpcCode.DEADLINE_EXCEEDED
            # The time of a stream runs from its creation.
            both = channel.call_stream_stream(SERVICE, "Upper", SOON)
            await both.send_async(b"x")
            assert (await both.recv_async())[0] == b"X"
            assert (await both.recv_async())[0].code is RpcCode.DEADLINE_EXCEEDED
            assert (await failure(both.send_async(b"y"))).code is RpcCode.CANCELLED

    run(scenario())


def test_calls_to_nobody_end_with_their_deadlines_each_for_itself(endpoint: str) -> None:
    async def scenario() -> None:
        client = await application(endpoint, "client")
        channel = Channel(client, PyName("org", "tests", "nobody"))
        loop = asyncio.get_running_loop()
        begin = loop.time()
        calls = [failure(channel.call_unary_async(SERVICE, "Echo", b"", SOON)) for _ in range(10)]
        assert {error.code for error in await asyncio.gather(*calls)} == {RpcCode.DEADLINE_EXCEEDED}
        assert loop.time() - begin < 10 * SOON.total_seconds(), "they did not wait for each other"

    run(scenario())


def test_cancelling_the_task_cancels_the_call_and_its_handler(endpoint: str) -> None:
    async def scenario() -> None:
        client = await application(endpoint, "client")
        async with served(endpoint) as server, Channel(client, server.name) as channel:
            call = asyncio.create_task(channel.call_unary_async(SERVICE, "Wait", b""))
            await server.calls.started.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await server.calls.cancelled.wait()
            assert await channel.call_unary_async(SERVICE, "Echo", b"x") == b"x"

    run(scenario())


def test_a_cancelled_wait_for_a_response_loses_nothing(endpoint: str) -> None:
    async def scenario() -> None:
        client = await application(endpoint, "client")
        async with served(endpoint) as server, Channel(client, server.name) as channel:
            both = channel.call_stream_stream(SERVICE, "Upper")
            for number in range(50):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(both.recv_async(), 0.001)
                await both.send_async(f"n{number}".encode())
                waiting = asyncio.create_task(both.recv_async())
                await asyncio.sleep(0)
                waiting.cancel()
                assert (await both.recv_async())[0] == f"N{number}".encode()
            both.cancel()

    run(scenario())


@pytest.mark.parametrize("way", ["cancel", "forget"])
def test_a_stream_that_is_cancelled_or_forgotten_stops_its_handler(endpoint: str, way: str) -> None:
    async def scenario() -> None:
        client = await application(endpoint, "client")
        async with served(endpoint) as server, Channel(client, server.name) as channel:
            reader = await channel.call_unary_stream_async(SERVICE, "Ticks", b"")
            assert (await reader.next_async())[0] == b"tick"
            if way == "cancel":
                reader.cancel()
                message = await reader.next_async()
                while message.is_DATA():
                    message = await reader.next_async()
                assert message[0].code is RpcCode.CANCELLED
                assert (await reader.next_async()).is_END()
            else:
                del reader
                gc.collect()
            await server.calls.cancelled.wait()
            assert not server.serving.done()

    run(scenario())


def test_a_server_that_stops_ends_its_calls_and_another_can_take_over(endpoint: str) -> None:
    async def scenario() -> None:
        client = await application(endpoint, "client")
        channel = Channel(client, PyName("org", "tests", "server"))
        async with served(endpoint) as server:
            waiting = asyncio.create_task(failure(channel.call_unary_async(SERVICE, "Wait", b"")))
            await server.calls.started.wait()
            await server.server.shutdown_async()
            error = await waiting
            assert (error.code, error.message) == (RpcCode.CANCELLED, "Server shutting down")
            await server.calls.cancelled.wait()
            app: Slim = server.app
            del server
        del app
        gc.collect()
        async with served(endpoint):
            assert await until_answered(channel) == b"x"
        await channel.close_async(datetime.timedelta(seconds=10))

    run(scenario())


async def until_answered(channel: Channel) -> bytes:
    """The channel opens a session with the next server as soon as it learns that the last one left."""
    while True:
        try:
            return await channel.call_unary_async(SERVICE, "Echo", b"x", datetime.timedelta(seconds=3))
        except RpcError.Rpc as error:
            assert error.code in {RpcCode.DEADLINE_EXCEEDED, RpcCode.INTERNAL, RpcCode.UNAVAILABLE}, error


def test_a_cancelled_server_cancels_its_handlers_and_says_so(endpoint: str) -> None:
    async def scenario() -> None:
        client = await application(endpoint, "client")
        async with served(endpoint) as server:
            channel = Channel(client, server.name)
            waiting = asyncio.create_task(failure(channel.call_unary_async(SERVICE, "Wait", b"")))
            await server.calls.started.wait()
            server.serving.cancel()
            assert (await waiting).code is RpcCode.CANCELLED
            await server.calls.cancelled.wait()

    run(scenario())
