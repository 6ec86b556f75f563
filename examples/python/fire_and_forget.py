"""Sends 1:1 messages to the instances of a name and prints what comes back; without --to it answers them.

python fire_and_forget.py --name org/examples/worker
python fire_and_forget.py --name org/examples/worker
python fire_and_forget.py --name org/examples/client --to org/examples/worker --count 4
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
    SLIMTimeoutError,
)


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
    parser.add_argument("--to", type=parse_name, help="whom to send to")
    parser.add_argument("--count", type=int, default=1, help="number of messages")
    parser.add_argument(
        "--sticky", action="store_true", help="all to the instance that answers first"
    )
    parser.add_argument(
        "--mls", action="store_true", help="encrypted end to end, which is sticky too"
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


async def send(app: Slim, arguments: argparse.Namespace) -> None:
    """Each message goes to an instance found anew, unless the session is sticky."""
    session = await app.create_session(
        PySessionConfiguration.FireAndForget(
            timeout=datetime.timedelta(seconds=1),
            max_retries=5,
            sticky=arguments.sticky,
            mls_enabled=arguments.mls,
        )
    )
    for number in range(arguments.count):
        # Resolves when the instance has it.
        await app.publish(session, f"message {number}".encode(), arguments.to)
        context, answer = await app.receive(session=session.id)
        print(f"{context.source_name}: {answer.decode()}", flush=True)
    await app.delete_session(session.id)


async def answer(app: Slim, session: PySessionInfo) -> None:
    """Answers one sender until it ends the session."""
    try:
        while True:
            context, message = await app.receive(session=session.id)
            print(f"{context.source_name}: {message.decode()}", flush=True)
            await app.publish_to(context, b"got " + message)
    except SLIMSessionClosedError:
        print(f"{session.source_name} is done", flush=True)


async def run(arguments: argparse.Namespace) -> None:
    app = await create_application(arguments.name, arguments.secret, arguments.endpoint)
    async with app:
        if arguments.to is not None:
            return await send(app, arguments)
        print(f"{app.local_name} waits for messages", flush=True)
        answering = set()
        while True:
            # Returns when a sender's first message arrives; `answer` receives the same message again.
            session, _ = await app.receive()
            task = asyncio.create_task(answer(app, session))
            answering.add(task)
            task.add_done_callback(answering.discard)


def main() -> int:
    try:
        asyncio.run(run(parse_arguments()))
    except (ConnectionError, SLIMTimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
