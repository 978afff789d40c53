"""`tlog token`."""

from __future__ import annotations

import re

from tests.tools.conftest import Shell, objects, ok
from tlog.access import Tokens
from tlog.ledger import Ledger


def test_create_list_revoke(users: Shell) -> None:
    """The token is printed once, alone on standard output; the list shows what it may, and never the secret."""
    created = users.tlog(
        "token", "create", "web-1", "--append", "--read", "--partition", "users", "--partition", "orders"
    )
    text = ok(created).removesuffix("\n")
    assert re.fullmatch(r"tlog_[0-9a-f]{12}_[0-9a-f]{64}", text)
    assert "kept nowhere" in created.stderr
    assert text not in created.stderr
    with Ledger.open(users.ledger) as ledger:
        token = Tokens(ledger).authenticate(text)
    assert token is not None
    assert (token.verbs, token.partitions, token.expires) == (("append", "read"), ("orders", "users"), None)
    assert ok(users.tlog("token", "list")) == f"{token.id}  web-1  append,read  orders,users  for ever\n"
    assert objects(ok(users.tlog("token", "list", "--json"))) == [token.public_fields()]
    revoked = users.tlog("token", "revoke", token.id)
    assert (ok(revoked), revoked.stderr) == ("", f"revoked {token.id} of web-1\n")
    assert ok(users.tlog("token", "list")) == ""
    again = users.tlog("token", "revoke", token.id)
    assert (again.exit_code, "tlog token list" in again.stderr) == (3, True)


def test_for_programs(users: Shell) -> None:
    """With --json each says one object, in which the created token stands."""
    (created,) = objects(
        ok(users.tlog("token", "create", "auditor", "--read", "--partition", "*", "--days", 90, "--json"))
    )
    text = created.pop("token")
    assert (created["partitions"], created["verbs"], text.split("_")[1]) == (["*"], ["read"], created["id"])
    assert created["expires"] > created["created"]
    assert objects(ok(users.tlog("token", "list", "--json"))) == [created]
    assert objects(ok(users.tlog("token", "revoke", created["id"], "--json"))) == [
        {"revoked": created["id"], "writer": "auditor"}
    ]


def test_certificates(users: Shell) -> None:
    """A grant for a certificate has no token to print; a second one for the same subject is a conflict."""
    words = ("token", "create", "web-1", "--append", "--partition", "users", "--certificate", "CN=web-1,O=Example")
    created = users.tlog(*words)
    assert ok(created) == ""
    assert "certificate CN=web-1,O=Example" in created.stderr
    assert "kept nowhere" not in created.stderr
    assert "certificate CN=web-1,O=Example" in ok(users.tlog("token", "list"))
    assert users.tlog(*words).exit_code == 4
    (other,) = objects(ok(users.tlog(*words[:-1], "CN=web-2", "--json")))
    assert "token" not in other


def test_acts_are_entries(users: Shell) -> None:
    """What was done stands in tlog-system, found by a query; nobody can read a secret there."""
    text = ok(users.tlog("token", "create", "web-1", "--append", "--partition", "users"))
    ok(users.tlog("token", "revoke", text.split("_")[1]))
    found = ok(users.tlog("query", "tlog-system", "action=token.*"))
    assert found.count("token.create") == 1
    assert found.count("token.revoke") == 1
    assert text.split("_")[2].strip() not in found
    ok(users.tlog("publish", "tlog-system"))
    ok(users.tlog("verify", "tlog-system"))


def test_what_is_refused(users: Shell) -> None:
    """No verb, no partition, a bad name or time: bad input, and no token."""
    good = ["token", "create", "web-1", "--append", "--partition", "users"]
    for words in (
        ["token", "create", "web-1", "--partition", "users"], ["token", "create", "web-1", "--append"],
        ["token", "create", "", "--append", "--partition", "users"], [*good, "--days", "0"], [*good, "--days", "x"],
        [*good, "--days", "4000"], [*good, "--partition", "*"], [*good, "--certificate", ""],
        ["token", "create", "a\nb", *good[3:]], ["token", "create", "web-1", "--append", "--partition", "Users"],
        ["token", "list", "x"], ["token", "revoke"], ["token", "renew", "x"],
    ):  # fmt: skip
        result = users.tlog(*words)
        assert (result.exit_code, result.stdout) == (2, ""), words
    assert ok(users.tlog("token", "list")) == ""
    assert ok(users.tlog("list")) == "users\n"


def test_names_of_strangers_on_a_terminal(users: Shell) -> None:
    """A file of tokens that somebody else wrote cannot steer the terminal: hidden characters are refused when read."""
    ok(users.tlog("token", "create", "web-1", "--append", "--partition", "users"))
    path = users.ledger / "access" / "tokens.json"
    path.write_bytes(path.read_bytes().replace(b"web-1", b"\\u001b[2J"))
    result = users.tlog("token", "list")
    assert (result.exit_code, "\x1b" in result.stderr) == (2, False)
