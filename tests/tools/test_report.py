"""`tlog report`, and `tlog-verify --report`."""

from __future__ import annotations

import pytest

import tlog
from tests import ledgers
from tests.tools.conftest import ENTRIES, Shell, modules_after, objects, ok


def test_report(users: Shell) -> None:
    """A file is written, replacing what is there, and the verifier accepts it with nothing but the key."""
    path = users.write("report.html", "old")
    result = users.tlog("report", "users", "-o", path, "--samples", 4)
    assert (ok(result), result.stderr) == ("", f"wrote {path}: {ENTRIES} events, 4 proofs\n")
    assert path.read_text().startswith("<!DOCTYPE html>")
    assert [file.name for file in users.directory.iterdir()].count("report.html") == len(
        list(users.directory.glob("*report*"))
    )
    shown = ok(users.verify("--report", path, "--key", ok(users.tlog("vkey", "users")).strip()))
    proved, _, not_proved = shown.partition("not proved:\n")
    assert proved.startswith("proved: 4 entries of the report are in the log audit.example.com/users, as shown")
    for seq in (0, 99, 199, 299):
        assert f"  entry {seq:<4} at 2" in proved
        assert f'{{"user":"u{seq}","action":"login"}}\n' in proved
    assert "the report's counts, charts and findings" in not_proved
    assert "no witness was asked for" in not_proved


def test_standard_output_and_json(users: Shell) -> None:
    """`-o -` prints the page and nothing else; what is said about it goes to standard error."""
    result = users.tlog("report", "users", "-o", "-", "--samples", 1, "--json")
    page = ok(result)
    assert page.startswith("<!DOCTYPE html>")
    assert page.endswith("</html>")
    fields = {"partition": "users", "file": "-", "verified": True, "anchored": False, "events": ENTRIES, "notable": 0}
    assert objects(result.stderr) == [fields | {"proofs": 1, "problems": []}]
    key = ok(users.tlog("vkey", "users")).strip()
    (found,) = objects(ok(users.verify("--report", "-", "--key", key, "--json", stdin=page)))
    assert (found["proved"], [entry["seq"] for entry in found["entries"]]) == (True, [0])
    assert found["checkpoint"]["tree_size"] == ENTRIES
    kept = users.write("kept", ok(users.tlog("checkpoint", "users", "--size", 100)))
    path = users.directory / "report.html"
    (said,) = objects(ok(users.tlog("report", "users", "-o", path, "--checkpoint", kept, "--json")))
    assert (said["anchored"], said["file"]) == (True, str(path))


def test_a_page_of_somebody_else(users: Shell) -> None:
    """A page that was changed, or is under another key, is not proved."""
    page = ok(users.tlog("report", "users", "-o", "-"))
    key = ok(users.tlog("vkey", "users")).strip()
    changed = users.write("changed.html", page.replace("&#34;u0&#34;", "&#34;u1&#34;"))
    result = users.verify("--report", changed, "--key", key)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "proof 1 of the report: what the report shows as data of entry 0" in result.stderr
    other = tlog.SigningKey.generate("audit.example.com/users").verifier_key
    assert users.verify("--report", users.write("page.html", page), "--key", str(other)).exit_code == 1
    assert users.verify("--report", users.write("none.html", "<p>"), "--key", key).exit_code == 2
    assert users.verify("--report", changed, "--proof", changed, "--key", key).exit_code == 2


def test_a_log_that_does_not_verify(users: Shell) -> None:
    """The report is written and shows the place, and the command ends with 1."""
    with tlog.Ledger.open(users.ledger) as ledger:
        path = ledger.partition("users").paths.plain(256)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b'"user":"u270"', b'"user":"u271"'))
    target = users.directory / "report.html"
    result = users.tlog("report", "users", "-o", target)
    assert result.exit_code == 1
    assert "tlog: users: error: entry 270" in result.stderr
    page = target.read_text()
    assert "Failed: verifying" in page
    assert "entry 270" in page
    result = users.tlog("report", "users", "-o", target, "--json")
    assert result.exit_code == 1
    (said,) = objects(result.stdout)
    assert said["verified"] is False
    assert "entry 270" in said["problems"][0]["message"]
    assert {fields["partition"] for fields in objects(result.stderr)} == {"users"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nosuch", "-o", "out"], 3, "tlog list"),
        (["users"], 2, "Missing option '-o'"),
        (["users", "-o", "out", "--since", "yesterday"], 2, "since: 'yesterday' is no time; write 2026-01-31"),
        (["users", "-o", "out", "--samples", "101"], 2, "101 is not in the range"),
        (["users", "-o", "out", "--checkpoint", "missing"], 3, "missing"),
        (["users", "-o", "out", "--checkpoint", "ledger/tlog.toml"], 2, "note"),
        (["users", "-o", "missing/out"], 3, "missing"),
    ],
)
def test_bad_input(users: Shell, words: list[str], code: int, said: str) -> None:
    """What is refused leaves no file behind."""
    before = ledgers.files_of(users.directory)
    result = users.start("tlog", "report", *words)
    assert (result.returncode, result.stdout) == (code, "")
    assert said in result.stderr
    after = ledgers.files_of(users.directory)
    assert {name for name in after.keys() - before.keys() if not name.startswith("ledger/index/")} == set()


def test_verifying_a_report_loads_no_storage(users: Shell) -> None:
    """The verifier reads a report with the verifying layers alone, and without jinja2."""
    path = users.directory / "report.html"
    ok(users.tlog("report", "users", "-o", path))
    key = ok(users.tlog("vkey", "users")).strip()
    loaded = modules_after("tlog_tools.verify import main as command", ["--report", str(path), "--key", key, "-q"])
    assert "tlog.report.proofs" in loaded
    names = (
        "tlog.storage",
        "tlog.ledger",
        "tlog.partition",
        "tlog.index",
        "tlog.report.contents.",
        "jinja2",
        "sqlite3",
    )
    assert not [name for name in loaded if name.startswith(names) or name == "tlog.report.contents"]
