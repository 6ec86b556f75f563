"""Waking tasks of one event loop, so that cancelling a wait loses nothing and leaks nothing."""

from __future__ import annotations

import asyncio
import functools
import weakref
from collections.abc import Callable


class Signal:
    """Tells every waiting task that something changed; the task then looks for itself.

    Usable on one loop after the other: a wait that a closed loop left behind is forgotten.
    """

    __slots__ = ("__weakref__", "_future")

    def __init__(self) -> None:
        self._future: asyncio.Future[None] | None = None

    def next(self) -> asyncio.Future[None]:
        """A future for the next ``set``. Take it before the last look, and shield it: tasks share it."""
        event_loop = asyncio.get_running_loop()
        if self._future is None or self._future.done() or self._future.get_loop() is not event_loop:
            self._future = event_loop.create_future()
        return self._future

    def set(self) -> None:
        """Wakes everybody who waits."""
        future, self._future = self._future, None
        if future is not None and not future.done():
            future.set_result(None)


class Watch:
    """Keeps at most one readiness future of the native half open and calls back when it resolves.

    A cancelled wait leaves the future for the next one, so cancelling ten thousand waits costs one. The open future
    refers to the watch weakly, and the watch to whom it notifies: dropping the last reference to an application ends it
    at once, whatever somebody waited for.
    """

    __slots__ = ("__weakref__", "_arm", "_armed", "_notify")

    def __init__(self, arm: Callable[[], asyncio.Future[None]], notify: Callable[[], None]) -> None:
        self._arm = arm
        self._notify = weakref.WeakMethod(notify)
        self._armed: asyncio.Future[None] | None = None

    def start(self) -> None:
        """Watches on the running loop, if nothing does yet."""
        if self._armed is not None and self._armed.get_loop() is asyncio.get_running_loop():
            return
        self._armed = self._arm()
        self._armed.add_done_callback(functools.partial(_ready, weakref.ref(self)))

    def _is_ready(self, future: asyncio.Future[None]) -> None:
        if future is self._armed:
            self._armed = None
        notify = self._notify()
        if notify is not None and not future.cancelled():
            notify()


def _ready(watching: weakref.ref[Watch], future: asyncio.Future[None]) -> None:
    watch = watching()
    if watch is not None:
        watch._is_ready(future)
