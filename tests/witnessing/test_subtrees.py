"""sign-subtree: a subtree of a tree that this witness has cosigned, and of no other one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.statements import LOG, ORIGIN, checkpoint, consistency_proof, entry_lines, tree_hash, witness_key
from tests.test_subtree import subproof
from tests.witnessing.conftest import NAME
from tlog._strict import format_base64
from tlog.checkpoint import Checkpoint
from tlog.cosignature import subtree_message
from tlog.errors import Error, FormatError, NotFoundError, ProofError, UnknownOriginError, UntrustedNoteError
from tlog.keys import ML_DSA_44_COSIGNATURE
from tlog.note import NoteSignature
from tlog.witnessing.home import WitnessHome
from tlog.witnessing.request import origin_hash
from tlog.witnessing.witness import Witness

LINES = entry_lines(14)


@pytest.fixture
def signing(tmp_path: Path) -> Iterator[Witness]:
    """A witness with an ML-DSA-44 key that has cosigned 14 entries."""
    home = WitnessHome(tmp_path / "witness")
    home.create(NAME, post_quantum=True)
    with home.open() as witness:
        witness.add_log(LOG.verifier_key)
        witness.add_checkpoint(consistency_proof(0, LINES).format())
        yield witness


def request(witness: Witness, start: int, end: int, *, root: bytes | None = None, cosigned: bytes = b"") -> bytes:
    """Return the request for the subtree [start, end)."""
    lines = [f"subtree {start} {end}", format_base64(root or tree_hash(LINES[start:end]))]
    lines += [format_base64(value) for value in subproof(start, end, LINES)]
    note = cosigned or witness.checkpoint(origin_hash(ORIGIN))
    return "\n".join([*lines, "", ""]).encode() + note


@pytest.mark.parametrize(("start", "end"), [(0, 14), (0, 8), (8, 13), (8, 14), (12, 13), (4, 8)])
def test_subtrees_are_cosigned(signing: Witness, start: int, end: int) -> None:
    """The line is of the ML-DSA-44 key, has no time, and is the statement about that subtree."""
    answer = signing.sign_subtree(request(signing, start, end)).decode()
    line = NoteSignature.parse(answer.removesuffix("\n"))
    (key,) = [key for key in signing.vkeys if key.key_type == ML_DSA_44_COSIGNATURE]
    assert (line.name, line.key_id, line.signature[:8]) == (key.name, key.key_id, bytes(8))
    message = subtree_message(ORIGIN, start, end, tree_hash(LINES[start:end]), key_name=key.name, timestamp_s=0)
    key.verify(message, line.signature[8:])


REFUSALS: dict[str, tuple[Callable[[Witness], bytes], type[Error]]] = {
    "nothing": (lambda _: b"", FormatError),
    "no range": (lambda w: request(w, 8, 13).partition(b"\n")[2], FormatError),
    "no subtree": (lambda w: request(w, 8, 13).replace(b"subtree 8 13", b"subtree 7 13"), FormatError),
    "empty": (lambda w: request(w, 8, 13).replace(b"subtree 8 13", b"subtree 8 8"), FormatError),
    "beyond the tree": (lambda w: request(w, 8, 13).replace(b"subtree 8 13", b"subtree 8 15"), FormatError),
    "leading zero": (lambda w: request(w, 8, 13).replace(b"subtree 8 13", b"subtree 08 13"), FormatError),
    "another range": (lambda w: request(w, 8, 13).replace(b"subtree 8 13", b"subtree 8 14"), ProofError),
    "another hash": (lambda w: request(w, 8, 13, root=bytes(32)), ProofError),
    "not cosigned": (lambda w: request(w, 8, 13, cosigned=checkpoint(LINES).raw), UntrustedNoteError),
    "cosigned by others": (
        lambda w: request(w, 8, 13, cosigned=checkpoint(LINES, LOG, witness_key(1)).raw),
        UntrustedNoteError,
    ),
    "unknown log": (
        lambda w: request(w, 8, 13, cosigned=replace(checkpoint(LINES), origin="x.example").raw),
        UnknownOriginError,
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(signing: Witness, name: str) -> None:
    """Each refusal is of its own kind."""
    make, kind = REFUSALS[name]
    with pytest.raises(kind):
        signing.sign_subtree(make(signing))


def test_a_witness_without_such_a_key(witness: Witness) -> None:
    """Only ML-DSA-44 signs subtrees; a witness without that key says so."""
    witness.add_checkpoint(consistency_proof(0, LINES).format())
    with pytest.raises(NotFoundError, match="no ML-DSA-44 key"):
        witness.sign_subtree(request(witness, 8, 13))
    assert Checkpoint.parse(witness.checkpoint(origin_hash(ORIGIN))).tree_size == 14
