"""The witness's rules, one by one and in their order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.statements import (
    IMPOSTOR,
    LOG,
    ORIGIN,
    checkpoint,
    consistency_path,
    consistency_proof,
    entry_lines,
    mutations,
    signing_key,
    tree_hash,
    witness_key,
)
from tests.witnessing.conftest import NAME
from tlog.checkpoint import Checkpoint
from tlog.errors import (
    ConflictError,
    Error,
    FormatError,
    InconsistentLogError,
    NotFoundError,
    ProofError,
    SignatureError,
    UnknownOriginError,
    UntrustedNoteError,
)
from tlog.evidence import verify_evidence
from tlog.keys import ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE, SigningKey
from tlog.note import NoteSignature, open_note
from tlog.policy import Policy
from tlog.tlogproof import ConsistencyProof
from tlog.witnessing.home import WitnessHome
from tlog.witnessing.observer import StaleSizeError
from tlog.witnessing.request import AddCheckpoint, origin_hash
from tlog.witnessing.witness import Witness

LINES = entry_lines(12)
OTHER = entry_lines(12, word="other")


def request(old_size: int, size: int, lines: list[bytes] = LINES, *signers: SigningKey) -> bytes:
    """Return the request that an honest log sends to go from `old_size` to `size`."""
    return consistency_proof(old_size, lines[:size], *signers).format()


def altered(old_size: int, size: int, /, **changes: object) -> bytes:
    """Return an honest request with some fields replaced."""
    return replace(consistency_proof(old_size, LINES[:size]), **changes).format()  # type: ignore[arg-type]


def unsigned_empty(root: bytes) -> bytes:
    """Return a signed checkpoint of size 0 with this root, which no `Checkpoint` would hold."""
    from base64 import b64encode

    text = f"{ORIGIN}\n0\n{b64encode(root).decode()}\n".encode()
    line = NoteSignature(LOG.name, LOG.verifier_key.key_id, LOG.sign(text))
    return text + f"\n{line}\n".encode()


def test_a_log_grows(witness: Witness) -> None:
    """From nothing to 3, 3, 7, 8 and 12 entries: each checkpoint is cosigned, and the answer is the signature line."""
    seen = 0
    for size in (3, 3, 7, 8, 12):
        answer = witness.add_checkpoint(request(seen, size))
        signed = checkpoint(LINES[:size]).raw + answer
        ((key, line),) = open_note(signed, witness.vkeys).verified
        assert key.name == NAME
        assert answer == f"{line}\n".encode()
        seen = size
    raw = witness.checkpoint(origin_hash(ORIGIN))
    assert len(open_note(raw, [LOG.verifier_key, *witness.vkeys]).verified) == 2
    assert Checkpoint.parse(raw).tree_size == 12
    assert [(origin, found and found.tree_size) for origin, found in witness.latest()] == [(ORIGIN, 12)]


def test_the_empty_tree_can_be_cosigned(witness: Witness) -> None:
    """A log of no entries is cosigned, and goes on from 0 without a proof."""
    witness.add_checkpoint(request(0, 0))
    assert Checkpoint.parse(witness.checkpoint(origin_hash(ORIGIN))).tree_size == 0
    witness.add_checkpoint(request(0, 5))


REFUSALS: dict[str, tuple[Callable[[], bytes], type[Error]]] = {
    "nothing": (lambda: b"", FormatError),
    "no blank line": (lambda: request(5, 8).replace(b"\n\n", b"\n"), FormatError),
    "no old line": (lambda: request(5, 8).partition(b"\n")[2], FormatError),
    "two spaces": (lambda: request(5, 8).replace(b"old 5", b"old  5"), FormatError),
    "leading zero": (lambda: request(5, 8).replace(b"old 5", b"old 05"), FormatError),
    "negative": (lambda: request(5, 8).replace(b"old 5", b"old -5"), FormatError),
    "huge": (lambda: request(5, 8).replace(b"old 5", b"old 9223372036854775808"), FormatError),
    "carriage returns": (lambda: request(5, 8).replace(b"\n", b"\r\n"), FormatError),
    "64 hashes": (lambda: request(5, 8).replace(b"\n\n", b"\n" + (b"A" * 43 + b"=\n") * 61 + b"\n", 1), FormatError),
    "a short hash": (lambda: request(5, 8).replace(b"\n\n", b"\nAAAA\n\n", 1), FormatError),
    "no signatures": (lambda: request(5, 8).partition("\n\n— ".encode())[0] + b"\n\n", FormatError),
    "old above new": (lambda: altered(9, 9, old_size=10), FormatError),
    "unknown origin": (
        lambda: replace(consistency_proof(5, LINES[:8]), checkpoint=checkpoint(LINES[:8], origin="x.example")).format(),
        UnknownOriginError,
    ),
    "unknown key": (lambda: request(5, 8, LINES, signing_key(ORIGIN, salt="unknown")), UntrustedNoteError),
    "signed by a witness only": (lambda: request(5, 8, LINES, witness_key(1)), UntrustedNoteError),
    "old too small": (lambda: request(3, 8), StaleSizeError),
    "old too large": (lambda: request(7, 8), StaleSizeError),
    "old 0": (lambda: request(0, 8), StaleSizeError),
    "a hash too few": (lambda: altered(5, 8, hashes=consistency_path(5, LINES[:8])[:-1]), ProofError),
    "a hash too many": (lambda: altered(5, 8, hashes=(*consistency_path(5, LINES[:8]), bytes(32))), ProofError),
    "a wrong hash": (lambda: altered(5, 8, hashes=(bytes(32), *consistency_path(5, LINES[:8])[1:])), ProofError),
    "no proof": (lambda: altered(5, 8, hashes=()), ProofError),
    "same size with a proof": (lambda: altered(5, 5, hashes=(bytes(32),)), ProofError),
    "another tree of the same size": (lambda: request(5, 5, OTHER), InconsistentLogError),
    "another tree that grew": (lambda: request(5, 8, OTHER), InconsistentLogError),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(witness: Witness, name: str) -> None:
    """Each refusal is of its own kind, and the witness stays where it was."""
    make, kind = REFUSALS[name]
    witness.add_checkpoint(request(0, 5))
    with pytest.raises(kind):
        witness.add_checkpoint(make())
    if kind is InconsistentLogError:  # a log that is proven to lie gets no cosignature any more
        with pytest.raises(kind, match="nothing of it is cosigned"):
            witness.add_checkpoint(request(5, 8))
        assert Checkpoint.parse(witness.checkpoint(origin_hash(ORIGIN))).tree_size == 5
    else:
        witness.add_checkpoint(request(5, 8))


def test_a_signature_that_fails_of_a_known_key(witness: Witness) -> None:
    """A line with a known key's name and ID must verify, also where another known key has signed (403)."""
    good = checkpoint(LINES[:5])
    forged = NoteSignature(LOG.name, LOG.verifier_key.key_id, bytes(64))
    body = replace(consistency_proof(0, LINES[:5]), checkpoint=replace(good, signatures=(forged, *good.signatures)))
    with pytest.raises(SignatureError):
        witness.add_checkpoint(body.format())


