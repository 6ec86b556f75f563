"""Parent and forked child both use the package: run by test_asyncio.py."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from slim_bindings import PySessionInfo, Slim
from support import CHANNEL, application, greeted, group


async def pair(endpoint: str, prefix: str) -> tuple[Slim, Slim, PySessionInfo]:
    alice, bob = await application(endpoint, f"{prefix}-alice"), await application(endpoint, f"{prefix}-bob")
    async with alice, bob:
        info = await group(alice, bob)
        await greeted(alice, info, bob)
    return alice, bob, info


async def talk(alice: Slim, bob: Slim, info: PySessionInfo) -> None:
    async with alice, bob:
        await alice.publish(info, b"hello", CHANNEL)
        assert (await bob.receive(session=info.id))[1] == b"hello"


def run(coroutine: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 30))


def main(endpoint: str) -> None:
    parents = run(pair(endpoint, "parent"))
    child = os.fork()
    if child == 0:
        try:
            run(talk(*parents))
        except RuntimeError as error:
            assert "after the fork" in str(error), error
            print("child: parent's application refused", flush=True)
        run(talk(*run(pair(endpoint, "child"))))
        print("child: own group works", flush=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    run(talk(*parents))
    print("parent: still works", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
