"""What an application sees of a session: its facts, the context of a message, its members and what happens to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from slim_bindings._names import PyName

if TYPE_CHECKING:
    from slim_bindings import _slim_bindings


class PySessionInfo:
    """Handle of a session, and the context of the message it came with.

    ``destination_name`` is the channel of a group, so publishing to it answers everybody, and one to one the peer;
    ``source_name`` is the sender of the message, or this application when there is no message.
    """

    __slots__ = ("_direct", "_facts", "_id", "_message", "_native")

    def __init__(self, session_id: int) -> None:
        self._id = session_id
        self._native: _slim_bindings.Session | None = None
        self._facts: _slim_bindings.SessionFacts | None = None
        self._message: _slim_bindings.Message | None = None

    @classmethod
    def _of(cls, native: _slim_bindings.Session, message: _slim_bindings.Message | None = None) -> PySessionInfo:
        info = cls(native.id)
        info._native = native
        info._facts = native.facts()
        info._message = message
        return info

    @property
    def id(self) -> int:
        """The session's number, equal at all members."""
        return self._id

    @property
    def source_name(self) -> PyName | None:
        """The sender of the message, or this application; unknown for a handle made by hand."""
        if self._message is not None:
            return PyName._of(self._message.source)
        return None if self._facts is None else PyName._of(self._facts.source)

    @property
    def destination_name(self) -> PyName | None:
        """The channel of a group (without id), or the peer. Unknown for a handle made by hand, and for one that
        ``create_session`` returned for fire and forget, where each message names its receiver."""
        if self._facts is None:
            return None
        if self._facts.is_anycast:
            return None if self._message is None else PyName._of(self._message.source)
        name = PyName._of(self._facts.destination)
        return name._without_id() if self._facts.is_group else name

    @property
    def payload_type(self) -> str:
        """The type text of the message, empty without one."""
        return "" if self._message is None else self._message.payload_type

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata of the message, or of the session when there is no message."""
        if self._message is not None:
            return dict(self._message.metadata)
        return {} if self._facts is None else dict(self._facts.metadata)

    @property
    def source_identity(self) -> str | None:
        """The verified identity of the sender."""
        return None if self._message is None else self._message.subject

    @property
    def message_id(self) -> int | None:
        """The message's number at its sender."""
        return None if self._message is None else self._message.message_id

    @property
    def direct(self) -> bool:
        """True if the message was sent to this member only."""
        return self._message is not None and self._message.direct

    @property
    def mls_epoch(self) -> int | None:
        """The epoch of the encrypted group now; ``None`` without encryption and after the session's end."""
        return None if self._native is None else self._native.mls_epoch()

    def __repr__(self) -> str:
        return f"PySessionInfo(id={self.id}, source={self.source_name}, destination={self.destination_name})"


class Member(NamedTuple):
    """A member of a session."""

    name: PyName
    online: bool
    is_moderator: bool
    #: The verified identity; always known with MLS.
    subject: str | None


class MembershipEvent(NamedTuple):
    """Something that happened to a member: ``joined``, ``left``, ``offline``, ``online``, or ``lost``.

    ``lost`` means that its messages ``first`` to ``last`` will never arrive.
    """

    member: PyName
    change: str
    first: int | None = None
    last: int | None = None
