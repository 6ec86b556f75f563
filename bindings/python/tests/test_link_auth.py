"""Credentials of links: what ``auth`` of ``connect`` shows, what a node refuses, and rules of a node in this process."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import slim_bindings as s
from support import Node, application, free_port, identity, run

SECRET = "the secret of all who may dial here"


def key(kind: str) -> dict[str, Any]:
    return {"type": kind, "algorithm": "HS256", "format": "pem", "key": {"data": SECRET}}


def listener(port: int) -> dict[str, Any]:
    """A listener that takes tokens, but none of eve."""
    auth = {"type": "jwt", "key": key("decoding"), "policy": {"cel": "sub != 'eve'"}}
    return {"endpoint": f"127.0.0.1:{port}", "tls": {"insecure": True}, "auth": auth}


def dialing(endpoint: str, auth: dict[str, Any] | None) -> dict[str, Any]:
    config: dict[str, Any] = {"endpoint": endpoint, "tls": {"insecure": True}}
    return {**config, "auth": auth} if auth else config


def token_of(subject: str) -> dict[str, Any]:
    return {"type": "jwt", "key": key("encoding"), "claims": {"subject": subject}}


OWN_NAME = {"rules": [{"match": "any", "subscribe": "org/tests/{subject}", "publish": "org/tests/*"}]}

REFUSED: dict[str, tuple[dict[str, Any] | None, type[ConnectionError]]] = {
    "no credentials": (None, s.SLIMUnauthenticatedError),
    "a password": ({"type": "basic", "username": "alice", "password": "guess"}, s.SLIMUnauthenticatedError),
    "a token that the policy refuses": (token_of("eve"), s.SLIMPermissionDeniedError),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_link_has_a_class_of_its_own_and_is_not_tried_again(tmp_path: Path, case: str) -> None:
    auth, error = REFUSED[case]
    port = free_port()
    services = {"slim/0": {"authorization": OWN_NAME, "dataplane": {"servers": [listener(port)]}}}

    async def refused() -> None:
        app = await application(None, "alice")
        started = time.monotonic()
        with pytest.raises(ConnectionError) as caught:
            await app.connect(dialing(f"http://127.0.0.1:{port}", auth))
        assert type(caught.value) is error, caught.value
        assert f"127.0.0.1:{port}" in str(caught.value)
        assert time.monotonic() - started < 5

    with Node(tmp_path, json.dumps({"services": services}), port):
        run(refused())


async def private(application: str) -> s.Slim:
    """An application of this process, under an organisation of this test's own."""
    name = s.PyName("private", "tests", application)
    return await s.Slim.new(name, *identity(name, SECRET))


def test_a_name_that_the_rules_refuse_is_refused_with_the_reason_and_the_others_are_not() -> None:
    # Applications of other tests in this process, all of `org`, may still be there and share the link.
    everybody = {"match": "any", "subscribe": ["org/**", "private/tests/{subject}"], "publish": "org/**"}

    async def scene() -> None:
        owner = await application(None, "node")
        address = await owner.run_server({**listener(0), "authorization": {"rules": [everybody]}})
        alice = await private("alice")
        await alice.connect(dialing(f"http://{address}", token_of("alice")))
        # One process has one link to a node, so the link's token decides for all its applications.
        with pytest.raises(ConnectionError, match='"alice" may not subscribe to "private/tests/bob"'):
            await private("bob")
        # The link is the process's: applications of later tests must not meet these rules.
        await alice.disconnect(f"http://{address}")
        await owner.stop_server(address)

    run(scene())


def test_a_server_that_checks_who_dials_does_not_start_without_rules() -> None:
    async def scene() -> None:
        owner = await application(None, "node")
        with pytest.raises(OSError, match="nothing says who may use which name"):
            await owner.run_server(listener(0))
        with pytest.raises(ValueError, match="default"):
            await owner.run_server({**listener(0), "authorization": {"default": "perhaps"}})

    run(scene())
