"""On paper: what a partition of n entries costs, from the formats' formulas and the rates of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from bench.harness import SEGMENT, Row

SIZES = (10**7, 10**8, 10**10)

TILE = 256
HASH = 32
HASH_LINE = 45
"""Characters of a hash in a proof: base64 and a newline."""

PROOF_TEXT = 270
"""Characters of a proof file besides hashes and entry: about 50 of its own, and the checkpoint."""


def tile_files(entries: int) -> int:
    """Return how many hash tiles a tree has, partial ones included. Source: c2sp.org/tlog-tiles."""
    return sum(-(-row // TILE) for row in _rows(entries))


def tile_bytes(entries: int) -> int:
    """Return how many bytes its hash tiles have: 32 for each complete subtree of 256^L entries, L = 0, 1, ..."""
    return HASH * sum(_rows(entries))


def segment_files(entries: int) -> int:
    """Return how many segment files hold the entries."""
    return -(-entries // SEGMENT)


def proof_hashes(entries: int) -> int:
    """Return how many hashes an inclusion proof has at most. Source: RFC 6962 section 2.1.1."""
    return math.ceil(math.log2(entries)) if entries > 1 else 0


def proof_tiles(entries: int) -> int:
    """Return from how many tiles these hashes come at most, where each level has one tile on the entry's way."""
    return len(list(_rows(entries)))


def estimate(rows: Sequence[Row]) -> str:
    """Return the table in Markdown. rows: of a whole run, for the rates and the measured sizes."""
    rate = {name: _median(rows, group, start) for name, (group, start) in _RATES.items()}
    line, sealed = rate["line"], rate["sealed"]
    fixed = PROOF_TEXT + 4 / 3 * line

    def proof_file(entries: int) -> str:
        return f"{fixed + HASH_LINE * proof_hashes(entries):,.0f}"

    lines: list[tuple[str, str, Callable[[int], str]]] = [
        ("segment files", "⌈n / 65,536⌉", lambda n: f"{segment_files(n):,}"),
        ("bytes of segments, plain", f"{line:.0f} n", lambda n: _bytes(line * n)),
        ("bytes of segments, compressed", f"{sealed:.0f} n", lambda n: _bytes(sealed * n)),
        ("hash tile files", "Σ ⌈⌊n / 256^L⌋ / 256⌉", lambda n: f"{tile_files(n):,}"),
        ("bytes of hash tiles", "32 Σ ⌊n / 256^L⌋ ≈ 32.13 n", lambda n: _bytes(tile_bytes(n))),
        ("entry bundle files, where exported", "⌈n / 256⌉", lambda n: f"{-(-n // TILE):,}"),
        ("bytes of entry bundles", f"{line + 1:.0f} n", lambda n: _bytes((line + 1) * n)),
        ("hashes of an inclusion proof, at most", "⌈log₂ n⌉", lambda n: f"{proof_hashes(n)}"),
        ("bytes of these hashes, raw / as text", "32, 45 ⌈log₂ n⌉", _proof_bytes),
        ("bytes of a `.tlog-proof` file, about", f"{fixed:.0f} + 45 ⌈log₂ n⌉", proof_file),
        ("tiles read for one proof, nothing cached", "1 + ⌊log₂₅₆ n⌋", _proof_reads),
        ("append and publish, one process", f"n / {rate['append']:,.0f} s", lambda n: _time(n / rate["append"])),
        ("verify everything, this machine", f"n / {rate['verify']:,.0f} s", lambda n: _time(n / rate["verify"])),
    ]
    header = ["cost of n entries", "formula", *(_power(size) for size in SIZES)]
    table = [header, ["---"] * 2 + ["---:"] * len(SIZES)]
    table += [[what, formula, *map(value, SIZES)] for what, formula, value in lines]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in table)


_RATES = {
    "append": ("Bulk append, durable and published", "`append_many`"),
    "verify": ("Verify", "`verify`"),
    "line": ("Disk", "plain segment"),
    "sealed": ("Disk", "compressed segment"),
}
"""Which rows the figures come from: group, and how the last row of them begins."""


def _median(rows: Sequence[Row], group: str, start: str) -> float:
    return [row for row in rows if row.group == group and row.what.startswith(start)][-1].ours.median


def _rows(entries: int) -> list[int]:
    """Return how many hashes stand at each tile level, from level 0 up to the last that has one."""
    rows = []
    while entries:
        rows.append(entries)
        entries //= TILE
    return rows


def _proof_bytes(entries: int) -> str:
    return f"{HASH * proof_hashes(entries):,} / {HASH_LINE * proof_hashes(entries):,}"


def _proof_reads(entries: int) -> str:
    return f"{proof_tiles(entries)}, {proof_tiles(entries) * TILE * HASH // 1024} KiB"


def _bytes(count: float) -> str:
    for unit in ("kB", "MB", "GB", "TB"):
        count /= 1000
        if count < 1000:
            return f"{count:.3g} {unit}"
    return f"{count:,.3g} TB"


def _time(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _power(size: int) -> str:
    return f"n = 10^{round(math.log10(size))}"
