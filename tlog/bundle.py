"""Entry bundles: up to 256 entries, each behind its length. Source: c2sp.org/tlog-tiles (log entries)."""

from __future__ import annotations

from collections.abc import Iterable

from tlog.errors import FormatError

MAX_ENTRY_SIZE = 0xFFFF
"""The largest entry in bytes: what a bundle's uint16 length can say."""

_LENGTH_SIZE = 2


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Return the bundle of `entries`, each at most 65,535 bytes."""
    return b"".join([len(entry).to_bytes(_LENGTH_SIZE, "big") + entry for entry in entries])


def decode_bundle(raw: bytes, width: int) -> list[bytes]:
    """Return the `width` entries of a bundle.

    The entries are unverified until their leaf hashes are compared with an authenticated level 0 tile.
    Raises: FormatError where the bundle does not hold exactly `width` entries.
    """
    entries = []
    start = 0
    for number in range(width):
        body = start + _LENGTH_SIZE
        end = body + int.from_bytes(raw[start:body], "big")
        if body > len(raw) or end > len(raw):
            raise FormatError("entry bundle", f"ends within entry {number} of {width}")
        entries.append(raw[body:end])
        start = end
    if start != len(raw):
        raise FormatError("entry bundle", f"has {len(raw) - start} bytes after its last entry")
    return entries
