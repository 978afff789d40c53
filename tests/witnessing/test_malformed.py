"""Requests over HTTP that are wrong at one byte, or in several ways at once: their statuses, and no memory of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.statements import (
    IMPOSTOR,
    LOG,
    LOG_VKEY,
    ORIGIN,
    TIMESTAMP_S,
    checkpoint,
    consistency_path,
    consistency_proof,
    entry_lines,
    signing_key,
    tree_hash,
    witness_key,
)
from tests.test_checkpoint import EXAMPLE
from tests.test_subtree import subproof
from tests.vectors import SUNLIGHT
from tests.witnessing.conftest import NAME
from tlog._strict import format_base64
from tlog.checkpoint import Checkpoint
from tlog.evidence import verify_evidence
from tlog.keys import ED25519_COSIGNATURE
from tlog.note import NoteSignature, open_note
from tlog.policy import Policy
from tlog.tlogproof import ConsistencyProof
from tlog.witnessing.home import WitnessHome
from tlog.witnessing.request import AddCheckpoint, origin_hash
from tlog.witnessing.witness import Witness
from tlog_server.witnessing import create_witness_app

LINES = entry_lines(14)
OTHER = entry_lines(14, word="other")
STRANGER = signing_key("stranger.example", salt="nobody knows it")
UNKNOWN = "x.example/log"


class Served(NamedTuple):
    """A witness of both algorithms, whose clock stands still, as HTTP clients see it."""

    witness: Witness
    client: FlaskClient

    def post(self, path: str, body: bytes) -> TestResponse:
        """Send a request."""
        return self.client.post(path, data=body)

    def memory(self) -> object:
        """Return all that the witness remembers."""
        state = self.witness._observer.state
        return state.seen(ORIGIN), state.origins(), self.witness.evidence()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A witness that has cosigned 3 entries."""
    home = WitnessHome(tmp_path / "witness")
    home.create(NAME, post_quantum=True)
    with home.open(clock=lambda: TIMESTAMP_S) as witness:
        witness.add_log(LOG.verifier_key)
        witness.add_checkpoint(grown(0, 3))
        yield Served(witness, create_witness_app(witness).test_client())


def grown(old_size: int, size: int) -> bytes:
    """Return the request of an honest log that grew."""
    return consistency_proof(old_size, LINES[:size]).format()


def damaged(body: bytes) -> Iterator[tuple[int, str, bytes]]:
    """Yield (place, kind, bytes): a bit flipped, a byte left out, one doubled, a newline put in, the end cut off."""
    for place, byte in enumerate(body):
        before, after = body[:place], body[place + 1 :]
        yield place, "flip", before + bytes([byte ^ 1 << place % 8]) + after
        yield place, "drop", before + after
        yield place, "double", before + bytes([byte, byte]) + after
        yield place, "newline", before + b"\n" + body[place:]
        yield place, "cut", before


def parts(body: bytes) -> list[tuple[int, str]]:
    """Return the parts of a request, each with the place behind it: its lines, and what they say."""
    head, _, signed = body.partition(b"\n\n")
    text = signed.partition(b"\n\n")[0].split(b"\n")
    first, *hashes = head.split(b"\n")
    named = [(first, "first"), *((line, "hash") for line in hashes), (b"", "blank")]
    named += [(text[0], "origin"), (text[1], "size"), (text[2], "root"), (b"", "blank")]
    found, place = [], 0
    for line, name in named:
        found += [(place := place + len(line), name), (place := place + 1, "newline")]
    return [*found, (len(body), "signatures")]


def part_of(body: bytes, place: int) -> str:
    """Return in which part of a request a byte is."""
    return next(name for end, name in parts(body) if place < end)


FLIPPED = {
    "first": {400, 409},
    "hash": {400, 422},
    "origin": {400, 404},
    "size": {400, 403},
    "root": {400, 403},
    "signatures": {400, 403},
    "newline": {400},
}
"""What a flipped bit comes to, by the part of `add-checkpoint` that it is in."""


