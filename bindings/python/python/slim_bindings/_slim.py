"""The class of the 0.4 generation."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

from slim_bindings import _functions as functions
from slim_bindings._configuration import Configuration, PySessionDirection, PySessionType
from slim_bindings._errors import SLIMSessionNotFoundError
from slim_bindings._identity import PyIdentityProvider, PyIdentityVerifier
from slim_bindings._inbox import SessionInbox
from slim_bindings._invitations import Accept
from slim_bindings._names import PyName
from slim_bindings._refusals import SLIMIdentityError
from slim_bindings._service import PyService
from slim_bindings._session import Member, MembershipEvent, PySessionInfo
from slim_bindings._signal import Signal


class Slim:
    """An application in the SLIM network.

    Create it with ``await Slim.new(...)``, connect it, and receive inside ``async with app:``; nothing is delivered
    before the block is entered, and leaving it does not disconnect. The application ends when nothing refers to it.
    """

    def __init__(self, svc: PyService, name: PyName) -> None:
        self.svc = svc
        self.local_name = name
        #: Number of the last connection.
        self.conn_id: int | None = None
        #: Numbers of the connections by endpoint.
        self.conn_ids: dict[str, int] = {}
        self._blocks = 0
        self._entered = Signal()

    @classmethod
    async def new(
        cls,
        name: PyName,
        provider: PyIdentityProvider,
        verifier: PyIdentityVerifier,
        *,
        direction: PySessionDirection = PySessionDirection.BIDIRECTIONAL,
        accept: Accept | None = None,
    ) -> Slim:
        """Creates an application and sets ``name.id`` to its instance id, which follows from the identity.

        ``direction`` is the application's direction in the sessions of others. ``accept`` says whose invitations it
        follows: a list of identities (one that ends in ``*`` is a beginning), or a function, possibly a coroutine, that
        gets an ``Invitation`` and returns true or false; whoever is declined sees a time-out. Without, everybody's.
        """
        svc = await functions.create_pyservice(name, provider, verifier, direction, accept)
        name.id = svc.id
        return cls(svc, name)

    @property
    def sessions(self) -> dict[int, tuple[PySessionInfo, SessionInbox]]:
        """Info and queue by number: own sessions, and those of others from their first message on."""
        return self.svc._sessions

    @property
    def identity_assurance(self) -> str:
        """What an identity is worth: with ``shared_secret`` any holder of the secret can claim any identity; with
        ``jwt`` somebody trusted says so."""
        return self.svc.identity_assurance

    def identity_refusals(self) -> list[SLIMIdentityError]:
        """The identities that were not believed lately, oldest first; the refused see a time-out only."""
        return self.svc.identity_refusals()

    def get_id(self) -> int:
        """The application's instance id."""
        return self.svc.id

    async def __aenter__(self) -> Slim:
        self._blocks += 1
        self._entered.set()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._blocks -= 1

    async def connect(self, config: dict[str, Any]) -> int:
        """Connects to a node, whose configuration has the keys of a node's ``clients`` entry.

        Resolves when the node knows this application's name. The first dial is tried ten times, a second apart, then
        ``ConnectionError`` names the endpoint and the last cause; a link that is lost later is dialled for ever.
        """
        conn_id = await functions.connect(self.svc, config)
        endpoint = config["endpoint"]
        if endpoint in self.conn_ids:
            # Connected before: one endpoint has one link, and this application holds it once.
            await functions.disconnect(self.svc, conn_id)
        self.conn_ids[endpoint] = conn_id
        self.conn_id = conn_id
        return conn_id

    async def disconnect(self, endpoint: str) -> None:
        """Closes the connection to this endpoint unless other applications use it; ``KeyError`` if there is none."""
        conn_id = self.conn_ids[endpoint]
        await functions.disconnect(self.svc, conn_id)
        del self.conn_ids[endpoint]
        if self.conn_id == conn_id:
            self.conn_id = next(reversed(self.conn_ids.values()), None)

    async def run_server(self, config: dict[str, Any]) -> str:
        """Runs a node inside this process and returns the address it listens on."""
        return await functions.run_server(self.svc, config)

    async def stop_server(self, endpoint: str) -> None:
        """Stops the node that serves this endpoint."""
        await functions.stop_server(self.svc, endpoint)

    async def set_route(self, name: PyName) -> None:
        """Accepted and harmless: an application with one connection sends everything there."""
        await functions.set_route(self.svc, self.conn_id, name)

    async def remove_route(self, name: PyName) -> None:
        """Accepted and harmless, as ``set_route``."""
        await functions.remove_route(self.svc, self.conn_id, name)

    async def subscribe(self, name: PyName) -> None:
        """Serves a further name."""
        await functions.subscribe(self.svc, self.conn_id, name)

    async def unsubscribe(self, name: PyName) -> None:
        """Stops serving a further name."""
        await functions.unsubscribe(self.svc, self.conn_id, name)

    async def create_session(self, session_config: Configuration, queue_size: int = 0) -> PySessionInfo:
        """Opens a group as its moderator, or with ``FireAndForget`` a session for 1:1 messages.

        ``queue_size=0`` is the default limit; full means that senders wait.
        """
        return await functions.create_session(self.svc, session_config, queue_size)

    async def delete_session(self, session_id: int) -> None:
        """Ends (moderator) or leaves (participant) a session and forgets it."""
        await functions.delete_session(self.svc, session_id)

    async def close_session(self, info: PySessionInfo) -> None:
        """Ends (moderator) or leaves (participant) a session; what it delivered can still be received."""
        await self.svc._inbox(info.id).session.close()

    async def leave(self, info: PySessionInfo) -> None:
        """Leaves a session as a participant; ``PermissionError`` for its moderator, who ends it instead."""
        session = self.svc._inbox(info.id).session
        if session.facts().is_initiator:
            raise PermissionError(f"the moderator of session {info.id} cannot leave it; end it with close_session")
        await session.close()

    async def set_session_config(self, session_id: int, session_config: Configuration) -> None:
        """Changes ``timeout`` and ``max_retries`` of what this application sends from now on.

        Everything else is fixed, since the members are told when they join; ``ValueError`` names what would differ.
        """
        await functions.set_session_config(self.svc, session_id, session_config)

    async def get_session_config(self, session_id: int) -> Configuration:
        """The configuration of a session."""
        return await functions.get_session_config(self.svc, session_id)

    async def set_default_session_config(self, session_config: Configuration) -> None:
        """What applies here in sessions of this kind that others open from now on: timers, and a group's direction."""
        await functions.set_default_session_config(self.svc, session_config)

    async def get_default_session_config(self, session_type: PySessionType) -> Configuration:
        """The defaults of a kind of sessions; 0.4's until they are set."""
        return await functions.get_default_session_config(self.svc, session_type)

    async def invite(self, session: PySessionInfo, name: PyName) -> PyName:
        """Adds a member. Resolves with the instance that joined when it can read and all members know it.

        ``SLIMInviteError`` names the invitee, the step, the time and the likely causes; the group goes on.
        """
        return await functions.invite(self.svc, session, name)

    async def remove(self, session: PySessionInfo, name: PyName) -> None:
        """Removes a member; it cannot read what is sent afterwards. A name without id removes every instance."""
        await functions.remove(self.svc, session, name)

    async def members(self, session: PySessionInfo) -> list[Member]:
        """Who is in the session, this application included."""
        members = await self.svc._inbox(session.id).session.members()
        return [Member(PyName._of(m.name), m.online, m.is_moderator, m.subject) for m in members]

    def events(self, session: PySessionInfo | int) -> AsyncIterator[MembershipEvent]:
        """What happens to the members of a session, from its beginning until its end.

        Use one iterator per session. It works beside ``receive``, in another task; if nobody receives, it waits
        once ``queue_size`` messages are held back.
        """
        return self.svc._inbox(session if isinstance(session, int) else session.id).events()

    async def publish(
        self,
        session: PySessionInfo,
        msg: bytes,
        dest: PyName,
        payload_type: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        """Sends to everybody if ``dest`` is the session's channel, else to the one member ``dest``; in a session of
        ``FireAndForget`` to an instance of ``dest``.

        In a reliable session it resolves when every online member acknowledged, else it raises ``SLIMTimeoutError``,
        which is also put on the session's queue. ``ValueError`` if ``dest`` is neither channel nor member nor peer.
        """
        await functions.publish(self.svc, session, 1, msg, _required(dest), payload_type, metadata)

    async def publish_to(
        self,
        session: PySessionInfo,
        msg: bytes,
        payload_type: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        """Sends to the sender of the message that ``session`` came with."""
        await functions.publish(self.svc, session, 1, msg, None, payload_type, metadata)

    async def request_reply(
        self,
        session: PySessionInfo,
        msg: bytes,
        dest: PyName,
        timeout: datetime.timedelta | None = None,
    ) -> tuple[PySessionInfo, bytes]:
        """Sends a message and returns the next one of the session, which is the reply if the other side only replies.

        ``asyncio.TimeoutError`` (``TimeoutError`` from Python 3.11) if there is none within ``timeout``; a reply that
        comes later is the next message of the session. ``SLIMTimeoutError`` if nobody acknowledged the message.
        """

        async def exchange() -> tuple[PySessionInfo, bytes]:
            await functions.send(self.svc, session, msg, _required(dest))
            return await self.receive(session=session.id)

        return await asyncio.wait_for(exchange(), None if timeout is None else timeout.total_seconds())

    async def receive(self, session: int | None = None) -> tuple[PySessionInfo, bytes]:
        """The next message of a session; without ``session`` a session that somebody else opened.

        A new session is returned with its first message, when that arrives; the first ``receive(session=id)`` returns
        the same message again. Raises what was queued instead of a message: ``SLIMTimeoutError`` of a publish,
        ``SLIMMessageLostError``, and for ever ``SLIMSessionClosedError`` after the end. Cancelling loses nothing.
        """
        if session is not None and session not in self.sessions:
            raise SLIMSessionNotFoundError(f"Session ID not found: {session}")
        while self._blocks == 0:
            await asyncio.shield(self._entered.next())
        if session is None:
            return await self.svc._receive_new()
        return await self.svc._inbox(session).get()


def _required(name: PyName) -> PyName:
    if not isinstance(name, PyName):
        raise TypeError(f"dest is PyName, not {type(name).__name__}")
    return name
