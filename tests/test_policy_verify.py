"""Trust policies: quorums, and which checkpoints are valid."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.statements import (
    IMPOSTOR,
    LOG,
    LOG_VKEY,
    ORIGIN,
    POLICY_EXAMPLE,
    TIMESTAMP_S,
    checkpoint,
    entry_lines,
    mutations,
    signing_key,
    witness_key,
)
from tests.statements import WITNESS_VKEYS as W
from tests.vectors import SUNLIGHT, TESSERA_LOG
from tlog.checkpoint import Checkpoint
from tlog.errors import FormatError, PolicyError, SignatureError, UnknownOriginError, UntrustedNoteError
from tlog.keys import ED25519_COSIGNATURE, SigningKey
from tlog.note import NoteSignature
from tlog.policy import (
    Policy,
    PolicyLog,
    PolicyWitness,
    VerifiedCheckpoint,
)

LEAVES = entry_lines(3)
CHECKPOINT = checkpoint(LEAVES)
WITNESS1 = f"witness w1 {W[1]}\n"


def cosigned(numbers: Iterable[int], base: Checkpoint = CHECKPOINT) -> Checkpoint:
    """Return the checkpoint with the cosignatures of these witnesses."""
    return base.sign(*(witness_key(number) for number in numbers), timestamp_s=TIMESTAMP_S)


def test_one_pinned_log() -> None:
    """The simplest policy: one vkey. What comes back says who signed."""
    verified = Policy.for_log(LOG_VKEY).verify(CHECKPOINT.raw)
    assert isinstance(verified, VerifiedCheckpoint)
    assert verified.checkpoint == CHECKPOINT
    assert (verified.origin, verified.tree_size, verified.root_hash) == (ORIGIN, 3, CHECKPOINT.root_hash)
    assert verified.log_key == LOG.verifier_key
    assert (verified.cosignatures, verified.witnesses_met, verified.witnesses_missing) == ((), (), ())
    assert verified.quorum.startswith("none")
    assert Policy.for_log(LOG.verifier_key).verify(CHECKPOINT) == verified


def test_cosigned_checkpoint() -> None:
    """Met and missing witnesses and their times are told; an unmet quorum names both."""
    policy = Policy.parse(POLICY_EXAMPLE)
    verified = policy.verify(cosigned([6, 1, 3]).raw)
    assert verified.witnesses_met == ("X1", "X3", "Y3")
    assert verified.witnesses_missing == ("X2", "Y1", "Y2")
    assert [line.key_name for line in verified.cosignatures] == [witness_key(n).name for n in (6, 1, 3)]
    assert {line.timestamp_s for line in verified.cosignatures} == {TIMESTAMP_S}
    assert verified.quorum == "X-and-Y, 2 of 2: X-witnesses, Y-witnesses"
    with pytest.raises(PolicyError, match="X-and-Y") as caught:
        policy.verify(cosigned([1, 4, 5]).raw)
    assert caught.value.met == ("X1", "Y1", "Y2")
    assert caught.value.missing == ("X2", "X3", "Y3")


def test_authenticate_does_not_ask_for_the_quorum() -> None:
    """The log's signature alone is enough for `authenticate`, and is no `VerifiedCheckpoint`."""
    policy = Policy.parse(POLICY_EXAMPLE)
    signed = policy.authenticate(CHECKPOINT.raw)
    assert not isinstance(signed, VerifiedCheckpoint)
    assert signed.witnesses_met == ()
    with pytest.raises(PolicyError, match="cosigned by nobody, missing X1, X2, X3, Y1, Y2, Y3"):
        policy.require_quorum(signed)
    with pytest.raises(PolicyError, match="cosigned by X2, missing X1, X3, Y1, Y2, Y3"):
        policy.verify(cosigned([2]))


def test_unknown_origins() -> None:
    """S2: a checkpoint of another origin is refused, also if a known key signed it, and with an empty set of logs."""
    other = checkpoint(LEAVES, LOG, origin="audit.example.com/other")
    with pytest.raises(UnknownOriginError) as caught:
        Policy.for_log(LOG_VKEY).verify(other)
    assert caught.value.origin == "audit.example.com/other"
    assert ORIGIN in str(caught.value)
    for policy in (Policy(()), Policy.parse(f"{WITNESS1}quorum w1\n")):
        with pytest.raises(UnknownOriginError, match="it lists none"):
            policy.verify(cosigned([1]))


def test_another_logs_key_does_not_sign_for_this_log() -> None:
    """S2: of two listed logs, the key of one is worth nothing on the other's checkpoint."""
    second = signing_key("audit.example.com/second")
    policy = Policy((PolicyLog(LOG.verifier_key), PolicyLog(second.verifier_key)))
    with pytest.raises(UntrustedNoteError, match="no key of the log"):
        policy.verify(checkpoint(LEAVES, second))
    assert policy.verify(checkpoint(LEAVES, second, LOG)).log_key == LOG.verifier_key
    assert policy.verify(checkpoint(LEAVES, second, origin=second.name)).log_key == second.verifier_key


