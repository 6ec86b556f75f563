"""The module functions: everything that ``Slim`` does, for a ``PyService``. All are coroutines."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from slim_bindings import _slim_bindings as native
from slim_bindings._configuration import Configuration, PySessionDirection, PySessionType
from slim_bindings._errors import SLIMTimeoutError
from slim_bindings._identity import (
    PyIdentityProvider,
    PyIdentityVerifier,
    SharedSecretProvider,
    SharedSecretVerifier,
    settings_of,
)
from slim_bindings._invitations import Accept, listed
from slim_bindings._names import PyName
from slim_bindings._service import PyService
from slim_bindings._session import PySessionInfo

_log = logging.getLogger("slim_bindings")
_warned_of_secret = False


async def init_tracing(config: dict[str, Any]) -> None:
    """Writes the log of the native half to standard error; the dict is the ``tracing`` block of a node's
    configuration. Later calls are checked and change nothing."""
    native.init_tracing(_to_json(config))


async def create_pyservice(
    name: PyName,
    provider: PyIdentityProvider,
    verifier: PyIdentityVerifier,
    direction: PySessionDirection = PySessionDirection.BIDIRECTIONAL,
    accept: Accept | None = None,
) -> PyService:
    """Creates an application. ``direction`` is its direction in the sessions of others, ``accept`` whose invitations
    it follows: everybody's, those of the listed subjects, or those for which the function returns true.

    ``ValueError`` says what is wrong with a key, a token or a secret. With ``autoresolve`` this waits up to five seconds
    for the issuer's keys.
    """
    if not isinstance(provider, PyIdentityProvider):
        raise TypeError(f"provider is a PyIdentityProvider, not {type(provider).__name__}")
    if not isinstance(verifier, PyIdentityVerifier):
        raise TypeError(f"verifier is a PyIdentityVerifier, not {type(verifier).__name__}")
    if isinstance(provider, SharedSecretProvider):
        _warn_of_weak_secret(provider.shared_secret)
    direction = PySessionDirection(direction)
    # Refuses what is no name.
    parts = _parts(name)
    own, others = settings_of(provider, verifier, str(name._without_id()))
    decide = accept if callable(accept) else None
    app = await native.create_app(parts, own, others, direction.name.lower(), listed(accept), decide is not None)
    assurance = "shared_secret" if isinstance(verifier, SharedSecretVerifier) else "jwt"
    return PyService(app, direction, assurance, decide)


async def connect(svc: PyService, config: dict[str, Any]) -> int:
    """Connects to a node and returns the connection's number.

    Resolves when the node knows this application's name. Tries ten times, a second apart, before it raises
    ``ConnectionError``. A link that is lost later is dialled again for ever.
    """
    return await native.connect(_to_json(config))


async def disconnect(svc: PyService, conn: int) -> None:
    """Gives the connection back; its last user closes it."""
    await native.disconnect(conn)


async def run_server(svc: PyService, config: dict[str, Any]) -> str:
    """Runs a node inside this process and returns the address it listens on.

    The keys are those of a listener. ``authorization`` may stand beside them, as in a service of a node's file; a
    server that checks who dials (``auth``, or ``tls.client_ca``) needs it.
    """
    if not isinstance(config, dict) or "authorization" not in config:
        return await native.run_server(_to_json(config))
    listener = {key: value for key, value in config.items() if key != "authorization"}
    return await native.run_server(_to_json(listener), _to_json(config["authorization"]))


async def stop_server(svc: PyService, endpoint: str) -> None:
    """Stops the node that serves this endpoint."""
    await native.stop_server(endpoint)


async def subscribe(svc: PyService, conn: int | None, name: PyName) -> None:
    """Serves a further name."""
    await svc._app.subscribe(_parts(name))


async def unsubscribe(svc: PyService, conn: int | None, name: PyName) -> None:
    """Stops serving a further name."""
    await svc._app.unsubscribe(_parts(name))


async def set_route(svc: PyService, conn: int | None, name: PyName) -> None:
    """Accepted and harmless: an application with one connection sends everything there."""
    _parts(name)


async def remove_route(svc: PyService, conn: int | None, name: PyName) -> None:
    """Accepted and harmless, as ``set_route``."""
    _parts(name)


async def create_session(svc: PyService, cfg: Configuration, queue_size: int = 0) -> PySessionInfo:
    """Opens a group as its moderator, or a session for 1:1 messages."""
    return await svc._create_session(cfg, queue_size)


async def delete_session(svc: PyService, id: int) -> None:
    """Ends (moderator) or leaves (participant) a session and forgets it."""
    await svc._delete_session(id)


async def get_session_config(svc: PyService, id: int) -> Configuration:
    """The configuration of a session."""
    return svc._configuration(id)


async def set_session_config(svc: PyService, id: int, cfg: Configuration) -> None:
    """Changes ``timeout`` and ``max_retries`` of what this application sends from now on.

    Everything else is fixed, since the members are told when they join; ``ValueError`` names what would differ.
    """
    await svc._configure(id, cfg)


async def get_default_session_config(svc: PyService, kind: PySessionType) -> Configuration:
    """The defaults of a kind of sessions."""
    return svc._default_configuration(kind)


async def set_default_session_config(svc: PyService, cfg: Configuration) -> None:
    """What applies here in sessions of this kind that others open from now on.

    Effective are the timers, for what this application sends in reliable sessions, and a group's direction. Whether a
    session is reliable and encrypted is the choice of who opens it. Until it is set, the timers of the other apply.
    """
    await svc._set_defaults(cfg)


async def invite(svc: PyService, info: PySessionInfo, name: PyName) -> PyName:
    """Adds a member and returns the instance that joined, once it can read and everybody knows it."""
    inbox = svc._inbox(info.id)
    member, _unreachable = await inbox.session.invite(_parts(name))
    return PyName._of(member)


async def remove(svc: PyService, info: PySessionInfo, name: PyName) -> None:
    """Removes a member; it cannot read what is sent afterwards. A name without id removes every instance."""
    await svc._inbox(info.id).session.remove(_parts(name))


async def publish(
    svc: PyService,
    info: PySessionInfo,
    fanout: int,
    blob: bytes,
    name: PyName | None = None,
    payload_type: str | None = None,
    metadata: dict[str, str] | None = None,
) -> None:
    """Sends to the session's channel or peer, to the one member ``name``, or in a session of fire and forget to an
    instance of ``name``; without ``name`` to the sender of the message that ``info`` came with. ``fanout`` is accepted
    for old programs: the name decides who gets it."""
    inbox = svc._inbox(info.id)
    try:
        await send(svc, info, blob, name, payload_type, metadata)
    except SLIMTimeoutError as error:
        try:
            # Old programs look for it there.
            inbox.put_nowait(SLIMTimeoutError(error.message_id, error.session_id, error.message, error))
        except asyncio.QueueFull:
            _log.warning("session %d is not read; an error did not fit into its queue: %s", info.id, error)
        raise


async def send(
    svc: PyService,
    info: PySessionInfo,
    blob: bytes,
    name: PyName | None,
    payload_type: str | None = None,
    metadata: dict[str, str] | None = None,
) -> None:
    """``publish`` without a note of its time-out on the queue."""
    session = svc._inbox(info.id).session
    facts = session.facts()
    if name is None:
        if info._message is None:
            raise ValueError("there is no message to answer: this info did not come with one")
        name = PyName._of(info._message.source)
    elif facts.is_group and name.equal_without_id(PyName._of(facts.destination)):
        name = None
    to = None if name is None else _parts(name)
    await session.publish(bytes(blob), payload_type, dict(metadata or {}), to)


async def receive(svc: PyService) -> tuple[PySessionInfo, bytes]:
    """The next message of any session."""
    return await svc._receive_any()


def _parts(name: PyName) -> tuple[str, str, str, int]:
    if not isinstance(name, PyName):
        raise TypeError(f"expected PyName, got {type(name).__name__}")
    return name._parts


def _to_json(config: dict[str, Any]) -> str:
    if not isinstance(config, dict):
        raise ValueError(f"configuration: expected a dict, got {type(config).__name__}")
    try:
        return json.dumps(config, allow_nan=False)
    except (TypeError, ValueError):
        raise ValueError(f"{_odd_value(config, '')}; write texts, numbers, booleans, lists and dicts") from None


def _odd_value(value: Any, path: str) -> str:
    """Path and type of the first value that JSON does not have."""
    if isinstance(value, dict):
        entries = [(f"{path}.{key}" if path else str(key), entry) for key, entry in value.items()]
    elif isinstance(value, (list, tuple)):
        entries = [(f"{path}[{index}]", entry) for index, entry in enumerate(value)]
    else:
        entries = []
    for place, entry in entries:
        try:
            json.dumps(entry, allow_nan=False)
        except (TypeError, ValueError):
            return _odd_value(entry, place)
    return f"{path or 'configuration'}: cannot use a value of type {type(value).__name__}"


def _warn_of_weak_secret(secret: str) -> None:
    global _warned_of_secret
    if not _warned_of_secret and native.secret_is_weak(secret):
        _warned_of_secret = True
        _log.warning(
            "the shared secret has fewer than 32 bytes: it can be guessed, and other implementations refuse it"
        )
