"""`tlog-mirror` and `tlog restore`: a log copied, lost, and put together again; and the mirror over HTTP."""

from __future__ import annotations

import gzip
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
from click.testing import CliRunner, Result

from tests.mirroring.conftest import LINES, body
from tests.statements import LOG_VKEY, ORIGIN, WITNESS_VKEYS, consistency_proof
from tests.tools.conftest import Shell, ok
from tests.waiting import until
from tlog.keys import VerifierKey
from tlog.note import open_note
from tlog.policy import Policy
from tlog.witnessing.request import origin_hash
from tlog_tools.mirror import main


def run(directory: Path, *words: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["--dir", str(directory), *map(str, words)])


def test_copied_lost_and_restored(users: Shell) -> None:
    """A mirror pulls the exported log; the partition is lost; what the mirror serves brings it back."""
    home = users.directory / "mirror"
    policy = users.write("policy", f"log {ok(users.tlog('vkey', 'users')).strip()}\nquorum none\n")
    site = users.directory / "site"
    ok(users.tlog("export", "users", site))
    made = run(home, "init", "--name", "mirror.example.net")
    assert made.exit_code == 0
    assert run(home, "add-log", policy).exit_code == 0
    assert "nothing mirrored yet" in run(home, "list").stdout
    pulled = run(home, "pull", site, "--policy", policy)
    assert (pulled.exit_code, "mirrored and cosigned" in pulled.stderr) == (0, True)
    fields = json.loads(run(home, "list", "--json").stdout)
    before = ok(users.tlog("tail", "users", "--from", "0"))
    shutil.rmtree(users.ledger / "partitions" / "users")
    refused = users.tlog("restore", "users", "--from", home)
    assert refused.exit_code == 3
    restored = ok(users.tlog("restore", "users", "--from", home / "logs" / origin_hash(fields["origin"]), "--json"))
    assert json.loads(restored)["entries"] == fields["tree_size"]
    assert ok(users.tlog("tail", "users", "--from", "0")) == before
    ok(users.tlog("verify", "users"))
    assert users.tlog("restore", "users", "--from", site).exit_code == 4


def test_served(tmp_path: Path) -> None:
    """The protocol over HTTP: statuses, content types, gzip, the copy below the origin's hash."""
    home = tmp_path / "mirror"
    vkey = VerifierKey.parse(run(home, "init", "--name", "mirror.example.net").stdout.strip())
    assert run(home, "add-log", LOG_VKEY).exit_code == 0
    with subprocess.Popen(
        [sys.executable, "-m", "tlog_tools.mirror", "--dir", str(home), "serve", "--bind", "127.0.0.1:0", "--json"],
        stdout=subprocess.PIPE,
    ) as process:
        try:
            stdout = process.stdout
            assert stdout is not None
            with httpx.Client(base_url=json.loads(stdout.readline())["url"], timeout=30) as client:
                _exchange(client, vkey)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    assert process.returncode == 0


def _exchange(client: httpx.Client, vkey: VerifierKey) -> None:
    def send(raw: bytes, **headers: str) -> httpx.Response:
        return client.post("/add-entries", content=raw, headers={"Content-Type": "application/octet-stream", **headers})

    site = f"/{origin_hash(ORIGIN)}"
    assert send(body(0, 600)).status_code == 422
    assert client.get(f"{site}/checkpoint").status_code == 404
    pending = client.post("/add-checkpoint", content=consistency_proof(0, LINES[:600]).format())
    assert (pending.status_code, pending.content) == (200, b"")
    assert client.post("/add-checkpoint", content=consistency_proof(0, LINES[:600]).format()).content == b"600\n"
    part = send(gzip.compress(body(0, 600, packages=1)), **{"Content-Encoding": "gzip"})
    assert (part.status_code, part.headers["Content-Type"]) == (202, "text/x.tlog.mirror-info")
    size, following, ticket = part.text.split("\n")[:3]
    assert (size, following, part.text.count("\n"), bool(ticket)) == ("600", "256", 3, True)
    assert client.get(f"{site}/tile/entries/000").status_code == 404, "not implied by a mirror checkpoint yet"
    ahead = send(body(512, 600))
    assert (ahead.status_code, ahead.text.split("\n")[:2]) == (409, ["600", "256"])
    done = send(body(256, 600))
    assert done.status_code == 200
    note = client.get(f"{site}/checkpoint").content
    assert Policy.parse(f"log {LOG_VKEY}\nwitness m {vkey}\nquorum m\n").verify(note).tree_size == 600
    open_note(consistency_proof(0, LINES[:600]).checkpoint.raw + done.content, [vkey])
    for path in ("tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/001", "tile/entries/002.p/88"):
        assert client.get(f"{site}/{path}").status_code == 200, path
    for path in ("tile/0/002", "tile/0/0", "tile/../x", "tile/entries/002.p/89", "nothing"):
        assert client.get(f"{site}/{path}").status_code in {400, 404}, path
    assert client.get(f"/{origin_hash('x.example')}/checkpoint").status_code == 404
    assert send(b"").status_code == 400


def test_pulled_while_it_serves(users: Shell) -> None:
    """One server has the copy, pulls what is new, and takes what is pushed; push verifies under a policy."""
    home, site = users.directory / "mirror", users.directory / "site"
    ok(users.tlog("export", "users", site))
    vkey = ok(users.tlog("vkey", "users")).strip()
    mirror_vkey = run(home, "init", "--name", "mirror.example.net").stdout.strip()
    assert run(home, "add-log", vkey).exit_code == 0
    policy = users.write("policy", f"log {vkey} {site}\nwitness m {mirror_vkey}\nquorum none\n")
    stranger = users.write("other", f"log {vkey}\nwitness w {WITNESS_VKEYS[1]}\nquorum none\n")
    words = ["serve", "--bind", "127.0.0.1:0", "--policy", policy, "--pull-interval", "0.1", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "tlog_tools.mirror", "--dir", str(home), *map(str, words)], stdout=subprocess.PIPE
    ) as process:
        try:
            stdout = process.stdout
            assert stdout is not None
            url = json.loads(stdout.readline())["url"]
            copy = f"{url}/{origin_hash(VerifierKey.parse(vkey).name)}/checkpoint"
            until(lambda: httpx.get(copy).status_code == 200)
            first = httpx.get(copy).content
            ok(users.tlog("append", "users", '{"n":1}'))
            ok(users.tlog("publish", "users"))
            pushed = run(home, "push", "users", url, "--ledger", users.ledger, "--policy", policy, "--json")
            assert pushed.exit_code == 0, pushed.output
            fields = json.loads(pushed.stdout)
            assert fields["tree_size"] == Policy.parse(policy.read_bytes()).verify(first).tree_size + 1
            assert [line.split(" ")[1] for line in fields["cosignatures"]] == ["mirror.example.net"]
            assert httpx.get(copy).content != first
            assert run(home, "push", "users", url, "--ledger", users.ledger, "--policy", stranger).exit_code != 0
            assert "was not verified" in run(home, "push", "users", url, "--ledger", users.ledger).stderr
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    assert process.returncode == 0
