"""Identities that this application did not believe, each reason with a class of its own.

A refused peer hears nothing, by protocol: it sees a time-out. So these are not raised, there is no call that they could
end; ``Slim.identity_refusals`` has them on the side that refuses.
"""

from __future__ import annotations

from slim_bindings._names import PyName


class SLIMIdentityError(PermissionError):
    """A peer's identity was not believed; the subclasses say why, this class stands for all other reasons."""

    def __init__(self, peer: PyName, message: str) -> None:
        super().__init__(f"{peer}: {message}")
        #: The name that the peer claimed.
        self.peer = peer


class SLIMTokenExpiredError(SLIMIdentityError):
    """The token has expired, or the clocks differ."""


class SLIMTokenNotYetValidError(SLIMIdentityError):
    """The token is from the future: check the clocks."""


class SLIMTokenMalformedError(SLIMIdentityError):
    """It is no token, or lacks what every token has to have."""


class SLIMWrongAudienceError(SLIMIdentityError):
    """The token is meant for another audience."""


class SLIMWrongIssuerError(SLIMIdentityError):
    """The token is of an issuer, or a trust domain, that is not trusted here."""


class SLIMWrongSubjectError(SLIMIdentityError):
    """The token's subject is not among those that are believed."""


class SLIMWrongAlgorithmError(SLIMIdentityError):
    """The token's algorithm is not the one of a trusted key: ``none`` is one of these."""


class SLIMUnknownKeyError(SLIMIdentityError):
    """The token names a key that is not known."""


class SLIMWrongSignatureError(SLIMIdentityError):
    """No trusted key, or another shared secret, has made the token."""


class SLIMIssuerUnavailableError(SLIMIdentityError):
    """The keys of the token's issuer are not known, and cannot be fetched."""


class SLIMForeignTokenError(SLIMIdentityError):
    """The token is good, but whoever sent it is not its owner: it was copied."""


_CLASSES: dict[str, type[SLIMIdentityError]] = {
    "expired": SLIMTokenExpiredError,
    "not_yet_valid": SLIMTokenNotYetValidError,
    "malformed": SLIMTokenMalformedError,
    "audience": SLIMWrongAudienceError,
    "issuer": SLIMWrongIssuerError,
    "subject": SLIMWrongSubjectError,
    "algorithm": SLIMWrongAlgorithmError,
    "key": SLIMUnknownKeyError,
    "signature": SLIMWrongSignatureError,
    "issuer_unavailable": SLIMIssuerUnavailableError,
    "foreign": SLIMForeignTokenError,
}


def refusal(peer: tuple[str, str, str, int], reason: str, text: str) -> SLIMIdentityError:
    """The exception for what the native half says."""
    return _CLASSES.get(reason, SLIMIdentityError)(PyName._of(peer), text)
