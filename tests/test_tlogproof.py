"""The text formats of inclusion and consistency proofs."""

from __future__ import annotations

import base64
import contextlib
import time
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.statements import LOG, ORIGIN, checkpoint, consistency_proof, entry_lines, inclusion_proof, witness_key
from tlog.checkpoint import MAX_TREE_SIZE, Checkpoint
from tlog.errors import Error, FormatError
from tlog.tlogproof import MAX_EXTRA_SIZE, MAX_PROOF_HASHES, MAX_PROOF_SIZE, ConsistencyProof, Proof

LEAVES = entry_lines(7)
CHECKPOINT = checkpoint(LEAVES)
H1, H2 = sha256(b"hash1").digest(), sha256(b"hash2").digest()
B1, B2 = (base64.b64encode(value).decode() for value in (H1, H2))
SIGNED = str(CHECKPOINT)
HEADER = "c2sp.org/tlog-proof@v1\n"

# The cases of transparency-dev/formats, whose checkpoints are stand-ins such as "test checkpoint\n".
FORMATS_CASES = [
    (f"c2sp.org/tlog-proof@v1\nindex 5\n{B1}\n{B2}\n\ntest checkpoint\n", 5, (H1, H2), None),
    (
        f"c2sp.org/tlog-proof@v1\nextra ZXh0cmEgaW5mb3JtYXRpb24=\nindex 10\n{B1}\n\ncheckpoint data\n",
        10,
        (H1,),
        b"extra information",
    ),
    ("c2sp.org/tlog-proof@v1\nindex 0\n\ncheckpoint\n", 0, (), None),
]


@pytest.mark.parametrize(("text", "index", "hashes", "extra"), FORMATS_CASES)
def test_cases_of_others(text: str, index: int, hashes: tuple[bytes, ...], extra: bytes | None) -> None:
    """Byte for byte the proofs of transparency-dev/formats, with a signed checkpoint where it has a stand-in.

    With the stand-in itself they are refused: the format wants a checkpoint there.
    """
    head, _, stand_in = text.partition("\n\n")
    whole = f"{head}\n\n{SIGNED}"
    proof = Proof.parse(whole)
    assert proof == Proof(index, hashes, CHECKPOINT, extra)
    assert str(proof) == whole
    assert Proof.parse(whole.encode()) == proof
    assert stand_in
    with pytest.raises(FormatError, match="note"):
        Proof.parse(text)


def test_absent_and_empty_extra_lines_differ() -> None:
    """No extra line is None, an extra line of no bytes is b"", and each comes back as it was."""
    absent, empty = Proof(3, (H1,), CHECKPOINT), Proof(3, (H1,), CHECKPOINT, b"")
    assert str(absent) == f"{HEADER}index 3\n{B1}\n\n{SIGNED}"
    assert str(empty) == f"{HEADER}extra \nindex 3\n{B1}\n\n{SIGNED}"
    assert Proof.parse(str(absent)).extra is None
    assert Proof.parse(str(empty)).extra == b""
    assert absent != empty


def test_the_specifications_example_is_illustrative() -> None:
    """The example of c2sp.org/tlog-proof has elided signatures and a cut extra line: it is refused."""
    example = (
        f"{HEADER}extra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6kYXJ3aW4tYXJ\nindex 73894\n"
        "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\n\nexample.com/fancylog\n109482\n"
        "sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=\n\n— example.com/fancylog hI2DJw[...]1roloI=\n"
    )
    with pytest.raises(FormatError):
        Proof.parse(example)


def _proof(head: str) -> str:
    return f"{head}\n\n{SIGNED}"


