"""`tlog serve` as users run it: a real process on a real socket."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

import tlog
from tests.ledgers import NAME, QuickDisk, create
from tlog_server.running import DEFAULT_BIND, parse_bind
from tlog_tools.main import cli

BIN = Path(sys.executable).parent


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger with 300 entries, 299 of them published."""
    partition = create(tmp_path / "ledger", disk=QuickDisk())
    partition.append_many({"event": number} for number in range(299))
    partition.publish()
    partition.append("not published")
    partition.close()
    return tmp_path / "ledger"


@contextlib.contextmanager
def serving(ledger: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `tlog serve` on a free port; yield the process and what it prints when it is ready."""
    command = [str(BIN / "tlog"), "serve", "--ledger", str(ledger), "--bind", "127.0.0.1:0", *words]
    environment = os.environ | {"PYTHONWARNINGS": "default"}
    errors = (ledger.parent / "stderr").open("wb")
    with (
        errors,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline()
        finally:
            process.kill()


def test_from_the_server_to_a_verified_proof(ledger: Path, tmp_path: Path) -> None:
    """A proof that was fetched over HTTP verifies with tlog-verify; SIGTERM ends the server well, with nothing said."""
    with serving(ledger) as (process, line):
        url = line.rstrip("\n").rpartition(" ")[2]
        assert line == f"serving {ledger} at {url}\n"
        assert process.stdout is not None
        assert process.stdout.readline() == f"  {url}/{NAME}/checkpoint\n"
        with httpx.Client(base_url=url, trust_env=False) as client:
            for name in ("vkey", "checkpoint"):
                (tmp_path / name).write_bytes(client.get(f"/{NAME}/{name}").raise_for_status().content)
            proof = client.get(f"/{NAME}/proof/inclusion?index=298").raise_for_status()
            (tmp_path / "proof").write_bytes(proof.content)
            bundle = client.get(f"/{NAME}/tile/entries/001.p/43", headers={"Accept-Encoding": "gzip"})
            assert bundle.headers["Content-Encoding"] == "gzip"
            assert bundle.content == client.get(bundle.url, headers={"Accept-Encoding": "identity"}).content
            head = client.head(f"/{NAME}/tile/0/000")
            assert (head.headers["Content-Length"], head.content) == ("8192", b"")
            known = {"If-None-Match": head.headers["ETag"]}
            assert client.get(f"/{NAME}/tile/0/000", headers=known).status_code == 304
            post = httpx.post(f"{url}/{NAME}/checkpoint", content=b"x" * 100_000, trust_env=False)
            assert post.status_code == 405
            assert client.get(f"/{NAME}/%63heckpoint").status_code == 404
            hidden = {"SCRIPT_NAME": f"/{NAME}", "X-Forwarded-Prefix": f"/{NAME}"}
            assert client.get("/checkpoint", headers=hidden).status_code in {400, 404}
            assert httpx.get(f"{url}/{'x' * 5000}", trust_env=False).status_code in {400, 414}
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stdout.read() == ""
    (said,) = (tmp_path / "stderr").read_text().splitlines()
    assert "Request Line is too large" in said
    for option in ("--proof", "--checkpoint"):
        command = [BIN / "tlog-verify", option, tmp_path / option[2:], "--key", tmp_path / "vkey"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_what_is_published_meanwhile_is_served(ledger: Path) -> None:
    """Each worker process sees a new checkpoint at once; --json tells the address."""
    with serving(ledger, "--json") as (process, line), httpx.Client(trust_env=False) as client:
        url = json.loads(line)["url"]
        with tlog.Ledger.open(ledger) as opened:
            raw = opened.partition(NAME).publish().raw
        for _ in range(8):
            assert httpx.get(f"{url}/{NAME}/checkpoint", trust_env=False).content == raw
        assert client.get(f"{url}/{NAME}/proof/inclusion?index=299").status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_what_cannot_be_served(ledger: Path, tmp_path: Path) -> None:
    """No ledger, no address, an address that is taken: each with its exit code, and before anything listens."""

    def run(*words: str | Path) -> tuple[int, str]:
        result = CliRunner().invoke(cli, ["serve", *map(str, words)])
        return result.exit_code, result.stderr

    code, said = run("--ledger", tmp_path / "none")
    assert (code, "there is no ledger" in said) == (3, True)
    code, said = run("--ledger", ledger, "--bind", "8000")
    assert (code, "HOST:PORT" in said) == (2, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = run("--ledger", ledger, "--bind", address)
    assert (code, address in said) == (4, True)


@pytest.mark.parametrize(
    "bind", ["", "8000", ":8000", "a:", "a:65536", "a:08", "a:-1", "a b:1", "::1:80", "unix:/x", "a:1\n"]
)
def test_addresses(bind: str) -> None:
    """HOST:PORT has one spelling."""
    assert parse_bind(DEFAULT_BIND) == ("127.0.0.1", 8000)
    assert DEFAULT_BIND in CliRunner().invoke(cli, ["serve", "--help"]).stdout
    assert parse_bind("[::1]:0") == ("::1", 0)
    with pytest.raises(tlog.FormatError):
        parse_bind(bind)
