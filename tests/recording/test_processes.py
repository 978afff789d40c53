"""The handler in whole programs: many threads, forks, other configurations, full disks, and the end of the program."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.incidents.test_r04_full_disk import OWN_MOUNTS, can_mount
from tests.recording.programs import check, messages_of, partition_at, report_of, run

MANY_THREADS = """
logging.config.dictConfig(config())
def work(thread):
    for number in range(200):
        log.info("%d.%d", thread, number, extra={"actor": f"user-{thread}"})
run_threads(500, work)
"""


def test_500_threads_lose_nothing(tmp_path: Path) -> None:
    """500 threads log 200 messages each and the program ends: every one is there once, each thread's in its order."""
    run(MANY_THREADS, tmp_path)
    partition = partition_at(tmp_path)
    check(partition)
    found: list[list[int]] = [[] for _ in range(500)]
    for entry in partition.entries():
        thread, number = json.loads(entry.raw_data)["message"].split(".")
        found[int(thread)].append(int(number))
    assert found == [list(range(200))] * 500


FORKS = """
logging.config.dictConfig(config(synchronous=sys.argv[2] == "synchronous"))
stop = threading.Event()
counts = [0] * 4
def work(thread):
    while not stop.is_set():
        log.info("parent %d.%d", thread, counts[thread])
        counts[thread] += 1
        time.sleep(0.0005)
threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
[thread.start() for thread in threads]
children = []
for child in range(12):
    pid = os.fork()
    if pid == 0:
        for number in range(5):
            log.info("child %d.%d", child, number)
        assert the_handler().counters.accepted == 5
        sys.exit(0)  # a normal end, which writes what the child has accepted
    children.append(pid)
    time.sleep(0.005)
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
stop.set()
[thread.join() for thread in threads]
print(json.dumps({"codes": codes, "counts": counts}))
"""


@pytest.mark.parametrize("way", ["background", "synchronous"])
def test_forks_while_other_threads_log(tmp_path: Path, way: str) -> None:
    """Children that are forked at any moment write their own messages, the parent its own, each once."""
    report = report_of(run(FORKS, tmp_path, way))
    assert report["codes"] == [0] * 12
    expected = [f"parent {thread}.{n}" for thread, count in enumerate(report["counts"]) for n in range(count)]
    expected += [f"child {child}.{n}" for child in range(12) for n in range(5)]
    partition = partition_at(tmp_path)
    check(partition)
    assert sorted(map(str, messages_of(partition))) == sorted(expected)


MULTIPROCESSING = """
import multiprocessing
def work(number):
    for step in range(3):
        log.info("child %d.%d", number, step)
logging.config.dictConfig(config())
log.info("parent")
context = multiprocessing.get_context("fork")
children = [context.Process(target=work, args=(number,)) for number in range(3)]
[child.start() for child in children]
[child.join() for child in children]
with context.Pool(2) as pool:
    pool.map(work, range(10, 14))
    pool.close()
    pool.join()
"""


def test_children_of_multiprocessing_write_what_they_accepted(tmp_path: Path) -> None:
    """They end with os._exit, without atexit; nothing is lost nevertheless."""
    run(MULTIPROCESSING, tmp_path)
    expected = ["parent", *(f"child {number}.{step}" for number in (0, 1, 2, 10, 11, 12, 13) for step in range(3))]
    assert sorted(map(str, messages_of(partition_at(tmp_path)))) == sorted(expected)


RELOAD = """
logging.config.dictConfig(config())
stop = threading.Event()
counts = [0] * 8
def work(thread):
    while not stop.is_set():
        log.info("%d.%d", thread, counts[thread])
        counts[thread] += 1
        time.sleep(0.0005)
threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
[thread.start() for thread in threads]
for round in range(10):
    time.sleep(0.02)
    logging.config.dictConfig(config(synchronous=round % 3 == 2, capacity=(1, 50, 10000)[round % 3]))
stop.set()
[thread.join() for thread in threads]
print(json.dumps(counts))
"""


def test_reloading_the_configuration_under_load(tmp_path: Path) -> None:
    """While eight threads log, dictConfig replaces the handler ten times: no deadlock, and no message twice.

    Between removing a handler and adding the next, logging itself has none, and what is logged then reaches nobody.
    """
    counts = json.loads(run(RELOAD, tmp_path).stdout)
    partition = partition_at(tmp_path)
    check(partition)
    found = messages_of(partition)
    assert len(set(found)) == len(found)
    assert set(found) <= {f"{thread}.{number}" for thread, count in enumerate(counts) for number in range(count)}
    assert len(found) > 500


