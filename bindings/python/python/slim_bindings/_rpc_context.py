"""What the handler of a call holds: the context of the call, its requests, and where the responses go."""

from __future__ import annotations

import datetime

from slim_bindings import _slim_bindings as native
from slim_bindings._blocking import blocking
from slim_bindings._rpc_errors import RpcCode, RpcError
from slim_bindings._rpc_messages import StreamMessage


class Context:
    """What is known of a call."""

    def __init__(self, call: native.RpcServedCall) -> None:
        self._call = call
        self._deadline = datetime.datetime.now(datetime.timezone.utc) + self.remaining_time()

    def deadline(self) -> datetime.datetime:
        """When the caller stops waiting, in UTC."""
        return self._deadline

    def remaining_time(self) -> datetime.timedelta:
        """What is left of the caller's time."""
        return datetime.timedelta(seconds=self._call.time_left())

    def is_deadline_exceeded(self) -> bool:
        """True when the caller has stopped waiting."""
        return self._call.time_left() <= 0

    def metadata(self) -> dict[str, str]:
        """What the caller sent along. In clear and not authenticated: a node could have changed it."""
        return self._call.metadata

    def session_id(self) -> str:
        """The number of the session that the call came in."""
        return str(self._call.session)

    def peer_subject(self) -> str:
        """The verified identity of the caller."""
        return self._call.subject

    def peer_issuer(self) -> str | None:
        """Who vouches for that identity, if it is a JSON Web Token that tells."""
        return self._call.issuer


class RequestStream:
    """The requests of a call."""

    def __init__(self, call: native.RpcServedCall) -> None:
        self._call = call

    async def next_async(self) -> StreamMessage:
        """The next request, or the end. Cancelling it loses nothing."""
        while (request := self._call.try_request()) is None:
            if self._call.requests_are_over():
                return StreamMessage.END()
            await self._call.request_ready()
        return StreamMessage.DATA(request)

    def next(self) -> StreamMessage:
        """``next_async`` for threads without an event loop."""
        return blocking(self.next_async())

    def __aiter__(self) -> RequestStream:
        return self

    async def __anext__(self) -> bytes:
        message = await self.next_async()
        if isinstance(message, StreamMessage.DATA):
            return message.data
        raise StopAsyncIteration


class ResponseSink:
    """Where the handler of a call with a stream of responses puts them."""

    def __init__(self, call: native.RpcServedCall) -> None:
        self._call = call
        self._is_closed = False

    async def send_async(self, data: bytes) -> None:
        """Gives one response. Waits while the caller does not keep up; ``RpcError`` when nobody waits for it."""
        if self._is_closed:
            raise RpcError.Rpc(RpcCode.CANCELLED, "this call was closed by its handler")
        await self._call.respond(data)

    async def send_error_async(self, error: RpcError) -> None:
        """Ends the call with this failure."""
        await self._finish(error)

    async def close_async(self) -> None:
        """Ends the call with success; the end of the handler does the same."""
        await self._finish(None)

    def is_closed(self) -> bool:
        """True if this handler has ended the call."""
        return self._is_closed

    async def is_closed_async(self) -> bool:
        """The same as ``is_closed``."""
        return self._is_closed

    def send(self, data: bytes) -> None:
        """``send_async`` for threads without an event loop."""
        blocking(self.send_async(data))

    def send_error(self, error: RpcError) -> None:
        """``send_error_async`` for threads without an event loop."""
        blocking(self.send_error_async(error))

    def close(self) -> None:
        """``close_async`` for threads without an event loop."""
        blocking(self.close_async())

    async def _finish(self, error: RpcError | None) -> None:
        """Ends the call, the first time."""
        if self._is_closed:
            return
        self._is_closed = True
        if error is None:
            await self._call.finish(RpcCode.OK.value, "")
            return
        code, text = code_and_text(error)
        await self._call.finish(code.value, text)


def code_and_text(error: RpcError) -> tuple[RpcCode, str]:
    """What a caller is told of a failure. A failure cannot say OK."""
    if isinstance(error, (RpcError.Rpc, RpcError.MulticastRpc)):
        return (RpcCode.UNKNOWN if error.code is RpcCode.OK else error.code), error.message
    return RpcCode.INTERNAL, str(error)
