"""A clock that is asked for the time: a server that replies, and a client that waits for the reply.

python request_reply.py --name org/examples/clock
python request_reply.py --name org/examples/client --ask org/examples/clock
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import sys

from slim_bindings import (
    PyIdentityProvider,
    PyIdentityVerifier,
    PyName,
    PySessionConfiguration,
    PySessionInfo,
    Slim,
    SLIMSessionClosedError,
)

TIMEOUT = datetime.timedelta(seconds=5)


def parse_name(text: str) -> PyName:
    """Reads organisation/namespace/application."""
    try:
        return PyName(*text.split("/"))
    except (TypeError, ValueError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not organisation/namespace/application"
        ) from error


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--endpoint", default="http://127.0.0.1:46357", help="the node")
    parser.add_argument(
        "--secret",
        default="a shared secret for trying things out",
        help="equal at all members",
    )
    parser.add_argument(
        "--name", type=parse_name, required=True, help="of this application"
    )
    parser.add_argument(
        "--ask", type=parse_name, help="the server; without it, this is the server"
    )
    return parser.parse_args()


async def create_application(name: PyName, secret: str, endpoint: str) -> Slim:
    """An application that proves its identity with the shared secret, connected to a node."""
    identity = str(name)
    app = await Slim.new(
        name,
        PyIdentityProvider.SharedSecret(identity=identity, shared_secret=secret),
        PyIdentityVerifier.SharedSecret(identity=identity, shared_secret=secret),
    )
    await app.connect({"endpoint": endpoint, "tls": {"insecure": True}})
    return app


async def ask(app: Slim, server: PyName) -> None:
    """One request, encrypted end to end."""
    session = await app.create_session(
        PySessionConfiguration.FireAndForget(
            timeout=datetime.timedelta(seconds=1), mls_enabled=True
        )
    )
    context, reply = await app.request_reply(
        session, b"what time is it?", server, timeout=TIMEOUT
    )
    print(f"{context.source_name} says: {reply.decode()}", flush=True)
    await app.delete_session(session.id)


async def reply(app: Slim, session: PySessionInfo) -> None:
    """Replies to one client until it ends the session."""
    try:
        while True:
            context, request = await app.receive(session=session.id)
            print(f"{context.source_name} asks: {request.decode()}", flush=True)
            now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
            await app.publish_to(context, now.encode())
    except SLIMSessionClosedError:
        pass


async def run(arguments: argparse.Namespace) -> None:
    app = await create_application(arguments.name, arguments.secret, arguments.endpoint)
    async with app:
        if arguments.ask is not None:
            return await ask(app, arguments.ask)
        print(f"{app.local_name} waits for requests", flush=True)
        replying = set()
        while True:
            session, _ = await app.receive()
            task = asyncio.create_task(reply(app, session))
            replying.add(task)
            task.add_done_callback(replying.discard)


def main() -> int:
    try:
        asyncio.run(run(parse_arguments()))
    except ConnectionError as error:
        print(error, file=sys.stderr)
        return 1
    except (TimeoutError, asyncio.TimeoutError) as error:
        # Nobody is there (the text says so), or nobody replied in time (there is no text).
        print(str(error) or f"no reply within {TIMEOUT}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
