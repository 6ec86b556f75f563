"""One application: its native half, its sessions, and the sessions that others opened with it."""

from __future__ import annotations

import asyncio
import datetime
import weakref
from collections import deque

from slim_bindings import _slim_bindings
from slim_bindings._configuration import (
    Configuration,
    FireAndForgetConfiguration,
    PySessionDirection,
    PySessionType,
    StreamingConfiguration,
    checked,
    differing_fields,
    timers,
)
from slim_bindings._errors import SLIMSessionClosedError, SLIMSessionNotFoundError
from slim_bindings._inbox import SessionInbox
from slim_bindings._invitations import Decide, Door
from slim_bindings._names import PyName
from slim_bindings._refusals import SLIMIdentityError, refusal
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

    def __init__(
        self,
        app: _slim_bindings.App,
        direction: PySessionDirection,
        assurance: str = "shared_secret",
        decide: Decide | None = None,
    ) -> None:
        self._app = app
        #: Asks whose invitations are accepted, if the application wants to be asked.
        self._door = None if decide is None else Door(app, decide)
        self._watch_door()
        self._assurance = assurance
        _services.add(self)
        self._direction = direction
        #: Sessions of this application: its own, and those of others from their first message on.
        self._sessions: dict[int, tuple[PySessionInfo, SessionInbox]] = {}
        #: Sessions of others that have not delivered a message yet.
        self._waiting: dict[int, SessionInbox] = {}
        #: Sessions of others whose first message nobody was told of.
        self._announced: deque[tuple[PySessionInfo, bytes]] = deque()
        #: The server of this application's calls, which takes all sessions of others.
        self._rpc_serving: _slim_bindings.RpcServing | None = None
        self._changed = Signal()
        self._watch = Watch(app.accept_ready, self._changed.set)
        second = datetime.timedelta(seconds=1)
        self._defaults: dict[PySessionType, Configuration] = {
            PySessionType.FIRE_AND_FORGET: FireAndForgetConfiguration(timeout=second, max_retries=5),
            PySessionType.STREAMING: StreamingConfiguration(
                direction, topic=PyName("default", "default", "default"), max_retries=10, timeout=second
            ),
        }

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
        """What an identity is worth: with ``shared_secret`` any holder of the secret can claim any identity; with
        ``jwt`` somebody trusted says so."""
        return self._assurance

    def identity_refusals(self) -> list[SLIMIdentityError]:
        """The identities that were not believed lately, oldest first; the refused see a time-out only."""
        return [refusal(*refused) for refused in self._app.identity_refusals()]

    def __repr__(self) -> str:
        return f"PyService(name={self.name})"

    def _watch_door(self) -> None:
        if self._door is not None:
            self._door.watch()

    async def _create_session(self, cfg: Configuration, queue_size: int) -> PySessionInfo:
        cfg = checked(cfg)
        milliseconds, retries = timers(cfg)
        if isinstance(cfg, FireAndForgetConfiguration):
            session = await self._app.open_anycast(milliseconds, retries, cfg.sticky, cfg.mls_enabled, {})
            info = PySessionInfo._of(session)
            direction = PySessionDirection.BIDIRECTIONAL
            self._remember(info, SessionInbox(session, direction, queue_size, self._changed.set, cfg.sticky))
            return info
        if not cfg.moderator:
            raise ValueError(
                "Streaming(moderator=False) cannot create a session; a participant waits for the moderator's "
                "invitation with receive()"
            )
        session = await self._app.open(
            True,
            cfg.topic._without_id()._parts,
            milliseconds,
            retries,
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

    def _configuration(self, id: int) -> Configuration:
        if id not in self._sessions:
            raise SLIMSessionNotFoundError(f"session not found: {id}")
        inbox = self._sessions[id][1]
        facts = inbox.session.facts()
        timeout = None if facts.interval_ms is None else datetime.timedelta(milliseconds=facts.interval_ms)
        if not facts.is_group:
            return FireAndForgetConfiguration(timeout, facts.max_retries, inbox.sticky, facts.mls)
        return StreamingConfiguration(
            inbox.direction,
            topic=PyName._of(facts.destination)._without_id(),
            moderator=facts.is_initiator,
            max_retries=facts.max_retries or 0,
            timeout=timeout,
            mls_enabled=facts.mls,
        )

    async def _configure(self, id: int, cfg: Configuration) -> None:
        current, cfg = self._configuration(id), checked(cfg)
        if type(cfg) is not type(current):
            raise ValueError(f"session {id} is {type(current).__qualname__}, not {type(cfg).__qualname__}")
        fields = differing_fields(current, cfg)
        fixed = [field for field in fields if field not in ("timeout", "max_retries")]
        if (current.timeout is None) != (cfg.timeout is None):
            # Whether messages are acknowledged.
            fixed.append("timeout")
        if fixed:
            raise ValueError(
                f"cannot change {', '.join(fixed)} of session {id}: the members were told when they joined; "
                "create another session"
            )
        milliseconds, retries = timers(cfg)
        if fields and milliseconds is not None:
            await self._sessions[id][1].session.reconfigure(milliseconds, retries)

    async def _set_defaults(self, cfg: Configuration) -> None:
        cfg = checked(cfg)
        # What was joined before keeps the direction that its moderator was told.
        self._sweep()
        milliseconds, retries = timers(cfg)
        is_group = isinstance(cfg, StreamingConfiguration)
        direction = cfg.session_direction if isinstance(cfg, StreamingConfiguration) else self._direction
        await self._app.set_defaults(is_group, direction.name.lower(), milliseconds, retries)
        self._defaults[PySessionType.STREAMING if is_group else PySessionType.FIRE_AND_FORGET] = cfg

    def _default_configuration(self, kind: PySessionType) -> Configuration:
        # Fails for anything else.
        return self._defaults[PySessionType(kind)]

    def _direction_in(self, session: _slim_bindings.Session) -> PySessionDirection:
        """This application's direction in a session that somebody else opened."""
        defaults = self._defaults[PySessionType.STREAMING]
        if session.facts().is_group and isinstance(defaults, StreamingConfiguration):
            return defaults.session_direction
        return self._direction

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
            self._watch_door()
            for inbox in self._inboxes():
                inbox.watch()
            await asyncio.shield(changed)

    async def _receive_new(self) -> tuple[PySessionInfo, bytes]:
        """A session that somebody else opened, with its first message, which stays in its inbox."""
        if self._rpc_serving is not None:
            raise RuntimeError("this application serves calls, and its server takes all sessions; receive with another one")
        while True:
            changed = self._changed.next()
            self._sweep()
            if self._announced:
                return self._announced.popleft()
            self._watch.start()
            self._watch_door()
            for inbox in self._waiting.values():
                inbox.watch()
            await asyncio.shield(changed)

    def _sweep(self) -> None:
        """Takes the sessions that others opened, and looks which of them have a message now."""
        while (session := self._app.try_accept()) is not None:
            self._waiting[session.id] = SessionInbox(session, self._direction_in(session), 0, self._changed.set)
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
