"""Requests of which one byte is other, missing or too much: each is refused with its status, and nothing is stored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from flask.testing import FlaskClient

from tests.mirroring.conftest import body, opened, pend, reading
from tests.statements import ORIGIN, checkpoint, consistency_proof, mutations, signing_key, witness_key
from tlog.checkpoint import Checkpoint
from tlog.mirroring.mirror import Mirror
from tlog.mirroring.upload import read_upload
from tlog.note import NoteSignature
from tlog.tlogproof import ConsistencyProof
from tlog.witnessing.request import origin_hash
from tlog_server.mirroring import create_mirror_app

LINES = [b"%d" % n for n in range(400)]
"""Short entries, so that every byte can have its turn."""

BUNDLE = 256
SIZE = 290
OTHER_SITE = f"/{origin_hash(ORIGIN)}/checkpoint"


class Bench(NamedTuple):
    """A mirror that has one bundle, and knows of a larger tree."""

    mirror: Mirror
    client: FlaskClient
    directory: Path

    def state(self) -> tuple[Checkpoint | None, dict[str, bytes]]:
        """What is pending, and every file of the copies."""
        files = {str(path): path.read_bytes() for path in self.directory.rglob("*") if path.is_file()}
        return self.mirror.pending(ORIGIN), files

    def post(self, path: str, raw: bytes) -> int:
        """Send a request; return the status of the answer."""
        return self.client.post(path, data=raw, content_type="application/octet-stream").status_code


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """256 entries are mirrored, 290 are pending."""
    with opened(tmp_path / "m") as mirror:
        pend(mirror, 0, BUNDLE, LINES)
        assert mirror.add_entries(reading(body(0, BUNDLE, LINES)))
        pend(mirror, BUNDLE, SIZE, LINES)
        yield Bench(mirror, create_mirror_app(mirror).test_client(), tmp_path / "m" / "logs")


def spoiled(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (place, bytes): each byte altered in three ways, each byte missing, a byte put before each."""
    yield from mutations(raw)
    for place in range(len(raw)):
        yield place, raw[:place] + raw[place + 1 :]
        for extra in (b"\x00", b"\n", b"\xff"):
            yield place, raw[:place] + extra + raw[place:]


def test_every_byte_of_an_upload(bench: Bench) -> None:
    """A package and its head: 404 in the origin, 409 or 400 in the range, 400 or 422 behind it; never anything kept."""
    raw = body(BUNDLE, SIZE, LINES)
    before = bench.state()
    origin = 2 + len(ORIGIN)
    allowed = [{404, 400}] * origin + [{409, 400}] * 16 + [{400, 422}] * (len(raw) - origin - 16)
    seen = set()
    for place, changed in spoiled(raw):
        if changed.startswith(raw):
            continue  # bytes behind the last package, see below
        status = bench.post("/add-entries", changed)
        if status == 200:  # by a byte less the head became the question whether the mirror has what it has
            assert read_upload(reading(changed))[1:3] == (BUNDLE, BUNDLE)
        else:
            # A head that was made longer or shorter has other numbers in it than the one that was altered in place.
            wanted = allowed[place] if len(changed) == len(raw) else {400, 404, 409, 422}
            assert status in wanted, (place, changed[max(place - 4, 0) : place + 4], status)
            seen.add(status)
        assert bench.state() == before, place
    assert seen == {400, 404, 409, 422}
    for cut in range(len(raw)):
        assert bench.post("/add-entries", raw[:cut]) == 400
        assert bench.state() == before, cut
    assert bench.post("/add-entries", raw + b"rest") == 200, "what is behind the last package is nobody's"
    assert bench.client.get(OTHER_SITE).data.split(b"\n")[1] == b"290"


def test_every_byte_of_the_last_package(bench: Bench) -> None:
    """Whatever is wrong with the second package, the first one stays, and nothing of the second is stored (422, 202).

    The first one is sent again with each request, and is not saved again.
    """
    raw, first = body(0, SIZE, LINES), body(0, SIZE, LINES, packages=1)
    start = len(first)
    before = bench.state()
    statuses = set()
    for place, changed in spoiled(raw):
        if place >= start and not changed.startswith(raw):
            status = bench.post("/add-entries", changed)
            assert status in {202, 422}, (place, status)
            assert bench.state() == before, place
            statuses.add(status)
    assert statuses == {202, 422}
    for cut in range(start, len(raw)):
        answer = bench.client.post("/add-entries", data=raw[:cut])
        assert (answer.status_code, answer.data.split(b"\n")[:2]) == (202, [b"290", b"256"])
    assert bench.state() == before
    assert bench.post("/add-entries", raw) == 200


