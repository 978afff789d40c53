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
from typing import NamedTuple

from tlog._strict import require_int
from tlog.accessrules import EVERY
from tlog.errors import ConflictError, FormatError, NotFoundError
from tlog.grant import MAX_FILE_SIZE, VERBS, Token, Verb, format_time, format_tokens, parse_tokens
from tlog.ledger import Ledger
from tlog.sequencer import Clock
from tlog.system import record_act

__all__ = ["VERBS", "Token", "Tokens", "Verb"]

MAX_LIFETIME_S = 10 * 366 * 86_400

_HEAD_SIZE = 40  # of the file, with its serial number
_PRIVATE_MODE = 0o600
_TEXT = re.compile(r"tlog_([0-9a-f]{12})_[0-9a-f]{64}", re.ASCII)


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
    file was altered, or where others than its owner may read it. Cost of a look: about 50 microseconds.
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
            expires = format_time(now_s + require_int(lifetime_s, "lifetime_s", 1, MAX_LIFETIME_S))
        ordered = tuple(verb for verb in VERBS if verb in asked)
        return Token(id_, writer, ordered, tuple(sorted(names)), format_time(now_s), expires, certificate, sha256)

    def _add(self, token: Token, actor: str | None) -> None:
        with self._locked() as state:
            if token.certificate is not None and token.certificate in state.by_certificate:
                raise ConflictError(
                    f"certificate {token.certificate[:80]!r}: token {state.by_certificate[token.certificate].id} has "
                    "this subject; revoke it with 'tlog token revoke' first"
                )
            tokens = [*state.tokens.values(), token]
            format_tokens(state.serial + 1, tokens)  # raises where there is no room for it, before it is recorded
            self._record("token.create", token, actor)
            self._write(state, tokens)

    def _record(self, action: str, token: Token, actor: str | None) -> None:
        fields = token.public_fields()
        record_act(self._ledger, action, actor=actor, target=f"token/{fields.pop('id')}", data=fields)

    def _write(self, state: _State, tokens: Iterable[Token]) -> None:
        self._files.replace(self.path, format_tokens(state.serial + 1, tokens), _PRIVATE_MODE)

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
            serial, tokens = parse_tokens(raw)
        except FormatError as err:
            raise FormatError(
                f"{self.path}, {err.what}", f"{err.reason}; put back a copy, or remove the file and create tokens anew"
            ) from err
        by_certificate = {token.certificate: token for token in tokens.values() if token.certificate is not None}
        return _State(identity, serial, tokens, by_certificate)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _texts(values: Iterable[str], what: str) -> set[str]:
    if isinstance(values, str):
        raise FormatError(what, f"{values[:40]!r} given where a list of texts is needed")
    return set(values)
