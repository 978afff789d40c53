"""Entries: one line of JSONL each, chained by hash.

    {"seq":0,"ts":"2026-11-21T09:00:00.000000Z","partition":"p","prev_hash":"<64 hex>","data":<JSON>,"hash":"<64 hex>"}

The line's bytes are the truth: `hash` is SHA-256 over the line up to its last 75 bytes, `,"hash":"<64 hex>"}`, and
`prev_hash` is the `hash` of the entry before, so checking the chain takes slices of bytes and no parser. The leaf data
of the Merkle tree is the line without its newline. Source: docs/formats.md, "Entry".
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, NamedTuple

from tlog._strict import MAX_TREE_SIZE
from tlog.bundle import MAX_ENTRY_SIZE
from tlog.errors import CorruptLedgerError, FormatError, TooLargeError, VerificationError
from tlog.jsontext import check_json, encode_json, encode_json_many, parse_json
from tlog.tile import TILE_WIDTH

GENESIS_HASH = b"0" * 64
"""The `prev_hash` of entry 0, in hex."""

_HASH_KEY = b',"hash":"'
_JOINT = '"},"hash":"'
_TAIL_SIZE = len(_HASH_KEY) + 64 + len(b'"}')
_TS_SIZE = len("2026-11-21T09:00:00.000000Z")
_TS = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_LINE = re.compile(
    rb'\{"seq":(0|[1-9][0-9]{0,18}),"ts":"([^"]{27})","partition":"([a-z0-9][a-z0-9._-]{0,63})"'
    rb',"prev_hash":"([0-9a-f]{64})",((?:"meta":|"data":).+),"hash":"([0-9a-f]{64})"\}'
)
_DATA_KEY = b'"data":'
_META_KEY = b'"meta":'
_PAYLOAD_KEYS = {_DATA_KEY, _META_KEY}


class ChainHead(NamedTuple):
    """Where a chain stands. seq: of the next entry. hash: of the last entry, 64 hex digits. ts: of the last entry."""

    seq: int = 0
    hash: bytes = GENESIS_HASH
    ts: bytes = b""


class Block(NamedTuple):
    """Lines in a row that end at the latest where a tile ends. entries: how many. text: theirs, with newlines."""

    entries: int
    text: bytes


class Encoded(NamedTuple):
    """Encoded entries.

    hashes: their chain hashes in hex. leaves: their leaf hashes, one after another; empty unless they were asked for.
    head: the chain after them.
    """

    blocks: list[Block]
    hashes: list[bytes]
    leaves: bytes
    head: ChainHead


@dataclass(frozen=True)
class Entry:
    """One entry.

    seq: zero-based position in the partition, the leaf index. ts: UTC time of sequencing, ISO 8601 with microseconds.
    partition: its name. prev_hash, hash: 32 bytes each. raw: the line without newline, which is the leaf data.
    """

    seq: int
    ts: str
    partition: str
    prev_hash: bytes
    hash: bytes
    raw: bytes
    _payload: bytes

    @cached_property
    def data(self) -> Any:
        """The submitter's value. Raises: FormatError where its JSON text is not what every reader reads alike."""
        return parse_json(self.raw_data, f"entry {self.seq}, data")

    @cached_property
    def meta(self) -> dict[str, Any]:
        """What the log attests about the submission; empty where the entry has no meta."""
        return _split_payload(self._payload, self.seq)[0]

    @property
    def raw_data(self) -> bytes:
        """The JSON text of `data`, byte for byte as stored."""
        return _split_payload(self._payload, self.seq)[1]


def encode_payload(data: Any, meta: dict[str, Any] | None = None) -> bytes:
    """Return the submitter's part of a line, `"data":...`, with `"meta":{...}` before it where given and not empty.

    Raises: FormatError naming the field that JSON cannot carry. Cost: one orjson call.
    """
    return payload_prefix(meta) + encode_json(data)


def payload_prefix(meta: dict[str, Any] | None = None) -> bytes:
    """Return what stands before the JSON text of data in a payload. Raises: FormatError naming the field of meta."""
    return _meta_part(meta) + _DATA_KEY if meta else _DATA_KEY


def encode_payloads(values: Sequence[Any], prefix: bytes = _DATA_KEY) -> tuple[list[bytes], FormatError | None]:
    """Return the payloads of `values` up to the first that JSON cannot carry, and the error of that one.

    prefix: from `payload_prefix`.
    """
    return encode_json_many(values, prefix)


def encode_raw_payloads(
    texts: Sequence[bytes | str], prefix: bytes = _DATA_KEY
) -> tuple[list[bytes], FormatError | None]:
    """Like `encode_payloads`, for JSON texts that are kept byte for byte."""
    payloads: list[bytes] = []
    try:
        payloads.extend(prefix + _checked(text) for text in texts)
    except FormatError as err:
        return payloads, err
    return payloads, None


def encode_raw_payload(text: bytes | str, meta: dict[str, Any] | None = None) -> bytes:
    """Like `encode_payload`, for JSON text that is kept byte for byte."""
    return payload_prefix(meta) + _checked(text)


