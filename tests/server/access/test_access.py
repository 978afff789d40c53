"""Who may read what: tokens, Basic authentication, certificates, and what the others are told."""

from __future__ import annotations

import base64
from typing import Any

import pytest

import tlog
from tests.server.access.conftest import ABSENT, PRIVATE, PUBLIC, SUBJECT, Guarded, bearing
from tlog.access import Tokens
from tlog_server.access import Caller, caller, client_address, may, require
from tlog_server.app import create_app
from tlog_server.problems import RefusedError

PATHS = (
    "checkpoint", "vkey", "tile/0/000", "tile/entries/000", "proof/inclusion?index=1", "proof/consistency?old=1",
    "entry/5", "tile/7/000", "entry/99999",
)  # fmt: skip
PROXY = {"REMOTE_ADDR": "10.1.2.3"}
CERTIFIED = {"X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-S-DN": SUBJECT}


def basic(password: str, user: str = "") -> dict[str, str]:
    """The header that a browser sends for this password."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def test_a_public_partition_needs_no_token(guarded: Guarded) -> None:
    """Everybody reads it, and shared caches keep what they may keep."""
    answer = guarded.client.get(f"/{PUBLIC}/tile/0/000")
    assert (answer.status_code, answer.headers["Cache-Control"][:6]) == (200, "public")
    assert "Authorization" not in answer.headers.get("Vary", "")
    assert guarded.client.get(f"/{PUBLIC}/tile/0/000", headers=bearing(guarded.stranger)).status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_a_private_partition(guarded: Guarded, path: str) -> None:
    """Each resource of it is for those only who may read it, and no shared cache keeps what they get."""
    url = f"/{PRIVATE}/{path}"
    anonymous = guarded.client.get(url)
    assert anonymous.status_code == 401
    assert anonymous.headers.getlist("WWW-Authenticate") == [
        'Bearer realm="tlog"', 'Basic realm="tlog", charset="UTF-8"',
    ]  # fmt: skip
    assert guarded.client.get(url, headers=bearing(guarded.stranger)).status_code == 403
    read = guarded.client.get(url, headers=bearing(guarded.reader))
    assert read.status_code == guarded.client.get(f"/{PUBLIC}/{path}").status_code
    for answer in (anonymous, read):
        assert "public" not in answer.headers["Cache-Control"]
        assert "Authorization" in answer.headers["Vary"]
    known = {"If-None-Match": read.headers.get("ETag", "*")}
    assert guarded.client.get(url, headers=known).status_code == 401
    if read.status_code == 200:
        again = guarded.client.get(url, headers=bearing(guarded.reader) | known)
        assert (again.status_code, "public" in again.headers["Cache-Control"]) == (304, False)


@pytest.mark.parametrize("path", PATHS)
def test_nobody_learns_which_private_partitions_there_are(guarded: Guarded, path: str) -> None:
    """A private partition, one that is not there, and a private one that is not there, look alike to strangers."""
    for headers in ({}, bearing(guarded.stranger)):
        answers = [guarded.client.get(f"/{name}/{path}", headers=headers) for name in (PRIVATE, ABSENT, "secret")]
        seen = {
            (answer.status_code, str({**answer.get_json(), "request_id": ""}), *map(str, _same(answer.headers)))
            for answer in answers
        }
        assert len(seen) == 1
    assert guarded.client.get(f"/{ABSENT}/{path}", headers=bearing(guarded.every)).status_code == 404
    assert guarded.client.get(f"/elsewhere/{path}", headers=bearing(guarded.stranger)).status_code == 404


@pytest.mark.parametrize("name", ["Users", "a" * 65, "_x", "x!", "witness", "*", "%2e%2e"])
def test_names_that_no_partition_can_have(guarded: Guarded, name: str) -> None:
    """They too are answered as private partitions are, and never as damage of the log."""
    for headers, status in (({}, 401), (bearing(guarded.stranger), 403), (bearing(guarded.every), 404)):
        assert guarded.client.get(f"/{name}/checkpoint", headers=headers).status_code in {status, 404}
        assert guarded.client.get(f"/api/v1/events?partition={name}", headers=headers).status_code == status


def _same(headers: Any) -> list[Any]:
    return [item for item in headers if item[0] != "X-Request-ID"]


def test_without_private_partitions_absent_ones_are_absent(tmp_path: Any) -> None:
    """Where there is nothing to hide, a name without partition is answered with 404."""
    tlog.Ledger.create(tmp_path / "ledger", origin="audit.example.com").close()
    assert create_app(tmp_path / "ledger").test_client().get("/users/checkpoint").status_code == 404


@pytest.mark.parametrize(
    "header",
    [
        "", "Bearer", "Bearer ", "Bearer x", "Bearer tlog_", "Digest x", "Negotiate", "tlog_0_0", "Basic", "Basic !",
        "Basic " + base64.b64encode(b"no colon").decode(), "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "Bearer " + "x" * 5000, "Bearer \xe9",
    ],
)  # fmt: skip
def test_other_authorizations(guarded: Guarded, header: str) -> None:
    """What is no token that counts is refused also where none is needed: who sends one wants to know."""
    for name in (PUBLIC, PRIVATE, ABSENT):
        answer = guarded.client.get(f"/{name}/checkpoint", headers={"Authorization": header})
        assert answer.status_code == 401
        assert answer.headers.getlist("WWW-Authenticate")[0] == 'Bearer realm="tlog", error="invalid_token"'


def test_basic_is_for_reading(guarded: Guarded) -> None:
    """A token as the password of Basic reads, whatever the user's name; for other methods it does not count."""
    url = f"/{PRIVATE}/checkpoint"
    for user in ("", "alice", "a b", "é"):
        assert guarded.client.get(url, headers=basic(guarded.reader, user)).status_code == 200
        assert guarded.client.head(url, headers=basic(guarded.reader, user)).status_code == 200
    assert guarded.client.get(url, headers=basic(guarded.stranger)).status_code == 403
    assert guarded.client.get(url, headers=basic(guarded.reader[:-1])).status_code == 401
    app = guarded.client.application
    for method in ("POST", "PUT", "DELETE"):
        for headers, status in ((basic(guarded.every), 401), (bearing(guarded.every), 0)):
            with app.test_request_context("/", method=method, headers=headers):
                assert _status(lambda: require("append", PUBLIC)) == status


