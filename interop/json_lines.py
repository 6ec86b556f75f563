"""Requests, answers and events as JSON lines: what every Python program behind that interface has in common.

A program imports this before the package that it drives, because published packages log to standard output, which is
the interface: from here on it leads to standard error for everybody but `say`. What can be asked for is the business
of the programs; `shell/sdk/examples/peer.rs` lists it.
"""

import asyncio
import json
import os
import sys
import threading

OUT = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)


def say(message: dict) -> None:
    OUT.write(json.dumps(message) + "\n")


class Peer:
    """Performs each request in a task of its own; the operation `x` is the method `op_x`."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task] = set()

    def spawn(self, work) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def answer(self, request: dict) -> None:
        operation = getattr(self, "op_" + request.pop("op"))
        number = request.pop("id")
        try:
            say({"id": number, "ok": await operation(**request)})
        except Exception as error:  # whatever the package raises is the answer
            say({"id": number, "error": f"{type(error).__name__}: {error}"})


def run(peer: type[Peer]) -> None:
    """Serves requests until the end of the input, then ends the process."""
    asyncio.run(_serve(peer))
    OUT.flush()
    # The package's own threads must not delay the end of a test.
    os._exit(0)


async def _serve(peer: type[Peer]) -> None:
    loop = asyncio.get_running_loop()
    requests: asyncio.Queue = asyncio.Queue()

    def read_requests() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(requests.put_nowait, json.loads(line))
        loop.call_soon_threadsafe(requests.put_nowait, None)

    threading.Thread(target=read_requests, daemon=True).start()
    serving = peer()
    while (request := await requests.get()) is not None:
        serving.spawn(serving.answer(request))
