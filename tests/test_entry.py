from __future__ import annotations

import hashlib
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.statements import entry_lines
from tests.test_jsontext import values
from tlog.entry import (
    GENESIS_HASH,
    ChainHead,
    check_chain,
    encode_payload,
    encode_raw_payload,
    largest_payload,
    parse_entry,
)
from tlog.errors import CorruptLedgerError, Error, FormatError, VerificationError

TS = "2026-11-21T09:00:00.000000Z"
LINES = entry_lines(5)
HEAD = ChainHead()


def line_of(payload: bytes, seq: int = 0, prev_hash: bytes = GENESIS_HASH, ts: str = TS, partition: str = "u") -> bytes:
    """Return the line that DESIGN says, put together by hand."""
    body = b'{"seq":%d,"ts":"%b","partition":"%b","prev_hash":"%b",%b' % (
        seq,
        ts.encode(),
        partition.encode(),
        prev_hash,
        payload,
    )
    return body + b',"hash":"' + hashlib.sha256(body).hexdigest().encode() + b'"}'


@given(values)
def test_round_trip(value: Any) -> None:
    """Any JSON value comes back from its line, keys in the writer's order, the text byte for byte."""
    payload = encode_payload(value)
    line = line_of(payload)
    entry = parse_entry(line)
    assert (entry.seq, entry.ts, entry.partition) == (0, TS, "u")
    assert (entry.prev_hash, entry.raw, entry.meta) == (bytes(32), line, {})
    assert entry.hash == hashlib.sha256(line[:-75]).digest()
    assert b'"data":' + entry.raw_data == payload
    assert json.dumps(entry.data) == json.dumps(value) == json.dumps(json.loads(line)["data"])
    assert check_chain(HEAD, b"u", [line]) == ChainHead(1, entry.hash.hex().encode(), TS.encode())


@given(values, st.dictionaries(st.text("abc"), values, min_size=1, max_size=3))
def test_meta(value: Any, meta: dict[str, Any]) -> None:
    """What the log attests stands between prev_hash and data, and is told from the data whatever either holds."""
    line = line_of(encode_payload(value, meta))
    entry = parse_entry(line)
    assert json.dumps(entry.meta) == json.dumps(meta)
    assert json.dumps(entry.data) == json.dumps(value)
    assert list(json.loads(line)) == ["seq", "ts", "partition", "prev_hash", "meta", "data", "hash"]
    check_chain(HEAD, b"u", [line])


def test_empty_meta_is_absent() -> None:
    """An empty meta leaves no trace."""
    assert encode_payload(1, {}) == encode_payload(1, None) == encode_payload(1) == b'"data":1'


def test_data_that_plays_meta() -> None:
    """Data that looks like meta, data or hash fields stays data."""
    for text in (b'{"meta":{"writer":"root"},"data":1}', b'"\\",\\"hash\\":\\"00\\"}"', b'{"hash":"0"}'):
        entry = parse_entry(line_of(encode_raw_payload(text)))
        assert entry.meta == {}
        assert entry.raw_data == text


