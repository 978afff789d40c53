"""What mutation testing found untested in entries and names without a partition around them."""

from __future__ import annotations

import itertools
from hashlib import sha256

import pytest

from tlog.entry import (
    GENESIS_HASH,
    Block,
    ChainHead,
    check_chain,
    encode_lines,
    encode_payloads,
    encode_raw_payload,
    encode_raw_payloads,
    largest_payload,
    parse_entry,
)
from tlog.errors import CorruptLedgerError, FormatError
from tlog.names import MAX_ORIGIN_SIZE, RESERVED_PARTITION_NAMES, check_origin_prefix, check_partition_name

TS = b"2026-11-21T09:00:00.000000Z"
LARGEST_LINE = 65_535


def plain(text: str) -> str:
    """Return a text in ASCII and without backslashes, as the name of a test that mutmut can ask for."""
    return ascii(text).replace("\\", "")


def naive_lines(head: ChainHead, partition: str, payloads: list[bytes]) -> list[bytes]:
    """Return the lines that chain the payloads to `head`, put together by the words of docs/formats.md."""
    lines, last = [], head.hash.decode()
    for seq, payload in enumerate(payloads, head.seq):
        start = f'{{"seq":{seq},"ts":"{TS.decode()}","partition":"{partition}","prev_hash":"{last}",'
        body = start.encode() + payload
        last = sha256(body).hexdigest()
        lines.append(body + f',"hash":"{last}"}}'.encode())
    return lines


@pytest.mark.parametrize("seq", [0, 1, 9, 254, 255, 256, 65_535])
@pytest.mark.parametrize("count", [0, 1, 2, 257, 600])
def test_lines_are_the_naive_ones(seq: int, count: int) -> None:
    """Lines, hashes, leaf hashes if asked for, and head are the naive ones, in blocks that end where tiles end."""
    head = ChainHead(seq, GENESIS_HASH if seq == 0 else sha256(b"before").hexdigest().encode(), TS if seq else b"")
    payloads = [b'"data":%d' % number for number in range(count)]
    lines = naive_lines(head, "users", payloads)
    encoded = encode_lines(head, b"users", TS, payloads)
    ends = sorted({number for number in range(count + 1) if (seq + number) % 256 == 0 and number} | {0, count})
    expected = [
        Block(end - start, b"".join(line + b"\n" for line in lines[start:end]))
        for start, end in itertools.pairwise(ends)
    ]
    assert encoded.blocks == expected
    assert encoded.hashes == [parse_entry(line).hash.hex().encode() for line in lines]
    assert encoded.head == (ChainHead(seq + count, encoded.hashes[-1], TS) if count else head._replace(ts=TS))
    assert check_chain(head, b"users", lines) == (encoded.head if count else head)
    assert encoded.leaves == b""
    leaves = b"".join(sha256(b"\0" + line).digest() for line in lines)
    assert encode_lines(head, b"users", TS, payloads, with_leaves=True) == encoded._replace(leaves=leaves)


def test_the_largest_line() -> None:
    """A payload that fills a line to 65,535 bytes is taken; one byte more is refused, and the error says what fits."""
    head = ChainHead(12_345, sha256(b"before").hexdigest().encode(), TS)
    room = largest_payload("users", 12_345)
    full = b'"data":"%b"' % (b"x" * (room - 9))
    encoded = encode_lines(head, b"users", TS, [full])
    assert len(encoded.blocks[0].text) == LARGEST_LINE + 1
    with pytest.raises(FormatError) as caught:
        encode_lines(head, b"users", TS, [b'"data":1', full + b" "])
    assert caught.value.what == "data"
    expected = (
        f"{room - 7 + 1:,} bytes of JSON where {room - 7:,} fit into one entry of 65,535 bytes; store the payload"
    )
    assert caught.value.reason.startswith(expected)


def test_raw_text_far_too_large() -> None:
    """JSON text that fits no entry is refused before it is parsed, and the error says how large it is."""
    assert encode_raw_payload(b"1" + b" " * 65_534) == b'"data":1'
    with pytest.raises(FormatError) as caught:
        encode_raw_payload("{" * 65_536)
    assert caught.value.what == "data"
    assert caught.value.reason.startswith("65,536 bytes of JSON where 65,528 fit into one entry of 65,535 bytes")


def test_payloads_up_to_the_first_that_is_refused() -> None:
    """Of many values those before the first bad one are encoded, and its error is returned beside them."""
    good = [b'"data":1', b'"data":{"a":[]}']
    assert encode_payloads([1, {"a": []}]) == (good, None)
    assert encode_raw_payloads([b"1", '{"a":[]}']) == (good, None)
    for payloads, error in (
        encode_payloads([1, {"a": []}, {1}, 2]),
        encode_raw_payloads([b"1", '{"a":[]}', b"{", b"2"]),
    ):
        assert payloads == good
        assert isinstance(error, FormatError)
        assert error.what == "data"


@pytest.mark.parametrize("name", ["a", "0", "a.b_c-d", "x" * 64])
def test_partition_names(name: str) -> None:
    """Names of 1 to 64 small letters, digits and punctuation are taken as they are."""
    assert check_partition_name(name) == name


