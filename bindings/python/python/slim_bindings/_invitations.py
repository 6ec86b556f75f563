"""Whose invitations an application accepts."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from slim_bindings import _slim_bindings as native
from slim_bindings._names import PyName
from slim_bindings._signal import Watch

_log = logging.getLogger("slim_bindings")


class Invitation(NamedTuple):
    """Somebody invites this application to a session, or opens one with it."""

    #: Who.
    inviter: PyName
    #: Its verified identity; with a shared secret the name, ``_`` and eight random characters.
    subject: str
    #: Who vouches for it, if it is a JSON Web Token that tells.
    issuer: str | None
    session_id: int
    #: The group's channel; ``None`` one to one.
    channel: PyName | None
    mls_enabled: bool
    metadata: dict[str, str]


Decide = Callable[[Invitation], "bool | Awaitable[bool]"]
#: A function that decides about each, or the subjects that may invite; one that ends in ``*`` means a beginning.
Accept = Decide | Iterable[str]


def listed(accept: Accept | None) -> list[str] | None:
    """The subjects that may invite; ``None`` without a list."""
    if accept is None or callable(accept):
        return None
    if isinstance(accept, str):
        raise TypeError("accept is a function or a list of subjects, not one str")
    subjects = list(accept)
    if not all(isinstance(subject, str) for subject in subjects):
        raise TypeError("accept is a function or a list of subjects, which are str")
    return subjects


class Door:
    """Asks the application about each invitation. While it has not answered, the inviter waits."""

    def __init__(self, app: native.App, decide: Decide) -> None:
        self._app = app
        self._decide = decide
        self._answering: set[asyncio.Task[None]] = set()
        self._watch = Watch(app.invitation_ready, self._open)

    def watch(self) -> None:
        """Asks on the running loop from now on."""
        self._watch.start()

    def _open(self) -> None:
        try:
            while (invitation := self._app.try_next_invitation()) is not None:
                task = asyncio.create_task(self._answer(invitation))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
        except RuntimeError:
            # The application is closed.
            return
        self._watch.start()

    async def _answer(self, invitation: native.Invitation) -> None:
        channel = invitation.channel
        question = Invitation(
            PyName._of(invitation.inviter),
            invitation.subject,
            invitation.issuer,
            invitation.session,
            None if channel is None else PyName._of(channel)._without_id(),
            invitation.mls,
            invitation.metadata,
        )
        try:
            answer = self._decide(question)
            accepted = bool(await answer if inspect.isawaitable(answer) else answer)
        except Exception:
            _log.exception("accept failed, so the invitation of %s is declined", question.inviter)
            accepted = False
        try:
            await invitation.answer(accepted)
        except (RuntimeError, ValueError) as error:
            # Too late, or the application is closed.
            _log.warning("the invitation of %s cannot be answered: %s", question.inviter, error)
