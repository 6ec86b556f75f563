"""One application: its native half, its sessions, and the sessions that others opened with it."""

from __future__ import annotations

import asyncio
import datetime
import weakref
from collections import deque

from slim_bindings import _slim_bindings
from slim_bindings._configuration import PySessionDirection, PySessionType, StreamingConfiguration, differing_fields
from slim_bindings._errors import SLIMSessionClosedError, SLIMSessionNotFoundError
from slim_bindings._inbox import SessionInbox
from slim_bindings._names import PyName
from slim_bindings._session import PySessionInfo
from slim_bindings._signal import Signal, Watch

#: Ended sessions that are remembered, so that ``receive`` says why they ended; of more the oldest is forgotten.
ENDED_MAX = 1024

#: Leaving the process takes at most this long, so that the last message before the exit arrives, the others learn of
#: the exit, and Ctrl-C still ends the process within a second.
EXIT_SECONDS = 0.6

_services: weakref.WeakSet[PyService] = weakref.WeakSet()


class PyService:
    """An application as the module functions take it; ``Slim`` wraps one."""

    def __init__(self, app: _slim_bindings.App, direction: PySessionDirection) -> None:
        self._app = app
        _services.add(self)
        self._direction = direction
        #: Sessions of this application: its own, and those of others from their first message on.
        self._sessions: dict[int, tuple[PySessionInfo, SessionInbox]] = {}
        #: Sessions of others that have not delivered a message yet.
        self._waiting: dict[int, SessionInbox] = {}
        #: Sessions of others whose first message nobody was told of.
        self._announced: deque[tuple[PySessionInfo, bytes]] = deque()
        self._changed = Signal()
        self._watch = Watch(app.accept_ready, self._changed.set)
        self._defaults = StreamingConfiguration(
            direction,
            topic=PyName("default", "default", "default"),
            max_retries=10,
            timeout=datetime.timedelta(seconds=1),
        )

    @property
    def id(self) -> int:
        """The application's instance id."""
        return self.name.id

    @property
    def name(self) -> PyName:
        """The application's name with its id."""
        return PyName._of(self._app.name)

    @property
    def identity_assurance(self) -> str:
        """What an identity is worth: with ``shared_secret`` any holder of the secret can claim any identity."""
        return "shared_secret"

    def __repr__(self) -> str:
        return f"PyService(name={self.name})"

    async def _create_session(self, cfg: StreamingConfiguration, queue_size: int) -> PySessionInfo:
        if not isinstance(cfg, StreamingConfiguration):
            raise TypeError(f"expected PySessionConfiguration.Streaming, got {type(cfg).__name__}")
        if not cfg.moderator:
            raise ValueError(
                "Streaming(moderator=False) cannot create a session; a participant waits for the moderator's "
                "invitation with receive()"
            )
        milliseconds = None
        if cfg.timeout is not None:
            milliseconds = cfg.timeout // datetime.timedelta(milliseconds=1)
        session = await self._app.open(
            True,
            cfg.topic._without_id()._parts,
            milliseconds,
            cfg.max_retries,
            cfg.mls_enabled,
            cfg.session_direction.name.lower(),
            {},
        )
        info = PySessionInfo._of(session)
        self._remember(info, SessionInbox(session, cfg.session_direction, queue_size, self._changed.set))
        return info

    def _inbox(self, id: int) -> SessionInbox:
        try:
            return self._sessions[id][1]
        except KeyError:
            raise SLIMSessionNotFoundError("session not found", id) from None

    async def _delete_session(self, id: int) -> None:
        if id not in self._sessions:
            raise SLIMSessionNotFoundError(f"session not found: {id}")
        _, inbox = self._sessions.pop(id)
        await inbox.session.close()

    def _configuration(self, id: int) -> StreamingConfiguration:
        if id not in self._sessions:
            raise SLIMSessionNotFoundError(f"session not found: {id}")
        inbox = self._sessions[id][1]
        facts = inbox.session.facts()
        timeout = None if facts.interval_ms is None else datetime.timedelta(milliseconds=facts.interval_ms)
        return StreamingConfiguration(
            inbox.direction,
            topic=PyName._of(facts.destination)._without_id(),
            moderator=facts.is_initiator,
            max_retries=facts.max_retries or 0,
            timeout=timeout,
            mls_enabled=facts.mls,
        )

    def _configure(self, id: int, cfg: StreamingConfiguration) -> None:
        fields = differing_fields(self._configuration(id), cfg)
        if fields:
            raise ValueError(
                f"cannot change {', '.join(fields)} of session {id}: the members were told when they joined; "
                "create another session"
            )

    def _set_defaults(self, cfg: StreamingConfiguration) -> None:
        if not isinstance(cfg, StreamingConfiguration):
            raise TypeError(f"expected PySessionConfiguration.Streaming, got {type(cfg).__name__}")
        if cfg.session_direction != self._direction:
            raise ValueError(
                f"this application is {self._direction.name} in the sessions of others; give direction= to Slim.new "
                "to change that"
            )
        self._defaults = cfg

    def _default_configuration(self, kind: PySessionType) -> StreamingConfiguration:
        # Fails for anything else.
        PySessionType(kind)
        return self._defaults

    async def _receive_any(self) -> tuple[PySessionInfo, bytes]:
        """The next message of any session."""
        while True:
            changed = self._changed.next()
            self._sweep()
            for _, inbox in list(self._sessions.values()):
                try:
                    return inbox.get_nowait()
                except (asyncio.QueueEmpty, SLIMSessionClosedError):
                    continue
            self._watch.start()
            for inbox in self._inboxes():
                inbox.watch()
            await asyncio.shield(changed)

    async def _receive_new(self) -> tuple[PySessionInfo, bytes]:
        """A session that somebody else opened, with its first message, which stays in its inbox."""
        while True:
            changed = self._changed.next()
            self._sweep()
            if self._announced:
                return self._announced.popleft()
            self._watch.start()
            for inbox in self._waiting.values():
                inbox.watch()
            await asyncio.shield(changed)

    def _sweep(self) -> None:
        """Takes the sessions that others opened, and looks which of them have a message now."""
        while (session := self._app.try_accept()) is not None:
            self._waiting[session.id] = SessionInbox(session, self._direction, 0, self._changed.set)
        for id, inbox in list(self._waiting.items()):
            try:
                first = inbox.first_message()
            except SLIMSessionClosedError:
                # It ended before it said anything.
                del self._waiting[id]
                continue
            if first is not None:
                del self._waiting[id]
                self._remember(first[0], inbox)
                self._announced.append(first)

    def _inboxes(self) -> list[SessionInbox]:
        known = (inbox for _, inbox in self._sessions.values() if not inbox.session.is_closed())
        return [*known, *self._waiting.values()]

    def _remember(self, info: PySessionInfo, inbox: SessionInbox) -> None:
        # A member that was removed and invited again gets the same number; the new session goes to the end.
        self._sessions.pop(info.id, None)
        self._sessions[info.id] = (info, inbox)
        if len(self._sessions) <= ENDED_MAX:
            return
        ended = [id for id, (_, inbox) in self._sessions.items() if inbox.session.is_closed()]
        for id in ended[: max(0, len(ended) - ENDED_MAX)]:
            del self._sessions[id]


def leave_process() -> None:
    """Ends or leaves every session and sends what is queued, within ``EXIT_SECONDS``; runs at exit."""
    _slim_bindings.shutdown(EXIT_SECONDS, [service._app for service in _services])
