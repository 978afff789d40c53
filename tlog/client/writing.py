"""Appending to a log over HTTP, each event once however often it has to be sent.

Every submission has a key, which the server keeps in the entry's `meta.id` and knows again: the event's own id, or one
that is made for the call, the same at each attempt. Source: docs/client.md, "Appending".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal, TypeVar
from urllib.parse import urlencode

from tlog.bundle import MAX_ENTRY_SIZE
from tlog.client.address import Address
from tlog.client.answers import json_object, number_in, problem_of, refusal
from tlog.client.exchange import Pacing, exchange
from tlog.client.reading import Reading, bundles_of
from tlog.client.receipts import (
    SentBulkReceipt,
    SentReceipt,
    chain_hash_in,
    check_partition,
    receipt_of,
    state_in,
)
from tlog.client.steps import END, Answer, Flow, Pull, Request, Sleep
from tlog.client.trees import Tree, Trees
from tlog.entry import too_large
from tlog.errors import (
    FormatError,
    NotFoundError,
    OutcomeUnknownError,
    RefusedItemError,
    RequestRefusedError,
    UnavailableError,
    VerificationError,
)
from tlog.events import uuid7
from tlog.jsontext import encode_json
from tlog.verify import VerifiedEntry

E = TypeVar("E")

Wait = Literal["durable", "integrated", "published", "witnessed"]

BATCH_EVENTS = 1000
BATCH_SIZE = 1 << 20
"""Events, and bytes of their JSON, that are sent at once; one event may be larger. Part of what a key means: the same
events with the same key are cut into the same batches."""

DONE = frozenset({200, 201, 202})
"""Statuses of an event that is durable: it had been there, it is new, or what was waited for has not come yet."""

MAX_WAIT_S = 60
"""How long the server lets an answer wait, at most."""

MAX_KEY_LENGTH = 256
MAX_BULK_KEY_LENGTH = 200
"""Characters of a key that batches and their events have a key of their own behind."""

MAX_RECEIPT_SIZE = 1 << 21
"""Bytes of the answer to an append: a signed checkpoint may be part of it."""

_KEY = re.compile(r"[\x21-\x7e]{1,256}", re.ASCII)


@dataclass(slots=True)
class _Bulk:
    """What of many events is durable."""

    key: str
    count: int = 0
    start: int = 0
    stop: int = 0
    hash: bytes = b""
    repeated: int = 0
    batches: int = 0


@dataclass(slots=True)
class _Batch:
    """Events that are sent at once. refused: what this side refuses of the event behind them."""

    texts: list[bytes] = field(default_factory=list)
    size: int = 0
    refused: FormatError | None = None
    is_last: bool = False


class _Wanted:
    """The events that are looked for among entries: one after the other, or, where order is not known, all at once."""

    def __init__(self, *, is_ordered: bool) -> None:
        self._is_ordered = is_ordered
        self._texts: set[bytes] = set()
        self.count = 0

    @property
    def is_satisfied(self) -> bool:
        """Whether all events were found."""
        return not self._texts

    def pull(self) -> Flow[None]:
        """Take the next events."""
        while not (self._is_ordered and self._texts) and (event := (yield Pull())) is not END:
            self._texts.add(sha256(_text_of(event)).digest())
            self.count += 1

    def take(self, text: bytes) -> bool:
        """Tell whether an entry's data is wanted; then it is not any more."""
        found = sha256(text).digest()
        is_wanted = found in self._texts
        self._texts.discard(found)
        return is_wanted


