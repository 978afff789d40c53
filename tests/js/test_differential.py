"""Python and JavaScript asked the same: what one accepts, the other accepts, and reads as the same."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.targets import LOG_KEY, POLICY, WITNESS_KEY
from tests.statements import POLICY_EXAMPLE
from tests.test_fuzz_corpus import CORPUS, mutations
from tlog._strict import format_base64
from tlog.bundle import decode_bundle
from tlog.checkpoint import Checkpoint
from tlog.entry import parse_entry
from tlog.errors import Error, FormatError
from tlog.jsontext import parse_json
from tlog.keys import VerifierKey
from tlog.note import Note, open_note
from tlog.policy import Policy
from tlog.proof import root_from_inclusion, roots_from_consistency
from tlog.report.shown import visible
from tlog.tile import Tile, parse_path
from tlog.tlogproof import ConsistencyProof, Proof
from tlog.verify import verify_proof

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node on this machine")

PEER = Path(__file__).with_name("peer.mjs")
BUNDLE_WIDTH = 3
_LONG_NUMBER = re.compile(rb"[0-9]{16}|(?:x[0-9]{3}/){5}")  # 2^53 has 16 digits
QUICK = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Asks the JavaScript library, in one process that lives as long as these tests."""
    environment = os.environ | {"NODE_NO_WARNINGS": "1"}
    with subprocess.Popen(
        ["node", str(PEER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:

        def asking(kind: str, data: bytes, **rest: object) -> dict[str, Any]:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps({"kind": kind, "input": format_base64(data), **rest}) + "\n")
            process.stdin.flush()
            answer: dict[str, Any] = json.loads(process.stdout.readline())
            assert "defect" not in answer, answer["defect"]
            return answer

        yield asking
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0


def note_of(note: Note) -> dict[str, Any]:
    """Return a note's parts as the peer gives them."""
    lines = [[line.name, line.key_id.hex(), format_base64(line.signature)] for line in note.signatures]
    return {"text": format_base64(note.text), "signatures": lines}


def checkpoint_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return a checkpoint's parts as the peer gives them."""
    return {
        "origin": checkpoint.origin,
        "tree_size": checkpoint.tree_size,
        "root_hash": checkpoint.root_hash.hex(),
        "extensions": list(checkpoint.extensions),
        **note_of(checkpoint.note),
    }


def octets(name: str) -> str:
    """Return the octets of a policy's name in hex."""
    return name.encode("utf-8", "surrogateescape").hex()


def read_vkey(data: bytes) -> object:
    """Return the parts of a verifier key."""
    key = VerifierKey.parse(text_of(data))
    return [key.name, key.key_id.hex(), key.key_type, key.public_key.hex()]


def read_policy(data: bytes) -> object:
    """Return the parts of a policy."""
    policy = Policy.parse(data)
    return {
        "logs": [str(log.key) for log in policy.logs],
        "witnesses": [[octets(witness.name), str(witness.key)] for witness in policy.witnesses],
        "groups": [[octets(group.name), group.threshold, list(map(octets, group.members))] for group in policy.groups],
        "quorum": octets(policy.quorum),
    }


def read_proof(data: bytes) -> object:
    """Return the parts of a proof file."""
    proof = Proof.parse(data)
    extra = None if proof.extra is None else proof.extra.hex()
    return [proof.leaf_index, [value.hex() for value in proof.hashes], extra, checkpoint_of(proof.checkpoint)]


def read_consistency_proof(data: bytes) -> object:
    """Return the parts of a consistency proof."""
    proof = ConsistencyProof.parse(data)
    return [proof.old_size, [value.hex() for value in proof.hashes], checkpoint_of(proof.checkpoint)]


def read_entry(data: bytes) -> object:
    """Return the parts of an entry; its data and meta must be JSON that every reader reads alike."""
    entry = parse_entry(data)
    parse_json(entry.raw_data)
    payload = data[data.index(b'","') :]
    meta = None
    if entry.meta:
        start = data.index(b',"meta":', len(data) - len(payload)) + len(b',"meta":')
        meta = data[start : len(data) - len(entry.raw_data) - 75 - len(b',"data":')].decode()
    return [
        entry.seq,
        entry.ts,
        entry.partition,
        entry.prev_hash.hex(),
        entry.hash.hex(),
        entry.raw_data.decode(),
        meta,
    ]


def read_json(data: bytes) -> object:
    """Return JSON text that is accepted."""
    parse_json(data)
    return data.decode()


def read_tile_path(data: bytes) -> object:
    """Return the coordinates of a path."""
    tile = parse_path(text_of(data))
    return {"level": tile.level if isinstance(tile, Tile) else "entries", "index": tile.index, "width": tile.width}


def text_of(data: bytes) -> str:
    """Return the text of an input. Raises: FormatError where it is no UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as err:
        raise FormatError("input", "it is not UTF-8") from err


READERS: dict[str, Callable[[bytes], object]] = {
    "bundle": lambda data: [entry.hex() for entry in decode_bundle(data, BUNDLE_WIDTH)],
    "checkpoint": lambda data: checkpoint_of(Checkpoint.parse(data)),
    "consistency-proof": read_consistency_proof,
    "entry-line": read_entry,
    "note": lambda data: note_of(Note.parse(data)),
    "policy": read_policy,
    "raw-json": read_json,
    "tile-path": read_tile_path,
    "tlog-proof": read_proof,
    "vkey": read_vkey,
}
SEEDS = {kind: sorted(path.read_bytes() for path in (CORPUS / kind).iterdir()) for kind in READERS}


def compare(kind: str, data: bytes, mine: Callable[[bytes], object], ask: Ask, **rest: object) -> bool:
    """Compare what both say of an input; return whether it is accepted.

    One difference is wanted: numbers beyond 2^53, which browsers do not count exactly, are refused there.
    """
    answer = ask(kind, data, **rest)
    try:
        value = mine(data)
    except Error:
        assert "refused" in answer, (kind, data, answer)
        return False
    if answer.get("refused") == "inexact":
        assert _LONG_NUMBER.search(data) is not None, (kind, data)
        return False
    assert answer.get("value") == value, (kind, data, answer, value)
    return True


@pytest.mark.parametrize("kind", sorted(READERS))
def test_the_corpus(kind: str, ask: Ask) -> None:
    """The fuzzer's seeds, as they are and with changes: accepted by both and read as the same, or refused by both."""
    accepted = 0
    for number, seed in enumerate(SEEDS[kind]):
        for data in (seed, *mutations(seed, SEEDS[kind], 40, f"{kind} {number}")):
            accepted += compare(kind, data, READERS[kind], ask, width=BUNDLE_WIDTH)
    assert accepted > 0


@QUICK
@given(kind=st.sampled_from(sorted(READERS)), seed=st.integers(0, 2**32))
def test_changed_inputs(kind: str, seed: int, ask: Ask) -> None:
    """The same, with changes that are not always the same ones."""
    choose = random.Random(seed)
    for data in mutations(choose.choice(SEEDS[kind]), SEEDS[kind], 3, str(seed)):
        compare(kind, data, READERS[kind], ask, width=BUNDLE_WIDTH)


@QUICK
@given(seed=st.integers(0, 2**32))
def test_signatures_under_known_keys(seed: int, ask: Ask) -> None:
    """Notes, checkpoints and proofs that are opened under known keys, or refused."""
    choose = random.Random(seed)
    keys = [LOG_KEY.verifier_key, WITNESS_KEY.verifier_key]
    policy = POLICY.format().decode()
    for data in mutations(choose.choice(SEEDS["note"] + SEEDS["checkpoint"]), SEEDS["note"], 2, str(seed)):
        compare(
            "open",
            data,
            lambda raw: [str(key) for key, _ in open_note(raw, keys).verified],
            ask,
            keys=list(map(str, keys)),
        )
        compare("valid", data, read_valid, ask, policy=policy)
    for data in mutations(choose.choice(SEEDS["tlog-proof"]), SEEDS["tlog-proof"], 2, str(seed)):
        compare("verify", data, read_verified, ask, policy=policy)


def read_valid(data: bytes) -> object:
    """Return who has signed a checkpoint, and which witnesses are met and missing."""
    verified = POLICY.verify(data)
    return [str(verified.log_key), list(verified.witnesses_met), list(verified.witnesses_missing)]


def read_verified(data: bytes) -> object:
    """Return what a proof proves."""
    proved = verify_proof(data, policy=POLICY)
    parse_json(proved.entry.raw_data)
    return [proved.leaf_index, proved.entry.hash.hex(), proved.checkpoint.tree_size]


def test_unchanged_signatures(ask: Ask) -> None:
    """Some of the seeds are signed by the known keys, and both sides say so."""
    keys = [LOG_KEY.verifier_key, WITNESS_KEY.verifier_key]
    policy = POLICY.format().decode()
    for data in SEEDS["checkpoint"]:
        compare("valid", data, read_valid, ask, policy=policy)
    opened = [
        compare(
            "open",
            data,
            lambda raw: [str(key) for key, _ in open_note(raw, keys).verified],
            ask,
            keys=list(map(str, keys)),
        )
        for data in SEEDS["note"] + SEEDS["checkpoint"]
    ]
    verified = [compare("verify", data, read_verified, ask, policy=policy) for data in SEEDS["tlog-proof"]]
    assert any(opened)
    assert any(verified)
    assert compare("policy", POLICY_EXAMPLE.encode(), read_policy, ask)


@QUICK
@given(
    size=st.one_of(st.integers(-1, 70), st.integers(2**31 - 2, 2**33), st.integers(2**53 - 70, 2**53 - 1)),
    draw=st.data(),
)
def test_proof_paths(size: int, draw: st.DataObject, ask: Ask) -> None:
    """Roots computed from the same hashes, in trees up to 2^53 - 1; the wrong number of hashes is refused."""
    choose = random.Random(draw.draw(st.integers(0, 2**32)))
    place = draw.draw(st.one_of(st.integers(-1, 70), st.integers(max(size - 70, 0), max(size, 1))))
    leaf = choose.randbytes(32)
    # As many hashes as one of them wants, most of the time: that is what they must agree about.
    for count in {draw.draw(st.integers(0, 54)), *range(max(size, 0).bit_length() + 2)}:
        hashes = [choose.randbytes(32) for _ in range(count)]
        encoded = list(map(format_base64, hashes))
        compare(
            "inclusion",
            leaf,
            lambda data: root_from_inclusion(data, place, size, hashes).hex(),  # noqa: B023 - called at once
            ask,
            index=place,
            size=size,
            hashes=encoded,
        )
        compare(
            "consistency",
            leaf,
            lambda data: [root.hex() for root in roots_from_consistency(place, size, data, hashes)],  # noqa: B023
            ask,
            old=place,
            size=size,
            hashes=encoded,
        )


@QUICK
@given(text=st.text())
def test_what_cannot_be_seen(text: str, ask: Ask) -> None:
    """Both sides show the same characters, and spell out the same others. Node may know newer ones than Python."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return
    spelled = [ask("visible", character.encode())["value"] for character in text]
    assert ask("visible", data)["value"] == "".join(spelled)
    for character, shown in zip(text, spelled, strict=True):
        assert unicodedata.category(character) == "Cn" or (shown == character) == (visible(character) == character), (
            hex(ord(character))
        )