def test_every_byte_of_add_checkpoint(served: Served) -> None:
    """No request that differs in a byte is cosigned; each gets a status of the protocol, and changes no memory."""
    body, before = grown(3, 8), served.memory()
    for place, kind, changed in damaged(body):
        if changed == body:
            continue
        answer = served.post("/add-checkpoint", changed)
        expected = FLIPPED[part_of(body, place)] if kind == "flip" else {400, 403, 404, 409, 422}
        assert answer.status_code in expected, (place, kind, changed)
    assert served.memory() == before
    assert served.post("/add-checkpoint", body).status_code == 200


def test_every_byte_of_a_strangers_line(served: Served) -> None:
    """Bytes of a line that nobody verifies are irrelevant, where it stays a line: nothing of it is remembered."""
    served.post("/add-checkpoint", grown(3, 8))
    before = signers_and_text(served)
    signed = checkpoint(LINES[:8], LOG, STRANGER)
    body = ConsistencyProof(8, (), signed).format()
    first = body.index(str(signed.signatures[-1]).encode())
    statuses = set()
    for place, kind, changed in damaged(body):
        if place >= first:
            statuses.add(served.post("/add-checkpoint", changed).status_code)
            assert signers_and_text(served) == before, (place, kind, changed)
    assert statuses == {200, 400}


def signers_and_text(served: Served) -> object:
    """Return what monitors are shown, but for the signatures' bytes: those of ML-DSA-44 are never the same."""
    note = Checkpoint.parse(served.witness.checkpoint(origin_hash(ORIGIN)))
    return note.text, [(line.name, line.key_id) for line in note.signatures], served.witness.evidence()


def subtree(served: Served, start: int, end: int, *, by: int = ED25519_COSIGNATURE) -> bytes:
    """Return the request for a subtree of 14 entries, whose checkpoint has one line: of the witness's key of a type."""
    (key,) = [key for key in served.witness.vkeys if key.key_type == by]
    note = Checkpoint.parse(served.witness.checkpoint(origin_hash(ORIGIN)))
    (line,) = [line for line in note.signatures if line.key_id == key.key_id]
    lines = [f"subtree {start} {end}", format_base64(tree_hash(LINES[start:end]))]
    lines += [format_base64(value) for value in subproof(start, end, LINES)]
    return "\n".join([*lines, "", ""]).encode() + replace(note, signatures=(line,)).raw


def test_every_byte_of_sign_subtree(served: Served) -> None:
    """No request that differs in a byte is signed; each gets a status of the protocol."""
    served.post("/add-checkpoint", grown(3, 14))
    body, before = subtree(served, 8, 13), served.memory()
    assert served.post("/sign-subtree", body).status_code == 200
    for place, kind, changed in damaged(body):
        if changed == body:
            continue
        expected = {400, 403, 404, 422}
        if kind == "flip":
            expected = {400, 422} if part_of(body, place) == "first" else FLIPPED[part_of(body, place)]
        assert served.post("/sign-subtree", changed).status_code in expected, (place, kind, changed)
    assert served.memory() == before


def test_bytes_of_sign_subtree_with_an_ml_dsa_44_line(served: Served) -> None:
    """The same where the witness's other key has signed the checkpoint; its line is long, so a sample."""
    served.post("/add-checkpoint", grown(3, 14))
    body = subtree(served, 8, 13, by=0x06)
    assert served.post("/sign-subtree", body).status_code == 200
    for number, (place, kind, changed) in enumerate(damaged(body)):
        if number % 97 == 0 and changed != body:
            assert served.post("/sign-subtree", changed).status_code in {400, 403, 404, 422}, (place, kind)


FAULTS = ("unknown origin", "no key of the log", "old size above", "not the old size", "wrong proof")
ORDER = (404, 403, 400, 409, 422)
"""The statuses of FAULTS; of several, the first one answers. Source: the order of c2sp.org/tlog-witness's text."""


