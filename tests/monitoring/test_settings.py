"""Settings: everything that may be said, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.statements import LOG_VKEY, ORIGIN
from tlog.errors import FormatError, StorageError
from tlog.monitoring.settings import Command, Mail, Webhook, read_settings

LOG = '[[log]]\npolicy = "log.policy"\nsource = "https://log.example.com/users"\n'
ALL = f"""
directory = "state"
interval_s = 30
unreachable_s = 60
unreconciled_s = 120
skew_s = 10
metrics_file = "metrics.prom"
peers = ["https://witness.example.net/", "http://127.0.0.1:7382"]
{LOG}stale_s = 86400
[log.growth]
interval_s = 600
factor = 5.5
least = 10
most = 100
[[rule]]
name = "root logins"
query = "actor=root action=login*"
severity = "critical"
origins = ["{ORIGIN}"]
with_data = true
[[webhook]]
name = "hook"
url = "https://hooks.example.com/tlog"
authorization_file = "hook.secret"
least = "error"
[[mail]]
name = "mail"
host = "smtp.example.com"
from = "tlog@example.com"
to = ["ops@example.com"]
user = "tlog"
password_file = "mail.secret"
[[command]]
name = "pager"
run = ["page", "--now"]
"""


def write(directory: Path, text: str) -> Path:
    """Write settings and the policy that they name."""
    (directory / "log.policy").write_text(f"log {LOG_VKEY}\nquorum none\n")
    path = directory / "monitor.toml"
    path.write_text(text)
    return path


def test_everything(tmp_path: Path) -> None:
    """Each setting comes out as it was written, and paths are relative to the file."""
    found = read_settings(write(tmp_path, ALL))
    assert (found.directory, found.metrics_file) == (tmp_path / "state", tmp_path / "metrics.prom")
    assert (found.interval_s, found.unreachable_s, found.unreconciled_s, found.skew_s) == (30, 60, 120, 10)
    assert found.peers == ("https://witness.example.net", "http://127.0.0.1:7382")
    (log,), (rule,) = found.logs, found.rules
    assert (log.origin, log.source, log.stale_s) == (ORIGIN, "https://log.example.com/users", 86400)
    assert log.growth is not None
    assert (log.growth.interval_s, log.growth.factor, log.growth.least, log.growth.most) == (600, 5.5, 10, 100)
    assert (rule.name, rule.severity, rule.origins, rule.with_data) == ("root logins", "critical", (ORIGIN,), True)
    hook, mail, command = found.targets
    assert isinstance(hook, Webhook)
    assert isinstance(mail, Mail)
    assert isinstance(command, Command)
    assert (hook.authorization_file, hook.least) == (tmp_path / "hook.secret", "error")
    assert (mail.port, mail.tls, mail.password_file) == (587, "starttls", tmp_path / "mail.secret")
    assert command.words == ("page", "--now")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "log"),
        (LOG + LOG, "log"),
        ("unknown = 1\n" + LOG, "unknown"),
        (LOG + "unknown = 1\n", "log 1, unknown"),
        ("interval_s = 0\n" + LOG, "interval_s"),
        ("interval_s = true\n" + LOG, "interval_s"),
        ("interval_s = nan\n" + LOG, "interval_s"),
        ('interval_s = "1"\n' + LOG, "interval_s"),
        ('peers = ["ftp://x"]\n' + LOG, "peers"),
        ('peers = "http://x"\n' + LOG, "peers"),
        (f"peers = {['http://x'] * 65}\n" + LOG, "peers"),
        (LOG + 'origin = "other.example/log"\n', "log 1, origin"),
        (LOG + "[log.growth]\nfactor = 0\n", "log 1, growth, factor"),
        (LOG + '[[rule]]\nname = "x"\n', "rule 1, query"),
        (LOG + '[[rule]]\nname = "x"\nquery = "nothing"\n', "query, character 1"),
        (LOG + '[[rule]]\nname = "x"\nquery = ""\norigins = ["o"]\n', "rule 1, origins"),
        (LOG + '[[rule]]\nname = "x"\nquery = ""\nseverity = "bad"\n', "rule 1, severity"),
        (LOG + '[[webhook]]\nname = "x"\nurl = "file:///etc/passwd"\n', "webhook 1, url"),
        (LOG + '[[command]]\nname = "x"\nrun = []\n', "command 1, run"),
        (LOG + '[[command]]\nname = "x"\nrun = ["a"]\n' * 2, "target"),
        (LOG + '[[mail]]\nname = "x"\nhost = "h"\nfrom = "a@b"\nto = ["a\\nb@c"]\n', "mail 1, to"),
        (
            LOG + '[[mail]]\nname = "x"\nhost = "h"\nfrom = "a@b"\nto = ["a@b"]\ntls = "none"\npassword_file = "f"\n',
            "mail 1, tls",
        ),
    ],
)
def test_refused(tmp_path: Path, text: str, what: str) -> None:
    """Whatever is not a setting, or not of its kind, is refused by name."""
    with pytest.raises(FormatError) as caught:
        read_settings(write(tmp_path, text))
    assert caught.value.what == what


def test_files_that_are_none(tmp_path: Path) -> None:
    """No file, no TOML, no policy."""
    with pytest.raises(StorageError):
        read_settings(tmp_path / "missing")
    with pytest.raises(FormatError, match="TOML"):
        read_settings(write(tmp_path, "a = [" * 10_000))
    path = write(tmp_path, LOG)
    (tmp_path / "log.policy").write_text("quorum none\n")
    with pytest.raises(FormatError, match="origin"):
        read_settings(path)
