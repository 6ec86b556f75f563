"""A member of a group in a process of its own: takes commands as JSON lines, tells what happens as JSON lines.

    member.py ENDPOINT NAME

Commands: {"do": "open", "invite": [NAME, ...], "mls": true}, {"do": "publish", "texts": [TEXT, ...]},
{"do": "flood", "text": TEXT, "padding": 9, "count": 9}, {"do": "whisper", "to": NAME, "text": TEXT},
{"do": "remove", "name": NAME}, {"do": "leave"}, {"do": "close"}, {"do": "exit"}.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from slim_bindings import PySessionInfo, Slim, SLIMSessionClosedError
from support import CHANNEL, PyName, application, streaming


def tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


async def listen(app: Slim, info: PySessionInfo) -> None:
    """Everything that the session delivers, until it ends."""
    try:
        while True:
            context, message = await app.receive(session=info.id)
            assert context.source_name is not None
            tell(message=message.decode(), sender=context.source_name.components_strings()[2])
    except SLIMSessionClosedError as error:
        tell(closed=error.reason)


async def watch(app: Slim, info: PySessionInfo) -> None:
    async for event in app.events(info):
        tell(event=event.change, member=event.member.components_strings()[2])


async def main(endpoint: str, name: str) -> None:
    app = await application(endpoint, name)
    tasks: set[asyncio.Task[None]] = set()
    info: PySessionInfo | None = None

    def attend(session: PySessionInfo) -> None:
        nonlocal info
        info = session
        tasks.update({asyncio.create_task(listen(app, session)), asyncio.create_task(watch(app, session))})

    async def wait_for_session() -> None:
        attend((await app.receive())[0])

    async with app:
        waiting = asyncio.create_task(wait_for_session())
        tell(ready=name)
        async for command in commands():
            match command["do"]:
                case "open":
                    session = await app.create_session(streaming(CHANNEL, mls_enabled=command.get("mls", True)))
                    for invitee in command["invite"]:
                        await app.invite(session, PyName("org", "tests", invitee))
                    attend(session)
                case "publish":
                    assert info is not None
                    for text in command["texts"]:
                        await app.publish(info, text.encode(), CHANNEL)
                case "flood":
                    # All at once, and nobody waits for what becomes of them.
                    assert info is not None
                    text = b"%b %b" % (command["text"].encode(), b"x" * command["padding"])
                    tasks.update(
                        asyncio.create_task(app.publish(info, text, CHANNEL)) for _ in range(command["count"])
                    )
                case "whisper":
                    assert info is not None
                    await app.publish(info, command["text"].encode(), PyName("org", "tests", command["to"]))
                case "remove":
                    assert info is not None
                    await app.remove(info, PyName("org", "tests", command["name"]))
                case "leave":
                    assert info is not None
                    await app.leave(info)
                case "close":
                    assert info is not None
                    await app.close_session(info)
                case "exit":
                    break
            tell(done=command["do"])
        for task in (waiting, *tasks):
            task.cancel()


async def commands() -> AsyncIterator[dict[str, Any]]:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        while line := await reader.readline():
            yield json.loads(line)
    finally:
        transport.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
