"""Who an application is, and how it checks others.

With a shared secret whoever holds it can claim any identity, so it suits development and closed groups; at least 32
bytes are recommended, and other implementations insist on them. With JSON Web Tokens an application is who somebody
trusted says it is.
"""

from __future__ import annotations

import datetime
import json
import os
import warnings
from typing import Any
from urllib.parse import quote

from slim_bindings._keys import PyKey

#: Tokens live at most this long, here and in every other implementation.
_LIFETIME_MAX = datetime.timedelta(hours=1)


class PyIdentityProvider:
    """What an application presents. Build ``.SharedSecret``, ``.Jwt`` or ``.StaticJwt``."""

    SharedSecret: type[SharedSecretProvider]
    Jwt: type[JwtProvider]
    StaticJwt: type[StaticJwtProvider]

    def __new__(cls, *_arguments: Any, **_keywords: Any) -> PyIdentityProvider:
        if cls is PyIdentityProvider:
            raise TypeError("build PyIdentityProvider.SharedSecret(...), .Jwt(...) or .StaticJwt(...)")
        return super().__new__(cls)

    def _settings(self, name: str) -> dict[str, Any]:
        """For the native half; ``name`` is the application's."""
        raise NotImplementedError


class PyIdentityVerifier:
    """How an application checks others. Build ``.SharedSecret`` or ``.Jwt``."""

    SharedSecret: type[SharedSecretVerifier]
    Jwt: type[JwtVerifier]

    def __new__(cls, *_arguments: Any, **_keywords: Any) -> PyIdentityVerifier:
        if cls is PyIdentityVerifier:
            raise TypeError("build PyIdentityVerifier.SharedSecret(...) or .Jwt(...)")
        return super().__new__(cls)

    def _settings(self) -> dict[str, Any]:
        """For the native half."""
        raise NotImplementedError


class _SharedSecret:
    """What provider and verifier with a shared secret have in common."""

    __match_args__ = ("identity", "shared_secret")

    def __init__(self, identity: str, shared_secret: str) -> None:
        for name, value in (("identity", identity), ("shared_secret", shared_secret)):
            if not isinstance(value, str):
                raise TypeError(f"{name} is str, not {type(value).__name__}")
            if not value:
                raise ValueError(f"{name} is empty")
        self.identity = identity
        self.shared_secret = shared_secret

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return (self.identity, self.shared_secret) == (other.identity, other.shared_secret)

    def __hash__(self) -> int:
        return hash((self.identity, self.shared_secret))

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}(identity={self.identity!r}, shared_secret='[redacted]')"


class SharedSecretProvider(_SharedSecret, PyIdentityProvider):
    __qualname__ = "PyIdentityProvider.SharedSecret"

    def _settings(self, name: str) -> dict[str, Any]:
        return {"base": subject_base(self.identity), "shared_secret": self.shared_secret}


class SharedSecretVerifier(_SharedSecret, PyIdentityVerifier):
    __qualname__ = "PyIdentityVerifier.SharedSecret"

    def _settings(self) -> dict[str, Any]:
        return {"shared_secret": self.shared_secret}


class JwtProvider(PyIdentityProvider):
    """Tokens that this application signs itself, a new one for each message.

    ``subject`` is who it is, and decides its id; without one it is the application's name, ``org/ns/app``. Two
    applications with one subject are one to their peers. ``duration`` is how long a token is good for; an hour is the
    most that others accept, so a longer one is shortened with a warning. ``custom_claims`` are further claims;
    ``key_id`` is the key's name in the key set of the others, without which the subject is written, as other
    implementations do. The private key is read again when its file changes: publish the new public key first.
    """

    __qualname__ = "PyIdentityProvider.Jwt"

    def __init__(
        self,
        private_key: PyKey,
        duration: datetime.timedelta,
        issuer: str | None = None,
        audience: list[str] | None = None,
        subject: str | None = None,
        *,
        custom_claims: dict[str, Any] | None = None,
        key_id: str | None = None,
    ) -> None:
        if not isinstance(private_key, PyKey):
            raise TypeError(f"private_key is PyKey, not {type(private_key).__name__}")
        if not isinstance(duration, datetime.timedelta):
            raise TypeError(f"duration is datetime.timedelta, not {type(duration).__name__}")
        if duration < datetime.timedelta(seconds=1):
            raise ValueError(f"duration is {duration}; a token must live for a second at least")
        if duration > _LIFETIME_MAX:
            warnings.warn(f"duration is {duration}; tokens live for an hour at most, so it is an hour", stacklevel=2)
            duration = _LIFETIME_MAX
        self.private_key = private_key
        self.duration = duration
        self.issuer = _text("issuer", issuer)
        self.audience = _texts("audience", audience)
        self.subject = _text("subject", subject)
        self.custom_claims = dict(custom_claims or {})
        self.key_id = _text("key_id", key_id)

    def _settings(self, name: str) -> dict[str, Any]:
        return {
            "private_key": self.private_key._settings(),
            "key_id": self.key_id,
            "seconds": self.duration.total_seconds(),
            "issuer": self.issuer,
            "audience": self.audience or [],
            "subject": self.subject or name,
            "custom_claims": json.dumps(self.custom_claims) if self.custom_claims else "",
        }

    def __repr__(self) -> str:
        return f"PyIdentityProvider.Jwt(issuer={self.issuer!r}, audience={self.audience}, subject={self.subject!r})"