def faulty(faults: tuple[bool, ...]) -> bytes:
    """Return a request to go from 3 entries to 8 with these of FAULTS."""
    is_unknown, is_untrusted, is_above, is_stale, is_wrong = faults
    old_size = 9 if is_above else 2 if is_stale else 3
    signer = signing_key(UNKNOWN) if is_unknown else IMPOSTOR if is_untrusted else LOG
    hashes = (bytes(32),) if is_wrong else consistency_path(min(old_size, 8), LINES[:8])
    signed = checkpoint(LINES[:8], signer, origin=UNKNOWN if is_unknown else ORIGIN)
    return ConsistencyProof(3, hashes, signed).format().replace(b"old 3", b"old %d" % old_size, 1)


def test_the_first_of_several_faults_answers(served: Served) -> None:
    """Every combination of faults of `add-checkpoint`, on a witness that has cosigned 3 entries."""
    before = served.memory()
    for faults in product((True, False), repeat=len(FAULTS)):
        expected = next((status for fault, status in zip(faults, ORDER, strict=True) if fault), 200)
        answer = served.post("/add-checkpoint", faulty(faults))
        assert answer.status_code == expected, faults
        if expected == 409:
            assert (answer.content_type, answer.data) == ("text/x.tlog.size", b"3\n")
        assert (served.memory() == before) == any(faults)


def test_a_wrong_line_of_a_known_key(served: Served) -> None:
    """403 where a line of the log's key is wrong, though another line of it is right, before the sizes are compared."""
    good = checkpoint(LINES[:8])
    wrong = NoteSignature(LOG.name, LOG.verifier_key.key_id, bytes(64))
    for lines in ((wrong, *good.signatures), (*good.signatures, wrong)):
        body = ConsistencyProof(1, (), replace(good, signatures=lines)).format()
        assert served.post("/add-checkpoint", body).status_code == 403


def test_the_number_of_hashes(served: Served) -> None:
    """63 hashes are a proof, if a wrong one; 64 are no request."""
    served.post("/add-checkpoint", grown(3, 14))
    for body, path in ((grown(14, 14), "/add-checkpoint"), (subtree(served, 0, 14), "/sign-subtree")):
        for count, status in ((63, 422), (64, 400)):
            more = body.replace(b"\n\n", b"\n" + f"{format_base64(bytes(32))}\n".encode() * count + b"\n", 1)
            assert served.post(path, more).status_code == status


def test_statuses_of_sign_subtree(served: Served) -> None:
    """Each refusal has its status; an unknown log is told before a missing cosignature, and both before the proof."""
    served.post("/add-checkpoint", grown(3, 14))
    good = subtree(served, 8, 13)
    answer = served.post("/sign-subtree", good)
    assert (answer.status_code, answer.content_type) == (200, "text/plain; charset=utf-8")
    unsigned = good.partition(b"\n\n")[0] + b"\n\n" + checkpoint(LINES).raw
    elsewhere = good.partition(b"\n\n")[0] + b"\n\n" + checkpoint(LINES, STRANGER, origin=UNKNOWN).raw
    wrong = f"\n{format_base64(bytes(32))}\n\n".encode()
    cases = (
        (good.replace(b"subtree 8", b"subtree 7"), 400),
        (good.replace(b"8 13", b"8 8"), 400),
        (good.replace(b"8 13", b"8 15"), 400),
        (unsigned.replace(b"subtree 8", b"subtree 7"), 400),
        (elsewhere, 404),
        (elsewhere.replace(b"\n\n", wrong, 1), 404),
        (unsigned, 403),
        (unsigned.replace(b"\n\n", wrong, 1), 403),
        (good.replace(b"\n\n", wrong, 1), 422),
        (good.replace(b"8 13", b"8 14"), 422),
    )
    for body, status in cases:
        assert served.post("/sign-subtree", body).status_code == status, body
    assert served.client.get("/sign-subtree").status_code == 405