BAD_PROOFS = {
    "empty": ("", "no blank line"),
    "no checkpoint": (f"{HEADER}index 0\n\n", "no blank line between text and signatures"),
    "no blank line": (f"{HEADER}index 0\n", "no blank line"),
    "wrong header": (_proof("wrong-header\nindex 0"), "first line is not"),
    "newer version": (_proof("c2sp.org/tlog-proof@v2\nindex 0"), "first line is not"),
    "header with a space": (_proof("c2sp.org/tlog-proof@v1 \nindex 0"), "first line is not"),
    "header only": (_proof("c2sp.org/tlog-proof@v1"), "'index <number>' is missing"),
    "bad extra": (_proof(f"{HEADER}extra !!notbase64!!\nindex 0"), "extra line: .* is not standard base64"),
    "extra without padding": (_proof(f"{HEADER}extra YWI\nindex 0"), "extra line"),
    "extra of another spelling": (_proof(f"{HEADER}extra YWJ=\nindex 0"), "extra line: .* is not canonical"),
    "extra without a space": (_proof(f"{HEADER}extra\nindex 0"), "'index <number>' is missing"),
    "two extra lines": (_proof(f"{HEADER}extra YQ==\nextra YQ==\nindex 0"), "'index <number>' is missing"),
    "extra behind index": (_proof(f"{HEADER}index 0\nextra YQ=="), "hash line"),
    "large extra": (
        _proof(f"{HEADER}extra {base64.b64encode(bytes(MAX_EXTRA_SIZE + 1)).decode()}\nindex 0"),
        "65536 bytes are more than 65535",
    ),
    "no index": (f"{HEADER}\n\ncheckpoint\n", "'index <number>' is missing"),
    "two indexes": (_proof(f"{HEADER}index 0\nindex 0"), "hash line"),
    "index in capitals": (_proof(f"{HEADER}Index 0"), "'index <number>' is missing"),
    **{
        f"index {word}": (_proof(f"{HEADER}index {word}"), "index line")
        for word in ("notanumber", "-5", "+5", "05", " 5", "5 ", "", "5.0", "1_0", str(MAX_TREE_SIZE + 1), "9" * 500)
    },
    "index in other digits": (_proof(f"{HEADER}index ５"), "not ASCII"),
    "bad hash": (_proof(f"{HEADER}index 0\n!!notbase64!!"), "hash line"),
    "hash of 64 bytes": (_proof(f"{HEADER}index 0\n{base64.b64encode(bytes(64)).decode()}"), "holds 64 bytes"),
    "hash of 16 bytes": (_proof(f"{HEADER}index 0\n{base64.b64encode(bytes(16)).decode()}"), "holds 16 bytes"),
    "hash in hex": (_proof(f"{HEADER}index 0\n{H1.hex()}"), "hash line"),
    "hash of another spelling": (_proof(f"{HEADER}index 0\n{'A' * 42}B="), "not canonical"),
    "hash with a space behind": (_proof(f"{HEADER}index 0\n{B1} "), "hash line"),
    "line of 65 KiB": (f"{HEADER}index 0\n{'a' * 65 * 1024}\n", "no blank line"),
    "hash line of 65 KiB": (_proof(f"{HEADER}index 0\n{'a' * 65 * 1024}"), "hash line: holds"),
    "64 hashes": (_proof(f"{HEADER}index 0\n" + "\n".join([B1] * 64)), "more than 63 hashes"),
    "100,000 hashes": (_proof(f"{HEADER}index 0\n" + "\n".join([B1] * 20_000)), "more than 63 hashes"),
    "CRLF": (_proof(f"{HEADER}index 0").replace("\n", "\r\n"), "no blank line"),
    "CRLF in the head": (_proof("c2sp.org/tlog-proof@v1\r\nindex 0"), "first line is not"),
    "blank line before the index": (_proof(f"{HEADER}\nindex 0"), "'index <number>' is missing"),
    "two blank lines": (f"{HEADER}index 0\n\n\n{SIGNED}", "checkpoint"),
    "checkpoint without newline": (_proof(f"{HEADER}index 0").removesuffix("\n"), "last line"),
    "something behind": (_proof(f"{HEADER}index 0") + "more\n", "not a signature line"),
    "largest": ("x" * MAX_PROOF_SIZE, "no blank line"),
    "too large": ("x" * (MAX_PROOF_SIZE + 1), "longer than"),
    "lone surrogate": (_proof(f"{HEADER}index \ud800"), "not valid Unicode"),
}


