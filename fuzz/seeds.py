"""Writes the seed corpus: `python -m fuzz.seeds`, from the root of the repository, into testdata/fuzz/<target>/.

A seed's name begins with what the target must do with it: `valid-` is accepted, `refused-` is not. Both kinds are
needed: the fuzzer starts from them, and the tests fail where a parser changes its mind. What a fuzzer has found is
added here with a name of its own. Everything is made from fixed keys and hashes, so the bytes are always the same.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from fuzz.targets import LOG_KEY, OLD_ROOT_HASH, OLD_TREE_SIZE, ORIGIN, PASSPHRASE, WITNESS_KEY
from tlog.bundle import encode_bundle
from tlog.checkpoint import Checkpoint
from tlog.entry import ChainHead, encode_lines, encode_payload
from tlog.hashing import EMPTY_ROOT, leaf_hash, node_hash
from tlog.keys import SigningKey
from tlog.note import sign_note
from tlog.storage.checkpoints import format_record
from tlog.storage.sealed import Manifest
from tlog.storage.tail import DurableMark
from tlog.tile import Bundle, Tile
from tlog.tlogproof import ConsistencyProof, Proof

CORPUS = Path(__file__).resolve().parent.parent / "testdata" / "fuzz"

Seeds = dict[str, bytes]

_TIME_S = 1_795_251_600
_TS = b"2026-11-21T09:00:00.000000Z"
_VALUES: tuple[Any, ...] = (
    {"user": "alice", "action": "login"},
    [1, -0.5, 1e300, True, None, 'ü\\"\n'],
    {},
    "text",
    2**64 - 1,
)


def _hash(number: int) -> bytes:
    return hashlib.sha256(b"hash %d" % number).digest()


def _lines() -> list[bytes]:
    payloads = [encode_payload(value) for value in _VALUES]
    payloads[1] = encode_payload(_VALUES[1], {"writer": "app", "id": "7"})
    encoded = encode_lines(ChainHead(), b"users", _TS, payloads)
    return encoded.blocks[0].text.split(b"\n")[:-1]


def _seal(line: bytes) -> bytes:
    """Return a line whose hash is right for what stands before it."""
    body = line[: line.rfind(b',"hash":"')]
    return b'%b,"hash":"%b"}' % (body, hashlib.sha256(body).hexdigest().encode())


def _checkpoint(tree_size: int, root_hash: bytes) -> Checkpoint:
    return Checkpoint(ORIGIN, tree_size, root_hash).sign(LOG_KEY, WITNESS_KEY, timestamp_s=_TIME_S)


def note() -> Seeds:
    """Seeds of signed notes."""
    text = b"first\n\nthird, after a blank line\n"
    one = sign_note(text, [LOG_KEY]).raw
    head, _, line = one.rpartition(b"\n\n")
    return {
        "valid-one-signature": one,
        "valid-two-signatures": sign_note(text, [LOG_KEY, WITNESS_KEY], timestamp_s=_TIME_S).raw,
        "valid-unknown-key": b"text\n\n\xe2\x80\x94 somebody AAAAAQI=\n",
        "valid-same-line-twice": one + line,
        "valid-forged": one.replace(b"first", b"First"),
        "valid-100-lines": head + b"\n\n" + line * 100,
        "refused-101-lines": head + b"\n\n" + line * 101,
        "refused-no-newline": one[:-1],
        "refused-no-signature": head + b"\n\n",
        "refused-no-blank-line": b"text\n\xe2\x80\x94 somebody AAAAAQI=\n",
        "refused-carriage-return": one.replace(b"\n", b"\r\n"),
        "refused-nul": one.replace(b"first", b"fir\0t"),
        "refused-not-utf8": one.replace(b"first", b"fir\xfft"),
        "refused-surrogate": one.replace(b"first", b"\xed\xa0\x80"),
        "refused-hyphen": one.replace(b"\xe2\x80\x94", b"-"),
        "refused-two-spaces": one.replace(b"\xe2\x80\x94 ", b"\xe2\x80\x94  "),
        "refused-trailing-bits": b"text\n\n\xe2\x80\x94 somebody AAAAAQJ=\n",
        "refused-key-id-only": b"text\n\n\xe2\x80\x94 somebody AAAAAQ==\n",
        "refused-wide-space-in-name": b"text\n\n\xe2\x80\x94 some\xe3\x80\x80body AAAAAQI=\n",
        "refused-plus-in-name": b"text\n\n\xe2\x80\x94 some+body AAAAAQI=\n",
        "refused-empty": b"",
    }


def checkpoint() -> Seeds:
    """Seeds of checkpoints."""
    whole = _checkpoint(7, _hash(7))
    raw = whole.raw
    return {
        "valid-cosigned": raw,
        "valid-empty-tree": _checkpoint(0, EMPTY_ROOT).raw,
        "valid-largest": _checkpoint(2**63 - 1, _hash(1)).raw,
        "valid-extensions": replace(whole, extensions=("one", " two ", "x" * 300), signatures=()).sign(LOG_KEY).raw,
        "valid-other-origin": Checkpoint("other.example.com/ü ü", 1, _hash(2)).sign(LOG_KEY).raw,
        "refused-2-to-63": raw.replace(b"\n7\n", b"\n9223372036854775808\n"),
        "refused-leading-zero": raw.replace(b"\n7\n", b"\n07\n"),
        "refused-plus": raw.replace(b"\n7\n", b"\n+7\n"),
        "refused-underscore": raw.replace(b"\n7\n", b"\n1_0\n"),
        "refused-wide-digit": raw.replace(b"\n7\n", b"\n\xef\xbc\x97\n"),
        "refused-4300-digits": raw.replace(b"\n7\n", b"\n" + b"9" * 4301 + b"\n"),
        "refused-root-of-empty-tree": raw.replace(b"\n7\n", b"\n0\n"),
        "refused-short-root": raw.replace(b"=\n\n", b"\n\n"),
        "refused-no-origin": raw[len(ORIGIN) :],
        "refused-blank-extension": raw.replace(b"\n\n", b"\n\n\nx\n\n", 1),
    }


def vkey() -> Seeds:
    """Seeds of verifier keys."""
    log = str(LOG_KEY.verifier_key).encode()
    name = ORIGIN.encode()
    identity = b"\x01" + b"\x01" + bytes(31)
    identity_id = hashlib.sha256(name + b"\n" + identity).hexdigest()[:8].encode()
    return {
        "valid-log": log,
        "valid-witness": str(WITNESS_KEY.verifier_key).encode(),
        "valid-unicode-name": str(SigningKey.from_seed("prüfer/1", bytes(range(32))).verifier_key).encode(),
        "refused-capitals": log[:24] + log[24:32].upper() + log[32:],
        "refused-newline": log + b"\n",
        "refused-other-name": b"x" + log,
        "refused-small-order": b"%b+%b+AQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" % (name, identity_id),
        "refused-no-material": name + b"+00000000+",
        "refused-surrogate": b"\xff" + log,
        "refused-long": b"x" * 4097,
        "refused-empty": b"",
    }


def policy() -> Seeds:
    """Seeds of policies."""
    log, witness = str(LOG_KEY.verifier_key).encode(), str(WITNESS_KEY.verifier_key).encode()
    other = SigningKey.from_seed("other", bytes(range(64, 96)), 4).verifier_key
    body = b"log %b https://audit.example.com/\nwitness w %b\n" % (log, witness)
    two = b"%bwitness o %b https://o.example.com/\n" % (body, str(other).encode())
    return {
        "valid-log": b"log %b\nquorum none\n" % log,
        "valid-witness": body + b"quorum w\n",
        "valid-group": two + b"group g all w o\nquorum g\n",
        "valid-nested": two + b"group g any w\ngroup h 2 g o\n# comment\n\n\tquorum\t h \n",
        "valid-octets": body + b"group \xff\xfe any w\nquorum \xff\xfe\n",
        "valid-no-log": b"quorum none\n",
        "refused-no-quorum": body,
        "refused-two-quorums": body + b"quorum w\nquorum none\n",
        "refused-cut": body + b"quorum w",
        "refused-unknown-member": body + b"group g 1 w x\nquorum g\n",
        "refused-threshold-0": body + b"group g 0 w\nquorum g\n",
        "refused-threshold-2": body + b"group g 2 w\nquorum g\n",
        "refused-huge-threshold": body + b"group g " + b"9" * 5000 + b" w\nquorum g\n",
        "refused-twice-in-group": body + b"group g 2 w w\nquorum g\n",
        "refused-carriage-return": body + b"quorum w\r\n",
        "refused-none-as-name": b"witness none %b\nquorum none\n" % witness,
        "refused-log-key-as-witness": b"witness w %b\nquorum w\n" % log,
        "refused-wide-digit": body + b"group g \xef\xbc\x91 w\nquorum g\n",
    }


def _proof() -> Proof:
    """The proof of entry 1 in a tree of three entries."""
    first, entry, last = _lines()[:3]
    leaves = [leaf_hash(line) for line in (first, entry, last)]
    root = node_hash(node_hash(leaves[0], leaves[1]), leaves[2])
    return Proof(1, (leaves[0], leaves[2]), _checkpoint(3, root), entry)


def tlog_proof() -> Seeds:
    """Seeds of inclusion proofs."""
    proof = _proof()
    raw = proof.format()
    many = tuple(_hash(number) for number in range(63))
    line = b"\n" + raw.split(b"\n")[3]
    return {
        "valid-entry": raw,
        "valid-no-extra": replace(proof, extra=None).format(),
        "valid-empty-extra": replace(proof, extra=b"").format(),
        "valid-wrong-index": replace(proof, leaf_index=2).format(),
        "valid-no-hashes": replace(proof, hashes=()).format(),
        "valid-63-hashes": replace(proof, hashes=many).format(),
        "valid-forged-entry": replace(proof, extra=_lines()[0]).format(),
        "refused-64-hashes": replace(proof, hashes=many).format().replace(b"\nindex 1", b"\nindex 1" + line, 1),
        "refused-header": raw.replace(b"@v1", b"@v2", 1),
        "refused-leading-zero": raw.replace(b"index 1", b"index 01"),
        "refused-2-to-63": raw.replace(b"index 1", b"index 9223372036854775808"),
        "refused-minus": raw.replace(b"index 1", b"index -1"),
        "refused-carriage-return": raw.replace(b"index 1\n", b"index 1\r\n"),
        "refused-two-extras": raw.replace(b"\nindex", b"\nextra AA==\nindex", 1),
        "refused-space-behind-extra": raw.replace(b"extra ", b"extra  ", 1),
        "refused-no-checkpoint": raw.split(b"\n\n")[0] + b"\n\n",
        "refused-cut": raw[:-1],
    }


def consistency_proof() -> Seeds:
    """Seeds of consistency proofs. The old root hash is no tree's; the new one is made to extend it."""
    # From 3 to 4 leaves: the hashes are the third leaf, the fourth, and the node over the first two.
    proof = ConsistencyProof(2, (_hash(3),), _checkpoint(3, node_hash(_hash(2), _hash(3))))
    same = ConsistencyProof(OLD_TREE_SIZE, (), _checkpoint(OLD_TREE_SIZE, OLD_ROOT_HASH))
    raw = proof.format()
    return {
        "valid-2-to-3": raw,
        "valid-same-size": same.format(),
        "valid-fork": ConsistencyProof(OLD_TREE_SIZE, (), _checkpoint(OLD_TREE_SIZE, _hash(9))).format(),
        "valid-from-3": ConsistencyProof(3, (_hash(1), _hash(2), _hash(4)), _checkpoint(4, _hash(5))).format(),
        "valid-from-0": ConsistencyProof(0, (), _checkpoint(4, _hash(5))).format(),
        "valid-larger-old": ConsistencyProof(9, (), _checkpoint(4, _hash(5))).format(),
        "refused-leading-zero": raw.replace(b"old 2", b"old 02"),
        "refused-tab": raw.replace(b"old 2", b"old\t2"),
        "refused-short-hash": raw.replace(b"=\n\n", b"\n\n", 1),
        "refused-64-hashes": raw.replace(b"old 2\n", b"old 2\n" + b"A" * 43 + b"=\n" * 64, 1),
        "refused-cut": raw[:-1],
    }


