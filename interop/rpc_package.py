"""Calls with our own Python package: the programs of `shell/sdk/examples/rpc.rs`, with the same output.

`rpc_package.py serve NAME` serves, `rpc_package.py call NAME SERVER [SERVER...]` calls; `SLIM_ENDPOINT` and `SLIM_SECRET`
as there. The handlers are classes and functions in turn, as either is allowed; otherwise this is `rpc_338.py`.
"""

import asyncio
import datetime
import json
import os
import sys

import slim_bindings as slim

SERVICE = "demo.Calls"
METADATA = {"trace": "42"}
TIMEOUT = datetime.timedelta(seconds=10)


def say(message: dict) -> None:
    print(json.dumps(message), flush=True)


class Echo(slim.UnaryUnaryHandler):
    async def handle(self, request, context):
        if not request:
            raise slim.RpcError.Rpc(
                code=slim.RpcCode.INVALID_ARGUMENT,
                message="nothing to echo",
                details=None,
            )
        say({"caller": context.peer_subject(), "metadata": context.metadata()})
        return request


class Count(slim.UnaryStreamHandler):
    async def handle(self, request, context, sink):
        for number in range(1, int(request) + 1):
            await sink.send_async(str(number).encode())
        await sink.close_async()


async def join(stream, context):
    return b"".join([part async for part in stream])


async def upper(stream, context):
    async for part in stream:
        yield part.upper()


async def sleep(request, context):
    await asyncio.sleep(60)
    return b"too late"


async def serve(app: slim.Slim) -> None:
    server = slim.Server(app, app.local_name)
    server.register_unary_unary(SERVICE, "Echo", Echo())
    server.register_unary_stream(SERVICE, "Count", Count())
    server.register_stream_unary(SERVICE, "Join", join)
    server.register_stream_stream(SERVICE, "Upper", upper)
    server.register_unary_unary(SERVICE, "Sleep", sleep)
    say({"serving": "/".join(app.local_name.components_strings())})
    await server.serve_async()


async def failure_of(call) -> list | None:
    try:
        await call
    except slim.RpcError.Rpc as error:
        return [error.code.value, error.message]
    return None


async def call(app: slim.Slim, server: slim.PyName) -> None:
    async with slim.Channel(app, server) as channel:

        def unary(method: str, request: bytes, timeout: datetime.timedelta = TIMEOUT):
            return channel.call_unary_async(SERVICE, method, request, timeout, METADATA)

        say({"unary": (await unary("Echo", b"hello")).decode()})
        reader = await channel.call_unary_stream_async(SERVICE, "Count", b"5", TIMEOUT, METADATA)
        say({"server_streaming": [text.decode() async for text in reader]})

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


async def call_all(app: slim.Slim, servers: list[slim.PyName]) -> None:
    async with slim.Channel.new_group(app, servers) as channel:
        reader = await channel.call_multicast_unary_async(SERVICE, "Echo", b"hello", TIMEOUT, METADATA)
        answers = {}
        async for context, message in reader:
            answers["/".join(context.source.components_strings())] = message.decode()
        say({"group": answers})


async def main() -> None:
    mode, text, *servers = sys.argv[1:]
    secret = os.environ["SLIM_SECRET"]
    name = slim.PyName(*text.split("/"))
    app = await slim.Slim.new(
        name,
        slim.PyIdentityProvider.SharedSecret(identity=text, shared_secret=secret),
        slim.PyIdentityVerifier.SharedSecret(identity=text, shared_secret=secret),
    )
    await app.connect({"endpoint": "http://" + os.environ["SLIM_ENDPOINT"], "tls": {"insecure": True}})
    names = [slim.PyName(*server.split("/")) for server in servers]
    if mode == "serve":
        await serve(app)
    elif len(names) == 1:
        await call(app, names[0])
    else:
        await call_all(app, names)


asyncio.run(main())
