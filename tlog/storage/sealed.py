"""Compressed segments: zstd frames of 256 entries each, and the manifest that says where they stand.

`zstdcat` of the file prints the segment's JSONL, and one entry costs one frame. The manifest is derived: it can be
deleted and made again from the frames, byte for byte. Nothing in it is trusted for more than finding frames.

Source: docs/formats.md, "Sealed segment"; RFC 8878 (Zstandard).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import msgpack
import zstandard

from tlog.bundle import MAX_ENTRY_SIZE
from tlog.entry import parse_entry
from tlog.errors import CorruptLedgerError, FormatError
from tlog.hashing import HASH_SIZE, leaf_hashes
from tlog.storage.disk import Files
from tlog.tile import TILE_WIDTH
from tlog.tilebuilder import TileBuilder

COMPRESSION_LEVEL = 9
MAX_FRAME_SIZE = TILE_WIDTH * (MAX_ENTRY_SIZE + 1)
"""The largest number of bytes that a frame may unfold to."""
MAX_FRAME_HEADER_SIZE = 18
"""Bytes of a frame's header at most, in which its size stands; every frame is longer. Source: RFC 8878 3.1.1.1."""
MAX_MANIFEST_SIZE = 1 << 16
READ_SIZE = 1 << 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a sealed segment holds.

    first: seq of its first entry. count: entries. prev_hash, last_hash: 32-byte chain hash before and after.
    root_hash: 32-byte root of the subtree over its leaves. first_ts, last_ts: of its first and last entry.
    frames: byte offset of each frame. size: of the compressed file in bytes. sha256: 32 bytes, of that file.
    """

    first: int
    count: int
    prev_hash: bytes
    last_hash: bytes
    root_hash: bytes
    first_ts: str
    last_ts: str
    frames: tuple[int, ...]
    size: int
    sha256: bytes

    def encode(self) -> bytes:
        """Return the manifest as msgpack: a map with the version and the fields in their order."""
        packed: bytes = msgpack.packb({"version": 1, **asdict(self), "frames": list(self.frames)})
        return packed

    @classmethod
    def decode(cls, raw: bytes, what: str) -> Manifest:
        """Return the manifest that `raw` spells. what: the file, for errors. Raises: FormatError."""
        if len(raw) > MAX_MANIFEST_SIZE:
            raise FormatError(what, f"{len(raw):,} bytes where a manifest has at most {MAX_MANIFEST_SIZE:,}")
        try:
            unpacked = msgpack.unpackb(raw, strict_map_key=True, max_map_len=16, max_array_len=MAX_MANIFEST_SIZE)
        except (ValueError, msgpack.UnpackException, RecursionError) as err:
            raise FormatError(what, "is no msgpack map") from err
        names = [field.name for field in fields(cls)]
        if not isinstance(unpacked, dict) or list(unpacked) != ["version", *names] or unpacked["version"] != 1:
            raise FormatError(what, "is no manifest of version 1")
        _check_fields(unpacked, what)
        manifest = cls(**{**{name: unpacked[name] for name in names}, "frames": tuple(unpacked["frames"])})
        if manifest.encode() != raw:
            raise FormatError(what, "is not the canonical spelling of itself")
        return manifest

    def frame(self, seq: int) -> tuple[int, int]:
        """Return offset and size of the frame that holds the entry `seq`."""
        number = (seq - self.first) // TILE_WIDTH
        ends = (*self.frames[1:], self.size)
        return self.frames[number], ends[number] - self.frames[number]


class ManifestBuilder:
    """Gathers a manifest while frames are written or read, one after another."""

    def __init__(self, first: int) -> None:
        """first: seq of the segment's first entry."""
        self._first = first
        self._frames: list[int] = []
        self._size = 0
        self._digest = hashlib.sha256()
        self._tree = TileBuilder()
        self._edges: list[bytes] = []

    def add(self, frame: bytes, lines: list[bytes]) -> None:
        """Add a frame and the lines that it holds. Cost: one SHA-256 call a line and one a node."""
        self._frames.append(self._size)
        self._size += len(frame)
        self._digest.update(frame)
        self._tree.add(leaf_hashes(lines))
        self._edges = [*self._edges[:1], lines[0], lines[-1]]

    def finish(self) -> Manifest:
        """Return the manifest. Raises: FormatError, VerificationError where its first or last line is no entry."""
        first, last = parse_entry(self._edges[0]), parse_entry(self._edges[-1])
        return Manifest(
            self._first,
            self._tree.tree_size,
            first.prev_hash,
            last.hash,
            self._tree.root(),
            first.ts,
            last.ts,
            tuple(self._frames),
            self._size,
            self._digest.digest(),
        )


