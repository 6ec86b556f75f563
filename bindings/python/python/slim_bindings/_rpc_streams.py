"""The client's ends of a call's streams."""

from __future__ import annotations

from slim_bindings import _slim_bindings as native
from slim_bindings._blocking import blocking
from slim_bindings._names import PyName
from slim_bindings._rpc_errors import RpcCode, RpcError
from slim_bindings._rpc_messages import (
    MulticastStreamMessage,
    RpcMessageContext,
    RpcMulticastItem,
    StreamMessage,
    failure,
)


class _Call:
    """A call that is under way; the last reference cancels it."""

    def __init__(self, call: native.RpcCall) -> None:
        self._call = call

    def cancel(self) -> None:
        """The result is not wanted any more. A server of this package stops its handler, if the wire lets it be told."""
        self._call.cancel()

    async def _arrived(self) -> native.RpcResponse | native.RpcFailure | None:
        """What arrives next; ``None`` after the end. A cancelled wait loses nothing."""
        while (arrived := self._call.try_next()) is None:
            if self._call.is_over():
                return None
            await self._call.ready()
        return arrived


class _Sends(_Call):
    """A call with a stream of requests."""

    async def send_async(self, data: bytes) -> None:
        """Sends one more request; waits while too much is unacknowledged. ``RpcError`` when the call is over."""
        await self._call.send(data)

    def send(self, data: bytes) -> None:
        """``send_async`` for programs without an event loop."""
        blocking(self.send_async(data))


class _Single(_Call):
    """The responses of one server."""

    async def _next(self) -> StreamMessage:
        arrived = await self._arrived()
        if arrived is None:
            return StreamMessage.END()
        if isinstance(arrived, native.RpcFailure):
            return StreamMessage.ERROR(failure(arrived))
        return StreamMessage.DATA(arrived.payload)

    def __aiter__(self) -> _Single:
        return self

    async def __anext__(self) -> bytes:
        message = await self._next()
        if isinstance(message, StreamMessage.DATA):
            return message.data
        if isinstance(message, StreamMessage.ERROR):
            raise message.error
        raise StopAsyncIteration


class _Multicast(_Call):
    """The responses of a group of servers. Iterating raises the failure of a server; iterating again goes on with the
    others."""

    async def _next(self) -> MulticastStreamMessage:
        arrived = await self._arrived()
        if arrived is None:
            return MulticastStreamMessage.END()
        if isinstance(arrived, native.RpcFailure):
            return MulticastStreamMessage.ERROR(failure(arrived))
        assert arrived.source is not None, "responses of a group have a source"
        context = RpcMessageContext(PyName._of(arrived.source))
        return MulticastStreamMessage.DATA(RpcMulticastItem(context=context, message=arrived.payload))

    def __aiter__(self) -> _Multicast:
        return self

    async def __anext__(self) -> RpcMulticastItem:
        message = await self._next()
        if isinstance(message, MulticastStreamMessage.DATA):
            return message.item
        if isinstance(message, MulticastStreamMessage.ERROR):
            raise message.error
        raise StopAsyncIteration


class ResponseStreamReader(_Single):
    """The responses to one request."""

    async def next_async(self) -> StreamMessage:
        """The next response, the failure of the call, or its end."""
        return await self._next()

    def next(self) -> StreamMessage:
        """``next_async`` for programs without an event loop."""
        return blocking(self.next_async())


class MulticastResponseReader(_Multicast):
    """What the servers of a group respond to one request."""

    async def next_async(self) -> MulticastStreamMessage:
        """The next response, the failure of a server or of the call, or the end: every server has finished."""
        return await self._next()

    def next(self) -> MulticastStreamMessage:
        """``next_async`` for programs without an event loop."""
        return blocking(self.next_async())


class RequestStreamWriter(_Sends):
    """The requests of a call that has one response."""

    async def finalize_async(self) -> bytes:
        """No more requests follow. Resolves with the response; cancelling it cancels the call."""
        try:
            await self._call.finish()
            arrived = await self._arrived()
        except BaseException:
            self._call.cancel()
            raise
        if arrived is None:
            raise RpcError.Rpc(RpcCode.INTERNAL, "the call ended without response")
        if isinstance(arrived, native.RpcFailure):
            raise failure(arrived)
        return arrived.payload

    async def finalize_stream_async(self) -> bytes:
        """The same as ``finalize_async``."""
        return await self.finalize_async()

    def finalize_stream(self) -> bytes:
        """``finalize_async`` for programs without an event loop."""
        return blocking(self.finalize_async())


class BidiStreamHandler(_Sends, _Single):
    """A call with streams both ways."""

    async def close_send_async(self) -> None:
        """No more requests follow."""
        await self._call.finish()

    async def recv_async(self) -> StreamMessage:
        """The next response, the failure of the call, or its end."""
        return await self._next()

    def close_send(self) -> None:
        """``close_send_async`` for programs without an event loop."""
        blocking(self.close_send_async())

    def recv(self) -> StreamMessage:
        """``recv_async`` for programs without an event loop."""
        return blocking(self.recv_async())


class MulticastBidiStreamHandler(_Sends, _Multicast):
    """A call with streams both ways, to a group of servers."""

    async def close_send_async(self) -> None:
        """No more requests follow."""
        await self._call.finish()

    async def recv_async(self) -> MulticastStreamMessage:
        """The next response, the failure of a server or of the call, or the end: every server has finished."""
        return await self._next()

    def close_send(self) -> None:
        """``close_send_async`` for programs without an event loop."""
        blocking(self.close_send_async())

    def recv(self) -> MulticastStreamMessage:
        """``recv_async`` for programs without an event loop."""
        return blocking(self.recv_async())
