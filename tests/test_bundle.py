from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlog.bundle import MAX_ENTRY_SIZE, decode_bundle, encode_bundle
from tlog.errors import FormatError

bundles = st.lists(st.binary(max_size=300), max_size=256)


@given(bundles)
def test_round_trip(entries: list[bytes]) -> None:
    """The entries of any bundle come back, empty ones too."""
    raw = encode_bundle(entries)
    assert decode_bundle(raw, len(entries)) == entries
    assert len(raw) == sum(map(len, entries)) + 2 * len(entries)


@given(st.binary(max_size=600), st.integers(0, 256))
def test_arbitrary_bytes(raw: bytes, width: int) -> None:
    """Arbitrary bytes either are exactly the bundle of the entries found in them, or are refused."""
    try:
        entries = decode_bundle(raw, width)
    except FormatError:
        return
    assert len(entries) == width
    assert encode_bundle(entries) == raw


def test_layout() -> None:
    """An entry stands behind its length in two bytes, high byte first; there is no count in front."""
    assert encode_bundle([b"", b"ab", bytes(258)]) == b"\x00\x00" + b"\x00\x02ab" + b"\x01\x02" + bytes(258)
    assert encode_bundle([]) == b""


def test_largest_entry() -> None:
    """65,535 bytes fit; one more is not what two bytes can say."""
    raw = encode_bundle([bytes(MAX_ENTRY_SIZE)] * 2)
    assert decode_bundle(raw, 2) == [bytes(65_535)] * 2
    with pytest.raises(OverflowError):
        encode_bundle([bytes(MAX_ENTRY_SIZE + 1)])


def test_every_cut_and_every_surplus_is_refused() -> None:
    """A bundle that ends early, within a length or an entry, or goes on after its last entry, is refused."""
    raw = encode_bundle([b"one", b"", b"three"])
    for end in range(len(raw)):
        with pytest.raises(FormatError, match="ends within entry"):
            decode_bundle(raw[:end], 3)
    for more in (b"\0", b"\0\0", b"\0\x01x"):
        with pytest.raises(FormatError, match="bytes after its last entry"):
            decode_bundle(raw + more, 3)
    with pytest.raises(FormatError, match="ends within entry 3 of 4"):
        decode_bundle(raw, 4)
    with pytest.raises(FormatError, match="7 bytes after"):
        decode_bundle(raw, 2)
