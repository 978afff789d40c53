"""One grant, and the file that holds all of a ledger: who may do what, under which name, and what proves it.

Source: docs/formats.md, "Tokens".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Self, cast, get_args

from tlog._strict import require_int
from tlog.accessrules import EVERY
from tlog.errors import FormatError
from tlog.jsontext import encode_json, parse_json
from tlog.names import check_partition_name

Verb = Literal["append", "read", "admin"]

VERBS: tuple[str, ...] = get_args(Verb)

MAX_FILE_SIZE = 1 << 20
MAX_WRITER_LENGTH = 128
MAX_PARTITIONS = 256
MAX_SUBJECT_LENGTH = 1024

_ID = re.compile(r"[0-9a-f]{12}", re.ASCII)
_SUBJECT = re.compile(r"[!-~](?:[ -~]*[!-~])?", re.ASCII)
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_FIELDS = ("id", "writer", "verbs", "partitions", "created", "expires", "sha256", "certificate")


@dataclass(frozen=True, slots=True)
class Token:
    """A grant: what its holder may do, and under which name. Raises: FormatError naming the field.

    id: 12 hex digits, no secret. writer: the name that entries of its holder have in `meta.writer`. verbs: of VERBS, in
    that order. partitions: names, sorted, or EVERY alone. created, expires: UTC times to the second, such as
    2026-11-21T09:00:00Z; expires is None where it holds until it is revoked. certificate: the subject of the client
    certificate that proves the grant, None where a token's text does. sha256: of that text, else None.
    """

    id: str
    writer: str
    verbs: tuple[str, ...]
    partitions: tuple[str, ...]
    created: str
    expires: str | None = None
    certificate: str | None = None
    sha256: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if _ID.fullmatch(self.id) is None:
            raise FormatError("id", f"{self.id[:40]!r} is not 12 hex digits")
        _check_writer(self.writer)
        if not self.verbs or self.verbs != tuple(verb for verb in VERBS if verb in self.verbs):
            raise FormatError("verbs", f"{', '.join(self.verbs)[:80]!r} given where some of {', '.join(VERBS)} go")
        if not self.partitions or self.partitions != tuple(sorted(set(self.partitions))):
            raise FormatError("partitions", "are not names of partitions, sorted and each once")
        if len(self.partitions) > MAX_PARTITIONS:
            raise FormatError("partitions", f"are more than {MAX_PARTITIONS}; use {EVERY}, or several tokens")
        if self.partitions != (EVERY,):
            for name in self.partitions:
                check_partition_name(name)
        _seconds(self.created, "created")
        if self.expires is not None:
            _seconds(self.expires, "expires")
        if (self.certificate is None) == (self.sha256 is None):
            raise FormatError("certificate", "a grant is proved by a certificate or by a token, by one of the two")
        if self.certificate is not None:
            _check_subject(self.certificate)
        if self.sha256 is not None and len(self.sha256) != 32:
            raise FormatError("sha256", f"holds {len(self.sha256)} bytes, not 32")

    def may(self, verb: Verb, partition: str) -> bool:
        """Whether the grant covers this verb for the partition of this name."""
        return verb in self.verbs and (self.partitions == (EVERY,) or partition in self.partitions)

    def is_expired(self, now_ns: int) -> bool:
        """Whether the grant has ended at a time, in nanoseconds since 1970."""
        return self.expires is not None and now_ns >= _seconds(self.expires, "expires") * 10**9

    def public_fields(self) -> dict[str, Any]:
        """Return what may be shown: all fields that are there, but the hash."""
        fields = {name: getattr(self, name) for name in _FIELDS if name != "sha256"}
        return {name: _plain(value) for name, value in fields.items() if value is not None}

    def to_fields(self) -> dict[str, Any]:
        """Return what is stored: all fields that are there."""
        fields = {name: getattr(self, name) for name in _FIELDS}
        return {name: _plain(value) for name, value in fields.items() if value is not None}

    @classmethod
    def from_fields(cls, value: object) -> Self:
        """Return the grant whose stored form is `value`. Raises: FormatError naming the field."""
        if not isinstance(value, dict):
            raise FormatError("token", f"{type(value).__name__} given where an object is needed")
        fields = cast("dict[str, Any]", value)
        for name in fields:
            if name not in _FIELDS:
                raise FormatError(name[:40], f"is no field of a token; there are {', '.join(_FIELDS)}")
        for name in ("verbs", "partitions"):
            listed = fields.get(name)
            if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
                raise FormatError(name, "is missing, or no list of texts")
        for name in _FIELDS[:2] + _FIELDS[4:]:
            if not isinstance(fields.get(name, ""), str) or (
                name in {"id", "writer", "created"} and name not in fields
            ):
                raise FormatError(name, "is missing, or no text")
        digest = fields.get("sha256")
        try:
            sha256 = None if digest is None else bytes.fromhex(digest)
        except ValueError as err:
            raise FormatError("sha256", "is no hex") from err
        lists = {name: tuple(fields[name]) for name in ("verbs", "partitions")}
        return cls(**{**fields, **lists, "sha256": sha256})


def parse_tokens(raw: bytes) -> tuple[int, dict[str, Token]]:
    """Return serial number and grants by id of the file's bytes. Raises: FormatError."""
    if len(raw) > MAX_FILE_SIZE:
        raise FormatError("file", f"is larger than {MAX_FILE_SIZE:,} bytes")
    fields = parse_json(raw, "file")
    if not isinstance(fields, dict) or list(fields) != ["serial", "tokens"] or not isinstance(fields["tokens"], list):
        raise FormatError("file", "is not an object with a serial number and a list of tokens")
    serial = require_int(fields["serial"], "serial")
    tokens: dict[str, Token] = {}
    subjects: set[str | None] = {None}
    for number, value in enumerate(fields["tokens"]):
        try:
            token = Token.from_fields(value)
        except FormatError as err:
            raise FormatError(f"tokens[{number}].{err.what}", err.reason) from err
        if token.id in tokens or (token.certificate is not None and token.certificate in subjects):
            raise FormatError(f"tokens[{number}]", "has the id, or the certificate, of one before it")
        tokens[token.id] = token
        subjects.add(token.certificate)
    if format_tokens(serial, tokens.values()) != raw:
        raise FormatError("file", "is not spelled as 'tlog token' writes it")
    return serial, tokens


