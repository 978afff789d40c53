"""Signals under load: whatever ends, reloads or is killed, nothing that was acknowledged is lost."""

from __future__ import annotations

import functools
import os
import signal
from pathlib import Path

import pytest

import tlog
from tests.ledgers import NAME, create
from tests.server.conftest import granted
from tests.server.running.load import Load, audit
from tests.server.running.server import QUICK, Server, running
from tests.waiting import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The directory of a ledger with an empty partition."""
    create(tmp_path / "ledger").create()
    return tmp_path / "ledger"


def leader(path: Path, server: Server) -> int:
    """The worker process that holds the keeper's lock."""
    inode = (path / "keeper.lock").stat().st_ino
    locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    holders = {int(line[4]) for line in locks if line[1] == "FLOCK" and line[5].endswith(f":{inode}")}
    (found,) = holders & set(server.workers)
    return found


def published(ledger: tlog.Ledger) -> int:
    """The size of the published checkpoint, 0 without one."""
    try:
        return ledger.partition(NAME).checkpoint().tree_size
    except tlog.NotFoundError:
        return 0


def until_published(ledger: tlog.Ledger, count: int) -> None:
    """Return when `count` more entries are published than now."""
    target = published(ledger) + count
    until(lambda: published(ledger) > target)


def are_new(server: Server, old: set[int]) -> bool:
    """Whether all old worker processes were replaced."""
    return len(server.workers) == 2 and not old & set(server.workers)


def test_sigterm_loses_nothing_and_breaks_no_answer(path: Path) -> None:
    """What was acknowledged is stored and published when the server has ended with 0, and has said nothing."""
    with tlog.Ledger.open(path) as ledger, running(path, *QUICK) as server:
        with Load(server, granted(path, "append")) as load:
            load.grow(100)
            assert server.end() == 0
        assert server.said() == []
        assert published(ledger) == ledger.partition(NAME).size
        assert set(load.refused) <= {503}
        assert audit(ledger, load) == len(load.acknowledged)  # nothing is stored that nobody was told of


def test_sighup_changes_the_processes_and_no_client_notices(path: Path) -> None:
    """New processes take over, twice; no answer is broken but where a connection was idle, and no entry is lost."""
    with tlog.Ledger.open(path) as ledger, running(path, *QUICK) as server:
        with Load(server, granted(path, "append")) as load:
            for _ in range(2):
                load.grow(50)
                before = set(server.workers)
                server.process.send_signal(signal.SIGHUP)
                until(functools.partial(are_new, server, before))
            load.grow(50)
        assert set(load.refused) <= {503}
        assert load.broken <= 2
        assert server.end() == 0
        audit(ledger, load)


def test_a_killed_worker_is_replaced_and_another_publishes(path: Path) -> None:
    """The process that leads is killed under load: appending and publishing go on, and no size is signed twice."""
    with tlog.Ledger.open(path) as ledger, running(path, *QUICK) as server:
        with Load(server, granted(path, "append")) as load:
            for _ in range(2):
                until_published(ledger, 50)
                os.kill(leader(path, server), signal.SIGKILL)
                until_published(ledger, 50)
                until(lambda: len(server.workers) == 2)
        until(lambda: published(ledger) == ledger.partition(NAME).size)
        assert server.end() == 0
        audit(ledger, load)


def test_waiting_for_publication_goes_on_while_the_server_ends(path: Path) -> None:
    """Requests that wait for their checkpoint get it, also when the server is told to end meanwhile."""
    with tlog.Ledger.open(path) as ledger, running(path, "--publish-interval", "0.5") as server:
        with Load(server, granted(path, "append"), wait="published") as load:
            load.grow(10)
            assert server.end() == 0
        assert published(ledger) > max(load.acknowledged)
        audit(ledger, load)
