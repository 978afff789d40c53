"""What mutation testing found untested in texts: JSON, policies, proofs, and what the chain says about a bad line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import orjson
import pytest

from tests.statements import LOG_VKEY, WITNESS_VKEYS, consistency_proof, entry_lines, inclusion_proof
from tlog.entry import GENESIS_HASH, ChainHead, check_chain, encode_payload, encode_raw_payload
from tlog.errors import CorruptLedgerError, FormatError
from tlog.jsontext import check_json, encode_json, encode_json_many, parse_json, read_json
from tlog.policy import Policy
from tlog.tlogproof import ConsistencyProof, Proof

LINES = entry_lines(3)
CONSISTENCY = consistency_proof(2, LINES).format()
SHORT = ConsistencyProof.parse(CONSISTENCY)
INCLUSION = inclusion_proof(1, LINES).format()
DEEP = b"[" * 127 + b"[],[]" + b"]" * 127

PLACES: dict[str, tuple[Callable[[], object], str]] = {
    "JSON": (lambda: parse_json(b"x"), "data"),
    "JSON of another name": (lambda: check_json(b"x", "meta.a"), "meta.a"),
    "JSON with its value": (lambda: read_json(b"x"), "data"),
    "letters around JSON": (lambda: check_json(b"X1X"), "data"),
    "consistency proof": (lambda: ConsistencyProof.parse(b""), "consistency proof"),
    "its old size": (lambda: ConsistencyProof.parse(CONSISTENCY.replace(b"old", b"new", 1)), "consistency proof"),
    "its number": (
        lambda: ConsistencyProof.parse(CONSISTENCY.replace(b"old 2", b"old 02")),
        "consistency proof: old line",
    ),
    "its hashes": (lambda: ConsistencyProof.parse(b"old 2\nx\n\n"), "consistency proof: hash line"),
    "its old size as a number": (lambda: replace(SHORT, old_size=-1), "consistency proof: old size"),
    "a hash that is too short": (lambda: replace(SHORT, hashes=(bytes(31),)), "consistency proof"),
    "inclusion proof": (lambda: Proof.parse(b""), "proof"),
    "its index": (lambda: Proof.parse(INCLUSION.replace(b"index 1", b"index 01")), "proof: index line"),
    "its extra line": (lambda: Proof.parse(INCLUSION.replace(b"extra ", b"extra %")), "proof: extra line"),
    "its number of hashes": (lambda: replace(Proof.parse(INCLUSION), hashes=(bytes(32),) * 64), "proof"),
    "a hash of its": (lambda: Proof.parse(b"c2sp.org/tlog-proof@v1\nindex 1\nx\n\n"), "proof: hash line"),
    "its leaf index": (lambda: replace(Proof.parse(INCLUSION), leaf_index=-1), "proof: leaf index"),
    "meta": (lambda: encode_payload(1, {"a": {1}}), "meta.a"),
    "policy": (lambda: Policy.parse(b"log %b\n" % LOG_VKEY.encode()), "policy"),
    "its first line": (lambda: Policy.parse(b"\0\nquorum none\n"), "policy line 1"),
    "its second line": (lambda: Policy.parse(b"\n\0quorum none\n"), "policy line 2"),
    "its last line": (lambda: Policy.parse(b"\nquorum none"), "policy line 2"),
    "a policy made by hand": (lambda: Policy((), (), (), "w"), "policy"),
}


@pytest.mark.parametrize(("call", "what"), PLACES.values(), ids=PLACES)
def test_places_in_texts_are_named(call: Callable[[], object], what: str) -> None:
    """The error names the text and the place in it."""
    with pytest.raises(FormatError) as caught:
        call()
    assert caught.value.what == what


def test_nesting_with_many_brackets() -> None:
    """128 levels are taken and 129 are not, however many brackets there are besides."""
    assert check_json(DEEP) == DEEP
    with pytest.raises(FormatError, match="nested deeper than 128 levels"):
        parse_json(b"[" + DEEP + b"]")
    with pytest.raises(FormatError, match="nested deeper than 128 levels"):
        encode_json([parse_json(DEEP)])


def list_of(value: Any) -> Any:
    """Return a list."""
    return [value]


def dict_of(value: Any) -> Any:
    """Return a dict."""
    return {"k": value}


def tuple_of(value: Any) -> Any:
    """Return a tuple."""
    return (value,)


def nested(wrap: Callable[[Any], Any], levels: int, leaf: Any) -> Any:
    """Return `levels` containers of one kind around a leaf."""
    for _ in range(levels):
        leaf = wrap(leaf)
    return leaf


@pytest.mark.parametrize("leaf", ["x", "\\u0000"], ids=["text", "text that looks like NUL"])
@pytest.mark.parametrize("wrap", [list_of, dict_of, tuple_of])
def test_nesting_of_every_kind(wrap: Callable[[Any], Any], leaf: str) -> None:
    """128 levels of lists, dicts or tuples are taken and 129 are not, as values and as text, whatever is in them."""
    deepest, deeper = nested(wrap, 128, leaf), nested(wrap, 129, leaf)
    text = json.dumps(deepest, separators=(",", ":")).encode()
    assert encode_json(deepest) == check_json(text) == text
    with pytest.raises(FormatError, match="nested deeper than 128 levels"):
        encode_json(deeper)
    with pytest.raises(FormatError, match="nested deeper than 128 levels"):
        check_json(json.dumps(deeper))


@pytest.mark.parametrize(
    ("leaf", "reason"),
    [("\ud800", "lone surrogate"), ("\0", "NUL"), (2**64, "outside 64 bits")],
    ids=["surrogate", "NUL", "integer"],
)
def test_what_is_refused_at_the_deepest_level(leaf: Any, reason: str) -> None:
    """At the deepest level that is allowed the error says what is wrong there, and not that it is too deep."""
    with pytest.raises(FormatError, match=reason):
        encode_json(nested(list_of, 128, leaf))


def test_the_outermost_integers_in_a_tuple() -> None:
    """The smallest and the largest integer are taken where a value is looked at part by part."""
    assert encode_json((-(2**63), 2**64 - 1)) == b"[-9223372036854775808,18446744073709551615]"


def test_the_smallest_integer_beside_another_spelling() -> None:
    """The smallest integer of 64 bits is taken where the text is not as orjson writes it, the next one is not."""
    assert parse_json(b"[-9223372036854775808, 18446744073709551615]") == [-(2**63), 2**64 - 1]
    for text in (b"[-9223372036854775809, 1]", b"[18446744073709551616, 1]", b"[100000000000000000000, 1]"):
        with pytest.raises(FormatError, match="outside 64 bits"):
            parse_json(text)


LINES_WITH_OTHER_SPACE = {
    "no-break space": "quorum none\u00a0",
    "em space": "\u2003quorum none",
    "line separator": "quorum none\u2028",
    "next line": "quorum none\u0085",
}


@pytest.mark.parametrize("line", LINES_WITH_OTHER_SPACE.values(), ids=LINES_WITH_OTHER_SPACE)
def test_only_blanks_and_tabs_are_white_space(line: str) -> None:
    """White space outside ASCII is a part of the word it stands at."""
    with pytest.raises(FormatError):
        Policy.parse(f"log {LOG_VKEY}\n{line}\n")


def test_a_witness_of_too_many_words() -> None:
    """A fifth word on a witness line is refused."""
    with pytest.raises(FormatError, match="the form is: witness <name> <vkey>"):
        Policy.parse(f"witness w {WITNESS_VKEYS[0]} https://a.example.com b\nquorum w\n")


def test_raw_text_with_meta() -> None:
    """What the log attests stands before the text, which is kept byte for byte."""
    assert encode_raw_payload(b'{"a" : 1}', {"writer": "app"}) == b'"meta":{"writer":"app"},"data":{"a" : 1}'
    assert encode_raw_payload(b"1", {}) == b'"data":1'


def sealed(line: bytes, old: bytes, new: bytes) -> bytes:
    """Return a line with a change and the right hash for it."""
    body = line[:-75].replace(old, new, 1)
    return b'%b,"hash":"%b"}' % (body, sha256(body).hexdigest().encode())


HASH_0 = LINES[0][-66:-2]
BAD_LINES: dict[str, tuple[bytes, str, str, str]] = {
    "no entry": (
        b"x" * 70,
        "the line is not an entry",
        "a line of JSON as docs/formats.md has it",
        repr(b"x" * 60),
    ),
    "hash": (
        LINES[1][:-66] + b"0" * 64 + b'"}',
        "the entry's hash is not the hash of its bytes",
        LINES[1][-66:-2].decode(),
        "0" * 64,
    ),
    "seq": (sealed(LINES[1], b'"seq":1', b'"seq":7'), "wrong seq", "1", "7"),
    "partition": (sealed(LINES[1], b"users", b"other"), "wrong partition", "users", "other"),
    "prev_hash": (
        sealed(LINES[1], HASH_0, b"1" * 64),
        "prev_hash is not the hash of the entry before",
        HASH_0.decode(),
        "1" * 64,
    ),
    "ts": (
        sealed(LINES[1], b"T09", b"T08"),
        "ts goes back or is no time",
        "at least 2026-11-21T09:00:00.000000Z",
        "2026-11-21T08:00:00.000001Z",
    ),
    "ts of no UTF-8": (
        sealed(LINES[1], b"T09", b"T\xff9"),
        "ts goes back or is no time",
        "at least 2026-11-21T09:00:00.000000Z",
        "2026-11-21T\ufffd9:00:00.000001Z",
    ),
}


@pytest.mark.parametrize("where", ["", "segment 0"])
@pytest.mark.parametrize(("line", "message", "expected", "found"), BAD_LINES.values(), ids=BAD_LINES)
def test_bad_lines_are_explained(line: bytes, message: str, expected: str, found: str, where: str) -> None:
    """The error says which entry is bad, where it lies, what was expected and what was found."""
    with pytest.raises(CorruptLedgerError) as caught:
        check_chain(ChainHead(0, GENESIS_HASH, b""), b"users", [LINES[0], line], where)
    error = caught.value
    assert (error.message, error.expected, error.found, error.seq) == (message, expected, found, 1)
    assert error.place == ("entry 1 (segment 0)" if where else "entry 1")


FRAGMENTS: dict[str, Any] = {
    "alone": orjson.Fragment(b'{"a":1,"a":2}'),
    "of two lines": orjson.Fragment(b"1\n2"),
    "with NUL": orjson.Fragment(b"1\0"),
    "in a list": [1, [orjson.Fragment(b"{")]],
    "in a dict": {"a": {"b": orjson.Fragment(b"{")}},
    "in a tuple": (orjson.Fragment(b"{"),),
    "behind others": [{"a": 1}, [], "b", orjson.Fragment(b"{")],
}


@pytest.mark.parametrize("value", FRAGMENTS.values(), ids=FRAGMENTS)
def test_ready_made_text_in_a_value(value: Any) -> None:
    """JSON text that nobody checked does not get in inside a value, alone or among many."""
    with pytest.raises(FormatError, match=r"is an orjson\.Fragment"):
        encode_json(value)
    texts, error = encode_json_many([1, value, 2], b"")
    assert texts == [b"1"]
    assert "is an orjson.Fragment" in str(error)
