"""Taking in many events of one writer, from any iterable, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from tlog.errors import FormatError, RefusedItemError
from tlog.events import MAX_ID_LENGTH, Event
from tlog.intake.intake import BatchReceipt, Intake
from tlog.intake.items import Item

CHUNK_ITEMS = 2048
CHUNK_SIZE = 1 << 20
"""Events, and bytes of them, that are written at once, whichever is reached first."""

STEP_ITEMS = 128
"""Events that are taken from the caller's iterable together."""

MAX_BATCH_ID_LENGTH = MAX_ID_LENGTH - len("/18446744073709551615")

_Make = Callable[[Any, None, str | None], Item]
"""Makes an item of what the caller gives; the last argument is the id of an event that has none of its own."""


class Batch:
    """A batch of events of one writer. Whatever it raises, `receipt` says what of the batch is durable.

    Where the batch has an id K, its event number n has the id `K/n` unless it has one of its own: sent again from its
    beginning, the batch goes on behind what is there.
    """

    def __init__(self, intake: Intake, *, writer: str | None = None, batch_id: str | None = None) -> None:
        """writer: as in `Intake.accept`. batch_id: 1 to 235 characters. Raises: FormatError."""
        if batch_id is not None and not 1 <= len(batch_id) <= MAX_BATCH_ID_LENGTH:
            reason = f"{len(batch_id)} characters given where 1 to {MAX_BATCH_ID_LENGTH} are needed"
            raise FormatError("batch id", reason)
        self.receipt = BatchReceipt()
        self._intake = intake
        self._writer = writer
        self._maker = intake.maker(writer)
        self._batch_id = batch_id

    def add(self, events: Iterable[Any]) -> BatchReceipt:
        """Take in events, any JSON values, and return what is durable of the whole batch then.

        Raises: RefusedItemError where one is refused; what the iterable raises, after what came before is durable; and
        what `Intake.accept` raises. Memory: a chunk. Cost: some microseconds an event, and twice that with ids.
        """
        return self._add(iter(events), self._maker.of_value)

    def add_json(self, texts: Iterable[bytes | str]) -> BatchReceipt:
        """Like `add`, for JSON texts, which are checked and kept byte for byte."""
        return self._add(iter(texts), self._maker.of_text)

    def add_events(self, pairs: Iterable[tuple[Event, str | None]]) -> BatchReceipt:
        """Like `add`, for events of the native envelope, each with the id that its sender gave it, or None."""
        return self._add(iter(pairs), lambda pair, _, spare_id: self._maker.of_event(pair[0], pair[1] or spare_id))

    def _add(self, source: Iterator[Any], make: _Make) -> BatchReceipt:
        is_done = False
        while not is_done:
            items, is_done, problem = self._take(source, make)
            refusal: FormatError | None = None
            if items:
                taken, refusal = self._intake.take(self._writer, items)
                self.receipt = self.receipt.and_then(taken)
            problem = refusal or problem
            if isinstance(problem, FormatError):
                raise RefusedItemError(self.receipt.count, self.receipt.count, problem) from problem
            if problem is not None:
                raise problem
        return self.receipt

    def _take(self, source: Iterator[Any], make: _Make) -> tuple[list[Item], bool, BaseException | None]:
        """Return the next chunk, whether it is the last, and what ended it if that was not the end of the events."""
        items: list[Item] = []
        size = 0
        first = self.receipt.count
        while len(items) < CHUNK_ITEMS and size < CHUNK_SIZE:
            count = len(items)
            try:
                for given in islice(source, STEP_ITEMS):
                    item = make(given, None, None if self._batch_id is None else self._id_of(first + len(items)))
                    items.append(item)
                    size += len(item.text)
            except BaseException as err:  # noqa: BLE001 - the caller's iterable may raise anything; it is raised again
                return items, True, err
            if len(items) - count < STEP_ITEMS:
                return items, True, None
        return items, False, None

    def _id_of(self, number: int) -> str:
        return f"{self._batch_id}/{number}"


def take_each(
    intake: Intake, writer: str | None, items: Iterable[Item | FormatError]
) -> tuple[BatchReceipt, list[FormatError]]:
    """Take in all events of a writer that can be taken; return what is durable, and the errors of the others.

    items: from `Intake.maker`, or the error where there is none. Raises: what `Intake.accept` raises for other reasons.
    """
    receipt, errors, good = BatchReceipt(), list[FormatError](), list[Item]()
    for item in items:
        if isinstance(item, FormatError):
            errors.append(item)
        else:
            good.append(item)
    while good:
        some = good[:CHUNK_ITEMS]
        taken, refusal = intake.take(writer, some)
        receipt = receipt.and_then(taken)
        if refusal is not None:
            errors.append(refusal)
        good = good[taken.count + (refusal is not None) :]
    return receipt, errors
