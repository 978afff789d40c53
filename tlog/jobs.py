"""Verifying a partition in a process of its own, on behalf of somebody who asks later how it went.

    job = VerifyJobs(ledger).start("users", asked_by="alice")
    VerifyJobs(ledger).get(job.id).state  # from any process; "running" at first

One job runs at a time in a ledger. Its process holds the lock of `<ledger>/jobs/` from before the job is known until
its end is, so that a job whose process died is told from one that runs. It is started anew, not forked: whoever asks
may have threads. It is nice to other processes, and goes on when the one that started it ends.
Source: docs/formats.md, "Ledger directory".
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from tlog.audit import Report
from tlog.errors import ConflictError, Error, FormatError, NotFoundError, StorageError, VerificationError
from tlog.events import now, uuid7
from tlog.ledger import Ledger
from tlog.storage.disk import Files
from tlog.system import record_act

State = Literal["running", "verified", "failed", "broken"]

MAX_JOBS = 16
"""Jobs that are kept, the running one included."""

PROGRESS_INTERVAL_S = 1.0
NICENESS = 10
MAX_FILE_SIZE = 1 << 16

LOCK_TRIES = 10
LOCK_PAUSE_S = 0.02
"""Whoever looks whether a job runs holds the lock for an instant."""

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)
_DIED = "its process ended before it was done; ask for another verification"


class JobRunsError(ConflictError):
    """Another verification runs in this ledger. job: its id, None where it is about to begin."""

    def __init__(self, job: str | None) -> None:
        super().__init__(f"verification {job or ''} runs already; one runs at a time in a ledger".replace("  ", " "))
        self.job = job


@dataclass(frozen=True, slots=True)
class JobReport:
    """What was checked and found right; as `tlog.audit.Report`, against no checkpoint that was kept elsewhere.

    entries: whose chain holds. tree_size, root_hash: of the published checkpoint, None where there is none. tiles: how
    many were compared. unpublished: entries that no checkpoint covers.
    """

    entries: int
    tree_size: int | None
    root_hash: bytes | None
    tiles: int
    unpublished: int


@dataclass(frozen=True, slots=True)
class JobFailure:
    """What was found wrong first. error: class of `tlog.errors`. The others: as VerificationError has them.

    Files are named relative to the ledger.
    """

    error: str
    message: str
    place: str | None = None
    seq: int | None = None
    expected: str | None = None
    found: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One verification.

    id: a UUIDv7. state: running; verified, with a report; failed, with the first bad place; or broken, where it could
    not be brought to an end, with the reason. asked_by: who wanted it. started, ended: UTC times. entries: durable when
    it began. checked: how far it has come, at most PROGRESS_INTERVAL_S ago.
    """

    id: str
    partition: str
    state: State
    asked_by: str
    started: str
    entries: int
    checked: int = 0
    ended: str | None = None
    report: JobReport | None = None
    failure: JobFailure | None = None

    def to_fields(self) -> dict[str, Any]:
        """Return what is shown: the id as `job`, the root hash in base64."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return {"job": fields.pop("id"), **fields}


class VerifyJobs:
    """The verifications of a ledger, of all processes. It may be used from several threads."""

    def __init__(self, ledger: Ledger) -> None:
        """ledger: stays the caller's."""
        self._ledger = ledger
        self._files: Files = ledger.files
        self._directory = ledger.path / "jobs"
        self._lock = self._directory / "lock"

    def start(self, partition: str, *, asked_by: str, writer: str | None = None) -> Job:
        """Start to verify a partition, and return when that is recorded in the system partition.

        asked_by: who wants it. writer: who was authenticated, where it was asked for over the network.
        Raises: NotFoundError where there is no such partition, JobRunsError where another verification runs;
        FormatError, StorageError, CommitUnknownError, CorruptLedgerError where the act cannot be recorded: nothing is
        started then. Cost: an append and the start of a process.
        """
        found = self._ledger.existing(partition)
        fd = self._take_lock()
        try:
            job = Job(uuid7(), partition, "running", asked_by, now(), found.size)
            self._write_holder(fd, job.id)
            record_act(
                self._ledger, "verify.start", actor=asked_by, target=partition, data={"job": job.id}, writer=writer
            )
            self._write(job)
            for old in self._ids()[:-MAX_JOBS]:
                self._files.disk.unlink(self._path(old))
            self._run(job.id, fd)
        finally:
            self._files.disk.close(fd)  # the job's process has it too, and keeps the lock
        return job

    def get(self, job: str) -> Job:
        """Return a job as it is now. Raises: NotFoundError where there is none, or it was dropped; FormatError."""
        found = self._read(job)
        if found.state != "running" or self._is_held_by(job):
            return found
        found = self._read(job)  # it may have ended between the two looks
        if found.state != "running":
            return found
        return replace(found, state="broken", failure=JobFailure("ProcessDied", _DIED))

    def all(self) -> list[Job]:
        """Return the jobs that are kept, the latest first. Raises: FormatError, StorageError."""
        found = []
        for job in reversed(self._ids()):
            with contextlib.suppress(NotFoundError):  # dropped meanwhile
                found.append(self.get(job))
        return found

    def run(self, job: str) -> None:
        """Do what a job wants and write how it ended. For the job's own process, which holds the lock."""
        work = self._read(job)
        told = time.monotonic()

        def tell(checked: int) -> None:
            nonlocal told
            if time.monotonic() >= told + PROGRESS_INTERVAL_S:
                self._write(replace(work, checked=checked))
                told = time.monotonic()

        try:
            report = _shown(self._ledger.existing(work.partition).verify(progress=tell))
            ended = replace(work, state="verified", checked=report.entries, report=report)
        except Error as err:
            state: State = "failed" if isinstance(err, VerificationError) else "broken"
            ended = replace(self._read(job), state=state, failure=self._failure(err))
        except Exception as err:  # noqa: BLE001 - the outermost place of the process
            traceback.print_exception(err)
            failure = JobFailure(type(err).__name__, "tlog has a defect; the server's log has the trace")
            ended = replace(self._read(job), state="broken", failure=failure)
        self._write(replace(ended, ended=now()))

    def _failure(self, err: Error) -> JobFailure:
        kind = type(err).__name__
        if not isinstance(err, VerificationError):
            return JobFailure(kind, self._relative(str(err)))
        place = None if err.place is None else self._relative(err.place)
        return JobFailure(kind, self._relative(err.message), place, err.seq, err.expected, err.found)

    def _relative(self, text: str) -> str:
        return text.replace(f"{self._ledger.path}{os.sep}", "")

    def _run(self, job: str, fd: int) -> None:
        """Start the job's process, which gets the lock. Raises: StorageError."""
        command = [sys.executable, "-m", "tlog.jobs", str(self._ledger.path), job]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            process = subprocess.Popen(  # noqa: S603 - our own program
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[fd],
                start_new_session=True,
            )
        except OSError as err:
            raise StorageError(f"the verification cannot be started: {err.strerror}") from err
        threading.Thread(target=process.wait, name=f"tlog-job-{job}", daemon=True).start()

    # The lock, whose file names the job that holds it

    def _take_lock(self) -> int:
        self._files.ensure_dir(self._directory, 0o700)
        fd = self._files.disk.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        for _ in range(LOCK_TRIES):
            if self._files.disk.try_lock(fd, self._lock):
                return fd
            time.sleep(LOCK_PAUSE_S)
        holder = self._holder(fd)
        self._files.disk.close(fd)
        raise JobRunsError(holder)

    def _write_holder(self, fd: int, job: str) -> None:
        self._files.disk.write_at(fd, job.encode(), 0, self._lock)

    def _holder(self, fd: int) -> str | None:
        text = self._files.disk.read_at(fd, 64, 0, self._lock).decode("ascii", "replace")
        return text if _ID.fullmatch(text) else None

    def _is_held_by(self, job: str) -> bool:
        try:
            with self._files.opened(self._lock) as fd:
                if self._files.disk.try_lock(fd, self._lock):
                    return False
                return self._holder(fd) == job
        except NotFoundError:
            return False

    # The files

    def _ids(self) -> list[str]:
        """Return the ids of the jobs, the oldest first."""
        names = self._files.disk.list_dir(self._directory)
        return [name.removesuffix(".json") for name in names if _ID.fullmatch(name.removesuffix(".json"))]

    def _path(self, job: str) -> Path:
        return self._directory / f"{job}.json"

    def _read(self, job: str) -> Job:
        if _ID.fullmatch(job) is None:
            raise NotFoundError(f"job {job[:40]!r}: there is none")
        path = self._path(job)
        raw = self._files.read(path, MAX_FILE_SIZE)
        try:
            found = msgspec.json.decode(raw, type=Job)
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as err:
            raise FormatError(str(path), f"is no job ({err})") from err
        if found.id != job:
            raise FormatError(str(path), f"is the job {found.id[:40]!r}")
        return found

    def _write(self, job: Job) -> None:
        self._files.replace(self._path(job.id), msgspec.json.encode(job), 0o600)


def _shown(report: Report) -> JobReport:
    published = report.published
    return JobReport(
        report.entries,
        None if published is None else published.tree_size,
        None if published is None else published.root_hash,
        report.tiles,
        report.unpublished,
    )


def main(words: Sequence[str]) -> None:
    """Run a job: the program of its process. words: the ledger's directory and the job's id."""
    os.nice(NICENESS)
    path, job = words
    with Ledger.open(path) as ledger:
        VerifyJobs(ledger).run(job)


if __name__ == "__main__":
    main(sys.argv[1:])