def tile_path() -> Seeds:
    """Seeds of tile paths."""
    tiles: tuple[Tile | Bundle, ...] = (
        Tile(0, 0),
        Tile(63, 2**63 - 1, 255),
        Tile(1, 999),
        Tile(1, 1000, 1),
        Bundle(1234067, 8),
        Bundle(0),
    )
    refused = (
        "tile/0/x000/001", "tile/0/1", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/007", "tile/00/000",
        "tile/64/000", "tile/-1/000", "tile/data/000", "tile/0/x1/000", "tile/0/000.p/7/", "/tile/0/000",
        "tile/0/\uff10\uff10\uff10",
        "tile/0/../000", "tile/0/x009/x223/x372/x036/x854/x775/808", "tile/8/0/000", "tile/0/000\n", "\udcff", "",
    )  # fmt: skip
    seeds = {f"valid-{number}": tile.path.encode() for number, tile in enumerate(tiles)}
    texts = enumerate(text.encode("utf-8", "surrogateescape") for text in refused)
    return seeds | {f"refused-{number}": text for number, text in texts}


def bundle() -> Seeds:
    """Seeds of bundles, each behind its width less one."""
    lines = _lines()
    packed = encode_bundle(lines)
    return {
        "valid-lines": bytes([len(lines) - 1]) + packed,
        "valid-empty-entry": b"\0\0\0",
        "valid-256": b"\xff" + encode_bundle([b"x"] * 256),
        "refused-wide": bytes([len(lines)]) + packed,
        "refused-narrow": bytes([len(lines) - 2]) + packed,
        "refused-half-length": b"\0\0",
        "refused-cut": bytes([len(lines) - 1]) + packed[:-1],
        "refused-long": bytes([len(lines) - 1]) + packed + b"\0",
        "refused-empty": b"",
    }


