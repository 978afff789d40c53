"""A monitor's memory: how far it has verified each log, what it still has to say, and what it found.

It is one SQLite file, held by one process. What is found in entries, and that these entries were read, is one
transaction; so a monitor that is killed at any moment neither misses an entry nor says the same of it twice.
Source: sqlite.org/wal.html, sqlite.org/pragma.html (synchronous).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from tlog.errors import ConflictError, FormatError, NotFoundError, StorageError
from tlog.evidence import Evidence
from tlog.monitoring.alerts import Alert
from tlog.report.vouching import Cosigned
from tlog.storage.disk import Files

SCHEMA_VERSION = 2
MAX_EVIDENCE = 16
"""Pieces that are kept of one log; the first ones say all."""

MAX_AHEAD = 16
"""Checkpoints of one log, larger than one's own, that are kept."""

MAX_FINDINGS = 1000
"""Alerts that are kept to be looked at, the latest, whether or not somebody took them."""

_SCHEMA = """
CREATE TABLE monitor (id TEXT NOT NULL, alerts INTEGER NOT NULL);
CREATE TABLE log (origin TEXT PRIMARY KEY, note BLOB, since INTEGER NOT NULL, next INTEGER NOT NULL, ts TEXT NOT NULL,
  hash BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE delivery (alert INTEGER NOT NULL, target TEXT NOT NULL, body BLOB NOT NULL, tries INTEGER NOT NULL,
  due REAL NOT NULL, PRIMARY KEY (target, alert)) WITHOUT ROWID;
CREATE TABLE condition (origin TEXT NOT NULL, kind TEXT NOT NULL, since REAL NOT NULL, is_said INTEGER NOT NULL,
  message TEXT NOT NULL, PRIMARY KEY (origin, kind)) WITHOUT ROWID;
CREATE TABLE evidence (hash TEXT PRIMARY KEY, origin TEXT NOT NULL, time INTEGER NOT NULL, file BLOB NOT NULL,
  shared INTEGER);
CREATE TABLE ahead (origin TEXT NOT NULL, hash TEXT NOT NULL, peer TEXT NOT NULL, note BLOB NOT NULL,
  since REAL NOT NULL, PRIMARY KEY (origin, hash)) WITHOUT ROWID;
CREATE TABLE count (origin TEXT NOT NULL, category TEXT NOT NULL, interval INTEGER NOT NULL, entries INTEGER NOT NULL,
  PRIMARY KEY (origin, category, interval)) WITHOUT ROWID;
CREATE TABLE finding (number INTEGER PRIMARY KEY, origin TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE cosigned (origin TEXT NOT NULL, witness TEXT NOT NULL, size INTEGER NOT NULL, time INTEGER NOT NULL,
  PRIMARY KEY (origin, witness)) WITHOUT ROWID;
CREATE TABLE judged (origin TEXT PRIMARY KEY, interval INTEGER NOT NULL) WITHOUT ROWID;
"""


class Followed(NamedTuple):
    """How far a log was followed. note: the latest verified checkpoint, None at first; since: when it was first seen.

    next: index of the first entry that was not read. ts, hash: of the last entry before it, "" and b"" at first.
    """

    note: bytes | None = None
    since: int = 0
    next: int = 0
    ts: str = ""
    hash: bytes = b""


class Delivery(NamedTuple):
    """An alert that a target did not get yet. tries: that failed."""

    alert: int
    target: str
    body: bytes
    tries: int


class Condition(NamedTuple):
    """Something that lasts. since: POSIX time. is_said: whether it was alerted."""

    origin: str
    kind: str
    since: float
    is_said: bool
    message: str


class Ahead(NamedTuple):
    """A signed checkpoint, larger than one's own, that a peer showed."""

    hash: str
    peer: str
    note: bytes
    since: float


