"""Where two trees part: the first entry in which they differ, asked of a peer that has the other tree."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.monitoring.parties import Clock, Log, Taken, Web, monitor_of, settings_file
from tlog.evidence import Evidence
from tlog.monitoring.gossip import Peer
from tlog.monitoring.locating import locate, shared_entries
from tlog.policy import Policy
from tlog_server.monitoring import create_monitor_app


@given(st.integers(1, 5000).flatmap(lambda most: st.tuples(st.integers(0, most - 1), st.just(most))))
def test_the_search(sizes: tuple[int, int]) -> None:
    """It finds the number for every pair, in as many steps as the size has bits, and asks for no empty tree."""
    shared, most = sizes
    asked: list[int] = []

    def one(size: int) -> bytes:
        asked.append(size)
        return b"%d" % size

    assert shared_entries(one, lambda size: b"%d" % size if size <= shared else b"other", most) == shared
    assert len(asked) <= most.bit_length()
    assert all(0 < size < most for size in asked)


@pytest.mark.parametrize("sizes", [(5, 5), (4, 9), (300, 6), (700, 700)], ids=str)
@pytest.mark.parametrize("shared", [0, 1, 3])
def test_monitors_find_the_entry(tmp_path: Path, sizes: tuple[int, int], shared: int) -> None:
    """Two monitors of two views: each finds out in its round how many entries the views share; and tells it."""
    clock, web = Clock(), Web()
    views = [Log(tmp_path / name, clock) for name in "ab"]
    for log, size, word in zip(views, sizes, "ab", strict=True):
        log.grow(*({"n": number, "word": word if number >= shared else "same"} for number in range(size)))
    monitors = []
    for number, log in enumerate(views):
        path = settings_file(tmp_path / f"m{number}", [log], f'peers = ["http://m{1 - number}"]')
        monitors.append(monitor_of(path, clock, Taken(), web))
        monitors[number]._followers[0].look()
        client = create_monitor_app(monitors[number]).test_client()
        web.sites[f"m{number}"] = lambda path, client=client: (  # type: ignore[misc]
            reply.data if (reply := client.get(f"/{path}")).status_code == 200 else None
        )
    try:
        for monitor in monitors:
            monitor.round()
            ((name, _, _),) = monitor.state.evidence()
            assert monitor.state.shared(name) == shared
            text = create_monitor_app(monitor).test_client().get(f"/evidence/{name}/view").text
            assert f"<mark>{'entry' if shared else 'Entry'} {shared}</mark>" in text
    finally:
        for monitor in monitors:
            monitor.close()


def test_whoever_has_neither_tree_says_nothing(tmp_path: Path) -> None:
    """Where one's own tree is none of the two, or the peer's is not the other, the place is not known."""
    clock, web = Clock(), Web()
    logs = [Log(tmp_path / name, clock) for name in "abc"]
    for log, word in zip(logs, "abc", strict=True):
        log.grow(*({"n": number, "word": word} for number in range(5)))
    first, second, third = (log.partition.checkpoint() for log in logs)
    policy = Policy.for_log(logs[0].partition.vkey)
    path = settings_file(tmp_path / "m", [logs[0]])
    with monitor_of(path, clock, Taken(), web) as monitor:
        (follower,) = monitor._followers
        follower.look()
        client = create_monitor_app(monitor).test_client()
        web.sites["m"] = lambda path: client.get(f"/{path}").data
        own, peer = follower.own, Peer("http://m", web)
        assert own is not None
        tree = follower.tree(own)
        assert locate(Evidence(second, third), own, tree, peer, policy) is None
        assert locate(Evidence(first, second), own, tree, peer, policy) is None
