"""S11: languages that write one value differently, and hashes over what was written again."""

from __future__ import annotations

import json
import subprocess
from hashlib import sha256
from pathlib import Path

import orjson

from tests.ledgers import QuickDisk, create, lines_of
from tlog import Policy, verify_proof

SPELLINGS = [
    b"1.0",
    b"1e-7",
    b"1E-7",
    b"0.0000001",
    b"123000000000000000000.0",
    b"1.23e20",
    b"-0.0",
    b"9007199254740993",
    b"18446744073709551615",
    b"-9223372036854775808",
    b'"\\u00e9"',
    '"é"'.encode(),
    '"e\u0301"'.encode(),
    b'"\\/"',
    b'"\\ud83d\\ude00"',
    '{"b":1,"a":2,"é":{},"":[]}'.encode(),
    b'{ "white" : [ 1 , 2 ] }',
    '"\u2028\u2029\u202e"'.encode(),
    b'"\\u001b[31m"',
]


def test_s11_the_bytes_are_hashed_and_never_written_again(tmp_path: Path) -> None:
    """Each spelling stands in the file as it came; reading, proving, sealing and exporting change no hash."""
    partition = create(tmp_path, disk=QuickDisk())
    receipts = [partition.append_json(text) for text in SPELLINGS]
    partition.append_many(range(256 - len(SPELLINGS)))
    partition.publish()
    policy = Policy.for_log(partition.vkey)
    lines = lines_of(partition)
    for seal in (False, True):
        if seal:
            assert partition.seal().segments == 1
        for receipt, text in zip(receipts, SPELLINGS, strict=True):
            entry = partition.entry(receipt.seq)
            assert entry.raw_data == text
            assert entry.raw == lines[receipt.seq]
            assert entry.hash == receipt.hash == sha256(entry.raw[:-75]).digest()
            assert verify_proof(partition.prove(receipt.seq), policy=policy).entry.raw == entry.raw
            assert entry.data == json.loads(text)


def test_s11_writing_again_would_have_changed_hashes() -> None:
    """What this is about: several of these texts are written differently by Python's own two writers."""
    again = {orjson.dumps(orjson.loads(text)) for text in SPELLINGS} | {
        json.dumps(json.loads(text)).encode() for text in SPELLINGS
    }
    assert len([text for text in SPELLINGS if text not in again]) >= 4


def test_s11_another_language_agrees_over_the_raw_lines(tmp_path: Path) -> None:
    """A shell script that cuts bytes and calls sha256sum finds the chain and the leaf hashes that tlog finds."""
    partition = create(tmp_path, disk=QuickDisk())
    for text in SPELLINGS[:8]:
        partition.append_json(text)
    partition.publish()
    script = r"""
while IFS= read -r line; do
  printf '%s' "$line" | head -c -75 | sha256sum | cut -c -64
  { printf '\000'; printf '%s' "$line"; } | sha256sum | cut -c -64
done
"""
    lines = lines_of(partition)
    output = subprocess.run(
        ["sh", "-c", script], input=b"\n".join(lines) + b"\n", capture_output=True, check=True, env={"LC_ALL": "C"}
    ).stdout.decode()
    found = output.split()
    entries = list(partition.entries())
    assert found[0::2] == [entry.hash.hex() for entry in entries]
    tile = (partition.paths.root / "tile" / "0" / "000.p" / "8").read_bytes()
    assert "".join(found[1::2]) == tile.hex()
