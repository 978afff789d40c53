"""What the fuzzer calls: one function for each parser, from bytes to None.

A target returns where the input was accepted, raises a child of `tlog.errors.Error` where it was refused, and raises
anything else where it has found a bug: `FindingError` where a parser accepts what does not round-trip, or what a
second reading of the same bytes contradicts. `attempt` tells the first two apart and lets the third through.

The targets need neither atheris nor files, but for the record of checkpoints, which is read from a file in a temporary
directory. `fuzz/run.py` runs one under atheris; `tests/test_fuzz_corpus.py` replays the corpus without it.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import itertools
import json
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tlog.bundle import decode_bundle, encode_bundle
from tlog.checkpoint import Checkpoint
from tlog.entry import ChainHead, Entry, check_chain, parse_entry
from tlog.errors import CorruptLedgerError, Error, FormatError
from tlog.jsontext import check_json, encode_json, encode_json_many, parse_json
from tlog.keys import ED25519_COSIGNATURE, SigningKey, VerifierKey
from tlog.ledger import Config
from tlog.note import Note, open_note
from tlog.policy import Policy, PolicyLog, PolicyWitness
from tlog.storage.checkpoints import CheckpointFiles, format_record
from tlog.storage.disk import Files
from tlog.storage.layout import PartitionPaths
from tlog.storage.sealed import Manifest
from tlog.storage.tail import DurableMark
from tlog.tile import Bundle, parse_path
from tlog.tlogproof import ConsistencyProof, Proof
from tlog.verify import verify_consistency, verify_proof

Target = Callable[[bytes], None]

ORIGIN = "audit.example.com/users"
PASSPHRASE = b"fuzz"

# The seeds are signed with these keys, so that the fuzzer can get past the signature.
LOG_KEY = SigningKey.from_seed(ORIGIN, bytes(range(32)))
WITNESS_KEY = SigningKey.from_seed("witness.example.com", bytes(range(32, 64)), ED25519_COSIGNATURE)
POLICY = Policy(
    (PolicyLog(LOG_KEY.verifier_key),), (PolicyWitness("w", WITNESS_KEY.verifier_key, None),), (), quorum="none"
)
OLD_TREE_SIZE = 3
OLD_ROOT_HASH = hashlib.sha256(b"the old root of the consistency target").digest()

# Enough of an entry to say at which head of a chain it would stand.
_HEADER = re.compile(rb'\{"seq":([0-9]{1,18}),"ts":"[^"]*","partition":"([a-z0-9]{1,64})","prev_hash":"([0-9a-f]{64})"')
_FIELDS = ["seq", "ts", "partition", "prev_hash", "meta", "data", "hash"]
_WHITE_SPACE = b" \t\r\n"


class FindingError(Exception):
    """The input shows a bug."""


def attempt(target: Target, data: bytes) -> bool:
    """Return whether `target` accepts `data`. Raises: whatever is no refusal, so a bug."""
    try:
        target(data)
    except Error:
        return False
    return True


def insist(condition: bool, claim: str) -> None:
    """Raise FindingError where `claim` does not hold."""
    if not condition:
        raise FindingError(claim)


def note(data: bytes) -> None:
    """Signed notes: parsed, opened under the known keys, and split a second time without the parser."""
    parsed = Note.parse(data)
    insist(parsed.raw == data, "an accepted note is written as it was read")
    insist(Note.parse(parsed.raw) == parsed, "an accepted note reads as the same note again")
    text, _, lines = data.decode().rpartition("\n\n")
    insist(parsed.text == f"{text}\n".encode(), "the text is what stands before the last blank line")
    split = [line.split(" ") for line in lines.removesuffix("\n").split("\n")]
    insist(all(len(words) == 3 and words[0] == "—" for words in split), "a signature line has three words")
    insist([words[1] for words in split] == [line.name for line in parsed.signatures], "the names are the second words")
    insist(
        [base64.b64decode(words[2], validate=True) for words in split]
        == [line.key_id + line.signature for line in parsed.signatures],
        "the signatures are the third words",
    )
    keys = [LOG_KEY.verifier_key, WITNESS_KEY.verifier_key]
    if attempt(lambda raw: _ignore(open_note(raw, keys)), data):
        verified = open_note(parsed, keys).verified
        insist(bool(verified), "an opened note has a verified signature")
        insist(all(key in keys for key, _ in verified), "only known keys verify")


def checkpoint(data: bytes) -> None:
    """Checkpoints: parsed, read a second time line by line, and verified under the policy."""
    parsed = Checkpoint.parse(data)
    insist(parsed.raw == data, "an accepted checkpoint is written as it was read")
    lines = data.rpartition(b"\n\n")[0].decode().split("\n")
    insist(lines[0] == parsed.origin, "the origin is the first line")
    insist(re.fullmatch("[0-9]+", lines[1]) is not None and int(lines[1]) == parsed.tree_size, "the size is the second")
    insist(base64.b64decode(lines[2], validate=True) == parsed.root_hash, "the root hash is the third line")
    insist(tuple(lines[3:]) == parsed.extensions, "the other lines are the extensions")
    insist(replace(parsed, signatures=()) == Checkpoint.parse_text(parsed.text), "the text alone reads the same")
    if attempt(lambda raw: _ignore(POLICY.verify(raw)), data):
        insist(parsed.origin == ORIGIN, "only the known log's checkpoints are valid")


def vkey(data: bytes) -> None:
    """Verifier keys: written as they were read, and the key ID computed a second time."""
    text = _text(data)
    parsed = VerifierKey.parse(text)
    insist(str(parsed) == text, "an accepted vkey is written as it was read")
    name, key_id, encoded = text.split("+", 2)
    material = base64.b64decode(encoded, validate=True)
    digest = hashlib.sha256(name.encode() + b"\n" + material).hexdigest()
    insist(key_id == digest[:8], "the key ID is the hash of name, type and key")
    insist(not attempt(lambda raw: parsed.verify(raw, bytes(64)), data), "a signature of zeros does not verify")


def policy(data: bytes) -> None:
    """Policies: the normal form reads as the same policy, and says the same in words."""
    parsed = Policy.parse(data)
    normal = parsed.format()
    insist(Policy.parse(normal) == parsed, "the normal form reads as the same policy")
    insist(Policy.parse(normal).format() == normal, "the normal form is its own normal form")
    insist(len(parsed.describe()) >= 2, "a policy can be said in words")
    insist(parsed.is_quorum([witness.name for witness in parsed.witnesses]), "all witnesses together are a quorum")
    insist(parsed.is_quorum([]) == (parsed.quorum == "none"), "nobody is a quorum only where none is asked for")
    text = _text(data)
    if not re.search("[\ud800-\udfff]", text):
        insist(Policy.parse(text) == parsed, "text and its UTF-8 bytes are the same policy")


def tlog_proof(data: bytes) -> None:
    """Inclusion proofs: written as they were read, and verified under the policy."""
    parsed = Proof.parse(data)
    insist(parsed.format() == data, "an accepted proof is written as it was read")
    insist(Proof.parse(data.decode()) == parsed, "text and its UTF-8 bytes are the same proof")
    insist(
        Checkpoint.parse(data.split(b"\n\n", 1)[1]) == parsed.checkpoint, "the checkpoint stands behind a blank line"
    )
    if attempt(lambda raw: _ignore(verify_proof(raw, policy=POLICY)), data):
        verified = verify_proof(parsed, policy=POLICY)
        insist(verified.entry.raw == parsed.extra, "the proven entry is the one in the extra line")
        insist(verified.entry.seq == parsed.leaf_index < verified.checkpoint.tree_size, "the index is in the tree")


def consistency_proof(data: bytes) -> None:
    """Consistency proofs: written as they were read, and verified from a kept checkpoint."""
    parsed = ConsistencyProof.parse(data)
    insist(parsed.format() == data, "an accepted proof is written as it was read")
    insist(ConsistencyProof.parse(data.decode()) == parsed, "text and its UTF-8 bytes are the same proof")
    if attempt(lambda raw: _ignore(verify_consistency(raw, old=_kept(), policy=POLICY)), data):
        insist(parsed.old_size == OLD_TREE_SIZE <= parsed.checkpoint.tree_size, "the proof is from the kept size")


def tile_path(data: bytes) -> None:
    """Tile paths: written as they were read, and the index read a second time."""
    text = _text(data)
    parsed = parse_path(text)
    insist(parsed.path == text, "an accepted path is written as it was read")
    insist(1 <= parsed.width <= 256, "a width is 1 to 256")
    _, level, *rest = text.split("/")
    insist(level == ("entries" if isinstance(parsed, Bundle) else str(parsed.level)), "the level is the second part")
    digits = "".join(part.removeprefix("x").removesuffix(".p")[:3] for part in rest[: len(rest) - (".p/" in text)])
    insist(parsed.index == int(digits), "the index is the number that the parts make")


def bundle(data: bytes) -> None:
    """Entry bundles; the first byte is the width less one, as a bundle does not carry its own."""
    if not data:
        raise FormatError("fuzz input", "is empty")
    width, raw = data[0] + 1, data[1:]
    entries = decode_bundle(raw, width)
    insist(len(entries) == width, "a bundle holds as many entries as its tile is wide")
    insist(encode_bundle(entries) == raw, "an accepted bundle is written as it was read")
    for other in {1, width - 1, width + 1, 256} - {0, width}:
        insist(not attempt(functools.partial(_decode_bundle, width=other), raw), "only one width fits")


def entry_line(data: bytes) -> None:
    """Entry lines as they stand, and with the hash made right, which no fuzzer finds by itself."""
    line = data.removesuffix(b"\n")
    sealed = line[: max(line.rfind(b',"hash":"'), 0)] or line
    sealed = b'%b,"hash":"%b"}' % (sealed, hashlib.sha256(sealed).hexdigest().encode())
    if sealed != line and attempt(_entry, sealed):
        insist(not attempt(_entry, line), "of two lines that differ only in the hash one is wrong")
    _entry(line)


def manifest(data: bytes) -> None:
    """Manifests: written as they were read; every entry has a frame within the file."""
    parsed = Manifest.decode(data, "manifest")
    insist(parsed.encode() == data, "an accepted manifest is written as it was read")
    insist(Manifest.decode(parsed.encode(), "again") == parsed, "it reads as the same manifest again")
    end = 0
    for number in range(len(parsed.frames)):
        offset, size = parsed.frame(parsed.first + 256 * number)
        insist(offset == end and size > 0, "the frames follow one another")
        end = offset + size
    insist(end == parsed.size, "the frames fill the file")


def raw_json(data: bytes) -> None:
    """JSON text: kept byte for byte, the same value to Python's own reader, and the same after writing it again."""
    text = check_json(data)
    insist(text == data.strip(_WHITE_SPACE), "accepted JSON is kept byte for byte")
    value = parse_json(text)
    insist(_same(value, json.loads(text.decode())), "Python's own reader reads the same value")
    written = encode_json(value)
    insist(_same(parse_json(written), value), "what is written reads as the same value")
    texts, error = encode_json_many([value, value], b"")
    insist(error is None and texts == [written, written], "values are written alike, alone and among others")
    insist(check_json(data.decode()) == text, "text and its UTF-8 bytes are the same JSON")