RELOAD_HANDLER = """
logging.config.dictConfig(config(capacity=10))
old = the_handler()
done = threading.Event()
def work(thread):
    for number in range(500):
        old.handle(logging.makeLogRecord({"msg": f"{thread}.{number}", "levelno": 20, "name": "app"}))
threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
[thread.start() for thread in threads]
for round in range(20):
    logging.config.dictConfig(config())
[thread.join() for thread in threads]
"""


def test_a_handler_that_was_replaced_writes_what_threads_still_give_it(tmp_path: Path) -> None:
    """A configuration closes a handler that threads are inside of: what they hand over is written all the same."""
    run(RELOAD_HANDLER, tmp_path)
    found = messages_of(partition_at(tmp_path))
    assert sorted(map(str, found)) == sorted(f"{thread}.{number}" for thread in range(8) for number in range(500))


EXITS = {
    "end": "",
    "sys.exit": "sys.exit(0)",
    "sys.exit in a thread": "run_threads(1, lambda number: (log.info('thread'), sys.exit(0)))",
    "exception": "sys.excepthook = lambda *_: None\ndef fail():\n    raise SystemExit(0)\nfail()",
    "late thread": "def work():\n    time.sleep(0.2)\n    [log.info('late %d', n) for n in range(50)]\n"
    "threading.Thread(target=work).start()",
    "closed": "the_handler().close(); log.info('after close')",
    "shutdown": "logging.shutdown(); log.info('after shutdown')",
    "atexit before": "atexit.register(log.info, 'at exit')",
    "signal": "import signal\nsignal.signal(15, lambda *_: sys.exit(0))\nos.kill(os.getpid(), 15)",
}
MORE = {
    "sys.exit in a thread": ["thread"], "late thread": [f"late {n}" for n in range(50)], "closed": ["after close"],
    "shutdown": ["after shutdown"], "atexit before": ["at exit"],
}  # fmt: skip


@pytest.mark.parametrize("way", EXITS)
def test_the_end_of_a_program_loses_nothing(tmp_path: Path, way: str) -> None:
    """However a program ends by itself, what it has logged is written, though nobody closed the handler."""
    code = f"logging.config.dictConfig(config())\n[log.info('%d', n) for n in range(300)]\n{EXITS[way]}"
    run(code, tmp_path)
    assert messages_of(partition_at(tmp_path)) == [*map(str, range(300)), *MORE.get(way, [])]


def test_the_end_of_a_program_loses_nothing_without_logging(tmp_path: Path) -> None:
    """A writer that no handler belongs to, as middlewares have one, is flushed as well."""
    writer = "writer = tlog.BackgroundWriter.at(root, 'web', origin='audit.example.com')"
    run(f"{writer}\n[writer.put(n) for n in range(999)]", tmp_path)
    assert [entry.data for entry in partition_at(tmp_path).entries()] == list(range(999))


AFTER_FLUSH = """
early = atexit.register(lambda: log.info("registered before tlog was loaded"))
logging.config.dictConfig(config())
log.info("first")
"""


def test_what_atexit_functions_log_is_written(tmp_path: Path) -> None:
    """Functions that run after the last flush, because they were registered before, are heard as well."""
    run(AFTER_FLUSH, tmp_path)
    assert messages_of(partition_at(tmp_path)) == ["first", "registered before tlog was loaded"]


OUTAGE_AT_END = """
import tlog.recording.background, tlog.recording.lifecycle
tlog.recording.lifecycle.EXIT_TIMEOUT_S = tlog.recording.background.EXIT_TIMEOUT_S = 0.5
from tlog.storage.disk import Disk
logging.config.dictConfig(config(capacity=5))
log.info("stored")
the_handler().flush()
def fail(*_):
    raise tlog.StorageError("broken")
Disk.write_many_at = fail
def work():  # waits for room when the main thread ends
    for _ in range(20):
        log.info("never")
threading.Thread(target=work).start()
"""


def test_a_broken_disk_does_not_keep_a_program_from_ending(tmp_path: Path) -> None:
    """The end waits for a limited time, also for threads that wait for room, and then says what was lost."""
    done = run(OUTAGE_AT_END, tmp_path)
    assert "events were lost" in done.stderr
    assert messages_of(partition_at(tmp_path)) == ["stored"]


