"""An application behind the interface of the tutorial, which `slim-bindings` 0.4.1 and our own package have in common.

`peer_041.py` and `peer_package.py` add what differs. Whoever imports this has imported `json_lines` before. Other than
in later generations a session of somebody else is announced with its first message, not when it opens; that message
comes again as the first one of the session.
"""

import asyncio
import datetime

import slim_bindings as slim
from json_lines import Peer, say


def name_of(text: str) -> slim.PyName:
    return slim.PyName(*text.split("/"))


def key_of(name: slim.PyName) -> tuple[int, ...]:
    """A name without its id, as numbers: that is all that 0.4.1 tells about the names of others."""
    return tuple(name.components()[:3])


class TutorialPeer(Peer):
    def __init__(self) -> None:
        super().__init__()
        self.app: slim.Slim | None = None
        # What each session was opened with, or its latest message.
        self.sessions: dict[int, slim.PySessionInfo] = {}
        # Where a publication of the session goes if nothing else is said: the channel of a group.
        self.topics: dict[int, slim.PyName] = {}
        self.readers: dict[int, asyncio.Task] = {}
        # The last message of each sender, by session: publish_to answers a message.
        self.contexts: dict[tuple[int, tuple[int, ...]], slim.PySessionInfo] = {}

    def text_of(self, name: slim.PyName) -> str:
        """A name with its id."""
        raise NotImplementedError

    def details(self, info: slim.PySessionInfo) -> dict:
        """What only one of the packages says about a message."""
        raise NotImplementedError

    def is_end(self, error: Exception) -> bool:
        """Whether an exception on a session's queue is the end of the session."""
        raise NotImplementedError

    async def op_app(self, name: str, secret: str) -> str:
        provider = slim.PyIdentityProvider.SharedSecret(identity=name, shared_secret=secret)
        verifier = slim.PyIdentityVerifier.SharedSecret(identity=name, shared_secret=secret)
        self.app = await slim.Slim.new(name_of(name), provider, verifier)
        await self.app.__aenter__()
        self.spawn(self.accept())
        return self.text_of(self.app.local_name)

    async def op_connect(self, endpoint: str) -> None:
        await self.app.connect({"endpoint": endpoint, "tls": {"insecure": True}})

    async def op_serve(self, endpoint: str) -> None:
        await self.app.run_server({"endpoint": endpoint, "tls": {"insecure": True}})

    async def op_subscribe(self, name: str) -> None:
        """Makes the application reachable under one more name."""
        await self.app.subscribe(name_of(name))

    async def op_open(
        self,
        kind: str,
        mls: bool,
        reliable: bool,
        interval_ms: int,
        retries: int,
        destination: str | None = None,
        sticky: bool = False,
    ) -> int:
        interval = datetime.timedelta(milliseconds=interval_ms)
        if kind == "group":
            assert reliable, "groups of the tutorial's interface are reliable"
            configuration = slim.PySessionConfiguration.Streaming(
                slim.PySessionDirection.BIDIRECTIONAL,
                topic=name_of(destination),
                moderator=True,
                max_retries=retries,
                timeout=interval,
                mls_enabled=mls,
            )
        else:
            configuration = slim.PySessionConfiguration.FireAndForget(
                timeout=interval if reliable else None,
                max_retries=retries if reliable else None,
                sticky=sticky,
                mls_enabled=mls,
            )
        info = await self.app.create_session(configuration)
        if kind == "group":
            self.topics[info.id] = name_of(destination)
            # 0.4.1 never receives again after a publication without a route, and has none before the first invitation.
            await self.app.set_route(name_of(destination))
        return self.add(info)

    async def op_invite(self, session: int, name: str) -> None:
        await self.app.set_route(name_of(name))
        await self.app.invite(self.sessions[session], name_of(name))

    async def op_publish(self, session: int, text: str, to: str | None = None, metadata: dict | None = None) -> None:
        """To the whole group, or to the sender of the last message of this name."""
        payload = text.encode()
        if to is None:
            await self.app.publish(self.sessions[session], payload, self.topics[session], metadata=metadata)
        else:
            await self.app.publish_to(self.contexts[session, key_of(name_of(to))], payload, metadata=metadata)

    async def op_send(self, session: int, text: str, name: str) -> None:
        """Fire and forget: to any instance of the name, or to the one that the session sticks to."""
        await self.app.set_route(name_of(name))
        await self.app.publish(self.sessions[session], text.encode(), name_of(name))

    async def op_request(self, session: int, text: str, name: str, timeout_ms: int) -> dict:
        """The package publishes and takes the next message of the session, which must then not be read here."""
        await self.app.set_route(name_of(name))
        self.readers[session].cancel()
        try:
            timeout = datetime.timedelta(milliseconds=timeout_ms)
            info, payload = await self.app.request_reply(
                self.sessions[session], text.encode(), name_of(name), timeout=timeout
            )
        finally:
            self.start_reading(session)
        return {"source": self.text_of(info.source_name), "text": payload.decode()}

    async def op_close(self, session: int) -> None:
        await self.app.delete_session(session)

    def add(self, info: slim.PySessionInfo) -> int:
        self.sessions[info.id] = info
        self.start_reading(info.id)
        return info.id

    def start_reading(self, session: int) -> None:
        self.readers[session] = asyncio.get_running_loop().create_task(self.read(session))

    def note_topic(self, info: slim.PySessionInfo) -> None:
        # In 0.4.1 a message that was sent again has the receiver's own name there, not that of the channel.
        if key_of(info.destination_name) != key_of(self.app.local_name):
            self.topics[info.id] = info.destination_name

    async def accept(self) -> None:
        while True:
            info, _first_message_comes_again = await self.app.receive()
            self.note_topic(info)
            say({"event": "session", "session": info.id})
            self.add(info)

    async def read(self, number: int) -> None:
        while True:
            try:
                info, payload = await self.app.receive(session=number)
            except Exception as error:  # the packages put every notice here
                reason = f"{type(error).__name__}: {error}"
                if self.is_end(error):
                    say({"event": "closed", "session": number, "reason": reason})
                    return
                say({"event": "notice", "session": number, "text": reason})
                continue
            self.contexts[number, key_of(info.source_name)] = info
            self.note_topic(info)
            message = {
                "source": self.text_of(info.source_name),
                "text": payload.decode(errors="replace"),
                "metadata": info.metadata,
            }
            say({"event": "message", "session": number, **message, **self.details(info)})
