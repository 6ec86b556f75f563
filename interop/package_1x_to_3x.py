"""An application of a published package between 1.0.1 and 3.3.8, as far as their interfaces are equal.

`peer_338.py` (3.3.8 and 2.2.0) and `peer_1x.py` (1.4.1 and 1.0.1) add what differs. Whoever imports this has imported
`json_lines` before.
"""

import asyncio
import datetime
import os

import slim_bindings as slim
from json_lines import Peer, say

CONFIG = os.environ.get("PEER_CONFIG")


def name_of(text: str) -> slim.Name:
    return slim.Name(*text.split("/"))


def text_of(name: slim.Name) -> str:
    return "/".join(name.components()) + f"/{name.id()}"


def without_id(name: str) -> str:
    return "/".join(name.split("/")[:3])


def start() -> None:
    """Starts the package with the log that `PEER_LOG` asks for, or as `PEER_CONFIG` says."""
    if CONFIG:
        slim.initialize_from_config_with_error(CONFIG)
        return
    tracing = slim.new_tracing_config_with(os.environ.get("PEER_LOG", "info"), True, False, [])
    slim.initialize_with_configs(slim.new_runtime_config(), tracing, [slim.new_service_config()])


class PackagePeer(Peer):
    def __init__(self) -> None:
        super().__init__()
        self.service = slim.get_services()[0] if CONFIG else slim.get_global_service()
        self.app: slim.App | None = None
        self.connection: int | None = None
        self.sessions: dict[int, slim.Session] = {}
        # The last message of each sender, by session: publish_to answers a message.
        self.contexts: dict[tuple[int, str], slim.MessageContext] = {}

    async def op_app(self, name: str, secret: str) -> str:
        # The asynchronous variant of this call panics in 3.3.8.
        self.app = self.service.create_app_with_secret(name_of(name), secret)
        self.spawn(self.accept())
        return text_of(self.app.name())

    async def op_connect(self, endpoint: str) -> None:
        self.connection = await self.service.connect_async(slim.new_insecure_client_config(endpoint))
        await self.app.subscribe_async(self.app.name(), self.connection)

    async def op_serve(self, endpoint: str) -> None:
        await self.service.run_server_async(slim.new_insecure_server_config(endpoint))

    async def op_open(
        self, kind: str, destination: str, mls: bool, reliable: bool, interval_ms: int, retries: int
    ) -> int:
        is_group = kind == "group"
        name = name_of(destination)
        config = slim.SessionConfig(
            session_type=slim.SessionType.GROUP if is_group else slim.SessionType.POINT_TO_POINT,
            max_retries=retries if reliable else None,
            interval=datetime.timedelta(milliseconds=interval_ms) if reliable else None,
            metadata={},
            **self.encryption(mls),
        )
        if not is_group:
            await self.app.set_route_async(name, self.connection)
        return self.add(await self.app.create_session_and_wait_async(config, name))

    def encryption(self, mls: bool) -> dict:
        """What `SessionConfig` wants to hear about MLS."""
        raise NotImplementedError

    def is_encrypted(self, config: slim.SessionConfig) -> bool:
        raise NotImplementedError

    async def op_invite(self, session: int, name: str) -> None:
        invitee = name_of(name)
        await self.app.set_route_async(invitee, self.connection)
        await self.sessions[session].invite_and_wait_async(invitee)

    async def op_remove(self, session: int, name: str) -> None:
        await self.sessions[session].remove_and_wait_async(name_of(name))

    async def op_publish(self, session: int, text: str, to: str | None = None, metadata: dict | None = None) -> None:
        payload = text.encode()
        if to is None:
            await self.sessions[session].publish_and_wait_async(payload, None, metadata)
        else:
            context = self.contexts[session, without_id(to)]
            await self.sessions[session].publish_to_and_wait_async(context, payload, None, metadata)

    async def op_burst(self, session: int, text: str, count: int) -> None:
        """Publishes without waiting in between."""
        handles = [
            await self.sessions[session].publish_async(f"{text} {number}".encode(), None, None)
            for number in range(count)
        ]
        for handle in handles:
            await handle.wait_async()

    async def op_close(self, session: int) -> None:
        await self.app.delete_session_and_wait_async(self.sessions[session])

    def add(self, session: slim.Session) -> int:
        number = session.session_id()
        self.sessions[number] = session
        self.spawn(self.read(number, session))
        return number

    async def accept(self) -> None:
        while True:
            session = await self.app.listen_for_session_async(None)
            is_group = session.session_type() == slim.SessionType.GROUP
            config = session.config()
            say(
                {
                    "event": "session",
                    "session": session.session_id(),
                    "kind": "group" if is_group else "point_to_point",
                    "mls": self.is_encrypted(config),
                    "reliable": config.max_retries is not None,
                    "destination": text_of(session.destination()),
                }
            )
            self.add(session)

    async def read(self, number: int, session: slim.Session) -> None:
        while True:
            try:
                message = await session.get_message_async(None)
            except Exception as error:  # the package puts every notice here
                reason = f"{type(error).__name__}: {error}"
                if "closed" in reason:
                    say({"event": "closed", "session": number, "reason": reason})
                    return
                say({"event": "notice", "session": number, "text": reason})
                continue
            context = message.context
            source = text_of(context.source_name)
            self.contexts[number, without_id(source)] = context
            say(
                {
                    "event": "message",
                    "session": number,
                    "source": source,
                    "text": message.payload.decode(errors="replace"),
                    "type": context.payload_type,
                    "metadata": context.metadata,
                    "direct": "PUBLISH_TO" in context.metadata,
                    "subject": context.metadata.get("slim-peer-subject"),
                }
            )
