"""What is counted and logged, by several processes, with labels of which there are few."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import tlog
from tests.ledgers import NAME, QuickDisk, create
from tests.server.conftest import granted
from tests.server.running.server import ONE, QUICK, Server, running
from tests.waiting import until
from tlog_server.app import create_app

ASKED = 40


def samples(text: str) -> dict[tuple[str, ...], float]:
    """The value of each sample, by its name and its labels' values in the order of their names."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name, *(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger with a partition of 300 entries."""
    partition = create(tmp_path / "ledger", disk=QuickDisk())
    partition.append_many({"event": number} for number in range(300))
    partition.close()
    return tmp_path / "ledger"


def ask(server: Server) -> None:
    """Ask over many connections, so that each process answers some."""
    for number in range(ASKED):
        assert server.get(f"/{NAME}/entry/{number}").status_code == 200
    assert server.get("/no/such/path").status_code == 404


def test_the_counts_of_all_processes_and_the_state(ledger: Path) -> None:
    """Summed over the worker processes, also over one that has ended; the state of keeper, checkpoint and index."""
    with running(ledger, *QUICK) as server:
        until(lambda: server.get(f"/{NAME}/checkpoint").status_code == 200)
        ask(server)
        found = samples(server.get("/metrics").text)
        (name,) = {key[2] for key in found if key[0] == "tlog_http_requests_total" and "/entry/" in key[2]}
        assert found["tlog_http_requests_total", "GET", name, "200"] == ASKED
        assert found["tlog_http_requests_total", "GET", "none", "404"] == 1
        assert found["tlog_http_request_seconds_count", name] == ASKED
        assert found["tlog_http_request_seconds_bucket", "+Inf", name] == ASKED
        os.kill(server.workers[0], signal.SIGKILL)
        until(lambda: len(server.workers) == 2)
        until(lambda: samples(server.get("/metrics").text)["tlog_partition_index_lag_entries", NAME] == 0)
        ask(server)
        until(lambda: samples(server.get("/metrics").text)["tlog_keeper_leads",] == 1)
        found = samples(server.get("/metrics").text)
        assert server.end() == 0
    assert found["tlog_http_requests_total", "GET", name, "200"] == 2 * ASKED
    assert found["tlog_up",] == found["tlog_partitions",] == 1
    assert found["tlog_partition_entries", NAME] == found["tlog_partition_published_entries", NAME] == 300
    assert found["tlog_partition_failing", NAME] == found["tlog_poisoned_partitions",] == 0
    assert 0 <= found["tlog_partition_checkpoint_age_seconds", NAME] < 1000


def test_nothing_of_the_counts_is_left(ledger: Path) -> None:
    """Their directory is private, and removed when the server has ended."""
    with running(ledger) as server:
        until(lambda: server.get("/healthz").status_code == 200)
        opened: list[Path] = []
        for path in [path for pid in server.workers for path in Path(f"/proc/{pid}/fd").iterdir()]:
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                opened.append(path.readlink())
        (place,) = {path.parent for path in opened if "tlog-counts-" in str(path)}
        assert place.stat().st_mode & 0o077 == 0
        assert server.end() == 0
        assert not place.exists()


def test_labels_are_few(tmp_path: Path) -> None:
    """Made-up paths, methods, names and actors become no labels; of many partitions, a hundred are shown."""
    ledger = tlog.Ledger.create(tmp_path / "ledger", origin="log.example", disk=QuickDisk())
    for number in range(105):
        ledger.partition(f"p{number:03}").create()
    client = create_app(ledger).test_client()
    metrics = client.application.config["TLOG_METRICS"]
    for number in range(30):
        client.get(f"/made/up/{number}")
        client.get(f"/made-up-{number}/checkpoint", headers={"X-Actor": "alice"})
        client.open("/healthz", method=f"METHOD{number}")
    for number in range(105):
        metrics.appended(ledger.partition(f"p{number:03}"), 2, 100)
    found = samples(client.get("/metrics").text)
    assert len([key for key in found if key[0] == "tlog_http_requests_total"]) < 8
    assert found["tlog_http_requests_total", "other", "none", "405"] == 30
    assert not any("made" in value or "alice" in value for key in found for value in key)
    assert len([key for key in found if key[0] == "tlog_partition_entries"]) == 100
    assert len([key for key in found if key[0] == "tlog_appended_entries_total"]) == 101
    assert found["tlog_appended_entries_total", "other"] == 10
    assert found["tlog_appended_bytes_total", "p000"] == 100
    ledger.close()