def durable_mark(data: bytes) -> None:
    """Durable marks: written as they were read. None is a refusal here."""
    parsed = DurableMark.decode(data)
    if parsed is None:
        raise FormatError("durable mark", "is none")
    insist(parsed.encode() == data, "an accepted mark is written as it was read")
    insist(min(parsed) >= 0, "its numbers are not negative")


def checkpoint_record(data: bytes) -> None:
    """The record of checkpoints: a file of lines, read as a whole, from its end, and in its middle."""
    files, paths = _record_files()
    paths.checkpoints.write_bytes(data)
    record = CheckpointFiles(files, paths)
    read = list(record.all())
    insist(data.startswith(b"".join(format_record(checkpoint) for checkpoint in read)), "it is written as it was read")
    last = record.last_recorded()
    insist(last == (read[-1] if read else None), "the last one is the last of all")
    sizes = [checkpoint.tree_size for checkpoint in read]
    if sizes and sizes == sorted(set(sizes)):
        for wanted, before in zip(read, (-1, *sizes), strict=False):
            insist(record.at_least(wanted.tree_size) == wanted, "a recorded size is found")
            insist(record.at_least(before + 1) == wanted, "a size between two is found as the next one")
        insist(record.at_least(sizes[-1] + 1) is None, "nothing is found behind the last")
    if not read:
        raise FormatError("record", "holds no line that is complete")


