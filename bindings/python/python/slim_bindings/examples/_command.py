"""The command line ``slim-examples``: which program, and how its errors and its end look."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from slim_bindings import SLIMSessionClosedError
from slim_bindings.examples import _group_chat, _one_to_one, _server
from slim_bindings.examples._options import Parser, resolve

_DESCRIPTION = """\
Small programs that talk through a SLIM node, to try it and to copy from.

Every option can also be given as an environment variable, SLIM_ and its name: SLIM_SHARED_SECRET for --shared-secret,
SLIM_SLIM for --slim. What is on the command line counts more. Lists are separated by spaces, switches are true or
false.
"""

_EXAMPLE = """\
try it in three terminals:
  slim-examples server -s 127.0.0.1:46357
  slim-examples ff --local org/demo/bob --shared-secret "of at least thirty-two bytes, please"
  slim-examples ff --local org/demo/alice --remote org/demo/bob --message hello \\
                   --shared-secret "of at least thirty-two bytes, please"
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one program; returns the exit code: 0 done, 1 it failed, 2 it was called wrongly, 130 Ctrl-C."""
    parser = Parser(
        prog="slim-examples",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _one_to_one.add_fire_and_forget(commands)
    _one_to_one.add_request_reply(commands)
    _group_chat.add(commands)
    _server.add(commands)
    options = parser.parse_args(arguments)
    resolve(options)
    try:
        exit_code: int = asyncio.run(options.run(options))
        return exit_code
    except KeyboardInterrupt:
        return 130
    except (OSError, TimeoutError, ValueError, SLIMSessionClosedError) as error:
        # One line that says what and why; a connection that fails and a time-out are among these.
        print(f"slim-examples: {error}", file=sys.stderr)
        return 1
