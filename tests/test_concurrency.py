from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ledgers import NAME, create, lines_of, make_ledger, opened
from tlog import Ledger, Partition, Policy, verify_proof
from tlog.errors import Error
from tlog.receipt import Receipt

Told = list[tuple[object, int, bytes]]
"""What clients were told: data, seq, hash."""

APPENDER = """
import json, sys, threading
from tlog import Ledger
path, process, threads, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
partition = Ledger.open(path).partition("users")
told = []
def work(thread):
    for number in range(count):
        data = [process, thread, number]
        receipt = partition.append(data)
        told.append((data, receipt.seq, receipt.hash.hex()))
sys.stdin.readline()
workers = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
[worker.start() for worker in workers]
[worker.join() for worker in workers]
print(json.dumps(told))
"""


@pytest.fixture(autouse=True)
def _no_test_hangs() -> Iterator[None]:
    """End a deadlocked test with an error."""

    def stop(_number: int, _frame: object) -> None:
        raise TimeoutError("the test hangs")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)


def run_threads(*works: Callable[[], None]) -> None:
    """Run each of `works` in a thread of its own; raise the first error that one of them raised."""
    errors: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as err:  # noqa: BLE001 - raised below
            errors.append(err)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def audit(partition: Partition, told: Told) -> None:
    """Check the whole log against what clients were told: no gap, nothing twice, every receipt right."""
    partition.publish()
    entries = list(partition.entries())
    assert [entry.seq for entry in entries] == list(range(len(told)))
    assert sorted(seq for _, seq, _ in told) == list(range(len(told)))
    for data, seq, chain_hash in told:
        assert entries[seq].data == data
        assert entries[seq].hash == chain_hash
    assert partition.verify().entries == len(told)
    report = partition.fsck()
    assert report.is_clean, report.findings
    assert report.findings == ()