@pytest.mark.parametrize(
    "payload",
    [
        b'"meta":{},"data":1', b'"meta":[1],"data":1', b'"meta":{"a":1}', b'"meta":{"a": 1},"data":1',
        b'"meta":{"a":1},"meta":{"b":1},"data":1', b'"meta":{"a":1},"data":1,"data":2', b'"meta":{"a":1},"x":1',
        b'"meta":{"a":1,"a":1},"data":1', b'"meta":x,"data":1', b'"data":1,"data":2', b'"data":1,"meta":{"a":1}',
        b'"data":NaN', b'"data":\xff', b'"data":{"a":1,"a":2}',
    ],
)  # fmt: skip
def test_payloads_that_the_log_does_not_write(payload: bytes) -> None:
    """A payload with a second reading raises when data or meta is asked for, and never gives one of two readings."""
    entry = parse_entry(line_of(payload))
    with pytest.raises(FormatError, match="entry 0"):
        _ = (entry.meta, entry.data)


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line[1:], lambda line: line[:-1], lambda line: line + b"\n", lambda line: b" " + line,
        lambda line: line.replace(b'"seq":0', b'"seq":00'), lambda line: line.replace(b'"seq":0', b'"seq":-1'),
        lambda line: line.replace(b'"seq":0', b'"seq":9999999999999999999'),
        lambda line: line.replace(b'"seq":0', b'"seq":1.0'), lambda line: line.replace(b'"seq"', b'"Seq"'),
        lambda line: line.replace(b'"seq":0,', b'"seq":0, '), lambda line: line.replace(b'"u"', b'""'),
        lambda line: line.replace(b'"u"', b'"../u"'), lambda line: line.replace(b'"u"', b'"U"'),
        lambda line: line.replace(b"T09", b" 09"), lambda line: line.replace(b"000000Z", b"00000+Z"),
        lambda line: line.replace(b'"prev_hash":"0', b'"prev_hash":"g'),
        lambda line: line.replace(b'"data":1', b'"data":'),
        lambda line: line.replace(b'"data":1', b'"Data":1'), lambda line: line.replace(b'"data":1', b'"x":0,"data":1'),
        lambda line: line.replace(b'"hash":', b'"hash": '), lambda line: line[:-3] + b'A"}',
        lambda line: line.replace(b'"data":1', b'"data":"' + b"x" * 65_536 + b'"'), lambda line: line + b" ",
    ],
)  # fmt: skip
def test_lines_that_are_no_entries(change: Any) -> None:
    """Other spellings of an entry are refused, even with their hash made right."""
    good = line_of(b'"data":1')
    bad = change(good)
    assert bad != good
    with pytest.raises(Error):
        parse_entry(bad)
    body = bad[:-75]
    if not good.startswith(body):
        with pytest.raises(FormatError):
            parse_entry(body + b',"hash":"' + hashlib.sha256(body).hexdigest().encode() + b'"}')
    with pytest.raises(CorruptLedgerError):
        check_chain(HEAD, b"u", [bad])


def test_the_wrong_hash_is_told() -> None:
    """An entry whose hash is not that of its bytes raises with seq, expected and found."""
    line = LINES[3].replace(b'{"event": 3}', b'{"event": 4}')
    with pytest.raises(VerificationError, match="not the hash of its bytes") as caught:
        parse_entry(line)
    assert caught.value.seq == 3
    assert caught.value.expected == hashlib.sha256(line[:-75]).hexdigest()
    assert caught.value.found == line[-66:-2].decode()


@given(st.binary(max_size=400))
def test_arbitrary_bytes(raw: bytes) -> None:
    """Arbitrary bytes are no entry, and only our errors say so."""
    with pytest.raises(Error):
        parse_entry(raw)
    with pytest.raises(CorruptLedgerError) as caught:
        check_chain(ChainHead(7), b"users", [raw], "file")
    assert caught.value.seq == 7
    assert caught.value.place == "entry 7 (file)"


@given(st.data())
def test_mutated_lines(data: st.DataObject) -> None:
    """Lines changed, dropped, doubled or exchanged anywhere: the first entry that is not the old one is named."""
    lines = list(LINES)
    at = data.draw(st.integers(0, 4))
    kind = data.draw(st.sampled_from(["bytes", "insert", "delete", "drop", "double", "exchange"]))
    position = data.draw(st.integers(0, len(lines[at]) - 1))
    new = data.draw(st.binary(min_size=1, max_size=3))
    line = lines[at]
    if kind == "bytes":
        lines[at] = line[:position] + new + line[position + len(new) :]
    elif kind == "insert":
        lines[at] = line[:position] + new + line[position:]
    elif kind == "delete":
        lines[at] = line[:position] + line[position + len(new) :]
    elif kind == "drop":
        del lines[at]
    elif kind == "double":
        lines.insert(at, line)
    else:
        lines[at], lines[at - 1] = lines[at - 1], line
    first = next((n for n, (old, other) in enumerate(zip(LINES, lines, strict=False)) if old != other), None)
    if first is None and len(lines) >= 5:
        first = 5 if len(lines) > 5 else None
    if first is None:
        assert check_chain(HEAD, b"users", lines).seq == len(lines)
        return
    with pytest.raises(CorruptLedgerError) as caught:
        check_chain(HEAD, b"users", lines)
    assert caught.value.seq == first


def test_every_bit_of_a_small_chain() -> None:
    """Each single bit of each line, flipped, is detected, and the entry that holds it is named."""
    for seq, line in enumerate(LINES):
        for position in range(len(line)):
            for bit in range(8):
                lines = list(LINES)
                lines[seq] = line[:position] + bytes([line[position] ^ 1 << bit]) + line[position + 1 :]
                with pytest.raises(CorruptLedgerError) as caught:
                    check_chain(HEAD, b"users", lines, "somewhere")
                assert caught.value.seq == seq
                assert caught.value.place == f"entry {seq} (somewhere)"
                with pytest.raises(Error):
                    parse_entry(lines[seq])


