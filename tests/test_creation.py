"""Creating one ledger from many places at the same moment: one creator wins, and the others are told."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tlog import Ledger
from tlog.errors import ConflictError

CREATOR = """
import sys
from tlog import Ledger
from tlog.errors import ConflictError
sys.stdin.readline()
try:
    Ledger.create(sys.argv[1], origin=sys.argv[2])
    print("created", sys.argv[2])
except ConflictError:
    print("told", Ledger.open(sys.argv[1]).config.origin)
"""


def test_of_many_threads_one_creates_the_ledger(tmp_path: Path) -> None:
    """Eight threads, twenty ledgers: one creator each, and everybody then opens the same."""
    for number in range(20):
        path = tmp_path / str(number)
        barrier, origins, refused = threading.Barrier(8), list[str](), list[str]()

        def work(
            name: str,
            path: Path = path,
            barrier: threading.Barrier = barrier,
            origins: list[str] = origins,
            refused: list[str] = refused,
        ) -> None:
            barrier.wait()
            try:
                origins.append(Ledger.create(path, origin=name).config.origin)
            except ConflictError:
                refused.append(Ledger.open(path).config.origin)

        threads = [threading.Thread(target=work, args=(f"log{index}.example",)) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(origins) == 1
        assert refused == origins * 7


def test_of_many_processes_one_creates_the_ledger(tmp_path: Path) -> None:
    """Four processes at once: one creates, the others find its ledger, and nothing but the ledger is left."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", CREATOR, str(tmp_path / "ledger"), f"log{index}.example"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for index in range(4)
    ]
    for process in started:
        if process.stdin is None:
            raise AssertionError("the process has a pipe")
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].split() for process in started]
    winners = [origin for what, origin in said if what == "created"]
    assert len(winners) == 1
    assert [origin for what, origin in said if what == "told"] == winners * 3
    assert [path.name for path in (tmp_path / "ledger").iterdir()] == ["tlog.toml"]


def test_a_ledger_is_not_created_over_another(tmp_path: Path) -> None:
    """The one that is there stays as it is."""
    Ledger.create(tmp_path, origin="log.example")
    with pytest.raises(ConflictError, match="already"):
        Ledger.create(tmp_path, origin="other.example")
    assert Ledger.open(tmp_path).config.origin == "log.example"
