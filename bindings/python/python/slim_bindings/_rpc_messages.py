"""What streams of calls deliver: data, an error, or the end."""

from __future__ import annotations

from typing import NamedTuple

from slim_bindings import _slim_bindings as native
from slim_bindings._names import PyName
from slim_bindings._rpc_errors import RpcCode, RpcError


class RpcMessageContext(NamedTuple):
    """Where a response of a group came from."""

    source: PyName


class RpcMulticastItem(NamedTuple):
    """A response of one server of a group."""

    context: RpcMessageContext
    message: bytes


class _Message:
    """Data, an error or the end; the kinds are classes of the class that says what data is."""

    __slots__ = ()

    def is_DATA(self) -> bool:
        """A message."""
        return isinstance(self, _Data)

    def is_ERROR(self) -> bool:
        """A failure: of the call, or of one server of a group."""
        return isinstance(self, _Error)

    def is_END(self) -> bool:
        """Nothing follows."""
        return isinstance(self, _End)

    is_data = is_DATA
    is_error = is_ERROR
    is_end = is_END


class _Data:
    __slots__ = ()


class _Error:
    __slots__ = ()


class _End:
    __slots__ = ()


class _Value:
    """One value, by number and by name."""

    __slots__ = ()
    __match_args__: tuple[str, ...] = ()

    def __getitem__(self, index: int) -> object:
        return tuple(getattr(self, name) for name in self.__match_args__)[index]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__match_args__)

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in self.__match_args__)))

    def __repr__(self) -> str:
        values = ", ".join(repr(getattr(self, name)) for name in self.__match_args__)
        return f"{type(self).__qualname__}({values})"


class StreamMessage(_Message):
    """``DATA`` with ``data``, ``ERROR`` with ``error``, or ``END``; the value is also ``message[0]``."""

    __slots__ = ()

    DATA: type[_StreamData]
    ERROR: type[_StreamError]
    END: type[_StreamEnd]


class _StreamData(_Value, _Data, StreamMessage):
    __slots__ = ("data",)
    __match_args__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __getitem__(self, index: int) -> bytes:
        return (self.data,)[index]


class _StreamError(_Value, _Error, StreamMessage):
    __slots__ = ("error",)
    __match_args__ = ("error",)

    def __init__(self, error: RpcError) -> None:
        self.error = error

    def __getitem__(self, index: int) -> RpcError:
        return (self.error,)[index]


class _StreamEnd(_Value, _End, StreamMessage):
    __slots__ = ()


class MulticastStreamMessage(_Message):
    """``DATA`` with ``item``, ``ERROR`` with ``error``, or ``END``."""

    __slots__ = ()

    DATA: type[_MulticastData]
    ERROR: type[_MulticastError]
    END: type[_MulticastEnd]


class _MulticastData(_Value, _Data, MulticastStreamMessage):
    __slots__ = ("item",)
    __match_args__ = ("item",)

    def __init__(self, item: RpcMulticastItem) -> None:
        self.item = item


class _MulticastError(_Value, _Error, MulticastStreamMessage):
    __slots__ = ("error",)
    __match_args__ = ("error",)

    def __init__(self, error: RpcError) -> None:
        self.error = error


class _MulticastEnd(_Value, _End, MulticastStreamMessage):
    __slots__ = ()


def _name_kinds(of: type, **kinds: type) -> None:
    for name, kind in kinds.items():
        kind.__name__ = name
        kind.__qualname__ = f"{of.__name__}.{name}"
        setattr(of, name, kind)


_name_kinds(StreamMessage, DATA=_StreamData, ERROR=_StreamError, END=_StreamEnd)
_name_kinds(MulticastStreamMessage, DATA=_MulticastData, ERROR=_MulticastError, END=_MulticastEnd)


def failure(arrived: native.RpcFailure) -> RpcError:
    """The exception for what the native half says."""
    if arrived.source is not None:
        return RpcError.MulticastRpc(PyName._of(arrived.source), RpcCode(arrived.code), arrived.message)
    if arrived.closed is not None:
        completed, missing = ([PyName._of(name) for name in names] for names in arrived.closed)
        return RpcError.MulticastSessionClosed(len(completed), len(completed) + len(missing), completed, missing)
    return RpcError.Rpc(RpcCode(arrived.code), arrived.message)
