"""Identities from JSON Web Tokens: keys of every kind, files that change, issuers that publish keys, refusals by class."""

from __future__ import annotations

import asyncio
import datetime
import http.server
import itertools
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import slim_bindings
from slim_bindings import (
    PyAlgorithm,
    PyIdentityProvider,
    PyIdentityVerifier,
    PyKey,
    PyKeyData,
    PyKeyFormat,
    PyName,
    Slim,
)
from support import CHANNEL, DEADLINE, ROOT, greeted, group, run

KEYS = ROOT / "core/auth/tests/vectors"
MINUTE = datetime.timedelta(minutes=1)
#: Algorithms, their key pairs, and the secret of the symmetric one.
PAIRS = {
    PyAlgorithm.ES256: ("p256.pem", "p256.public.pem"),
    PyAlgorithm.ES384: ("p384.pem", "p384.public.pem"),
    PyAlgorithm.EdDSA: ("ed25519.pem", "ed25519.public.pem"),
    PyAlgorithm.RS256: ("rsa.pem", "rsa.public.pem"),
    PyAlgorithm.PS512: ("rsa.pem", "rsa.public.pem"),
}


def pem(algorithm: PyAlgorithm, part: int) -> PyKey:
    return PyKey(algorithm, PyKeyFormat.Pem, PyKeyData.File(str(KEYS / PAIRS[algorithm][part])))


def provider(subject: str | None, algorithm: PyAlgorithm = PyAlgorithm.ES256, **more: Any) -> PyIdentityProvider:
    settings: dict[str, Any] = {"private_key": pem(algorithm, 0), "duration": MINUTE, "subject": subject, **more}
    return PyIdentityProvider.Jwt(**settings)


def verifier(algorithm: PyAlgorithm = PyAlgorithm.ES256, **more: Any) -> PyIdentityVerifier:
    return PyIdentityVerifier.Jwt(**{"public_key": pem(algorithm, 1), **more})


async def application(own: PyIdentityProvider, others: PyIdentityVerifier) -> Slim:
    """An application of this process, with a name that no other test has: one that failed keeps its applications."""
    return await Slim.new(PyName("org", "ns", f"app{next(_NUMBERS)}"), own, others)


_NUMBERS = itertools.count()


def nameless(app: Slim) -> PyName:
    """Its name without id: any instance."""
    organisation, namespace, application_name = app.local_name.components_strings()
    return PyName(organisation, namespace, application_name)


async def talk(alice: Slim, bob: Slim) -> None:
    """A message in a group of the two, and back."""
    async with alice, bob:
        info = await group(alice, bob)
        [there] = await greeted(alice, info, bob)
        await bob.publish(there, b"back", CHANNEL)
        _, message = await asyncio.wait_for(alice.receive(session=info.id), DEADLINE)
        assert message == b"back"


@pytest.mark.parametrize("algorithm", PAIRS)
def test_applications_that_sign_their_own_tokens_form_a_group(algorithm: PyAlgorithm) -> None:
    async def scenario() -> None:
        alice = await application(provider("alice", algorithm), verifier(algorithm))
        bob = await application(provider("bob", algorithm), verifier(algorithm))
        assert alice.identity_assurance == "jwt"
        await talk(alice, bob)

    run(scenario())


def test_a_key_set_and_a_secret_check_tokens_too() -> None:
    async def scenario() -> None:
        everybody = PyKeyData.Content((KEYS / "jwks.json").read_text())
        key_set = PyIdentityVerifier.Jwt(public_key=PyKey(PyAlgorithm.ES256, PyKeyFormat.Jwks, everybody))
        secret = PyKey(PyAlgorithm.HS256, PyKeyFormat.Pem, PyKeyData.Content("a secret of more than 32 bytes, really"))
        by_secret = PyIdentityProvider.Jwt(secret, MINUTE, subject="carol")
        alice = await application(provider("alice"), key_set)
        bob = await application(provider("bob"), key_set)
        await talk(alice, bob)
        carol = await application(by_secret, PyIdentityVerifier.Jwt(public_key=secret))
        dave = await application(PyIdentityProvider.Jwt(secret, MINUTE, subject="dave"), PyIdentityVerifier.Jwt(secret))
        await talk(carol, dave)

    run(scenario())


def test_without_a_subject_an_application_is_called_by_its_name() -> None:
    async def scenario() -> None:
        named = await application(provider(None), verifier())
        subject = str(nameless(named))
        again = await application(provider(subject), verifier())
        assert named.get_id() == again.get_id()

    run(scenario())


def test_the_subject_of_a_verifier_restricts_nobody_and_subjects_do() -> None:
    async def scenario() -> None:
        # Programs of this generation pass their own subject.
        alice = await application(provider("alice"), verifier(subject="alice"))
        bob = await application(provider("bob"), verifier(subject="bob", subjects=["alice"]))
        await talk(alice, bob)
        carol = await application(provider("carol"), verifier())
        async with bob, carol:
            await refused_by(bob, carol)
        assert type(bob.identity_refusals()[-1]) is slim_bindings.SLIMWrongSubjectError

    run(scenario())


