"""Everything that proves nothing is refused: each fault has a class of its own on the side that refuses, the other side
of a session sees a time-out with the likely causes, nothing is half joined, and the group that was there goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import slim_bindings as s
from credentials import EXPIRED, NOT_YET_VALID, Ca, Pair, TokenKey, base64url, key_set, unsigned_token
from slim_bindings import PyIdentityProvider, PyIdentityVerifier, PyName, PySessionInfo, Slim
from support import Node, application, free_port, run, streaming

ISSUER = "https://issuer.example"
AUDIENCE = "group"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Ca:
    return Ca(tmp_path_factory.mktemp("ca"))


@contextlib.contextmanager
def tls_node(folder: Path, tls: dict[str, Any], **dataplane: Any) -> Iterator[Node]:
    """A node with this `tls` block; JSON is YAML."""
    port = free_port()
    server = {"endpoint": f"127.0.0.1:{port}", "tls": tls}
    text = json.dumps({"services": {"slim/0": {"dataplane": {"servers": [server]}, **dataplane}}})
    with Node(folder, text, port) as node:
        yield node


def trusting(ca: Ca, source: Pair | None = None) -> dict[str, Any]:
    """The `tls` block of a client that believes this CA alone."""
    tls = {"ca_source": ca.source(), "include_system_ca_certs_pool": False, "tls_version": "tls1.3"}
    return {**tls, "source": source.source()} if source else tls


async def refused_link(port: int, tls: dict[str, Any], error: type[s.SLIMTlsError]) -> None:
    """Connecting ends with this class, at once, and leaves nothing."""
    stranger = await application(None, "stranger")
    started = time.monotonic()
    with pytest.raises(s.SLIMTlsError) as caught:
        await stranger.connect({"endpoint": f"https://127.0.0.1:{port}", "tls": tls})
    assert type(caught.value) is error, caught.value
    assert isinstance(caught.value, ConnectionError)
    assert time.monotonic() - started < 5
    assert (stranger.conn_id, stranger.conn_ids) == (None, {})


#: What the node shows, and the class of who refuses it.
NODES: dict[str, tuple[Callable[[Ca, Ca], Pair], str, type[s.SLIMTlsError]]] = {
    "expired certificate": (
        lambda ca, _: ca.server(validity=EXPIRED, file="expired"),
        "tls1.3",
        s.SLIMCertificateExpiredError,
    ),
    "certificate not yet valid": (
        lambda ca, _: ca.server(validity=NOT_YET_VALID, file="early"),
        "tls1.3",
        s.SLIMCertificateNotYetValidError,
    ),
    "unknown CA": (lambda _, other: other.server(), "tls1.3", s.SLIMUnknownCaError),
    "wrong host": (lambda ca, _: ca.server("node.example", file="elsewhere"), "tls1.3", s.SLIMWrongHostError),
    "TLS 1.2 where 1.3 is required": (lambda ca, _: ca.server(), "tls1.2", s.SLIMTlsVersionError),
}


@pytest.mark.parametrize("case", NODES)
def test_s16_a_node_that_proves_nothing_is_refused_with_a_class_of_its_own(tmp_path: Path, ca: Ca, case: str) -> None:
    show, version, error = NODES[case]
    pair = show(ca, Ca(tmp_path, "other"))
    with tls_node(tmp_path, {"source": pair.source(), "tls_version": version}) as node:
        run(refused_link(node.port, trusting(ca), error))


def test_s16_an_application_without_a_certificate_that_counts_is_told_so(tmp_path: Path, ca: Ca) -> None:
    everybody = {"authorization": {"default": "allow"}}
    with tls_node(tmp_path, {"source": ca.server().source(), "client_ca": ca.source()}, **everybody) as node:
        for source in (None, Ca(tmp_path, "other").client("mallory"), ca.client("old", EXPIRED)):
            run(refused_link(node.port, trusting(ca, source), s.SLIMClientCertificateError))

        async def known() -> None:
            app = await application(None, "known")
            endpoint = f"https://127.0.0.1:{node.port}"
            await app.connect({"endpoint": endpoint, "tls": trusting(ca, ca.client("alice"))})
            await app.disconnect(endpoint)

        run(known())


def test_s16_a_proxy_that_strips_tls_is_refused_and_learns_nothing(ca: Ca) -> None:
    seen = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def strip() -> None:
            with contextlib.suppress(OSError):
                client, _ = listener.accept()
                with client:
                    # How an HTTP/2 server begins without TLS: an empty SETTINGS frame.
                    client.sendall(b"\0\0\0\x04\0\0\0\0\0")
                    while data := client.recv(4096):
                        seen.extend(data)

        proxy = threading.Thread(target=strip)
        proxy.start()
        run(refused_link(listener.getsockname()[1], trusting(ca), s.SLIMPlainTextError))
        proxy.join(10)
    # A TLS record with the first message of a handshake, and nothing that a node would be told.
    assert seen[0] == 22
    assert b"PRI * HTTP/2.0" not in seen
    assert b"stranger" not in seen


class Members:
    """Keys of everybody, and a group of two whose talk must go on."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder, self.endpoint = folder, endpoint
        self.channel = PyName("org", "tests", f"channel-{folder.name}")
        self.keys = {name: TokenKey(f"org/tests/{name}-{folder.name}") for name in ("alice", "bob", "stranger")}
        self.message_key = TokenKey("for messages")

    def name(self, member: str) -> PyName:
        return PyName(*self.keys[member].name.split("/"))

    def verifier(self) -> PyIdentityVerifier.Jwt:
        keys = s.PyKeyData.Content(key_set(*self.keys.values()))
        key = s.PyKey(s.PyAlgorithm.ES256, s.PyKeyFormat.Jwks, keys)
        return PyIdentityVerifier.Jwt(public_key=key, issuer=ISSUER, audience=[AUDIENCE])

    async def member(self, member: str) -> Slim:
        pem = s.PyKeyData.Content(self.keys[member].private_pem)
        key = s.PyKey(s.PyAlgorithm.ES256, s.PyKeyFormat.Pem, pem)
        hour = datetime.timedelta(hours=1)
        provider = PyIdentityProvider.Jwt(key, hour, ISSUER, [AUDIENCE], self.keys[member].name)
        return await self.connected(self.name(member), provider)

    async def stranger(self, token: str) -> Slim:
        """Somebody whose every token is this one."""
        file, key = self.folder / "token", self.folder / "message.key"
        file.write_text(token)
        key.write_text(self.message_key.private_pem)
        return await self.connected(self.name("stranger"), PyIdentityProvider.StaticJwt(file, private_key=key))

    async def connected(self, name: PyName, provider: PyIdentityProvider) -> Slim:
        app = await Slim.new(name, provider, self.verifier())
        await app.connect({"endpoint": self.endpoint, "tls": {"insecure": True}})
        return app

    def claims(self, **changed: Any) -> dict[str, Any]:
        now = int(time.time())
        times = {"iat": now, "nbf": now - 7200, "exp": now + 3600}
        who = {"iss": ISSUER, "aud": [AUDIENCE], "sub": self.keys["stranger"].name}
        return {**times, **who, "pubkey": self.message_key.point(), **changed}

    @contextlib.asynccontextmanager
    async def group(self) -> AsyncIterator[tuple[Slim, Slim, PySessionInfo]]:
        alice, bob = await self.member("alice"), await self.member("bob")
        async with alice, bob:
            info = await alice.create_session(self.impatient(self.channel))
            await alice.invite(info, bob.local_name)
            await alice.publish(info, b"welcome", self.channel)
            assert (await bob.receive())[1] == b"welcome"
            assert (await bob.receive(session=info.id))[1] == b"welcome"
            yield alice, bob, info
            # Nobody else is in it, and it goes on.
            await alice.publish(info, b"afterwards", self.channel)
            assert (await bob.receive(session=info.id))[1] == b"afterwards"
            assert len(await alice.members(info)) == 2

    @staticmethod
    def impatient(channel: PyName, **keywords: Any) -> s.PySessionConfiguration.Streaming:
        return streaming(channel, max_retries=1, timeout=datetime.timedelta(milliseconds=200), **keywords)


