"""`tlog-monitor` and `tlog-witness serve --peer`: as cron runs it, as a service, and what it says."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
from click.testing import CliRunner, Result
from werkzeug.exceptions import NotFound
from werkzeug.middleware.shared_data import SharedDataMiddleware

from tests.monitoring.parties import Clock, Log, settings_file
from tests.waiting import until
from tests.witnessing.parties import new_witness, served
from tlog.tlogproof import ConsistencyProof
from tlog.witnessing.request import origin_hash
from tlog_tools.monitor import main
from tlog_tools.verify import main as verify_main


def run(path: Path, *words: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["--config", str(path), *map(str, words)])


def test_as_cron_runs_it(log: Log, clock: Clock, tmp_path: Path) -> None:
    """From nothing to a fork: every exit code that the help names, and the evidence that `tlog-verify` judges."""
    path = settings_file(tmp_path / "m", [log], "unreachable_s = 0\nskew_s = 31536000")
    assert run(path, "run", "--once").exit_code == 3
    assert run(path, "init").exit_code == 0
    assert run(path, "init").exit_code == 4
    first = run(path, "run", "--once")
    assert (first.exit_code, first.stdout) == (0, "")
    assert run(path, "status").stdout == f"{log.origin}  3 entries verified, 3 read\n"
    path.write_text(path.read_text() + '[[rule]]\nname = "bob"\nquery = "actor=bob"\n')
    log.grow({"actor": "bob"})
    found = run(path, "run", "--once", "--json")
    assert (found.exit_code, json.loads(found.stdout)["index"]) == (6, 3)
    assert run(path, "run", "--once").exit_code == 0
    log.site.rename(tmp_path / "away")
    assert run(path, "run", "--once").exit_code == 4
    assert json.loads(run(path, "status", "--json").stdout)["conditions"].keys() == {"unreachable"}
    other = Log(tmp_path / "other", clock)
    other.grow(*range(4))
    shutil.copytree(other.site, log.site)
    forked = run(path, "run", "--once")
    assert forked.exit_code == 1
    assert "signed two trees of which only one can be true" in forked.stdout
    assert run(path, "evidence", "-o", tmp_path).exit_code == 0
    words = ["--evidence", str(tmp_path / "0000.evidence"), "--key", str(log.partition.vkey)]
    assert CliRunner().invoke(verify_main, words).exit_code == 0
    path.write_text("nonsense = 1\n")
    assert run(path, "run", "--once").exit_code == 2


def _started(*words: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen([sys.executable, "-m", *words, "--json"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["url"]


def test_served_with_a_witness(log: Log, clock: Clock, tmp_path: Path) -> None:
    """A monitor and a witness as services, each the other's peer: shown two views, both find out; SIGTERM ends both."""
    other = Log(tmp_path / "other", clock)
    other.grow(*range(3))
    path = settings_file(tmp_path / "m", [log], "interval_s = 0.1\nskew_s = 31536000")
    assert run(path, "init").exit_code == 0
    monitor, monitor_url = _started("tlog_tools.monitor", "--config", str(path), "serve", "--bind", "127.0.0.1:0")
    with new_witness(tmp_path / "w", "w.example.net", log.partition.vkey) as made:
        made.add_checkpoint(ConsistencyProof(0, (), other.partition.checkpoint()).format())
    directory, gossip = str(tmp_path / "w"), ["--gossip-interval", "0.1", "--peer", monitor_url]
    witness, url = _started("tlog_tools.witness", "--dir", directory, "serve", "--bind", "127.0.0.1:0", *gossip)
    try:
        until(lambda: httpx.get(f"{url}/evidence").text != "")
        name = httpx.get(f"{url}/evidence").text.strip()
        assert httpx.get(f"{url}/evidence/{name}").text.startswith("tlog-evidence@v1\n")
        assert httpx.get(f"{monitor_url}/{origin_hash(log.origin)}/checkpoint").status_code == 200
        assert httpx.get(f"{monitor_url}/healthz").text == "ok\n"
    finally:
        for process in (monitor, witness):
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            assert process.stdout is not None
            process.stdout.close()


def test_a_larger_tree_that_only_a_witness_was_shown(log: Log, clock: Clock, tmp_path: Path) -> None:
    """A witness that knows the site of the larger of two forked trees gives the smaller one's monitor the proof."""
    other = Log(tmp_path / "other", clock)
    other.grow(*range(300))
    path = settings_file(tmp_path / "m", [log], "skew_s = 31536000")
    with new_witness(tmp_path / "w", "w.example.net", log.partition.vkey) as made:
        made.add_checkpoint(ConsistencyProof(0, (), other.partition.checkpoint()).format())
    with served(SharedDataMiddleware(NotFound(), {"/": str(other.site)})) as site:
        policy = tmp_path / "with-site.policy"
        policy.write_text(f"log {log.partition.vkey} {site}\nquorum none\n")
        words = ["--dir", str(tmp_path / "w"), "serve", "--bind", "127.0.0.1:0", "--policy", str(policy)]
        witness, url = _started("tlog_tools.witness", *words)
        try:
            path.write_text(f'peers = ["{url}"]\n{path.read_text()}')
            assert run(path, "init").exit_code == 0
            found = run(path, "run", "--once")
            assert (found.exit_code, found.stdout.split()[:2]) == (1, ["critical", "fork"])
            assert "in its checkpoint of size 3, and" in found.stdout
            assert "in that of size 300" in found.stdout
        finally:
            witness.send_signal(signal.SIGTERM)
            assert witness.wait(30) == 0
            assert witness.stdout is not None
            witness.stdout.close()