def test_every_byte_of_a_ticket(bench: Bench) -> None:
    """Where the size is that of a pending checkpoint, the ticket says nothing more, and any is as good."""
    ticket = b"0123456789"
    raw = body(BUNDLE, SIZE, LINES, ticket=ticket)
    place = raw.index(ticket)
    for changed in (raw[:place] + bytes([byte]) * len(ticket) + raw[place + len(ticket) :] for byte in range(256)):
        assert bench.post("/add-entries", changed) == 200
    assert bench.client.get(OTHER_SITE).data.split(b"\n")[1] == b"290"


def test_every_byte_of_a_checkpoint(bench: Bench) -> None:
    """No byte of add-checkpoint is of no matter: the size, the proof, the text and the log's line are all compared."""
    raw = consistency_proof(SIZE, LINES).format()
    parts = [
        (raw.index(b"\n") + 1, {400, 409}),  # old 290
        (raw.index(b"\n\n") + 2, {400, 422}),  # the proof
        (raw.index(b"\n400\n"), {400, 404}),  # the origin
        (raw.index("\n\n— ".encode()) + 1, {400, 403}),  # size and root, which the log has signed
        (len(raw), {400, 403}),  # its line
    ]
    before = bench.state()
    seen = set()
    for place, changed in spoiled(raw):
        status = bench.post("/add-checkpoint", changed)
        wanted = next(statuses for end, statuses in parts if place < end)
        if len(changed) != len(raw):  # what follows moved
            wanted = {400, 403, 404, 409, 422}
        assert status in wanted, (place, changed[max(place - 6, 0) : place + 6], status)
        assert bench.state() == before, place
        seen.add(status)
    assert seen == {400, 403, 404, 409, 422}
    for cut in range(len(raw)):
        assert bench.post("/add-checkpoint", raw[:cut]) in {400, 403}
    assert bench.post("/add-checkpoint", raw + b"\n") == 400
    assert bench.state() == before
    assert bench.post("/add-checkpoint", raw) == 200


def test_every_byte_of_a_strangers_line(bench: Bench) -> None:
    """A line of a key that is not known here may say anything, or is no line; it is stored in neither case (S9)."""
    signed = checkpoint(LINES)
    strange = checkpoint(LINES, witness_key(1)).signatures[0]
    proof = consistency_proof(SIZE, LINES)
    whole = ConsistencyProof(
        SIZE, proof.hashes, Checkpoint(ORIGIN, 400, signed.root_hash, (), (*signed.signatures, strange))
    )
    raw = whole.format()
    begin = raw.rindex("— ".encode())
    assert bench.post("/add-checkpoint", raw) == 200
    statuses = set()
    for place, changed in spoiled(raw):
        if place >= begin:
            again = changed.replace(b"old 290\n", b"old 400\n").replace(_proof_lines(raw), b"")
            statuses.add(bench.post("/add-checkpoint", again))
            pending = bench.mirror.pending(ORIGIN)
            assert pending is not None
            assert pending.signatures == signed.signatures
    assert statuses == {200, 400}


def test_lines_of_known_keys_that_are_wrong(bench: Bench) -> None:
    """A line with the name and the ID of the log's key must verify, though another line of it does (403)."""
    signed = checkpoint(LINES)
    forged = NoteSignature(ORIGIN, signed.signatures[0].key_id, bytes(64))
    before = bench.state()
    impostor = checkpoint(LINES, signing_key(ORIGIN, salt="another"))
    proof = consistency_proof(SIZE, LINES)
    for lines in ((forged, *signed.signatures), (*signed.signatures, forged), (forged,), impostor.signatures):
        note = Checkpoint(ORIGIN, 400, signed.root_hash, (), lines)
        assert bench.post("/add-checkpoint", ConsistencyProof(SIZE, proof.hashes, note).format()) == 403
        assert bench.state() == before


def _proof_lines(raw: bytes) -> bytes:
    return raw[raw.index(b"\n") + 1 : raw.index(b"\n\n") + 1]
