"""The client of a log, for programs that wait for their answers.

    client = tlog.Client("https://log.example", vkey="log.example/users+...", token="tlog_...", state="verified")
    receipt = client.append({"actor": "alice", "action": "login"})
    client.verify_receipt(receipt)

What the log is, and whose signature counts, comes from whoever makes the client, never from the server. Nothing that
the server says is returned unless it was verified, but where a method says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
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
    import httpx

    from tlog.client.messages import answer_of, as_httpx, check_size, failure_of
    from tlog.client.transport import DeadlineTransport, until
except ImportError as err:
    raise ImportError(NO_HTTPX) from err

T = TypeVar("T")


class Client:
    """One log on a server. It may be used by any number of threads; close it, or use it in a `with` block.

    A request is sent again, after a pause, where the server can't be reached, is overloaded, or gives no answer in
    time; `pacing` says how long. Redirects are not followed, proxies not used, and a token is sent over https only, or
    to this machine.

    Every method that reads raises VerificationError or one of its children where the log does not prove what it says:
    InconsistentLogError, with both signed notes, where it contradicts itself; TileMismatchError, SignatureError,
    UntrustedNoteError, UnknownOriginError, PolicyError, FormatError. It raises NotFoundError for what the server says
    it has not, UnavailableError, RequestRefusedError, and StorageError where `state` cannot be read or written.
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
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """url: of the server, without the partition.

        vkey: the log's verifier key, or policy: a trust policy or its text, when witnesses are to count too. origin or
        partition says which log of a policy with several is meant. token: as `tlog token` made it, needed to append.
        state: a directory, made if it is missing, where the last verified checkpoint is kept, and evidence; many
        clients may share it. Without it the client knows nothing of what was before it, and a log that began anew since
        then would not show. transport: of httpx, in place of one that keeps to deadlines byte by byte.
        Raises: FormatError, ImportError where httpx is missing.
        """
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
        self._transport = transport or DeadlineTransport(self._core.address.base)

    # Writing

    def append(self, data: Any, *, id: str | None = None, wait: Wait = "durable") -> SentReceipt:  # noqa: A002
        """Append one event, once, and return when the server says that it is durable, or what `wait` says.

        data: any JSON value. id: under which appending it again stores nothing, 1 to 256 visible ASCII characters; the
        event's own `id` unless given, a new one where it has none. Other data under an id that this writer has used is
        refused. wait: durable, integrated, published or witnessed.
        Raises: FormatError; RequestRefusedError; UnavailableError where nothing was stored; OutcomeUnknownError, with
        the key to append again with, where that is not known.
        """
        return self._run(self._core.writing.append(data, id, wait))

    def append_many(
        self,
        events: Iterable[Any],
        *,
        id: str | None = None,  # noqa: A002
        wait: Wait = "durable",
    ) -> SentBulkReceipt:
        """Append events from any iterable, each once, in order, in batches of at most 1,000 events or 1 MiB.

        id: for all of them together, 1 to 200 visible ASCII characters, a new one unless given; the same events with
        the same id are stored once. An event's own `id` counts before it. wait: as `append`, for each batch.
        Raises: RefusedItemError, whose `index` says which event was refused; those before it are durable.
        OutcomeUnknownError, with the id to append the same events again with; as `append`. Memory: a batch.
        """
        return self._run(self._core.writing.append_many(id, wait), iter(events_of(events)))

    def verify_receipt(self, receipt: SentReceipt, *, timeout_s: float = 30.0) -> VerifiedEntry:
        """Return the published entry that a receipt is about, verified, its hash and data those of the receipt.

        timeout_s: how long to wait until a checkpoint covers it. Raises: UnavailableError where none does by then;
        VerificationError where the log has published something else than it acknowledged.
        """
        return self._run(self._core.writing.verify_receipt(receipt, timeout_s))

    def verify_appended(self, receipt: SentBulkReceipt, events: Iterable[Any], *, timeout_s: float = 30.0) -> None:
        """Check that the events of an `append_many` are published where its receipt says, in their order.

        events: the same again. Where some had been there before (`receipt.repeated`), the order is not compared.
        Raises: as `verify_receipt`. Memory: a bundle, and where some had been there before a hash for each event.
        """
        self._run(self._core.writing.verify_appended(receipt, timeout_s), iter(events_of(events)))

    # Reading

    @property
    def origin(self) -> str:
        """The log's origin."""
        return self._core.identity.origin

    @property
    def name(self) -> str:
        """The partition's name."""
        return self._core.identity.partition

    @property
    def size(self) -> int:
        """The number of published entries, by the log's newest checkpoint, verified. Cost: as `checkpoint`."""
        return self.checkpoint().tree_size

    def checkpoint(self) -> VerifiedCheckpoint:
        """Fetch the log's checkpoint and return it, valid under the policy, and consistent with what was seen before.

        Cost: a request where the log has not grown, otherwise one more for each tile that the comparison needs.
        """
        return self._run(self._core.reading.checkpoint())

    def entry(self, seq: int) -> Entry:
        """Return one published entry. Cost: its bundle; the checkpoint where the last verified one does not cover it.

        Raises: NotFoundError where no checkpoint covers it.
        """
        return self._run(self._core.reading.entry(seq))

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        """Yield the published entries [start, stop) in order, hash and link to the entry before checked.

        stop: all that are published when the iteration begins unless given. Memory: a bundle.
        """
        return self._stream(self._core.reading.entries(start, stop), None)

    def follow(self, start: int | None = None, *, stop: threading.Event | None = None) -> Iterator[Entry]:
        """Yield entries as they are published, for ever; to go on later, start behind the last one.

        start: the first seq, the next one to be published unless given. stop: ends the iteration when it is set.
        """
        return self._stream(self._core.reading.follow(start), stop or threading.Event())

    def prove(self, seq: int) -> Proof:
        """Return the proof that an entry is in the log, verified; it carries the entry and the checkpoint."""
        return self._run(self._core.reading.prove(seq))

    def prove_consistency(self, old_size: int) -> ConsistencyProof:
        """Return the proof that the tree of `old_size` entries is a prefix of the newest one."""
        return self._run(self._core.reading.prove_consistency(old_size))

    def search(
        self, query: Query | str = "", *, limit: int = PAGE, after: str | None = None, oldest_first: bool = False
    ) -> Found:
        """Return published entries that match, verified and compared with the query; the newest first unless told.

        query: as docs/query.md has it. limit: 1 to 1,000. after: the cursor of the page before. What the server's index
        leaves out is not seen. Cost: a request, and one for each bundle that holds a hit.
        """
        return self._run(self._core.searching.search(query, limit, after, oldest_first=oldest_first))

    def get(self, event_id: str) -> Entry:
        """Return the first entry whose event has this `id`. Raises: NotFoundError, which is the server's word only."""
        return self._run(self._core.searching.get(event_id))

    def status(self) -> dict[str, Any]:
        """Return what the server says about itself, unverified."""
        return self._run(self._core.reading.status())

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client of {self.origin!r} at {self._core.address.base}>"

    # Steps

    def _run(self, flow: Flow[T], events: Iterator[Any] | None = None) -> T:
        """Do the steps of a flow and return what it ends with."""
        reply: Any = None
        try:
            while True:
                match flow.send(reply):
                    case Send() as step:
                        reply = self._send(step)
                    case Sleep(seconds):
                        self._sleep(seconds)
                        reply = None
                    case Pull():
                        reply = next(events or iter(()), END)
                    case Give():
                        raise AssertionError("a flow that gives entries is run by an iteration")
        except StopIteration as end:
            result: T = end.value
            return result

    def _stream(self, flow: Flow[None], stop: threading.Event | None) -> Iterator[Entry]:
        """Do the steps of a flow and yield the entries that it gives, until it ends or `stop` is set."""
        reply: Reply | None = None
        while stop is None or not stop.is_set():
            try:
                step = flow.send(reply)
            except StopIteration:
                return
            reply = None
            match step:
                case Send():
                    reply = self._send(step)
                case Sleep(seconds, is_idle):
                    if stop is None or not is_idle:
                        self._sleep(seconds)
                    else:
                        stop.wait(seconds)
                case Give(entries):
                    for entry in entries:
                        if stop is not None and stop.is_set():
                            return
                        yield entry
                case Pull():
                    raise AssertionError("a flow that takes events is not iterated over")

    def _send(self, step: Send) -> Reply:
        """Send a request and return the answer, read within its time and size, or what came in its place."""
        request, timeout_s = step
        try:
            with until(timeout_s):
                response = self._transport.handle_request(as_httpx(request, timeout_s))
                try:
                    raw = bytearray()
                    for part in cast("httpx.SyncByteStream", response.stream):
                        raw += part
                        check_size(raw, request)
                finally:
                    response.close()
            return answer_of(response, raw, request)
        except httpx.TransportError as err:
            return failure_of(err, timeout_s)
        except FormatError as err:
            return err