def expired(members: Members) -> str:
    now = int(time.time())
    return members.keys["stranger"].token(members.claims(iat=now - 7200, exp=now - 3600))


def signed_with_a_public_key(members: Members) -> str:
    stranger = members.keys["stranger"]
    signed = unsigned_token({"alg": "HS256", "kid": stranger.name}, members.claims())
    mac = hmac.new(stranger.public_pem().encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64url(mac)}"


TOKENS: dict[str, tuple[Callable[[Members], str], type[s.SLIMIdentityError]]] = {
    "expired": (expired, s.SLIMTokenExpiredError),
    "not yet valid": (
        lambda members: members.keys["stranger"].token(members.claims(nbf=int(time.time()) + 3600)),
        s.SLIMTokenNotYetValidError,
    ),
    "wrong audience": (
        lambda members: members.keys["stranger"].token(members.claims(aud=["another group"])),
        s.SLIMWrongAudienceError,
    ),
    "wrong issuer": (
        lambda members: members.keys["stranger"].token(members.claims(iss="https://evil.example")),
        s.SLIMWrongIssuerError,
    ),
    "alg none": (
        lambda members: unsigned_token({"alg": "none", "kid": members.keys["stranger"].name}, members.claims()) + ".",
        s.SLIMWrongAlgorithmError,
    ),
    "HS256 signed with a public key": (signed_with_a_public_key, s.SLIMWrongAlgorithmError),
    "unknown kid": (lambda members: TokenKey("nobody").token(members.claims()), s.SLIMUnknownKeyError),
    "signed by nobody who is known": (
        lambda members: TokenKey(members.keys["stranger"].name).token(members.claims()),
        s.SLIMWrongSignatureError,
    ),
}