def test_the_empty_tree_has_one_root(witness: Witness) -> None:
    """Size 0 with another root than that of nothing is 422, not 400, and comes after the size is compared."""
    body = b"old 0\n\n" + unsigned_empty(bytes(32))
    with pytest.raises(ProofError):
        witness.add_checkpoint(body)
    witness.add_checkpoint(b"old 0\n\n" + unsigned_empty(tree_hash([])))
    witness.add_checkpoint(request(0, 5))
    with pytest.raises(StaleSizeError):
        witness.add_checkpoint(body)


def test_old_zero_has_no_proof(witness: Witness) -> None:
    """From size 0 no hashes may be sent (422)."""
    with pytest.raises(ProofError):
        witness.add_checkpoint(altered(0, 5, hashes=(bytes(32),)))


def test_the_first_broken_rule_answers(witness: Witness) -> None:
    """Where several rules are broken, the order of the specification's text decides."""
    witness.add_checkpoint(request(0, 5))
    unknown = replace(consistency_proof(3, OTHER[:8]), checkpoint=checkpoint(OTHER[:8], origin="x.example"))
    with pytest.raises(UnknownOriginError):  # before signature and size
        witness.add_checkpoint(unknown.format())
    with pytest.raises(UntrustedNoteError):  # before the sizes
        witness.add_checkpoint(replace(consistency_proof(3, OTHER[:8], IMPOSTOR), old_size=9).format())
    with pytest.raises(FormatError):  # old above new, before the conflict
        witness.add_checkpoint(altered(3, 3, old_size=4))
    with pytest.raises(StaleSizeError):  # before the proof
        witness.add_checkpoint(altered(3, 8, hashes=()))