def _checked(text: bytes | str) -> bytes:
    if len(text) > MAX_ENTRY_SIZE:
        raise too_large(len(text) + len(_DATA_KEY), MAX_ENTRY_SIZE)
    return check_json(text)


def encode_lines(
    head: ChainHead, partition: bytes, ts: bytes, payloads: Sequence[bytes], *, with_leaves: bool = False
) -> Encoded:
    """Return the lines that chain `payloads` to `head`.

    ts: 27 bytes, not smaller than head.ts. payloads: from `encode_payload`.
    Raises: FormatError, and nothing is encoded, where a line would exceed 65,535 bytes.
    Cost: one SHA-256 call an entry, two with leaf hashes, and three copies of the data.
    """
    start = b'{"seq":%%d,"ts":"%b","partition":"%b","prev_hash":"\n' % (ts, partition)
    seq, last = head.seq, head.hash
    sha, join = sha256, b"".join
    blocks, hashes, leaves = [], [], []
    position = 0
    while position < len(payloads):
        some = payloads[position : position + TILE_WIDTH - seq % TILE_WIDTH]
        starts = (start * len(some) % tuple(range(seq, seq + len(some)))).split(b"\n")
        lines = []
        for begin, payload in zip(starts, some, strict=False):  # behind the last separator there is an empty one
            body = join((begin, last, b'",', payload))
            last = sha(body).hexdigest().encode()
            hashes.append(last)
            # The leaf prefix stands where the newline of the line before will: one string serves hash and file.
            lines.append(join((b"\0", body, _HASH_KEY, last, b'"}')))
        _refuse_long(lines, some)
        if with_leaves:
            leaves += [sha(line).digest() for line in lines]
        blocks.append(Block(len(lines), join(lines)[1:].replace(b"\0", b"\n") + b"\n"))
        position += len(some)
        seq += len(some)
    return Encoded(blocks, hashes, join(leaves), ChainHead(seq, last, ts))


def largest_payload(partition: str, seq: int) -> int:
    """Return how many bytes of payload fit into the entry `seq` of a partition."""
    header = len(b'{"seq":%d,"ts":"","partition":"","prev_hash":"",' % seq) + _TS_SIZE + len(partition) + 64
    return MAX_ENTRY_SIZE - _TAIL_SIZE - header


def _refuse_long(lines: Sequence[bytes], payloads: Sequence[bytes]) -> None:
    longest = max(map(len, lines)) - 1
    if longest > MAX_ENTRY_SIZE:
        payload = next(payload for line, payload in zip(lines, payloads, strict=True) if len(line) - 1 == longest)
        raise too_large(len(payload), len(payload) - longest + MAX_ENTRY_SIZE)


def too_large(size: int, room: int) -> TooLargeError:
    """Return the error for a payload of `size` bytes where `room` bytes fit."""
    return TooLargeError(
        "data",
        f"{size - len(_DATA_KEY):,} bytes of JSON where {room - len(_DATA_KEY):,} fit into one entry of "
        f"{MAX_ENTRY_SIZE:,} bytes; store the payload elsewhere and append its hash",
    )


def parse_entry(raw: bytes) -> Entry:
    """Return the entry that the line `raw`, without newline, spells.

    Raises: FormatError where it is no entry; VerificationError where its hash is not the hash of its bytes.
    `data` and `meta` are parsed when they are asked for, and raise FormatError then.
    """
    if len(raw) > MAX_ENTRY_SIZE:
        raise FormatError("entry", f"{len(raw):,} bytes where at most {MAX_ENTRY_SIZE:,} are allowed")
    match = _LINE.fullmatch(raw)
    if match is None or _TS.fullmatch(match[2]) is None or int(match[1]) > MAX_TREE_SIZE:
        raise FormatError("entry", f"{raw[:60]!r}... is not a line of a partition")
    seq = int(match[1])
    computed = sha256(raw[:-_TAIL_SIZE]).digest()
    if computed.hex().encode() != match[6]:
        raise VerificationError(
            "the entry's hash is not the hash of its bytes",
            place=f"entry {seq}",
            seq=seq,
            expected=computed.hex(),
            found=match[6].decode(),
        )
    prev_hash = bytes.fromhex(match[4].decode())
    return Entry(seq, match[2].decode(), match[3].decode(), prev_hash, computed, raw, match[5])


def check_chain(head: ChainHead, partition: bytes, lines: Sequence[bytes], where: str = "") -> ChainHead:
    """Check that `lines`, without newlines, continue the chain at `head`; return the head after them.

    Checked for each line: seq, ts not smaller than the one before, partition, prev_hash, hash, and that a meta or data
    field follows. The JSON of these two is not parsed. where: the file, for errors.
    Raises: CorruptLedgerError naming the first bad entry. Cost: one SHA-256 call a line and no parsing.
    """
    while lines:
        # Lines whose seq has the same number of digits have their fields in the same places, and are checked together.
        same = lines[: 10 ** len(str(head.seq)) - head.seq]
        after = _check_aligned(head, partition, same)
        head = _check_one_by_one(head, partition, same, where) if after is None else after
        lines = lines[len(same) :]
    return head


