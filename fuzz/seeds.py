"""Writes the seed corpus: `python -m fuzz.seeds`, from the root of the repository, into testdata/fuzz/<target>/.

A seed's name begins with what the target must do with it: `valid-` is accepted, `refused-` is not. Both kinds are
needed: the fuzzer starts from them, and the tests fail where a parser changes its mind. What a fuzzer has found is
added here with a name of its own. Everything is made from fixed keys and hashes, so the bytes are always the same.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from fuzz.samples import TIME_S, Seeds, entry_lines, sample_hash, signed_checkpoint
from fuzz.seeds_stored import bundle, checkpoint_record, config, durable_mark, entry_line, manifest, raw_json
from fuzz.targets import LOG_KEY, OLD_ROOT_HASH, OLD_TREE_SIZE, ORIGIN, PASSPHRASE, WITNESS_KEY
from tlog.checkpoint import Checkpoint
from tlog.hashing import EMPTY_ROOT, leaf_hash, node_hash
from tlog.keys import SigningKey
from tlog.note import sign_note
from tlog.tile import Bundle, Tile
from tlog.tlogproof import ConsistencyProof, Proof

CORPUS = Path(__file__).resolve().parent.parent / "testdata" / "fuzz"


def note() -> Seeds:
    """Seeds of signed notes."""
    text = b"first\n\nthird, after a blank line\n"
    one = sign_note(text, [LOG_KEY]).raw
    head, _, line = one.rpartition(b"\n\n")
    return {
        "valid-one-signature": one,
        "valid-two-signatures": sign_note(text, [LOG_KEY, WITNESS_KEY], timestamp_s=TIME_S).raw,
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
    whole = signed_checkpoint(7, sample_hash(7))
    raw = whole.raw
    return {
        "valid-cosigned": raw,
        "valid-empty-tree": signed_checkpoint(0, EMPTY_ROOT).raw,
        "valid-largest": signed_checkpoint(2**63 - 1, sample_hash(1)).raw,
        "valid-extensions": replace(whole, extensions=("one", " two ", "x" * 300), signatures=()).sign(LOG_KEY).raw,
        "valid-other-origin": Checkpoint("other.example.com/ü ü", 1, sample_hash(2)).sign(LOG_KEY).raw,
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
    first, entry, last = entry_lines()[:3]
    leaves = [leaf_hash(line) for line in (first, entry, last)]
    root = node_hash(node_hash(leaves[0], leaves[1]), leaves[2])
    return Proof(1, (leaves[0], leaves[2]), signed_checkpoint(3, root), entry)


def tlog_proof() -> Seeds:
    """Seeds of inclusion proofs."""
    proof = _proof()
    raw = proof.format()
    many = tuple(sample_hash(number) for number in range(63))
    line = b"\n" + raw.split(b"\n")[3]
    return {
        "valid-entry": raw,
        "valid-no-extra": replace(proof, extra=None).format(),
        "valid-empty-extra": replace(proof, extra=b"").format(),
        "valid-wrong-index": replace(proof, leaf_index=2).format(),
        "valid-no-hashes": replace(proof, hashes=()).format(),
        "valid-63-hashes": replace(proof, hashes=many).format(),
        "valid-forged-entry": replace(proof, extra=entry_lines()[0]).format(),
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
    proof = ConsistencyProof(2, (sample_hash(3),), signed_checkpoint(3, node_hash(sample_hash(2), sample_hash(3))))
    same = ConsistencyProof(OLD_TREE_SIZE, (), signed_checkpoint(OLD_TREE_SIZE, OLD_ROOT_HASH))
    four = signed_checkpoint(4, sample_hash(5))
    raw = proof.format()
    return {
        "valid-2-to-3": raw,
        "valid-same-size": same.format(),
        "valid-fork": ConsistencyProof(OLD_TREE_SIZE, (), signed_checkpoint(OLD_TREE_SIZE, sample_hash(9))).format(),
        "valid-from-3": ConsistencyProof(3, (sample_hash(1), sample_hash(2), sample_hash(4)), four).format(),
        "valid-from-0": ConsistencyProof(0, (), four).format(),
        "valid-larger-old": ConsistencyProof(9, (), four).format(),
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
