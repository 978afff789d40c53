from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

import tlog
from tests.ledgers import NAME
from tests.server.conftest import SIZES, Served
from tlog._strict import format_base64, parse_hash
from tlog.errors import BackpressureError
from tlog.hashing import leaf_hash
from tlog.proof import verify_inclusion

PUBLISHED = SIZES[-1]
INCLUSION = f"/{NAME}/proof/inclusion"
CONSISTENCY = f"/{NAME}/proof/consistency"
JSON = {"Accept": "application/json"}


def refused(served: Served, url: str, status: int, field: str, **headers: str) -> str:
    """Ask for what is refused; return the detail, which names something."""
    answer = served.client.get(url, headers=headers)
    fields: dict[str, Any] = answer.get_json()
    assert (answer.status_code, fields["status"], fields["field"]) == (status, status, field), fields
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    detail: str = fields["detail"]
    return detail


@pytest.mark.parametrize("index", [0, 4, 255, 256, 699])
def test_inclusion_proofs_verify(served: Served, index: int) -> None:
    """The text is a .tlog-proof that verifies; the JSON says the same; neither may be cached."""
    text = served.client.get(f"{INCLUSION}?index={index}")
    assert (text.status_code, text.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert (text.headers["Cache-Control"], text.headers["Vary"]) == ("no-store", "Accept")
    verified = tlog.verify_proof(text.data, policy=tlog.Policy.for_log(served.partition.vkey))
    assert verified.entry.raw == served.partition.entry(index).raw
    answer = served.client.get(f"{INCLUSION}?index={index}", headers=JSON)
    assert (answer.headers["Content-Type"], answer.headers["Cache-Control"]) == ("application/json", "no-store")
    fields = answer.get_json()
    checkpoint = tlog.Checkpoint.parse(fields["checkpoint"].encode())
    assert checkpoint == served.partition.checkpoint()
    hashes = [parse_hash(value, "hash") for value in fields["hashes"]]
    assert fields["leaf_hash"] == format_base64(leaf_hash(fields["entry"].encode()))
    assert (fields["index"], fields["tree_size"]) == (index, PUBLISHED)
    assert fields["root_hash"] == format_base64(checkpoint.root_hash)
    verify_inclusion(leaf_hash(fields["entry"].encode()), index, PUBLISHED, checkpoint.root_hash, hashes)


@pytest.mark.parametrize("size", SIZES[1:])
def test_inclusion_proofs_at_sizes(served: Served, size: int) -> None:
    """A proof under an earlier checkpoint carries that one, and may be cached: the query says everything."""
    answer = served.client.get(f"{INCLUSION}?size={size}&index={size - 1}")
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    proof = tlog.verify_proof(answer.data, policy=tlog.Policy.for_log(served.partition.vkey))
    assert proof.checkpoint.tree_size == size
    assert proof.entry.seq == size - 1


def test_inclusion_by_id(served: Served) -> None:
    """An id finds the first event that has it, read from the log; such an answer is never cached."""
    answer = served.client.get(f"{INCLUSION}?id=event-3&size=300")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert tlog.verify_proof(answer.data, policy=tlog.Policy.for_log(served.partition.vkey)).entry.seq == 3
    detail = refused(served, f"{INCLUSION}?id=event-*", 404, "id")
    assert "index covers 0..720 of 720 entries" in detail


@pytest.mark.parametrize("seq", [0, 5, 255, 256, 511, 512, 699])
def test_inclusion_by_leaf_hash(served: Served, seq: int) -> None:
    """A leaf hash, in hex or base64, finds its entry in the first, a middle and the last tile; never cached."""
    wanted = leaf_hash(served.partition.entry(seq).raw)
    for text in (wanted.hex(), quote(format_base64(wanted), safe="")):
        answer = served.client.get(f"{INCLUSION}?leaf_hash={text}")
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
        proved = tlog.verify_proof(answer.data, policy=tlog.Policy.for_log(served.partition.vkey))
        assert proved.entry.seq == seq
    refused(served, f"{INCLUSION}?leaf_hash={bytes(reversed(wanted)).hex()}", 404, "leaf_hash")


def test_a_search_for_a_leaf_hash_ends(served: Served) -> None:
    """What takes too long is broken off, and says how far it came."""
    wanted = leaf_hash(served.partition.entry(0).raw)
    assert served.partition.site.find_leaf(wanted) == 0
    with pytest.raises(BackpressureError, match="the last 188 entries do not have"):
        served.partition.site.find_leaf(wanted, time_limit_s=0.0)


@pytest.mark.parametrize(
    ("query", "status", "field", "words"),
    [
        ("", 400, "index", "exactly one"), ("index=1&id=event-1", 400, "id", "exactly one"),
        ("size=5", 400, "index", "exactly one"), ("index=", 400, "index", "decimal"),
        ("index=01", 400, "index", "decimal"), ("index=-1", 400, "index", "decimal"),
        ("index=%2B1", 400, "index", "decimal"), ("index=1.0", 400, "index", "decimal"),
        ("index=%D9%A1", 400, "index", "decimal"),
        ("index=\u0661", 400, "query", "name=value"), ("index=9223372036854775808", 400, "index", "larger"),
        ("index=" + "9" * 1000, 400, "index", "decimal"), ("index=1&index=1", 400, "index", "twice"),
        ("index=1&depth=2", 400, "query", "no parameter"), ("index", 400, "query", "name=value"),
        ("index=%ff", 400, "query", "name=value"), ("index=1&" * 20, 400, "query", "name=value"),
        ("index=700", 404, "index", "700 entries"), ("index=5&size=5", 404, "index", "5 entries"),
        ("index=1&size=6", 404, "size", "No checkpoint was signed"), ("index=1&size=701", 404, "size", "larger"),
        ("index=0&size=0", 404, "index", "0 entries"), ("leaf_hash=" + "A" * 43 + "%3D", 404, "leaf_hash", "No entry"),
        ("leaf_hash=" + "A" * 44, 400, "leaf_hash", "not 32"), ("leaf_hash=" + "a" * 63, 400, "leaf_hash", "base64"),
        ("id=" + "x" * 1100, 404, "id", "No event"),
    ],
)  # fmt: skip
def test_inclusion_refusals(served: Served, query: str, status: int, field: str, words: str) -> None:
    """What is asked wrongly, or for what is not there, is refused with field and remedy."""
    assert words in refused(served, f"{INCLUSION}?{query}", status, field)


@pytest.mark.parametrize("old", SIZES)
@pytest.mark.parametrize("new", [None, 300, PUBLISHED])
def test_consistency_proofs_verify(served: Served, old: int, new: int | None) -> None:
    """From every size to every larger one that was signed, as text and as JSON."""
    newer = PUBLISHED if new is None else new
    url = f"{CONSISTENCY}?old={old}" + ("" if new is None else f"&new={new}")
    if old > newer:
        assert "larger than 300" in refused(served, url, 400, "old")
        return
    answer = served.client.get(url)
    assert answer.headers["Cache-Control"] == ("no-store" if new is None else "public, max-age=31536000, immutable")
    policy = tlog.Policy.for_log(served.partition.vkey)
    verified = tlog.verify_consistency(answer.data, old=served.partition.checkpoint(old), policy=policy)
    assert verified.new.tree_size == newer
    fields = served.client.get(url, headers=JSON).get_json()
    assert (fields["old_size"], fields["tree_size"]) == (old, newer)
    assert fields["hashes"] == [format_base64(value) for value in tlog.ConsistencyProof.parse(answer.data).hashes]


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("", 400, "old"), ("new=5", 400, "old"), ("old=x", 400, "old"), ("old=1&new=x", 400, "new"),
        ("old=701", 400, "old"), ("old=1&new=701", 404, "new"), ("old=1&new=6", 404, "new"),
        ("old=1&old=1", 400, "old"), ("old=1&index=1", 400, "query"),
    ],
)  # fmt: skip
def test_consistency_refusals(served: Served, query: str, status: int, field: str) -> None:
    """Sizes that were never signed, or are not published, have no proofs."""
    refused(served, f"{CONSISTENCY}?{query}", status, field)


