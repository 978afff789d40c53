"""CloudEvents 1.0 as HTTP has them: binary content mode as a document, and what tells an event from others.

Source: CloudEvents HTTP protocol binding 1.0.2, section 3.1; JSON event format 1.0.2, section 3.1; spec.md 1.0.2, `id`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from tlog.errors import FormatError
from tlog.events import MAX_ID_LENGTH
from tlog.jsontext import parse_json
from tlog.mapping.documents import Document

PREFIX = "ce-"
MAX_ATTRIBUTES = 64

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_JSON_TYPE = re.compile(r"[^/;]+/(?:[^;]*\+)?json(?:;|$)", re.IGNORECASE)
_TEXT_TYPE = re.compile(r"text/[^;]+(?:; *charset=\"?utf-?8\"?)?$", re.IGNORECASE)


def from_binary_mode(headers: Iterable[tuple[str, str]], content_type: str, body: bytes) -> Document:
    """Return the CloudEvent in the JSON format that a request in binary mode holds.

    headers: all of the request's, names in any case. content_type: of the body, "" where the request has none. JSON
    becomes a value, text in UTF-8 a string, all else base64. Attributes come in the order of their names, so that the
    same event gives the same document. Raises: FormatError naming the header.
    """
    document: Document = {}
    for name, value in sorted((name.lower(), value) for name, value in headers):
        if name.startswith(PREFIX):
            if name == "ce-datacontenttype" or name.removeprefix(PREFIX) in document:
                raise FormatError(name, "may not stand here; the type of the data is Content-Type, and each comes once")
            document[name.removeprefix(PREFIX)] = _decoded(name, value)
    if len(document) > MAX_ATTRIBUTES:
        raise FormatError(PREFIX, f"{len(document)} attributes given where {MAX_ATTRIBUTES} are allowed")
    if content_type:
        document["datacontenttype"] = content_type
    if body:
        document.update(_data(content_type, body))
    return document


def identity(document: Document) -> str:
    """Return what tells a CloudEvent from all others of its sender: its source and its id, in at most 256 characters.

    document: one that `from_cloudevents` accepts.
    """
    text = f"{document['source']} {document['id']}"
    return text if len(text) <= MAX_ID_LENGTH else f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _decoded(name: str, value: str) -> str:
    """Undo quotes, which older senders write, then one round of percent encoding."""
    text = _QUOTED.sub(lambda match: re.sub(r"\\(.)", r"\1", match[1]), value)
    try:
        return unquote_to_bytes(text.encode("latin-1")).decode()
    except ValueError as err:
        raise FormatError(name, "is not UTF-8 when its percent encoding is undone") from err


def _data(content_type: str, body: bytes) -> Document:
    if _JSON_TYPE.match(content_type):
        return {"data": parse_json(body.strip(b" \t\r\n"))}
    if _TEXT_TYPE.match(content_type):
        try:
            return {"data": body.decode()}
        except UnicodeDecodeError as err:
            raise FormatError("data", "is no text in UTF-8, as its Content-Type says") from err
    return {"data_base64": base64.b64encode(body).decode()}
