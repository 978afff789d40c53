"""A small log of the tests' own: entries, a naive tree by the words of the RFC, checkpoints and proofs signed with it.

Nothing here uses the code under test but the value classes and the signing keys, so a wrong tree or a wrong line
format can't cancel itself out.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from hashlib import sha256

from tlog.checkpoint import Checkpoint
from tlog.keys import ED25519_COSIGNATURE, ED25519_NOTE, SigningKey, VerifierKey, compute_key_id
from tlog.tlogproof import ConsistencyProof, Proof

ORIGIN = "audit.example.com/users"
TIMESTAMP_S = 1_795_251_600


def signing_key(name: str, key_type: int = ED25519_NOTE, salt: str = "") -> SigningKey:
    """Return a key that is always the same for the same arguments."""
    return SigningKey.from_seed(name, sha256(f"{name} {salt}".encode()).digest(), key_type)


def witness_key(number: int) -> SigningKey:
    """Return the cosigner key of the witness of that number."""
    return signing_key(f"witness{number}.example.net", ED25519_COSIGNATURE)


LOG = signing_key(ORIGIN)
IMPOSTOR = signing_key(ORIGIN, salt="another private key for the same name")

LOG_VKEY = str(LOG.verifier_key)
WITNESS_VKEYS = [str(witness_key(number).verifier_key) for number in range(7)]

# The example of c2sp.org/tlog-policy, with keys filled in.
POLICY_EXAMPLE = f"""log {LOG_VKEY}

witness X1 {WITNESS_VKEYS[1]}
witness X2 {WITNESS_VKEYS[2]}
witness X3 {WITNESS_VKEYS[3]}
group X-witnesses 2 X1 X2 X3

witness Y1 {WITNESS_VKEYS[4]}
witness Y2 {WITNESS_VKEYS[5]}
witness Y3 {WITNESS_VKEYS[6]}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def colliding_keys(key_type: int) -> tuple[VerifierKey, VerifierKey]:
    """Return two keys of one name and one ID: with 32 bits, some 80,000 keys hold such a pair."""
    seen: dict[bytes, bytes] = {}
    for number in itertools.count(2):
        public_key = number.to_bytes(32, "little")
        other = seen.setdefault(compute_key_id("a", key_type, public_key), public_key)
        if other != public_key:
            return VerifierKey("a", key_type, other), VerifierKey("a", key_type, public_key)
    raise AssertionError("there are more numbers than IDs")


def entry_lines(count: int, partition: str = "users", word: str = "event") -> list[bytes]:
    """Return the lines, without newlines, of a chain of `count` entries."""
    lines = []
    prev_hash = "0" * 64
    for seq in range(count):
        data = json.dumps({word: seq})
        body = (
            f'{{"seq":{seq},"ts":"2026-11-21T09:00:00.{seq:06}Z","partition":"{partition}",'
            f'"prev_hash":"{prev_hash}","data":{data}'
        )
        prev_hash = sha256(body.encode()).hexdigest()
        lines.append(f'{body},"hash":"{prev_hash}"}}'.encode())
    return lines


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """Return the Merkle tree hash of the leaves' data. Source: RFC 6962 section 2.1, word by word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = _split(len(leaves))
    return sha256(b"\x01" + tree_hash(leaves[:k]) + tree_hash(leaves[k:])).digest()


def inclusion_path(index: int, leaves: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return PATH(m, D[n]) of RFC 6962 section 2.1.1."""
    if len(leaves) == 1:
        return ()
    k = _split(len(leaves))
    if index < k:
        return (*inclusion_path(index, leaves[:k]), tree_hash(leaves[k:]))
    return (*inclusion_path(index - k, leaves[k:]), tree_hash(leaves[:k]))


def consistency_path(old_size: int, leaves: Sequence[bytes], *, whole: bool = True) -> tuple[bytes, ...]:
    """Return PROOF(m, D[n]) of RFC 6962 section 2.1.2, for 0 < m <= n; `whole` is the b of SUBPROOF."""
    if old_size == len(leaves):
        return () if whole else (tree_hash(leaves),)
    k = _split(len(leaves))
    if old_size <= k:
        return (*consistency_path(old_size, leaves[:k], whole=whole), tree_hash(leaves[k:]))
    return (*consistency_path(old_size - k, leaves[k:], whole=False), tree_hash(leaves[:k]))


def checkpoint(leaves: Sequence[bytes], *signers: SigningKey, origin: str = ORIGIN) -> Checkpoint:
    """Return the checkpoint of the tree of all `leaves`, signed by the log, or by `signers` where there are some."""
    return Checkpoint(origin, len(leaves), tree_hash(leaves)).sign(*(signers or (LOG,)), timestamp_s=TIMESTAMP_S)


def inclusion_proof(index: int, leaves: Sequence[bytes], *signers: SigningKey) -> Proof:
    """Return the proof of the leaf at `index`, with the line in the extra line."""
    return Proof(index, inclusion_path(index, leaves), checkpoint(leaves, *signers), leaves[index])


def consistency_proof(old_size: int, leaves: Sequence[bytes], *signers: SigningKey) -> ConsistencyProof:
    """Return the proof from `old_size` to all `leaves`."""
    hashes = consistency_path(old_size, leaves) if old_size else ()
    return ConsistencyProof(old_size, hashes, checkpoint(leaves, *signers))


def mutations(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (place, bytes) for each byte of `raw`, changed in three ways: lowest bit, bit of the case, highest bit."""
    for place, byte in enumerate(raw):
        for bit in (0x01, 0x20, 0x80):
            yield place, raw[:place] + bytes([byte ^ bit]) + raw[place + 1 :]


def _split(count: int) -> int:
    """Return the largest power of two smaller than `count`."""
    k = 1
    while 2 * k < count:
        k *= 2
    return k
