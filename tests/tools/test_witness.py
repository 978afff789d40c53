"""`tlog-witness`: a witness from nothing to a served cosignature, and what it says when something is wrong."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

import tlog
from tests.statements import LOG, LOG_VKEY, ORIGIN, WITNESS_VKEYS, checkpoint, consistency_proof, entry_lines
from tlog.evidence import verify_evidence
from tlog.note import open_note
from tlog.policy import Policy
from tlog.witnessing.request import origin_hash
from tlog_tools.witness import main

LINES = entry_lines(8)
FORK = entry_lines(8, word="fork")


def run(directory: Path, *words: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["--dir", str(directory), *map(str, words)])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A witness that knows the log of `tests.statements`."""
    home = tmp_path / "witness"
    assert run(home, "init", "--name", "w.example").exit_code == 0
    assert run(home, "add-log", LOG_VKEY).exit_code == 0
    return home


def test_init(tmp_path: Path) -> None:
    """Keys are made and printed; a second time is refused; nobody but the owner may read them."""
    home = tmp_path / "witness"
    made = run(home, "init", "--name", "w.example", "--post-quantum", "--json")
    vkeys = [json.loads(line)["vkey"] for line in made.stdout.splitlines()]
    assert [tlog.VerifierKey.parse(vkey).key_type for vkey in vkeys] == [4, 6]
    assert run(home, "vkey").stdout.split() == vkeys
    again = run(home, "init", "--name", "w.example")
    assert (again.exit_code, again.stdout) == (4, "")
    assert "there is a witness's key already" in again.stderr
    for name in ("witness.pem", "witness-ml-dsa-44.pem"):
        assert (home / name).stat().st_mode & 0o777 == 0o600


def test_logs_from_keys_files_and_policies(home: Path, tmp_path: Path) -> None:
    """A log is added by its key, by a file of keys, or by a policy."""
    other = tlog.SigningKey.generate("other.example/log").verifier_key
    (tmp_path / "keys").write_text(f"{other}\n")
    (tmp_path / "policy").write_text(f"log {tlog.SigningKey.generate('third.example').verifier_key}\nquorum none\n")
    assert run(home, "add-log", tmp_path / "keys", tmp_path / "policy").exit_code == 0
    shown = run(home, "list").stdout.splitlines()
    assert shown == [f"{name}  nothing cosigned yet" for name in (ORIGIN, "other.example/log", "third.example")]
    assert run(home, "add-log", "no+such+key").exit_code == 2


@pytest.mark.parametrize("text", ["", "\n", "quorum none\n", f"witness w {WITNESS_VKEYS[1]}\nquorum w\n"])
def test_files_without_a_log(home: Path, tmp_path: Path, text: str) -> None:
    """A file that names no log, such as one that is empty because the command before failed, is no success."""
    (tmp_path / "file").write_text(text)
    added = run(home, "add-log", tmp_path / "file")
    assert added.exit_code == 2
    assert "it names no log; 'tlog vkey PARTITION' prints the verifier key" in added.stderr


def test_a_key_that_no_log_signs_with(home: Path) -> None:
    """A witness's key is not a log's, and nothing is known afterwards."""
    added = run(home, "add-log", WITNESS_VKEYS[1])
    assert added.exit_code == 2
    assert "a log signs with keys of signature type 0x01 or 0x06, witness1.example.net has 0x04" in added.stderr
    assert run(home, "list").stdout == f"{ORIGIN}  nothing cosigned yet\n"


def test_a_state_that_was_put_back(home: Path, tmp_path: Path) -> None:
    """An old state is refused with exit code 1, and the words say what to do."""
    shutil.copy(home / "state.sqlite", tmp_path / "old")
    assert run(home, "add-log", tlog.SigningKey.generate("other.example/log").verifier_key).exit_code == 0
    shutil.copy(tmp_path / "old", home / "state.sqlite")
    refused = run(home, "list")
    assert refused.exit_code == 1
    assert "this key must not sign again: make a new one with 'tlog-witness init'" in refused.stderr
    assert "tlog fsck" not in refused.stderr  # which is for ledgers


def test_served(home: Path, tmp_path: Path) -> None:
    """The witness under gunicorn: statuses, types and bodies of the protocol, a reload, the end, evidence."""
    with subprocess.Popen(
        [sys.executable, "-m", "tlog_tools.witness", "--dir", str(home), "serve", "--bind", "127.0.0.1:0", "--json"],
        stdout=subprocess.PIPE,
    ) as process:
        try:
            stdout = process.stdout
            assert stdout is not None
            url = json.loads(stdout.readline())["url"]
            with httpx.Client(base_url=url, timeout=30) as client:
                _exchange(client)
            process.send_signal(signal.SIGHUP)
            for _ in range(20):
                served = httpx.get(f"{url}/{origin_hash(ORIGIN)}/checkpoint", timeout=30)
                assert served.status_code == 200
                open_note(served.content, [LOG.verifier_key])
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    assert process.returncode == 0
    out = tmp_path / "evidence"
    out.mkdir()
    assert run(home, "evidence", "-o", out).exit_code == 0
    (file,) = out.iterdir()
    assert verify_evidence(file.read_bytes(), Policy.for_log(LOG_VKEY)).origin == ORIGIN


def _exchange(client: httpx.Client) -> None:
    vkeys = [tlog.VerifierKey.parse(line) for line in client.get("/vkey").text.split()]
    assert client.get(f"/{origin_hash(ORIGIN)}/checkpoint").status_code == 404
    cases = (
        (consistency_proof(0, LINES[:3]).format(), 200, "text/plain"),
        (consistency_proof(0, LINES[:5]).format(), 409, "text/x.tlog.size"),
        (consistency_proof(3, LINES[:5]).format(), 200, "text/plain"),
        (consistency_proof(5, FORK[:5]).format(), 422, "text/plain"),
        (consistency_proof(5, LINES[:8]).format().replace(b"old 5", b"old 9"), 400, "text/plain"),
        (b"", 400, "text/plain"),
        (consistency_proof(5, LINES[:8], tlog.SigningKey.generate(ORIGIN)).format(), 403, "text/plain"),
        (b"old 0\n\n" + checkpoint(LINES[:3], origin="x.example").raw, 404, "text/plain"),
    )
    for body, status, content_type in cases:
        answer = client.post("/add-checkpoint", content=body)
        found = answer.headers["Content-Type"].partition(";")[0]
        assert (answer.status_code, found) == (status, content_type), answer.text
        if status == 409:
            assert answer.content == b"3\n"
        if status == 200:
            open_note(body.partition(b"\n\n")[2] + answer.content, vkeys)
    assert client.get("/add-checkpoint").status_code == 405
    assert httpx.post(f"{client.base_url}/add-checkpoint", content=b"x" * (1 << 21), timeout=30).status_code == 413
