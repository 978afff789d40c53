"""Where the files of a ledger lie. Source: docs/formats.md, "Ledger directory"."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

CONFIG_NAME = "tlog.toml"
DEFAULT_SEGMENT_ENTRIES = 1 << 16
MIN_SEGMENT_ENTRIES = 1 << 8

KEPT_PATHS = 8192
"""Paths of segment files that are kept, about 300 bytes each."""

PLAIN_SUFFIX = ".jsonl"
SEALED_SUFFIX = ".jsonl.zst"
MANIFEST_SUFFIX = ".manifest"

_SEGMENT = re.compile(r"([0-9]{20})(\.jsonl|\.jsonl\.zst|\.manifest)", re.ASCII)


class KeyPlace(NamedTuple):
    """The paths of one key: its directory, the private key, the verifier key."""

    keys: Path
    private_key: Path
    verifier_key: Path


@dataclass(frozen=True)
class PartitionPaths:
    """The paths of one partition. ledger: the ledger's directory. keys: where the keys lie. name: the partition's.

    Paths are made once and kept: making one takes longer than reading an entry.
    """

    ledger: Path
    keys: Path
    name: str
    _made: dict[str, Path] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def root(self) -> Path:
        """The partition's directory, which is also the root of its static tiles."""
        return self.ledger / "partitions" / self.name

    @cached_property
    def segments(self) -> Path:
        """The directory of the segment files."""
        return self.root / "segments"

    @cached_property
    def lock(self) -> Path:
        """Held by whoever sequences; its content is the durable mark."""
        return self.root / "lock"

    @cached_property
    def checkpoint(self) -> Path:
        """The latest published checkpoint."""
        return self.root / "checkpoint"

    @cached_property
    def checkpoints(self) -> Path:
        """Every checkpoint ever signed here, one line of JSON each."""
        return self.root / "checkpoints.jsonl"

    @cached_property
    def cosigned(self) -> Path:
        """Every checkpoint that the quorum of witnesses has cosigned, with the cosignatures, one line of JSON each."""
        return self.root / "cosigned.jsonl"

    @cached_property
    def private_key(self) -> Path:
        """The private key; held by whoever signs."""
        return self.keys / f"{self.name}.pem"

    @cached_property
    def verifier_key(self) -> Path:
        """The verifier key."""
        return self.keys / f"{self.name}.vkey"

    @cached_property
    def post_quantum(self) -> KeyPlace:
        """The ML-DSA-44 key, where there is one."""
        keys = self.keys / "post-quantum"
        return KeyPlace(keys, keys / f"{self.name}.pem", keys / f"{self.name}.vkey")

    @cached_property
    def signed(self) -> Path:
        """The signer's own record."""
        return self.keys / f"{self.name}.signed"

    def plain(self, first: int) -> Path:
        """The segment file whose first entry is `first`."""
        return self._in_segments(f"{first:020d}{PLAIN_SUFFIX}")

    def sealed(self, first: int) -> Path:
        """The compressed segment file whose first entry is `first`."""
        return self._in_segments(f"{first:020d}{SEALED_SUFFIX}")

    def manifest(self, first: int) -> Path:
        """The manifest of a compressed segment."""
        return self._in_segments(f"{first:020d}{MANIFEST_SUFFIX}")

    def _in_segments(self, name: str) -> Path:
        path = self._made.get(name)
        if path is None:
            if len(self._made) >= KEPT_PATHS:
                self._made.clear()
            path = self._made[name] = self.segments / name
        return path


def parse_segment_name(name: str) -> tuple[int, str] | None:
    """Return first seq and suffix of a segment file's name; None for any other name."""
    match = _SEGMENT.fullmatch(name)
    return None if match is None else (int(match[1]), match[2])
