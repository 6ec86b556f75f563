"""Handlers of calls: what may be registered, and how each is run."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import inspect
import logging
from collections.abc import Callable
from typing import Any

from slim_bindings import _slim_bindings as native
from slim_bindings._rpc_context import Context, RequestStream, ResponseSink
from slim_bindings._rpc_errors import RpcCode, RpcError
from slim_bindings._rpc_messages import StreamMessage

_log = logging.getLogger("slim_bindings")


class UnaryUnaryHandler(abc.ABC):
    """One request, one response. Deriving is optional: any object with such a method does."""

    @abc.abstractmethod
    async def handle(self, request: bytes, context: Context) -> bytes:
        """Returns the response; raise ``RpcError.Rpc`` to fail with a code."""


class UnaryStreamHandler(abc.ABC):
    """One request, any number of responses. Deriving is optional."""

    @abc.abstractmethod
    async def handle(self, request: bytes, context: Context, sink: ResponseSink) -> None:
        """Gives the responses to the sink."""


class StreamUnaryHandler(abc.ABC):
    """Any number of requests, one response. Deriving is optional."""

    @abc.abstractmethod
    async def handle(self, stream: RequestStream, context: Context) -> bytes:
        """Returns the response."""


class StreamStreamHandler(abc.ABC):
    """Any number of requests and responses. Deriving is optional."""

    @abc.abstractmethod
    async def handle(self, stream: RequestStream, context: Context, sink: ResponseSink) -> None:
        """Gives the responses to the sink."""


class Method:
    """A registered method."""

    def __init__(self, handler: Any, streams_requests: bool, streams_responses: bool) -> None:
        self.streams_requests = streams_requests
        self.streams_responses = streams_responses
        self._handle = _function(handler, streams_responses)

    async def run(self, call: native.RpcServedCall) -> None:
        """Serves one call to its end, whatever the handler does."""
        sink = ResponseSink(call)
        try:
            await self._answer(call, sink)
        except asyncio.CancelledError:
            # Mostly because nobody waits any more, who then is not told either.
            await sink._finish(RpcError.Rpc(RpcCode.CANCELLED, "the handler was cancelled"))
            raise
        except RpcError as error:
            await sink._finish(error)
        except Exception as error:
            # The text may say what is none of the caller's business; it is in the log here.
            _log.exception("the handler of %s/%s failed", call.service, call.method)
            text = f"the handler failed: {type(error).__name__}"
            await sink._finish(RpcError.Rpc(RpcCode.UNKNOWN, text))
        else:
            await sink._finish(None)

    async def _answer(self, call: native.RpcServedCall, sink: ResponseSink) -> None:
        stream = RequestStream(call)
        first: bytes | RequestStream = stream
        if not self.streams_requests:
            message = await stream.next_async()
            if not isinstance(message, StreamMessage.DATA):
                raise RpcError.Rpc(RpcCode.INVALID_ARGUMENT, "the call has no request")
            first = message.data
        context = Context(call)
        if not self.streams_responses:
            await sink.send_async(_response(await self._handle(first, context)))
        elif inspect.isasyncgenfunction(self._handle):
            async with contextlib.aclosing(self._handle(first, context)) as responses:
                async for response in responses:
                    await sink.send_async(_response(response))
        else:
            await self._handle(first, context, sink)


def _function(handler: Any, streams_responses: bool) -> Callable[..., Any]:
    """The function of a handler: its method ``handle``, or itself."""
    function: Callable[..., Any] = getattr(handler, "handle", handler)
    if inspect.isasyncgenfunction(function):
        if not streams_responses:
            raise TypeError("a handler that yields has several responses; register it as unary_stream or stream_stream")
        return function
    if inspect.iscoroutinefunction(function):
        return function
    raise TypeError(f"a handler is a coroutine function or has one that is named handle, unlike {handler!r}")


def _response(response: Any) -> bytes:
    if isinstance(response, (bytes, bytearray, memoryview)):
        return bytes(response)
    raise TypeError(f"a response is bytes, not {type(response).__name__}")
