"""An application of the published package (3.3.8), driven over standard input and output, one JSON object per line.

The requests and events are those of `shell/sdk/examples/peer.rs`, so that a test can put either in either place.
Runs with the Python of an environment that holds `slim-bindings==3.3.8` and nothing of ours. The package logs to
standard output; that is moved to standard error before anything is imported.

`PEER_CONFIG` names a configuration file of the package. Its service then has the application and the connections, and
its listeners run from the start; without it the global service has them.
"""

import asyncio
import datetime
import json
import os
import sys
import threading

OUT = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

import slim_bindings as slim  # noqa: E402  (after standard output was moved)

CONFIG = os.environ.get("PEER_CONFIG")


def say(message: dict) -> None:
    OUT.write(json.dumps(message) + "\n")


def text_of(name: slim.Name) -> str:
    return "/".join(name.components()) + "/" + name.id()


def without_id(name: str) -> str:
    return "/".join(name.split("/")[:3])


class Peer:
    def __init__(self) -> None:
        self.service = slim.get_services()[0] if CONFIG else slim.get_global_service()
        self.app: slim.App | None = None
        self.connection: int | None = None
        self.sessions: dict[int, slim.Session] = {}
        # The last message of each sender, by session: publish_to answers a message.
        self.contexts: dict[tuple[int, str], slim.MessageContext] = {}
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

    async def op_app(
        self, name: str, secret: str | None = None, jwt: dict | None = None, spire: dict | None = None
    ) -> str:
        if spire is not None:
            self.app = self.service.create_app(slim.Name.from_string(name), *spire_identity(spire))
        elif jwt is None:
            # The asynchronous variant of this call panics in 3.3.8.
            self.app = self.service.create_app_with_secret(slim.Name.from_string(name), secret)
        else:
            self.app = self.service.create_app(slim.Name.from_string(name), *jwt_identity(jwt))
        self.spawn(self.accept())
        return text_of(self.app.name())

    async def op_connect(self, endpoint: str, settings: dict | None = None, configured: bool = False) -> None:
        if configured:
            # The configuration file asked for it; there is no event for its success.
            while (connection := self.service.get_connection_id(endpoint)) is None:
                await asyncio.sleep(0.05)
            self.connection = connection
        else:
            config = slim.new_insecure_client_config(endpoint)
            if settings is not None:
                config = slim.new_config_from_json(json.dumps({"endpoint": endpoint, **settings}))
            self.connection = await self.service.connect_async(config)
        await self.app.subscribe_async(self.app.name(), self.connection)

    async def op_serve(self, endpoint: str) -> None:
        await self.service.run_server_async(slim.new_insecure_server_config(endpoint))

    async def op_open(
        self, kind: str, destination: str, mls: bool, reliable: bool, interval_ms: int, retries: int
    ) -> int:
        is_group = kind == "group"
        name = slim.Name.from_string(destination)
        config = slim.SessionConfig(
            session_type=slim.SessionType.GROUP if is_group else slim.SessionType.POINT_TO_POINT,
            max_retries=retries if reliable else None,
            interval=datetime.timedelta(milliseconds=interval_ms) if reliable else None,
            metadata={},
            mls_settings=slim.MlsSettings(
                header_integrity_validation_percent=100, max_seen_control_message_ids_size=None
            )
            if mls
            else None,
        )
        if not is_group:
            await self.app.set_route_async(name, self.connection)
        session = await self.app.create_session_and_wait_async(config, name)
        return self.add(session)

    async def op_invite(self, session: int, name: str) -> None:
        invitee = slim.Name.from_string(name)
        await self.app.set_route_async(invitee, self.connection)
        await self.sessions[session].invite_and_wait_async(invitee)

    async def op_remove(self, session: int, name: str) -> None:
        await self.sessions[session].remove_and_wait_async(slim.Name.from_string(name))

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

    async def op_members(self, session: int) -> dict:
        participants = await self.sessions[session].participants_list_async()
        members = [
            {"name": text_of(member.name), "online": member.status == slim.ParticipantStatus.ONLINE}
            for member in participants
        ]
        return {"members": members}

    async def op_go_offline(self, session: int) -> None:
        await self.sessions[session].close_with_mode_and_wait_async(slim.CloseMode.SOFT)

    async def op_go_online(self, session: int) -> None:
        await self.sessions[session].rejoin_and_wait_async()

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
                    "mls": config.mls_settings is not None,
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


def jwt_identity(jwt: dict) -> tuple[slim.IdentityProviderConfig, slim.IdentityVerifierConfig]:
    """What an application signs with, and the keys by which it knows the others."""

    def key(kind, form: slim.JwtKeyFormat, text: str):
        algorithm = getattr(slim.JwtAlgorithm, jwt["algorithm"])
        return kind(slim.JwtKeyConfig(algorithm=algorithm, format=form, key=slim.JwtKeyData.DATA(value=text)))

    common = {
        "audience": jwt["audiences"] or None,
        "issuer": jwt["issuer"],
        "duration": datetime.timedelta(hours=1),
    }
    signing = key(slim.JwtKeyType.ENCODING, slim.JwtKeyFormat.PEM, jwt["private_key"])
    checking = key(slim.JwtKeyType.DECODING, slim.JwtKeyFormat.JWKS, jwt["keys"])
    provider = slim.ClientJwtAuth(key=signing, subject=jwt["subject"], **common)
    verifier = slim.JwtAuth(key=checking, subject=None, **common)
    return slim.IdentityProviderConfig.JWT(config=provider), slim.IdentityVerifierConfig.JWT(config=verifier)


def spire_identity(spire: dict) -> tuple[slim.IdentityProviderConfig, slim.IdentityVerifierConfig]:
    """Who an application is by the agent at a socket, and whom it believes."""
    config = slim.SpireConfig(
        socket_path=spire["socket_path"],
        target_spiffe_id=spire["target_spiffe_id"],
        jwt_audiences=spire["audiences"],
        trust_domains=spire["trust_domains"],
    )
    return slim.IdentityProviderConfig.SPIRE(config=config), slim.IdentityVerifierConfig.SPIRE(config=config)


def start() -> None:
    if CONFIG:
        slim.initialize_from_config_with_error(CONFIG)
        return
    tracing = slim.new_tracing_config_with(os.environ.get("PEER_LOG", "info"), True, False, [])
    slim.initialize_with_configs(slim.new_runtime_config(), tracing, [slim.new_service_config()])


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


start()
asyncio.run(main())
OUT.flush()
# The package's own threads must not delay the end of a test.
os._exit(0)
