"""The exceptions of this package. Each class means one thing and has a builtin base.

Besides these, calls raise ``ConnectionError`` (no node, or it refused a name), ``ValueError`` (a wrong argument, or a
configuration with the path of its key), ``PermissionError`` (only the moderator may do this, or this application only
receives), ``OSError`` (a server cannot listen) and ``RuntimeError`` (the application was closed, nobody is there).
"""

from __future__ import annotations

import re

from slim_bindings._names import PyName


class SLIMTimeoutError(TimeoutError):
    """All retries of an operation went unanswered."""

    def __init__(
        self,
        message_id: int | None,
        session_id: int,
        message: str = "SLIM timeout error",
        original_exception: BaseException | None = None,
    ) -> None:
        self.message_id = message_id
        self.session_id = session_id
        self.message = message
        self.original_exception = original_exception
        super().__init__(message)

    def __str__(self) -> str:
        return f"{self.message} (session={self.session_id}, message={self.message_id})"


class SLIMInviteError(SLIMTimeoutError):
    """An invitation failed; the group goes on without the invitee.

    A refused identity looks like silence to the inviter (the refusing side logs and counts it), so it ends here too,
    after (retries + 1) times the interval.
    """

    def __init__(
        self, session_id: int, invitee: tuple[str, str, str, int], step: str, seconds: float, message: str
    ) -> None:
        super().__init__(None, session_id, message)
        self.invitee = PyName._of(invitee)
        #: How far it came: discovery, channel subscription, join, key package or welcome.
        self.step = step
        self.seconds = seconds

    def __str__(self) -> str:
        return self.message


class SLIMMessageLostError(SLIMTimeoutError):
    """Messages ``first`` to ``last`` of a sender are lost for good; what follows them is still delivered."""

    def __init__(self, session_id: int, sender: PyName, first: int, last: int) -> None:
        super().__init__(first, session_id, f"messages {first} to {last} of {sender} are lost")
        self.sender = sender
        self.first = first
        self.last = last


class SLIMSessionClosedError(RuntimeError):
    """The session is over: closed by its moderator, this member was removed, or the application closed it."""

    def __init__(self, session_id: int, reason: str) -> None:
        self.session_id = session_id
        self.reason = reason
        super().__init__(f"session {session_id} closed: {reason}")


class SLIMUnauthenticatedError(ConnectionError):
    """The node does not accept the credentials of ``auth`` (HTTP 401), or wants some and none were configured."""


class SLIMPermissionDeniedError(ConnectionError, PermissionError):
    """The node knows who this is, and its policy does not let it in (HTTP 403)."""


class SLIMTlsError(ConnectionError):
    """No TLS with a node; the subclasses say why, this class stands for all other reasons."""


class SLIMCertificateExpiredError(SLIMTlsError):
    """The node's certificate has expired."""


class SLIMCertificateNotYetValidError(SLIMTlsError):
    """The node's certificate is not valid yet, or the clock here is wrong."""


class SLIMUnknownCaError(SLIMTlsError):
    """No CA that is trusted here has signed the node's certificate."""


class SLIMWrongHostError(SLIMTlsError):
    """The node's certificate is for other hosts than the one asked for."""


class SLIMTlsVersionError(SLIMTlsError):
    """The node does not speak the version of TLS that is required here."""


class SLIMPlainTextError(SLIMTlsError):
    """Plain text came back where TLS is required: another port, or somebody between strips TLS."""


class SLIMClientCertificateError(SLIMTlsError):
    """The node demands a certificate of this application, or refused the one that it was shown."""


class SLIMSessionNotFoundError(ValueError):
    """This application has no session of that number."""


_ERROR_MESSAGE = re.compile(r"message=(\d+) session=(\d+): (.*)", re.DOTALL)


def parse_error_message(text: str) -> tuple[int, int, str]:
    """Takes ``message=N session=N: reason`` apart; ``ValueError`` for any other text."""
    match = _ERROR_MESSAGE.search(text)
    if match is None:
        raise ValueError(f"expected 'message=N session=N: reason', got {text!r}")
    message_id, session_id, reason = match.groups()
    return int(message_id), int(session_id), reason