def config(data: bytes) -> None:
    """`tlog.toml`: what is accepted can be written, and reads as the same configuration again."""
    parsed = Config.parse(data, "tlog.toml")
    written = parsed.format()
    insist(attempt(lambda raw: _ignore(Config.parse(raw, "tlog.toml")), written), "what is written can be read")
    insist(Config.parse(written, "tlog.toml") == parsed, "what is written reads as the same configuration")


def pem_key(data: bytes) -> None:
    """PEM keys: an accepted key signs, and reads as the same key again; encrypted ones with the passphrase "fuzz"."""
    passphrase = PASSPHRASE if data.startswith(b"-----BEGIN ENC") else None
    parsed = SigningKey.from_pem(ORIGIN, data, passphrase)
    insist(SigningKey.from_pem(ORIGIN, parsed.to_pem()).verifier_key == parsed.verifier_key, "it reads as the same key")
    parsed.verifier_key.verify(b"message", parsed.sign(b"message"))
    insist(not attempt(lambda pem: _ignore(SigningKey.from_pem(ORIGIN, pem, b"another")), data), "no other passphrase")


TARGETS: dict[str, Target] = {
    "note": note,
    "checkpoint": checkpoint,
    "vkey": vkey,
    "policy": policy,
    "tlog-proof": tlog_proof,
    "consistency-proof": consistency_proof,
    "tile-path": tile_path,
    "bundle": bundle,
    "entry-line": entry_line,
    "manifest": manifest,
    "raw-json": raw_json,
    "durable-mark": durable_mark,
    "checkpoint-record": checkpoint_record,
    "config": config,
    "pem-key": pem_key,
}