def _status(call: Any) -> int:
    try:
        call()
    except RefusedError as err:
        return err.status
    return 0


@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        ("nobody", {("read", PUBLIC)}),
        ("every", {(v, p) for v in ("append", "read", "admin") for p in (PUBLIC, PRIVATE, ABSENT)}),
        ("reader", {("read", PUBLIC), ("read", PRIVATE)}),
        ("stranger", {("read", PUBLIC)}),
    ],
)
def test_the_question(guarded: Guarded, who: str, allowed: set[tuple[Any, str]]) -> None:
    """`require` and `may` agree, for each verb and partition, and tell who it is."""
    headers = {} if who == "nobody" else bearing(getattr(guarded, who))
    with guarded.client.application.test_request_context("/", headers=headers):
        table: list[tuple[Any, str]] = [(v, p) for v in ("append", "read", "admin") for p in (PUBLIC, PRIVATE, ABSENT)]
        assert {pair for pair in table if may(*pair)} == allowed
        for pair in table:
            assert _status(lambda pair=pair: require(*pair)) == (0 if pair in allowed else 401 if not headers else 403)
        name = {"nobody": None, "every": "tester"}.get(who, who)
        assert (caller().name, require("read", PUBLIC).name) == (name, name)
        assert (caller() == Caller(None)) == (not headers)


def test_nobody_appends_to_the_system_partition(guarded: Guarded) -> None:
    """Not even a token for everything: what stands there, the log has written."""
    with guarded.client.application.test_request_context("/", method="POST", headers=bearing(guarded.every)):
        assert _status(lambda: require("append", "tlog-system")) == 403
        assert not may("append", "tlog-system")
    assert guarded.client.get("/tlog-system/checkpoint").status_code == 200


