"""The queue of one session: messages and errors for ``receive``, notices for ``events``."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from slim_bindings import _slim_bindings as native
from slim_bindings._configuration import PySessionDirection
from slim_bindings._errors import SLIMMessageLostError, SLIMSessionClosedError
from slim_bindings._names import PyName
from slim_bindings._session import MembershipEvent, PySessionInfo
from slim_bindings._signal import Signal, Watch

if TYPE_CHECKING:
    Entry = tuple[PySessionInfo, bytes] | Exception

#: Messages held here when ``queue_size`` is 0: as many as the native inbox holds.
QUEUE_SIZE_DEFAULT = 1024
#: Notices held for ``events``; of more the oldest is dropped and counted.
NOTICES_MAX = 1024


class SessionInbox:
    """Sorts what a native session delivers, on demand.

    Messages stay in the native inbox, whose size bounds the senders, until somebody asks. They are held here only when
    ``events`` had to look behind them, and never more than ``queue_size``; then ``events`` waits for ``receive``.
    """

    def __init__(
        self,
        session: native.Session,
        direction: PySessionDirection,
        queue_size: int,
        notify: Callable[[], None],
        sticky: bool = True,
    ) -> None:
        self.session = session
        #: One to one: messages for a name go to one instance.
        self.sticky = sticky
        #: The application's direction in this session.
        self.direction = direction
        #: Notices dropped because nobody read ``events``.
        self.notices_dropped = 0
        self._size = queue_size if queue_size > 0 else QUEUE_SIZE_DEFAULT
        self._entries: deque[Entry] = deque()
        self._notices: deque[MembershipEvent] = deque()
        self._changed = Signal()
        self._notify = notify
        self._watch = Watch(session.ready, self._wake)

    async def get(self) -> tuple[PySessionInfo, bytes]:
        """The next message; raises what was queued instead of one, and ``SLIMSessionClosedError`` after the end."""
        while True:
            changed = self._changed.next()
            try:
                return self.get_nowait()
            except asyncio.QueueEmpty:
                self._watch.start()
                await asyncio.shield(changed)

    def get_nowait(self) -> tuple[PySessionInfo, bytes]:
        """The next message if there is one now, else ``asyncio.QueueEmpty``."""
        while not self._entries:
            if not self._pull():
                raise asyncio.QueueEmpty
        entry = self._entries.popleft()
        self._wake()
        if isinstance(entry, Exception):
            raise entry
        return entry

    def put_nowait(self, entry: Entry) -> None:
        """Queues an error (or a message) behind what is here."""
        if len(self._entries) >= self._size:
            raise asyncio.QueueFull
        self._entries.append(entry)
        self._wake()

    def qsize(self) -> int:
        """Entries held here; the native inbox may hold more."""
        return len(self._entries)

    def empty(self) -> bool:
        """True if ``get_nowait`` would find nothing held here."""
        return not self._entries

    def watch(self) -> None:
        """Calls ``notify`` when something arrives."""
        self._watch.start()

    def first_message(self) -> tuple[PySessionInfo, bytes] | None:
        """The first message that waits, without taking it. Raises ``SLIMSessionClosedError`` when none can come."""
        looked_at = 0
        while True:
            while looked_at < len(self._entries):
                entry = self._entries[looked_at]
                if not isinstance(entry, Exception):
                    return entry
                looked_at += 1
            if len(self._entries) >= self._size or not self._pull():
                return None

    async def events(self) -> AsyncIterator[MembershipEvent]:
        """What happens to the members from the session's beginning on, until it ends."""
        while True:
            changed = self._changed.next()
            while self._notices:
                yield self._notices.popleft()
            has_room = len(self._entries) < self._size
            if has_room:
                try:
                    if self._pull():
                        continue
                except SLIMSessionClosedError:
                    return
                self._watch.start()
            elif self.session.is_closed():
                return
            await asyncio.shield(changed)

    def _pull(self) -> bool:
        """Sorts one item of the native inbox in; false if there is none. Raises the session's end."""
        item = self.session.try_receive()
        if item is None:
            return False
        if isinstance(item, native.Message):
            self._entries.append((PySessionInfo._of(self.session, item), item.payload))
        elif isinstance(item, native.Lost):
            sender = PyName._of(item.sender)
            self._note(MembershipEvent(sender, "lost", item.first, item.last))
            self._entries.append(SLIMMessageLostError(self.session.id, sender, item.first, item.last))
        else:
            self._note(MembershipEvent(PyName._of(item.member), item.change))
        self._wake()
        return True

    def _note(self, notice: MembershipEvent) -> None:
        if len(self._notices) >= NOTICES_MAX:
            self._notices.popleft()
            self.notices_dropped += 1
        self._notices.append(notice)

    def _wake(self) -> None:
        self._changed.set()
        self._notify()
