"""Grants: what is kept, what counts, and that every change is recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.incidents.programs import start
from tests.ledgers import FaultyDisk, QuickDisk, StepClock
from tlog.access import Tokens
from tlog.accessrules import EVERY
from tlog.errors import ConflictError, Error, FormatError, NotFoundError, StorageError
from tlog.grant import MAX_FILE_SIZE, MAX_PARTITIONS, VERBS, Token
from tlog.ledger import Ledger
from tlog.names import SYSTEM_PARTITION

DAY_S = 86_400


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A ledger without tokens."""
    return Ledger.create(tmp_path / "ledger", origin="audit.example.com", disk=QuickDisk())


def acts(ledger: Ledger) -> list[dict[str, Any]]:
    """What was recorded, oldest first."""
    return [entry.data for entry in ledger.existing(SYSTEM_PARTITION).entries()]


def test_a_tokens_life(ledger: Ledger) -> None:
    """A token counts from its creation to its revocation, also for those who looked before; nothing else counts."""
    tokens, other = Tokens(ledger), Tokens(Ledger.open(ledger.path))
    assert other.list() == []
    text, token = tokens.create("web-1", ["read", "append"], ["users", "orders"])
    assert re.fullmatch(r"tlog_[0-9a-f]{12}_[0-9a-f]{64}", text)
    assert (token.writer, token.verbs, token.partitions) == ("web-1", ("append", "read"), ("orders", "users"))
    assert tokens.authenticate(text) == other.authenticate(text) == token
    second, _ = tokens.create("web-1", VERBS)
    assert second != text
    for place in range(len(text)):
        wrong = text[:place] + ("0" if text[place] != "0" else "1") + text[place + 1 :]
        assert other.authenticate(wrong) is None
    for wrong in ("", text[:-1], text + "0", text.upper(), f" {text}", f"tlog_{token.id}_", token.id, "é" * 10):
        assert other.authenticate(wrong) is None
    assert tokens.revoke(token.id) == token
    assert other.authenticate(text) is None
    assert other.authenticate(second) is not None
    with pytest.raises(NotFoundError, match="tlog token list"):
        other.revoke(token.id)


def test_no_secret_is_kept(ledger: Ledger) -> None:
    """No file of the ledger holds a token's secret, one the hash, and a grant that is shown neither."""
    text, token = Tokens(ledger).create("web-1", VERBS)
    ledger.close()
    secret = text.rpartition("_")[2].encode()
    assert token.sha256 is not None
    for path in ledger.path.rglob("*"):
        if path.is_file():
            assert secret not in path.read_bytes()
            assert (token.sha256.hex().encode() in path.read_bytes()) == (path.name == "tokens.json")
    assert token.sha256.hex() not in repr(token) + json.dumps(token.public_fields())
    assert repr(token.sha256) not in repr(token)


def test_every_change_is_an_entry(ledger: Ledger) -> None:
    """Who was granted what by whom, and what was taken away, stand in the system partition, which verifies."""
    tokens = Tokens(ledger)
    _, token = tokens.create("web-1", ["append"], ["users"], lifetime_s=DAY_S, actor="alice")
    tokens.create_for_certificate("CN=web-2,O=Example", "web-2", ["append"])
    tokens.revoke(token.id, actor="bob")
    created, certified, revoked = acts(ledger)
    assert (created["actor"], created["action"], created["target"]) == ("alice", "token.create", f"token/{token.id}")
    assert created["data"] == {name: value for name, value in token.public_fields().items() if name != "id"}
    assert certified["data"]["certificate"] == "CN=web-2,O=Example"
    assert (revoked["actor"], revoked["action"], revoked["target"]) == ("bob", "token.revoke", f"token/{token.id}")
    ledger.partition(SYSTEM_PARTITION).publish()
    assert ledger.partition(SYSTEM_PARTITION).verify().entries == 3


def test_what_cannot_be_recorded(ledger: Ledger) -> None:
    """Where an act cannot be recorded, nothing is granted; but what is taken away is taken away, and the error told."""
    tokens = Tokens(ledger)
    text, token = tokens.create("web-1", ["append"])
    ledger.close()
    (ledger.path / "partitions" / SYSTEM_PARTITION).rename(ledger.path / "aside")
    (ledger.path / "partitions" / SYSTEM_PARTITION).write_bytes(b"in the way")
    tokens = Tokens(Ledger.open(ledger.path))
    with pytest.raises(StorageError):
        tokens.create("web-2", ["append"])
    assert tokens.list() == [token]
    with pytest.raises(StorageError):
        tokens.revoke(token.id)
    assert tokens.list() == []
    assert tokens.authenticate(text) is None