def test_certificates(guarded: Guarded) -> None:
    """A subject that a trusted proxy has verified is an identity; from anybody else the headers mean nothing."""
    url = f"/{PRIVATE}/checkpoint"

    def status(headers: dict[str, str], peer: str, **more: Any) -> int:
        return guarded.client.get(url, headers=headers, environ_overrides={"REMOTE_ADDR": peer}, **more).status_code

    assert status(CERTIFIED, "10.1.2.3") == 200
    assert status(CERTIFIED, "::ffff:10.1.2.3") == 200
    for peer in ("192.0.2.1", "11.0.0.1", "::1", ""):
        assert status(CERTIFIED, peer) == 401
        assert status(CERTIFIED | {"X-Forwarded-For": "10.1.2.3"}, peer) == 401
    for verified in ("", "NONE", "FAILED:expired", "success", "SUCCESS,SUCCESS", "SUCCESS "):
        expected = 200 if verified.strip() == "SUCCESS" else 401  # white space around a value is not part of it
        assert status(CERTIFIED | {"X-SSL-Client-Verify": verified.strip() or "-"}, "10.1.2.3") == expected
    assert status({"X-SSL-Client-S-DN": SUBJECT}, "10.1.2.3") == 401
    assert status(CERTIFIED | {"X-SSL-Client-S-DN": "CN=web-2"}, "10.1.2.3") == 401
    assert status(CERTIFIED | bearing(guarded.stranger), "10.1.2.3") == 403, "the token counts where both are sent"
    with guarded.client.application.test_request_context("/", headers=CERTIFIED, environ_overrides=PROXY):
        assert caller().name == "certified"


def test_other_sites_cannot_use_a_browsers_certificate(guarded: Guarded) -> None:
    """A browser sends its certificate wherever a page sends it; what another site's page asks to change is refused."""
    app = guarded.client.application
    for site, status in (("same-origin", 0), ("none", 0), ("cross-site", 403), ("same-site", 403), ("x", 403)):
        headers = CERTIFIED | {"Sec-Fetch-Site": site}
        with app.test_request_context("/", method="POST", headers=headers, environ_overrides=PROXY):
            assert _status(lambda: require("read", PRIVATE)) == status
        with app.test_request_context("/", headers=headers, environ_overrides=PROXY):
            assert _status(lambda: require("read", PRIVATE)) == 0


def test_addresses_of_clients(guarded: Guarded) -> None:
    """Behind trusted proxies the client is whom they name, otherwise the peer."""
    app = guarded.client.application
    for peer, forwarded, client in (
        ("10.1.2.3", "198.51.100.1", "198.51.100.1"), ("192.0.2.1", "198.51.100.1", "192.0.2.1"),
    ):  # fmt: skip
        headers = {"X-Forwarded-For": forwarded}
        with app.test_request_context("/", headers=headers, environ_overrides={"REMOTE_ADDR": peer}):
            assert client_address() == client


def test_revocation_and_a_file_that_is_damaged(guarded: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    """A revoked token is refused at the next request; where the file is damaged no token counts, and why is logged."""
    with tlog.Ledger.open(guarded.path) as ledger:
        tokens = Tokens(ledger)
        text, token = tokens.create("short-lived", ["read"], [PRIVATE])
        url = f"/{PRIVATE}/vkey"
        assert guarded.client.get(url, headers=bearing(text)).status_code == 200
        tokens.revoke(token.id)
        assert guarded.client.get(url, headers=bearing(text)).status_code == 401
        raw = tokens.path.read_bytes()
        tokens.path.write_bytes(raw[:-2])
        answer = guarded.client.get(url, headers=bearing(guarded.every))
        assert (answer.status_code, "access" in answer.text) == (500, False)
        assert str(tokens.path) in caplog.text
        assert guarded.client.get(f"/{PUBLIC}/vkey").status_code == 200
        tokens.path.write_bytes(raw)
        assert guarded.client.get(url, headers=bearing(guarded.every)).status_code == 200
