"""R7 again, over HTTP: three times what a server can take is refused in time, and every promise is kept."""

from __future__ import annotations

from pathlib import Path

import tlog
from tests.ledgers import NAME, create
from tests.server.conftest import granted
from tests.server.running.load import Load, audit
from tests.server.running.server import Server, running
from tests.waiting import until
from tlog_server.worker import MAX_WAIT_S

THREADS = 2
CLIENTS = 24
DELAY_S = 10.0
"""How long after its acknowledgement an entry may be unpublished: the interval is 0.2 s, the machine may be busy."""


def memory_kib(server: Server) -> int:
    """The memory of the worker processes that is theirs alone or shared, at its highest."""
    lines = [Path(f"/proc/{pid}/status").read_text().splitlines() for pid in server.workers]
    return sum(int(line.split()[1]) for found in lines for line in found if line.startswith("VmHWM:"))


def test_r07_an_overloaded_server_refuses_and_keeps_what_it_promised(tmp_path: Path) -> None:
    """Memory is bounded, refusals are counted and say when to come back, and what was acknowledged is published."""
    create(tmp_path / "ledger").create()
    token = granted(tmp_path / "ledger", "append")
    limits = ("--workers", "1", "--threads", str(THREADS), "--max-streams", "0", "--max-waiting", "4")
    with (
        tlog.Ledger.open(tmp_path / "ledger") as ledger,
        running(tmp_path / "ledger", "--publish-interval", "0.2", *limits) as server,
    ):
        with Load(server, token, threads=THREADS) as calm:
            calm.grow(300)
        before = memory_kib(server)
        with Load(server, token, threads=CLIENTS) as load:
            load.grow(600)
            until(lambda: load.refused[503] > 50)
            promised = max(load.acknowledged)
            until(lambda: ledger.partition(NAME).checkpoint().tree_size > promised, DELAY_S)
        assert set(load.refused) == {503}
        assert load.broken == 0
        assert load.retry_after == {"1"}
        assert load.longest_s < DELAY_S + MAX_WAIT_S
        assert memory_kib(server) - before < 60_000
        refused = next(line for line in server.get("/metrics").text.splitlines() if 'reason="overload"' in line)
        assert float(refused.split()[1]) == load.refused[503] + calm.refused[503]
        assert server.end() == 0
        load.acknowledged.update(calm.acknowledged)
        assert audit(ledger, load) == len(load.acknowledged)