def test_conflicts_tell_the_size(witness: Witness) -> None:
    """A log that does not know what was cosigned asks from 0, and is told."""
    with pytest.raises(StaleSizeError) as caught:
        witness.add_checkpoint(request(3, 8))
    assert caught.value.tree_size == 0
    witness.add_checkpoint(request(0, 5))
    with pytest.raises(StaleSizeError) as caught:
        witness.add_checkpoint(request(0, 8))
    assert caught.value.tree_size == 5


def test_every_malformed_byte(witness: Witness) -> None:
    """A request with one changed bit, wherever it is, is refused, or is an equally valid one about the same tree."""
    body = request(3, 8)
    witness.add_checkpoint(request(0, 3))
    text_end = body.index("\n\n— ".encode())
    for place, changed in mutations(body):
        try:
            witness.add_checkpoint(changed)
        except Error:
            continue
        raise AssertionError(f"the change at {place} of {text_end} was not noticed: {changed[place - 5 : place + 5]!r}")
    witness.add_checkpoint(body)


def test_lines_of_strangers_are_dropped(witness: Witness) -> None:
    """Forged, unknown and garbage signature lines are neither an obstacle nor stored and served (S9)."""
    good = checkpoint(LINES[:5])
    strangers = (
        NoteSignature("stranger.example", b"abcd", b"garbage"),
        NoteSignature(NAME, b"abcd", bytes(72)),
        *checkpoint(LINES[:5], witness_key(1)).signatures,
    )
    body = replace(consistency_proof(0, LINES[:5]), checkpoint=replace(good, signatures=(*strangers, *good.signatures)))
    witness.add_checkpoint(body.format())
    served = Checkpoint.parse(witness.checkpoint(origin_hash(ORIGIN)))
    assert [line.name for line in served.signatures] == [ORIGIN, NAME]


def test_extension_lines_are_cosigned(witness: Witness) -> None:
    """Extension lines are part of what an Ed25519 witness signs."""
    extended = Checkpoint(ORIGIN, 5, tree_hash(LINES[:5]), ("an extension",)).sign(LOG)
    answer = witness.add_checkpoint(ConsistencyProof(0, (), extended).format())
    assert len(open_note(extended.raw + answer, witness.vkeys).verified) == 1


def test_evidence_is_kept(witness: Witness) -> None:
    """A contradiction is kept with both signed notes, once; a proof that leads nowhere is no contradiction."""
    witness.add_checkpoint(request(0, 5))
    for body in (request(5, 5, OTHER), request(5, 5, OTHER), request(5, 8, OTHER)):
        with pytest.raises(InconsistentLogError) as caught:
            witness.add_checkpoint(body)
        assert Checkpoint.parse(caught.value.old_note).tree_size == 5
    with pytest.raises(ProofError):
        witness.add_checkpoint(altered(5, 8, hashes=()))
    found = witness.evidence()
    assert [item.evidence.shown.tree_size for item in found] == [5, 8]
    for item in found:
        proven = verify_evidence(item.evidence.format(), Policy.for_log(LOG.verifier_key))
        assert (proven.origin, proven.against.tree_size) == (ORIGIN, 5)


