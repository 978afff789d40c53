"""Sites of logs that need not exist: signed with the key of `tests.statements`, and whatever entries a test wants."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from tests.statements import LOG, checkpoint, tree_hash
from tlog.bundle import encode_bundle
from tlog.keys import SigningKey
from tlog.tile import TILE_WIDTH, Bundle, Tile


def write_site(root: Path, lines: Sequence[bytes], *signers: SigningKey, partition: str = "users") -> Path:
    """Write the static site of the tree of `lines`, at most 65,535 of them; return `root`."""
    top = root / partition
    files = {"checkpoint": checkpoint(lines, *(signers or (LOG,))).raw}
    for start in range(0, len(lines), TILE_WIDTH):
        some = lines[start : start + TILE_WIDTH]
        place = (start // TILE_WIDTH, len(some))
        files[Bundle(*place).path] = encode_bundle(some)
        files[Tile(0, *place).path] = b"".join(sha256(b"\0" + line).digest() for line in some)
    full = [lines[start : start + TILE_WIDTH] for start in range(0, len(lines) - TILE_WIDTH + 1, TILE_WIDTH)]
    if full:
        files[Tile(1, 0, len(full)).path] = b"".join(tree_hash(some) for some in full)
    for name, content in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(content)
    return root


def chained(lines: Sequence[bytes], count: int, word: str) -> list[bytes]:
    """Return `lines` and more behind them, `count` in all, a chain without a break."""
    found = list(lines)
    prev_hash = json.loads(lines[-1])["hash"] if lines else "0" * 64
    for seq in range(len(lines), count):
        found.append(line_of(seq, prev_hash, json.dumps({word: seq}, separators=(",", ":"))))
        prev_hash = json.loads(found[-1])["hash"]
    return found


def line_of(seq: int, prev_hash: str, data: str, partition: str = "users") -> bytes:
    """Return one line."""
    ts = f"2026-11-21T09:00:00.{seq:06}Z"
    body = f'{{"seq":{seq},"ts":"{ts}","partition":"{partition}","prev_hash":"{prev_hash}","data":{data}'
    return f'{body},"hash":"{sha256(body.encode()).hexdigest()}"}}'.encode()
