#: decoded
_M = TypeVar("_M", bound=Message)


def _decoded(data: bytes, kind: type[_M], code: slim_bindings.RpcCode = slim_bindings.RpcCode.INTERNAL) -> _M:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        text = f"what arrived is no {kind.DESCRIPTOR.full_name}: {error}"
        raise slim_bindings.RpcError.Rpc(code=code, message=text, details=None) from error


#: cancel
def _cancel(call: Any) -> None:
    # Only this project's package can say that nobody waits any more; after the end it says nothing.
    if hasattr(call, "cancel"):
        call.cancel()


#: send_all: decoded
async def _each(requests: AsyncIterable[_M] | Iterable[_M]) -> AsyncGenerator[_M, None]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request


async def _send_all(requests: AsyncIterable[_M] | Iterable[_M], call: Any) -> None:
    async with contextlib.aclosing(_each(requests)) as each:
        async for request in each:
            try:
                await call.send_async(request.SerializeToString())
            except slim_bindings.RpcError:
                # The call is over; its response says why.
                return


#: both_ways: send_all cancel
async def _both_ways(call: Any, requests: AsyncIterable[_M] | Iterable[_M]) -> AsyncGenerator[Any, None]:
    async def send() -> None:
        await _send_all(requests, call)
        with contextlib.suppress(slim_bindings.RpcError):
            await call.close_send_async()

    sending = asyncio.ensure_future(send())
    receiving = asyncio.ensure_future(call.recv_async())
    try:
        while True:
            # Whatever making the requests raises ends the call.
            if not sending.done():
                await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
            message = await receiving
            if message.is_end():
                return
            yield message
            receiving = asyncio.ensure_future(call.recv_async())
    finally:
        for task in (sending, receiving):
            task.cancel()
        await asyncio.gather(sending, receiving, return_exceptions=True)
        _cancel(call)


#: response: decoded
def _response(message: Any, kind: type[_M]) -> _M:
    if message.is_error():
        raise message[0]
    return _decoded(message[0], kind)


#: group_response: decoded
def _group_response(
    message: Any, kind: type[_M], failures: list[slim_bindings.RpcError] | None
) -> list[tuple[slim_bindings.RpcMessageContext, _M]]:
    try:
        if message.is_error():
            raise message.error
        context = message.item.context
        try:
            return [(context, _decoded(message.item.message, kind))]
        except slim_bindings.RpcError.Rpc as error:
            raise slim_bindings.RpcError.MulticastRpc(
                origin=context.source, code=error.code, message=error.message, details=None
            ) from error
    except slim_bindings.RpcError.MulticastRpc as error:
        if failures is None:
            raise
        failures.append(error)
        return []


#: unary_unary: decoded
async def _unary_unary(
    channel: Any, service: str, method: str, request: Message, kind: type[_M], *options: Any
) -> _M:
    return _decoded(await channel.call_unary_async(service, method, request.SerializeToString(), *options), kind)


#: unary_stream: response cancel
async def _unary_stream(
    channel: Any, service: str, method: str, request: Message, kind: type[_M], *options: Any
) -> AsyncGenerator[_M, None]:
    reader = await channel.call_unary_stream_async(service, method, request.SerializeToString(), *options)
    try:
        while not (message := await reader.next_async()).is_end():
            yield _response(message, kind)
    finally:
        _cancel(reader)


#: stream_unary: decoded send_all cancel
async def _stream_unary(
    channel: Any, service: str, method: str, requests: Any, kind: type[_M], *options: Any
) -> _M:
    writer = channel.call_stream_unary(service, method, *options)
    try:
        await _send_all(requests, writer)
        return _decoded(await writer.finalize_stream_async(), kind)
    finally:
        _cancel(writer)


#: stream_stream: response both_ways
async def _stream_stream(
    channel: Any, service: str, method: str, requests: Any, kind: type[_M], *options: Any
) -> AsyncGenerator[_M, None]:
    call = channel.call_stream_stream(service, method, *options)
    async with contextlib.aclosing(_both_ways(call, requests)) as messages:
        async for message in messages:
            yield _response(message, kind)