def format_tokens(serial: int, tokens: Iterable[Token]) -> bytes:
    """Return the file's bytes. Raises: FormatError where they would be too many."""
    raw = encode_json({"serial": serial, "tokens": [token.to_fields() for token in tokens]}) + b"\n"
    if len(raw) > MAX_FILE_SIZE:
        raise FormatError("tokens", f"need more than {MAX_FILE_SIZE:,} bytes; revoke those that nobody uses")
    return raw


def format_time(seconds: int) -> str:
    """Return seconds since 1970 as a grant has them: UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime(_TIME)


def _seconds(text: str, what: str) -> int:
    """Return the seconds since 1970 that a time in its one spelling stands for. Raises: FormatError."""
    try:
        seconds = int(datetime.strptime(text, _TIME).replace(tzinfo=UTC).timestamp())
    except ValueError as err:
        raise FormatError(what, f"{text[:40]!r} is no UTC time such as 2026-11-21T09:00:00Z") from err
    if format_time(seconds) != text:
        raise FormatError(what, f"{text[:40]!r} is no UTC time such as 2026-11-21T09:00:00Z")
    return seconds


def _check_writer(writer: str) -> None:
    if not 1 <= len(writer) <= MAX_WRITER_LENGTH or not writer.isprintable() or writer != writer.strip():
        raise FormatError(
            "writer", f"{writer[:80]!r} is no name; use 1 to {MAX_WRITER_LENGTH} characters that can be seen"
        )


def _check_subject(subject: str) -> None:
    if len(subject) > MAX_SUBJECT_LENGTH or _SUBJECT.fullmatch(subject) is None:
        raise FormatError(
            "certificate",
            f"{subject[:80]!r} is no subject as a proxy sends it: 1 to {MAX_SUBJECT_LENGTH} ASCII characters",
        )


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else list(value) if isinstance(value, tuple) else value
