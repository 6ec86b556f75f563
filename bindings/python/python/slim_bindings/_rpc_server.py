"""Serves methods to whoever opens a session with an application."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from slim_bindings import _slim_bindings as native
from slim_bindings._blocking import blocking
from slim_bindings._names import PyName
from slim_bindings._rpc_channel import service_of
from slim_bindings._rpc_handlers import Method
from slim_bindings._service import PyService
from slim_bindings._slim import Slim

_log = logging.getLogger("slim_bindings")

#: A server that stops waits this long for handlers that do not let themselves be cancelled.
HANDLERS_END_SECONDS = 5.0


class Server:
    """Methods, and the calls of them. While it serves it takes every session that somebody opens with the application, so
    the application does not ``receive`` new sessions itself.

    Handlers run as tasks of the loop that serves, any number at a time. One is cancelled when nobody waits for its result
    any more: the deadline is over, the caller cancelled or is gone, the server stops.
    """

    def __init__(self, app: Slim | PyService, base_name: PyName) -> None:
        """For an application, under its own name or a further one, which it then serves too."""
        if not isinstance(base_name, PyName):
            raise TypeError(f"base_name is a PyName, not {type(base_name).__name__}")
        self._service = service_of(app)
        self._base_name = base_name
        self._methods: dict[tuple[str, str], Method] = {}
        self._serving: native.RpcServing | None = None
        self._running: set[asyncio.Task[None]] = set()

    @classmethod
    def new_with_connection(cls, app: Slim | PyService, base_name: PyName, connection_id: int | None) -> Server:
        """The same; names are served over every connection, so the number changes nothing."""
        return cls(app, base_name)

    def register_unary_unary(self, service_name: str, method_name: str, handler: Any) -> None:
        """One request, one response: ``async handle(request, context) -> bytes``."""
        self._register(service_name, method_name, handler, False, False)

    def register_unary_stream(self, service_name: str, method_name: str, handler: Any) -> None:
        """One request, any number of responses: ``async handle(request, context, sink)``, or an asynchronous generator
        function ``(request, context)``."""
        self._register(service_name, method_name, handler, False, True)

    def register_stream_unary(self, service_name: str, method_name: str, handler: Any) -> None:
        """Any number of requests, one response: ``async handle(stream, context) -> bytes``."""
        self._register(service_name, method_name, handler, True, False)

    def register_stream_stream(self, service_name: str, method_name: str, handler: Any) -> None:
        """Any number of both: ``async handle(stream, context, sink)``, or an asynchronous generator function ``(stream,
        context)``."""
        self._register(service_name, method_name, handler, True, True)

    def _register(self, service: str, method: str, handler: Any, requests: bool, responses: bool) -> None:
        for text in (service, method):
            if not isinstance(text, str) or not text:
                raise ValueError(f"a service and a method have names, unlike {service!r}/{method!r}")
        if self._serving is not None:
            raise RuntimeError("register methods before the server serves")
        self._methods[service, method] = Method(handler, requests, responses)

    async def serve_async(self) -> None:
        """Serves until ``shutdown_async``, until it is cancelled, or until the application ends."""
        if self._service._rpc_serving is not None:
            raise RuntimeError("this application serves already; register all methods with one server")
        is_further_name = not self._base_name.equal_without_id(self._service.name)
        if is_further_name:
            await self._service._app.subscribe(self._base_name._parts)
        methods = [
            (*names, method.streams_requests, method.streams_responses) for names, method in self._methods.items()
        ]
        serving = self._service._app.serve_rpc(methods)
        self._serving = self._service._rpc_serving = serving
        self._service._watch_door()
        try:
            while not serving.is_over():
                await serving.ready()
                while (call := serving.try_next()) is not None:
                    self._start(call)
        finally:
            try:
                await asyncio.shield(self._leave(serving, is_further_name))
            finally:
                self._serving = self._service._rpc_serving = None

    async def shutdown_async(self) -> None:
        """Ends running calls with CANCELLED and leaves the sessions; ``serve_async`` returns then. Harmless when it does
        not serve."""
        if self._serving is not None:
            await self._serving.shutdown()

    def serve_blocking(self) -> None:
        """``serve_async`` for threads without an event loop; handlers run in the loop that this starts."""
        blocking(self.serve_async())

    def shutdown_blocking(self) -> None:
        """``shutdown_async`` for threads without an event loop."""
        blocking(self.shutdown_async())

    async def _leave(self, serving: native.RpcServing, is_further_name: bool) -> None:
        await serving.shutdown()
        for task in self._running:
            task.cancel()
        if self._running:
            _, stubborn = await asyncio.wait(self._running, timeout=HANDLERS_END_SECONDS)
            if stubborn:
                _log.warning("%d handlers go on although the server has stopped and cancelled them", len(stubborn))
        if is_further_name:
            try:
                await self._service._app.unsubscribe(self._base_name._parts)
            except RuntimeError:
                # The application ended, and with it its names.
                pass

    def _start(self, call: native.RpcServedCall) -> None:
        # The native half hands out calls of registered methods only.
        method = self._methods[call.service, call.method]
        task = asyncio.get_running_loop().create_task(_serve(method, call))
        self._running.add(task)
        task.add_done_callback(self._running.discard)


async def _serve(method: Method, call: native.RpcServedCall) -> None:
    """Runs a handler until it ends or nobody waits for it."""
    handler: asyncio.Future[Any] = asyncio.ensure_future(method.run(call))
    stopped: asyncio.Future[Any] = call.stopped()
    try:
        await asyncio.wait({handler, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        if not handler.done():
            handler.cancel()
            await asyncio.wait({handler})
