from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import tlog
from tests.ledgers import ORIGIN

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import sys
import tlog
log = tlog.AuditLog.open(sys.argv[1], origin="audit.example.com")
number = 0
while True:
    receipt = log.info(f"m{number}")
    print(receipt.seq, flush=True)
    number += 1
"""

EXITS = """
import sys
import tlog
log = tlog.AuditLog.open(sys.argv[1], origin="audit.example.com")
with log.recording("job.run", actor="cron"):
    sys.exit(3)
"""


def test_a_program_that_is_killed(tmp_path: Path) -> None:
    """Whatever a call has returned for is there after kill -9, and the next program goes on with the same chain."""
    for start in (0, 1):
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / "l")]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            told = [int(program.stdout.readline()) for _ in range(20)]
            program.send_signal(signal.SIGKILL)
            told += [int(line) for line in program.stdout.read().splitlines()]
        with tlog.AuditLog.open(tmp_path / "l") as trail:
            trail.publish()
            report = trail.verify()
            assert report.entries >= told[-1] + 1
            assert report.is_anchored == (start > 0)
            assert told == list(range(told[0], told[0] + len(told)))


def test_a_program_that_exits_within_a_call(tmp_path: Path) -> None:
    """The call is recorded as a failure, and the program ends as it wanted to."""
    done = subprocess.run([sys.executable, "-c", EXITS, str(tmp_path / "l")], cwd=ROOT, check=False)
    assert done.returncode == 3
    with tlog.AuditLog.open(tmp_path / "l") as trail:
        event = tlog.Event.from_data(trail.partition.entry(0).data)
        assert (event.action, event.actor, event.outcome) == ("job.run", "cron", "failure")
        assert event.error is not None
        assert (event.error.type, event.error.message) == ("SystemExit", "3")


def test_forks_while_other_threads_record(tmp_path: Path) -> None:
    """Children that are forked at any moment record, read and search as their parent does; nothing is lost or twice."""
    with tlog.AuditLog.open(tmp_path / "l", origin=ORIGIN) as trail:
        trail.info("first")
        assert len(trail.read(level="info")) == 1  # the parent's index is open
        stop, counts = threading.Event(), [0, 0, 0]

        def work(thread: int) -> None:
            while not stop.is_set():
                trail.info(f"parent {thread}.{counts[thread]}")
                counts[thread] += 1

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        children = []
        for child in range(6):
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    signal.alarm(20)
                    for number in range(3):
                        trail.info(f"child {child}.{number}", {"pid": os.getpid()})
                    found = trail.search(f'text="child {child}"')
                    code = 0 if len(found.hits) == 3 and trail.read(1) else 2
                finally:
                    os._exit(code)
            children.append(pid)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
        stop.set()
        for thread in threads:
            thread.join()
        assert codes == [0] * 6
        expected = ["first"] + [f"parent {thread}.{n}" for thread, count in enumerate(counts) for n in range(count)]
        expected += [f"child {child}.{n}" for child in range(6) for n in range(3)]
        entries = list(trail.partition.entries())
        assert sorted(entry.data["message"] for entry in entries) == sorted(expected)
        for entry in entries:
            if "pid" in entry.data["data"]:
                assert entry.data["data"]["log"]["process"] == entry.data["data"]["pid"]
        trail.publish()
        assert trail.verify().entries == len(expected)


def test_a_fork_while_a_thread_holds_every_lock(tmp_path: Path) -> None:
    """Locks that another thread holds at the fork are not waited for in the child: it opens everything anew."""
    with tlog.AuditLog.open(tmp_path / "l", origin=ORIGIN) as log:
        log.info("first")
        log.search("first")
        index: Any = log._index
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            with log._mutex, index._store._mutex, log._appender._mutex:
                held.set()
                done.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                signal.alarm(10)
                log.info("second")
                code = 0 if [hit.entry.seq for hit in log.search("second").hits] == [1] and len(log.read()) == 2 else 2
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        done.set()
        thread.join()
        assert code == 0