def entry_line() -> Seeds:
    """Seeds of entry lines, most of them with the right hash for what they say."""
    lines = _lines()
    first, second = lines[:2]
    seeds = {f"valid-{number}": line for number, line in enumerate(lines)}

    def changed(old: bytes, new: bytes, line: bytes = first) -> bytes:
        if old not in line:
            raise ValueError(f"{old!r} is not in the line")
        return _seal(line.replace(old, new, 1))

    user = b'{"user":"alice","action":"login"}'
    refused = {
        "wrong-hash": first[:-3] + b"x" + first[-2:],
        "seq": changed(b":0,", b":00,"),
        "seq-2-to-63": changed(b":0,", b":9223372036854775808,"),
        "ts": changed(b"T09", b" 09"),
        "partition": changed(b'"users"', b'"Users"'),
        "prev-hash": changed(b"00000", b"0000F"),
        "no-data": changed(b',"data":' + user, b""),
        "empty-data": changed(user, b""),
        "two-datas": changed(user, b'1,"data":2'),
        "data-is-no-json": changed(user, b"{"),
        "duplicate-key": changed(user, b'{"a":1,"a":2}'),
        "nul": changed(user, b'"\\u0000"'),
        "large-integer": changed(user, b"18446744073709551616"),
        "nan": changed(user, b"NaN"),
        "seq-again": changed(user, b'1,"seq":5'),
        "empty-meta": changed(b'"data"', b'"meta":{},"data"'),
        "meta-alone": changed(b'"data"', b'"meta"'),
        "meta-with-blank": changed(b'"meta":{', b'"meta": {', second),
        "meta-after-data": changed(user, b'1,"meta":{"a":1}'),
        "not-utf8": changed(b"alice", b"al\xffce"),
        "blank": changed(b'"seq":', b'"seq": '),
        "newline": changed(user, b"[1,\n2]"),
        "cut": first[:-1],
        "empty": b"",
    }
    deep = changed(user, b"[" * 128 + b"]" * 128)
    seeds |= {
        "valid-128-deep": deep,
        "valid-blanks-in-data": changed(user, b' {"a" : 1} '),
        "valid-entry-in-entry": changed(user, first),
        "valid-no-calendar": changed(b"2026-11-21", b"2026-99-99"),
        "valid-with-newline": first + b"\n",
        "refused-129-deep": changed(user, b"[" * 129 + b"]" * 129),
    }
    return seeds | {f"refused-{name}": line for name, line in refused.items()}


