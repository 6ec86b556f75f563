"""Keys that sign tokens or check them."""

from __future__ import annotations

import enum
import os
from typing import Any


class PyAlgorithm(enum.Enum):
    """What a key is for; the names are those of RFC 7518 and RFC 8037."""

    HS256 = "HS256"
    HS384 = "HS384"
    HS512 = "HS512"
    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    ES256 = "ES256"
    ES384 = "ES384"
    EdDSA = "EdDSA"


class PyKeyFormat(enum.Enum):
    """How a key is written. A private key is always ``Pem``; with HS256, HS384 and HS512 that is the secret itself."""

    Pem = "pem"
    Jwk = "jwk"
    Jwks = "jwks"


class PyKeyData:
    """Where a key is. Build ``PyKeyData.File(path=...)`` or ``PyKeyData.Content(content=...)``.

    A file is read when the application is created, and again when it changes.
    """

    File: type[FileData]
    Content: type[ContentData]

    def __new__(cls, *_arguments: Any, **_keywords: Any) -> PyKeyData:
        if cls is PyKeyData:
            raise TypeError("build PyKeyData.File(path=...) or PyKeyData.Content(content=...)")
        return super().__new__(cls)

    def _source(self) -> dict[str, str | None]:
        raise NotImplementedError


class FileData(PyKeyData):
    __qualname__ = "PyKeyData.File"
    __match_args__ = ("path",)

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        if not isinstance(self.path, str):
            raise TypeError(f"path is str, not {type(path).__name__}")
        if not self.path:
            raise ValueError("path is empty")

    def _source(self) -> dict[str, str | None]:
        return {"file": self.path, "content": None}

    def __eq__(self, other: object) -> bool:
        return self.path == other.path if isinstance(other, FileData) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.path)

    def __repr__(self) -> str:
        return f"PyKeyData.File(path={self.path!r})"


class ContentData(PyKeyData):
    __qualname__ = "PyKeyData.Content"
    __match_args__ = ("content",)

    def __init__(self, content: str) -> None:
        if not isinstance(content, str):
            raise TypeError(f"content is str, not {type(content).__name__}")
        if not content:
            raise ValueError("content is empty")
        self.content = content

    def _source(self) -> dict[str, str | None]:
        return {"file": None, "content": self.content}

    def __eq__(self, other: object) -> bool:
        return self.content == other.content if isinstance(other, ContentData) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.content)

    def __repr__(self) -> str:
        return "PyKeyData.Content(content='[redacted]')"


PyKeyData.File = FileData
PyKeyData.Content = ContentData


class PyKey:
    """A key, or with ``PyKeyFormat.Jwks`` a set of them.

    It is looked at when an application is created with it; ``ValueError`` says then what is wrong with it.
    """

    def __init__(self, algorithm: PyAlgorithm, format: PyKeyFormat, key: PyKeyData) -> None:
        for name, value, kind in (
            ("algorithm", algorithm, PyAlgorithm),
            ("format", format, PyKeyFormat),
            ("key", key, PyKeyData),
        ):
            if not isinstance(value, kind):
                raise TypeError(f"{name} is {kind.__name__}, not {type(value).__name__}")
        self.algorithm = algorithm
        self.format = format
        self.key = key

    def _settings(self) -> dict[str, Any]:
        return {"algorithm": self.algorithm.value, "format": self.format.value, "source": self.key._source()}

    def __repr__(self) -> str:
        return f"PyKey(algorithm={self.algorithm}, format={self.format}, key={self.key!r})"
