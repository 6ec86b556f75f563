"""Opens an encrypted group, invites members, greets them and waits until everybody has answered.

Start the participants first, or give the invitations time (--retries, --timeout):

    python participant.py --name org/examples/participant1
    python moderator.py --invite org/examples/participant1
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import sys
import time

from slim_bindings import (
    PyIdentityProvider,
    PyIdentityVerifier,
    PyName,
    PySessionConfiguration,
    PySessionDirection,
    PySessionInfo,
    Slim,
    SLIMInviteError,
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
    parser.add_argument("--name", type=parse_name, default="org/examples/moderator", help="of this application")
    parser.add_argument("--channel", type=parse_name, default="org/examples/channel", help="of the group")
    parser.add_argument("--invite", type=parse_name, action="append", required=True, help="a member; repeat it")
    parser.add_argument("--message", default="hello", help="what to say to the group")
    parser.add_argument("--timeout", type=float, default=1.0, help="seconds until a step is repeated")
    parser.add_argument("--retries", type=int, default=10, help="repetitions of a step")
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


async def invite_all(app: Slim, session: PySessionInfo, invitees: list[PyName]) -> None:
    for invitee in invitees:
        started = time.monotonic()
        joined = await app.invite(session, invitee)
        milliseconds = (time.monotonic() - started) * 1000
        short = joined.components_strings()[2]
        print(f"{short} joined after {milliseconds:.0f} ms, epoch {session.mls_epoch}", flush=True)


async def run(arguments: argparse.Namespace) -> None:
    app = await create_application(arguments.name, arguments.secret, arguments.endpoint)
    async with app:
        session = await app.create_session(
            PySessionConfiguration.Streaming(
                PySessionDirection.BIDIRECTIONAL,
                topic=arguments.channel,
                moderator=True,
                max_retries=arguments.retries,
                timeout=datetime.timedelta(seconds=arguments.timeout),
                mls_enabled=True,
            )
        )
        await invite_all(app, session, arguments.invite)
        print(f"says: {arguments.message}", flush=True)
        await app.publish(session, arguments.message.encode(), arguments.channel)
        silent = set(arguments.invite)
        while silent:
            context, answer = await app.receive(session=session.id)
            sender = context.source_name
            print(f"hears {sender.components_strings()[2]}: {answer.decode()}", flush=True)
            if context.direct:
                # The participant's last word: its answer was acknowledged by everybody.
                silent = {name for name in silent if not name.equal_without_id(sender)}
        # Tells everybody, so that their receive ends.
        await app.close_session(session)
        print("closed the group", flush=True)


def main() -> int:
    try:
        asyncio.run(run(parse_arguments()))
    except (ConnectionError, SLIMInviteError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