def test_the_time_does_not_go_back(home: WitnessHome) -> None:
    """A clock that steps back does not take the time of a later cosignature back, and is never zero."""
    times = iter([2000.0, 1000.0, 0.0])
    witness = home.open(clock=lambda: next(times))
    witness.add_log(LOG.verifier_key)
    for size in (3, 4, 5):
        line = NoteSignature.parse(witness.add_checkpoint(request(size - 1 if size > 3 else 0, size)).decode()[:-1])
        assert int.from_bytes(line.signature[:8], "big") == 2000
    witness.close()


def test_both_algorithms_answer(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A witness with two keys answers with a line of each."""
    home = WitnessHome(tmp_path_factory.mktemp("both") / "witness")
    assert [key.key_type for key in home.create(NAME, post_quantum=True)] == [
        ED25519_COSIGNATURE,
        ML_DSA_44_COSIGNATURE,
    ]
    with home.open() as witness:
        witness.add_log(LOG.verifier_key)
        answer = witness.add_checkpoint(request(0, 5))
        assert len(open_note(checkpoint(LINES[:5]).raw + answer, witness.vkeys).verified) == 2


def test_who_may_be_known(witness: Witness) -> None:
    """A log needs one name; the witness's own key is refused as a log; keys can be replaced, what was seen stays."""
    with pytest.raises(FormatError, match="origin as their name"):
        witness.add_log(LOG.verifier_key, signing_key("x.example").verifier_key)
    with pytest.raises(FormatError, match="own key"):
        witness.add_log(replace(witness.vkeys[0]))
    witness.add_checkpoint(request(0, 5))
    renewed = signing_key(ORIGIN, salt="renewed")
    witness.add_log(renewed.verifier_key)
    with pytest.raises(UntrustedNoteError):
        witness.add_checkpoint(request(5, 8))
    witness.add_checkpoint(request(5, 8, LINES, renewed))


def test_nothing_cosigned_is_not_found(witness: Witness) -> None:
    """Logs without a cosigned checkpoint, unknown logs and things that are no hash are not found."""
    for name in (origin_hash(ORIGIN), origin_hash("x.example"), "", "..", origin_hash(ORIGIN).upper()):
        with pytest.raises(NotFoundError):
            witness.checkpoint(name)


def test_concurrent_requests_never_move_it_back(witness: Witness) -> None:
    """64 threads send interleaved sizes at once: the sizes that were cosigned grow, and the last one is the largest."""
    sizes: list[int] = []
    errors: list[BaseException] = []

    def submit(start: int) -> None:
        for size in range(1 + start % 12, 13):
            old = 0
            for _ in range(20):
                try:
                    witness.add_checkpoint(request(old, size))
                    stored = Checkpoint.parse(witness.checkpoint(origin_hash(ORIGIN))).tree_size
                    sizes.append(stored)
                    if stored < size:
                        errors.append(AssertionError(f"{stored} after {size}"))
                    break
                except StaleSizeError as err:
                    if err.tree_size > size:
                        break
                    old = err.tree_size
                except BaseException as err:
                    errors.append(err)
                    raise

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert Checkpoint.parse(witness.checkpoint(origin_hash(ORIGIN))).tree_size == 12 == max(sizes)


def test_one_process_at_a_time(home: WitnessHome, witness: Witness) -> None:
    """A second one cannot open the same witness."""
    with pytest.raises(ConflictError, match="another process"):
        home.open()
    witness.close()
    home.open().close()


def test_requests_are_bounded() -> None:
    """Bodies over the limit, and ones with very many lines, are refused before they are taken apart."""
    for body in (b"old 0\n" * 10**6, b"old 0\n" + b"\n" * 2**21, b"\xff" * 100, b"old 1" + b"0" * 10**6):
        with pytest.raises(FormatError):
            AddCheckpoint.parse(body)
