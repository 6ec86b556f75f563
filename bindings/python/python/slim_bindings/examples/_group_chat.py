"""``slim-examples pubsub``: a group that chats, in a terminal or through a pipe."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import os
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

from slim_bindings import (
    MembershipEvent,
    PyName,
    PySessionConfiguration,
    PySessionDirection,
    PySessionInfo,
    Slim,
    SLIMMessageLostError,
    SLIMSessionClosedError,
    SLIMTimeoutError,
)
from slim_bindings.examples._identity import create_application
from slim_bindings.examples._options import add_common, read_name

_PROMPT = "message> "
#: Type of the message with which the moderator greets a new member, so that its ``receive`` returns the session.
_GREETING = "slim-examples/joined"

_DESCRIPTION = """\
A group that chats. With --invites this application opens the group --remote and moderates it; without, it waits until
somebody invites it. Then what is typed goes to everybody, but for:

  invite NAME    adds a member              (moderator)
  remove NAME    removes one                (moderator)
  members        shows who is in the group
  exit           leaves; the group ends if it is the moderator who leaves

The end of the input means exit. Through a pipe there is no prompt, and each event is a line.
"""


def add(commands: Any) -> None:
    """The command ``pubsub``."""
    parser = commands.add_parser(
        "pubsub",
        help="a group chat",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_common(parser, remote="the channel, a/b/c: the group's name; only its moderator needs it")
    parser.option("--invites", type=read_name, many=True, metavar="NAME", help="a member to invite; repeat it for more")
    parser.option("--enable-mls", action="store_true", help="encrypt end to end")
    parser.set_defaults(run=_run)


async def _run(options: argparse.Namespace) -> int:
    if options.invites and options.remote is None:
        raise ValueError("--invites needs --remote, the name of the group's channel")
    app = await create_application(options)
    async with app:
        if options.remote is not None and options.invites:
            session = await app.create_session(
                PySessionConfiguration.Streaming(
                    PySessionDirection.BIDIRECTIONAL,
                    topic=options.remote,
                    moderator=True,
                    max_retries=5,
                    timeout=datetime.timedelta(seconds=1),
                    mls_enabled=options.enable_mls,
                )
            )
            chat = _Chat(app, session, options.remote, is_moderator=True)
            chat.show(f"* opened {options.remote} as {app.local_name}")
            for invitee in options.invites:
                await chat.invite(invitee)
        else:
            print(f"* {app.local_name} waits for an invitation", flush=True)
            session, _ = await app.receive()
            channel = session.destination_name
            configuration = await app.get_session_config(session.id)
            if channel is None or not isinstance(configuration, PySessionConfiguration.Streaming):
                raise ValueError(f"{session.source_name} opened a 1:1 session; this is a chat for groups")
            chat = _Chat(app, session, channel, is_moderator=False)
            chat.show(f"* joined {channel}")
        return await chat.run()


class _Chat:
    """One member of the group."""

    def __init__(self, app: Slim, session: PySessionInfo, channel: PyName, is_moderator: bool) -> None:
        self._app, self._session, self._channel = app, session, channel
        self._is_moderator = is_moderator
        self._has_prompt = sys.stdin.isatty()

    async def run(self) -> int:
        """Until the input or the group ends."""
        typing = asyncio.create_task(self._type())
        others = [asyncio.create_task(self._listen()), asyncio.create_task(self._watch())]
        try:
            # `_listen` ends with the group, `_type` with the input.
            await asyncio.wait({typing, others[0]}, return_when=asyncio.FIRST_COMPLETED)
            if typing.done():
                typing.result()
                await self._app.close_session(self._session)
            else:
                others[0].result()
        finally:
            for task in (typing, *others):
                task.cancel()
        return 0

    def show(self, line: str) -> None:
        """Prints an event; in a terminal it takes the place of the prompt, which follows again."""
        if self._has_prompt:
            print(f"\r{line.ljust(len(_PROMPT))}\n{_PROMPT}", end="", flush=True)
        else:
            print(line, flush=True)

    async def invite(self, name: PyName) -> None:
        try:
            member = await self._app.invite(self._session, name)
            # The new member learns of the group by its first message, and the others of the new member.
            greeting = f"{member} joined".encode()
            await self._app.publish(self._session, greeting, self._channel, payload_type=_GREETING)
            self.show(f"* {member} joined")
        except (SLIMTimeoutError, ValueError, PermissionError) as error:
            self.show(f"! {error}")

    async def _type(self) -> None:
        if self._has_prompt:
            print(_PROMPT, end="", flush=True)
        async for line in _lines():
            words = line.split()
            try:
                if words == ["exit"]:
                    return
                if words == ["members"]:
                    await self._show_members()
                elif len(words) == 2 and words[0] in ("invite", "remove"):
                    await self._change(words[0], words[1])
                elif words:
                    await self._app.publish(self._session, line.strip().encode(), self._channel)
            except SLIMSessionClosedError:
                return
            except (SLIMTimeoutError, ValueError, RuntimeError, PermissionError, argparse.ArgumentTypeError) as error:
                self.show(f"! {error}")
            else:
                if self._has_prompt:
                    print(f"\r{_PROMPT}", end="", flush=True)

    async def _change(self, verb: str, text: str) -> None:
        name = read_name(text)
        if not self._is_moderator:
            self.show(f"! only the moderator can {verb} members")
        elif verb == "invite":
            await self.invite(name)
        else:
            await self._app.remove(self._session, name)
            self.show(f"* removed {name}")

    async def _show_members(self) -> None:
        for member in await self._app.members(self._session):
            notes = [
                note
                for note, applies in (
                    ("moderator", member.is_moderator),
                    ("you", member.name == self._app.local_name),
                    ("offline", not member.online),
                )
                if applies
            ]
            self.show(f"  {member.name}" + (f" ({', '.join(notes)})" if notes else ""))

    async def _listen(self) -> None:
        """Shows what others say, until the group ends."""
        while True:
            try:
                info, message = await self._app.receive(session=self._session.id)
            except SLIMSessionClosedError as error:
                self.show(f"* the group is over: {error.reason}")
                return
            except SLIMMessageLostError as error:
                self.show(f"! {error}")
                continue
            except SLIMTimeoutError:
                # `publish` raised it too.
                continue
            if info.payload_type == _GREETING:
                self.show(f"* {message.decode(errors='replace')}")
            else:
                self.show(f"{info.source_name}: {message.decode(errors='replace')}")

    async def _watch(self) -> None:
        """Shows who goes and comes back. Who joins is told by the moderator."""
        async for event in self._app.events(self._session):
            if event.change in ("left", "offline", "online"):
                self.show(_described(event))


def _described(event: MembershipEvent) -> str:
    words = {"left": "left", "offline": "does not answer any more", "online": "is back"}
    return f"* {event.member} {words[event.change]}"


async def _lines() -> AsyncIterator[str]:
    """The lines of the standard input until it ends, whatever it is: terminal, pipe or file."""
    event_loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes] = asyncio.Queue()

    def read() -> None:
        # Not through `sys.stdin`: a thread that waits inside of it disturbs the end of the process.
        while True:
            try:
                data = os.read(0, 65536)
            except OSError:
                data = b""
            try:
                event_loop.call_soon_threadsafe(queue.put_nowait, data)
            except RuntimeError:
                # The loop is closed: nobody reads any more.
                return
            if not data:
                return

    threading.Thread(target=read, name="stdin", daemon=True).start()
    rest = b""
    while data := await queue.get():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")