class MonitorState:
    """The state of one monitor, held by one process. It may be used from several threads."""

    def __init__(self, directory: Path) -> None:
        """Open the state and hold it. Raises: NotFoundError; ConflictError where another process has it."""
        self._path = directory / "state.sqlite"
        self._lock = threading.RLock()
        if not Files().exists(self._path):
            raise NotFoundError(
                f"{self._path}: the monitor has no state; 'tlog-monitor init' makes one, which knows no checkpoint yet"
            )
        self._fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with self._errors():
                self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10)
                self._db.execute("PRAGMA synchronous=FULL")
                (version,) = self._db.execute("PRAGMA user_version").fetchone()
                if version != SCHEMA_VERSION:
                    raise FormatError(str(self._path), f"is of version {version}, not {SCHEMA_VERSION}")
                (self.id,) = self._db.execute("SELECT id FROM monitor").fetchone()
        except BlockingIOError as err:
            os.close(self._fd)
            raise ConflictError(f"{directory}: another process runs this monitor") from err
        except BaseException:
            os.close(self._fd)
            raise

    @classmethod
    def create(cls, directory: Path) -> None:
        """Make an empty state. Raises: ConflictError where there is one; StorageError."""
        files = Files()
        path = directory / "state.sqlite"
        files.ensure_dir(directory, 0o700)
        if files.exists(path):
            raise ConflictError(f"{path}: there is a monitor's state already")
        try:
            with contextlib.closing(sqlite3.connect(path)) as db:
                db.execute("PRAGMA journal_mode=WAL")
                db.execute("PRAGMA synchronous=FULL")
                db.executescript(_SCHEMA)
                db.execute("INSERT INTO monitor VALUES (?, 0)", (secrets.token_hex(8),))
                db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
                db.commit()
        except sqlite3.Error as err:
            raise StorageError(f"{path}: {err}") from err
        files.disk.sync_dir(directory)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make what a block does one durable step; blocks may lie in one another. Raises: StorageError."""
        with self._lock, self._errors():
            if self._db.in_transaction:
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def followed(self, origin: str) -> Followed:
        """Return how far a log was followed."""
        rows = self._all("SELECT note, since, next, ts, hash FROM log WHERE origin = ?", origin)
        return Followed(*rows[0]) if rows else Followed()

    def follow(self, origin: str, followed: Followed) -> None:
        """Remember how far a log was followed."""
        self._do("INSERT OR REPLACE INTO log VALUES (?, ?, ?, ?, ?, ?)", origin, *followed)

    def say(self, alert: Alert, targets: Sequence[str], time_s: float) -> int:
        """Put an alert into the outbox of each target; return its number."""
        with self.transaction():
            self._do("UPDATE monitor SET alerts = alerts + 1")
            ((number,),) = self._all("SELECT alerts FROM monitor")
            body = alert.body(number, int(time_s))
            self._do("INSERT INTO finding VALUES (?, ?, ?)", number, alert.origin, body)
            self._do("DELETE FROM finding WHERE number <= ?", number - MAX_FINDINGS)
            for target in targets:
                self._do("INSERT INTO delivery VALUES (?, ?, ?, 0, ?)", number, target, body, time_s)
        return int(number)

    def due(self, target: str, time_s: float) -> Delivery | None:
        """Return the oldest alert that waits for a target, None where it is not due yet, or there is none."""
        rows = self._all(
            "SELECT alert, target, body, tries, due FROM delivery WHERE target = ? ORDER BY alert LIMIT 1", target
        )
        return Delivery(*rows[0][:4]) if rows and rows[0][4] <= time_s else None

    def forget_target(self, target: str) -> None:
        """Drop what waits for a target."""
        self._do("DELETE FROM delivery WHERE target = ?", target)

    def delivered(self, delivery: Delivery) -> None:
        """Forget what was delivered."""
        self._do("DELETE FROM delivery WHERE alert = ? AND target = ?", delivery.alert, delivery.target)

    def postpone(self, delivery: Delivery, due: float) -> None:
        """Count a failure, and try again later."""
        self._do(
            "UPDATE delivery SET tries = tries + 1, due = ? WHERE alert = ? AND target = ?",
            due,
            delivery.alert,
            delivery.target,
        )

    def undelivered(self) -> dict[str, int]:
        """Return how many alerts wait, by target."""
        return dict(self._all("SELECT target, count(*) FROM delivery GROUP BY target"))

    def conditions(self) -> list[Condition]:
        """Return what lasts, by log."""
        rows = self._all("SELECT origin, kind, since, is_said, message FROM condition ORDER BY origin, kind")
        return [Condition(origin, kind, since, bool(said), message) for origin, kind, since, said, message in rows]

    def set_condition(self, condition: Condition) -> None:
        """Remember something that lasts."""
        self._do("INSERT OR REPLACE INTO condition VALUES (?, ?, ?, ?, ?)", *condition)

    def end_condition(self, origin: str, kind: str) -> None:
        """Forget something that is over."""
        self._do("DELETE FROM condition WHERE origin = ? AND kind = ?", origin, kind)

    def findings(self, before: int, limit: int, origin: str | None = None) -> list[dict[str, Any]]:
        """Return the last alerts with numbers below `before`, the latest first, as targets got them.

        origin: of the log that is meant, all of them unless given.
        """
        rows = self._all(
            "SELECT body FROM finding WHERE number < ? AND (? IS NULL OR origin = ?) ORDER BY number DESC LIMIT ?",
            before,
            origin,
            origin,
            limit,
        )
        return [json.loads(body) for (body,) in rows]

    def see_cosigned(self, origin: str, seen: Mapping[str, Cosigned]) -> None:
        """Remember what witnesses cosigned, by what names each of them; a smaller tree changes nothing."""
        for witness, cosigned in seen.items():
            self._do(
                "INSERT INTO cosigned VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET size = excluded.size, "
                "time = excluded.time WHERE excluded.size >= size",
                origin,
                witness,
                *cosigned,
            )

    def cosigned(self, origin: str) -> dict[str, Cosigned]:
        """Return what witnesses cosigned last, by the same names."""
        rows = self._all("SELECT witness, size, time FROM cosigned WHERE origin = ?", origin)
        return {witness: Cosigned(size, time_s) for witness, size, time_s in rows}

    def keep(self, origin: str, evidence: Evidence, time_s: float) -> bool:
        """Keep evidence; False where it is known, or there is enough of this log."""
        file = evidence.format()
        with self.transaction():
            ((count,),) = self._all("SELECT count(*) FROM evidence WHERE origin = ?", origin)
            return count < MAX_EVIDENCE and self._do(
                "INSERT OR IGNORE INTO evidence VALUES (?, ?, ?, ?, NULL)",
                sha256(file).hexdigest(),
                origin,
                int(time_s),
                file,
            )

    def evidence(self) -> list[tuple[str, str, int]]:
        """Return hash, origin and time of the evidence, the oldest first."""
        return [(*row,) for row in self._all("SELECT hash, origin, time FROM evidence ORDER BY time, hash")]

    def locate(self, hash_hex: str, shared: int) -> None:
        """Remember how many entries the two trees of a split view share."""
        self._do("UPDATE evidence SET shared = ? WHERE hash = ?", shared, hash_hex)

    def shared(self, hash_hex: str) -> int | None:
        """Return how many entries the two trees of a split view share, None where that is not known."""
        rows = self._all("SELECT shared FROM evidence WHERE hash = ?", hash_hex)
        return rows[0][0] if rows else None

    def evidence_file(self, hash_hex: str) -> bytes:
        """Return an evidence file by its SHA-256 in hex. Raises: NotFoundError."""
        rows = self._all("SELECT file FROM evidence WHERE hash = ?", hash_hex)
        if not rows:
            raise NotFoundError("there is no such evidence here")
        return bytes(rows[0][0])

    def ahead(self, origin: str) -> list[Ahead]:
        """Return the checkpoints that wait until one's own tree has their size."""
        return [
            Ahead(*row)
            for row in self._all("SELECT hash, peer, note, since FROM ahead WHERE origin = ? ORDER BY since", origin)
        ]

    def wait_for(self, origin: str, ahead: Ahead) -> None:
        """Keep a checkpoint that is larger than one's own, unless it is known or there are many."""
        with self.transaction():
            if len(self.ahead(origin)) < MAX_AHEAD:
                self._do("INSERT OR IGNORE INTO ahead VALUES (?, ?, ?, ?, ?)", origin, *ahead)

    def reconciled(self, origin: str, hash_hex: str) -> None:
        """Forget a checkpoint that was compared."""
        self._do("DELETE FROM ahead WHERE origin = ? AND hash = ?", origin, hash_hex)

    def count(self, origin: str, category: str, interval: int, entries: int) -> None:
        """Count entries."""
        self._do(
            "INSERT INTO count VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET entries = entries + excluded.entries",
            origin,
            category,
            interval,
            entries,
        )

    def counts(self, origin: str) -> dict[str, dict[int, int]]:
        """Return the entries of each interval, by category."""
        found: dict[str, dict[int, int]] = {}
        for category, interval, entries in self._all(
            "SELECT category, interval, entries FROM count WHERE origin = ? ORDER BY category, interval", origin
        ):
            found.setdefault(category, {})[interval] = entries
        return found

    def judged(self, origin: str) -> int | None:
        """Return the last interval that was judged."""
        rows = self._all("SELECT interval FROM judged WHERE origin = ?", origin)
        return rows[0][0] if rows else None

    def judge(self, origin: str, interval: int, keep_from: int) -> None:
        """Remember that an interval was judged, and forget those before `keep_from`."""
        self._do("INSERT OR REPLACE INTO judged VALUES (?, ?)", origin, interval)
        self._do("DELETE FROM count WHERE origin = ? AND interval < ?", origin, keep_from)

    def close(self) -> None:
        """Release the state; it may be called twice."""
        with self._lock:
            if self._fd >= 0:
                self._db.close()
                os.close(self._fd)
                self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _do(self, statement: str, *values: object) -> bool:
        """Run a statement; return whether a row changed."""
        with self._lock, self._errors():
            return self._db.execute(statement, values).rowcount > 0

    def _all(self, statement: str, *values: object) -> list[Any]:
        with self._lock, self._errors():
            return self._db.execute(statement, values).fetchall()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as err:
            raise StorageError(f"{self._path}: {err}") from err
