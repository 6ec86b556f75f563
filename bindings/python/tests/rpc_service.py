"""A service of the tests: one method of each kind, and ways to fail."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from slim_bindings import (
    Context,
    PyName,
    RequestStream,
    ResponseSink,
    RpcCode,
    RpcError,
    Server,
    Slim,
    UnaryStreamHandler,
    UnaryUnaryHandler,
)
from support import application

SERVICE = "tests.Calls"


class Echo(UnaryUnaryHandler):
    async def handle(self, request: bytes, context: Context) -> bytes:
        return request


class Count(UnaryStreamHandler):
    async def handle(self, request: bytes, context: Context, sink: ResponseSink) -> None:
        for number in range(int(request)):
            await sink.send_async(str(number).encode())


async def concatenate(stream: RequestStream, context: Context) -> bytes:
    return b"".join([request async for request in stream])


async def upper(stream: RequestStream, context: Context) -> AsyncIterator[bytes]:
    async for request in stream:
        yield request.upper()


async def fail(request: bytes, context: Context) -> bytes:
    """Fails with the code that the request names."""
    raise RpcError.Rpc(code=RpcCode(int(request)), message=f"code {int(request)}", details=b"stay here")


class Calls:
    """What happened to the handlers that wait."""

    def __init__(self) -> None:
        self.contexts: list[Context] = []
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def wait(self, request: bytes, context: Context) -> bytes:
        """Waits for ever."""
        self.contexts.append(context)
        self.started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        raise AssertionError("for ever is over")

    async def ticks(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        """Gives responses for ever."""
        try:
            while True:
                yield b"tick"
                await asyncio.sleep(0.01)
        finally:
            self.cancelled.set()

    async def look(self, request: bytes, context: Context) -> bytes:
        self.contexts.append(context)
        return b""


def register(server: Server) -> Calls:
    calls = Calls()
    server.register_unary_unary(SERVICE, "Echo", Echo())
    server.register_unary_stream(SERVICE, "Count", Count())
    server.register_stream_unary(SERVICE, "Concatenate", concatenate)
    server.register_stream_stream(SERVICE, "Upper", upper)
    server.register_unary_unary(SERVICE, "Fail", fail)
    server.register_unary_unary(SERVICE, "Wait", calls.wait)
    server.register_unary_unary(SERVICE, "Look", calls.look)
    server.register_unary_stream(SERVICE, "Ticks", calls.ticks)
    return calls


class Served:
    """A server that runs."""

    def __init__(self, app: Slim, server: Server, calls: Calls, serving: asyncio.Task[None]) -> None:
        self.app = app
        self.server = server
        self.calls = calls
        self.serving = serving

    @property
    def name(self) -> PyName:
        """What to call: any instance."""
        return PyName(*self.app.local_name.components_strings())


@contextlib.asynccontextmanager
async def served(endpoint: str | None, short: str = "server", **methods: Any) -> AsyncIterator[Served]:
    """A server with the methods above and these unary ones."""
    app = await application(endpoint, short)
    server = Server(app, app.local_name)
    calls = register(server)
    for method, handler in methods.items():
        server.register_unary_unary(SERVICE, method, handler)
    serving = asyncio.create_task(server.serve_async())
    try:
        yield Served(app, server, calls, serving)
    finally:
        await server.shutdown_async()
        # Returns also if the test cancelled it.
        await asyncio.wait({serving})
        if not serving.cancelled():
            serving.result()