@pytest.mark.parametrize(("text", "reason"), BAD_PROOFS.values(), ids=BAD_PROOFS)
def test_bad_proofs(text: str, reason: str) -> None:
    """Every other spelling, and everything too large, is refused with the reason."""
    with pytest.raises(FormatError, match=reason):
        Proof.parse(text)


def test_lines_of_the_largest_proof() -> None:
    """63 hashes, the largest index and the largest extra line make a proof."""
    proof = Proof(MAX_TREE_SIZE, (H1,) * MAX_PROOF_HASHES, CHECKPOINT, bytes(range(256)) * 255 + bytes(255))
    assert len(proof.extra or b"") == MAX_EXTRA_SIZE
    assert Proof.parse(str(proof)) == proof


@pytest.mark.parametrize("leaf_index", [-1, MAX_TREE_SIZE + 1, 2**200, True, 0.0, "0"])
def test_bad_indexes(leaf_index: int) -> None:
    """S7: an index is a whole number that a tree can have."""
    with pytest.raises(FormatError, match="leaf index"):
        Proof(leaf_index, (), CHECKPOINT)
    with pytest.raises(FormatError, match="old size"):
        ConsistencyProof(leaf_index, (), CHECKPOINT)


def test_bad_hashes() -> None:
    """Hashes are 32 bytes each, and at most 63; a million is refused at once."""
    start = time.perf_counter()
    for hashes in ((bytes(31),), (H1, bytes(33)), (H1,) * 64, (H1,) * 1_000_000):
        with pytest.raises(FormatError, match="hash"):
            Proof(0, hashes, CHECKPOINT)
        with pytest.raises(FormatError, match="hash"):
            ConsistencyProof(0, hashes, CHECKPOINT)
    assert time.perf_counter() - start < 0.5
    with pytest.raises(FormatError, match="extra line"):
        Proof(0, (), CHECKPOINT, bytes(MAX_EXTRA_SIZE + 1))


def test_proofs_need_a_signed_checkpoint() -> None:
    """A proof whose checkpoint nobody signed has no text."""
    unsigned = Checkpoint(ORIGIN, 7, CHECKPOINT.root_hash)
    with pytest.raises(FormatError, match="0 signature lines"):
        str(Proof(0, (), unsigned))
    with pytest.raises(FormatError, match="0 signature lines"):
        str(ConsistencyProof(0, (), unsigned))


def test_consistency_proof_is_a_witness_request() -> None:
    """The text is the body of `add-checkpoint`: old size, hashes, blank line, signed checkpoint."""
    proof = consistency_proof(3, LEAVES)
    lines = [base64.b64encode(value).decode() for value in proof.hashes]
    assert str(proof) == "\n".join(["old 3", *lines, "", SIGNED])
    assert ConsistencyProof.parse(str(proof)) == proof
    assert ConsistencyProof.parse(proof.format()) == proof
    first = consistency_proof(0, LEAVES)
    assert str(first) == f"old 0\n\n{SIGNED}"
    assert ConsistencyProof.parse(str(first)) == first


def test_the_specifications_request() -> None:
    """The example request of c2sp.org/tlog-witness, two lines of one name included, comes back byte for byte."""
    body = (
        "old 20852014\n"
        "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\njrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n"
        "5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\n"
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "— example.com/behind-the-sofa "
        "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
        "— example.com/behind-the-sofa "
        "opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=\n"
    )
    proof = ConsistencyProof.parse(body)
    assert (proof.old_size, len(proof.hashes), proof.checkpoint.tree_size) == (20852014, 4, 20852163)
    assert [line.key_id.hex() for line in proof.checkpoint.signatures] == ["033de0ae", "a292ea05"]
    assert str(proof) == body