@pytest.mark.parametrize("case", TOKENS)
def test_s64_s74_an_invitee_with_a_wrong_token_is_refused_and_the_group_goes_on(
    tmp_path: Path, endpoint: str, case: str
) -> None:
    forge, error = TOKENS[case]

    async def scenario() -> None:
        members = Members(tmp_path, endpoint)
        async with members.group() as (alice, _, info):
            stranger = await members.stranger(forge(members))
            async with stranger:
                with pytest.raises(s.SLIMInviteError, match="holds other credentials"):
                    await alice.invite(info, members.name("stranger"))
                refusals = alice.identity_refusals()
                assert {type(refusal) for refusal in refusals} == {error}, refusals
                assert all(refusal.peer.equal_without_id(members.name("stranger")) for refusal in refusals)
                assert stranger.sessions == {}

    run(scenario())


@pytest.mark.parametrize("case", TOKENS)
def test_s64_s74_an_inviter_with_a_wrong_token_is_refused_and_sees_the_likely_causes(
    tmp_path: Path, endpoint: str, case: str
) -> None:
    forge, error = TOKENS[case]

    async def scenario() -> None:
        members = Members(tmp_path, endpoint)
        async with members.group() as (_, bob, _info):
            stranger = await members.stranger(forge(members))
            async with stranger:
                # Its own software makes no encrypted group with such a token.
                settings = Members.impatient(PyName("org", "tests", "trap"), mls_enabled=False)
                trap = await stranger.create_session(settings)
                with pytest.raises(s.SLIMInviteError, match="refuses in silence"):
                    await stranger.invite(trap, bob.local_name)
                refusals = bob.identity_refusals()
                assert {type(refusal) for refusal in refusals} == {error}, refusals
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(bob.receive(), 0.1)

    run(scenario())


def test_s64_s74_a_token_with_the_key_of_another_is_refused_where_it_is_used(tmp_path: Path, endpoint: str) -> None:
    async def scenario() -> None:
        members = Members(tmp_path, endpoint)
        victims = TokenKey("of the victim")
        # Whoever copied a token lacks the key of its claim `pubkey`.
        token = members.keys["stranger"].token(members.claims(pubkey=victims.point()))
        async with members.group():
            with pytest.raises(ValueError, match="pubkey"):
                await members.stranger(token)

    run(scenario())