def _entry(line: bytes) -> None:
    """Read an entry, and check it as a chain of one line: both must agree."""
    parsed = _parsed_entry(line)
    insist(parsed.raw == line, "an entry keeps its line")
    head = ChainHead(parsed.seq, parsed.prev_hash.hex().encode(), b"")
    try:
        after = check_chain(head, parsed.partition.encode(), [line])
    except CorruptLedgerError as err:
        raise FindingError(f"an entry that can be read is none in its chain: {err}") from err
    insist(after == (parsed.seq + 1, parsed.hash.hex().encode(), parsed.ts.encode()), "the chain's head is the entry")
    # Whether `data` and `meta` are JSON is found out when they are asked for.
    meta, data = parsed.meta, parsed.data
    insist(parse_json(parsed.raw_data) == data, "data is the value of its own bytes")
    fields = json.loads(line.decode())
    insist(list(fields) in (_FIELDS, [name for name in _FIELDS if name != "meta"]), "the fields stand in order")
    insist(_same(fields["data"], data), "Python's own reader reads the same data")
    insist(_same(fields.get("meta", {}), meta), "Python's own reader reads the same meta")
    insist((fields["seq"], fields["partition"]) == (parsed.seq, parsed.partition), "and the same seq and partition")


def _parsed_entry(line: bytes) -> Entry:
    """Return the entry, after checking that the chain refuses what is none."""
    try:
        return parse_entry(line)
    except Error:
        match = _HEADER.match(line)
        if match is not None and b"\n" not in line:
            head = ChainHead(int(match[1]), match[3], b"")
            insist(
                not attempt(lambda raw: _ignore(check_chain(head, match[2], [raw])), line),
                "what is no entry does not pass for one in its chain",
            )
        raise


def _same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal in value and type: 1, 1.0 and True are three, 0.0 and -0.0 are two."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(itertools.starmap(_same, zip(left, right, strict=True)))
    return repr(left) == repr(right) if isinstance(left, float) else bool(left == right)


def _decode_bundle(raw: bytes, width: int) -> None:
    decode_bundle(raw, width)


def _text(data: bytes) -> str:
    """Return text for parsers of str; bytes outside UTF-8 become lone surrogates, which those must refuse too."""
    return data.decode("utf-8", "surrogateescape")


def _ignore(_: object) -> None:
    """Turn a call into a target."""


@functools.cache
def _kept() -> Checkpoint:
    return Checkpoint(ORIGIN, OLD_TREE_SIZE, OLD_ROOT_HASH).sign(LOG_KEY)


@functools.cache
def _record_files() -> tuple[Files, PartitionPaths]:
    memory = Path("/dev/shm")  # noqa: S108 - a file system in memory, where there is one
    parent = memory if os.access(memory, os.W_OK) else None
    directory = tempfile.TemporaryDirectory(prefix="tlog-fuzz-", dir=parent)
    root = Path(directory.name)
    paths = PartitionPaths(root, root / "keys", "users")
    paths.root.mkdir(parents=True)
    _kept_directories.append(directory)
    return Files(), paths


_kept_directories: list[tempfile.TemporaryDirectory[str]] = []
