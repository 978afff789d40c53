from __future__ import annotations

import threading
from itertools import islice
from pathlib import Path

import pytest

import tlog
from tests.client.clients import MakeClient
from tests.client.conftest import SIZES, Site
from tests.client.lying import LyingServer, Said, refused
from tlog.tile import TILE_WIDTH


def test_the_client_reads_what_the_partition_has(
    site: Site, server: LyingServer, make: MakeClient, tmp_path: Path
) -> None:
    """While the log grows: sizes, all entries, proofs of both kinds are those of the partition itself."""
    client = make(server.url, vkey=site.vkey, state=tmp_path / "state")
    for size in SIZES:
        server.root = site.roots[size]
        assert client.size == size
        assert client.checkpoint().checkpoint.raw == site.checkpoints[size]
        expected = [entry.raw for entry in site.partition.entries(0, size)]
        assert [entry.raw for entry in client.entries()] == expected
        for seq in {0, size // 2, size - 1}:
            assert client.entry(seq).raw == expected[seq]
            assert client.prove(seq).format() == site.partition.prove(seq, size).format()
        for old in {0, 1, size // 2, size}:
            assert client.prove_consistency(old).format() == site.partition.prove_consistency(old, size).format()
    assert (client.origin, client.name) == (site.partition.origin, site.partition.name)
    (kept,) = (tmp_path / "state").glob("*.checkpoint")
    assert kept.read_bytes() == site.checkpoints[SIZES[-1]]


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 0), (0, 1), (5, 5), (6, 5), (255, 257), (256, 512), (400, None), (500, 9999), (9999, None)]
)
def test_ranges(site: Site, server: LyingServer, make: MakeClient, start: int, stop: int | None) -> None:
    """Ranges are half-open and cut to what is published, and cost a request for each bundle in them."""
    client = make(server.url, vkey=site.vkey)
    found = [entry.seq for entry in client.entries(start, stop)]
    size = SIZES[-1]
    assert found == list(range(start, size if stop is None else min(stop, size)))
    bundles = [path for path in server.asked if "/entries/" in path]
    assert len(bundles) == len({seq // TILE_WIDTH for seq in found})


def test_what_is_not_published(site: Site, server: LyingServer, make: MakeClient) -> None:
    """An entry or a size behind the end is not found; a position that is none is an error of the caller."""
    client = make(server.url, vkey=site.vkey)
    for action in (lambda: client.entry(513), lambda: client.prove(513), lambda: client.prove_consistency(514)):
        refused(action, tlog.NotFoundError)
    for seq in (-1, True, 1.0, "1", 2**63):
        refused(lambda seq=seq: client.entry(seq), tlog.FormatError)  # type: ignore[misc]
        refused(lambda seq=seq: next(client.entries(seq)), tlog.FormatError)  # type: ignore[misc]


def test_following(site: Site, server: LyingServer, make: MakeClient) -> None:
    """What is published is given in order, across checkpoints, also from before the first one; then it may stop."""
    client = make(server.url, vkey=site.vkey)
    server.root = site.root / "nothing yet"
    follower = client.follow(0)
    found: list[bytes] = []
    timer = threading.Timer(0.2, lambda: setattr(server, "root", site.roots[1]))
    timer.start()
    for size in SIZES:
        if size > 1:
            server.root = site.roots[size]
        found += [entry.raw for entry in islice(follower, size - len(found))]
        assert found == [entry.raw for entry in site.partition.entries(0, size)]
    timer.join()
    assert [entry.seq for entry in islice(client.follow(300), 3)] == [300, 301, 302]
    stop = threading.Event()
    stop.set()
    assert list(client.follow(0, stop=stop)) == []


def test_a_follower_begins_behind_the_newest(site: Site, server: LyingServer, make: MakeClient) -> None:
    """Without a start, only what is published from then on is given."""
    client = make(server.url, vkey=site.vkey)
    server.root = site.roots[5]
    threading.Timer(0.3, lambda: setattr(server, "root", site.roots[255])).start()
    assert next(client.follow()).seq == 5


def test_a_stopped_follower_ends(site: Site, server: LyingServer) -> None:
    """An event ends a follower that waits for entries."""
    stop = threading.Event()
    with tlog.Client(server.url, vkey=site.vkey) as client:
        threading.Timer(0.2, stop.set).start()
        assert list(client.follow(stop=stop)) == []


def test_partial_tiles_that_are_gone(site: Site, server: LyingServer, make: MakeClient) -> None:
    """A log may delete partial tiles and bundles once the full ones exist: the beginning of those serves as well."""
    gone = {f"/users/{path}" for path in ("tile/0/001.p/44", "tile/entries/001.p/44")}
    truth = server.truth

    def pruned(path: str) -> Said:
        server.root = site.roots[300 if path.endswith("/checkpoint") else 513]
        return Said(b"", 404) if path in gone else truth(path)

    server.lie = pruned
    client = make(server.url, vkey=site.vkey)
    assert [entry.seq for entry in client.entries(200)] == list(range(200, 300))
    assert client.prove(299).checkpoint.tree_size == 300
    assert gone <= set(server.asked)


def test_nothing_is_fetched_twice_without_need(site: Site, server: LyingServer, make: MakeClient) -> None:
    """The edge and full tiles are remembered: a second proof beside the first costs its bundle only."""
    client = make(server.url, vkey=site.vkey)
    client.prove(3)
    server.asked.clear()
    client.prove(4)
    assert server.asked == ["/users/tile/entries/000"]
    server.asked.clear()
    client.checkpoint()
    assert server.asked == ["/users/checkpoint"]


def test_which_log_is_meant(site: Site, server: LyingServer, make: MakeClient) -> None:
    """A key, or a policy and the one log of it that origin or partition names; nothing else will do."""
    other = tlog.SigningKey.generate("audit.example.com/admins").verifier_key
    policy = f"log {site.vkey}\nlog {other}\nquorum none\n"
    for settings in ({"partition": "users"}, {"origin": "audit.example.com/users"}):
        for given in (policy, policy.encode(), tlog.Policy.parse(policy)):
            assert make(server.url, policy=given, **settings).size == 513
    for settings in (
        {}, {"vkey": site.vkey, "policy": policy}, {"policy": policy}, {"policy": policy, "partition": "others"},
        {"vkey": site.vkey, "origin": "audit.example.com/admins"}, {"vkey": "users+1+2"}, {"policy": "quorum none\n"},
    ):  # fmt: skip
        refused(lambda settings=settings: make(server.url, **settings), tlog.FormatError)  # type: ignore[misc]