def manifest() -> Seeds:
    """Seeds of manifests."""
    whole = Manifest(
        256, 768, _hash(1), _hash(2), _hash(3), _TS.decode(), _TS.decode(), (0, 100, 70_000), 90_000, _hash(4)
    )
    raw = whole.encode()
    name = "manifest"
    if Manifest.decode(raw, name) != whole:
        raise ValueError("the manifest does not read back")
    return {
        "valid-three-frames": raw,
        "valid-one-frame": replace(whole, first=0, count=256, frames=(0,), size=1).encode(),
        "refused-no-frames": replace(whole, count=0, frames=()).encode(),
        "refused-first-frame": replace(whole, frames=(1, 100, 200)).encode(),
        "refused-order": replace(whole, frames=(0, 200, 100)).encode(),
        "refused-frame-behind-end": replace(whole, frames=(0, 100, 90_000)).encode(),
        "refused-count": replace(whole, count=769).encode(),
        "refused-short-hash": replace(whole, sha256=b"x").encode(),
        "refused-text-as-hash": raw.replace(b"\xc4\x20" + _hash(2), b"\xd9\x20" + b"a" * 32),
        "refused-bool": raw.replace(b"first\xcd\x01\x00", b"first\xc3"),
        "refused-float": raw.replace(b"first\xcd\x01\x00", b"first\xcb\x40\x70" + bytes(6)),
        "refused-long-integer": raw.replace(b"first\xcd\x01\x00", b"first\xce\x00\x00\x01\x00"),
        "refused-version": raw.replace(b"version\x01", b"version\x02"),
        "refused-trailing": raw + b"\0",
        "refused-cut": raw[:-1],
        "refused-deep": b"\x91" * 2000,
        "refused-many-claimed": b"\xdd\xff\xff\xff\xff",
        "refused-nil-key": b"\x81\xc0\x01",
        "refused-empty": b"",
    }


