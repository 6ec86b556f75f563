"""Waits for an invitation to a group, answers its moderator and prints what everybody says until the group ends.

python participant.py --name org/examples/participant1
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from slim_bindings import (
    PyIdentityProvider,
    PyIdentityVerifier,
    PyName,
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
        raise argparse.ArgumentTypeError(f"{text!r} is not organisation/namespace/application") from error


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", default="http://127.0.0.1:46357", help="the node")
    parser.add_argument("--secret", default="a shared secret for trying things out", help="equal at all members")
    parser.add_argument("--name", type=parse_name, required=True, help="of this application")
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


async def listen(app: Slim, session: PySessionInfo, moderator: PyName) -> None:
    """Prints what the group says, and answers the moderator."""
    while True:
        context, message = await app.receive(session=session.id)
        print(f"hears {context.source_name.components_strings()[2]}: {message.decode()}", flush=True)
        if context.source_name == moderator:
            answer = f"{message.decode()} to you too"
            print(f"says: {answer}", flush=True)
            # Resolves when every member acknowledged; then only the moderator is told.
            await app.publish(context, answer.encode(), context.destination_name)
            try:
                await app.publish_to(context, b"everybody heard me")
            except SLIMTimeoutError as error:
                # It may have left meanwhile.
                print(f"{error}", flush=True)


async def run(arguments: argparse.Namespace) -> None:
    app = await create_application(arguments.name, arguments.secret, arguments.endpoint)
    print(f"{app.local_name} waits for an invitation", flush=True)
    async with app:
        # Returns when the first message arrives; the first receive below returns the same message.
        session, _ = await app.receive()
        print(f"is in {session.destination_name}, session {session.id}, epoch {session.mls_epoch}", flush=True)
        try:
            await listen(app, session, session.source_name)
        except SLIMSessionClosedError as error:
            print(f"{error}", flush=True)


def main() -> int:
    try:
        asyncio.run(run(parse_arguments()))
    except ConnectionError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