class Writing:
    """What can be appended to one log, and the check that it was; each is a flow."""

    def __init__(self, trees: Trees, reading: Reading, address: Address, pacing: Pacing) -> None:
        self._trees = trees
        self._reading = reading
        self._address = address
        self._pacing = pacing

    def append(self, data: Any, key: str | None, wait: Wait) -> Flow[SentReceipt]:
        """See `Client.append`."""
        text = _text_of(data)
        own = _own_id(data) if key is None else None
        # The server takes an event's own id, in any script, by itself; the header is for all others.
        sent = None if own is not None else uuid7() if key is None else _checked(key)
        name = sent or own or ""
        request = self._request("/api/v1/events", wait, sent, "application/json", text)
        answer = yield from self._ask(request, name)
        if answer.status not in DONE:
            raise refusal(request, answer)
        try:
            fields = json_object(answer, "receipt")
            return receipt_of(fields, self._address.partition, text, name, is_repeated=answer.status == 200)
        except FormatError as err:
            raise _unknown(str(err), name) from err

    def append_many(self, key: str | None, wait: Wait) -> Flow[SentBulkReceipt]:
        """See `Client.append_many`; the events are pulled."""
        if key is not None and (len(key) > MAX_BULK_KEY_LENGTH or _KEY.fullmatch(key) is None):
            raise FormatError("id", f"is not 1 to {MAX_BULK_KEY_LENGTH} visible ASCII characters")
        bulk = _Bulk(uuid7() if key is None else key)
        held: bytes | None = None
        while True:
            batch, held = yield from _gather(held)
            if batch.texts:
                yield from self._send(batch, bulk, wait)
            if batch.refused is not None:
                raise RefusedItemError(bulk.count, bulk.count, batch.refused)
            if batch.is_last:
                return SentBulkReceipt(bulk.count, bulk.start, bulk.stop, bulk.hash, bulk.repeated)

    def verify_receipt(self, receipt: SentReceipt, timeout_s: float) -> Flow[VerifiedEntry]:
        """See `Client.verify_receipt`."""
        tree = yield from self._published(receipt.seq + 1, timeout_s)
        (entry,) = yield from self._reading.chosen(tree, [receipt.seq])
        place = f"entry {entry.seq}"
        if entry.hash != receipt.hash:
            message = "the log acknowledged another entry than it has published here"
            expected, found = receipt.hash.hex(), entry.hash.hex()
            raise VerificationError(message, place=place, seq=entry.seq, expected=expected, found=found)
        if entry.raw_data != receipt.sent:
            message = "the log has published other data here than was sent"
            raise VerificationError(message, place=place, seq=entry.seq)
        return VerifiedEntry(entry, entry.seq, tree.checkpoint)

    def verify_appended(self, receipt: SentBulkReceipt, timeout_s: float) -> Flow[None]:
        """See `Client.verify_appended`; the events are pulled."""
        tree = yield from self._published(receipt.stop, timeout_s)
        wanted = _Wanted(is_ordered=not receipt.repeated)
        yield from wanted.pull()
        last_hash = b""
        for bundle_index in bundles_of(receipt.start, receipt.stop):
            for entry in (yield from self._reading.part(tree, bundle_index, receipt.start, receipt.stop)):
                last_hash = entry.hash
                if wanted.take(entry.raw_data):
                    yield from wanted.pull()
        place = f"entries {receipt.start} to {receipt.stop}"
        if not wanted.is_satisfied:
            which = "some of the events are" if receipt.repeated else f"event {wanted.count - 1} is"
            raise VerificationError(f"{which} not there", place=place)
        if wanted.count != receipt.count:
            message = "these are not the events that the receipt is about"
            raise VerificationError(message, expected=f"{receipt.count} events", found=f"{wanted.count} events")
        if last_hash != receipt.hash:
            message = "the log acknowledged another last entry than it has published here"
            raise VerificationError(message, place=place, expected=receipt.hash.hex(), found=last_hash.hex())

    def _published(self, size: int, timeout_s: float) -> Flow[Tree]:
        """Wait for a verified tree of at least this size. Raises: UnavailableError after `timeout_s`."""
        deadline = self._pacing.monotonic() + timeout_s
        while True:
            known = 0
            try:
                tree = yield from self._trees.latest(size - 1)
            except NotFoundError:  # nothing is published yet
                pass
            else:
                if tree.size >= size:
                    return tree
                known = tree.size
            if self._pacing.monotonic() + self._pacing.poll_s > deadline:
                message = f"the log has published {known} entries, not {size}, after {timeout_s:g} s; ask again later"
                raise UnavailableError(message)
            yield Sleep(self._pacing.poll_s)

    def _send(self, batch: _Batch, bulk: _Bulk, wait: Wait) -> Flow[None]:
        """Send a batch, and add what became durable to `bulk`. Raises: RefusedItemError; as `_ask`."""
        key = f"{bulk.key}/{bulk.batches}"
        request = self._request("/api/v1/events:batch", wait, key, "application/x-ndjson", b"\n".join(batch.texts))
        try:
            answer = yield from self._ask(request, bulk.key)
            if answer.status not in DONE:
                raise _refused_item(request, answer, batch, bulk)
            _add(bulk, json_object(answer, "receipt"), len(batch.texts), self._address.partition)
        except FormatError as err:
            if isinstance(err, RefusedItemError):
                raise
            raise _unknown(str(err), bulk.key) from err
        bulk.batches += 1

    def _request(self, path: str, wait: Wait, key: str | None, content_type: str, body: bytes) -> Request:
        fields = {"partition": self._address.partition}
        if wait != "durable":
            fields |= {"wait": wait, "timeout": str(min(max(int(self._pacing.attempt_timeout_s * 0.8), 1), MAX_WAIT_S))}
        headers: tuple[tuple[str, str], ...] = (("Content-Type", content_type), ("Accept", "application/json"))
        if key is not None:
            headers = (*headers, ("Idempotency-Key", key))
        target = f"{path}?{urlencode(fields)}"
        return self._address.request("POST", target, limit=MAX_RECEIPT_SIZE, headers=headers, body=body)

    def _ask(self, request: Request, key: str) -> Flow[Answer]:
        """Return the answer to an append. Raises: UnavailableError where nothing was done, OutcomeUnknownError."""
        try:
            answer = yield from exchange(request, self._pacing)
        except UnavailableError as err:
            if err.is_unknown:
                raise _unknown(str(err), key) from err
            raise
        except FormatError as err:  # no answer that can be read
            raise _unknown(str(err), key) from err
        if answer.status >= 500:
            raise _unknown(str(refusal(request, answer)), key)
        return answer