def raw_json() -> Seeds:
    """Seeds of JSON text."""
    valid = (
        b"null", b" 1 \n", b"-0", b"-0.0", b"1E5", b"0.1", b"1e-400", b"5e-324", b"1.7976931348623157e308",
        b"18446744073709551615", b"-9223372036854775808", b'"\\u00e9\\ud83d\\ude00\\/"', b'{"a":{"b":[1,2,{}]},"":0}',
        b'"\xe2\x80\xa8\x7f"', b"[" * 128 + b"]" * 128, b'{"\\u0061":1,"b":2}', b"9007199254740993.0", b"[ ]",
        b'"\\\\u0000"',
    )  # fmt: skip
    refused = (
        b"", b" ", b"NaN", b"-Infinity", b"1e400", b"18446744073709551616", b"-9223372036854775809", b"01", b"1.",
        b".5", b"+1", b"'a'", b"[1,]", b'{"a":1,"a":1}', b'{"a":1,"\\u0061":2}', b'"\\ud800"', b'"\\udc00\\ud800"',
        b'"\0"', b'"\\u0000"', b'{"\\u0000":1}', b"[1,\n2]", b"\xef\xbb\xbf1", b'"\xff"', b'"\xed\xa0\x80"', b"1 2",
        b"[" * 129 + b"]" * 129, b"[" * 5000, b"// c\n1", b"1" * 5000, b"\x0c1", b"\xa01", b'{1:2}', b"nul",
        b"[{" * 65, b'{"a":' * 129 + b"1" + b"}" * 129, b"\xfe\xff\x001", b"1\x00",
    )  # fmt: skip
    seeds = {f"valid-{number:02}": text for number, text in enumerate(valid)}
    return seeds | {f"refused-{number:02}": text for number, text in enumerate(refused)}


def durable_mark() -> Seeds:
    """Seeds of durable marks."""
    raw = DurableMark(300, 256, 14_000).encode()
    return {
        "valid": raw,
        "valid-zero": DurableMark(0, 0, 0).encode(),
        "valid-largest": DurableMark(10**20 - 1, 10**20 - 1, 10**20 - 1).encode(),
        "refused-checksum": raw.replace(b"300", b"301"),
        "refused-short": raw[:-1],
        "refused-long": raw + b"\n",
        "refused-zeros": bytes(80),
        "refused-wide-digit": b"\xef\xbc\x90" * 80,
        "refused-empty": b"",
    }


def checkpoint_record() -> Seeds:
    """Seeds of the record of checkpoints."""
    lines = [format_record(_checkpoint(size, _hash(size))) for size in (1, 2, 7, 300, 2**63 - 1)]
    whole = b"".join(lines)
    fields = json.loads(lines[2])
    note_only = json.dumps({"tree_size": 7, "note": fields["note"]}, separators=(",", ":")).encode() + b"\n"
    return {
        "valid-one": lines[0],
        "valid-five": whole,
        "valid-unfinished": whole + lines[0][:-1],
        "valid-hole": lines[0] + lines[1] + bytes(600) + b"\n",
        "refused-order": b"".join(reversed(lines)).replace(b'"tree_size":7', b'"tree_size":8'),
        "refused-other-size": lines[2].replace(b'"tree_size":7', b'"tree_size":8'),
        "refused-no-root": note_only,
        "refused-note-is-null": b'{"tree_size":7,"root_hash":"","note":null}\n',
        "refused-no-object": b"[7]\n",
        "refused-surrogate": b'{"tree_size":7,"note":"\\ud800"}\n',
        "refused-20-digits": b'{"tree_size":18446744073709551616,"note":""}\n',
        "refused-blanks": lines[0].replace(b":", b": ", 1),
        "refused-zeros": bytes(600),
        "refused-empty-line": b"\n",
        "refused-cut": lines[0][:-1],
        "refused-empty": b"",
    }


