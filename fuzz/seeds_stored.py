"""Seeds of what is stored: entries, bundles, manifests, marks, records, configuration. See fuzz/seeds.py."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from fuzz.samples import TS, Seeds, entry_lines, sample_hash, signed_checkpoint
from tlog.bundle import encode_bundle
from tlog.storage.checkpoints import format_record
from tlog.storage.sealed import Manifest
from tlog.storage.tail import DurableMark


def _seal(line: bytes) -> bytes:
    """Return a line whose hash is right for what stands before it."""
    body = line[: line.rfind(b',"hash":"')]
    return b'%b,"hash":"%b"}' % (body, hashlib.sha256(body).hexdigest().encode())


def bundle() -> Seeds:
    """Seeds of bundles, each behind its width less one."""
    lines = entry_lines()
    packed = encode_bundle(lines)
    return {
        "valid-lines": bytes([len(lines) - 1]) + packed,
        "valid-empty-entry": b"\0\0\0",
        "valid-256": b"\xff" + encode_bundle([b"x"] * 256),
        "refused-wide": bytes([len(lines)]) + packed,
        "refused-narrow": bytes([len(lines) - 2]) + packed,
        "refused-half-length": b"\0\0",
        "refused-cut": bytes([len(lines) - 1]) + packed[:-1],
        "refused-long": bytes([len(lines) - 1]) + packed + b"\0",
        "refused-empty": b"",
    }


def entry_line() -> Seeds:
    """Seeds of entry lines, most of them with the right hash for what they say."""
    lines = entry_lines()
    first, second = lines[:2]
    seeds = {f"valid-{number}": line for number, line in enumerate(lines)}

    def changed(old: bytes, new: bytes, line: bytes = first) -> bytes:
        if old not in line:
            raise ValueError(f"{old!r} is not in the line")
        return _seal(line.replace(old, new, 1))

    user = b'{"user":"alice","action":"login"}'
    refused = {
        "wrong-hash": first[:-3] + b"x" + first[-2:],
        "seq": changed(b":0,", b":00,"),
        "seq-2-to-63": changed(b":0,", b":9223372036854775808,"),
        "ts": changed(b"T09", b" 09"),
        "partition": changed(b'"users"', b'"Users"'),
        "prev-hash": changed(b"00000", b"0000F"),
        "no-data": changed(b',"data":' + user, b""),
        "empty-data": changed(user, b""),
        "two-datas": changed(user, b'1,"data":2'),
        "data-is-no-json": changed(user, b"{"),
        "duplicate-key": changed(user, b'{"a":1,"a":2}'),
        "nul": changed(user, b'"\\u0000"'),
        "large-integer": changed(user, b"18446744073709551616"),
        "nan": changed(user, b"NaN"),
        "seq-again": changed(user, b'1,"seq":5'),
        "empty-meta": changed(b'"data"', b'"meta":{},"data"'),
        "meta-alone": changed(b'"data"', b'"meta"'),
        "meta-with-blank": changed(b'"meta":{', b'"meta": {', second),
        "meta-after-data": changed(user, b'1,"meta":{"a":1}'),
        "not-utf8": changed(b"alice", b"al\xffce"),
        "blank": changed(b'"seq":', b'"seq": '),
        "newline": changed(user, b"[1,\n2]"),
        "cut": first[:-1],
        "empty": b"",
    }
    deep = changed(user, b"[" * 128 + b"]" * 128)
    seeds |= {
        "valid-128-deep": deep,
        "valid-blanks-in-data": changed(user, b' {"a" : 1} '),
        "valid-entry-in-entry": changed(user, first),
        "valid-no-calendar": changed(b"2026-11-21", b"2026-99-99"),
        "valid-with-newline": first + b"\n",
        "refused-129-deep": changed(user, b"[" * 129 + b"]" * 129),
    }
    return seeds | {f"refused-{name}": line for name, line in refused.items()}


def manifest() -> Seeds:
    """Seeds of manifests."""
    whole = Manifest(
        256,
        768,
        sample_hash(1),
        sample_hash(2),
        sample_hash(3),
        TS.decode(),
        TS.decode(),
        (0, 100, 70_000),
        90_000,
        sample_hash(4),
    )
    raw = whole.encode()
    name = "manifest"
    if Manifest.decode(raw, name) != whole:
        raise ValueError("the manifest does not read back")
    return {
        "valid-three-frames": raw,
        "valid-one-frame": replace(whole, first=0, count=256, frames=(0,), size=1).encode(),
        "refused-no-frames": replace(whole, count=0, frames=()).encode(),
        "refused-first-frame": replace(whole, frames=(1, 100, 200)).encode(),
        "refused-order": replace(whole, frames=(0, 200, 100)).encode(),
        "refused-frame-behind-end": replace(whole, frames=(0, 100, 90_000)).encode(),
        "refused-count": replace(whole, count=769).encode(),
        "refused-short-hash": replace(whole, sha256=b"x").encode(),
        "refused-text-as-hash": raw.replace(b"\xc4\x20" + sample_hash(2), b"\xd9\x20" + b"a" * 32),
        "refused-bool": raw.replace(b"first\xcd\x01\x00", b"first\xc3"),
        "refused-float": raw.replace(b"first\xcd\x01\x00", b"first\xcb\x40\x70" + bytes(6)),
        "refused-long-integer": raw.replace(b"first\xcd\x01\x00", b"first\xce\x00\x00\x01\x00"),
        "refused-version": raw.replace(b"version\x01", b"version\x02"),
        "refused-trailing": raw + b"\0",
        "refused-cut": raw[:-1],
        "refused-deep": b"\x91" * 2000,
        "refused-many-claimed": b"\xdd\xff\xff\xff\xff",
        "refused-nil-key": b"\x81\xc0\x01",
        "refused-empty": b"",
    }


def raw_json() -> Seeds:
    """Seeds of JSON text."""
    valid = (
        b"null", b" 1 \n", b"-0", b"-0.0", b"1E5", b"0.1", b"1e-400", b"5e-324", b"1.7976931348623157e308",
        b"18446744073709551615", b"-9223372036854775808", b'"\\u00e9\\ud83d\\ude00\\/"', b'{"a":{"b":[1,2,{}]},"":0}',
        b'"\xe2\x80\xa8\x7f"', b"[" * 128 + b"]" * 128, b'{"\\u0061":1,"b":2}', b"9007199254740993.0", b"[ ]",
        b'"\\\\u0000"',
    )  # fmt: skip
    refused = (
        b"", b" ", b"NaN", b"-Infinity", b"1e400", b"18446744073709551616", b"-9223372036854775809", b"01", b"1.",
        b".5", b"+1", b"'a'", b"[1,]", b'{"a":1,"a":1}', b'{"a":1,"\\u0061":2}', b'"\\ud800"', b'"\\udc00\\ud800"',
        b'"\0"', b'"\\u0000"', b'{"\\u0000":1}', b"[1,\n2]", b"\xef\xbb\xbf1", b'"\xff"', b'"\xed\xa0\x80"', b"1 2",
        b"[" * 129 + b"]" * 129, b"[" * 5000, b"// c\n1", b"1" * 5000, b"\x0c1", b"\xa01", b'{1:2}', b"nul",
        b"[{" * 65, b'{"a":' * 129 + b"1" + b"}" * 129, b"\xfe\xff\x001", b"1\x00",
    )  # fmt: skip
    seeds = {f"valid-{number:02}": text for number, text in enumerate(valid)}
    return seeds | {f"refused-{number:02}": text for number, text in enumerate(refused)}


def durable_mark() -> Seeds:
    """Seeds of durable marks."""
    raw = DurableMark(300, 256, 14_000).encode()
    return {
        "valid": raw,
        "valid-zero": DurableMark(0, 0, 0).encode(),
        "valid-largest": DurableMark(10**20 - 1, 10**20 - 1, 10**20 - 1).encode(),
        "refused-checksum": raw.replace(b"300", b"301"),
        "refused-short": raw[:-1],
        "refused-long": raw + b"\n",
        "refused-zeros": bytes(80),
        "refused-wide-digit": b"\xef\xbc\x90" * 80,
        "refused-empty": b"",
    }


def checkpoint_record() -> Seeds:
    """Seeds of the record of checkpoints."""
    lines = [format_record(signed_checkpoint(size, sample_hash(size))) for size in (1, 2, 7, 300, 2**63 - 1)]
    whole = b"".join(lines)
    fields = json.loads(lines[2])
    note_only = json.dumps({"tree_size": 7, "note": fields["note"]}, separators=(",", ":")).encode() + b"\n"
    return {
        "valid-one": lines[0],
        "valid-five": whole,
        "valid-unfinished": whole + lines[0][:-1],
        "valid-hole": lines[0] + lines[1] + bytes(600) + b"\n",
        "refused-order": b"".join(reversed(lines)).replace(b'"tree_size":7', b'"tree_size":8'),
        "refused-other-size": lines[2].replace(b'"tree_size":7', b'"tree_size":8'),
        "refused-no-root": note_only,
        "refused-note-is-null": b'{"tree_size":7,"root_hash":"","note":null}\n',
        "refused-no-object": b"[7]\n",
        "refused-surrogate": b'{"tree_size":7,"note":"\\ud800"}\n',
        "refused-20-digits": b'{"tree_size":18446744073709551616,"note":""}\n',
        "refused-blanks": lines[0].replace(b":", b": ", 1),
        "refused-zeros": bytes(600),
        "refused-empty-line": b"\n",
        "refused-cut": lines[0][:-1],
        "refused-empty": b"",
    }


def config() -> Seeds:
    """Seeds of `tlog.toml`."""
    base = b'origin = "audit.example.com"\n'
    return {
        "valid-origin": base,
        "valid-all": base + b'segment_entries = 256\nkeys = "../keys"\n',
        "valid-comment": b"# comment\n" + base,
        "valid-braces": b'origin = "{keys}"\nkeys = "{origin}"\n',
        "valid-hexadecimal": base + b"segment_entries = 0x100\n",
        "refused-no-origin": b"segment_entries = 256\n",
        "refused-unknown": base + b"segment_entrys = 256\n",
        "refused-257": base + b"segment_entries = 257\n",
        "refused-bool": base + b"segment_entries = true\n",
        "refused-float": base + b"segment_entries = 256.0\n",
        # Decimal text of so many digits is refused by Python, and so was the attempt to show the number in the error.
        "refused-huge-hexadecimal": base + b"segment_entries = 0x" + b"f" * 5000 + b"\n",
        "refused-huge-integer": base + b"segment_entries = " + b"1" * 4301 + b"\n",
        "refused-date": base + b"keys = 1979-05-27T07:32:00Z\n",
        "refused-no-date": base + b"keys = 1979-02-30\n",
        "refused-quote-in-keys": base + b"keys = 'a\"b'\n",
        "refused-nul-in-keys": base + b'keys = "a\\u0000b"\n',
        "refused-surrogate": base + b'keys = "\\ud800"\n',
        "refused-table": b'[origin]\na = "b"\n',
        "refused-deep": base + b"keys = " + b"[" * 5000 + b"\n",
        "refused-not-utf8": b'origin = "\xff"\n',
        "refused-space": b'origin = "audit example"\n',
        "refused-empty": b"",
        "valid-categories": base + b'[categories]\npayments = "tax"\n\n[retention]\ntax = 3653\nhold = "forever"\n',
        "refused-unknown-class": base + b'[categories]\npayments = "tax"\n',
        "refused-category-list": base + b"[categories]\npayments = []\n",
        "refused-retention-huge": base + b"[retention]\ntax = 0x1" + b"0" * 42 + b"\n",
        "refused-no-table": base + b"categories = 5\n",
    }
