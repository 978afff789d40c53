"""Events on their way in: JSON text that was checked, the id that its writer gave it, and what stands before it."""

from __future__ import annotations

from typing import Any, NamedTuple

from tlog.bundle import MAX_ENTRY_SIZE
from tlog.entry import largest_payload, payload_prefix, too_large
from tlog.errors import FormatError, TooLargeError
from tlog.events import MAX_ID_LENGTH, Event
from tlog.jsontext import encode_json, read_json

MAX_WRITER_LENGTH = 256

_ANY_SEQ = 10**19 - 1
_ID_AND_END = b'""},"data":'


class Item(NamedTuple):
    """An event to be taken in. id: None where it has none. prefix, text: the entry's payload."""

    id: str | None
    prefix: bytes
    text: bytes


class Maker:
    """Makes the items of one writer."""

    def __init__(self, partition: str, writer: str | None) -> None:
        """Raises: FormatError where `writer` is not text of 1 to 256 characters."""
        if writer is not None:
            _check(writer, "writer", MAX_WRITER_LENGTH)
        meta = {} if writer is None else {"writer": writer}
        self._without_id = payload_prefix(meta)
        self._before_id = payload_prefix({**meta, "id": ""}).removesuffix(_ID_AND_END)
        # The same room for all seqs: whether an event fits must not depend on when it comes.
        self._room = largest_payload(partition, _ANY_SEQ)

    def of_value(self, data: Any, event_id: str | None = None, spare_id: str | None = None) -> Item:
        """Return the item for a JSON value. Raises: FormatError naming the field that is refused.

        event_id: its id; its own field `id` unless given, and `spare_id` where it has none.
        """
        return self._item(encode_json(data), (_own_id(data) or spare_id) if event_id is None else event_id)

    def of_text(self, text: bytes | str, event_id: str | None = None, spare_id: str | None = None) -> Item:
        """Return the item for JSON text. Raises: as `of_value`."""
        if len(text) > MAX_ENTRY_SIZE:
            raise self._too_large(text, self._without_id)
        checked, value = read_json(text)
        return self._item(checked, (_own_id(value) or spare_id) if event_id is None else event_id)

    def of_event(self, event: Event, event_id: str | None) -> Item:
        """Return the item for an event of the native envelope whose own id is none that its sender gave it."""
        return self._item(encode_json(event.to_data()), event_id)

    def _item(self, text: bytes, event_id: str | None) -> Item:
        if event_id is None:
            prefix = self._without_id
        else:
            _check(event_id, "id", MAX_ID_LENGTH)
            prefix = b'%b%b},"data":' % (self._before_id, encode_json(event_id, "id"))
        if len(prefix) + len(text) > self._room:
            raise self._too_large(text, prefix)
        return Item(event_id, prefix, text)

    def _too_large(self, text: bytes | str, prefix: bytes) -> TooLargeError:
        empty = len(payload_prefix())
        return too_large(empty + len(text), self._room - len(prefix) + empty)


def _own_id(value: Any) -> str | None:
    """Return the id that an event has in itself, None where it has none that is text."""
    found = value.get("id") if type(value) is dict else None
    return found if type(found) is str else None


def _check(text: str, what: str, limit: int) -> None:
    if type(text) is not str or not 1 <= len(text) <= limit:
        shown = f"{len(text):,} characters" if type(text) is str else f"a {type(text).__name__}"
        raise FormatError(what, f"{shown} given where text of 1 to {limit} characters is needed")
