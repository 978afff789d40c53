"""`make demo-serve`: the addresses that it prints are there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx

import tlog

ROOT = Path(__file__).resolve().parents[3]
EVENTS = ROOT / "testdata" / "events" / "flask-history.jsonl"
PROGRAM = """
import sys
from pathlib import Path
from demo.serve import serve
sys.exit(serve(Path(sys.argv[1]), "127.0.0.1:0"))
"""


def test_the_addresses_are_there(tmp_path: Path) -> None:
    """Overview, search, entry and checkpoint of a ledger like the demonstration's; Ctrl-C ends it well."""
    with tlog.Ledger.create(tmp_path / "ledger", origin="audit.example.com") as ledger:
        lines = EVENTS.read_bytes().splitlines()[:1300]
        ledger.partition("commits").append_many_json(lines)
        ledger.partition("commits").publish()
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "ledger")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, process_group=0) as process:
        try:
            assert process.stdout is not None
            shown = [process.stdout.readline() for _ in range(5)]
            found = [re.search(r"http://\S+", line) for line in shown]
            addresses = [match[0] for match in found if match is not None]
            assert len(addresses) == 4
            for address in addresses:
                assert httpx.get(address, trust_env=False, timeout=30).status_code == 200, address
        finally:
            os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) in {0, -signal.SIGINT}
