"""Who may do what: grants, each with the bearer token or the client certificate that proves it.

    text, token = Tokens(ledger).create("web-1", ["append"], ["users"])
    Tokens(ledger).authenticate(text) == token
    Tokens(ledger).revoke(token.id)

A token's text is `tlog_<id>_<secret>`: 12 and 64 hex digits. Only SHA-256 of the text is kept. The secret is 256 random
bits, which nobody finds by trying, so a salt, which defeats tables of guessable passwords, and a slow hash, which makes
trying them dear, would add nothing but time to every request. Source: docs/access.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Self, cast, get_args

from tlog._strict import require_int
from tlog.accessrules import EVERY
from tlog.errors import ConflictError, FormatError, NotFoundError
from tlog.jsontext import encode_json, parse_json
from tlog.ledger import Ledger
from tlog.names import check_partition_name
from tlog.sequencer import Clock
from tlog.system import record_act

Verb = Literal["append", "read", "admin"]

VERBS: tuple[str, ...] = get_args(Verb)
MAX_FILE_SIZE = 1 << 20
MAX_WRITER_LENGTH = 128
MAX_PARTITIONS = 256
MAX_SUBJECT_LENGTH = 1024
MAX_LIFETIME_S = 10 * 366 * 86_400

_HEAD_SIZE = 40  # of the file, with its serial number
_PRIVATE_MODE = 0o600
_TEXT = re.compile(r"tlog_([0-9a-f]{12})_[0-9a-f]{64}", re.ASCII)
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


class _State(NamedTuple):
    """What was read. identity: of the file, or None where there was none."""

    identity: tuple[object, ...] | None
    serial: int
    tokens: Mapping[str, Token]
    by_certificate: Mapping[str, Token]


_NOTHING = _State(None, 0, {}, {})


class Tokens:
    """The grants of a ledger, in `<ledger>/access/tokens.json`. It may be used from several threads and processes.

    The file is looked at anew at each call, so whatever was granted or revoked by anybody counts at once. Each change
    is an entry of the system partition. clock: for tests. Every method raises StorageError, and FormatError where the
    file was altered, or where others than its owner may read it. Cost of a look: about 20 microseconds.
    """

    def __init__(self, ledger: Ledger, *, clock: Clock = time.time_ns) -> None:
        self._ledger = ledger
        self._files = ledger.files
        self._clock = clock
        self._seen = _NOTHING
        self.path = ledger.path / "access" / "tokens.json"

    def create(
        self,
        writer: str,
        verbs: Iterable[str],
        partitions: Iterable[str] = (EVERY,),
        *,
        lifetime_s: int | None = None,
        actor: str | None = None,
    ) -> tuple[str, Token]:
        """Grant something to whoever sends a new token; return the token's text, which is kept nowhere, and the grant.

        writer: the name that entries of its holder have in `meta.writer`; several grants may have one name. verbs: of
        VERBS, in any order. partitions: up to 256 names, which need not exist, or EVERY. lifetime_s: seconds until it
        expires, up to ten years, for ever unless given. actor: who grants it, the user of this process unless given.
        Raises: FormatError; errors of `system.record_act`, and then nothing is granted.
        """
        id_ = secrets.token_hex(6)
        text = f"tlog_{id_}_{secrets.token_hex(32)}"
        token = self._token(id_, writer, verbs, partitions, lifetime_s, sha256=_digest(text))
        self._add(token, actor)
        return text, token

    def create_for_certificate(
        self,
        subject: str,
        writer: str,
        verbs: Iterable[str],
        partitions: Iterable[str] = (EVERY,),
        *,
        lifetime_s: int | None = None,
        actor: str | None = None,
    ) -> Token:
        """Grant something to whoever has a client certificate with this subject, as a trusted proxy spells it.

        subject: such as `CN=web-1,O=Example`, compared letter by letter. The rest is as for `create`.
        Raises: also ConflictError where the subject has a grant.
        """
        token = self._token(secrets.token_hex(6), writer, verbs, partitions, lifetime_s, certificate=subject)
        self._add(token, actor)
        return token

    def authenticate(self, text: str) -> Token | None:
        """Return the grant that a token's text proves; None where there is none, or it was revoked, or has expired."""
        match = _TEXT.fullmatch(text)
        token = None if match is None else self._state().tokens.get(match[1])
        if token is None or token.sha256 is None or not hmac.compare_digest(token.sha256, _digest(text)):
            return None
        return None if token.is_expired(self._clock()) else token

    def identify(self, subject: str) -> Token | None:
        """Return the grant that a client certificate with this subject proves, None where there is none."""
        token = self._state().by_certificate.get(subject)
        return None if token is None or token.is_expired(self._clock()) else token

    def revoke(self, id_: str, *, actor: str | None = None) -> Token:
        """Take a grant away, for all processes at once; return it.

        actor: who takes it away, the user of this process unless given. Raises: NotFoundError where there is none with
        this id; errors of `system.record_act`: it is taken away also where that cannot be recorded.
        """
        with self._locked() as state:
            token = state.tokens.get(id_)
            if token is None:
                raise NotFoundError(f"token {id_[:40]!r}: there is none with this id; 'tlog token list' shows them")
            try:
                self._record("token.revoke", token, actor)
            finally:
                self._write(state, [kept for kept in state.tokens.values() if kept is not token])
        return token

    def list(self) -> list[Token]:
        """Return the grants, the oldest first, with those that have expired."""
        return list(self._state().tokens.values())

    def _token(
        self,
        id_: str,
        writer: str,
        verbs: Iterable[str],
        partitions: Iterable[str],
        lifetime_s: int | None,
        *,
        sha256: bytes | None = None,
        certificate: str | None = None,
    ) -> Token:
        asked, names = _texts(verbs, "verbs"), _texts(partitions, "partitions")
        unknown = sorted(asked - set(VERBS))
        if unknown:
            raise FormatError("verbs", f"{unknown[0][:40]!r} is none; there are {', '.join(VERBS)}")
        if EVERY in names and len(names) > 1:
            raise FormatError("partitions", f"{EVERY} stands for all partitions; give it alone, or names")
        now_s = self._clock() // 10**9
        expires = None
        if lifetime_s is not None:
            expires = _time(now_s + require_int(lifetime_s, "lifetime_s", 1, MAX_LIFETIME_S))
        ordered = tuple(verb for verb in VERBS if verb in asked)
        return Token(id_, writer, ordered, tuple(sorted(names)), _time(now_s), expires, certificate, sha256)

    def _add(self, token: Token, actor: str | None) -> None:
        with self._locked() as state:
            if token.certificate is not None and token.certificate in state.by_certificate:
                raise ConflictError(
                    f"certificate {token.certificate[:80]!r}: token {state.by_certificate[token.certificate].id} has "
                    "this subject; revoke it with 'tlog token revoke' first"
                )
            tokens = [*state.tokens.values(), token]
            _format(state.serial + 1, tokens)  # raises where there is no room for it, before it is recorded
            self._record("token.create", token, actor)
            self._write(state, tokens)

    def _record(self, action: str, token: Token, actor: str | None) -> None:
        fields = token.public_fields()
        record_act(self._ledger, action, actor=actor, target=f"token/{fields.pop('id')}", data=fields)

    def _write(self, state: _State, tokens: Iterable[Token]) -> None:
        self._files.replace(self.path, _format(state.serial + 1, tokens), _PRIVATE_MODE)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[_State]:
        """Hold the lock under which one process changes the file, and yield what it holds."""
        self._files.ensure_dir(self.path.parent, 0o700)
        lock = self.path.with_name("lock")
        with self._files.opened(lock, os.O_RDWR | os.O_CREAT) as fd:
            self._files.disk.lock(fd, lock)
            try:
                yield self._state()
            finally:
                self._files.disk.unlock(fd)  # a child forked meanwhile holds the file open, and with it the lock

    def _state(self) -> _State:
        """Return what the file holds now, read again only where it is another one than before."""
        try:
            fd = self._files.disk.open(self.path, os.O_RDONLY)
        except NotFoundError:
            return _NOTHING
        seen = self._seen
        try:
            found = os.fstat(fd)
            head = self._files.disk.read_at(fd, _HEAD_SIZE, 0, self.path)
            # A new file may get number, size and time of an older one; its serial number is another one.
            times = (found.st_mtime_ns, found.st_ctime_ns)
            identity = (found.st_dev, found.st_ino, found.st_size, found.st_mode, *times, head)
            if identity != seen.identity:
                mode = stat.S_IMODE(found.st_mode)
                if mode & 0o077:
                    raise FormatError(str(self.path), f"its mode is {mode:04o}, so others may read it; chmod 600 it")
                raw = self._files.disk.read_at(fd, MAX_FILE_SIZE + 1, 0, self.path)
                self._seen = seen = self._parsed(raw, identity)
        finally:
            self._files.disk.close(fd)
        return seen

    def _parsed(self, raw: bytes, identity: tuple[object, ...]) -> _State:
        try:
            serial, tokens = _parse(raw)
        except FormatError as err:
            raise FormatError(
                f"{self.path}, {err.what}", f"{err.reason}; put back a copy, or remove the file and create tokens anew"
            ) from err
        by_certificate = {token.certificate: token for token in tokens.values() if token.certificate is not None}
        return _State(identity, serial, tokens, by_certificate)


