"""The nightly verification: what it alerts, and to whom."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import tlog
from tests.deploy.conftest import BIN, DEPLOY
from tests.ledgers import NAME, QuickDisk, create, opened

SCRIPT = DEPLOY / "cron" / "tlog-verify-ledger"
MAIL = "#!/bin/sh\ncat >>{mails}\n"
pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")


class Hook(ThreadingHTTPServer):
    """A webhook. got: the documents that were posted. status: what it answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _HookHandler)
        self.got: list[dict[str, Any]] = []
        self.status = 200


class _HookHandler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        """Keep the document."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/json"
        self.server.got.append(json.loads(body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A webhook that listens."""
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Night:
    """A ledger, what is kept of it, and the places where alerts arrive."""

    def __init__(self, root: Path, hook: Hook) -> None:
        self.ledger = root / "ledger"
        self.kept = root / "kept"
        self.mails = root / "mails"
        self.mails.touch()
        programs = root / "programs"
        programs.mkdir()
        (programs / "sendmail").write_text(MAIL.format(mails=self.mails))
        (programs / "sendmail").chmod(0o755)
        self.variables = {
            "PATH": f"{programs}:{BIN}:{os.environ['PATH']}",
            "TLOG_LEDGER": str(self.ledger),
            "TLOG_KEPT": str(self.kept),
            "TLOG_ALERT_WEBHOOK": f"http://127.0.0.1:{hook.server_port}/alert",
            "TLOG_ALERT_MAIL": "ops@example.com",
        }

    def pass_by(self) -> tuple[int, str]:
        """Run the script; return its status, and what it said."""
        done = subprocess.run([SCRIPT], env=self.variables, capture_output=True, text=True, check=False)
        assert done.stdout == ""
        return done.returncode, done.stderr

    def publish(self, count: int) -> None:
        """Append so many entries and publish."""
        partition = opened(self.ledger, disk=QuickDisk())
        partition.append_many({"n": number} for number in range(count))
        partition.publish()
        partition.close()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a ledger of 300 entries, and what the first night keeps of it."""
    root = tmp_path_factory.mktemp("nights")
    partition = create(root / "ledger", disk=QuickDisk())
    partition.append_many({"n": number} for number in range(300))
    partition.publish()
    partition.close()
    with Hook() as hook:
        assert Night(root, hook).pass_by() == (0, "")
        assert hook.got == []
    return root


@pytest.fixture
def night(kept: Path, tmp_path: Path, hook: Hook) -> Night:
    """The state after one night without any trouble."""
    for name in ("ledger", "kept"):
        shutil.copytree(kept / name, tmp_path / name)
    return Night(tmp_path, hook)


def test_nights_without_trouble(night: Night, hook: Hook) -> None:
    """As the log grows, each night keeps the newer checkpoint, says nothing, and alerts nobody.

    A partition without a checkpoint is verified, and nothing of it is kept.
    """
    night.publish(50)
    with tlog.Ledger.open(night.ledger) as ledger:
        ledger.partition("quiet").create()
    assert night.pass_by() == (0, "")
    kept = tlog.Checkpoint.parse((night.kept / f"{NAME}.checkpoint").read_bytes())
    assert kept.tree_size == 350
    assert (night.kept / f"{NAME}.vkey").read_text() == f"{opened(night.ledger).vkey}\n"
    assert sorted(path.name for path in night.kept.iterdir()) == [f"{NAME}.checkpoint", f"{NAME}.vkey"]
    assert (hook.got, night.mails.read_text()) == ([], "")


def _flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def test_a_damaged_entry(night: Night, hook: Hook) -> None:
    """One flipped bit is alerted by all ways, with the entry, and what was kept stays."""
    before = (night.kept / f"{NAME}.checkpoint").read_bytes()
    _flip(night.ledger / "partitions" / NAME / "segments" / f"{0:020}.jsonl")
    status, said = night.pass_by()
    assert (status, f"the verification of {NAME} failed" in said) == (1, True)
    (alert,) = hook.got
    assert f"the verification of {NAME} failed" in alert["text"]
    assert alert["detail"]["exit_code"] == 1
    assert alert["detail"]["seq"] in range(100, 200)
    mail = night.mails.read_text()
    assert mail.startswith("To: ops@example.com\nSubject: tlog on ")
    assert "failed\n\n" in mail
    assert (night.kept / f"{NAME}.checkpoint").read_bytes() == before


def test_a_log_that_was_cut_off(night: Night, hook: Hook) -> None:
    """A ledger that was put back to an older state is sound in itself; what was kept shows it."""
    shutil.copytree(night.ledger, night.ledger.with_name("older"))
    night.publish(50)
    assert night.pass_by()[0] == 0
    shutil.rmtree(night.ledger)
    shutil.move(night.ledger.with_name("older"), night.ledger)
    assert night.pass_by()[0] == 1
    assert [alert["detail"]["exit_code"] for alert in hook.got] == [1]


def test_a_log_with_another_key(night: Night, hook: Hook) -> None:
    """Whoever writes the whole log anew, with a new key, is found out by the key that was kept."""
    shutil.rmtree(night.ledger)
    partition = create(night.ledger, disk=QuickDisk())
    partition.append_many({"n": number} for number in range(300))
    partition.publish()
    partition.close()
    assert night.pass_by()[0] == 1
    assert len(hook.got) == 1


@pytest.mark.parametrize("what", ["partition", "ledger"])
def test_what_is_gone(night: Night, hook: Hook, what: str) -> None:
    """A partition that was kept and is not there any more is alerted, and so is a ledger that is gone."""
    shutil.rmtree(night.ledger / "partitions" / NAME if what == "partition" else night.ledger)
    assert night.pass_by()[0] == 1
    assert all(alert["detail"]["exit_code"] == 3 for alert in hook.got)
    assert len(hook.got) == (1 if what == "partition" else 2)


def test_an_alert_that_cannot_be_delivered(night: Night, hook: Hook) -> None:
    """A webhook that refuses makes the exit status 2; the mail goes out all the same."""
    hook.status = 404
    _flip(night.ledger / "partitions" / NAME / "segments" / f"{0:020}.jsonl")
    status, said = night.pass_by()
    assert (status, "404" in said) == (2, True)
    assert "failed" in night.mails.read_text()


@pytest.mark.parametrize("name", ["TLOG_LEDGER", "TLOG_KEPT"])
def test_settings_that_are_missing(night: Night, name: str) -> None:
    """Without a ledger or a place to keep things nothing is verified, and the status says so."""
    del night.variables[name]
    status, said = night.pass_by()
    assert (status != 0, name in said) == (True, True)


def test_the_script_is_sound() -> None:
    """ShellCheck has nothing to say about it."""
    done = subprocess.run([BIN / "shellcheck", SCRIPT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_cron_table() -> None:
    """The table has one job, of the script, with the variables that it needs."""
    lines = [line for line in (DEPLOY / "cron" / "tlog.cron").read_text().splitlines() if not line.startswith("#")]
    *settings, job = lines
    names = {setting.partition("=")[0] for setting in settings}
    assert {"PATH", "MAILTO", "TLOG_LEDGER", "TLOG_KEPT"} <= names
    minute, hour, *days, user, command = job.split(maxsplit=6)
    assert (int(minute) in range(60), int(hour) in range(24), days, user) == (True, True, ["*"] * 3, "tlog")
    assert command.endswith(f"/{SCRIPT.name}")
