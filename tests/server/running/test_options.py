"""What `tlog serve` can be told: one table in the code, one on the page, and both say the same."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import tlog
from tests.ledgers import NAME, QuickDisk, create
from tests.server.running.server import ONE, running
from tests.waiting import until
from tlog_server.settings import Settings
from tlog_tools.main import cli
from tlog_tools.serve import serve_command

PAGE = Path(__file__).resolve().parents[3] / "docs" / "server.md"


def test_each_setting_is_an_option_and_a_variable() -> None:
    """With the same default, and the variable's name is the option's."""
    options = {option.name: option for option in serve_command.params if isinstance(option, click.Option)}
    for setting in fields(Settings):
        option = options.pop(setting.name)
        assert option.default == setting.default
        assert option.envvar == "TLOG_" + option.opts[0][2:].upper().replace("-", "_")
    assert set(options) == {"bind", "ledger_path", "as_json"}


def test_the_table_on_the_page() -> None:
    """The page has a row for each variable, with the option and the default; and no other rows."""
    rows = [
        tuple(cell.strip().replace("`", "") for cell in line.split("|")[1:4])
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `--")
    ]
    expected = [
        (option.opts[0], str(option.envvar), "" if option.is_flag else str(option.default))
        for option in serve_command.params
        if isinstance(option, click.Option) and option.envvar is not None
    ]
    assert rows == expected


def test_streams_leave_a_thread() -> None:
    """However many streams are allowed, they do not take all threads."""
    assert Settings(threads=4, max_streams=9).max_streams == 3
    assert Settings(threads=1).max_streams == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--workers", "0"], "workers"), (["--threads", "257"], "threads"), (["--max-streams", "256"], "max_streams"),
        (["--publish-interval", "nan"], "publish_interval_s"), (["--publish-interval", "0"], "publish_interval_s"),
        (["--token-rate", "-1"], "token_rate"), (["--log-format", "xml"], "--log-format"), (["--workers", "x"], "x"),
    ],
)  # fmt: skip
def test_settings_that_are_refused(tmp_path: Path, words: list[str], said: str) -> None:
    """What is outside its range is a usage error that names it."""
    create(tmp_path / "ledger", disk=QuickDisk()).create()
    result = CliRunner().invoke(cli, ["serve", "--ledger", str(tmp_path / "ledger"), *words])
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr


def test_variables_and_read_only(tmp_path: Path) -> None:
    """Variables count as options do; a read-only server writes nothing, publishes nothing, and needs no key."""
    partition = create(tmp_path / "ledger", disk=QuickDisk())
    partition.append_many(range(5))
    partition.publish()
    partition.append("not published")
    partition.close()
    for path in partition.paths.keys.glob("*.pem"):
        path.unlink()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "ledger").rglob("*")}
    with running(tmp_path / "ledger", environment={"TLOG_READ_ONLY": "1", "TLOG_WORKERS": "1"}) as server:
        until(lambda: server.get("/readyz").status_code == 200)
        status = server.get("/api/v1/status").json()
        assert (status["is_read_only"], status["is_kept"]) == (True, False)
        assert [found["published"] for found in status["partitions"]] == [5]
        assert len(server.workers) == 1
        assert server.end() == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "ledger").rglob("*")} == before


@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_a_passphrase_in_a_file(tmp_path: Path, ending: bytes) -> None:
    """A server whose key is encrypted publishes with the passphrase of a file, as systemd and Docker hand it over."""
    with tlog.Ledger.create(tmp_path / "ledger", origin="log.example", passphrase=b"open sesame") as ledger:
        ledger.partition(NAME).append("first")
    secret = tmp_path / "secret"
    secret.write_bytes(b"open sesame" + ending)
    with running(tmp_path / "ledger", *ONE, environment={"TLOG_KEY_PASSPHRASE_FILE": str(secret)}) as server:
        until(lambda: server.get(f"/{NAME}/checkpoint").status_code == 200)


def test_passphrases_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is missing or too large, and a passphrase that is there twice; every command says so."""
    create(tmp_path / "ledger", disk=QuickDisk()).append("first")
    large = tmp_path / "large"
    large.write_bytes(b"x" * 2000)
    for name, content, code in ((tmp_path / "none", None, 4), (large, None, 2), (large, "too", 2)):
        monkeypatch.setenv("TLOG_KEY_PASSPHRASE_FILE", str(name))
        if content is not None:
            monkeypatch.setenv("TLOG_KEY_PASSPHRASE", content)
        for command in ("publish", "serve"):
            result = CliRunner().invoke(cli, [command, "--ledger", str(tmp_path / "ledger")])
            assert (result.exit_code, result.stdout) == (code, ""), command
            assert str(name) in result.stderr or "TLOG_KEY_PASSPHRASE_FILE" in result.stderr


def test_without_the_passphrase_it_is_said(tmp_path: Path) -> None:
    """A server that cannot open the key serves what is published, is not ready, and says why, as JSON where wanted."""
    with tlog.Ledger.create(tmp_path / "ledger", origin="log.example", passphrase=b"open sesame") as ledger:
        ledger.partition(NAME).append("first")
    with running(tmp_path / "ledger", *ONE, "--log-format", "json") as server:
        until(lambda: any("publish_failed" in line for line in server.said()))
        until(lambda: server.get("/readyz").status_code == 503)
        assert server.get("/healthz").status_code == 200
        said = [json.loads(line) for line in server.said()]
    assert {line["level"] for line in said} <= {"error", "warning"}
    assert any("passphrase" in line["message"] for line in said)
