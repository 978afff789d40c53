"""The client of a log, for programs that await their answers, under asyncio or trio.

    async with tlog.AsyncClient("https://log.example", vkey="log.example/users+...", token="tlog_...") as client:
        receipt = await client.append({"actor": "alice", "action": "login"})
        await client.verify_receipt(receipt)

It does the steps of the same flows as `tlog.client.blocking.Client`; what each method means is said there. Files of
`state` are small, and written without awaiting.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from tlog.client.core import NO_HTTPX, make_core
from tlog.client.exchange import Pacing
from tlog.client.receipts import SentBulkReceipt, SentReceipt
from tlog.client.searching import PAGE, Found
from tlog.client.steps import END, Flow, Give, Pull, Reply, Send, Sleep
from tlog.client.writing import Wait, events_of
from tlog.entry import Entry
from tlog.errors import FormatError
from tlog.index.query import Query
from tlog.keys import VerifierKey
from tlog.policy import Policy, VerifiedCheckpoint
from tlog.tlogproof import ConsistencyProof, Proof
from tlog.verify import VerifiedEntry

try:
    import anyio
    import httpx

    from tlog.client.messages import answer_of, as_httpx, check_size, failure_of
    from tlog.client.transport import async_transport
except ImportError as err:
    raise ImportError(NO_HTTPX) from err

T = TypeVar("T")

Events = Iterable[Any] | AsyncIterable[Any]


class AsyncClient:
    """One log on a server; the twin of `Client`, which says what each method does and raises.

    Any number of tasks of one event loop may use it; close it with `aclose`, or use it in an `async with` block. A task
    that is cancelled during an append leaves open whether the event was stored, unless it gave an id to ask again with.
    """

    def __init__(
        self,
        url: str,
        *,
        vkey: str | VerifierKey | None = None,
        policy: Policy | str | bytes | None = None,
        origin: str | None = None,
        partition: str | None = None,
        token: str | None = None,
        state: str | Path | None = None,
        pacing: Pacing | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        """See `Client`. Raises: FormatError, ImportError where httpx is missing."""
        self._core = make_core(
            url,
            vkey=vkey,
            policy=policy,
            origin=origin,
            partition=partition,
            token=token,
            state=state,
            pacing=pacing or Pacing(),
        )
        self._sleep = sleep
        self._transport = transport or async_transport(self._core.address.base)

    # Writing

    async def append(self, data: Any, *, id: str | None = None, wait: Wait = "durable") -> SentReceipt:  # noqa: A002
        """See `Client.append`."""
        return await self._run(self._core.writing.append(data, id, wait))

    async def append_many(
        self,
        events: Events,
        *,
        id: str | None = None,  # noqa: A002
        wait: Wait = "durable",
    ) -> SentBulkReceipt:
        """See `Client.append_many`; the events may also come from an asynchronous iterable."""
        return await self._run(self._core.writing.append_many(id, wait), events)

    async def verify_receipt(self, receipt: SentReceipt, *, timeout_s: float = 30.0) -> VerifiedEntry:
        """See `Client.verify_receipt`."""
        return await self._run(self._core.writing.verify_receipt(receipt, timeout_s))

    async def verify_appended(self, receipt: SentBulkReceipt, events: Events, *, timeout_s: float = 30.0) -> None:
        """See `Client.verify_appended`."""
        await self._run(self._core.writing.verify_appended(receipt, timeout_s), events)

    # Reading

    @property
    def origin(self) -> str:
        """The log's origin."""
        return self._core.identity.origin

    @property
    def name(self) -> str:
        """The partition's name."""
        return self._core.identity.partition

    async def size(self) -> int:
        """See `Client.size`."""
        return (await self.checkpoint()).tree_size

    async def checkpoint(self) -> VerifiedCheckpoint:
        """See `Client.checkpoint`."""
        return await self._run(self._core.reading.checkpoint())

    async def entry(self, seq: int) -> Entry:
        """See `Client.entry`."""
        return await self._run(self._core.reading.entry(seq))

    def entries(self, start: int = 0, stop: int | None = None) -> AsyncIterator[Entry]:
        """See `Client.entries`."""
        return self._stream(self._core.reading.entries(start, stop))

    def follow(self, start: int | None = None) -> AsyncIterator[Entry]:
        """See `Client.follow`; cancel the task, or leave the loop, to end it."""
        return self._stream(self._core.reading.follow(start))

    async def prove(self, seq: int) -> Proof:
        """See `Client.prove`."""
        return await self._run(self._core.reading.prove(seq))

    async def prove_consistency(self, old_size: int) -> ConsistencyProof:
        """See `Client.prove_consistency`."""
        return await self._run(self._core.reading.prove_consistency(old_size))

    async def search(
        self, query: Query | str = "", *, limit: int = PAGE, after: str | None = None, oldest_first: bool = False
    ) -> Found:
        """See `Client.search`."""
        return await self._run(self._core.searching.search(query, limit, after, oldest_first=oldest_first))

    async def get(self, event_id: str) -> Entry:
        """See `Client.get`."""
        return await self._run(self._core.searching.get(event_id))

    async def status(self) -> dict[str, Any]:
        """See `Client.status`."""
        return await self._run(self._core.reading.status())

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<AsyncClient of {self.origin!r} at {self._core.address.base}>"

    # Steps

    async def _run(self, flow: Flow[T], events: Events = ()) -> T:
        """Do the steps of a flow and return what it ends with."""
        reply: Any = None
        async with aclosing(_pulled(events_of(events))) as items:
            try:
                while True:
                    match flow.send(reply):
                        case Send() as step:
                            reply = await self._send(step)
                        case Sleep(seconds):
                            await self._sleep(seconds)
                            reply = None
                        case Pull():
                            reply = await anext(items, END)
                        case Give():
                            raise AssertionError("a flow that gives entries is run by an iteration")
            except StopIteration as end:
                result: T = end.value
                return result

    async def _stream(self, flow: Flow[None]) -> AsyncIterator[Entry]:
        """Do the steps of a flow and yield the entries that it gives, until it ends."""
        reply: Reply | None = None
        while True:
            try:
                step = flow.send(reply)
            except StopIteration:
                return
            reply = None
            match step:
                case Send():
                    reply = await self._send(step)
                case Sleep(seconds):
                    await self._sleep(seconds)
                case Give(entries):
                    for entry in entries:
                        yield entry
                case Pull():
                    raise AssertionError("a flow that takes events is not iterated over")

    async def _send(self, step: Send) -> Reply:
        """Send a request and return the answer, read within its time and size, or what came in its place."""
        request, timeout_s = step
        try:
            with anyio.fail_after(timeout_s):
                response = await self._transport.handle_async_request(as_httpx(request, timeout_s))
                try:
                    raw = bytearray()
                    async for part in cast("httpx.AsyncByteStream", response.stream):
                        raw += part
                        check_size(raw, request)
                finally:
                    await response.aclose()
            return answer_of(response, raw, request)
        except TimeoutError as err:
            return failure_of(httpx.ReadTimeout(str(err)), timeout_s)
        except httpx.TransportError as err:
            return failure_of(err, timeout_s)
        except FormatError as err:
            return err


async def _pulled(events: Events) -> AsyncGenerator[Any, None]:
    if isinstance(events, AsyncIterable):
        async for event in events:
            yield event
    else:
        for event in events:
            yield event
