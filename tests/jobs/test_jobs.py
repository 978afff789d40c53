"""Verifications in processes of their own: how they end, who may start one, what is left of them."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

import tlog
from tests.incidents.programs import run
from tests.ledgers import NAME, QuickDisk, create, flip
from tlog import jobs
from tlog.errors import FormatError, NotFoundError
from tlog.events import uuid7
from tlog.jobs import Job, JobRunsError, VerifyJobs
from tlog.names import SYSTEM_PARTITION

WAIT_S = 60.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[tlog.Ledger]:
    """A ledger with 600 published entries and 5 more."""
    partition = create(tmp_path / "ledger", disk=QuickDisk())
    partition.append_many({"event": number} for number in range(600))
    partition.publish()
    partition.append_many(range(5))
    partition.close()
    with tlog.Ledger.open(tmp_path / "ledger", disk=QuickDisk()) as opened:
        yield opened


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Give jobs a process that holds the lock and does nothing; returns those that were started."""
    started: list[subprocess.Popen[bytes]] = []

    def start(_: VerifyJobs, __: str, fd: int) -> None:
        started.append(subprocess.Popen(["sleep", "60"], pass_fds=[fd]))

    monkeypatch.setattr(VerifyJobs, "_run", start)
    return started


def ended(found: VerifyJobs, job: Job) -> Job:
    """The job when its process is done."""
    deadline = time.monotonic() + WAIT_S
    while (now := found.get(job.id)).state == "running":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return now


def test_a_sound_partition(ledger: tlog.Ledger) -> None:
    """The job tells what was checked, to this process and to others, and who asked is an entry."""
    found = VerifyJobs(ledger)
    job = found.start(NAME, asked_by="alice", writer="web-1")
    assert (job.state, job.entries, job.partition, job.asked_by) == ("running", 605, NAME, "alice")
    done = ended(found, job)
    checkpoint = ledger.partition(NAME).checkpoint()
    assert done.state == "verified"
    assert done.report == jobs.JobReport(605, 600, checkpoint.root_hash, 4, 5)
    assert (done.checked, done.failure, done.started) == (605, None, job.started)
    assert done.ended is not None
    assert done.ended >= done.started
    assert VerifyJobs(tlog.Ledger.open(ledger.path)).all() == [done]
    act = ledger.partition(SYSTEM_PARTITION).entry(0)
    assert (act.data["actor"], act.data["action"], act.data["target"]) == ("alice", "verify.start", NAME)
    assert (act.data["data"], act.meta) == ({"job": job.id}, {"writer": "web-1"})


def test_nothing_published(ledger: tlog.Ledger) -> None:
    """Where there is no checkpoint, the report says so."""
    ledger.partition("more").append(1)
    done = ended(VerifyJobs(ledger), VerifyJobs(ledger).start("more", asked_by="alice"))
    assert done.report == jobs.JobReport(1, None, None, 0, 1)


def test_the_first_bad_place(ledger: tlog.Ledger) -> None:
    """A flipped bit is found, with all that a VerificationError says; files are named relative to the ledger."""
    partition = ledger.partition(NAME)
    flip(partition.paths.plain(256), 8 * 500)
    with pytest.raises(tlog.VerificationError) as raised:
        partition.verify()
    done = ended(VerifyJobs(ledger), VerifyJobs(ledger).start(NAME, asked_by="alice"))
    assert (done.state, done.report) == ("failed", None)
    assert done.failure is not None
    assert raised.value.place is not None
    assert str(ledger.path) in raised.value.place
    assert done.failure == jobs.JobFailure(
        type(raised.value).__name__,
        raised.value.message,
        raised.value.place.replace(f"{ledger.path}/", ""),
        raised.value.seq,
        raised.value.expected,
        raised.value.found,
    )
    assert "partitions/users/segments" in str(done.failure.place)
    assert done.failure.seq in range(256, 300)


def test_what_keeps_a_job_from_its_end(ledger: tlog.Ledger, held: list[subprocess.Popen[bytes]]) -> None:
    """A partition that is gone meanwhile breaks the job, and so does a defect; neither is called a bad log."""
    found = VerifyJobs(ledger)
    job = found.start(NAME, asked_by="alice")
    held[0].kill()
    held[0].wait()
    ledger.partition(NAME).paths.root.rename(ledger.path / "away")
    found.run(job.id)
    broken = found.get(job.id)
    assert broken.failure is not None
    assert (broken.state, broken.failure.error) == ("broken", "NotFoundError")
    assert str(ledger.path) + os.sep not in broken.failure.message


