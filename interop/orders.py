"""Calls with generated Python stubs: the program of `shell/rpcgen/examples/orders`, with the same output.

`orders.py serve NAME` serves, `orders.py call NAME SERVER [SERVER...]` calls; `SLIM_ENDPOINT` and `SLIM_SECRET` as there,
and `PYTHONPATH` holds the folder of the stubs. It runs with this project's package and with the published one (3.3.8), on
the same stubs: only the way to an application differs.
"""

import asyncio
import datetime
import json
import os
import sys

OUT = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

import slim_bindings as slim  # noqa: E402  (after standard output was moved)
from google.protobuf import empty_pb2  # noqa: E402
from shop import orders_pb2, orders_pb2_slimrpc  # noqa: E402
from shop.common import money_pb2  # noqa: E402

METADATA = {"trace": "42"}
TIMEOUT = datetime.timedelta(seconds=10)


def say(message: dict) -> None:
    OUT.write(json.dumps(message) + "\n")


def failure(code: slim.RpcCode, text: str) -> slim.RpcError:
    return slim.RpcError.Rpc(code=code, message=text, details=None)


def price(order: orders_pb2.Order) -> int:
    return sum(line.count * line.price.cents for line in order.lines)


def total(cents: int, orders: int) -> orders_pb2.Total:
    return orders_pb2.Total(sum=money_pb2.Money(currency="EUR", cents=cents), orders=orders)


class Shop(orders_pb2_slimrpc.OrdersServicer):
    """A shop that keeps nothing."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def Place(self, request, context):
        if not request.lines:
            raise failure(slim.RpcCode.INVALID_ARGUMENT, "an order without lines")
        kept = orders_pb2.Order()
        kept.CopyFrom(request)
        kept.id = f"{request.lines[0].article}-{len(request.lines)}"
        kept.state = orders_pb2.Order.STATE_OPEN
        kept.note = self.name
        kept.by_shelf[7].CopyFrom(request.lines[0])
        kept.labels["trace"] = context.metadata().get("trace", "")
        kept.labels["caller"] = context.peer_subject()
        return kept

    async def List(self, request, context):
        for number in range(1, request.limit + 1):
            yield orders_pb2.Order(id=str(number), state=request.state)

    async def AddUp(self, requests, context):
        prices = [price(order) async for order in requests]
        return total(sum(prices), len(prices))

    async def Price(self, requests, context):
        async for order in requests:
            cents = price(order)
            if cents < 0:
                raise failure(slim.RpcCode.OUT_OF_RANGE, "a negative price")
            yield total(cents, 1)


def order(article: str, cents: int) -> orders_pb2.Order:
    line = orders_pb2.Order.Line(article=article, count=2, price={"currency": "EUR", "cents": cents})
    return orders_pb2.Order(lines=[line])


async def failure_of(call) -> list | None:
    try:
        await call
    except slim.RpcError.Rpc as error:
        return [error.code.value, error.message]
    return None


async def call(channel: slim.Channel) -> None:
    orders = orders_pb2_slimrpc.OrdersStub(channel)
    options = {"timeout": TIMEOUT, "metadata": METADATA}

    kept = await orders.Place(order("apples", 100), **options)
    caller = kept.labels["caller"].split("_")[0]
    facts = {"trace": kept.labels["trace"], "caller": caller, "shelf": kept.by_shelf[7].article}
    say({"unary": {"id": kept.id, "state": kept.state, **facts}})

    query = orders_pb2.Query(state=orders_pb2.Order.STATE_SENT, limit=3)
    say({"server_streaming": [[listed.id, listed.state] async for listed in orders.List(query, **options)]})

    added = await orders.AddUp([order("apples", cents) for cents in [100, 200, 300]], **options)
    say({"client_streaming": [added.sum.cents, added.orders]})

    # Each request waits for the response to the one before.
    answered = asyncio.Event()

    async def one_by_one():
        for cents in [100, 200]:
            answered.clear()
            yield order("pears", cents)
            await answered.wait()

    prices = []
    async for one in orders.Price(one_by_one(), **options):
        prices.append(one.sum.cents)
        answered.set()
    say({"bidirectional": prices, "more": False})

    say({"refused": await failure_of(orders.Place(orders_pb2.Order(), **options))})

    async def first(responses):
        return await anext(responses)

    say({"refused in a stream": await failure_of(first(orders.Price([order("holes", -1)], **options)))})
    shop = orders_pb2_slimrpc.ShopStub(channel)
    say({"unknown": await failure_of(shop.New(empty_pb2.Empty(), **options))})


def name_of(context: slim.RpcMessageContext) -> str:
    source = context.source
    if hasattr(source, "components_strings"):
        return "/".join(source.components_strings()[:3])
    return "/".join(source.components()[:3])


async def call_all(channel: slim.Channel) -> None:
    orders = orders_pb2_slimrpc.OrdersGroupStub(channel)
    options = {"timeout": TIMEOUT, "metadata": METADATA}
    placed = orders.Place(order("plums", 100), **options)
    say({"group": {name_of(context): kept.note async for context, kept in placed}})
    failures = []
    async for _ in orders.Place(orders_pb2.Order(), failures=failures, **options):
        raise AssertionError("an order without lines was kept")
    say({"group failures": [[failure.code.value, failure.message] for failure in failures]})
    priced = orders.Price([order("plums", 50)], **options)
    say({"group stream": {name_of(context): one.sum.cents async for context, one in priced}})


async def connect_published(name: str):
    """An application of the published package."""
    slim.uniffi_set_event_loop(asyncio.get_running_loop())
    tracing = slim.new_tracing_config_with(os.environ.get("PEER_LOG", "info"), True, False, [])
    slim.initialize_with_configs(slim.new_runtime_config(), tracing, [slim.new_service_config()])
    service = slim.get_global_service()
    app = service.create_app_with_secret(slim.Name.from_string(name), os.environ["SLIM_SECRET"])
    config = slim.new_insecure_client_config("http://" + os.environ["SLIM_ENDPOINT"])
    connection = await service.connect_async(config)
    await app.subscribe_async(app.name(), connection)
    return app, slim.Name.from_string, connection


async def connect_ours(name: str):
    """An application of this project's package."""

    def parsed(text: str) -> slim.PyName:
        return slim.PyName(*text.split("/"))

    secret = os.environ["SLIM_SECRET"]
    identity = slim.PyIdentityProvider.SharedSecret(identity=name, shared_secret=secret)
    verifier = slim.PyIdentityVerifier.SharedSecret(identity=name, shared_secret=secret)
    app = await slim.Slim.new(parsed(name), identity, verifier)
    endpoint = {"endpoint": "http://" + os.environ["SLIM_ENDPOINT"], "tls": {"insecure": True}}
    connection = await app.connect(endpoint)
    return app, parsed, connection


async def main() -> None:
    mode, name, *servers = sys.argv[1:]
    app, parsed, connection = await (connect_ours if hasattr(slim, "Slim") else connect_published)(name)
    if mode == "serve":
        server = slim.Server.new_with_connection(app, parsed(name), connection)
        orders_pb2_slimrpc.add_OrdersServicer_to_server(Shop(name.split("/")[-1]), server)
        say({"serving": name})
        await server.serve_async()
    elif len(servers) == 1:
        channel = slim.Channel.new_with_connection(app, parsed(servers[0]), connection)
        await call(channel)
        await channel.close_async(None)
    else:
        channel = slim.Channel.new_group_with_connection(app, [parsed(server) for server in servers], connection)
        await call_all(channel)
        await channel.close_async(None)


asyncio.run(main())
OUT.flush()
os._exit(0)
