"""How a session is described."""

from __future__ import annotations

import datetime
from enum import Enum, IntEnum
from typing import Any

from slim_bindings._names import PyName

_RETRIES_MAX = 2**32 - 1


class PySessionType(Enum):
    """Kinds of sessions, for ``get_default_session_config``."""

    STREAMING = "streaming"


class PySessionDirection(IntEnum):
    """Which way an application's data flows in a session."""

    #: Publishes only: others do not wait for its acknowledgements.
    SENDER = 0
    #: Receives only: ``publish`` is refused.
    RECEIVER = 1
    BIDIRECTIONAL = 2


class PySessionConfiguration:
    """Settings of a session. Build ``PySessionConfiguration.Streaming``."""

    Streaming: type[StreamingConfiguration]

    def __new__(cls, *_arguments: Any, **_keywords: Any) -> PySessionConfiguration:
        if cls is PySessionConfiguration:
            raise TypeError("build PySessionConfiguration.Streaming(...)")
        return super().__new__(cls)


class StreamingConfiguration(PySessionConfiguration):
    """A group on a channel.

    A message that is not acknowledged is repeated every ``timeout``, at most ``max_retries`` times, and fails with
    ``SLIMTimeoutError`` after (max_retries + 1) times ``timeout``; the steps of an invitation follow the same law.
    So ``max_retries=0`` is one attempt that still waits for its acknowledgement. ``timeout=None`` makes the session
    unreliable: ``publish`` then does not wait, and nothing is acknowledged, repeated or put in order.

    ``moderator`` must be true to create a session; participants get theirs from ``Slim.receive``.
    """

    __qualname__ = "PySessionConfiguration.Streaming"
    __match_args__ = ("session_direction", "topic", "moderator", "max_retries", "timeout", "mls_enabled")

    def __init__(
        self,
        session_direction: PySessionDirection,
        topic: PyName,
        moderator: bool = False,
        max_retries: int = 0,
        timeout: datetime.timedelta | None = datetime.timedelta(seconds=1),
        mls_enabled: bool = False,
    ) -> None:
        if not isinstance(topic, PyName):
            raise TypeError(f"topic is PyName, not {type(topic).__name__}")
        if isinstance(max_retries, bool) or not isinstance(max_retries, int):
            raise TypeError(f"max_retries is int, not {type(max_retries).__name__}")
        if not 0 <= max_retries <= _RETRIES_MAX:
            raise ValueError(f"max_retries is 0 to {_RETRIES_MAX}, not {max_retries}")
        if timeout is not None:
            if not isinstance(timeout, datetime.timedelta):
                raise TypeError(f"timeout is datetime.timedelta or None, not {type(timeout).__name__}")
            if timeout < datetime.timedelta(milliseconds=1):
                raise ValueError(f"timeout is at least a millisecond, not {timeout}")
        self._values = (
            PySessionDirection(session_direction),
            topic,
            bool(moderator),
            max_retries,
            timeout,
            bool(mls_enabled),
        )

    @property
    def session_direction(self) -> PySessionDirection:
        return self._values[0]

    @property
    def topic(self) -> PyName:
        return self._values[1]

    @property
    def moderator(self) -> bool:
        return self._values[2]

    @property
    def max_retries(self) -> int:
        return self._values[3]

    @property
    def timeout(self) -> datetime.timedelta | None:
        return self._values[4]

    @property
    def mls_enabled(self) -> bool:
        return self._values[5]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StreamingConfiguration):
            return NotImplemented
        return self._values == other._values

    def __hash__(self) -> int:
        return hash(self._values)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__qualname__}({fields})"


PySessionConfiguration.Streaming = StreamingConfiguration


def differing_fields(one: StreamingConfiguration, other: StreamingConfiguration) -> list[str]:
    """The fields in which two configurations differ."""
    return [name for name in StreamingConfiguration.__match_args__ if getattr(one, name) != getattr(other, name)]