def _check_aligned(head: ChainHead, partition: bytes, lines: Sequence[bytes]) -> ChainHead | None:
    """Return the head after `lines`, None if one of them is wrong."""
    count, seq = len(lines), head.seq
    ts_start = len(b'{"seq":%d,"ts":"' % seq)
    ts_end = ts_start + _TS_SIZE
    middle = b'","partition":"%b","prev_hash":"' % partition
    body = ts_end + len(middle) + 64 + len(b'",')
    sha, tail = sha256, _TAIL_SIZE
    hashes = [sha(line[:-tail]).hexdigest() for line in lines]
    times = [lines[0][ts_start:ts_end], lines[-1][ts_start:ts_end]]
    if times[0] == times[1]:  # as within a group: all must have this one, which is written into the pattern
        fields: list[Any] = list(range(seq, seq + count))
        start = b'{"seq":%%d,"ts":"%b\n' % (times[0] + middle).replace(b"%", b"%%")
    else:
        times = [line[ts_start:ts_end] for line in lines]
        fields = [seq, b""] * count
        fields[0::2] = range(seq, seq + count)
        fields[1::2] = times
        start = b'{"seq":%%d,"ts":"%%b%b\n' % middle.replace(b"%", b"%%")
    starts = start * count % tuple(fields)
    parts = ['",'] * (3 * count)
    parts[0::3] = starts.decode("latin-1").split("\n")[:count]
    parts[1::3] = [head.hash.decode(), *hashes[:-1]]
    if (
        b"".join([line[:body] for line in lines]) != "".join(parts).encode("latin-1")
        or b"".join([line[-tail:] for line in lines]) != f',"hash":"{_JOINT.join(hashes)}"}}'.encode()
        or not {line[body : body + 7] for line in lines} <= _PAYLOAD_KEYS
        or [head.ts, *times] != sorted([head.ts, *times])
        or not all(_TS.fullmatch(ts) for ts in set(times))
        or max(map(len, lines)) > MAX_ENTRY_SIZE
        or min(map(len, lines)) <= body + len(_DATA_KEY) + tail
    ):
        return None
    return ChainHead(seq + count, hashes[-1].encode(), times[-1])


def _check_one_by_one(head: ChainHead, partition: bytes, lines: Sequence[bytes], where: str) -> ChainHead:
    """Find the wrong line among `lines`. Raises: CorruptLedgerError."""
    for line in lines:
        after = _check_aligned(head, partition, [line])
        if after is None:
            raise _explain(head, partition, line, where)
        head = after
    raise AssertionError("lines that are right one by one are right together")


def _explain(head: ChainHead, partition: bytes, line: bytes, where: str) -> CorruptLedgerError:
    """Return the error that says what is wrong with `line` as the entry after `head`."""
    place = f"entry {head.seq}" + (f" ({where})" if where else "")

    def bad(message: str, expected: bytes | str, found: bytes | str) -> CorruptLedgerError:
        shown = [text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in (expected, found)]
        return CorruptLedgerError(message, place=place, seq=head.seq, expected=shown[0], found=shown[1])

    match = _LINE.fullmatch(line)
    if match is None or len(line) > MAX_ENTRY_SIZE:
        return bad("the line is not an entry", "a line of JSON as docs/formats.md has it", repr(line[:60]))
    computed = sha256(line[:-_TAIL_SIZE]).hexdigest().encode()
    for message, expected, found in (
        ("the entry's hash is not the hash of its bytes", computed, match[6]),
        ("wrong seq", b"%d" % head.seq, match[1]),
        ("wrong partition", partition, match[3]),
        ("prev_hash is not the hash of the entry before", head.hash, match[4]),
    ):
        if expected != found:
            return bad(message, expected, found)
    return bad("ts goes back or is no time", b"at least %b" % head.ts, match[2])


def _meta_part(meta: Any) -> bytes:
    if type(meta) is not dict:
        raise FormatError("meta", f"is a {type(meta).__name__}; what the log attests is a dict")
    return _META_KEY + encode_json(meta, "meta") + b","


def _split_payload(payload: bytes, seq: int) -> tuple[dict[str, Any], bytes]:
    """Return meta and the JSON text of data. Where meta ends follows from writing it again, as the log wrote it."""
    if payload.startswith(_DATA_KEY):
        return {}, payload[len(_DATA_KEY) :]
    try:
        meta, _ = json.JSONDecoder().raw_decode(payload[len(_META_KEY) :].decode())
    except (ValueError, RecursionError) as err:
        raise FormatError(f"entry {seq}, meta", f"is not valid JSON ({err})") from err
    if isinstance(meta, dict) and meta:
        part = _meta_part(meta) + _DATA_KEY
        if payload.startswith(part):
            return meta, payload[len(part) :]
    raise FormatError(f"entry {seq}, meta", "is not followed by data, or is not as the log writes it")
