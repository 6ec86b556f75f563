"""Who an application is, and how it checks others.

This release knows shared secrets. Whoever holds the secret can claim any identity, so it suits development and closed
groups; at least 32 bytes are recommended, and other implementations insist on them.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote


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


class PyIdentityProvider:
    """What an application presents. Build one of the nested classes."""

    SharedSecret: type[SharedSecretProvider]

    def __new__(cls, *_arguments: Any, **_keywords: Any) -> PyIdentityProvider:
        if cls is PyIdentityProvider:
            raise TypeError("build PyIdentityProvider.SharedSecret(identity=..., shared_secret=...)")
        return super().__new__(cls)


class PyIdentityVerifier:
    """How an application checks others. Build one of the nested classes."""

    SharedSecret: type[SharedSecretVerifier]

    def __new__(cls, *_arguments: Any, **_keywords: Any) -> PyIdentityVerifier:
        if cls is PyIdentityVerifier:
            raise TypeError("build PyIdentityVerifier.SharedSecret(identity=..., shared_secret=...)")
        return super().__new__(cls)


class SharedSecretProvider(_SharedSecret, PyIdentityProvider):
    __qualname__ = "PyIdentityProvider.SharedSecret"


class SharedSecretVerifier(_SharedSecret, PyIdentityVerifier):
    __qualname__ = "PyIdentityVerifier.SharedSecret"


PyIdentityProvider.SharedSecret = SharedSecretProvider
PyIdentityVerifier.SharedSecret = SharedSecretVerifier


def subject_base(identity: str) -> str:
    """The identity text with ``:`` and white space percent-encoded: the token's fields are separated by colons."""
    return "".join(
        quote(character, safe="") if character == ":" or character.isspace() else character for character in identity
    )