def test_one_of_several_keys_of_a_log_is_enough() -> None:
    """While a log's key is replaced, a policy lists both, and each is enough."""
    successor = signing_key(ORIGIN, salt="successor")
    policy = Policy((PolicyLog(LOG.verifier_key), PolicyLog(successor.verifier_key)))
    for signers in [(LOG,), (successor,), (LOG, successor)]:
        assert policy.verify(checkpoint(LEAVES, *signers)).log_key == signers[0].verifier_key


def test_attacker_signs_anew() -> None:
    """S12: the same tree signed with another key of the same name is not trusted."""
    with pytest.raises(UntrustedNoteError) as caught:
        Policy.for_log(LOG_VKEY).verify(checkpoint(LEAVES, IMPOSTOR))
    assert caught.value.note == checkpoint(LEAVES, IMPOSTOR).raw


def test_bad_lines_of_known_keys() -> None:
    """A bad line of the log, of a witness, or of another log of the policy refuses the checkpoint."""
    second = signing_key("audit.example.com/second")
    policy = Policy(
        (PolicyLog(LOG.verifier_key), PolicyLog(second.verifier_key)),
        (PolicyWitness("w1", witness_key(1).verifier_key),),
    )
    for key in (LOG.verifier_key, second.verifier_key, witness_key(1).verifier_key):
        bad = NoteSignature(key.name, key.key_id, TIMESTAMP_S.to_bytes(8, "big") + bytes(64))
        raw = CHECKPOINT.raw + f"{bad}\n".encode()
        with pytest.raises(SignatureError) as caught:
            policy.verify(raw)
        assert caught.value.key_id == key.key_id


def test_a_witness_counts_once() -> None:
    """Two cosignatures of one witness, at two times, are not two witnesses."""
    twice = cosigned([1]).signatures[1], cosigned([1]).sign(witness_key(1), timestamp_s=1).signatures[1]
    both = Checkpoint(ORIGIN, 3, CHECKPOINT.root_hash, (), (*CHECKPOINT.signatures, *twice))
    policy = Policy.parse(f"log {LOG_VKEY}\n{WITNESS1}witness w2 {W[2]}\ngroup g 2 w1 w2\nquorum g\n")
    with pytest.raises(PolicyError) as caught:
        policy.verify(both)
    assert caught.value.met == ("w1",)


def test_a_cosignature_over_another_checkpoint() -> None:
    """A cosignature moved from another checkpoint of the log fails, it is not ignored."""
    other = cosigned([1], checkpoint(entry_lines(2)))
    moved = Checkpoint(ORIGIN, 3, CHECKPOINT.root_hash, (), (*CHECKPOINT.signatures, other.signatures[1]))
    with pytest.raises(SignatureError):
        Policy.parse(f"log {LOG_VKEY}\n{WITNESS1}quorum w1\n").verify(moved)


def test_unknown_witnesses_do_not_count() -> None:
    """Cosigners that the policy does not list are ignored, whatever their number."""
    policy = Policy.parse(f"log {LOG_VKEY}\n{WITNESS1}quorum w1\n")
    with pytest.raises(PolicyError):
        policy.verify(cosigned(range(2, 50)))
    assert policy.verify(cosigned(range(1, 50))).witnesses_met == ("w1",)


def test_every_changed_byte_is_noticed() -> None:
    """With the quorum asked for, no byte of a checkpoint by known keys can change."""
    policy = Policy.parse(f"log {LOG_VKEY}\n{WITNESS1}quorum w1\n")
    raw = cosigned([1]).raw
    policy.verify(raw)
    for _, changed in mutations(raw):
        with pytest.raises((FormatError, SignatureError, UntrustedNoteError, UnknownOriginError, PolicyError)):
            policy.verify(changed)


def test_tessera_log() -> None:
    """All 16 checkpoints of tessera's test log are valid under the policy of its key."""
    vkey = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
    policy = Policy.parse(f"log {vkey} https://log.example.com/\nquorum none\n")
    sizes = [policy.verify((TESSERA_LOG / f"checkpoint.{size}").read_bytes()).tree_size for size in range(16)]
    assert sizes == list(range(16))
    for size in range(16):
        with pytest.raises(UnknownOriginError):
            Policy.for_log(LOG_VKEY).verify((TESSERA_LOG / f"checkpoint.{size}").read_bytes())


