"""A log that is followed, the settings of monitors, a clock that is moved by hand, and peers in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import tlog
from tlog.errors import StorageError
from tlog.keys import SigningKey
from tlog.monitoring.monitor import Monitor
from tlog.monitoring.settings import Target, read_settings
from tlog.monitoring.state import MonitorState
from tlog.partition import Partition
from tlog.storage.keyfiles import KeyFiles
from tlog.witnessing.transport import Reply

SEED = bytes(range(32))
START_S = 1_795_251_600.0


class Clock:
    """POSIX time, moved by hand."""

    def __init__(self, now_s: float = START_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s

    def ns(self) -> int:
        """Return the time in nanoseconds."""
        return int(self.now_s * 1e9)


class Log:
    """A log of events that is exported to a directory after each growth. Two with one seed share key and origin."""

    def __init__(self, directory: Path, clock: Clock, seed: bytes = SEED) -> None:
        self.directory = directory
        self.ledger = tlog.Ledger.create(directory / "ledger", origin="audit.example.com", clock=clock.ns)
        self.partition: Partition = self.ledger.partition("users")
        KeyFiles(self.partition.files, self.partition.paths).create(SigningKey.from_seed(self.partition.origin, seed))
        self.site = directory / "site"
        self.policy = directory / "users.policy"

    def grow(self, *events: Any) -> None:
        """Append, publish and export."""
        self.partition.append_many(events)
        self.partition.publish()
        self.partition.export(self.site)
        self.policy.write_text(f"log {self.partition.vkey}\nquorum none\n")

    @property
    def origin(self) -> str:
        """The log's origin."""
        return self.partition.origin


class Taken:
    """What targets got. fails: the names of those that are down."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.fails: set[str] = set()

    def __call__(self, target: Target, identity: str, body: bytes) -> None:
        """Take an alert."""
        if target.name in self.fails:
            raise StorageError("is down")
        self.bodies.append(json.loads(body) | {"to": target.name, "id": identity})

    def kinds(self) -> list[str]:
        """Return the kinds of what came, in order."""
        return [body["kind"] for body in self.bodies]


class Web:
    """URLs in memory: each is a function of the path."""

    def __init__(self) -> None:
        self.sites: dict[str, Callable[[str], bytes | None]] = {}

    def send(self, url: str, body: bytes | None, *, limit: int, timeout_s: float) -> Reply:
        """See `Transport`."""
        assert (body, timeout_s > 0) == (None, True)
        base, _, path = url.removeprefix("http://").partition("/")
        if base not in self.sites:
            raise StorageError(f"{base} is down")
        found = self.sites[base](path)
        if found is not None and len(found) > limit:
            raise StorageError("its answer is too long")
        return Reply(404, "text/plain", b"") if found is None else Reply(200, "text/plain", found)


def settings_file(directory: Path, logs: Iterable[Log], more: str = "", in_log: str = "") -> Path:
    """Write settings, with a program as target; return the file. in_log: further lines of each [[log]] table."""
    directory.mkdir(exist_ok=True)
    path = directory / "monitor.toml"
    tables = "".join(
        f'[[log]]\npolicy = "{os.fspath(log.policy)}"\nsource = "{os.fspath(log.site)}"\n{in_log}\n' for log in logs
    )
    path.write_text(f'{more}\n{tables}\n[[command]]\nname = "program"\nrun = ["cat"]\n')
    return path


def monitor_of(path: Path, clock: Clock, taken: Taken, web: Web | None = None) -> Monitor:
    """Return a monitor with these settings; its state is made where there is none."""
    settings = read_settings(path)
    if not (settings.directory / "state.sqlite").exists():
        MonitorState.create(settings.directory)
    return Monitor(settings, clock=clock, deliver=taken, transport=web)
