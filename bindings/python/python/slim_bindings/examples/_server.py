"""``slim-examples server``: a node inside a Python process."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import signal
from typing import Any

from slim_bindings import PyIdentityProvider, PyIdentityVerifier, PyName, Slim
from slim_bindings.examples._options import read_node, say


def add(commands: Any) -> None:
    """The command ``server``."""
    parser = commands.add_parser(
        "server",
        help="a node inside a Python process",
        description="A node that lives in this process, until Ctrl-C. Without a configuration it talks plain text, so "
        "listen on this machine only; end-to-end encryption does not depend on it.",
    )
    parser.option(
        "-s",
        "--slim",
        default="127.0.0.1:46357",
        metavar="ADDRESS",
        help="where to listen, host:port, or the keys of a node's servers entry as JSON",
    )
    parser.set_defaults(run=_run)


def _configuration(text: str) -> dict[str, Any]:
    try:
        return read_node(text) if text.lstrip().startswith("{") else {"endpoint": text, "tls": {"insecure": True}}
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"--slim: {error}") from error


async def _run(options: argparse.Namespace) -> int:
    configuration = _configuration(options.slim)
    # Nobody talks to this application; it only holds the node.
    name, secret = PyName("slim", "examples", "server"), secrets.token_hex(32)
    app = await Slim.new(
        name,
        PyIdentityProvider.SharedSecret(identity=str(name), shared_secret=secret),
        PyIdentityVerifier.SharedSecret(identity=str(name), shared_secret=secret),
    )
    address = await app.run_server(configuration)
    say(f"a node listens on {address}")
    stopped = asyncio.Event()
    with contextlib.suppress(NotImplementedError):
        # Not on Windows, where a terminated process just ends.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    try:
        await stopped.wait()
    finally:
        await app.stop_server(configuration["endpoint"])
        say("the node has stopped")
    return 0