#: group_unary: group_response cancel
async def _group_unary(
    begin: Any,
    service: str,
    method: str,
    request: Message,
    kind: type[_M],
    failures: list[slim_bindings.RpcError] | None,
    *options: Any,
) -> AsyncGenerator[tuple[slim_bindings.RpcMessageContext, _M], None]:
    reader = await begin(service, method, request.SerializeToString(), *options)
    try:
        while not (message := await reader.next_async()).is_end():
            for response in _group_response(message, kind, failures):
                yield response
    finally:
        _cancel(reader)


#: group_stream: group_response both_ways
async def _group_stream(
    begin: Any,
    service: str,
    method: str,
    requests: Any,
    kind: type[_M],
    failures: list[slim_bindings.RpcError] | None,
    *options: Any,
) -> AsyncGenerator[tuple[slim_bindings.RpcMessageContext, _M], None]:
    call = begin(service, method, *options)
    async with contextlib.aclosing(_both_ways(call, requests)) as messages:
        async for message in messages:
            for response in _group_response(message, kind, failures):
                yield response


#: unimplemented
def _unimplemented(method: str) -> slim_bindings.RpcError:
    text = f"Method not implemented: {method}"
    return slim_bindings.RpcError.Rpc(code=slim_bindings.RpcCode.UNIMPLEMENTED, message=text, details=None)


#: request: decoded
def _request(data: bytes, kind: type[_M]) -> _M:
    return _decoded(data, kind, slim_bindings.RpcCode.INVALID_ARGUMENT)


#: requests: request
async def _requests(stream: Any, kind: type[_M]) -> AsyncGenerator[_M, None]:
    while not (message := await stream.next_async()).is_end():
        if message.is_error():
            raise message[0]
        yield _request(message[0], kind)


#: respond
async def _respond(responses: Callable[[], Any], sink: Any) -> None:
    try:
        async with contextlib.aclosing(responses()) as each:
            async for response in each:
                await sink.send_async(response.SerializeToString())
    except slim_bindings.RpcError as error:
        # Nobody may be there to hear it.
        with contextlib.suppress(slim_bindings.RpcError):
            await sink.send_error_async(error)
        return
    await sink.close_async()


#: serve_unary_unary: request
class _UnaryUnary(slim_bindings.UnaryUnaryHandler):
    def __init__(self, method: Any, kind: Any) -> None:
        self._method, self._kind = method, kind

    async def handle(self, request: bytes, context: slim_bindings.Context) -> bytes:
        response = await self._method(_request(request, self._kind), context)
        data: bytes = response.SerializeToString()
        return data


#: serve_unary_stream: request respond
class _UnaryStream(slim_bindings.UnaryStreamHandler):
    def __init__(self, method: Any, kind: Any) -> None:
        self._method, self._kind = method, kind

    async def handle(self, request: bytes, context: slim_bindings.Context, sink: slim_bindings.ResponseSink) -> None:
        await _respond(lambda: self._method(_request(request, self._kind), context), sink)


#: serve_stream_unary: requests
class _StreamUnary(slim_bindings.StreamUnaryHandler):
    def __init__(self, method: Any, kind: Any) -> None:
        self._method, self._kind = method, kind

    async def handle(self, stream: slim_bindings.RequestStream, context: slim_bindings.Context) -> bytes:
        response = await self._method(_requests(stream, self._kind), context)
        data: bytes = response.SerializeToString()
        return data


#: serve_stream_stream: requests respond
class _StreamStream(slim_bindings.StreamStreamHandler):
    def __init__(self, method: Any, kind: Any) -> None:
        self._method, self._kind = method, kind

    async def handle(
        self,
        stream: slim_bindings.RequestStream,
        context: slim_bindings.Context,
        sink: slim_bindings.ResponseSink,
    ) -> None:
        await _respond(lambda: self._method(_requests(stream, self._kind), context), sink)
