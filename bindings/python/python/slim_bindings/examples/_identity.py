"""Who a program is, and whom it believes: a shared secret, or JSON Web Tokens."""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slim_bindings import (
    PyAlgorithm,
    PyIdentityProvider,
    PyIdentityVerifier,
    PyKey,
    PyKeyData,
    PyKeyFormat,
    Slim,
)

if TYPE_CHECKING:
    from slim_bindings.examples._options import Parser

#: Long enough for any clock, short enough for a stolen token.
_TOKEN_LIFE = datetime.timedelta(minutes=15)


def add_options(parser: Parser) -> None:
    """The options of an identity."""
    parser.option(
        "--shared-secret", metavar="TEXT", help="proves who belongs together; at least 32 bytes, equal at all"
    )
    parser.option(
        "--jwt",
        metavar="FILE",
        help="instead of a secret: the private key (PEM) that signs this application's tokens, or a token that "
        "somebody else signed and keeps up to date there; --bundle says whose are believed",
    )
    parser.option("--bundle", metavar="FILE", help="with --jwt: the public keys that are believed, as JWKS")
    parser.option(
        "--audience",
        many=True,
        metavar="TEXT",
        help="with --jwt: whom tokens are for; others have to be for one of these",
    )
    parser.option(
        "--algorithm",
        type=_algorithm,
        default="ES256",
        metavar="NAME",
        help="with --jwt: what its key and those of --bundle are for, ES256 if not given",
    )
    parser.option(
        "--jwt-key",
        metavar="FILE",
        help="with --jwt and a token: the private key (P-256, PEM) of the token's pubkey claim",
    )


async def create_application(options: argparse.Namespace) -> Slim:
    """An application that proves its identity as the options say, connected to the node."""
    provider, verifier = _web_tokens(options) if options.jwt else _shared_secret(options)
    app = await Slim.new(options.local, provider, verifier)
    await app.connect(options.slim)
    return app


def _shared_secret(options: argparse.Namespace) -> tuple[Any, Any]:
    if not options.shared_secret:
        raise ValueError("give --shared-secret, the text that all applications of the example know, or --jwt")
    name = str(options.local)
    return (
        PyIdentityProvider.SharedSecret(identity=name, shared_secret=options.shared_secret),
        PyIdentityVerifier.SharedSecret(identity=name, shared_secret=options.shared_secret),
    )


def _web_tokens(options: argparse.Namespace) -> tuple[Any, Any]:
    if not options.bundle:
        raise ValueError("--jwt needs --bundle, the keys of the others")
    audience = options.audience or None
    keys = PyKey(options.algorithm, PyKeyFormat.Jwks, PyKeyData.File(options.bundle))
    verifier = PyIdentityVerifier.Jwt(public_key=keys, audience=audience, require_aud=audience is not None)
    if not Path(options.jwt).read_text(encoding="utf-8").lstrip().startswith("-----BEGIN"):
        return PyIdentityProvider.StaticJwt(options.jwt, private_key=options.jwt_key), verifier
    private_key = PyKey(options.algorithm, PyKeyFormat.Pem, PyKeyData.File(options.jwt))
    # The subject is the application's name.
    return PyIdentityProvider.Jwt(private_key, _TOKEN_LIFE, audience=audience), verifier


def _algorithm(text: str) -> PyAlgorithm:
    try:
        return PyAlgorithm[text]
    except KeyError:
        known = ", ".join(algorithm.name for algorithm in PyAlgorithm)
        raise argparse.ArgumentTypeError(f"{text!r} is none of {known}") from None