@pytest.mark.parametrize("mode", ["not done", "half done", "done"])
def test_a_failure_at_any_write(tmp_path: Path, mode: str) -> None:
    """Whatever write fails, the file is the old or the new one, and a grant that was told to be made is there."""
    failures, fail_at = 0, 0
    while True:
        disk = FaultyDisk()
        path = tmp_path / f"{mode}-{fail_at}"
        ledger = Ledger.create(path, origin="audit.example.com", disk=disk)
        _, first = Tokens(ledger).create("first", ["read"])
        disk.fail_at, disk.mode = len(disk.log) + fail_at, mode
        made: list[Token] = []
        try:
            made.append(Tokens(ledger).create("second", ["append"])[1])
            Tokens(ledger).revoke(first.id)
            break
        except Error:
            failures += 1
        found = Tokens(Ledger.open(path)).list()
        assert [token.writer for token in found] in (["first"], ["first", "second"], ["second"])
        assert all(token in found for token in made)
        fail_at += 1
    assert failures > 8


def test_expiry(ledger: Ledger) -> None:
    """A token stops to count when its time is over, to the second, and stays in the list until it is revoked."""
    clock = StepClock()
    tokens = Tokens(ledger, clock=clock)
    text, token = tokens.create("web-1", ["append"], lifetime_s=60)
    certified = tokens.create_for_certificate("CN=a", "web-2", ["append"], lifetime_s=60)
    assert token.expires is not None
    start_s = clock.now_ns // 10**9
    clock.now_ns = (start_s + 60) * 10**9 - 2_000_000
    assert tokens.authenticate(text) == token
    clock.now_ns = (start_s + 60) * 10**9 - 1_000_000
    assert tokens.authenticate(text) is None
    assert tokens.identify("CN=a") is None
    assert tokens.list() == [token, certified]
    assert not token.is_expired(start_s * 10**9)


def test_certificates(ledger: Ledger) -> None:
    """A subject proves one grant, letter by letter; a token does not prove it, nor the other way round."""
    tokens = Tokens(ledger)
    granted = tokens.create_for_certificate("CN=web-1,O=Example", "web-1", ["append"])
    text, _ = tokens.create("web-2", ["append"])
    assert tokens.identify("CN=web-1,O=Example") == granted
    for subject in ("CN=web-1", "CN=web-1,O=example", "CN=web-1, O=Example", "", text, granted.id):
        assert tokens.identify(subject) is None
    assert tokens.authenticate(f"tlog_{granted.id}_{'0' * 64}") is None
    with pytest.raises(ConflictError, match=granted.id):
        tokens.create_for_certificate("CN=web-1,O=Example", "other", ["read"])
    tokens.revoke(granted.id)
    assert tokens.identify("CN=web-1,O=Example") is None
    tokens.create_for_certificate("CN=web-1,O=Example", "other", ["read"])