def _parse(raw: bytes) -> tuple[int, dict[str, Token]]:
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
    if _format(serial, tokens.values()) != raw:
        raise FormatError("file", "is not spelled as 'tlog token' writes it")
    return serial, tokens


def _format(serial: int, tokens: Iterable[Token]) -> bytes:
    """Return the file's bytes. Raises: FormatError where they would be too many."""
    raw = encode_json({"serial": serial, "tokens": [token.to_fields() for token in tokens]}) + b"\n"
    if len(raw) > MAX_FILE_SIZE:
        raise FormatError("tokens", f"need more than {MAX_FILE_SIZE:,} bytes; revoke those that nobody uses")
    return raw


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else list(value) if isinstance(value, tuple) else value


def _texts(values: Iterable[str], what: str) -> set[str]:
    if isinstance(values, str):
        raise FormatError(what, f"{values[:40]!r} given where a list of texts is needed")
    return set(values)


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime(_TIME)


def _seconds(text: str, what: str) -> int:
    """Return the seconds since 1970 that a time in its one spelling stands for. Raises: FormatError."""
    try:
        seconds = int(datetime.strptime(text, _TIME).replace(tzinfo=UTC).timestamp())
    except ValueError as err:
        raise FormatError(what, f"{text[:40]!r} is no UTC time such as 2026-11-21T09:00:00Z") from err
    if _time(seconds) != text:
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
