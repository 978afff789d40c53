"""Exit codes, colours, and what may reach a terminal."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import click
import orjson
import pytest
from click.testing import CliRunner

import tlog
from tests.tools.conftest import BIN, Shell, objects
from tlog_tools import output

NOTE = b"a.example/b\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\xe2\x80\x94 a.example/b AAAAAAA=\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (tlog.VerificationError("x"), 1),
        (tlog.CorruptLedgerError("x", place="entry 1", seq=1), 1),
        (tlog.SignatureError("a", b"abcd"), 1),
        (tlog.UnknownOriginError("a", "b"), 1),
        (tlog.InconsistentLogError("x", old_note=NOTE, new_note=NOTE), 1),
        (tlog.FormatError("a", "b"), 2),
        (tlog.RefusedItemError(1, 1, tlog.FormatError("a", "b")), 2),
        (click.UsageError("x"), 2),
        (tlog.NotFoundError("x"), 3),
        (FileNotFoundError(2, "gone", "x"), 3),
        (tlog.StorageError("x"), 4),
        (tlog.ConflictError("x"), 4),
        (tlog.CommitUnknownError("x"), 4),
        (PermissionError(13, "forbidden", "x"), 4),
        (tlog.PolicyError("x", met=("w1",), missing=("w2",)), 5),
        (ZeroDivisionError("x"), 70),
        (KeyboardInterrupt(), 130),
        (BrokenPipeError(), 141),
    ],
)
def test_exit_codes(error: BaseException, code: int) -> None:
    """Every error ends a command with its code, in words and in JSON, and only a defect with a traceback."""

    @click.command("program", cls=output.Program)
    @click.option("--json", is_flag=True)
    def command(json: bool) -> None:  # noqa: ARG001 - the program looks for it among the words
        raise error

    plain = CliRunner().invoke(command, [])
    assert (plain.exit_code, plain.stdout) == (code, "")
    assert ("Traceback" in plain.stderr) == (code == 70)
    if code < 70:
        in_json = CliRunner().invoke(command, ["--json"])
        fields = objects(in_json.stderr)[0]
        assert (in_json.exit_code, in_json.stdout, fields["exit_code"]) == (code, "", code)
        assert (fields["error"], fields["message"] != "") == (type(error).__name__, True)


def test_evidence_of_a_fork_is_printed() -> None:
    """Both signed notes of a contradiction are shown: they are what convicts the log."""

    @click.command("program", cls=output.Program)
    @click.option("--json", is_flag=True)
    def command(json: bool) -> None:  # noqa: ARG001 - as above
        raise tlog.InconsistentLogError("forked", old_note=NOTE, new_note=NOTE.replace(b"\n0\n", b"\n1\n"))

    assert CliRunner().invoke(command, []).stderr.count("— a.example/b AAAAAAA=") == 2
    fields = objects(CliRunner().invoke(command, ["--json"]).stderr)[0]
    assert fields["old_note"].encode() == NOTE
    assert fields["new_note"] != fields["old_note"]


@pytest.mark.parametrize(
    "text", ["a\x1b[31mb", "a\x9bb", "a\x7fb", "a\u202eb", "a\u2066b", "a\rb", "a\x00b", "a\udc80b"]
)
def test_printable(text: str) -> None:
    """What steers a terminal is escaped so that JSON reads it back; the rest stays."""
    shown = output.printable(text)
    assert shown.isascii()
    assert shown.isprintable()
    if "\udc80" not in text:
        assert orjson.loads(f'"{shown}"') == text
    assert output.printable("äöü – 漢字\n") == "äöü – 漢字\n"


def test_errors_cannot_steer_the_terminal(users: Shell) -> None:
    """A message that quotes a stranger's words is escaped."""
    result = users.tlog("get", "\x1b[2J", 0)
    assert result.exit_code == 2
    assert "\x1b" not in result.stderr


def on_terminal(shell: Shell, *words: str, **environment: str) -> str:
    """What a command shows on a pseudo-terminal that is both its output streams."""
    ours, theirs = pty.openpty()
    variables = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "TERM"}}
    with subprocess.Popen(
        [BIN / words[0], *words[1:]],
        cwd=shell.directory,
        env=variables | {"TERM": "xterm-256color", "TLOG_LEDGER": str(shell.ledger)} | environment,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ):
        os.close(theirs)
        parts = []
        with contextlib.suppress(OSError):  # the command has ended, and its end of the terminal is closed
            while part := os.read(ours, 65536):
                parts.append(part)
    os.close(ours)
    return b"".join(parts).decode()


def test_colours_and_bar_on_a_terminal(users: Shell) -> None:
    """On a terminal there are colours and a progress bar, which is gone at the end."""
    shown = on_terminal(users, "tlog", "verify", "users")
    assert "\x1b[33m" in shown
    assert "verifying users" in shown
    assert "not anchored" in shown.rpartition("verifying users")[2]


def test_no_color(users: Shell) -> None:
    """NO_COLOR takes the colours away, from results, errors and the bar."""
    shown = on_terminal(users, "tlog", "verify", "users", NO_COLOR="1")
    assert "not anchored" in shown
    assert "\x1b[3" not in shown


def test_dumb_terminals(users: Shell) -> None:
    """A terminal that can do nothing gets plain text and no bar."""
    shown = on_terminal(users, "tlog", "verify", "users", TERM="dumb")
    assert "\x1b" not in shown
    assert "verifying" not in shown


def test_entries_are_escaped_on_terminals_only(users: Shell) -> None:
    """An entry with control characters is shown escaped on a terminal, and piped byte for byte."""
    users.tlog("append", "evil", '"\x9b2J \u202e"')
    assert "\x9b2J".encode() in users.tlog("get", "evil", 0).stdout_bytes
    shown = on_terminal(users, "tlog", "get", "evil", "0")
    assert '"\\u009b2J \\u202e"' in shown
    assert "\x9b" not in shown


def test_no_colours_in_pipes(users: Shell) -> None:
    """What is piped has no escape sequences."""
    run = users.start("tlog", "verify")
    assert "\x1b" not in run.stdout + run.stderr


def test_a_full_disk_is_an_outage(users: Shell) -> None:
    """Standard output that takes no more ends a command with 4 and a message, not with success."""
    for words in (["tail", "users", "--from", "0"], ["list"]):
        with Path("/dev/full").open("wb") as full:
            run = subprocess.run(
                [BIN / "tlog", *words, "--ledger", users.ledger],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert (run.returncode, run.stderr) == (4, "tlog: error: No space left on device\n")


def test_closed_streams(users: Shell) -> None:
    """Closed standard streams end a command with 4, not with a traceback or false success."""
    for command in ("tlog list >&-", "tlog append users - <&-"):
        run = subprocess.run(
            ["sh", "-c", f"{BIN}/{command}"],
            env=os.environ | {"TLOG_LEDGER": str(users.ledger)},
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert run.returncode == 4
        assert "it is closed" in run.stderr


def test_inputs_have_limits(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the limit's size is read whole, a larger one is bad input; '-' is standard input."""
    path = shell.write("file", b"12345")
    assert output.read_input(str(path), 5, "thing") == b"12345"
    with pytest.raises(tlog.FormatError, match="larger than 4 bytes"):
        output.read_input(str(path), 4, "thing")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"12345")))
    with pytest.raises(tlog.FormatError, match="thing standard input"):
        output.read_input("-", 4, "thing")