def test_scopes(ledger: Ledger) -> None:
    """A grant covers its verbs in its partitions, and nothing else; EVERY covers all, also what comes later."""
    _, some = Tokens(ledger).create("web-1", ["append"], ["users"])
    _, every = Tokens(ledger).create("auditor", ["read", "admin"], [EVERY])
    table = [(verb, name) for verb in VERBS for name in ("users", "orders", SYSTEM_PARTITION, "*", "")]
    assert [pair for pair in table if some.may(*pair)] == [("append", "users")]  # type: ignore[arg-type]
    assert all(every.may(verb, name) == (verb != "append") for verb, name in table)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("writer", {"writer": ""}), ("writer", {"writer": "a\nb"}), ("writer", {"writer": " a"}),
        ("writer", {"writer": "x" * 129}), ("writer", {"writer": "a\u202eb"}), ("verbs", {"verbs": []}),
        ("verbs", {"verbs": ["write"]}), ("verbs", {"verbs": "read"}), ("partitions", {"partitions": []}),
        ("partition name", {"partitions": ["Users"]}), ("partition name", {"partitions": ["api"]}),
        ("partitions", {"partitions": ["*", "users"]}), ("partitions", {"partitions": "users"}),
        ("partitions", {"partitions": [f"p{number}" for number in range(MAX_PARTITIONS + 1)]}),
        ("lifetime_s", {"lifetime_s": 0}), ("lifetime_s", {"lifetime_s": 10**12}), ("lifetime_s", {"lifetime_s": 1.5}),
        ("certificate", {"subject": ""}), ("certificate", {"subject": "CN=é"}), ("certificate", {"subject": " CN=a"}),
        ("certificate", {"subject": "CN=a\n"}), ("certificate", {"subject": "C" * 1025}),
    ],
)  # fmt: skip
def test_what_cannot_be_granted(ledger: Ledger, field: str, change: dict[str, Any]) -> None:
    """What is wrong is named, and neither granted nor recorded."""
    given_: dict[str, Any] = {"writer": "web-1", "verbs": ["read"], "partitions": ["users"], **change}
    tokens = Tokens(ledger)
    create: Callable[..., object] = tokens.create_for_certificate if "subject" in change else tokens.create
    with pytest.raises(FormatError) as caught:
        create(**given_)
    assert caught.value.what.startswith(field)
    assert tokens.list() == []
    assert ledger.partitions() == []


GOOD = Token("0123456789ab", "web-1", ("append",), ("users",), "2026-11-21T09:00:00Z", sha256=bytes(32))


@given(
    writer=st.text(min_size=1, max_size=128).filter(lambda text: text.isprintable() and text == text.strip()),
    verbs=st.sets(st.sampled_from(VERBS), min_size=1),
    names=st.sets(st.from_regex(r"[a-z0-9]{5,20}", fullmatch=True), min_size=1),
    subject=st.none() | st.from_regex(r"CN=[!-~]{1,20}", fullmatch=True),
)
def test_stored_forms_read_back(writer: str, verbs: set[str], names: set[str], subject: str | None) -> None:
    """A grant's stored form gives it back, through JSON."""
    ordered = tuple(verb for verb in VERBS if verb in verbs)
    sha256 = bytes(range(32)) if subject is None else None
    token = Token(GOOD.id, writer, ordered, tuple(sorted(names)), GOOD.created, None, subject, sha256)
    assert Token.from_fields(json.loads(json.dumps(token.to_fields()))) == token


@pytest.mark.parametrize(
    "change",
    [
        {"id": "0123456789AB"}, {"id": 5}, {"id": None}, {"verbs": ["read", "append"]}, {"verbs": ["read", "read"]},
        {"verbs": "read"}, {"verbs": [1]}, {"partitions": ["b", "a"]}, {"partitions": ["a", "a"]},
        {"partitions": ["*", "a"]}, {"partitions": ["../x"]}, {"created": "2026-11-21"},
        {"created": "2026-11-21T9:00:00Z"}, {"created": "2026-02-30T09:00:00Z"}, {"expires": "soon"}, {"expires": None},
        {"sha256": "00"}, {"sha256": "zz" * 32}, {"sha256": "AB" * 32}, {"sha256": None}, {"certificate": "CN=a"},
        {"more": 1}, {"writer": "\ud800"},
    ],
)  # fmt: skip
def test_an_altered_file_is_refused(ledger: Ledger, change: dict[str, Any]) -> None:
    """The file has one spelling; what is not in it, nobody may do, and the error says where it is wrong."""
    tokens = Tokens(ledger)
    text, _ = tokens.create("web-1", ["append"])
    fields = json.loads(tokens.path.read_bytes())
    fields["tokens"][0] |= change
    tokens.path.write_text(json.dumps(fields, separators=(",", ":")) + "\n")
    for call in (tokens.list, lambda: tokens.authenticate(text), lambda: tokens.create("web-2", ["append"])):
        with pytest.raises(FormatError, match=re.escape(str(tokens.path))):
            call()


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\n", b"{}", b"[]\n", b'{"serial":1,"tokens":[]}', b'{"serial":1,"tokens":[]} \n', b'{"tokens":[]}\n',
        b'{"serial": 1,"tokens":[]}\n', b'{"serial":-1,"tokens":[]}\n', b'{"serial":1,"serial":1,"tokens":[]}\n',
        b'{"serial":true,"tokens":[]}\n', b'{"serial":1,"tokens":{}}\n', b'{"serial":1,"tokens":[[]]}\n', b"\xff\n",
        b'{"serial":1,"tokens":[' + b"[" * 100_000 + b"\n", b" " * (MAX_FILE_SIZE + 1),
    ],
)  # fmt: skip
def test_no_file_of_tokens(ledger: Ledger, raw: bytes) -> None:
    """What is no such file is refused, whatever its size and depth."""
    tokens = Tokens(ledger)
    tokens.create("web-1", ["append"])
    tokens.path.write_bytes(raw)
    with pytest.raises(FormatError, match="put back a copy"):
        tokens.list()