def test_sunlight_witness_alone_is_not_enough() -> None:
    """A real cosigned checkpoint whose log signature is of another type: the witness alone does not validate it."""
    vkey = "witness.example.org+b8a2cf20+BFLN3yikSfFkVAJtrnh/CiY3Zozkoy7clp+P7XB28qUN"
    origin_hash = "000de184301123b9278c086a7d9f68c9577e83872224c197058fd90784ea9706"
    raw = (SUNLIGHT / "witness" / origin_hash / "checkpoint").read_bytes()
    log = signing_key("rome2026h1.example.org").verifier_key
    policy = Policy.parse(f"log {log}\nwitness w {vkey}\nquorum w\n")
    with pytest.raises(UntrustedNoteError, match="no key of the log rome2026h1"):
        policy.verify(raw)


class _Node:
    """A policy as a tree, for the naive evaluator: a witness has no members."""

    def __init__(self, name: str, threshold: int = 0, members: tuple[_Node, ...] = ()) -> None:
        self.name, self.threshold, self.members = name, threshold, members

    def is_met(self, cosigners: set[str]) -> bool:
        if not self.members:
            return self.name in cosigners
        return [member.is_met(cosigners) for member in self.members].count(True) >= self.threshold


@st.composite
def policies(draw: st.DrawFn) -> tuple[str, _Node | None, int]:
    """Draw a policy's text, its quorum as a tree, and the number of its witnesses."""
    count = draw(st.integers(1, 7))
    lines = [f"log {LOG_VKEY}\n"]
    free = []
    for number in range(count):
        lines.append(f"witness w{number} {W[number]}\n")
        free.append(_Node(f"w{number}"))
    nodes = list(free)
    for number in range(draw(st.integers(0, 4))):
        if not free:
            break
        members = draw(st.lists(st.sampled_from(free), min_size=1, max_size=4, unique=True))
        threshold = draw(st.integers(1, len(members)))
        words = {1: ["any"], len(members): ["all"]}
        word = draw(st.sampled_from([str(threshold), *words.get(threshold, [])]))
        lines.append(f"group g{number} {word} {' '.join(member.name for member in members)}\n")
        group = _Node(f"g{number}", threshold, tuple(members))
        free = [node for node in free if node not in members] + [group]
        nodes.append(group)
    quorum = draw(st.sampled_from([None, *nodes]))
    lines.append(f"quorum {quorum.name if quorum else 'none'}\n")
    return "".join(lines), quorum, count


@given(policies())
def test_quorums_against_a_naive_evaluator(drawn: tuple[str, _Node | None, int]) -> None:
    """Every subset of the witnesses of a random policy is judged as by the words of the specification."""
    text, quorum, count = drawn
    policy = Policy.parse(text)
    assert Policy.parse(policy.format()) == policy
    for bits in range(1 << count):
        cosigners = {f"w{number}" for number in range(count) if bits >> number & 1}
        assert policy.is_quorum(cosigners) == (quorum is None or quorum.is_met(cosigners))


COSIGNED = [witness_key(number) for number in range(7)]


@given(policies(), st.sets(st.integers(0, 6)))
def test_verified_checkpoints_against_a_naive_evaluator(drawn: tuple[str, _Node | None, int], by: set[int]) -> None:
    """A checkpoint with real cosignatures is valid exactly if the naive evaluator says so."""
    text, quorum, count = drawn
    signed = CHECKPOINT.sign(*(COSIGNED[number] for number in sorted(by)), timestamp_s=TIMESTAMP_S)
    met = tuple(f"w{number}" for number in range(count) if number in by)
    missing = tuple(f"w{number}" for number in range(count) if number not in by)
    if quorum is None or quorum.is_met(set(met)):
        verified = Policy.parse(text).verify(signed.raw)
        assert (verified.witnesses_met, verified.witnesses_missing) == (met, missing)
    else:
        with pytest.raises(PolicyError) as caught:
            Policy.parse(text).verify(signed.raw)
        assert (caught.value.met, caught.value.missing) == (met, missing)


def test_log_and_witness_of_one_key_pair() -> None:
    """A log and a witness may share a key pair: the two types keep the IDs apart, and neither signs for the other."""
    seed = bytes(range(32))
    log = SigningKey.from_seed(ORIGIN, seed)
    witness = SigningKey.from_seed(ORIGIN, seed, ED25519_COSIGNATURE)
    policy = Policy.parse(f"log {log.verifier_key}\nwitness w {witness.verifier_key}\nquorum w\n")
    assert policy.verify(checkpoint(LEAVES, log, witness)).witnesses_met == ("w",)
    with pytest.raises(PolicyError):
        policy.verify(checkpoint(LEAVES, log))
    with pytest.raises(UntrustedNoteError):
        policy.verify(checkpoint(LEAVES, witness))