REFUSALS: dict[str, tuple[dict[str, Any], dict[str, Any], type[Exception]]] = {
    "audience": ({"audience": ["others"]}, {"audience": ["slim"]}, slim_bindings.SLIMWrongAudienceError),
    "no audience here": ({"audience": ["slim"]}, {}, slim_bindings.SLIMWrongAudienceError),
    "audience required": ({}, {"audience": ["slim"], "require_aud": True}, slim_bindings.SLIMTokenMalformedError),
    "issuer": ({"issuer": "https://a"}, {"issuer": "https://b"}, slim_bindings.SLIMWrongIssuerError),
    "issuer required": ({}, {"issuer": "https://b", "require_iss": True}, slim_bindings.SLIMTokenMalformedError),
    "algorithm": ({"private_key": pem(PyAlgorithm.EdDSA, 0)}, {}, slim_bindings.SLIMWrongAlgorithmError),
    "hs256 with the public key": (
        {
            "private_key": PyKey(
                PyAlgorithm.HS256,
                PyKeyFormat.Pem,
                PyKeyData.Content((KEYS / "rsa.public.pem").read_text().replace("-", "_")),
            )
        },
        {"public_key": pem(PyAlgorithm.RS256, 1)},
        slim_bindings.SLIMWrongAlgorithmError,
    ),
    "signature": (
        {"private_key": PyKey(PyAlgorithm.ES256, PyKeyFormat.Pem, PyKeyData.File(str(KEYS / "p256-sec1.pem")))},
        {},
        slim_bindings.SLIMWrongSignatureError,
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_who_is_not_believed_is_told_by_its_own_class(case: str) -> None:
    sent, demanded, expected = REFUSALS[case]

    async def scenario() -> None:
        # Each believes itself: own tokens are looked at, too.
        own = {key: value for key, value in sent.items() if key in ("audience", "issuer")}
        keys = {
            "signature": ("p256-sec1.public.pem", PyAlgorithm.ES256),
            "algorithm": ("ed25519.public.pem", PyAlgorithm.EdDSA),
        }
        trusted: dict[str, Any] = {}
        if case in keys:
            file, algorithm = keys[case]
            trusted["public_key"] = PyKey(algorithm, PyKeyFormat.Pem, PyKeyData.File(str(KEYS / file)))
        elif "private_key" in sent:
            trusted["public_key"] = sent["private_key"]
        mallory = await application(provider("mallory", **sent), verifier(**own, **trusted))
        good = {key: value for key, value in demanded.items() if key in ("audience", "issuer")}
        private: dict[str, Any] = {"private_key": pem(PyAlgorithm.RS256, 0)} if "public_key" in demanded else {}
        alice = await application(provider("alice", **good, **private), verifier(**demanded))
        async with alice, mallory:
            await refused_by(alice, mallory)
        refusals = alice.identity_refusals()
        assert {type(refused) for refused in refusals} == {expected}, refusals
        assert refusals[-1].peer.equal_without_id(mallory.local_name)
        assert isinstance(refusals[-1], PermissionError)

    run(scenario())


async def refused_by(own: Slim, stranger: Slim) -> None:
    """The stranger wants the other in a session of its own, and waits in vain."""
    config = slim_bindings.PySessionConfiguration.FireAndForget(
        timeout=datetime.timedelta(milliseconds=100), max_retries=2, sticky=True
    )
    info = await stranger.create_session(config)
    with pytest.raises(slim_bindings.SLIMTimeoutError):
        await stranger.publish(info, b"let me in", nameless(own))


class Issuer(http.server.BaseHTTPRequestHandler):
    keys = (KEYS / "jwks.json").read_bytes()

    def do_GET(self) -> None:
        base = f"http://127.0.0.1:{self.server.server_port}"  # type: ignore[attr-defined]
        documents = {
            "/.well-known/openid-configuration": json.dumps({"issuer": base, "jwks_uri": f"{base}/keys"}).encode(),
            "/keys": self.keys,
        }
        body = documents.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def issuer() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Issuer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_keys_are_fetched_from_the_issuer(issuer: str) -> None:
    async def scenario() -> None:
        published = PyIdentityVerifier.Jwt(autoresolve=True, issuer=issuer, audience=["slim"])
        apps = [
            await application(provider(name, PyAlgorithm.EdDSA, issuer=issuer, audience=["slim"]), published)
            for name in ("alice", "bob")
        ]
        await talk(*apps)

    run(scenario())


def test_an_unreachable_issuer_is_the_reason_that_is_told(issuer: str) -> None:
    gone = "http://127.0.0.1:9"

    async def scenario() -> None:
        verifying = PyIdentityVerifier.Jwt(autoresolve=True, issuer=gone)
        alice = await application(provider("alice", issuer=gone), verifying)
        bob = await application(provider("bob", issuer=gone), verifier(issuer=gone))
        async with alice, bob:
            config = slim_bindings.PySessionConfiguration.FireAndForget(
                timeout=datetime.timedelta(seconds=1), max_retries=6, sticky=True
            )
            info = await bob.create_session(config)
            with pytest.raises(slim_bindings.SLIMTimeoutError):
                await bob.publish(info, b"hello", nameless(alice))
        refused = alice.identity_refusals()[-1]
        assert type(refused) is slim_bindings.SLIMIssuerUnavailableError
        assert gone in str(refused)

    run(scenario())


def test_a_signing_key_in_a_file_is_replaced_while_messages_flow(tmp_path: Path) -> None:
    def use(file: str) -> None:
        (tmp_path / "new").write_text((KEYS / file).read_text())
        os.replace(tmp_path / "new", tmp_path / "key.pem")

    async def scenario() -> None:
        use("p256.pem")
        everybody = PyKey(PyAlgorithm.ES256, PyKeyFormat.Jwks, PyKeyData.File(str(KEYS / "jwks.json")))
        both = PyIdentityVerifier.Jwt(public_key=everybody)
        key = PyKey(PyAlgorithm.ES256, PyKeyFormat.Pem, PyKeyData.File(str(tmp_path / "key.pem")))
        alice = await application(PyIdentityProvider.Jwt(key, MINUTE, subject="alice"), both)
        bob = await application(provider("bob"), both)
        async with alice, bob:
            info = await group(alice, bob)
            [there] = await greeted(alice, info, bob)
            use("p256.pem")
            for number in range(20):
                await alice.publish(info, str(number).encode(), CHANNEL)
                _, message = await asyncio.wait_for(bob.receive(session=there.id), DEADLINE)
                assert message == str(number).encode()
                await asyncio.sleep(0.1)
        assert bob.identity_refusals() == []

    run(scenario())


def test_a_given_token_needs_the_private_key_of_its_owner(tmp_path: Path) -> None:
    line = json.loads((KEYS / "tokens.jsonl").read_text().splitlines()[0])
    token = tmp_path / "token"
    token.write_text(line["token"] if isinstance(line, dict) else str(line))

    async def scenario() -> None:
        with pytest.raises(ValueError, match="private key"):
            await application(PyIdentityProvider.StaticJwt(str(token)), verifier())
        with pytest.raises(ValueError, match="no-such-token"):
            await application(PyIdentityProvider.StaticJwt(str(tmp_path / "no-such-token")), verifier())

    run(scenario())


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (PyKeyData.Content("canary"), "private key"),
        (PyKeyData.File("no/such/key.pem"), "no/such/key.pem"),
        (PyKeyData.File(str(KEYS / "p256.public.pem")), "private"),
        (PyKeyData.File(str(KEYS / "p256-encrypted.pem")), "private key"),
    ],
)
def test_a_bad_key_is_one_clear_sentence_and_not_shown(key: PyKeyData, reason: str) -> None:
    own = PyIdentityProvider.Jwt(PyKey(PyAlgorithm.ES256, PyKeyFormat.Pem, key), MINUTE, subject="alice")
    with pytest.raises(ValueError, match=reason) as raised:
        run(application(own, verifier()))
    assert "canary" not in str(raised.value) + repr(own)


