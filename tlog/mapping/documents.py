"""What the mappings share: how an event becomes a document of another project and comes back without loss.

An event is written by the rows of a mapping's table: a row says at which place of the document a field stands, and how
it is spelled there. What has no place, or is not spelled exactly there, goes into one container of tlog's own. A
document that somebody else wrote becomes an event that keeps it, as it came, under one key of the event's `data`; the
event's other fields are read from it. Where the document has no id, the event's is made of the document's hash; where
it has no time, the event's is `UNKNOWN_TIME`.

Both directions can't be mistaken for each other: a document counts as written here only if writing the event that it
spells gives the document again, and an event counts as one that keeps a document only if reading that document gives
the event again. So `from_document(form, to_document(form, event)) == event` for every event, and the other way round
for every document that is accepted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from tlog.errors import FormatError
from tlog.events import MAX_NAME_LENGTH, Event
from tlog.jsontext import encode_json, parse_json

Document = dict[str, Any]

UNKNOWN_TIME = "1970-01-01T00:00:00Z"
"""Of an event whose document tells no time: another one, such as the present, would be another at each reading."""


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Row:
    """One field's place in a document.

    field: of the event; `error.type`, `error.message` and `error.stack` count as fields. path: keys from the document's
    top. write: from the event's value to the document's, None where it can't be spelled there. read: back; None where
    the document's value is none that `write` gives.
    """

    field: str
    path: tuple[str, ...]
    write: Callable[[Any], Any] = _same
    read: Callable[[Any], Any] = _same


@dataclass(frozen=True, slots=True)
class Form:
    """A mapping. key: under which an event's `data` keeps a document of others; it names the document in errors, too.

    write: from an event to a document. read: from a document that `write` made to the event's stored form, anything
    from other documents. adopt: from a document of others to the fields that it tells; raises FormatError where it is
    no such document.
    """

    key: str
    write: Callable[[Event], Document]
    read: Callable[[Document], Document]
    adopt: Callable[[Document], Document]


def to_document(form: Form, event: Event) -> Document:
    """Return the document for an event: the one that it keeps, or one written for it."""
    kept = _kept(form, event)
    return form.write(event) if kept is None else kept


def from_document(form: Form, document: object) -> Event:
    """Return the event for a document. Raises: FormatError where it isn't JSON, or not a document of this form."""
    if type(document) is not dict:
        raise FormatError(form.key, f"{type(document).__name__} given where a JSON object is needed")
    copy = orjson.loads(encode_json(document, form.key))
    event = _written(form, copy)
    return _adopted(form, copy) if event is None else event


def _kept(form: Form, event: Event) -> Document | None:
    """The document of others that this event keeps, or None."""
    if type(event.data) is not dict or event.data.keys() != {form.key}:
        return None
    document = event.to_data()["data"][form.key]
    if type(document) is not dict:
        return None
    try:
        again = _adopted(form, document)
    except FormatError:
        return None
    is_kept = is_same(again.to_data(), event.to_data()) and _written(form, document) is None
    return document if is_kept else None


def _written(form: Form, document: Document) -> Event | None:
    """The event for which this document was written, or None where it is a document of others."""
    try:
        event = Event.from_data(form.read(document))
    except FormatError:
        return None
    # An event that keeps a document inside holds less than this one does, so this comes to an end.
    return event if is_same(to_document(form, event), document) else None


def _adopted(form: Form, document: Document) -> Event:
    fields = {"id": _id_of(document), "time": UNKNOWN_TIME, **form.adopt(document)}
    return Event.from_data({**fields, "data": {form.key: document}})


def _id_of(document: Document) -> str:
    """A UUID of version 8 made of the document's SHA-256. Source: RFC 9562 section 5.8 and appendix B.2."""
    digest = hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).digest()
    value = int.from_bytes(digest[:16]) & ~(0xF << 76 | 0b11 << 62)
    return str(UUID(int=value | 8 << 76 | 0b10 << 62))


def write_rows(rows: Iterable[Row], event: Event, container: tuple[str, ...]) -> Document:
    """Return the document that a table gives for an event. container: path of what the rows don't spell exactly."""
    document: Document = {}
    rest = _flat(event.to_data())
    for row in rows:
        if row.field not in rest:
            continue
        value = rest[row.field]
        written = row.write(value)
        if written is not None:
            put(document, row.path, written)
            if is_same(row.read(written), value):
                del rest[row.field]
    if rest:
        put(document, container, _nested(rest))
        if not _is_json(document):  # nested too deep inside the container: as text, then
            put(document, container, encode_json(_nested(rest)).decode())
    return document


def read_rows(rows: Iterable[Row], document: Document, container: tuple[str, ...]) -> Document:
    """Return the fields that a document tells by a table and its container, whoever wrote it."""
    rest = get(document, container)
    rest = parse_json(rest.encode()) if type(rest) is str else rest
    fields = _flat(rest) if type(rest) is dict else {}
    for row in rows:
        value = get(document, row.path)
        if value is not None and row.field not in fields:
            fields[row.field] = row.read(value)
    return _nested(fields)


def _is_json(value: Any) -> bool:
    try:
        encode_json(value)
    except FormatError:
        return False
    return True


def _flat(fields: Document) -> Document:
    """The stored form of an event with `error.type` and so on as fields, so that a row can be about one of them."""
    error = fields.get("error")
    if type(error) is not dict:
        return dict(fields)
    rest = {name: value for name, value in fields.items() if name != "error"}
    return {**rest, **{f"error.{name}": value for name, value in error.items()}}


def _nested(fields: Document) -> Document:
    """Undo `_flat`."""
    error = {name.removeprefix("error."): value for name, value in fields.items() if name.startswith("error.")}
    rest = {name: value for name, value in fields.items() if not name.startswith("error.")}
    return {**rest, "error": error} if error else rest


def get(document: Any, path: Iterable[str]) -> Any:
    """Return the value at a path, or None where there is none."""
    for key in path:
        if type(document) is not dict:
            return None
        document = document.get(key)
    return document


def put(document: Document, path: tuple[str, ...], value: Any) -> None:
    """Set the value at a path; the objects on the way are made."""
    for key in path[:-1]:
        document = document.setdefault(key, {})
    document[path[-1]] = value


def first_name(document: Any, paths: Iterable[tuple[str, ...]], default: str) -> str:
    """Return the first value at one of the paths that can be an event's actor, action and the like."""
    values = (get(document, path) for path in paths)
    return next((value for value in values if is_name(value)), default)


def is_name(value: object) -> bool:
    """Whether a value can be an event's actor, action and the like."""
    return type(value) is str and 1 <= len(value) <= MAX_NAME_LENGTH


def present(fields: Mapping[str, Any]) -> Document:
    """Return the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def is_same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same, 1, 1.0 and True being different; the order of keys means nothing."""
    return orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)
