"""Valid objects from fixed keys, of which the seeds are made."""

from __future__ import annotations

import hashlib
from typing import Any

from fuzz.targets import LOG_KEY, ORIGIN, WITNESS_KEY
from tlog.checkpoint import Checkpoint
from tlog.entry import ChainHead, encode_lines, encode_payload

Seeds = dict[str, bytes]

TIME_S = 1_795_251_600
TS = b"2026-11-21T09:00:00.000000Z"
VALUES: tuple[Any, ...] = (
    {"user": "alice", "action": "login"},
    [1, -0.5, 1e300, True, None, 'ü\\"\n'],
    {},
    "text",
    2**64 - 1,
)


def sample_hash(number: int) -> bytes:
    """Return one of many hashes."""
    return hashlib.sha256(b"hash %d" % number).digest()


def entry_lines() -> list[bytes]:
    """Return the lines of a small chain."""
    payloads = [encode_payload(value) for value in VALUES]
    payloads[1] = encode_payload(VALUES[1], {"writer": "app", "id": "7"})
    encoded = encode_lines(ChainHead(), b"users", TS, payloads)
    return encoded.blocks[0].text.split(b"\n")[:-1]


def signed_checkpoint(tree_size: int, root_hash: bytes) -> Checkpoint:
    """Return a checkpoint that the log and the witness have signed."""
    return Checkpoint(ORIGIN, tree_size, root_hash).sign(LOG_KEY, WITNESS_KEY, timestamp_s=TIME_S)