def test_a_defect_is_no_bad_log(
    ledger: tlog.Ledger,
    held: list[subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """What is no error of tlog's ends the job as broken, and its trace goes to standard error."""
    found = VerifyJobs(ledger)
    job = found.start(NAME, asked_by="alice")
    held[0].kill()
    held[0].wait()
    monkeypatch.setattr(tlog.Partition, "verify", lambda *_, **__: 1 // 0)
    found.run(job.id)
    assert found.get(job.id).state == "broken"
    assert found.get(job.id).failure == jobs.JobFailure(
        "ZeroDivisionError", "tlog has a defect; the server's log has the trace"
    )
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_one_at_a_time(ledger: tlog.Ledger, held: list[subprocess.Popen[bytes]]) -> None:
    """While a job runs, no thread and no other process starts one, whatever the partition; they learn which it is."""
    found = VerifyJobs(ledger)
    outcomes: list[Job | str | None] = []

    def ask() -> Job | str | None:
        try:
            return VerifyJobs(ledger).start(NAME, asked_by="alice")
        except JobRunsError as err:
            return err.job

    with ThreadPoolExecutor(8) as pool:
        outcomes += [future.result() for future in [pool.submit(ask) for _ in range(8)]]
    (job,) = (outcome for outcome in outcomes if isinstance(outcome, Job))
    assert set(outcomes) <= {job, job.id, None}
    assert len(held) == 1
    other = (
        "import sys, tlog; from tlog.jobs import *; found = VerifyJobs(tlog.Ledger.open(sys.argv[1]))\n"
        "print(found.get(sys.argv[2]).state)\n"
        "try: found.start('tlog-system', asked_by='bob')\n"
        "except JobRunsError as err: print(err.job)\n"
    )
    assert run(other, ledger.path, job.id).split() == ["running", job.id]
    assert ledger.partition(SYSTEM_PARTITION).size == 1
    held[0].kill()
    held[0].wait()
    assert found.get(job.id).state == "broken"


def test_a_dead_process_is_noticed(ledger: tlog.Ledger, held: list[subprocess.Popen[bytes]]) -> None:
    """A job whose process was killed is broken, also while another one runs, and does not keep others from starting."""
    found = VerifyJobs(ledger)
    first = found.start(NAME, asked_by="alice")
    assert found.get(first.id) == first
    held[0].send_signal(signal.SIGKILL)
    held[0].wait()
    assert found.get(first.id).state == "broken"
    second = found.start(NAME, asked_by="alice")
    assert [job.state for job in found.all()] == ["running", "broken"]
    failure = found.get(first.id).failure
    assert failure is not None
    assert "ended before" in failure.message
    held[1].kill()
    held[1].wait()
    assert found.get(second.id).state == "broken"


def test_the_last_sixteen_are_kept(ledger: tlog.Ledger, held: list[subprocess.Popen[bytes]]) -> None:
    """The seventeenth job drops the first; other files in the directory stay."""
    found = VerifyJobs(ledger)
    started = []
    for _ in range(jobs.MAX_JOBS + 1):
        started.append(found.start(NAME, asked_by="alice"))
        held[-1].kill()
        held[-1].wait()
    assert [job.id for job in found.all()] == [job.id for job in reversed(started[1:])]
    with pytest.raises(NotFoundError):
        found.get(started[0].id)
    assert (ledger.path / "jobs" / "lock").exists()


def test_progress_is_written(ledger: tlog.Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """How far a job has come can be read while it runs, and only grows; files are replaced whole and private."""
    found = VerifyJobs(ledger)
    job = ended(found, found.start(NAME, asked_by="alice"))
    monkeypatch.setattr(jobs, "PROGRESS_INTERVAL_S", 0)
    seen: list[Job] = []
    write = VerifyJobs._write

    def seen_write(self: VerifyJobs, job: Job) -> None:
        write(self, job)
        seen.append(self._read(job.id))

    monkeypatch.setattr(VerifyJobs, "_write", seen_write)
    write(found, replace(job, state="running", checked=0, ended=None, report=None))
    found.run(job.id)
    counts = [job.checked for job in seen]
    assert counts == sorted(counts)
    assert len(set(counts)) > 1
    assert {job.state for job in seen[:-1]} == {"running"}
    assert seen[-1].state == "verified"
    assert (ledger.path / "jobs" / f"{job.id}.json").stat().st_mode & 0o077 == 0


NO_JOB = "01a1ff0e-8d9c-7101-bf84-1eccfeb7ab84"


@pytest.mark.parametrize("name", ["", "..", "lock", "../tlog", "x" * 36, "0" * 36, NO_JOB.upper(), NO_JOB + "\n"])
def test_names_that_are_no_jobs(ledger: tlog.Ledger, name: str) -> None:
    """Whatever is asked for, no file but a job's is looked at."""
    with pytest.raises(NotFoundError):
        VerifyJobs(ledger).get(name)
    with pytest.raises(NotFoundError):
        VerifyJobs(ledger).get(uuid7())


def test_there_must_be_a_partition(ledger: tlog.Ledger) -> None:
    """What cannot be verified is refused before anything is recorded or started."""
    with pytest.raises(NotFoundError):
        VerifyJobs(ledger).start("none", asked_by="alice")
    with pytest.raises(FormatError):
        VerifyJobs(ledger).start("../x", asked_by="alice")
    assert not (ledger.path / "jobs").exists()
    assert VerifyJobs(ledger).all() == []


def test_nothing_runs_that_is_not_recorded(ledger: tlog.Ledger, held: list[subprocess.Popen[bytes]]) -> None:
    """Where the act cannot be recorded, no process is started, and the next one is not kept waiting."""
    with pytest.raises(FormatError):
        VerifyJobs(ledger).start(NAME, asked_by="")
    assert held == []
    assert VerifyJobs(ledger).all() == []
    with (ledger.path / "jobs" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:0],
        lambda raw: raw[:-1],
        lambda raw: raw.replace(b'"verified"', b'"good"'),
        lambda raw: raw.replace(b'"entries":605', b'"entries":"605"', 1),
        lambda raw: json.dumps({**json.loads(raw), "id": uuid7()}).encode(),
        lambda raw: b"\xff" + raw,
        lambda raw: b"[" * (len(raw) * 50),
        lambda raw: raw + b" " * jobs.MAX_FILE_SIZE,
    ],
)
def test_files_that_are_no_jobs(ledger: tlog.Ledger, damage: Callable[[bytes], bytes]) -> None:
    """A file that is cut off, of other types, of another job, or huge is refused by name."""
    found = VerifyJobs(ledger)
    job = Job(uuid7(), NAME, "verified", "alice", "", 605, report=jobs.JobReport(605, None, None, 0, 5))
    path = ledger.path / "jobs" / f"{job.id}.json"
    path.parent.mkdir()
    path.write_bytes(msgspec.json.encode(job))
    assert found.get(job.id) == job
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FormatError, match=job.id):
        found.get(job.id)
