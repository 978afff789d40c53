"""Taking events in so that what is sent twice is stored once.

A writer gives each event an id: one that it sends along, or the event's own field `id`. The id is kept in the entry's
`meta`, beside the writer, so it is inside what is signed, and whoever has the log has all that is needed to know an
event again. The same id with the same data gets the first answer again; with other data it is refused.

    intake = Intake(partition)
    first = intake.accept({"id": "4711", "action": "login"}, writer="web-1")
    again = intake.accept({"id": "4711", "action": "login"}, writer="web-1")
    assert again.seq == first.seq and not again.is_first

Events with ids are taken in by one thread of one process at a time, under the lock `intake.lock` of the partition; as
many callers as wait share one turn, with one lookup and one commit. In a turn, the table of ids is first brought up to
the last durable entry: so what a process had appended before it was killed is found, whether or not it said so. Events
without ids go past all that. Who appends ids in `meta` by other ways than an intake may have them stored twice.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from binascii import unhexlify
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tlog.entry import Entry
from tlog.errors import BackpressureError, CommitUnknownError, Error, ReusedIdError, StorageError
from tlog.group import Committed
from tlog.intake.ids import IdTable, Key
from tlog.intake.items import Item, Maker
from tlog.ledger import Ledger
from tlog.linked import linked
from tlog.partition import Partition
from tlog.recording import lifecycle
from tlog.writer import Writer

LOCK_NAME = "intake.lock"

TURN_ITEMS = 4096
"""Events of one turn: who comes behind so many waits for the next one."""

REOPEN_S = 1.0
"""After a failed write, the partition is opened again at most so often."""

MAX_MAKERS = 256
"""Writers of which something is remembered."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A durable event. seq, hash: of its entry, as in `Receipt`. is_first: False where it was there already."""

    seq: int
    hash: bytes
    is_first: bool


@dataclass(frozen=True, slots=True)
class BatchReceipt:
    """What is durable of a batch: entries between start and stop; other writers' may lie between.

    count: how many events. repeated: how many of them were there already. start: the smallest seq. stop: the largest
    plus one. hash: 32-byte chain hash of the entry before stop. For count 0, start and stop are 0 and the hash is
    empty.
    """

    count: int = 0
    repeated: int = 0
    start: int = 0
    stop: int = 0
    hash: bytes = b""

    def and_then(self, more: BatchReceipt) -> BatchReceipt:
        """Return what is durable of both together."""
        if not self.count or not more.count:
            return self if self.count else more
        last = max(self, more, key=lambda one: one.stop)
        start = min(self.start, more.start)
        return BatchReceipt(self.count + more.count, self.repeated + more.repeated, start, last.stop, last.hash)