def test_names_and_requests_of_the_specification() -> None:
    """The origin hash that a witness of sunlight has; a request like the example of the specification."""
    rome = "000de184301123b9278c086a7d9f68c9577e83872224c197058fd90784ea9706"
    assert (SUNLIGHT / "witness" / rome / "checkpoint").read_bytes().startswith(b"rome2026h1.example.org\n")
    assert origin_hash("rome2026h1.example.org") == rome
    hashes = b"PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\njrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n"
    parsed = AddCheckpoint.parse(b"old 20852014\n" + hashes + b"\n" + EXAMPLE)
    assert (parsed.old_size, len(parsed.hashes), parsed.tree_size) == (20852014, 2, 20852163)
    assert [line.key_id.hex() for line in parsed.note.signatures] == ["033de0ae"]


def test_what_monitors_get(served: Served) -> None:
    """The log's signature and the cosignatures that were answered; 404 for anything but the hash in lowercase."""
    answered = served.post("/add-checkpoint", grown(3, 8)).data
    path = f"/{origin_hash(ORIGIN)}/checkpoint"
    shown = served.client.get(path)
    assert (shown.status_code, shown.content_type) == (200, "text/plain; charset=utf-8")
    assert shown.data == checkpoint(LINES[:8]).raw + answered
    assert len(open_note(shown.data, [LOG.verifier_key, *served.witness.vkeys]).verified) == 3
    served.witness.add_log(signing_key("new.example").verifier_key)
    for other in (
        path.upper(),
        path[1:],
        f"/{ORIGIN}/checkpoint",
        f"/{origin_hash('new.example')}/checkpoint",
        path.replace("/checkpoint", "//checkpoint"),
    ):
        if f"/{other.lstrip('/')}" != path:
            assert served.client.get(other).status_code == 404, other
    assert served.client.post(path).status_code == 405


def test_two_trees_by_http(served: Served) -> None:
    """422 for another tree of one size, for one that grew otherwise, and from then on for whatever the log signs."""
    for old_size, lines in ((3, OTHER[:3]), (3, OTHER[:8]), (3, LINES[:8])):
        assert served.post("/add-checkpoint", consistency_proof(old_size, lines).format()).status_code == 422
    assert [kept.evidence.shown.tree_size for kept in served.witness.evidence()] == [3, 8]


def test_evidence_holds_verified_lines_only(served: Served) -> None:
    """S9: lines of strangers neither fill the memory with copies of one fork, nor spoil the evidence for anybody."""
    key, fork = witness_key(1).verifier_key, checkpoint(OTHER[:3])
    forged = NoteSignature(key.name, key.key_id, TIMESTAMP_S.to_bytes(8, "big") + bytes(64))
    for number in range(20):
        stranger = NoteSignature("stranger.example", b"abcd", bytes([number]) * 10)
        signed = replace(fork, signatures=(*fork.signatures, forged, stranger))
        assert served.post("/add-checkpoint", ConsistencyProof(3, (), signed).format()).status_code == 422
    (kept,) = served.witness.evidence()
    for policy in (f"log {LOG_VKEY}\nquorum none\n", f"log {LOG_VKEY}\nwitness w {key}\nquorum none\n"):
        assert verify_evidence(kept.evidence.format(), Policy.parse(policy)).origin == ORIGIN


def test_no_subtree_of_a_log_that_forked(served: Served) -> None:
    """A subtree's cosignature says that no view is known which contradicts it; with evidence of one it is refused."""
    served.post("/add-checkpoint", grown(3, 14))
    body = subtree(served, 8, 13)
    assert served.post("/sign-subtree", body).status_code == 200
    assert served.post("/add-checkpoint", consistency_proof(14, OTHER).format()).status_code == 422
    assert served.post("/sign-subtree", body).status_code == 422
    assert served.post("/sign-subtree", body.replace(b"subtree 8", b"subtree 7")).status_code == 400


def test_a_state_that_cannot_be_written(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, and a time after which to ask again; nothing is cosigned, then and later, until the witness starts anew."""

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    assert served.client.get("/healthz").data == b"ok\n"
    monkeypatch.setattr("os.fdatasync", fail)
    for body in (grown(3, 8), grown(8, 9)):  # the first one was stored, but perhaps not durably
        answer = served.post("/add-checkpoint", body)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert "\u2014" not in answer.text
        assert served.client.get("/healthz").status_code == 503
        monkeypatch.undo()
