"""Credentials of links: either kind of application at either kind of node, which checks who dials."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from credentials import TokenKey, key_set
from peers import OURS, PeerError
from test_tls import KINDS, NODES, group_of_both

ISSUER = "https://issuer.example"
PLAIN = {"tls": {"insecure": True}}
ONCE = {"backoff": {"type": "fixed_interval", "interval": "10ms", "max_attempts": 1}}


def basic(password: str = "correct horse") -> dict:
    return {"type": "basic", "username": "alice", "password": password}


def demanding(*keys: TokenKey) -> dict:
    """The `auth` block of a listener that takes tokens under these keys."""
    key = {"type": "decoding", "algorithm": "ES256", "format": "jwks", "key": {"data": key_set(*keys)}}
    return {"type": "jwt", "claims": {"audience": ["slim"], "issuer": ISSUER}, "duration": "1h", "key": key}


def signing(key: TokenKey, subject: str) -> dict:
    """The `auth` block of an application that signs its tokens."""
    signer = {"type": "encoding", "algorithm": "ES256", "format": "pem", "key": {"data": key.private_pem}}
    claims = {"audience": ["slim"], "issuer": ISSUER, "subject": subject}
    return {"type": "jwt", "claims": claims, "duration": "10m", "key": signer}


def token(key: TokenKey, subject: str, **claims: object) -> str:
    now = int(time.time())
    good = {"iss": ISSUER, "aud": ["slim"], "sub": subject, "iat": now, "nbf": now, "exp": now + 600}
    return key.token({name: value for name, value in (good | claims).items() if value is not None})


def static(folder: Path, text: str, name: str = "token") -> dict:
    """The `auth` block of an application that has a token in a file."""
    file = folder / f"{name}.jwt"
    file.write_text(text)
    return {"type": "static_jwt", "file": str(file), "duration": "1h"}


@NODES
def test_a_group_of_both_with_a_password(world, own_nodes, node):
    node = own_nodes.start(node, auth=basic())
    group_of_both(world, node, lambda _name: PLAIN | {"auth": basic()})


@NODES
def test_a_group_of_both_with_tokens_that_each_signs(world, own_nodes, node):
    key = TokenKey("signer")
    node = own_nodes.start(node, auth=demanding(key))
    group_of_both(world, node, lambda name: PLAIN | {"auth": signing(key, name)})


@NODES
def test_a_group_of_both_with_tokens_from_files(world, own_nodes, tmp_path, node):
    key = TokenKey("signer")
    node = own_nodes.start(node, auth=demanding(key))
    group_of_both(world, node, lambda name: PLAIN | {"auth": static(tmp_path, token(key, name), name)})


def assert_refused(refused: pytest.ExceptionInfo, status: int) -> None:
    """What the published package says of a refusal: its status, or that it could not write to the call that the refusal
    ended. It sends at once, so chance decides, at its own node too."""
    text = str(refused.value)
    assert f"mapped from HTTP status code {status}" in text or "failed to send link negotiation request" in text


REFUSED = {
    "no credentials": lambda key, other, folder: None,
    "a wrong password": lambda key, other, folder: basic("battery staple"),
    "somebody else's key": lambda key, other, folder: signing(other, "mallory"),
    "an expired token": lambda key, other, folder: static(folder, token(key, "alice", exp=int(time.time()) - 3600)),
    "another audience": lambda key, other, folder: static(folder, token(key, "alice", aud=["other"])),
    "another issuer": lambda key, other, folder: static(folder, token(key, "alice", iss="https://evil.example")),
    "no end": lambda key, other, folder: static(folder, token(key, "alice", exp=None)),
}


@NODES
@KINDS
@pytest.mark.parametrize("case", REFUSED)
def test_a_link_without_the_right_credentials_is_refused_at_once(world, own_nodes, tmp_path, kind, node, case):
    key, other = TokenKey("signer"), TokenKey("signer")
    node = own_nodes.start(node, auth=basic() if "password" in case else demanding(key))
    auth = REFUSED[case](key, other, tmp_path)
    settings = PLAIN | ONCE | ({"auth": auth} if auth else {})
    with pytest.raises(PeerError) as refused:
        world.peer(kind, "stranger", node, settings=settings)
    if kind == OURS:
        assert "refuses the link as unauthenticated (401)" in str(refused.value)
    else:
        assert_refused(refused, 401)


@KINDS
def test_a_policy_that_says_no_is_a_403(world, own_nodes, kind):
    key = TokenKey("signer")
    auth = demanding(key) | {"policy": {"cel": "sub == 'alice'"}}
    node = own_nodes.start(OURS, auth=auth)
    world.peer(kind, "alice", node, settings=PLAIN | {"auth": signing(key, "alice")})
    with pytest.raises(PeerError) as refused:
        world.peer(kind, "bob", node, settings=PLAIN | ONCE | {"auth": signing(key, "bob")})
    if kind == OURS:
        assert "permission denied (403)" in str(refused.value)
    else:
        assert_refused(refused, 403)


@KINDS
def test_the_name_of_another_is_refused_with_the_reason(world, own_nodes, kind):
    """The rules of our node hold for applications of the published package as well."""
    key = TokenKey("signer")
    namespace = world.name("x").rsplit("/", 1)[0]
    own = {"match": "any", "subscribe": f"{namespace}/{{subject}}", "publish": f"{namespace}/*"}
    node = own_nodes.start(OURS, auth=demanding(key), authorization={"rules": [own]})
    world.peer(kind, "alice", node, settings=PLAIN | {"auth": signing(key, "alice")})
    with pytest.raises(PeerError) as refused:
        world.peer(kind, "alice", node, settings=PLAIN | ONCE | {"auth": signing(key, "mallory")})
    # The published package keeps the words of the acknowledgement to itself.
    reason = f'"mallory" may not subscribe to "{namespace}/alice"' if kind == OURS else "ack rejected by datapath"
    assert reason in str(refused.value)