class Intake:
    """Takes events into one partition. It may be used from several threads, and after a fork."""

    def __init__(self, partition: Partition) -> None:
        """partition: stays the caller's; it is created by the first event. One intake of it a process is enough."""
        self.partition = partition
        self._ids = IdTable(partition)
        self._lock_path = partition.paths.root / LOCK_NAME
        self._fd: int | None = None
        self.forget()
        lifecycle.forget_after_fork(self)

    def forget(self) -> None:
        """Begin afresh in a forked child."""
        if self._fd is not None:
            os.close(self._fd)  # the parent's lock is not released by that
        self._fd = None
        self._mutex = threading.Lock()
        self._turn = threading.Lock()
        self._reopening = threading.Lock()
        self._reopen_at = 0.0
        self._waiting: list[_Request] = []
        self._makers: dict[str | None, Maker] = {}

    def accept(self, data: Any, *, writer: str | None = None, event_id: str | None = None) -> Accepted:
        """Take one event in and return when it is durable.

        data: any JSON value. writer: who sent it, as authenticated; text of 1 to 256 characters. event_id: 1 to 256
        characters that the writer gives to no other event; the event's own field `id` unless given.
        Raises: FormatError naming the field; ReusedIdError where the id is that of an event with other data;
        CommitUnknownError where the write failed: sending the event again with the same id is right then;
        BackpressureError where it must be tried later; CorruptLedgerError, StorageError.
        Cost: as `Partition.append`; with an id, a lookup and two small transactions of SQLite, shared by all who wait.
        """
        return self.accept_item(writer, self.maker(writer).of_value(data, event_id))

    def accept_json(self, text: bytes | str, *, writer: str | None = None, event_id: str | None = None) -> Accepted:
        """Like `accept`, for JSON text, which is checked and kept byte for byte. The same data is the same bytes."""
        return self.accept_item(writer, self.maker(writer).of_text(text, event_id))

    def accept_item(self, writer: str | None, item: Item) -> Accepted:
        """Like `accept`, for an item of the writer's `maker`."""
        taken, refusal = self.take(writer, (item,))
        if refusal is not None:
            raise refusal
        return Accepted(taken.start, taken.hash, not taken.repeated)

    def take(self, writer: str | None, items: Sequence[Item]) -> tuple[BatchReceipt, ReusedIdError | None]:
        """Take in events of one writer; return what is durable of them, and the error of the first refused one.

        Those before that one are durable. For `tlog.intake.batch`. Raises: as `accept`.
        """
        if all(item.id is None for item in items):
            return self._append(items), None
        request = _Request(writer or "", items)
        self._ready()
        with self._mutex:
            self._waiting.append(request)
        with self._turn:
            while not request.is_done:
                self._serve(self._next_requests())
        if request.error is not None:
            raise request.error
        return request.receipt, request.refusal

    def maker(self, writer: str | None) -> Maker:
        """Return what makes the items of a writer. Raises: FormatError."""
        found = self._makers.get(writer)
        if found is None:
            if len(self._makers) >= MAX_MAKERS:
                self._makers = {}
            found = self._makers[writer] = Maker(self.partition.name, writer)
        return found

    def catch_up(self) -> None:
        """Bring the table of ids up to the last durable entry, so that the next event with an id need not wait.

        Raises: BackpressureError where some seconds were not enough: call it again; CorruptLedgerError, StorageError.
        """
        with self._turn, self._locked():
            self._ids.catch_up(self.partition.write(Writer.durable_size))

    def close(self) -> None:
        """Release the files; taking events opens them again."""
        with self._turn:
            self._ids.close()
            if self._fd is not None:
                self.partition.files.disk.close(self._fd)
                self._fd = None

    # Without ids

    def _append(self, items: Sequence[Item]) -> BatchReceipt:
        self._ready()
        commits = self._write(items)
        stop = commits[-1].first_seq + len(commits[-1].hashes)
        return BatchReceipt(len(items), 0, commits[0].first_seq, stop, unhexlify(commits[-1].hashes[-1]))

    def _write(self, items: Sequence[Item]) -> list[Committed]:
        payloads = [item.prefix + item.text for item in items]
        return self.partition.write(lambda writer: writer.append_group(payloads))

    def _ready(self) -> None:
        """Open the partition again if a write failed. Raises: BackpressureError where that was tried a moment ago."""
        if self.partition.poison is None and not self._reopen_at:
            return
        with self._reopening:
            if self.partition.poison is None and not self._reopen_at:
                return
            wait_s = self._reopen_at - time.monotonic()
            if wait_s > 0:
                raise BackpressureError("writing failed, and was not tried again yet", wait_s)
            self._reopen_at = time.monotonic() + REOPEN_S
            with contextlib.suppress(CommitUnknownError):  # the failure that is known already
                self.partition.close()
            self.partition.reopen()
            self._reopen_at = 0.0

    # With ids: in turns

    def _next_requests(self) -> list[_Request]:
        with self._mutex:
            count, size = 0, 0
            while count < len(self._waiting) and size < TURN_ITEMS:
                size += len(self._waiting[count].items)
                count += 1
            requests, self._waiting = self._waiting[:count], self._waiting[count:]
        return requests

    def _serve(self, requests: Sequence[_Request]) -> None:
        """Answer the requests of a turn, with one error for all where it is nobody's own."""
        try:
            with self._locked():
                self._answer(requests)
        except BaseException as err:
            error = err if isinstance(err, Error) else CommitUnknownError(f"the turn was stopped by {err!r}")
            for request in requests:
                request.error = error
            if not isinstance(err, Error):
                raise
        finally:
            for request in requests:
                request.is_done = True

    def _answer(self, requests: Sequence[_Request]) -> None:
        size = self.partition.write(Writer.durable_size)
        self._ids.catch_up(size)
        stored = self._stored({key for request in requests for key in request.looked_up()}, size)
        turn = _Turn(stored)
        for request in requests:
            turn.plan(request)
        commits = self._write(turn.items) if turn.items else []
        new = [(commit.first_seq + n, text) for commit in commits for n, text in enumerate(commit.hashes)]
        for request in requests:
            request.settle(new)
        if len(commits) == 1:
            rows = [(*key, new[number][0]) for key, number in turn.numbers.items()]
            with contextlib.suppress(StorageError):  # they are durable; the next turn reads them from the log
                self._ids.add(rows, commits[0])

    def _stored(self, keys: set[Key], size: int) -> dict[Key, Entry]:
        """Return the entries that have these ids, read from the log and compared."""
        for _ in range(2):
            places = self._ids.find(keys)
            if all(0 <= seq < size for seq in places.values()):
                entries = {entry.seq: entry for entry in self._entries(sorted(places.values()))}
                stored = {key: entries[seq] for key, seq in places.items()}
                if all(_has(entry, key) for key, entry in stored.items()):
                    return stored
            self._ids.reset()  # somebody has changed the table: it is made anew from the log
            self._ids.catch_up(size)
        raise AssertionError("the table of ids, just made, does not say what the entries say")

    def _entries(self, seqs: Sequence[int]) -> Iterator[Entry]:
        """Yield at least these entries; where they are close together, also those between."""
        if seqs and seqs[-1] - seqs[0] < 4 * len(seqs):
            return linked(self.partition.segments, seqs[0], seqs[-1] + 1)
        return map(self.partition.entry, seqs)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the partition's intake lock, which ends with the process."""
        disk, path = self.partition.files.disk, self._lock_path
        if not self.partition.exists:
            self.partition.write(Writer.durable_size)  # creates it
        while True:
            if self._fd is None:
                self._fd = disk.open(path, os.O_RDWR | os.O_CREAT)
            fd = self._fd
            disk.lock(fd, path)
            if os.fstat(fd).st_nlink:
                break
            self._fd = None  # somebody has removed the file, and others lock another one by now
            disk.close(fd)
        try:
            yield
        finally:
            disk.unlock(fd)


