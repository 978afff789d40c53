"""Servers that lie about entries, tiles and hits: what comes back is the truth, or an error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tlog
from tests.client.clients import IMPATIENT, MakeClient
from tests.client.conftest import Site
from tests.client.lying import LyingServer, Said, refused
from tests.client.made import chained, line_of, write_site
from tests.statements import LOG_VKEY, entry_lines
from tlog.bundle import decode_bundle, encode_bundle
from tlog.errors import Error

SIZE = 513

Changed = Callable[[bytes], bytes]


def lying_about(path: str, change: Changed, truth: Callable[[str], Said]) -> Callable[[str], Said | None]:
    """Return the lie that changes one resource."""

    def lie(asked: str) -> Said | None:
        return Said(change(truth(asked).body)) if asked == path else None

    return lie


def reads_all(client: tlog.Client, site: Site) -> None:
    """Read all in every way; whatever comes back must be the truth. Raises: what the client raises."""
    assert client.prove_consistency(300).format() == site.growth
    assert [entry.raw for entry in client.entries()] == site.lines
    for seq, proof in site.proofs.items():
        assert client.entry(seq).raw == site.lines[seq]
        assert client.prove(seq).format() == proof


def resources(root: Path) -> Iterator[str]:
    """Yield the paths that reading all needs."""
    for path in ("tile/0/001", "tile/0/002.p/1", "tile/1/000.p/2", "checkpoint"):
        assert (root / "users" / path).is_file()
        yield f"/users/{path}"
    for path in ("tile/entries/000", "tile/entries/001", "tile/entries/002.p/1"):
        assert (root / "users" / path).is_file()
        yield f"/users/{path}"


CHANGES: tuple[Changed, ...] = (
    lambda _: b"",
    lambda raw: raw[:-1],
    lambda raw: raw + b"\0",
    lambda raw: raw[1:] + raw[:1],
    lambda raw: raw[: len(raw) // 2] + bytes([raw[len(raw) // 2] ^ 1]) + raw[len(raw) // 2 + 1 :],
    lambda raw: raw + raw,
    lambda raw: bytes(len(raw)),
    lambda _: b"<html>502</html>",
)


@pytest.mark.parametrize("number", range(7))
def test_s04_each_resource_changed(site: Site, server: LyingServer, make: MakeClient, number: int) -> None:
    """One resource cut off, lengthened, turned, flipped, doubled, zeroed or replaced: an error, and no wrong answer."""
    path = list(resources(site.root))[number]
    for change in CHANGES:
        server.lie = lying_about(path, change, server.truth)
        client = make(server.url, vkey=site.vkey)
        refused(lambda: reads_all(client, site))  # noqa: B023
    server.lie = lambda _: None
    reads_all(client, site)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_changed_the_truth_or_an_error(site: Site, server: LyingServer, data: st.DataObject) -> None:
    """Any resource replaced by another one, with any bit flipped, or missing: nothing that is not true comes back."""
    paths = list(resources(site.root))
    path, other = data.draw(st.sampled_from(paths)), data.draw(st.sampled_from(paths))
    raw = bytearray(server.truth(other).body)
    for _ in range(data.draw(st.integers(0, 2))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    status = data.draw(st.sampled_from([200, 200, 200, 404, 410, 500, 304, 206]))
    server.lie = lambda asked: Said(bytes(raw), status) if asked == path else None
    with tlog.Client(server.url, vkey=site.vkey, pacing=IMPATIENT) as client:
        try:
            reads_all(client, site)
        except Error:
            return
    assert (bytes(raw), status) == (server.truth(path).body, 200)


def test_s04_extra_and_missing_entries(site: Site, server: LyingServer, make: MakeClient) -> None:
    """A bundle with an entry more, fewer, twice, or in another order is refused as a whole."""
    path = "/users/tile/entries/001"
    lines = decode_bundle(server.truth(path).body, 256)
    for changed in (
        [*lines, lines[0]], lines[:-1], [lines[0], *lines[:-1]], [lines[1], lines[0], *lines[2:]],
        [*lines[:-1], lines[-1] + b"\n"], [*lines[:-1], b""], [],
    ):  # fmt: skip
        server.lie = lying_about(path, lambda _, changed=changed: encode_bundle(changed), server.truth)  # type: ignore[misc]
        client = make(server.url, vkey=site.vkey)
        error = refused(lambda: client.entry(300), tlog.TileMismatchError)  # noqa: B023
        assert "tile/entries/001" in str(error)
        assert client.entry(3).seq == 3


def test_s04_a_cached_tile_does_not_vouch_for_a_bundle(site: Site, server: LyingServer, make: MakeClient) -> None:
    """Entries are compared with the tree at every read, also where their tile is known already."""
    client = make(server.url, vkey=site.vkey)
    assert client.prove(7).leaf_index == 7
    path = "/users/tile/entries/000"
    server.lie = lying_about(path, lambda raw: raw.replace(b"alice", b"carol", 1), server.truth)
    error = refused(lambda: client.entry(200), tlog.TileMismatchError)
    assert "entry 0 " in str(error)


@pytest.mark.parametrize("what", [(6, "1", "users"), (4, "1", "users"), (5, "1", "admins"), (5, "not JSON", "users")])
def test_a_log_that_signs_what_is_no_entry(
    server: LyingServer, make: MakeClient, tmp_path: Path, what: tuple[int, str, str]
) -> None:
    """An entry of another place, partition or form is in the tree: it is not given out as this one."""
    seq, data, partition = what
    lines = entry_lines(5)
    lines.append(line_of(seq, json.loads(lines[-1])["hash"], data, partition))
    server.root = write_site(tmp_path / "site", lines)
    client = make(server.url, vkey=LOG_VKEY)
    assert client.entry(4).raw == lines[4]
    if data == "1":
        refused(lambda: client.entry(5), tlog.VerificationError)
        refused(lambda: list(client.entries()), tlog.VerificationError)
        refused(lambda: client.prove(5), tlog.VerificationError)
    else:
        refused(lambda: client.entry(5).data, tlog.FormatError)


def test_a_log_that_signs_a_broken_chain(server: LyingServer, make: MakeClient, tmp_path: Path) -> None:
    """Entries that do not follow each other are found while reading in order, across bundles too."""
    for broken in (5, 256):
        lines = chained(entry_lines(broken), broken + 1, "next")
        lines[broken] = line_of(broken, "0" * 64, "1")
        server.root = write_site(tmp_path / str(broken), chained(lines, 300, "more"))
        client = make(server.url, vkey=LOG_VKEY)
        error = refused(lambda: list(client.entries()), tlog.CorruptLedgerError)  # noqa: B023
        assert isinstance(error, tlog.CorruptLedgerError)
        assert error.seq == broken


def hits(*seqs: int, **more: Any) -> bytes:
    """Return the answer of a search."""
    events = [{"index": seq, "ts": "", "data": {"actor": "mallory"}, "meta": {}} for seq in seqs]
    fields = {"events": events, "cursor": None, "coverage": {"indexed": SIZE, "entries": SIZE}, **more}
    return json.dumps(fields).encode()


def test_s04_hits_are_verified(site: Site, server: LyingServer, make: MakeClient) -> None:
    """Of what the server says about a hit, its index counts; the entry is fetched, and compared with the query."""
    client = make(server.url, vkey=site.vkey)
    server.lie = lambda path: Said(hits(300, 7, 2)) if path.startswith("/api/") else None
    found = client.search("actor=alice", limit=3)
    assert [entry.raw for entry in found.entries] == [site.partition.entry(seq).raw for seq in (300, 7, 2)]
    assert (found.unpublished, found.cursor, found.indexed, found.known) == ((), None, SIZE, SIZE)
    error = refused(lambda: client.search("actor=bob"), tlog.VerificationError)
    assert "not asked for" in str(error)
    refused(lambda: client.get("event-7"), tlog.FormatError, tlog.VerificationError)
    server.lie = lambda path: Said(hits(7)) if path.startswith("/api/") else None
    assert client.get("event-7").seq == 7
    refused(lambda: client.get("event-8"), tlog.VerificationError)
    server.lie = lambda path: Said(hits(600, 512)) if path.startswith("/api/") else None
    found = client.search("actor=alice")
    assert ([entry.seq for entry in found.entries], found.unpublished) == ([512], (600,))
    server.lie = lambda path: Said(hits(600)) if path.startswith("/api/") else None
    refused(lambda: client.get("event-600"), tlog.NotFoundError)
    server.lie = lambda path: Said(hits()) if path.startswith("/api/") else None
    refused(lambda: client.get("event-7"), tlog.NotFoundError)


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"null", b"[]", b"{}", b'"events"', hits(7, 7), hits(2, 7), hits(-1), hits(2**63), hits(3, 2, 1),
        hits(7)[:-1], hits(7) + b"x", hits(7, cursor=5), hits(7, cursor="a b"), hits(7, cursor="x" * 300),
        hits(7, events=7), hits(7, events=[7]), hits(7, events=[{"index": 1.0}]), hits(7, events=[{"index": True}]),
        hits(7, events=[{"index": "7"}]), hits(7, coverage=None), hits(7, coverage={"indexed": 1}),
        b'{"events":[],"events":[{"index":7}],"cursor":null,"coverage":{"indexed":1,"entries":1}}',
        b'{"events":[{"index":7,"index":8}],"cursor":null,"coverage":{"indexed":1,"entries":1}}',
        b"[" * 100_000, b'{"events":' + b"[" * 5000 + b"]" * 5000 + b"}", hits(7).replace(b"513", b"1e999"), b"\xff",
    ],
)  # fmt: skip
def test_s04_answers_that_are_none(site: Site, server: LyingServer, make: MakeClient, answer: bytes) -> None:
    """JSON in another form, with a key twice, too deep, of the wrong types, order or number: refused."""
    client = make(server.url, vkey=site.vkey)
    server.lie = lambda path: Said(answer) if path.startswith("/api/") else None
    refused(lambda: client.search("actor=alice", limit=2), tlog.FormatError)


def test_s04_no_answer_is_no_proof(site: Site, server: LyingServer, make: MakeClient) -> None:
    """404 and other refusals end in errors that say whose word they are; the server's words are made safe."""
    client = make(server.url, vkey=site.vkey)
    problem = json.dumps({"detail": "\x1b[31mgo\nto \u202eexample", "field": "q", "title": "x"}).encode()
    headers = {"Content-Type": "application/problem+json", "X-Request-ID": "abc"}
    server.lie = lambda path: Said(problem, 400, headers) if path.startswith("/api/") else None
    error = refused(client.search, tlog.RequestRefusedError)
    assert isinstance(error, tlog.RequestRefusedError)
    assert (error.status, error.field, error.request_id) == (400, "q", "abc")
    assert error.detail == "\\u001b[31mgo\\nto \\u202eexample"
    for status in (201, 204, 206, 301, 400, 401, 403, 410, 418, 500, 501):
        server.lie = lambda path, status=status: Said(b"", status) if path.startswith("/api/") else None  # type: ignore[misc]
        for ask in (client.search, client.status):
            error = refused(ask, tlog.RequestRefusedError)
            assert str(status) in str(error)
    server.lie = lambda _: Said(b"", 404)
    for action in (client.status, client.search, client.checkpoint, lambda: client.entry(1)):
        refused(action, tlog.NotFoundError)
    server.lie = lambda path: Said(b'{"a":1}') if path.startswith("/api/v1/status") else None
    assert client.status() == {"a": 1}


