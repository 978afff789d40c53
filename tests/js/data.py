"""What the tests in Node verify: logs that the Python library made and exported, and two that contradict each other."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import tlog
from tests.ledgers import NAME, ORIGIN, QuickDisk, create, opened
from tests.statements import LOG_VKEY, entry_lines, inclusion_proof, signing_key, witness_key
from tlog.evidence import Evidence, contradiction
from tlog.keys import ML_DSA_44_COSIGNATURE, SigningKey

SIZES = (1, 2, 3, 7, 8, 255, 256, 257, 300)
LARGE = 66_311
"""A size whose right edge has many hashes in few tiles: two full tiles at level 1, and partial ones at three levels."""

FORKED_AT, FORKED_TO = 257, (300, 310)


def write_data(root: Path) -> None:
    """Write below `root`: `small` and `large`, exported partitions with checkpoints and proofs; `forked`, which left
    `small` after its first entries; and `statements.json`, proofs with witnesses.
    """
    _write_log(root, "small", SIZES)
    _write_log(root, "large", (LARGE - 1000, LARGE))
    _write_fork(root)
    (root / "statements.json").write_text(json.dumps(_statements(root)))


def event(number: int, word: str = "login") -> dict[str, Any]:
    """Return the data of an entry, with what JSON parsers lose: a large number, and text that is no ASCII."""
    return {"action": word, "actor": f"user-{number} \u202eä\U0001f642", "number": number, "large": 2**63 + number}


def _write_log(root: Path, name: str, sizes: tuple[int, ...]) -> None:
    partition = create(root / f"{name}.ledger", disk=QuickDisk())
    for size in sizes:
        start = partition.size if partition.exists else 0
        if start == 0:
            partition.append(event(0), meta={"writer": "tests", "id": "first"})
        partition.append_many(event(number) for number in range(max(start, 1), size))
        partition.publish()
        partition.export(root / name)
        if (name, size) == ("small", FORKED_AT):
            shutil.copytree(root / f"{name}.ledger", root / "forked.ledger")
    (root / f"{name}.json").write_text(json.dumps(_facts(partition, sizes)))
    partition.close()


def _facts(partition: tlog.Partition, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Return what Python says about a log: its key, checkpoints, proofs of some entries, consistency proofs."""
    checkpoints = {size: str(partition.checkpoint(size)) for size in sizes}
    places = {
        (index, size)
        for size in sizes
        for index in (0, 1, 2, 3, 6, 127, 128, 254, 255, 256, 299, 65_535, 65_536, size - 2, size - 1)
        if 0 <= index < size
    }
    return {
        "origin": f"{ORIGIN}/{NAME}",
        "partition": NAME,
        "vkey": str(partition.vkey),
        "checkpoints": checkpoints,
        "proofs": [
            {"index": index, "size": size, "text": str(partition.prove(index, size))} for index, size in sorted(places)
        ],
        "consistency": [
            {"old": old, "new": new, "text": str(partition.prove_consistency(old, new))}
            for new in sizes
            for old in sizes
            if old <= new
        ],
    }


def _write_fork(root: Path) -> None:
    """Go on with the copy of `small` that was made at FORKED_AT: what no honest log has."""
    forked = opened(root / "forked.ledger", disk=QuickDisk())
    for size in FORKED_TO:
        forked.append_many(event(number, "forged") for number in range(forked.size, size))
        forked.publish()
        forked.export(root / "forked")
    (root / "forked.json").write_text(json.dumps(_facts(forked, FORKED_TO)))
    forked.close()