def config() -> Seeds:
    """Seeds of `tlog.toml`."""
    base = b'origin = "audit.example.com"\n'
    return {
        "valid-origin": base,
        "valid-all": base + b'segment_entries = 256\nkeys = "../keys"\n',
        "valid-comment": b"# comment\n" + base,
        "valid-braces": b'origin = "{keys}"\nkeys = "{origin}"\n',
        "valid-hexadecimal": base + b"segment_entries = 0x100\n",
        "refused-no-origin": b"segment_entries = 256\n",
        "refused-unknown": base + b"segment_entrys = 256\n",
        "refused-257": base + b"segment_entries = 257\n",
        "refused-bool": base + b"segment_entries = true\n",
        "refused-float": base + b"segment_entries = 256.0\n",
        # Decimal text of so many digits is refused by Python, and so was the attempt to show the number in the error.
        "refused-huge-hexadecimal": base + b"segment_entries = 0x" + b"f" * 5000 + b"\n",
        "refused-huge-integer": base + b"segment_entries = " + b"1" * 4301 + b"\n",
        "refused-date": base + b"keys = 1979-05-27T07:32:00Z\n",
        "refused-no-date": base + b"keys = 1979-02-30\n",
        "refused-quote-in-keys": base + b"keys = 'a\"b'\n",
        "refused-nul-in-keys": base + b'keys = "a\\u0000b"\n',
        "refused-surrogate": base + b'keys = "\\ud800"\n',
        "refused-table": b'[origin]\na = "b"\n',
        "refused-deep": base + b"keys = " + b"[" * 5000 + b"\n",
        "refused-not-utf8": b'origin = "\xff"\n',
        "refused-space": b'origin = "audit example"\n',
        "refused-empty": b"",
    }


def pem_key() -> Seeds:
    """Seeds of PEM keys. The encrypted one is made once and kept: its salt is random."""
    seed = bytes(range(32))
    plain = _pem(Ed25519PrivateKey.from_private_bytes(seed))
    seeds = {
        "valid-plain": plain,
        "valid-no-last-newline": plain[:-1],
        "refused-public": b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n",
        "refused-another-curve": _pem(X25519PrivateKey.from_private_bytes(seed)),
        "refused-placeholder": _pem(Ed25519PrivateKey.from_private_bytes(bytes(32))),
        "refused-two-blocks": plain + plain,
        "refused-text-before": b"key\n" + plain,
        "refused-carriage-return": plain.replace(b"\n", b"\r\n"),
        "refused-cut": plain[:60],
        "refused-no-der": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "refused-bad-base64": plain.replace(b"MC4C", b"MC5C"),
        # Found by the fuzzer: an X448 key of 32 bytes, at which OpenSSL's own error came through.
        "refused-x448-of-32-bytes": plain.replace(b"K2Vw", b"K2Vv"),
        "refused-ed448-of-32-bytes": plain.replace(b"K2Vw", b"K2Vx"),
        "refused-large": b"-----BEGIN PRIVATE KEY-----\n" + b"A" * 17_000 + b"\n-----END PRIVATE KEY-----\n",
        "refused-empty": b"",
    }
    encrypted = CORPUS / "pem-key" / "valid-encrypted"
    made = (
        encrypted.read_bytes() if encrypted.exists() else _pem(Ed25519PrivateKey.from_private_bytes(seed), PASSPHRASE)
    )
    return seeds | {"valid-encrypted": made}


def _pem(key: Ed25519PrivateKey | X25519PrivateKey, passphrase: bytes | None = None) -> bytes:
    encryption: KeySerializationEncryption = (
        NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    )
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


SEEDS = {
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


def main() -> None:
    """Write every seed; files that this program does not know are left alone."""
    for target, seeds in SEEDS.items():
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        for name, data in seeds().items():
            (CORPUS / target / name).write_bytes(data)
    sys.stdout.write(f"{sum(len(list((CORPUS / target).iterdir())) for target in SEEDS)} seeds in {CORPUS}\n")


if __name__ == "__main__":
    main()