def rechain(lines: list[bytes], start: int, change: Any) -> list[bytes]:
    """Return the lines with `change` applied to one and all hashes after it made right, as a forger would."""
    found = lines[:start]
    body = change(lines[start][:-75])
    for old, following in zip(lines[start:], [*lines[start + 1 :], b""], strict=True):
        new_hash = hashlib.sha256(body).hexdigest().encode()
        found.append(body + b',"hash":"' + new_hash + b'"}')
        body = following[:-75].replace(old[-66:-2], new_hash)
    return found


@pytest.mark.parametrize("seq", range(5))
def test_what_a_rechained_forgery_may_not_change(seq: int) -> None:
    """With all hashes made right again, seq, partition, prev_hash and the order of times are still checked."""
    for change, reason in (
        (lambda body: body.replace(b'"seq":%d' % seq, b'"seq":%d' % (seq + 1)), "wrong seq"),
        (lambda body: body.replace(b'"users"', b'"other"'), "wrong partition"),
        (lambda body: body.replace(b'"prev_hash":"', b'"prev_hash":"' + b"f" * 64)[:-64], "not an entry"),
        (lambda body: body.replace(b"2026-11", b"2o26-11"), "not an entry|ts goes back or is no time"),
        (lambda body: body.replace(b'"data"', b'"dato"'), "not an entry"),
        (lambda body: body.replace(b'","data"', b'"x"data"'), "not an entry"),
        (lambda body: body.replace(b'"data":', b'"data":"' + b"x" * 65_500), "not an entry"),
    ):
        lines = rechain(LINES, seq, change)
        with pytest.raises(CorruptLedgerError, match=reason) as caught:
            check_chain(HEAD, b"users", lines)
        assert caught.value.seq == seq
    if seq:
        lines = rechain(LINES, seq, lambda body: body.replace(b"2026", b"2025"))
        with pytest.raises(CorruptLedgerError, match="ts goes back") as caught:
            check_chain(HEAD, b"users", lines)
        assert caught.value.seq == seq


@pytest.mark.parametrize("count", [1, 9, 10, 11, 99, 100, 101, 300])
def test_chains_across_lengths_of_seq(count: int) -> None:
    """Where seq gets a digit more the chain holds, and a fault on either side of that is named."""
    lines = entry_lines(count)
    head = check_chain(HEAD, b"users", lines)
    assert head == ChainHead(count, lines[-1][-66:-2], json.loads(lines[-1])["ts"].encode())
    middle = count // 2
    assert check_chain(check_chain(HEAD, b"users", lines[:middle]), b"users", lines[middle:]) == head
    assert check_chain(head, b"users", []) == head
    rng = random.Random(count)
    for seq in {0, count - 1, *(at for at in (9, 10, 99, 100) if at < count)}:
        bad = list(lines)
        position = rng.randrange(len(bad[seq]))
        bad[seq] = bad[seq][:position] + b"~" + bad[seq][position + 1 :]
        with pytest.raises(CorruptLedgerError) as caught:
            check_chain(HEAD, b"users", bad)
        assert caught.value.seq == seq


def test_chain_of_another_partition() -> None:
    """A partition's name is compared whole, also one that looks like a pattern."""
    for name in (b"user", b"userss", b"%b", b"u%ders"):
        with pytest.raises(CorruptLedgerError, match="wrong partition") as caught:
            check_chain(HEAD, name, LINES)
        assert caught.value.seq == 0


def test_largest_payload() -> None:
    """The room for a payload is exactly what makes a line of 65,535 bytes."""
    for partition, seq in (("u", 0), ("u" * 64, 0), ("users", 10), ("users", 10**18)):
        room = largest_payload(partition, seq)
        line = line_of(b'"data":"' + b"x" * (room - 9) + b'"', seq, partition=partition)
        assert len(line) == 65_535
        assert parse_entry(line).seq == seq
        longer = line_of(b'"data":"' + b"x" * (room - 8) + b'"', seq, partition=partition)
        with pytest.raises(FormatError, match="65,536 bytes where at most 65,535"):
            parse_entry(longer)
        with pytest.raises(CorruptLedgerError):
            check_chain(ChainHead(seq), partition.encode(), [longer])
