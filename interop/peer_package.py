"""An application of our own Python package, driven like `peer_338.py`: the tutorial's API against other software.

Only what that API has: groups. A session of somebody else is announced with its first message, not when it opens.
"""

import asyncio
import datetime
import json
import sys
import threading
import uuid

import slim_bindings as slim


def say(message: dict) -> None:
    print(json.dumps(message), flush=True)


def name_of(text: str) -> slim.PyName:
    return slim.PyName(*text.split("/"))


def text_of(name: slim.PyName) -> str:
    return "/".join(name.components_strings()) + f"/{uuid.UUID(int=name.id)}"


class Peer:
    def __init__(self) -> None:
        self.app: slim.Slim | None = None
        self.sessions: dict[int, slim.PySessionInfo] = {}
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

    async def op_app(self, name: str, secret: str) -> str:
        provider = slim.PyIdentityProvider.SharedSecret(identity=name, shared_secret=secret)
        verifier = slim.PyIdentityVerifier.SharedSecret(identity=name, shared_secret=secret)
        self.app = await slim.Slim.new(name_of(name), provider, verifier)
        await self.app.__aenter__()
        self.spawn(self.accept())
        return text_of(self.app.local_name)

    async def op_connect(self, endpoint: str) -> None:
        await self.app.connect({"endpoint": endpoint, "tls": {"insecure": True}})

    async def op_open(
        self, kind: str, destination: str, mls: bool, reliable: bool, interval_ms: int, retries: int
    ) -> int:
        assert (kind, reliable) == ("group", True)
        configuration = slim.PySessionConfiguration.Streaming(
            slim.PySessionDirection.BIDIRECTIONAL,
            topic=name_of(destination),
            moderator=True,
            max_retries=retries,
            timeout=datetime.timedelta(milliseconds=interval_ms),
            mls_enabled=mls,
        )
        return self.add(await self.app.create_session(configuration))

    async def op_invite(self, session: int, name: str) -> None:
        await self.app.invite(self.sessions[session], name_of(name))

    async def op_publish(self, session: int, text: str, metadata: dict) -> None:
        info = self.sessions[session]
        await self.app.publish(info, text.encode(), info.destination_name, metadata=metadata)

    async def op_close(self, session: int) -> None:
        await self.app.delete_session(session)

    def add(self, info: slim.PySessionInfo) -> int:
        self.sessions[info.id] = info
        self.spawn(self.read(info.id))
        return info.id

    async def accept(self) -> None:
        while True:
            info, _first_message_comes_again = await self.app.receive()
            say({"event": "session", "session": info.id})
            self.add(info)

    async def read(self, number: int) -> None:
        while True:
            try:
                info, payload = await self.app.receive(session=number)
            except slim.SLIMSessionClosedError as error:
                say({"event": "closed", "session": number, "reason": str(error)})
                return
            say(
                {
                    "event": "message",
                    "session": number,
                    "source": text_of(info.source_name),
                    "text": payload.decode(errors="replace"),
                    "direct": info.direct,
                }
            )


async def main() -> None:
    loop = asyncio.get_running_loop()
    requests: asyncio.Queue = asyncio.Queue()

    def read_requests() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(requests.put_nowait, json.loads(line))
        loop.call_soon_threadsafe(requests.put_nowait, None)

    threading.Thread(target=read_requests, daemon=True).start()
    peer = Peer()
    while (request := await requests.get()) is not None:
        peer.spawn(peer.answer(request))


asyncio.run(main())
