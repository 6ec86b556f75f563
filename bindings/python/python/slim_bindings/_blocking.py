"""Blocking twins of coroutines, for programs and threads without an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def blocking(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of the coroutine, in an event loop of its own. Not for the thread of a running loop, which it would
    stop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    name = getattr(coroutine, "__name__", "its asynchronous twin")
    coroutine.close()
    raise RuntimeError(f"this would block the event loop that runs in this thread; await {name} instead")