def test_entries(served: Served) -> None:
    """An entry comes as its exact bytes, or as JSON with its proof."""
    raw = served.partition.entry(17).raw
    answer = served.client.get(f"/{NAME}/entry/17")
    assert (answer.data, answer.headers["Content-Type"]) == (raw, "application/octet-stream")
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    fields = served.client.get(f"/{NAME}/entry/17", headers=JSON)
    assert fields.headers["Cache-Control"] == "no-store"
    assert fields.get_json() == served.client.get(f"{INCLUSION}?index=17", headers=JSON).get_json()
    for index in ("700", "x", "017", "-1", "9" * 30):
        refused(served, f"/{NAME}/entry/{index}", 404, "index")


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("*/*", "text/plain; charset=utf-8"), ("text/html, */*;q=0.8", "text/plain; charset=utf-8"),
        ("application/json, text/plain;q=0.5", "application/json"), ("application/*", "application/json"),
    ],
)  # fmt: skip
def test_media_types(served: Served, accept: str, content_type: str) -> None:
    """The client chooses the form by Accept."""
    assert served.client.get(f"{INCLUSION}?index=1", headers={"Accept": accept}).headers["Content-Type"] == content_type
    refused(served, f"{INCLUSION}?index=1", 406, "Accept", Accept="image/png")