def _evidence(root: Path) -> list[dict[str, Any]]:
    """Return evidence that `small` and `forked` contradict each other, of one size and of two, a perfect one too."""
    small, forked = (opened(root / f"{name}.ledger", disk=QuickDisk()) for name in ("small", "forked"))
    honest = {checkpoint.tree_size: checkpoint for checkpoint in small.checkpoints.all()}
    (one, other) = (checkpoint for checkpoint in forked.checkpoints.all() if checkpoint.tree_size > FORKED_AT)
    key = SigningKey.from_pem(small.origin, (root / "small.ledger" / "keys" / f"{NAME}.pem").read_bytes())
    perfect = tlog.Checkpoint(small.origin, 256, b"\1" * 32).sign(key)
    reader = small._prover.published()[1]
    found = [
        Evidence(honest[300], one),
        contradiction(honest[300], other, forked.prove_consistency(300, 310).hashes, forked.root_at(300)),
        contradiction(perfect, honest[300], reader.consistency_proof(256), small.root_at(256)),
    ]
    none = [
        Evidence(honest[300], honest[300]),
        Evidence(honest[257], honest[300], small.prove_consistency(257, 300).hashes),
        Evidence(honest[257], other, forked.prove_consistency(257, 310).hashes),
    ]
    small.close()
    forked.close()
    return [
        {"text": str(evidence), "size": evidence.against.tree_size, "is_proved": evidence in found}
        for evidence in (*found, *none)
    ]


def _nonsense() -> list[dict[str, str]]:
    """Return proofs of what a log has signed although it is no entry, or not the one of this place."""
    lines = entry_lines(3)
    doubled = lines[1].replace(b'{"event": 1}', b'{"event": 1,"event": 2}')[:-75]
    wrong = {
        "another number": lines[0],
        "another partition": entry_lines(3, partition="others")[1],
        "another hash": lines[1].replace(b'"event": 1', b'"event": 7'),
        "no entry": b"not an entry",
        "two equal keys": doubled + b',"hash":"%b"}' % sha256(doubled).hexdigest().encode(),
    }
    return [
        {"why": why, "text": str(inclusion_proof(1, [lines[0], line, lines[2]])), "vkey": LOG_VKEY}
        for why, line in wrong.items()
    ]


def _statements(root: Path) -> dict[str, Any]:
    """Return a proof that witnesses cosigned, and policies that it meets and does not meet."""
    partition = opened(root / "small.ledger")
    witnesses = [witness_key(number) for number in range(3)]
    post_quantum = signing_key("pq.example.net", ML_DSA_44_COSIGNATURE)
    proof = partition.prove(100)
    log_too = signing_key(f"{ORIGIN}/{NAME}", ML_DSA_44_COSIGNATURE)
    checkpoint = proof.checkpoint.sign(*witnesses[:2], log_too, post_quantum, timestamp_s=1_795_251_600)
    vkeys = [str(witness.verifier_key) for witness in witnesses]
    vkey = str(partition.vkey)
    listed = f"log {vkey}\n" + "".join(f"witness w{number} {vkey}\n" for number, vkey in enumerate(vkeys))
    known = f"{listed}witness pq {post_quantum.verifier_key}\n"
    partition.close()
    return {
        "evidence": _evidence(root),
        "proof": str(tlog.Proof(proof.leaf_index, proof.hashes, checkpoint, proof.extra)),
        "nonsense": _nonsense(),
        "both_log_keys": f"log {vkey}\nlog {log_too.verifier_key}\nquorum none\n",
        "unchecked": [
            str(log_too.verifier_key),
            f"log {log_too.verifier_key}\nquorum none\n",
            f"log {log_too.verifier_key}\nwitness w0 {vkeys[0]}\nquorum w0\n",
        ],
        "bare": str(tlog.Proof(proof.leaf_index, proof.hashes, checkpoint, None)),
        "line": (proof.extra or b"").decode(),
        "impostor": str(signing_key(f"{ORIGIN}/{NAME}", salt="an impostor").verifier_key),
        "other_log": str(signing_key("other.example.com/users").verifier_key),
        "met": [
            f"{listed}quorum none\n",
            f"{listed}quorum w1\n",
            f"{listed}group two 2 w0 w1 w2\nquorum two\n",
            f"{known}group any any pq w0\nquorum any\n",
        ],
        "not_met": [
            f"{listed}quorum w2\n",
            f"{listed}group all all w0 w1 w2\nquorum all\n",
            f"{known}quorum pq\n",
            f"{known}group all all w0 pq\nquorum all\n",
        ],
    }
