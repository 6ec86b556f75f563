"""Calls to several servers at once."""

from __future__ import annotations

import asyncio
import datetime

import pytest
from rpc_service import SERVICE, served
from slim_bindings import (
    Channel,
    Context,
    MulticastStreamMessage,
    PyName,
    RpcCode,
    RpcError,
    RpcMessageContext,
    RpcMulticastItem,
)
from support import application, run

A, B = PyName("org", "tests", "server-a"), PyName("org", "tests", "server-b")
LIMIT = datetime.timedelta(seconds=30)


def short(name: PyName) -> str:
    return name.components_strings()[2]


def test_every_server_answers_for_itself(endpoint: str) -> None:
    async def scenario() -> None:
        client = await application(endpoint, "client")
        async with (
            served(endpoint, "server-a"),
            served(endpoint, "server-b"),
            Channel.new_group(client, [A, B]) as channel,
        ):
            reader = await channel.call_multicast_unary_async(SERVICE, "Echo", b"x", LIMIT, None)
            answers = {}
            while not (message := await reader.next_async()).is_END():
                assert isinstance(message, MulticastStreamMessage.DATA)
                answers[short(message.item.context.source)] = message.item.message
            assert answers == {"server-a": b"x", "server-b": b"x"}

            counted: dict[str, list[bytes]] = {}
            async for context, response in await channel.call_multicast_unary_stream_async(SERVICE, "Count", b"20"):
                counted.setdefault(short(context.source), []).append(response)
            numbers = [str(number).encode() for number in range(20)]
            assert counted == {"server-a": numbers, "server-b": numbers}

            joined = channel.call_multicast_stream_unary(SERVICE, "Concatenate")
            for part in (b"a", b"b"):
                await joined.send_async(part)
            await joined.close_send_async()
            assert [message async for _, message in joined] == [b"ab", b"ab"]

            both = channel.call_multicast_stream_stream(SERVICE, "Upper")
            await both.send_async(b"x")
            items = [await both.recv_async(), await both.recv_async()]
            assert {short(item.item.context.source) for item in items} == {"server-a", "server-b"}
            await both.close_send_async()
            assert (await both.recv_async()).is_END()

    run(scenario())


def test_a_server_that_fails_does_not_end_the_call_for_the_others(endpoint: str) -> None:
    async def picky(request: bytes, context: Context) -> bytes:
        raise RpcError.Rpc(RpcCode.NOT_FOUND, "not here", None)

    async def easy(request: bytes, context: Context) -> bytes:
        return b"here"

    async def scenario() -> None:
        client = await application(endpoint, "client")
        async with (
            served(endpoint, "server-a", Find=picky),
            served(endpoint, "server-b", Find=easy),
            Channel.new_group_with_connection(client, [A, B], client.conn_id) as channel,
        ):
            reader = await channel.call_multicast_unary_async(SERVICE, "Find", b"")
            found, failed = [], []
            while not (message := await reader.next_async()).is_END():
                (failed if message.is_ERROR() else found).append(message)
            (item,) = (message.item for message in found)
            assert (short(item.context.source), item.message) == ("server-b", b"here")
            (error,) = (message.error for message in failed)
            assert isinstance(error, RpcError.MulticastRpc)
            assert (short(error.origin), error.code, error.message) == ("server-a", RpcCode.NOT_FOUND, "not here")

            # Iterating raises it; going on hears the others.
            reader = await channel.call_multicast_unary_async(SERVICE, "Find", b"")
            heard: list[object] = []
            while True:
                try:
                    heard += [message async for _, message in reader]
                    break
                except RpcError.MulticastRpc as raised:
                    heard.append(raised.code)
            assert set(heard) <= {b"here", RpcCode.NOT_FOUND} and RpcCode.NOT_FOUND in heard

    run(scenario())


def test_a_group_call_ends_with_its_deadline_or_its_group(endpoint: str) -> None:
    async def scenario() -> None:
        client = await application(endpoint, "client")
        async with served(endpoint, "server-a") as a, served(endpoint, "server-b") as b:
            channel = Channel.new_group(client, [A, B])
            soon = datetime.timedelta(seconds=5)
            reader = await channel.call_multicast_unary_async(SERVICE, "Wait", b"", soon)
            message = await reader.next_async()
            assert isinstance(message, MulticastStreamMessage.ERROR)
            assert isinstance(message.error, RpcError.Rpc) and message.error.code is RpcCode.DEADLINE_EXCEEDED
            assert (await reader.next_async()).is_END()
            await a.calls.cancelled.wait()
            await b.calls.cancelled.wait()

            reader = await channel.call_multicast_unary_async(SERVICE, "Wait", b"")
            waiting = asyncio.create_task(reader.next_async())
            while len(a.calls.contexts) < 2 or len(b.calls.contexts) < 2:
                await asyncio.sleep(0.01)
            await channel.close_async()
            message = await waiting
            assert isinstance(message, MulticastStreamMessage.ERROR)
            error = message.error
            assert isinstance(error, RpcError.MulticastSessionClosed)
            assert (error.completed, error.total, error.received) == (0, 2, [])
            assert {short(name) for name in error.missing} == {"server-a", "server-b"}

    run(scenario())


def test_a_group_without_one_of_its_servers_cannot_be_made(endpoint: str) -> None:
    async def scenario() -> None:
        client = await application(endpoint, "client")
        async with served(endpoint, "server-a"):
            channel = Channel.new_group(client, [A, PyName("org", "tests", "nobody")])
            reader = await channel.call_multicast_unary_async(SERVICE, "Echo", b"")
            with pytest.raises(RpcError.Rpc, match="INTERNAL: .*nobody"):
                async for _ in reader:
                    raise AssertionError("nobody answered")

    run(scenario())


def test_messages_of_a_group_are_values() -> None:
    item = RpcMulticastItem(context=RpcMessageContext(source=A), message=b"x")
    assert MulticastStreamMessage.DATA(item=item) == MulticastStreamMessage.DATA(item)
    assert MulticastStreamMessage.END() == MulticastStreamMessage.END() != MulticastStreamMessage.DATA(item)
    assert "MulticastStreamMessage.DATA(RpcMulticastItem(" in repr(MulticastStreamMessage.DATA(item))
