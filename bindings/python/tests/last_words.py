"""Answers the first message and leaves at once, or stays until Ctrl-C: run by test_asyncio.py."""

from __future__ import annotations

import asyncio
import sys

from support import application


async def main(endpoint: str, then: str = "leave") -> None:
    app = await application(endpoint, "last-words")
    print("ready", flush=True)
    async with app:
        info, _ = await app.receive()
        await app.publish(info, b"last words", info.destination_name)
        if then == "stay":
            await app.receive()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
