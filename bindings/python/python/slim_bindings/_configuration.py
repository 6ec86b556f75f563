"""How a session is described."""

from __future__ import annotations

import datetime
from enum import Enum, IntEnum
from typing import Any

from slim_bindings._names import PyName

_RETRIES_MAX = 2**32 - 1
#: Retries of a 1:1 session that only says its timeout.
_RETRIES_DEFAULT = 5


class PySessionType(Enum):
    """Kinds of sessions, for ``get_default_session_config``."""

    FIRE_AND_FORGET = "fire and forget"
    STREAMING = "streaming"


class PySessionDirection(IntEnum):
    """Which way an application's data flows in a session."""

    #: Publishes only: others do not wait for its acknowledgements.
    SENDER = 0
    #: Receives only: ``publish`` is refused.
    RECEIVER = 1
    BIDIRECTIONAL = 2


class PySessionConfiguration:
    """Settings of a session. Build ``PySessionConfiguration.Streaming`` or ``PySessionConfiguration.FireAndForget``."""

    FireAndForget: type[FireAndForgetConfiguration]
    Streaming: type[StreamingConfiguration]
    __match_args__: tuple[str, ...] = ()

    def __new__(cls, *_arguments: Any, **_keywords: Any) -> PySessionConfiguration:
        if cls is PySessionConfiguration:
            raise TypeError("build PySessionConfiguration.Streaming(...) or PySessionConfiguration.FireAndForget(...)")
        return super().__new__(cls)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return not differing_fields(self, other)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in self.__match_args__))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__qualname__}({fields})"


class FireAndForgetConfiguration(PySessionConfiguration):
    """1:1 messages, each to the instance of a name that ``publish`` gives; the session has no peer of its own.

    With ``sticky``, all messages for a name go to the instance that answered first, as long as it is there. Without,
    each message goes to an instance found anew, in turn among those that answer; one 1:1 session per instance is kept.
    ``mls_enabled`` encrypts end to end and switches ``sticky`` on.

    ``timeout`` and ``max_retries`` (5 if not given) make it reliable, by the law of ``Streaming``: a message that is
    not acknowledged fails with ``SLIMTimeoutError`` after (max_retries + 1) times ``timeout``, and so does one for a
    name that nobody answers for. ``timeout=None`` is unreliable: ``publish`` does not wait for an acknowledgement.
    """

    __qualname__ = "PySessionConfiguration.FireAndForget"
    __match_args__ = ("timeout", "max_retries", "sticky", "mls_enabled")

    def __init__(
        self,
        timeout: datetime.timedelta | None = None,
        max_retries: int | None = None,
        sticky: bool = False,
        mls_enabled: bool = False,
    ) -> None:
        _check_timeout(timeout)
        if max_retries is not None:
            _check_retries(max_retries)
        self._values = (timeout, max_retries, bool(sticky) or bool(mls_enabled), bool(mls_enabled))

    @property
    def timeout(self) -> datetime.timedelta | None:
        return self._values[0]

    @property
    def max_retries(self) -> int | None:
        return self._values[1]

    @property
    def sticky(self) -> bool:
        return self._values[2]

    @property
    def mls_enabled(self) -> bool:
        return self._values[3]


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
        _check_retries(max_retries)
        _check_timeout(timeout)
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


PySessionConfiguration.FireAndForget = FireAndForgetConfiguration
PySessionConfiguration.Streaming = StreamingConfiguration

#: Any of them.
Configuration = FireAndForgetConfiguration | StreamingConfiguration


def checked(configuration: Any) -> Configuration:
    """The configuration; ``TypeError`` if it is none."""
    if not isinstance(configuration, (FireAndForgetConfiguration, StreamingConfiguration)):
        raise TypeError(
            "expected PySessionConfiguration.Streaming or PySessionConfiguration.FireAndForget, got "
            f"{type(configuration).__name__}"
        )
    return configuration


def timers(configuration: Configuration) -> tuple[int | None, int]:
    """Period in milliseconds and number of repetitions; without period the session is unreliable."""
    retries = _RETRIES_DEFAULT if configuration.max_retries is None else configuration.max_retries
    if configuration.timeout is None:
        return None, retries
    return configuration.timeout // datetime.timedelta(milliseconds=1), retries


def differing_fields(one: PySessionConfiguration, other: PySessionConfiguration) -> list[str]:
    """The fields in which two configurations of one class differ."""
    return [name for name in one.__match_args__ if getattr(one, name) != getattr(other, name)]


def _check_retries(max_retries: Any) -> None:
    if isinstance(max_retries, bool) or not isinstance(max_retries, int):
        raise TypeError(f"max_retries is int, not {type(max_retries).__name__}")
    if not 0 <= max_retries <= _RETRIES_MAX:
        raise ValueError(f"max_retries is 0 to {_RETRIES_MAX}, not {max_retries}")


def _check_timeout(timeout: Any) -> None:
    if timeout is None:
        return
    if not isinstance(timeout, datetime.timedelta):
        raise TypeError(f"timeout is datetime.timedelta or None, not {type(timeout).__name__}")
    if timeout < datetime.timedelta(milliseconds=1):
        raise ValueError(f"timeout is at least a millisecond, not {timeout}")