REENTRANT = """
from tlog.storage.disk import Disk
disk_log = logging.getLogger("app.disk")
sync = Disk.sync
def chatty(self, fd, path):
    disk_log.info("syncing")
    sync(self, fd, path)
Disk.sync = chatty
class Farewell:
    def __del__(self):
        log.info("farewell")
import gc, signal
gc.set_threshold(20)
logging.config.dictConfig(config(synchronous=sys.argv[2] == "synchronous", capacity=20))
signal.signal(signal.SIGALRM, lambda *_: log.info("signal"))
signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
def work(thread):
    for number in range(100):
        cycle = Farewell()
        cycle.itself = cycle
        log.info("%d.%d", thread, number)
run_threads(4, work)
work(4)
signal.setitimer(signal.ITIMER_REAL, 0, 0)
gc.set_threshold(0)
"""


@pytest.mark.parametrize("way", ["background", "synchronous"])
def test_logging_from_inside_of_logging(tmp_path: Path, way: str) -> None:
    """The log's own disk logs, destructors log whenever memory is collected, signals at any moment: no deadlock.

    All that the application logged itself is there.
    """
    run(REENTRANT, tmp_path, way)
    partition = partition_at(tmp_path)
    check(partition)
    found = Counter(map(str, messages_of(partition)))
    assert all(found[f"{thread}.{number}"] == 1 for thread in range(5) for number in range(100))
    assert found["signal"] > 0
    assert found["farewell"] > 0
    assert (found["syncing"] > 0) == (way == "synchronous")


SIGNALS = """
import signal
writer = tlog.BackgroundWriter.at(root, "web", origin="audit.example.com", capacity=10)
heard = []
signal.signal(signal.SIGALRM, lambda *_: heard.append(writer.put("signal")))
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0005)
for number in range(3000):
    writer.put(number)
signal.setitimer(signal.ITIMER_REAL, 0, 0)
assert writer.flush(20)
assert all(heard)
print(len(heard))
"""


def test_signal_handlers_that_put_events(tmp_path: Path) -> None:
    """A handler interrupts its thread at any moment, also while that one waits for room: no deadlock, nothing lost."""
    count = int(run(SIGNALS, tmp_path).stdout)
    data = [entry.data for entry in partition_at(tmp_path).entries()]
    assert [value for value in data if value != "signal"] == list(range(3000))
    assert data.count("signal") == count > 20


FULL = """
import resource, signal, subprocess
way = sys.argv[2]
if way == "tmpfs":
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", root], check=True)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ballast = os.path.join(root, "ballast")
def fill():
    if way == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        return
    with open(ballast, "ab", 0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
def free():
    if way == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        os.unlink(ballast)
tlog.Ledger.create(root, origin="audit.example.com", segment_entries=256).close()
synchronous = sys.argv[3] == "synchronous"
logging.config.dictConfig(config(synchronous=synchronous, capacity=500))
handler = the_handler()
failed = []
handler.handleError = lambda record: failed.append(record.getMessage())
for number in range(10):
    log.info("%d", number)
handler.flush()
fill()
for number in range(10, 300):
    log.info("%d", number)
if not synchronous:
    assert not handler.writer.flush(0.2)
during = handler.counters
free()
log.info("after")
assert handler.writer.flush(20)
partition = tlog.Ledger.open(root).partition("web")
size = partition.publish().tree_size
print(json.dumps({
    "waited": during.waiting, "failed": failed, "error": str(handler.writer.last_error),
    "messages": [entry.data["message"] for entry in partition.entries()],
    "verified": partition.verify().entries == size,
}))
"""


@pytest.mark.parametrize("way", ["limit", "tmpfs"] if can_mount() else ["limit"])
@pytest.mark.parametrize("mode", ["background", "synchronous"])
def test_a_full_disk(tmp_path: Path, way: str, mode: str) -> None:
    """In the background all messages wait for room on the disk; a synchronous call tells of what it could not store.

    tmpfs: a file system of 1 MiB, full. limit: no file may grow beyond a size.
    """
    report = report_of(run(FULL, tmp_path, way, mode, prefix=OWN_MOUNTS if way == "tmpfs" else ()))
    everything = [*map(str, range(300)), "after"]
    assert report["verified"]
    if mode == "background":
        assert report["waited"] > 0
        assert report["messages"] == everything
        assert ("No space left" if way == "tmpfs" else "File too large") in report["error"]
    else:
        assert report["failed"]
        assert len(set(report["messages"])) == len(report["messages"])
        assert set(everything) - set(report["failed"]) <= set(report["messages"])
        assert report["messages"][-1] == "after"
