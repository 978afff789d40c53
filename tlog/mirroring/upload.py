"""What a mirror is sent: the body of `add-entries`, read piece by piece, and made.

    uint16 length, origin | uint64 upload_start | uint64 upload_end | uint16 length, ticket | entry packages

A package holds the entries of at most one bundle, aligned as bundles are, and the proof that they are in the tree of
`upload_end` entries, so each can be checked and stored before the next one arrives.
Source: c2sp.org/tlog-mirror, section "add-entries".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tlog._strict import MAX_TREE_SIZE, require_int
from tlog.bundle import encode_bundle
from tlog.errors import FormatError, UnknownOriginError
from tlog.hashing import HASH_SIZE, split_hashes
from tlog.tile import TILE_WIDTH

MAX_HASHES = 63
MAX_PACKAGES = 32
"""Packages that a client sends in one request, as the specification asks."""

_WHAT = "add-entries"

Read = Callable[[int], bytes]
"""Returns that many bytes of a body, fewer only at its end."""


class Upload(NamedTuple):
    """The head of a request: entries [start, end) of a log are to follow. ticket: what the mirror gave out before."""

    origin: str
    start: int
    end: int
    ticket: bytes

    def packages(self) -> Iterator[tuple[int, int]]:
        """Yield the entries [start, end) of each package of the canonical sequence, none where there are no entries."""
        first = self.end if self.start == self.end else self.start - self.start % TILE_WIDTH
        for begin in range(first, self.end, TILE_WIDTH):
            yield max(begin, self.start), min(begin + TILE_WIDTH, self.end)

    def format(self) -> bytes:
        """Return the bytes before the packages. Raises: FormatError."""
        require_int(self.start, f"{_WHAT}: start", 0, self.end)
        require_int(self.end, f"{_WHAT}: end", 0, MAX_TREE_SIZE)
        origin = self.origin.encode()
        numbers = self.start.to_bytes(8, "big") + self.end.to_bytes(8, "big")
        return encode_bundle([origin]) + numbers + encode_bundle([self.ticket])


class Package(NamedTuple):
    """Entries in a row, and the subtree consistency proof that goes with them."""

    entries: tuple[bytes, ...]
    hashes: tuple[bytes, ...]

    def format(self) -> bytes:
        """Return the package's bytes. Raises: FormatError."""
        if len(self.hashes) > MAX_HASHES or any(len(value) != HASH_SIZE for value in self.hashes):
            raise FormatError(_WHAT, f"a package has at most {MAX_HASHES} hashes of {HASH_SIZE} bytes")
        return encode_bundle(self.entries) + bytes([len(self.hashes)]) + b"".join(self.hashes)


def read_upload(read: Read) -> Upload:
    """Read the head of a request.

    Raises: FormatError where it ends too early, or its range goes backwards; UnknownOriginError for an origin that is
    not UTF-8, which no log has.
    """
    origin = _exactly(read, int.from_bytes(_exactly(read, 2), "big"))
    start, end = (int.from_bytes(_exactly(read, 8), "big") for _ in range(2))
    ticket = _exactly(read, int.from_bytes(_exactly(read, 2), "big"))
    try:
        text = origin.decode()
    except UnicodeDecodeError as err:
        raise UnknownOriginError(repr(origin[:60]), "that of a log") from err
    if start > end:
        raise FormatError(f"{_WHAT}: range", f"[{start}, {end}) is no range of entries")
    return Upload(text, start, end, ticket)


def read_package(read: Read, count: int) -> Package | None:
    """Read a package of `count` entries; None where the body ends before it is whole. Raises: FormatError."""
    entries: list[bytes] = []
    for _ in range(count):
        size = read(2)
        entry = read(int.from_bytes(size, "big")) if len(size) == 2 else b""
        if len(size) < 2 or len(entry) < int.from_bytes(size, "big"):
            return None
        entries.append(entry)
    number = read(1)
    if not number:
        return None
    if number[0] > MAX_HASHES:
        raise FormatError(_WHAT, f"a package has at most {MAX_HASHES} hashes, not {number[0]}")
    packed = read(number[0] * HASH_SIZE)
    if len(packed) < number[0] * HASH_SIZE:
        return None
    return Package(tuple(entries), tuple(split_hashes(packed)))


def format_upload(upload: Upload, packages: Sequence[Package]) -> bytes:
    """Return the body of a request. Raises: FormatError."""
    return upload.format() + b"".join(package.format() for package in packages)


def _exactly(read: Read, size: int) -> bytes:
    data = read(size)
    if len(data) < size:
        raise FormatError(_WHAT, "the body ends within its head")
    return data
