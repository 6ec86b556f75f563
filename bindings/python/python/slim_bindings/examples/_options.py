"""What the programs share: options that may come from the environment, and what they are read as."""

from __future__ import annotations

import argparse
import json
import os
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from slim_bindings import PyName
from slim_bindings.examples import _identity

#: Schemes without TLS.
PLAIN_TEXT = ("http://", "ws://", "unix:")
#: The node of the tutorial.
NODE = '{"endpoint": "http://127.0.0.1:46357", "tls": {"insecure": true}}'


class _FromEnvironment:
    """The value of an option that was not given on the command line; ``resolve`` replaces it."""

    def __init__(self, variable: str, text: str, convert: Callable[[str], Any], error: Callable[[str], Any]) -> None:
        self._variable, self._text, self._convert, self._error = variable, text, convert, error

    def value(self) -> Any:
        try:
            return self._convert(self._text)
        except (argparse.ArgumentTypeError, ValueError) as error:
            return self._error(f"environment variable {self._variable}: {error}")


class _Collect(argparse.Action):
    """Gathers a list from ``--option A B`` and from ``--option A --option B``."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        earlier = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [*(earlier if isinstance(earlier, list) else ()), *values])


class Parser(argparse.ArgumentParser):
    """A parser whose options are environment variables too."""

    def option(self, *flags: str, required: bool = False, type: Callable[[str], Any] = str, **keywords: Any) -> None:
        """Adds an option; ``default`` is text, read like a given value."""
        variable = "SLIM_" + flags[-1].removeprefix("--").replace("-", "_").upper()
        convert = type
        keywords.setdefault("default", None)
        if keywords.get("action") == "store_true":
            keywords["default"], convert = False, _boolean
        elif keywords.pop("many", False):
            keywords.update(action=_Collect, nargs="+", default=[], type=type)
            convert = _list_of(type)
        else:
            keywords["type"] = type
        text = os.environ.get(variable)
        if text:
            required = False
            keywords["default"] = _FromEnvironment(variable, text, convert, self.error)
        keywords["help"] += f" [{variable}]"
        self.add_argument(*flags, required=required, **keywords)


def resolve(options: argparse.Namespace) -> None:
    """Reads the values that come from the environment; leaves the program with a message if one is wrong."""
    for name, value in vars(options).items():
        if isinstance(value, _FromEnvironment):
            setattr(options, name, value.value())


def add_common(parser: Parser, remote: str, remote_is_required: bool = False) -> None:
    """The options of everything that talks."""
    parser.option(
        "-l", "--local", type=read_name, required=True, metavar="NAME", help="this application, a/b/c: its own name"
    )
    parser.option("-r", "--remote", type=read_name, required=remote_is_required, metavar="NAME", help=remote)
    parser.option(
        "-s",
        "--slim",
        type=read_node,
        default=NODE,
        metavar="JSON",
        help="the node: the keys of a node's clients entry as JSON, or only its URL; without it the plain-text node "
        "on this machine at port 46357",
    )
    _identity.add_options(parser)


def read_name(text: str) -> PyName:
    """Reads organisation/namespace/application, with /instance if one in particular is meant."""
    try:
        organisation, namespace, application, *instance = text.split("/")
        (id,) = (uuid.UUID(part).int for part in instance) if instance else (None,)
        return PyName(organisation, namespace, application, id)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not organisation/namespace/application") from error


def read_node(text: str) -> dict[str, Any]:
    """Reads the configuration of a connection, or a URL: plain text if its scheme says so, else with TLS."""
    if not text.lstrip().startswith("{"):
        return {"endpoint": text, "tls": {"insecure": True}} if text.startswith(PLAIN_TEXT) else {"endpoint": text}
    try:
        node: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if "endpoint" not in node:
        raise argparse.ArgumentTypeError('it has no "endpoint"')
    return node


def say(text: str) -> None:
    """Prints a line at once, for whoever reads through a pipe."""
    print(text, flush=True)


def positive(text: str) -> int:
    """Reads a number of at least 1."""
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return number


def _boolean(text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    try:
        return words[text.lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither true nor false") from None


def _list_of(convert: Callable[[str], Any]) -> Callable[[str], Sequence[Any]]:
    return lambda text: [convert(word) for word in text.split()]
