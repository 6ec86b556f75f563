"""A group of two in one process that may use one core: run by test_asyncio.py under taskset."""

from __future__ import annotations

import asyncio
import os
import sys

from support import CHANNEL, application, greeted, group


async def main(endpoint: str) -> None:
    assert len(os.sched_getaffinity(0)) == 1
    alice, bob = await application(endpoint, "one-core-alice"), await application(endpoint, "one-core-bob")
    async with alice, bob:
        info = await group(alice, bob)
        await greeted(alice, info, bob)
        publishing = asyncio.gather(*(alice.publish(info, b"%d" % number, CHANNEL) for number in range(200)))
        received = [int((await bob.receive(session=info.id))[1]) for _ in range(200)]
        await publishing
    assert received == list(range(200))
    print("200 messages, in order")


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 60))