def _text_of(data: Any) -> bytes:
    text = encode_json(data)
    if len(text) > MAX_ENTRY_SIZE:
        raise too_large(len(text), MAX_ENTRY_SIZE)
    return text


def _own_id(data: Any) -> str | None:
    """Return the id that an event has in itself, None where the server would take it for none."""
    own = data.get("id") if type(data) is dict else None
    return own if type(own) is str and 1 <= len(own) <= MAX_KEY_LENGTH else None


def _checked(key: str) -> str:
    if _KEY.fullmatch(key) is None:
        raise FormatError("id", f"{key[:80]!r} is not 1 to {MAX_KEY_LENGTH} visible ASCII characters")
    return key


def _gather(held: bytes | None) -> Flow[tuple[_Batch, bytes | None]]:
    """Return the next batch, and the event that did not fit into it. held: the one that did not fit before."""
    batch = _Batch()
    while True:
        if held is None:
            event = yield Pull()
            if event is END:
                batch.is_last = True
                return batch, None
            try:
                held = _text_of(event)
            except FormatError as err:
                batch.refused = err
                return batch, None
        if batch.texts and (len(batch.texts) >= BATCH_EVENTS or batch.size + len(held) > BATCH_SIZE):
            return batch, held
        batch.texts.append(held)
        batch.size += len(held)
        held = None


def _add(bulk: _Bulk, fields: dict[str, Any], sent: int, partition: str) -> None:
    """Add what an answer says about a batch of `sent` events. Raises: FormatError where it is about another one."""
    what = "receipt"
    check_partition(fields, partition, what)
    state_in(fields, what)
    count, start, stop, repeated = (number_in(fields, name, what) for name in ("count", "start", "stop", "repeated"))
    chain_hash = chain_hash_in(fields, what)
    if count != sent or repeated > count or not start < stop:
        raise FormatError(what, f"{count} events in {start} to {stop}, {repeated} known: not the {sent} that were sent")
    bulk.start = min(start, bulk.start) if bulk.count else start
    if stop > bulk.stop:
        bulk.stop, bulk.hash = stop, chain_hash
    bulk.count += count
    bulk.repeated += repeated


def _refused_item(request: Request, answer: Answer, batch: _Batch, bulk: _Bulk) -> Exception:
    """Return the error for a batch that was refused: RefusedItemError where the server blames an event."""
    error, problem = refusal(request, answer), problem_of(answer)
    item = problem.get("item")
    if type(item) is not int or not 0 <= item < len(batch.texts):
        return error
    durable = number_in(problem, "count", "problem")
    if durable != item:
        return FormatError("problem", f"{durable} events durable before event {item}")
    where = error.field if isinstance(error, RequestRefusedError) and error.field else "data"
    words = error.detail if isinstance(error, RequestRefusedError) and error.detail else str(error)
    # The server speaks of this batch; the error, which says the same of all events, needs the reason only.
    reason = words.removeprefix(f"item {item}, ").removeprefix(f"{where}: ")
    reason = reason.removesuffix(f"; the {durable} items before it are durable")
    return RefusedItemError(bulk.count + item, bulk.count + durable, FormatError(where, reason))


def _unknown(message: str, key: str) -> OutcomeUnknownError:
    text = f"{message}; whether it is durable is not known: append the same with id={key!r}, and it is stored once"
    return OutcomeUnknownError(text, key=key)


def events_of(events: E) -> E:
    """Return what holds events; a text or an object is one event, and no list of them. Raises: FormatError."""
    if isinstance(events, str | bytes | dict):
        raise FormatError("events", f"is a {type(events).__name__}; give a list of events, or use append for one")
    return events
