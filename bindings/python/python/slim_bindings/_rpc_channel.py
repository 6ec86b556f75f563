"""Calls to one server or to several."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Iterable
from types import TracebackType

from slim_bindings import _slim_bindings as native
from slim_bindings._blocking import blocking
from slim_bindings._names import PyName
from slim_bindings._rpc_streams import (
    BidiStreamHandler,
    MulticastBidiStreamHandler,
    MulticastResponseReader,
    RequestStreamWriter,
    ResponseStreamReader,
)
from slim_bindings._service import PyService
from slim_bindings._slim import Slim

Timeout = datetime.timedelta | None
Metadata = dict[str, str] | None


class Channel:
    """Calls to one server, or to a group of them. All calls share one encrypted session, opened with the first call and
    again when it ended.

    ``timeout`` is the time until the last response, at most and without it ten hours. ``metadata`` goes to the handler,
    in clear and unauthenticated. Calls fail with ``RpcError``.
    """

    def __init__(self, app: Slim | PyService, remote: PyName) -> None:
        """To an application of this name; without id to any one instance."""
        self._open(app, remote, None)

    @classmethod
    def new_with_connection(cls, app: Slim | PyService, remote: PyName, connection_id: int | None) -> Channel:
        """The same over this connection, which becomes the application's route to the name."""
        channel = cls.__new__(cls)
        channel._open(app, remote, connection_id)
        return channel

    @classmethod
    def new_group(cls, app: Slim | PyService, members: Iterable[PyName]) -> Channel:
        """To several servers at once; each answers for itself, and only the caller reads the answers. Two instances of
        one name count once."""
        return cls.new_group_with_connection(app, members, None)

    @classmethod
    def new_group_with_connection(
        cls, app: Slim | PyService, members: Iterable[PyName], connection_id: int | None
    ) -> Channel:
        """The same over this connection, which becomes the application's route to these names."""
        parts = [_parts(member) for member in members]
        if not parts:
            raise ValueError("a group channel needs at least one server")
        channel = cls.__new__(cls)
        channel._service = service_of(app)
        channel._channel = channel._service._app.rpc_group_channel(parts, connection_id)
        channel._is_group = True
        return channel

    def _open(self, app: Slim | PyService, remote: PyName, connection_id: int | None) -> None:
        # Held, so that the application outlives its channel.
        self._service = service_of(app)
        self._channel = self._service._app.rpc_channel(_parts(remote), connection_id)
        self._is_group = False

    async def __aenter__(self) -> Channel:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close_async()

    # ----- one server -----

    async def call_unary_async(
        self, service_name: str, method_name: str, request: bytes, timeout: Timeout = None, metadata: Metadata = None
    ) -> bytes:
        """One request, one response. Cancelling it cancels the call."""
        self._expect(is_group=False)
        seconds = _seconds(timeout)
        return await self._channel.unary(service_name, method_name, request, seconds, metadata or {})

    async def call_unary_stream_async(
        self, service_name: str, method_name: str, request: bytes, timeout: Timeout = None, metadata: Metadata = None
    ) -> ResponseStreamReader:
        """One request, any number of responses."""
        call = self._call(False, service_name, method_name, request, timeout, metadata)
        await call.begin()
        return ResponseStreamReader(call)

    def call_stream_unary(
        self, service_name: str, method_name: str, timeout: Timeout = None, metadata: Metadata = None
    ) -> RequestStreamWriter:
        """Any number of requests, one response. The server learns of the call with the first request."""
        return RequestStreamWriter(self._call(False, service_name, method_name, None, timeout, metadata))

    def call_stream_stream(
        self, service_name: str, method_name: str, timeout: Timeout = None, metadata: Metadata = None
    ) -> BidiStreamHandler:
        """Any number of requests and responses, in any order."""
        return BidiStreamHandler(self._call(False, service_name, method_name, None, timeout, metadata))

    # ----- a group of servers -----

    async def call_multicast_unary_async(
        self, service_name: str, method_name: str, request: bytes, timeout: Timeout = None, metadata: Metadata = None
    ) -> MulticastResponseReader:
        """One request to all, one response of each."""
        return await self.call_multicast_unary_stream_async(service_name, method_name, request, timeout, metadata)

    async def call_multicast_unary_stream_async(
        self, service_name: str, method_name: str, request: bytes, timeout: Timeout = None, metadata: Metadata = None
    ) -> MulticastResponseReader:
        """One request to all, any number of responses of each."""
        call = self._call(True, service_name, method_name, request, timeout, metadata)
        await call.begin()
        return MulticastResponseReader(call)

    def call_multicast_stream_unary(
        self, service_name: str, method_name: str, timeout: Timeout = None, metadata: Metadata = None
    ) -> MulticastBidiStreamHandler:
        """Any number of requests to all, one response of each."""
        return self.call_multicast_stream_stream(service_name, method_name, timeout, metadata)

    def call_multicast_stream_stream(
        self, service_name: str, method_name: str, timeout: Timeout = None, metadata: Metadata = None
    ) -> MulticastBidiStreamHandler:
        """Any number of requests to all, and of responses of each."""
        return MulticastBidiStreamHandler(self._call(True, service_name, method_name, None, timeout, metadata))

    async def close_async(self, timeout: Timeout = None) -> None:
        """Ends the session, and with it every call under way; the next call opens another. ``TimeoutError`` if it takes
        longer than ``timeout``."""
        await asyncio.wait_for(self._channel.close(), _seconds(timeout))

    # ----- the same for programs without an event loop -----

    def call_unary(
        self, service_name: str, method_name: str, request: bytes, timeout: Timeout = None, metadata: Metadata = None
    ) -> bytes:
        """``call_unary_async`` for programs without an event loop."""
        return blocking(self.call_unary_async(service_name, method_name, request, timeout, metadata))

    def call_unary_stream(
        self, service_name: str, method_name: str, request: bytes, timeout: Timeout = None, metadata: Metadata = None
    ) -> ResponseStreamReader:
        """``call_unary_stream_async`` for programs without an event loop."""
        return blocking(self.call_unary_stream_async(service_name, method_name, request, timeout, metadata))

    def call_multicast_unary(
        self, service_name: str, method_name: str, request: bytes, timeout: Timeout = None, metadata: Metadata = None
    ) -> MulticastResponseReader:
        """``call_multicast_unary_async`` for programs without an event loop."""
        return blocking(self.call_multicast_unary_async(service_name, method_name, request, timeout, metadata))

    def call_multicast_unary_stream(
        self, service_name: str, method_name: str, request: bytes, timeout: Timeout = None, metadata: Metadata = None
    ) -> MulticastResponseReader:
        """``call_multicast_unary_stream_async`` for programs without an event loop."""
        return blocking(self.call_multicast_unary_stream_async(service_name, method_name, request, timeout, metadata))

    def close_blocking(self, timeout: Timeout = None) -> None:
        """``close_async`` for programs without an event loop."""
        blocking(self.close_async(timeout))

    def _call(
        self, is_group: bool, service: str, method: str, request: bytes | None, timeout: Timeout, metadata: Metadata
    ) -> native.RpcCall:
        self._expect(is_group)
        return self._channel.call(service, method, request, _seconds(timeout), metadata or {})

    def _expect(self, is_group: bool) -> None:
        if is_group and not self._is_group:
            raise ValueError("this channel leads to one server; make one with Channel.new_group for call_multicast_...")
        if self._is_group and not is_group:
            raise ValueError("this channel leads to a group, where each server answers; use call_multicast_...")


def service_of(app: Slim | PyService) -> PyService:
    """The application behind either class."""
    if isinstance(app, Slim):
        return app.svc
    if isinstance(app, PyService):
        return app
    raise TypeError(f"app is a Slim or a PyService, not {type(app).__name__}")


def _parts(name: PyName) -> tuple[str, str, str, int | None]:
    if not isinstance(name, PyName):
        raise TypeError(f"a server is a PyName, not {type(name).__name__}")
    return name._parts


def _seconds(timeout: Timeout) -> float | None:
    if timeout is None:
        return None
    if not isinstance(timeout, datetime.timedelta):
        raise TypeError(f"timeout is a datetime.timedelta or None, not {type(timeout).__name__}")
    return timeout.total_seconds()