def compress_frame(lines: list[bytes]) -> bytes:
    """Return a zstd frame of lines, which are given without newlines."""
    compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL, write_checksum=True, write_content_size=True)
    return compressor.compress(b"\n".join(lines) + b"\n")


def decompress_frame(frame: bytes, place: str) -> list[bytes]:
    """Return the lines of a frame, without newlines. Raises: CorruptLedgerError naming `place`.

    The size that the frame states is checked before memory is given to it.
    """
    try:
        size = zstandard.frame_content_size(frame)
        if not 0 < size <= MAX_FRAME_SIZE:
            raise CorruptLedgerError(f"a frame of {size} bytes is no frame of entries", place=place)
        text = zstandard.ZstdDecompressor().decompress(frame, max_output_size=MAX_FRAME_SIZE, allow_extra_data=False)
    except zstandard.ZstdError as err:
        raise CorruptLedgerError(f"the frame cannot be decompressed ({err})", place=place) from err
    lines = text.split(b"\n")
    if lines.pop() != b"" or len(lines) != TILE_WIDTH:
        raise CorruptLedgerError(f"a frame holds {len(lines)} lines, not {TILE_WIDTH}", place=place)
    return lines


@functools.lru_cache(maxsize=64)
def _cached_manifest(raw: bytes, what: str) -> Manifest:
    return Manifest.decode(raw, what)


def read_manifest(files: Files, path: Path) -> Manifest:
    """Return the manifest at `path`. Raises: NotFoundError, FormatError."""
    return _cached_manifest(files.read(path, MAX_MANIFEST_SIZE), str(path))


def read_frames(files: Files, path: Path, manifest: Manifest, start: int, stop: int) -> Iterator[list[bytes]]:
    """Yield the lines of the frames that hold the entries [start, stop) of a sealed segment, a list a frame."""
    with files.opened(path) as fd:
        for seq in range(start - start % TILE_WIDTH, stop, TILE_WIDTH):
            offset, size = manifest.frame(seq)
            frame = files.disk.read_at(fd, size, offset, path)
            yield decompress_frame(frame, f"entry {seq} ({path})")


def derive_manifest(files: Files, path: Path, first: int) -> Manifest:
    """Return the manifest of a compressed segment, from its frames alone. Raises: CorruptLedgerError."""
    builder = ManifestBuilder(first)
    seq, offset, rest = first, 0, b""
    with files.opened(path) as fd:
        while True:
            place = f"entry {seq} ({path})"
            size = _frame_size(rest, place) if rest else None
            if size is None:
                part = files.disk.read_at(fd, READ_SIZE, offset, path)
                if not part:
                    break
                offset, rest = offset + len(part), rest + part
                if len(rest) > 2 * MAX_FRAME_SIZE:
                    raise CorruptLedgerError("a frame does not end", place=place)
                continue
            builder.add(rest[:size], decompress_frame(rest[:size], place))
            rest = rest[size:]
            seq += TILE_WIDTH
    if rest or seq == first:
        raise CorruptLedgerError("the file ends within a frame", place=f"entry {seq} ({path})")
    return builder.finish()


def _frame_size(data: bytes, place: str) -> int | None:
    """Return how many bytes the first frame in `data` has, None where it does not end in there."""
    if len(data) < MAX_FRAME_HEADER_SIZE:
        return None
    try:
        if not 0 < zstandard.frame_content_size(data) <= MAX_FRAME_SIZE:
            raise CorruptLedgerError("a frame states no size, or one that 256 entries cannot have", place=place)
        decoder = zstandard.ZstdDecompressor().decompressobj()
        decoder.decompress(data)
    except zstandard.ZstdError as err:
        raise CorruptLedgerError(f"the frame cannot be decompressed ({err})", place=place) from err
    return len(data) - len(decoder.unused_data) if decoder.eof else None


def _check_fields(unpacked: dict[str, Any], what: str) -> None:
    frames = unpacked["frames"]
    numbers = [unpacked["first"], unpacked["count"], unpacked["size"], *(frames if isinstance(frames, list) else "?")]
    hashes = [unpacked[name] for name in ("prev_hash", "last_hash", "root_hash", "sha256")]
    if (
        not all(type(number) is int and 0 <= number < 2**63 for number in numbers)
        or not all(isinstance(value, bytes) and len(value) == HASH_SIZE for value in hashes)
        or not all(isinstance(unpacked[name], str) for name in ("first_ts", "last_ts"))
        or unpacked["count"] == 0
        or len(frames) * TILE_WIDTH != unpacked["count"]
        or frames != sorted({0, *frames})
        or frames[-1] >= unpacked["size"]
    ):
        raise FormatError(what, "has a field of the wrong type, size or order")