def test_r10_a_cache_that_drops_the_query(site: Site, server: LyingServer, make: MakeClient) -> None:
    """Whoever asks gets the first answer again: only who asked the same takes it."""
    cache: dict[str, Said] = {}

    def answers(path: str) -> Said | None:
        if not path.startswith("/api/"):
            return None
        asked = path.partition("q=")[2].partition("&")[0]
        seq = int(asked.removeprefix("id%3Devent-"))
        return cache.setdefault(path.partition("?")[0], Said(hits(seq)))

    server.lie = answers
    client = make(server.url, vkey=site.vkey)
    assert client.get("event-5").seq == 5
    for seq in (0, 4, 6, 512):
        refused(lambda seq=seq: client.get(f"event-{seq}"), tlog.VerificationError)  # type: ignore[misc]


def test_r10_a_cache_that_gives_one_path_for_another(site: Site, server: LyingServer, make: MakeClient) -> None:
    """Old checkpoints, and tiles and bundles of other places, are not taken for what was asked for."""
    client = make(server.url, vkey=site.vkey)
    assert client.size == SIZE
    server.lie = lambda path: Said(site.checkpoints[300]) if path.endswith("/checkpoint") else None
    refused(client.checkpoint, tlog.VerificationError)
    swapped = {"/users/tile/entries/000": "/users/tile/entries/001", "/users/tile/0/000": "/users/tile/0/001"}
    server.lie = lambda path: server.truth(swapped[path]) if path in swapped else None
    refused(lambda: client.entry(3), tlog.TileMismatchError)
    fresh = make(server.url, vkey=site.vkey)
    refused(lambda: fresh.prove(3), tlog.TileMismatchError)
    assert fresh.entry(300).seq == 300


def test_r08_a_log_that_fails_now_and_then(site: Site, server: LyingServer, make: MakeClient) -> None:
    """Every second request fails, one way or another: a reader gets all entries all the same, in few requests more."""
    client = make(server.url, vkey=site.vkey)
    failures = [502, 503, 504, 429]

    def lie(_: str) -> Said | None:
        count = len(server.asked)
        return Said(b"", failures[count // 2 % 4], {"Retry-After": "0"}) if count % 2 else None

    server.lie = lie
    reads_all(client, site)
    assert len(server.asked) < 60