def start_appenders(path: Path, processes: int, threads: int, count: int) -> list[subprocess.Popen[str]]:
    """Start processes that append when they are told to."""
    root = str(Path(__file__).resolve().parent.parent)
    return [
        subprocess.Popen(
            [sys.executable, "-c", APPENDER, str(path), str(number), str(threads), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=root,
        )
        for number in range(processes)
    ]


def finish(processes: list[subprocess.Popen[str]]) -> Told:
    """Let the processes begin, and return what they were told."""
    told: Told = []
    for process in processes:
        if process.stdin is None:
            raise AssertionError("started with a pipe")
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        out, err = process.communicate(timeout=50)
        assert process.returncode == 0, err
        told += [(data, seq, bytes.fromhex(text)) for data, seq, text in json.loads(out)]
    return told


def test_sixteen_threads(tmp_path: Path) -> None:
    """16 threads that append one by one, submit, and append in bulk get one gapless chain and right receipts."""
    partition = create(tmp_path)
    told: Told = []

    def one_by_one(thread: int) -> None:
        for number in range(40):
            receipt = partition.append([thread, number])
            told.append(([thread, number], receipt.seq, receipt.hash))

    def submitted(thread: int) -> None:
        pending = [([thread, number], partition.submit([thread, number])) for number in range(60)]
        for data, future in pending:
            receipt = future.result(timeout=30)
            assert isinstance(receipt, Receipt)
            told.append((data, receipt.seq, receipt.hash))

    bulk: list[int] = []

    def in_bulk(thread: int) -> None:
        receipt = partition.append_many([thread, number] for number in range(300))
        assert receipt.count == 300
        assert receipt.stop - receipt.start >= 300
        assert partition.entry(receipt.stop - 1).hash == receipt.hash
        bulk.append(receipt.count)

    run_threads(
        *(lambda thread=thread: one_by_one(thread) for thread in range(8)),
        *(lambda thread=thread: submitted(thread) for thread in range(8, 14)),
        *(lambda thread=thread: in_bulk(thread) for thread in range(14, 16)),
    )
    known = {seq for _, seq, _ in told}
    rest = [entry for entry in partition.entries() if entry.seq not in known]
    assert len(rest) == sum(bulk) == 600
    for thread in (14, 15):  # a bulk append keeps its order
        assert [entry.data[1] for entry in rest if entry.data[0] == thread] == list(range(300))
    audit(partition, [*told, *((entry.data, entry.seq, entry.hash) for entry in rest)])


def test_four_processes_with_four_threads_each(tmp_path: Path) -> None:
    """16 threads in 4 processes appending at once get one gapless chain, and every receipt is right."""
    make_ledger(tmp_path / "l", [1])
    told = finish(start_appenders(tmp_path / "l", 4, 4, 30))
    assert len(told) == 480
    partition = opened(tmp_path / "l")
    first = partition.entry(0)
    audit(partition, [(first.data, 0, first.hash), *told])


def test_processes_that_create_the_partition_at_once(tmp_path: Path) -> None:
    """4 processes whose first append creates the partition end up with one key and one chain."""
    for round_number in range(3):
        path = tmp_path / str(round_number)
        create(path)
        told = finish(start_appenders(path, 4, 1, 5))
        audit(opened(path), told)


def test_threads_that_create_the_partition_at_once(tmp_path: Path) -> None:
    """The same with ledger objects of their own in one process."""
    create(tmp_path)
    partitions = [opened(tmp_path) for _ in range(8)]
    run_threads(*(lambda partition=partition: partition.append(1) for partition in partitions))
    assert [entry.seq for entry in partitions[0].entries()] == list(range(8))
    assert partitions[0].publish().tree_size == 8
    assert partitions[1].fsck().findings == ()


def test_publishing_while_threads_append(tmp_path: Path) -> None:
    """A publisher, provers and appenders in one process do not disturb each other.

    R12: every proof verifies against the very checkpoint that came with it.
    """
    partition = create(tmp_path)
    partition.append([0, 0])
    partition.publish()
    policy = Policy.for_log(partition.vkey)
    told: Told = []
    stop = threading.Event()

    def append(thread: int) -> None:
        try:
            for number in range(200):
                receipt = partition.append([thread, number])
                told.append(([thread, number], receipt.seq, receipt.hash))
        finally:
            stop.set()

    def publish() -> None:
        sizes = [0]
        while not stop.is_set():
            sizes.append(partition.publish().tree_size)
        assert sizes == sorted(sizes)

    def prove() -> None:
        while not stop.is_set():
            size = partition.checkpoint().tree_size
            for seq in {0, size // 2, size - 1}:
                proof = partition.prove(seq)
                assert verify_proof(str(proof), policy=policy).leaf_index == seq
            consistency = partition.prove_consistency(1)
            assert consistency.checkpoint.tree_size >= size

    def read() -> None:
        while not stop.is_set():
            seqs = [entry.seq for entry in partition.entries()]
            assert seqs == list(range(len(seqs)))

    run_threads(
        *(lambda thread=thread: append(thread) for thread in (1, 2, 3)),
        publish,
        prove,
        read,
    )
    first = partition.entry(0)
    audit(partition, [([0, 0], 0, first.hash), *told])


def test_closing_while_threads_append(tmp_path: Path) -> None:
    """Closing and reopening in one thread while others append loses nothing and writes nothing elsewhere."""
    partition = create(tmp_path)
    partition.append([0, 0])
    told: Told = []
    done = threading.Event()

    def append(thread: int) -> None:
        try:
            for number in range(150):
                receipt = partition.append([thread, number])
                told.append(([thread, number], receipt.seq, receipt.hash))
        finally:
            done.set()

    def close() -> None:
        while not done.is_set():
            partition.close()
            partition.reopen()

    run_threads(*(lambda thread=thread: append(thread) for thread in (1, 2, 3)), close)
    first = partition.entry(0)
    audit(partition, [([0, 0], 0, first.hash), *told])


def test_two_writers_in_one_process(tmp_path: Path) -> None:
    """Two ledger objects on one directory take turns, entry by entry, across segments."""
    make_ledger(tmp_path, [250])
    first, second = opened(tmp_path), opened(tmp_path)
    for number in range(250, 530, 2):
        assert first.append(number).seq == number
        assert second.append(number + 1).seq == number + 1
    assert second.publish().tree_size == 530
    assert first.publish().tree_size == 530
    assert first.verify().entries == 530
    assert first.fsck().findings == ()


def in_child(work: Callable[[], None]) -> None:
    """Run `work` in a forked child; fail where it failed."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as err:  # noqa: BLE001 - a child must not run the test runner
            os.write(2, repr(err).encode())
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_fork_after_append(tmp_path: Path) -> None:
    """After a fork, parent and child both append, submit and publish, each with files of its own."""
    partition = create(tmp_path)
    assert partition.append("parent").seq == 0
    assert partition.submit("parent").result().seq == 1

    def child() -> None:
        assert partition.append("child").seq == 2
        assert partition.submit("child").result(timeout=10).seq == 3
        assert partition.publish().tree_size == 4
        partition.close()

    in_child(child)
    assert partition.append("parent").seq == 4
    assert partition.submit("parent").result().seq == 5
    assert partition.publish().tree_size == 6
    assert [entry.data for entry in partition.entries()] == ["parent", "parent", "child", "child", "parent", "parent"]
    assert partition.fsck().findings == ()


def test_a_child_forked_while_publishing_holds_no_lock(tmp_path: Path) -> None:
    """A child that was forked while the key was locked, and lives on, keeps nobody from signing."""
    partition = create(tmp_path)
    partition.append(1)
    children: list[int] = []

    def fork_once(_done: int) -> None:
        if not children:
            pid = os.fork()
            if pid == 0:
                signal.alarm(0)
                time.sleep(30)
                os._exit(0)
            children.append(pid)

    partition.publish(progress=fork_once)
    assert len(children) == 1
    try:
        partition.append(2)
        start = time.monotonic()
        assert partition.publish().tree_size == 2
        assert time.monotonic() - start < 5
    finally:
        os.kill(children[0], signal.SIGKILL)
        os.waitpid(children[0], 0)


HOLDER = """
import sys, time
from tlog import Ledger
from tlog.storage.disk import Disk
class Stuck(Disk):
    def {method}(self, *arguments):
        if {condition}:
            print("holding", flush=True)
            time.sleep(60)
        return super().{method}(*arguments)
partition = Ledger.open(sys.argv[1], disk=Stuck()).partition("users")
partition.{action}
"""


@pytest.mark.parametrize(
    ("method", "condition", "action", "survives"),
    [
        ("sync", "'segments' in str(arguments[-1])", 'append("killed")', True),
        ("write_many_at", "'segments' in str(arguments[-1])", 'append("killed")', False),
        ("rename", "arguments[1].name == 'checkpoint'", "publish()", False),
        ("rename", "arguments[1].name == 'users.signed'", "publish()", False),
    ],
)
def test_a_killed_holder_of_the_lock_blocks_nobody(
    tmp_path: Path,
    method: str,
    condition: str,
    action: str,
    survives: bool,
) -> None:
    """Kill -9 of a process that is within a commit or a publication: the next one recovers and goes on."""
    make_ledger(tmp_path, [3], more=1)
    waiting = opened(tmp_path)
    assert waiting.append("before").seq == 4
    code = HOLDER.format(method=method, condition=condition, action=action)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parent.parent,
    )
    if process.stdout is None:
        raise AssertionError("started with a pipe")
    assert process.stdout.readline() == "holding\n"
    process.kill()
    process.communicate()
    expected = 6 if survives else 5
    start = time.monotonic()
    assert waiting.append("after").seq == expected
    assert time.monotonic() - start < 5
    assert waiting.publish().tree_size == expected + 1
    assert opened(tmp_path).append("later").seq == expected + 1
    assert len(lines_of(waiting)) == expected + 2
    assert waiting.fsck().findings == ()


def test_followers_see_only_durable_entries_in_order(tmp_path: Path) -> None:
    """A reader that follows while others write gets every entry once, in order."""
    partition = create(tmp_path)
    partition.append(0)
    seen: list[int] = []
    reader = Ledger.open(tmp_path).partition(NAME)
    stop = threading.Event()

    def follow() -> None:
        for entry in reader.follow(0, stop=stop):
            seen.append(entry.data)
            if len(seen) == 600:
                stop.set()

    def write() -> None:
        partition.append_many(range(1, 300))
        for number in range(300, 350):
            partition.append(number)
        partition.append_many(range(350, 600))

    run_threads(follow, write)
    assert seen == list(range(600))


def test_submitted_entries_are_written_on_close(tmp_path: Path) -> None:
    """close() writes what was submitted; the receipts are there afterwards."""
    partition = create(tmp_path)
    pending = [partition.submit(number) for number in range(100)]
    partition.close()
    assert all(future.done() for future in pending)
    assert [future.result().seq for future in pending] == list(range(100))
    assert [entry.data for entry in opened(tmp_path).entries()] == list(range(100))


def test_a_refused_entry_leaves_the_others_of_its_group_alone(tmp_path: Path) -> None:
    """Among threads that append at once, only the one whose data is refused hears of it."""
    partition = create(tmp_path)
    refused: list[Error] = []

    def bad() -> None:
        for _ in range(20):
            with pytest.raises(Error, match=r"data\.x") as caught:
                partition.append({"x": float("nan")})
            refused.append(caught.value)

    def good() -> None:
        for number in range(20):
            partition.append(number)

    run_threads(bad, good, good, good)
    assert len(refused) == 20
    assert sorted(entry.data for entry in partition.entries()) == sorted(list(range(20)) * 3)