def test_settings_that_make_no_sense_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="autoresolve"):
        PyIdentityVerifier.Jwt()
    with pytest.raises(ValueError, match="exclude"):
        PyIdentityVerifier.Jwt(public_key=pem(PyAlgorithm.ES256, 1), autoresolve=True, issuer="https://a")
    with pytest.raises(ValueError, match="issuer"):
        PyIdentityVerifier.Jwt(autoresolve=True)
    with pytest.raises(TypeError, match="audience"):
        PyIdentityVerifier.Jwt(public_key=pem(PyAlgorithm.ES256, 1), audience="slim")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="timedelta"):
        PyIdentityProvider.Jwt(pem(PyAlgorithm.ES256, 0), 60)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="second"):
        provider("alice", duration=datetime.timedelta(0))
    with pytest.raises(TypeError, match="PyKey"):
        PyIdentityProvider.Jwt("key", MINUTE)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="algorithm"):
        PyKey("ES256", PyKeyFormat.Pem, PyKeyData.Content("x"))  # type: ignore[arg-type]
    for build in (PyKeyData, PyIdentityProvider, PyIdentityVerifier):
        with pytest.raises(TypeError, match="build"):
            build()


def test_a_token_lives_for_an_hour_at_most() -> None:
    with pytest.warns(UserWarning, match="hour"):
        own = provider("alice", duration=datetime.timedelta(days=1))
    assert isinstance(own, PyIdentityProvider.Jwt)
    assert own.duration == datetime.timedelta(hours=1)