class StaticJwtProvider(PyIdentityProvider):
    """A token that somebody else signs and writes into a file, which is read again when it changes.

    Every message to a session is signed with the key of the token's ``pubkey`` claim, so ``private_key``, the path of
    that key (P-256, PEM), is needed to take part in sessions; the issuer has to put the claim into the token.
    """

    __qualname__ = "PyIdentityProvider.StaticJwt"

    def __init__(self, path: str | os.PathLike[str], *, private_key: str | os.PathLike[str] | None = None) -> None:
        self.path = os.fspath(path)
        if not self.path:
            raise ValueError("path is empty")
        self.private_key = None if private_key is None else os.fspath(private_key)

    def _settings(self, name: str) -> dict[str, Any]:
        key = None if self.private_key is None else {"file": self.private_key, "content": None}
        return {"token": {"file": self.path, "content": None}, "message_key": key}

    def __repr__(self) -> str:
        return f"PyIdentityProvider.StaticJwt(path={self.path!r})"


class JwtVerifier(PyIdentityVerifier):
    """Tokens are believed that somebody trusted has signed: with ``public_key``, or with ``autoresolve=True`` with a
    key that the issuer publishes, found by its OpenID discovery document over HTTPS.

    ``issuer`` is the issuer that is believed; with ``autoresolve`` it is required, since anybody can publish keys.
    ``audience`` is who we are: a token that names audiences has to name one of these, and without ``audience`` no token
    with an audience is believed. The three ``require_...`` refuse tokens without the claim.

    ``subject`` restricts nobody: programs of this generation pass their own, and nothing has ever come of it. Who may
    take part is restricted by ``subjects``, the subjects that are believed beside the own one. With ``bind_subject`` a
    token is believed only if its subject is the ``kid`` of the key that signed it, or the ``did:key`` of an Ed25519 key:
    for key sets in which each member has a key of its own, any of which could otherwise sign in the name of any other.
    """

    __qualname__ = "PyIdentityVerifier.Jwt"

    def __init__(
        self,
        public_key: PyKey | None = None,
        autoresolve: bool = False,
        issuer: str | None = None,
        audience: list[str] | None = None,
        subject: str | None = None,
        require_iss: bool = False,
        require_aud: bool = False,
        require_sub: bool = False,
        *,
        subjects: list[str] | None = None,
        bind_subject: bool = False,
    ) -> None:
        if public_key is not None and not isinstance(public_key, PyKey):
            raise TypeError(f"public_key is PyKey or None, not {type(public_key).__name__}")
        if public_key is None and not autoresolve:
            raise ValueError("tokens cannot be checked without a key: give public_key, or autoresolve=True with issuer")
        if public_key is not None and autoresolve:
            raise ValueError("public_key and autoresolve=True exclude each other: give one of them")
        if autoresolve and not issuer:
            raise ValueError("autoresolve=True needs issuer: anybody can publish keys, so say whose are believed")
        self.public_key = public_key
        self.autoresolve = bool(autoresolve)
        self.issuer = _text("issuer", issuer)
        self.audience = _texts("audience", audience)
        self.subject = _text("subject", subject)
        self.require_iss = bool(require_iss)
        self.require_aud = bool(require_aud)
        self.require_sub = bool(require_sub)
        self.subjects = _texts("subjects", subjects)
        self.bind_subject = bool(bind_subject)

    def _settings(self) -> dict[str, Any]:
        return {
            "public_key": None if self.public_key is None else self.public_key._settings(),
            "issuers": [] if self.issuer is None else [self.issuer],
            "audience": self.audience or [],
            "subjects": self.subjects or [],
            "require_iss": self.require_iss,
            "require_aud": self.require_aud,
            "require_sub": self.require_sub,
            "bind_subject": self.bind_subject,
        }

    def __repr__(self) -> str:
        return (
            f"PyIdentityVerifier.Jwt(public_key={self.public_key!r}, autoresolve={self.autoresolve}, "
            f"issuer={self.issuer!r}, audience={self.audience})"
        )


PyIdentityProvider.SharedSecret = SharedSecretProvider
PyIdentityProvider.Jwt = JwtProvider
PyIdentityProvider.StaticJwt = StaticJwtProvider
PyIdentityVerifier.SharedSecret = SharedSecretVerifier
PyIdentityVerifier.Jwt = JwtVerifier


def settings_of(
    provider: PyIdentityProvider, verifier: PyIdentityVerifier, name: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both for the native half. The own subject is believed whatever ``subjects`` says: own tokens are checked too."""
    own, others = provider._settings(name), verifier._settings()
    if others.get("subjects") and isinstance(own.get("subject"), str):
        others["subjects"] = sorted({*others["subjects"], own["subject"]})
    return own, others


def subject_base(identity: str) -> str:
    """The identity text with ``:`` and white space percent-encoded: the token's fields are separated by colons."""
    return "".join(
        quote(character, safe="") if character == ":" or character.isspace() else character for character in identity
    )


def _text(name: str, value: str | None) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name} is str or None, not {type(value).__name__}")
    if value == "":
        raise ValueError(f"{name} is empty; leave it out instead")
    return value


def _texts(name: str, values: list[str] | None) -> list[str] | None:
    if values is None:
        return None
    if isinstance(values, str) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"{name} is a list of str")
    return list(values)
