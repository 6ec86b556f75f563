"""How calls fail: the codes of gRPC, and the exceptions that carry them."""

from __future__ import annotations

import enum

from slim_bindings._names import PyName


class RpcCode(enum.Enum):
    """The status codes of gRPC."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RpcError(Exception):
    """A call that failed; raised are its three kinds ``Rpc``, ``MulticastRpc`` and ``MulticastSessionClosed``.

    A handler raises ``RpcError.Rpc`` to choose what its caller sees.
    """

    Rpc: type[_Rpc]
    MulticastRpc: type[_MulticastRpc]
    MulticastSessionClosed: type[_MulticastSessionClosed]


class _Rpc(RpcError):
    """The call failed with this code and text. ``details`` does not travel: it is what a program puts there itself."""

    def __init__(self, code: RpcCode, message: str, details: bytes | None = None) -> None:
        self.code = _code(code)
        self.message = message
        self.details = details
        super().__init__(f"{self.code.name}: {message}")


class _MulticastRpc(RpcError):
    """One server of a group, ``origin``, ended its part like this; the call goes on for the others."""

    def __init__(self, origin: PyName, code: RpcCode, message: str, details: bytes | None = None) -> None:
        self.origin = origin
        self.code = _code(code)
        self.message = message
        self.details = details
        super().__init__(f"{origin}: {self.code.name}: {message}")


class _MulticastSessionClosed(RpcError):
    """The group ended under the call: ``completed`` of ``total`` servers had finished, those of ``received``; those of
    ``missing`` had not."""

    def __init__(self, completed: int, total: int, received: list[PyName], missing: list[PyName]) -> None:
        self.completed = completed
        self.total = total
        self.received = received
        self.missing = missing
        names = ", ".join(str(name) for name in missing)
        super().__init__(f"the group ended after {completed} of {total} servers had finished; missing: {names}")


def _code(code: RpcCode) -> RpcCode:
    if not isinstance(code, RpcCode):
        raise TypeError(f"code is an RpcCode, not {type(code).__name__}")
    return code


for _kind in (_Rpc, _MulticastRpc, _MulticastSessionClosed):
    # One name for each, as users write it.
    _kind.__name__ = _kind.__name__.removeprefix("_")
    _kind.__qualname__ = f"RpcError.{_kind.__name__}"
    setattr(RpcError, _kind.__name__, _kind)