def test_a_clock_that_was_held_is_counted(tmp_path: Path) -> None:
    """Where the clock steps back, entries get the time of the last one, and that is counted once for each group."""
    now = [2_000_000_000_000_000_000]
    with tlog.Ledger.create(
        tmp_path / "ledger", origin="log.example", disk=QuickDisk(), clock=lambda: now[0]
    ) as ledger:
        client = create_app(ledger).test_client()
        metrics = client.application.config["TLOG_METRICS"]
        users = ledger.partition(NAME)
        users.append("first")
        now[0] -= 3_600_000_000_000
        for _ in range(3):
            users.append("later")
            metrics.look()
        assert samples(client.get("/metrics").text)["tlog_clock_held_total", NAME] == 3


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200), ("::1", {}, 200), ("192.0.2.7", {}, 401),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}, 401), ("127.0.0.1", {"Forwarded": "for=127.0.0.1"}, 401),
        ("192.0.2.7", {"X-Forwarded-For": "127.0.0.1"}, 401),
    ],
)  # fmt: skip
def test_who_may_see_the_metrics(tmp_path: Path, address: str, headers: dict[str, str], status: int) -> None:
    """Who asks on this machine, not through a proxy; others with a token of the verb admin."""
    create(tmp_path / "ledger", disk=QuickDisk()).create()
    client = create_app(tmp_path / "ledger").test_client()
    place = {"REMOTE_ADDR": address}
    assert client.get("/metrics", headers=headers, environ_overrides=place).status_code == status
    tokens = granted(tmp_path / "ledger", "admin"), granted(tmp_path / "ledger", "append")
    for token, expected in zip(tokens, (200, status if status == 200 else 403), strict=True):
        sent = {**headers, "Authorization": f"Bearer {token}"}
        assert client.get("/metrics", headers=sent, environ_overrides=place).status_code == expected


def test_a_ledger_that_cannot_be_read_is_down(tmp_path: Path) -> None:
    """Then the metrics say so, and they can be fetched still."""
    create(tmp_path / "ledger", disk=QuickDisk()).create()
    client = create_app(tmp_path / "ledger").test_client()
    partitions = tmp_path / "ledger" / "partitions"
    shutil.rmtree(partitions)
    partitions.write_text("a file where a directory was")
    answer = client.get("/metrics")
    assert samples(answer.text)["tlog_up",] == 0


def test_promtool_finds_nothing_wrong(ledger: Path) -> None:
    """Prometheus's own linter reads the metrics."""
    if shutil.which("promtool") is None:
        pytest.skip("there is no promtool on this machine")
    client = create_app(ledger).test_client()
    client.get("/healthz")
    client.application.config["TLOG_METRICS"].refused("overload")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=client.get("/metrics").text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_access_log(ledger: Path) -> None:
    """One JSON object a request, kept answers too: id, route, status, duration, who sent it; and no secret."""
    token = granted(ledger, "read", writer="reader")
    with running(ledger, *ONE, "--access-log") as server, server.client(token) as client:
        until(lambda: client.get(f"/{NAME}/checkpoint").status_code == 200)
        answers = [client.get(f"/{NAME}/entry/7"), client.get("/healthz?x=SECRET"), client.get("/no/SECRET")]
        answers += [server.get(f"/{NAME}/tile/0/000") for _ in range(4)]
        assert server.end() == 0
        said = server.said()
    logged = {line["request_id"]: line for line in map(json.loads, said)}
    for answer in answers:
        line = logged[answer.headers["X-Request-ID"]]
        assert set(line) == {"time", "request_id", "method", "route", "status", "duration_ms", "caller"}
        assert line["status"] == answer.status_code
    assert logged[answers[0].headers["X-Request-ID"]]["caller"] == "reader"
    assert logged[answers[-1].headers["X-Request-ID"]]["route"] == "/<name>/tile/<path:rest>"
    assert not any("SECRET" in line or token in line for line in said)
