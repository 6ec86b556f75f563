"""Calls with the published packages 3.3.8, 2.2.0 and 1.4.1: the programs of `shell/sdk/examples/rpc.rs`, with the same
output. The interfaces of the three are equal but for the caller's identity, which only the newest tells.

`rpc_338.py serve NAME` serves, `rpc_338.py call NAME SERVER [SERVER...]` calls; `SLIM_ENDPOINT` and `SLIM_SECRET` as
there. Runs with the Python of an environment that holds one of the packages and nothing of ours.
"""

import asyncio
import datetime
import json
import os
import sys

OUT = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

import slim_bindings as slim  # noqa: E402  (after standard output was moved)

SERVICE = "demo.Calls"
METADATA = {"trace": "42"}
TIMEOUT = datetime.timedelta(seconds=10)


def say(message: dict) -> None:
    OUT.write(json.dumps(message) + "\n")


class Echo(slim.UnaryUnaryHandler):
    async def handle(self, request, context):
        if not request:
            raise slim.RpcError.Rpc(code=slim.RpcCode.INVALID_ARGUMENT, message="nothing to echo", details=None)
        metadata = {key: value for key, value in context.metadata().items() if not key.startswith("slim")}
        caller = context.peer_subject() if hasattr(context, "peer_subject") else None
        say({"caller": caller, "metadata": metadata})
        return request


class Count(slim.UnaryStreamHandler):
    async def handle(self, request, context, sink):
        for number in range(1, int(request) + 1):
            await sink.send_async(str(number).encode())
        await sink.close_async()


class Join(slim.StreamUnaryHandler):
    async def handle(self, stream, context):
        joined = b""
        while (message := await stream.next_async()).is_DATA():
            joined += message[0]
        return joined


class Upper(slim.StreamStreamHandler):
    async def handle(self, stream, context, sink):
        while (message := await stream.next_async()).is_DATA():
            await sink.send_async(message[0].upper())
        await sink.close_async()


class Sleep(slim.UnaryUnaryHandler):
    async def handle(self, request, context):
        await asyncio.sleep(60)
        return b"too late"


async def serve(app: slim.App, connection: int) -> None:
    server = slim.Server.new_with_connection(app, app.name(), connection)
    server.register_unary_unary(SERVICE, "Echo", Echo())
    server.register_unary_stream(SERVICE, "Count", Count())
    server.register_stream_unary(SERVICE, "Join", Join())
    server.register_stream_stream(SERVICE, "Upper", Upper())
    server.register_unary_unary(SERVICE, "Sleep", Sleep())
    say({"serving": "/".join(app.name().components())})
    await server.serve_async()


async def all_of(reader) -> list[str]:
    texts = []
    while not (message := await reader.next_async()).is_END():
        assert message.is_DATA(), message
        texts.append(message[0].decode())
    return texts


async def failure_of(call) -> list | None:
    try:
        await call
    except slim.RpcError.Rpc as error:
        return [error.code.value, error.message]
    return None


async def call(app: slim.App, connection: int, server: str) -> None:
    channel = slim.Channel.new_with_connection(app, slim.Name.from_string(server), connection)

    def unary(method: str, request: bytes, timeout: datetime.timedelta = TIMEOUT):
        return channel.call_unary_async(SERVICE, method, request, timeout, METADATA)

    say({"unary": (await unary("Echo", b"hello")).decode()})
    reader = await channel.call_unary_stream_async(SERVICE, "Count", b"5", TIMEOUT, METADATA)
    say({"server_streaming": await all_of(reader)})

    writer = channel.call_stream_unary(SERVICE, "Join", TIMEOUT, METADATA)
    for part in [b"a", b"b", b"c"]:
        await writer.send_async(part)
    say({"client_streaming": (await writer.finalize_stream_async()).decode()})

    both = channel.call_stream_stream(SERVICE, "Upper", TIMEOUT, METADATA)
    upper = []
    for part in [b"x", b"y"]:
        await both.send_async(part)
        upper.append((await both.recv_async())[0].decode())
    await both.close_send_async()
    say({"bidirectional": upper, "more": not (await both.recv_async()).is_END()})

    say({"refused": await failure_of(unary("Echo", b""))})
    say({"unknown": await failure_of(unary("Nothing", b"x"))})
    late = await failure_of(unary("Sleep", b"x", datetime.timedelta(seconds=1)))
    say({"late": late and late[0]})
    await channel.close_async(None)


async def call_all(app: slim.App, connection: int, servers: list[str]) -> None:
    members = [slim.Name.from_string(server) for server in servers]
    channel = slim.Channel.new_group_with_connection(app, members, connection)
    reader = await channel.call_multicast_unary_async(SERVICE, "Echo", b"hello", TIMEOUT, METADATA)
    answers = {}
    while not (message := await reader.next_async()).is_END():
        assert message.is_DATA(), message
        item = message.item
        answers["/".join(item.context.source.components())] = item.message.decode()
    say({"group": answers})
    await channel.close_async(None)


async def main() -> None:
    mode, name, *servers = sys.argv[1:]
    slim.uniffi_set_event_loop(asyncio.get_running_loop())
    tracing = slim.new_tracing_config_with(os.environ.get("PEER_LOG", "info"), True, False, [])
    slim.initialize_with_configs(slim.new_runtime_config(), tracing, [slim.new_service_config()])
    service = slim.get_global_service()
    app = service.create_app_with_secret(slim.Name.from_string(name), os.environ["SLIM_SECRET"])
    config = slim.new_insecure_client_config("http://" + os.environ["SLIM_ENDPOINT"])
    connection = await service.connect_async(config)
    await app.subscribe_async(app.name(), connection)
    if mode == "serve":
        await serve(app, connection)
    elif len(servers) == 1:
        await call(app, connection, servers[0])
    else:
        await call_all(app, connection, servers)


asyncio.run(main())
OUT.flush()
os._exit(0)
