from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest

import tlog
from tests.ledgers import NAME, QuickDisk, create
from tests.server.conftest import Served
from tlog import errors
from tlog.names import RESERVED_PARTITION_NAMES
from tlog.tile import Tile
from tlog_server.app import create_app
from tlog_server.envelope import SECURITY_HEADERS
from tlog_server.problems import STATUSES, refusal_of

EXAMPLES = {
    errors.RefusedItemError: errors.RefusedItemError(0, 0, errors.FormatError("data", "bad")),
    errors.FormatError: errors.FormatError("data", "bad"),
    errors.TooLargeError: errors.TooLargeError("data", "bad"),
    errors.ReusedIdError: errors.ReusedIdError("id", 1),
    errors.BackpressureError: errors.BackpressureError("message", 1),
    errors.SignatureError: errors.SignatureError("name", b"1234"),
    errors.UntrustedNoteError: errors.UntrustedNoteError("message", b""),
    errors.TileMismatchError: errors.TileMismatchError("message", tile="tile/0/000"),
    errors.UnknownOriginError: errors.UnknownOriginError("origin", "known"),
    errors.InconsistentLogError: errors.InconsistentLogError("message", old_note=b"", new_note=b""),
}


def test_paths_and_reserved_names(served: Served) -> None:
    """A path of the server begins with a partition, or with a name that no partition may have."""
    firsts = {str(rule).split("/")[1] for rule in served.client.application.url_map.iter_rules()}
    assert "<name>" in firsts
    assert len(firsts) > 2
    assert firsts - {"<name>", ""} <= RESERVED_PARTITION_NAMES


def test_every_error_has_a_status() -> None:
    """The table has a status for each class of tlog.errors, and words of its own: not those of the error."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.Error)]
    assert len(kinds) > 10
    for kind in kinds:
        error = EXAMPLES.get(kind) or kind("/secret/place")
        refusal = refusal_of(error)
        assert refusal.status in {404, 409, 500, 503}
        assert "secret" not in refusal.detail
        assert (("Retry-After", "5") in refusal.headers) == (refusal.status == 503)
    for number, (kind, _, _) in enumerate(STATUSES):
        assert not any(issubclass(kind, before) for before, _, _ in STATUSES[:number])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("healthz", 200), ("readyz", 200), (f"{NAME}/checkpoint", 200), ("no", 404), ("nothing/at/all", 404),
        ("healthz?x=1", 400), (f"{NAME}/entry/5?x=1", 400), (f"{NAME}/checkpoint?", 200), (f"{NAME}/vkey?a=b", 400),
        ("x" * 3000, 414), ("healthz?" + "x=1&" * 1000, 414),
    ],
)  # fmt: skip
def test_every_answer_has_the_security_headers(served: Served, path: str, status: int) -> None:
    """Good answers and bad ones carry all of them, and an id that differs from request to request."""
    first, second = served.client.get(f"/{path}"), served.client.get(f"/{path}")
    assert first.status_code == status
    assert {name: first.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]
    if status >= 400:
        fields = json.loads(first.data)
        assert fields["request_id"] == first.headers["X-Request-ID"]
        assert fields["status"] == status
        assert first.headers["Content-Type"] == "application/problem+json"


def test_bodies_are_refused(served: Served) -> None:
    """No resource reads a body, whether it has a length or is chunked."""
    assert served.client.get("/healthz", data=b"x").status_code == 413
    assert served.client.get("/healthz", headers={"Transfer-Encoding": "chunked"}).status_code == 413


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/healthz", 200), ("http://log.example/healthz", 200), ("/%68ealthz", 404), ("http://[/healthz", 404),
        ("*", 404), ("healthz", 404), ("//healthz", 404), ("/healthz#x", 404),
    ],
)  # fmt: skip
def test_targets_as_they_were_sent(served: Served, target: str, status: int) -> None:
    """What stood in the request line must be the path's one spelling, with or without the host before it."""
    assert served.client.get("/healthz", environ_overrides={"RAW_URI": target}).status_code == status


def test_damage_is_said_without_saying_where(served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged log answers 500, and only its own log says which file; what is not damaged is served."""
    shutil.copytree(served.partition.paths.ledger, tmp_path / "ledger")
    with tlog.Ledger.open(tmp_path / "ledger") as ledger:
        paths = ledger.partition(NAME).paths
    client = create_app(tmp_path / "ledger").test_client()
    (paths.root / Tile(0, 1).path).unlink()
    (paths.root / Tile(0, 0).path).write_bytes(bytes(8192))
    with caplog.at_level(logging.ERROR, "tlog.server"):
        for path in ("tile/0/000", "tile/0/001", "tile/entries/000", "entry/300", "proof/inclusion?index=1"):
            answer = client.get(f"/{NAME}/{path}")
            assert answer.status_code == 500, path
            assert str(tmp_path) not in answer.text
            assert answer.headers["X-Request-ID"] in caplog.text
    assert str(paths.root) in caplog.text
    assert client.get(f"/{NAME}/tile/entries/002.p/188").status_code == 200
    assert client.get("/readyz").status_code == 200


def test_readiness(tmp_path: Path) -> None:
    """A checkpoint that the key did not sign, or a ledger that is gone, turns readiness red; liveness stays."""
    partition = create(tmp_path / "ledger", disk=QuickDisk())
    partition.append(1)
    checkpoint = partition.publish()
    client = create_app(tlog.Ledger.open(tmp_path / "ledger")).test_client()
    assert client.get("/readyz").status_code == 200
    partition.paths.checkpoint.write_bytes(checkpoint.raw.replace(b"\n1\n", b"\n2\n"))
    assert client.get("/readyz").status_code == 500
    assert client.get(f"/{NAME}/checkpoint").status_code == 500
    partition.close()
    (tmp_path / "ledger").rename(tmp_path / "moved")
    answer = client.get("/readyz")
    assert (answer.status_code, "ledger" in answer.text) == (503, True)
    assert str(tmp_path) not in answer.text
    assert client.get("/healthz").status_code == 200


def test_there_must_be_a_ledger(tmp_path: Path) -> None:
    """The application of no ledger is refused when it is made."""
    with pytest.raises(tlog.NotFoundError):
        create_app(tmp_path)
