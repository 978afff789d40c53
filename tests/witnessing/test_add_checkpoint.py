"""`add-checkpoint` without Flask answers as it does with Flask; and where logs stand is in memory what is on disk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.statements import IMPOSTOR, LOG, ORIGIN, consistency_proof, entry_lines, signing_key
from tests.witnessing.test_state import FORK, LINES, request
from tlog.checkpoint import Checkpoint
from tlog.errors import InconsistentLogError
from tlog.hashing import EMPTY_ROOT
from tlog.tlogproof import ConsistencyProof
from tlog.witnessing.home import WitnessHome
from tlog.witnessing.observer import Observer, StaleSizeError
from tlog.witnessing.request import MAX_REQUEST_SIZE, AddCheckpoint
from tlog.witnessing.state import Step, Tree
from tlog.witnessing.witness import Witness
from tlog_server.witnessing import create_witness_app

SHARED = ("Content-Type", "Cache-Control", "X-Content-Type-Options", "Retry-After", "Content-Length")

FLASK = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
"""What makes a request one for Flask: its body has no length that could be looked at."""


@pytest.fixture
def client(witness: Witness) -> Iterator[FlaskClient]:
    """A client of a witness that has cosigned three entries."""
    with create_witness_app(witness).test_client() as made:
        assert made.post("/add-checkpoint", data=request(0, 3)).status_code == 200
        yield made


def _post(client: FlaskClient, body: bytes, **environ: Any) -> tuple[int, bytes, dict[str, str | None]]:
    answer = client.post("/add-checkpoint", data=body, environ_overrides=environ)
    assert len(answer.headers["X-Request-ID"]) == 16
    return answer.status_code, answer.data, {name: answer.headers.get(name) for name in SHARED}


def _signed(size: int, key: Any) -> bytes:
    unsigned = consistency_proof(0, LINES[:size]).checkpoint
    return ConsistencyProof(3, (), Checkpoint(key.name, size, unsigned.root_hash).sign(key)).format()


REFUSED = {
    "nothing": (b"", 400),
    "no request": (b"old 3\n\nx\n", 400),
    "not UTF-8": (b"\xff\xfe\n\n", 400),
    "an unknown log": (_signed(5, signing_key("other.example/log")), 404),
    "another key": (_signed(5, IMPOSTOR), 403),
    "another size": (request(2, 5), 409),
    "no proof": (_signed(5, LOG), 422),
    "a fork": (request(3, 3, [*LINES[:2], *FORK[7:8]]), 422),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refusals_are_the_same(client: FlaskClient, what: str) -> None:
    """Status, words and headers of each refusal are those that Flask gives."""
    body, status = REFUSED[what]
    plain = _post(client, body)
    assert plain[0] == status
    assert plain == _post(client, body, **FLASK)


def test_cosignatures_are_the_same(client: FlaskClient) -> None:
    """Both ways move the log forward, and answer with as many bytes under the same headers."""
    plain = _post(client, request(3, 5))
    other = _post(client, request(5, 8), **FLASK)
    assert (plain[0], plain[2]) == (other[0], other[2]) == (200, plain[2])
    assert plain[1].startswith("— witness.example.net ".encode())
    assert plain[2]["Content-Type"] == "text/plain; charset=utf-8"


def test_an_outage(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a write that failed both ways say 503 and when to come back, and neither names a size."""

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fdatasync", fail)
    assert _post(client, request(3, 5))[0] == 503
    monkeypatch.undo()
    plain = _post(client, request(3, 5))
    assert (plain[0], plain[2]["Retry-After"]) == (503, "5")
    assert plain == _post(client, request(5, 8), **FLASK)


def test_a_body_that_ends_early(client: FlaskClient) -> None:
    """What was cut off on its way is not taken for the whole, even where it could be read."""
    body = request(3, 5)
    status, words, _ = _post(client, body, CONTENT_LENGTH=str(len(body) + 1))
    assert (status, words) == (
        400,
        b"add-checkpoint: the body ended after %d of %d bytes\n" % (len(body), len(body) + 1),
    )
    assert _post(client, body)[0] == 200


def test_a_body_that_is_too_long(client: FlaskClient) -> None:
    """It is not read."""
    assert _post(client, bytes(MAX_REQUEST_SIZE + 1))[0] == 413


@pytest.mark.parametrize(("method", "path"), [("GET", "/add-checkpoint"), ("POST", "/add-checkpoint/")])
def test_other_requests_are_not_taken(client: FlaskClient, method: str, path: str) -> None:
    """Another method and another path are for Flask to answer."""
    assert client.open(path, method=method).status_code in {404, 405}


def test_memory_is_what_is_on_disk(home: WitnessHome) -> None:
    """Every write is in memory too, keys that change and steps that come too late included, and so is what was read."""
    other = signing_key(ORIGIN, salt="a second key of the log").verifier_key
    with home.state() as state:
        state.add_log(ORIGIN, [str(LOG.verifier_key)])
        start = Tree((str(LOG.verifier_key),), 0, EMPTY_ROOT, 0)
        assert state.tree(ORIGIN) == start
        assert state.advance(Step(ORIGIN, start, 3, bytes(32), b"three", 7))
        assert not state.advance(Step(ORIGIN, start, 2, bytes(32), b"two", 8))
        state.add_log(ORIGIN, [str(LOG.verifier_key), str(other)])
        held = state.tree(ORIGIN)
        assert held == Tree((str(LOG.verifier_key), str(other)), 3, bytes(32), 7)
        seen = state.seen(ORIGIN)
        assert seen is not None
        assert (seen.vkeys, seen.size, seen.root, seen.time) == held
        assert state.tree("unknown") is None
    with home.state() as state:
        assert state.tree(ORIGIN) == held


def test_keys_that_change_count_at_once(client: FlaskClient, witness: Witness) -> None:
    """A log's keys are kept parsed; a new key is believed, and the old one is not, from the next request on."""
    new = signing_key(ORIGIN, salt="a new key")
    witness.add_log(new.verifier_key)
    lines = entry_lines(5)
    proof = consistency_proof(3, lines)
    assert _post(client, request(3, 5))[0] == 403
    resigned = ConsistencyProof(3, proof.hashes, Checkpoint(ORIGIN, 5, proof.checkpoint.root_hash).sign(new))
    assert _post(client, resigned.format())[0] == 200


def test_a_contradiction_of_a_tree_that_is_passed(home: WitnessHome) -> None:
    """Where the log moved on meanwhile the request is stale: evidence holds the very checkpoint that it speaks of."""
    with home.open() as witness:
        witness.add_log(LOG.verifier_key)
        witness.add_checkpoint(request(0, 9))
    fork = AddCheckpoint.parse(request(9, 9, FORK))
    with home.state() as state:
        observer = Observer(state)
        passed = state.tree(ORIGIN)
        assert passed is not None
        observer.take(request(9, 12))
        with pytest.raises(StaleSizeError) as caught:
            observer._require_growth(fork, passed)
        assert caught.value.tree_size == 12
        assert not state.kept()
        with pytest.raises(InconsistentLogError):
            observer.take(request(12, 12, FORK))
        assert [kept.evidence.against.tree_size for kept in state.kept()] == [12]