BAD_NAMES = ["", "x" * 65, "A", ".", "-a", "_a", "a/b", "a\n", "a\0", "ä", "\uff41", *sorted(RESERVED_PARTITION_NAMES)]


@pytest.mark.parametrize("name", BAD_NAMES, ids=plain)
def test_bad_partition_names(name: str) -> None:
    """Other names are refused by name, those that the server needs with the reason."""
    reason = "a path of the server needs this name" if name in RESERVED_PARTITION_NAMES else "use 1 to 64 characters"
    with pytest.raises(FormatError) as caught:
        check_partition_name(name)
    assert caught.value.what == f"partition name {name!r}"
    assert caught.value.reason.startswith(reason)


LONGEST = MAX_ORIGIN_SIZE - 65


@pytest.mark.parametrize(
    "prefix", ["a", "audit.example.com", "a/b", "ü" * (LONGEST // 2), "x" * LONGEST, "a:b//c"], ids=plain
)
def test_origin_prefixes(prefix: str) -> None:
    """URLs without scheme are taken as they are, up to the length that leaves room for a partition's name."""
    assert check_origin_prefix(prefix) == prefix


BAD_PREFIXES = {
    "": "use a URL without scheme, spaces",
    "a b": "use a URL without scheme, spaces",
    "a+b": "use a URL without scheme, spaces",
    "a\tb": "use a URL without scheme, spaces",
    "a\x7fb": "use a URL without scheme, spaces",
    "a\u2003b": "use a URL without scheme, spaces",
    "a\u202eb": "holds U+202E, which nobody sees",
    "a\u00adb": "holds U+00AD, which nobody sees",
    'a"b': "use a URL without scheme, spaces",
    "https://a": "leave out the scheme",
    "a/": "leave out the scheme",
    "/a": "leave out the scheme",
    "x" * (LONGEST + 1): f"use at most {LONGEST} bytes",
    "ü" * (LONGEST // 2 + 1): f"use at most {LONGEST} bytes",
    "\ud800": "it is not valid Unicode",
    "\ud800" * 70: f"use at most {LONGEST} bytes",
}


@pytest.mark.parametrize(("prefix", "reason"), BAD_PREFIXES.items(), ids=map(plain, BAD_PREFIXES))
def test_bad_origin_prefixes(prefix: str, reason: str) -> None:
    """Other prefixes are refused, and the error shows them, cut to 80 characters."""
    with pytest.raises(FormatError) as caught:
        check_origin_prefix(prefix)
    assert caught.value.what == f"origin {prefix[:80]!r}"
    assert caught.value.reason.startswith(reason)


def test_the_largest_line_in_a_chain() -> None:
    """A line of 65,535 bytes is checked as any other; a longer one is no entry."""
    full = b'"data":"%b"' % (b"x" * (largest_payload("users", 0) - 9))
    (line,) = naive_lines(ChainHead(), "users", [full])
    assert len(line) == LARGEST_LINE
    assert check_chain(ChainHead(), b"users", [line]).seq == 1
    for bad, message in (
        (line.replace(b"x", b"y", 1), "hash is not the hash"),
        (line.replace(b"x", b"xx", 1), "is not an entry"),
    ):
        with pytest.raises(CorruptLedgerError, match=message):
            check_chain(ChainHead(), b"users", [bad])


@pytest.mark.parametrize("payload", [b'"data":', b'"meta":', b'"data', b'"data":1'])
def test_a_line_without_data(payload: bytes) -> None:
    """A line whose data has no byte is no entry, neither alone nor in a chain; one byte is enough."""
    (line,) = naive_lines(ChainHead(), "users", [payload])
    if payload.endswith(b"1"):
        assert check_chain(ChainHead(), b"users", [line]).seq == parse_entry(line).seq + 1
        return
    with pytest.raises(CorruptLedgerError, match="the line is not an entry"):
        check_chain(ChainHead(), b"users", [line])
    with pytest.raises(FormatError):
        parse_entry(line)


def test_data_with_and_without_meta_in_one_chain() -> None:
    """Entries with meta and entries without it may follow each other."""
    payloads = [b'"data":1', b'"meta":{"writer":"app"},"data":2', b'"data":3']
    assert check_chain(ChainHead(), b"users", naive_lines(ChainHead(), "users", payloads)).seq == 3


def test_the_largest_seq() -> None:
    """An entry's seq is at most 2^63 - 1."""
    before = sha256(b"before").hexdigest().encode()
    (line,) = naive_lines(ChainHead(2**63 - 1, before, TS), "users", [b'"data":1'])
    assert parse_entry(line).seq == 2**63 - 1
    (line,) = naive_lines(ChainHead(2**63, before, TS), "users", [b'"data":1'])
    with pytest.raises(FormatError, match="is not a line of a partition"):
        parse_entry(line)


def test_a_bad_line_that_lies_in_no_file() -> None:
    """Where nobody said where the lines lie, the error names the entry alone."""
    with pytest.raises(CorruptLedgerError) as caught:
        check_chain(ChainHead(), b"users", [b"x" * 70])
    assert caught.value.place == "entry 0"
