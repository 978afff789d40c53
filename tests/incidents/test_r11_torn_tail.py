"""R11, CompactLog and s2-lite: acknowledged without being durable, and a torn tail that blocked the start.

tests/torture has every step of the write path under every power loss and injected fault; this is the row end to end.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.incidents.programs import TIMEOUT_S, start
from tests.ledgers import NAME, ORIGIN, QuickDisk, copied, make_ledger, opened
from tlog import Ledger
from tlog.errors import CorruptLedgerError

WRITE = """
import itertools, sys, tlog
partition = tlog.Ledger.open(sys.argv[1]).partition("users")
for number in itertools.count():
    print(partition.append({"event": number}).seq, flush=True)
    if number % 50 == 49:
        partition.publish()
"""


def test_r11_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """A writer killed with SIGKILL: the next start has every entry that it was told, in order, and goes on."""
    Ledger.create(tmp_path, origin=ORIGIN, segment_entries=256).close()
    size = 0
    for lines in (1, 60, 137):
        with start(WRITE, tmp_path) as writer:
            assert writer.stdout is not None
            told = [int(writer.stdout.readline()) for _ in range(lines)]
            writer.kill()
            told += [int(line) for line in writer.stdout if line.endswith("\n")]
            writer.wait(TIMEOUT_S)
        assert told == list(range(size, size + len(told)))
        partition = opened(tmp_path)
        size = partition.append({"event": "after"}).seq + 1
        assert size > told[-1]
        data = [entry.data["event"] for entry in partition.entries(told[0])]
        assert data[: len(told)] == list(range(len(told)))
        partition.publish()
        assert partition.fsck().findings == ()
        assert partition.verify().entries == size
        partition.close()


@pytest.mark.parametrize("mark", ["kept", "gone"])
def test_r11_a_torn_tail_does_not_block_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture, mark: str) -> None:
    """The last, unsigned entry cut at every byte, or zeros in its place: back to the entry before it.

    Where the durable mark says that the entry was acknowledged, its loss is an error or a warning, never silent.
    """
    path = make_ledger(tmp_path, [5], more=1)
    segment = path / "partitions" / NAME / "segments" / f"{0:020d}.jsonl"
    lock = path / "partitions" / NAME / "lock"
    whole, durable = segment.read_bytes(), lock.read_bytes()
    start_of_last = whole.rindex(b"\n", 0, -1) + 1
    cuts = [whole[:end] for end in range(start_of_last, len(whole))]
    for torn in [*cuts, whole[:start_of_last] + bytes(len(whole) - start_of_last)]:
        segment.write_bytes(torn)
        lock.write_bytes(durable if mark == "kept" else b"")
        caplog.clear()
        partition = opened(path, disk=QuickDisk())
        try:
            assert partition.append({"event": "after"}).seq == 5, len(torn)
        except CorruptLedgerError as err:
            seen = mark, err.seq, segment.read_bytes()
            assert seen == ("kept", 5, torn)
        else:
            assert segment.read_bytes().startswith(whole[:start_of_last] + b'{"seq":5,')
            assert mark == "gone" or "acknowledged and are gone" in caplog.text, len(torn)
        partition.close()
    segment.write_bytes(whole[:-1])
    lock.write_bytes(b"")
    assert opened(path).append({"event": "after"}).seq == 5
    assert opened(path).fsck().findings == ()


def test_r11_a_hole_in_the_middle_is_no_torn_tail(tmp_path: Path) -> None:
    """Zeros, or nothing, in the middle of acknowledged entries: an error that names the entry; nothing is cut."""
    source = make_ledger(tmp_path / "source", [5], more=20)
    whole = (source / "partitions" / NAME / "segments" / f"{0:020d}.jsonl").read_bytes()
    begin = whole.index(b'{"seq":10,')
    for hole in (whole[:begin] + bytes(50) + whole[begin + 50 :], whole[:begin] + whole[begin + 50 :]):
        path = copied(source, tmp_path / "l")
        segment = path / "partitions" / NAME / "segments" / f"{0:020d}.jsonl"
        segment.write_bytes(hole)
        with pytest.raises(CorruptLedgerError, match="entry 10 ") as caught:
            opened(path, disk=QuickDisk()).append({"event": "after"})
        assert caught.value.seq == 10
        assert segment.read_bytes() == hole
