"""``slim-examples ff`` and ``rr``: messages to one instance of a name, and requests with replies."""

from __future__ import annotations

import argparse
import asyncio
import datetime
from typing import Any

from slim_bindings import PyName, PySessionConfiguration, PySessionInfo, Slim, SLIMSessionClosedError, SLIMTimeoutError
from slim_bindings.examples._identity import create_application
from slim_bindings.examples._options import Parser, add_common, positive, say

#: An answer that takes longer is not waited for.
_ANSWER_MAX = datetime.timedelta(seconds=5)

_ROLES = """\
With --message it sends to --remote, prints the answers and ends. Without, it waits for messages, prints them and sends
each back, until Ctrl-C.
"""


def add_fire_and_forget(commands: Any) -> None:
    """The command ``ff``."""
    parser = commands.add_parser(
        "ff",
        help="1:1 messages, each to one instance of a name",
        description="1:1 messages. Each goes to an instance of --remote, in turn if there are several; with --sticky "
        "all go to the one that answers first.\n\n" + _ROLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_options(parser, _send)


def add_request_reply(commands: Any) -> None:
    """The command ``rr``."""
    parser = commands.add_parser(
        "rr",
        help="a request and its reply, or a time-out",
        description="Requests and replies: a request that is not replied to within 5 seconds is reported.\n\n" + _ROLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_options(parser, _request)


def _add_options(parser: Parser, act: Any) -> None:
    add_common(parser, remote="whom to send to, a/b/c")
    parser.option("-m", "--message", metavar="TEXT", help="what to send; without it, messages are waited for")
    parser.option("-i", "--iterations", type=positive, default=1, metavar="N", help="how often to send it")
    parser.option("--sticky", action="store_true", help="send everything to the instance that answers first")
    parser.option("--enable-mls", action="store_true", help="encrypt end to end, which implies --sticky")
    parser.set_defaults(run=_run, act=act)


async def _run(options: argparse.Namespace) -> int:
    if options.message is not None and options.remote is None:
        raise ValueError("--message needs --remote, the name to send it to")
    app = await create_application(options)
    async with app:
        if options.message is None:
            say(f"{app.local_name} waits for messages")
            await _answer_all(app)
        session = await app.create_session(
            PySessionConfiguration.FireAndForget(
                timeout=datetime.timedelta(seconds=1),
                max_retries=5,
                sticky=options.sticky,
                mls_enabled=options.enable_mls,
            )
        )
        unanswered = 0
        for _ in range(options.iterations):
            if not await options.act(app, session, options.remote, options.message.encode()):
                unanswered += 1
        # Tells the receivers, so that they forget the session.
        await app.delete_session(session.id)
    if unanswered:
        raise TimeoutError(f"{unanswered} of {options.iterations} messages got no answer")
    return 0


async def _send(app: Slim, session: PySessionInfo, remote: PyName, message: bytes) -> bool:
    """Sends a message, which resolves when it is acknowledged, and waits for what comes back."""
    await app.publish(session, message, remote)
    say(f"sent to {remote}: {message.decode()}")
    try:
        info, answer = await asyncio.wait_for(app.receive(session=session.id), _ANSWER_MAX.total_seconds())
    except asyncio.TimeoutError:
        say(f"no answer within {_ANSWER_MAX.total_seconds():g} s")
        return False
    say(f"received from {info.source_name}: {answer.decode(errors='replace')}")
    return True


async def _request(app: Slim, session: PySessionInfo, remote: PyName, message: bytes) -> bool:
    """The same in one call."""
    say(f"request to {remote}: {message.decode()}")
    try:
        info, reply = await app.request_reply(session, message, remote, timeout=_ANSWER_MAX)
    except SLIMTimeoutError:
        # Nobody is there, which no repetition changes.
        raise
    except asyncio.TimeoutError:
        say(f"no reply within {_ANSWER_MAX.total_seconds():g} s")
        return False
    say(f"reply from {info.source_name}: {reply.decode(errors='replace')}")
    return True


async def _answer_all(app: Slim) -> None:
    """Sends back what others send, in as many sessions as they open; runs until it is cancelled."""
    answering: set[asyncio.Task[None]] = set()
    try:
        while True:
            session, _ = await app.receive()
            task = asyncio.create_task(_answer(app, session))
            answering.add(task)
            task.add_done_callback(answering.discard)
    finally:
        for task in answering:
            task.cancel()


async def _answer(app: Slim, session: PySessionInfo) -> None:
    while True:
        try:
            info, message = await app.receive(session=session.id)
            text = message.decode(errors="replace")
            say(f"received from {info.source_name}: {text}")
            await app.publish_to(info, f"{text} from {app.local_name}".encode())
        except SLIMSessionClosedError:
            return
        except SLIMTimeoutError as error:
            # Of one message, or one sender that is gone; the others go on.
            say(f"not answered: {error}")