class Intakes:
    """The intakes of a ledger's partitions, one each."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._mutex = threading.Lock()
        self._open: dict[str, Intake] = {}

    def of(self, partition: str) -> Intake:
        """Return the intake of a partition, the same at every call. Raises: FormatError for names that are none."""
        found = self._open.get(partition)
        if found is None:
            with self._mutex:
                found = self._open.setdefault(partition, Intake(self._ledger.partition(partition)))
        return found


class _Request:
    """Events of one caller, and what became of them.

    receipt: of those before the refused one. refusal: the error of that. error: what kept all of them from being taken.
    """

    __slots__ = ("error", "is_done", "items", "plans", "receipt", "refusal", "reused", "writer")

    def __init__(self, writer: str, items: Sequence[Item]) -> None:
        self.writer = writer
        self.items = items
        self.plans: list[_Plan] = []
        self.reused: tuple[str, _Plan] | None = None
        self.receipt = BatchReceipt()
        self.refusal: ReusedIdError | None = None
        self.error: Error | None = None
        self.is_done = False

    def looked_up(self) -> Iterator[Key]:
        """Yield what the ids of the events are looked up by."""
        for item in self.items:
            if item.id is not None:
                yield Key(self.writer, item.id)

    def settle(self, new: Sequence[tuple[int, bytes]]) -> None:
        """Say what became of the events. new: seq and chain hash in hex of the turn's new entries."""
        if self.plans:
            seqs = [new[number][0] if entry is None else entry.seq for number, _, entry in self.plans]
            stop, (number, _, entry) = max(zip(seqs, self.plans, strict=True), key=lambda one: one[0])
            last = unhexlify(new[number][1]) if entry is None else entry.hash
            repeated = sum(not is_first for _, is_first, _ in self.plans)
            self.receipt = BatchReceipt(len(seqs), repeated, min(seqs), stop + 1, last)
        if self.reused is not None:
            event_id, (number, _, entry) = self.reused
            self.refusal = ReusedIdError(event_id, new[number][0] if entry is None else entry.seq)


_Plan = tuple[int, bool, Entry | None]
"""Where an event will be: its number among the turn's new ones, whether it is the first with its id, or its entry."""


class _Turn:
    """What is to be written in a turn. items: the new events. numbers: where among them the ids are."""

    def __init__(self, stored: dict[Key, Entry]) -> None:
        self._stored = stored
        self.items: list[Item] = []
        self.numbers: dict[Key, int] = {}

    def plan(self, request: _Request) -> None:
        """Plan a request's events up to the first whose id has other data."""
        for item in request.items:
            key = None if item.id is None else Key(request.writer, item.id)
            entry = None if key is None else self._stored.get(key)
            number = -1 if key is None else self.numbers.get(key, -1)
            if entry is None and number < 0:
                if key is not None:
                    self.numbers[key] = len(self.items)
                request.plans.append((len(self.items), True, None))
                self.items.append(item)
                continue
            plan = (number, False, entry)
            if (self.items[number].text if entry is None else entry.raw_data) != item.text:
                request.reused = (item.id or "", plan)
                return
            request.plans.append(plan)


def _has(entry: Entry, key: Key) -> bool:
    """Whether an entry has this id in its meta."""
    return entry.meta.get("writer", "") == key.writer and entry.meta.get("id") == key.id