def test_two_of_one_id_or_subject_are_refused(ledger: Ledger) -> None:
    """No id and no certificate stands twice."""
    tokens = Tokens(ledger)
    tokens.create("web-1", ["append"])
    tokens.create_for_certificate("CN=a", "web-2", ["append"])
    fields = json.loads(tokens.path.read_bytes())
    for number, id_ in ((0, fields["tokens"][0]["id"]), (1, "0" * 12)):
        more = [*fields["tokens"], {**fields["tokens"][number], "id": id_}]
        tokens.path.write_text(json.dumps({"serial": 9, "tokens": more}, separators=(",", ":")) + "\n")
        with pytest.raises(FormatError, match="one before it"):
            tokens.list()


def test_modes_and_links(ledger: Ledger) -> None:
    """The file is its owner's alone, in a directory that is, and is refused where others may read it or chose it."""
    tokens = Tokens(ledger)
    text, token = tokens.create("web-1", ["append"])
    assert tokens.path.stat().st_mode & 0o777 == 0o600
    assert tokens.path.parent.stat().st_mode & 0o777 == 0o700
    for mode in (0o640, 0o604, 0o620, 0o611):
        tokens.path.chmod(mode)
        with pytest.raises(FormatError, match="chmod 600"):
            tokens.authenticate(text)
    tokens.path.chmod(0o400)
    assert tokens.authenticate(text) == token
    elsewhere = ledger.path / "elsewhere"
    tokens.path.rename(elsewhere)
    assert tokens.authenticate(text) is None
    tokens.path.symlink_to(elsewhere)
    with pytest.raises(FormatError, match="no regular file"):
        tokens.authenticate(text)


def test_more_than_the_file_holds(ledger: Ledger) -> None:
    """Grants that would make the file larger than any reader takes are refused, and nothing is recorded of them."""
    tokens = Tokens(ledger)
    names = [f"partition-{number:06d}-{'x' * 47}" for number in range(MAX_PARTITIONS)]
    tokens.create("web-1", ["read"], names)
    count = MAX_FILE_SIZE // tokens.path.stat().st_size
    for _ in range(count - 1):
        tokens.create("web-1", ["read"], names)
    with pytest.raises(FormatError, match="revoke those"):
        tokens.create("web-1", ["read"], names)
    assert len(tokens.list()) == len(acts(ledger)) == count > 50
    tokens.revoke(tokens.list()[0].id)
    tokens.create("web-2", ["read"], names)


MANY = """
import sys
from tlog.access import Tokens
from tlog.ledger import Ledger
tokens = Tokens(Ledger.open(sys.argv[1]))
for number in range(int(sys.argv[2])):
    _, kept = tokens.create(sys.argv[3], ["append"])
    _, gone = tokens.create(sys.argv[3] + "-gone", ["append"])
    tokens.revoke(gone.id)
    print(kept.id)
"""


def test_processes_that_change_grants_at_once(tmp_path: Path) -> None:
    """Four processes create and revoke at the same time: every grant that was made is there, none that was taken."""
    Ledger.create(tmp_path / "ledger", origin="audit.example.com")
    processes = [start(MANY, tmp_path / "ledger", 8, f"writer-{number}") for number in range(4)]
    kept = {line for process in processes for line in process.communicate(timeout=60)[0].split()}
    assert [process.returncode for process in processes] == [0] * 4
    assert len(kept) == 32
    with Ledger.open(tmp_path / "ledger") as ledger:
        assert {token.id for token in Tokens(ledger).list()} == kept
        actions = [act["action"] for act in acts(ledger)]
        assert (actions.count("token.create"), actions.count("token.revoke")) == (64, 32)
    assert sorted(path.name for path in (tmp_path / "ledger" / "access").iterdir()) == ["lock", "tokens.json"]
