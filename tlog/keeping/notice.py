"""The notice of the keeper that leads: what it could not do, for the other processes of the ledger.

It is a small file that is replaced whole and never synced: after a crash it means nothing, because whoever leads then
writes another one. It is believed only while somebody leads. Source: docs/formats.md, "Ledger directory".
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tlog.errors import FormatError, NotFoundError
from tlog.storage.disk import TEMPORARY_SUFFIX, Files

NOTICE_NAME = "keeper.json"
LOCK_NAME = "keeper.lock"

MAX_NOTICE_SIZE = 1 << 21
MAX_NAMED = 50
"""Partitions in trouble that a notice names; the others are counted."""

MAX_WITNESSES = 10
"""Missing witnesses of a partition that a notice names."""

MAX_REASON = 300
"""Characters of what a notice says about each."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What the leading keeper says.

    process: its number. beat: seconds on the machine's monotonic clock when it said so. publishing, indexing: by
    partition, why its checkpoint is not published or its index not kept; at most MAX_NAMED each. troubled: how many
    partitions are in trouble. blocked: how many of them are not published for another reason than missing witnesses.
    missing: by partition, why each witness that is missing did not cosign the last time; at most MAX_NAMED partitions,
    and MAX_WITNESSES of each.
    """

    process: int
    beat: float
    publishing: Mapping[str, str] = field(default_factory=dict)
    indexing: Mapping[str, str] = field(default_factory=dict)
    troubled: int = 0
    blocked: int = 0
    missing: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def age_s(self) -> float:
        """Seconds since it was written; infinite for one of another boot of the machine."""
        age = time.monotonic() - self.beat
        return age if age >= 0 else float("inf")


def write_notice(
    files: Files,
    ledger: Path,
    publishing: Mapping[str, str],
    indexing: Mapping[str, str],
    *,
    blocked: int,
    missing: Mapping[str, Mapping[str, str]],
) -> None:
    """Replace the notice. publishing, indexing, blocked, missing: as in `Notice`, of any number and length.

    Raises: StorageError.
    """
    fields = {
        "process": os.getpid(),
        "beat": time.monotonic(),
        "publishing": _shortened(publishing),
        "indexing": _shortened(indexing),
        "troubled": len(publishing.keys() | indexing.keys()),
        "blocked": blocked,
        "missing": {name: _shortened(missing[name], MAX_WITNESSES) for name in sorted(missing)[:MAX_NAMED]},
    }
    path = ledger / NOTICE_NAME
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    with files.opened(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
        files.disk.write(fd, json.dumps(fields).encode() + b"\n", temporary)
    files.disk.rename(temporary, path)


def read_notice(files: Files, ledger: Path) -> Notice | None:
    """Return the notice; None where there is none, or none that this version can read. Raises: StorageError."""
    try:
        fields = json.loads(files.read(ledger / NOTICE_NAME, MAX_NOTICE_SIZE))
        return Notice(
            int(fields["process"]),
            float(fields["beat"]),
            _texts(fields["publishing"]),
            _texts(fields["indexing"]),
            int(fields["troubled"]),
            int(fields["blocked"]),
            {str(name): _texts(reasons) for name, reasons in fields["missing"].items()},
        )
    except (NotFoundError, FormatError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def is_led(files: Files, ledger: Path) -> bool:
    """Whether some process leads. Cost: the lock is taken for an instant where nobody does. Raises: StorageError."""
    try:
        with files.opened(ledger / LOCK_NAME, os.O_RDONLY) as fd:
            return not _take_for_an_instant(files, fd, ledger / LOCK_NAME)
    except NotFoundError:
        return False


def _take_for_an_instant(files: Files, fd: int, path: Path) -> bool:
    if not files.disk.try_lock(fd, path):
        return False
    files.disk.unlock(fd)
    return True


def _texts(reasons: Mapping[str, str]) -> dict[str, str]:
    return {str(name): str(reason) for name, reason in reasons.items()}


def _shortened(reasons: Mapping[str, str], most: int = MAX_NAMED) -> dict[str, str]:
    return {name: reasons[name][:MAX_REASON] for name in sorted(reasons)[:most]}