BAD_REQUESTS = {
    "empty": ("", "no blank line"),
    "no old line": (f"{B1}\n\n{SIGNED}", "'old <number>' is missing"),
    "blank line first": (f"\n\n{SIGNED}", "'old <number>' is missing"),
    "no checkpoint": ("old 0\n\n", "no blank line"),
    "leading zero": (f"old 03\n\n{SIGNED}", "old line"),
    "plus sign": (f"old +3\n\n{SIGNED}", "old line"),
    "no number": (f"old\n\n{SIGNED}", "old line"),
    "two spaces": (f"old  3\n\n{SIGNED}", "old line"),
    "too large a size": (f"old {2**63}\n\n{SIGNED}", "old line"),
    "short hash": (f"old 3\n{base64.b64encode(bytes(20)).decode()}\n\n{SIGNED}", "holds 20 bytes"),
    "64 hashes": (f"old 3\n{f'{B1}{chr(10)}' * 64}\n{SIGNED}", "more than 63 hashes"),
    "hash behind a blank line": (f"old 3\n\n{B1}\n{SIGNED}", "checkpoint"),
    "inclusion proof": (str(Proof(0, (), CHECKPOINT)), "'old <number>' is missing"),
    "CRLF": (f"old 0\r\n\r\n{SIGNED}", "base64|old line"),
}


@pytest.mark.parametrize(("text", "reason"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_bad_requests(text: str, reason: str) -> None:
    """Whatever is not the one spelling of a request is refused with the reason."""
    with pytest.raises(FormatError, match=reason):
        ConsistencyProof.parse(text)


def test_repr_is_short() -> None:
    """The representation counts the hashes and does not print the entry."""
    assert repr(inclusion_proof(3, LEAVES)).startswith("<Proof of leaf 3, 3 hashes, in <Checkpoint ")
    assert repr(consistency_proof(3, LEAVES)).startswith("<ConsistencyProof from 3, 4 hashes, to <Checkpoint ")


HASHES = st.lists(st.binary(min_size=32, max_size=32), max_size=MAX_PROOF_HASHES).map(tuple)
COSIGNED = CHECKPOINT.sign(witness_key(1), timestamp_s=1)
CHECKPOINTS = st.sampled_from([CHECKPOINT, COSIGNED, checkpoint([]), checkpoint(LEAVES, LOG, origin="Ünï cødé\x85")])


@given(st.integers(0, MAX_TREE_SIZE), HASHES, CHECKPOINTS, st.none() | st.binary(max_size=200))
def test_proofs_round_trip(index: int, hashes: tuple[bytes, ...], signed: Checkpoint, extra: bytes | None) -> None:
    """Every proof that can be made is parsed back from its text and from its bytes."""
    proof = Proof(index, hashes, signed, extra)
    assert Proof.parse(str(proof)) == proof
    assert Proof.parse(proof.format()) == proof
    consistency = ConsistencyProof(index, hashes, signed)
    assert ConsistencyProof.parse(str(consistency)) == consistency


@given(st.binary(), st.text())
def test_arbitrary_input(raw: bytes, text: str) -> None:
    """Arbitrary bytes and text, alone and in each place of a proof, give an error of tlog or a round trip."""
    good = inclusion_proof(3, LEAVES).format()
    for part in (raw, text.encode("utf-8", "surrogatepass")):
        for candidate in (
            part,
            part + good,
            good + part,
            good.replace(b"index 3", part),
            good.replace(b"3", part, 1),
            b"old 3\n" + part + b"\n\n" + SIGNED.encode(),
            b"old 3\n\n" + part,
        ):
            for kind in (Proof, ConsistencyProof):
                with contextlib.suppress(Error):
                    assert kind.parse(candidate).format() == candidate
    for kind in (Proof, ConsistencyProof):
        with contextlib.suppress(Error):
            assert str(kind.parse(text)) == text
