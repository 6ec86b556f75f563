"""Waits for something that never comes, until Ctrl-C: run by test_asyncio.py."""

from __future__ import annotations

import asyncio
import datetime
import os
import signal
import sys

from slim_bindings import PyName
from support import CHANNEL, TESTS, application, group, python


async def main(endpoint: str, what: str) -> None:
    app = await application(endpoint, f"interrupted-{what}")
    async with app:
        if what == "receive":
            print("waiting", flush=True)
            await app.receive()
        else:
            # A member that is there and does not answer, so that the message cannot be acknowledged.
            with python(str(TESTS / "member.py"), endpoint, "deaf", stdin=True) as member:
                member.wait_for_line('"ready"')
                info = await group(app, timeout=datetime.timedelta(seconds=5))
                await app.invite(info, PyName("org", "tests", "deaf"))
                os.kill(member.pid, signal.SIGSTOP)
                print("waiting", flush=True)
                await app.publish(info, b"anybody?", CHANNEL)


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
