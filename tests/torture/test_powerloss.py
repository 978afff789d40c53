"""Samples of what `make torture` does in full."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.torture.crashmodel import Model, Tree
from tests.torture.faultdisk import Operation, RecordingDisk
from tests.torture.powerloss import SCENARIOS, Explorer, Scenario

SEED = 1
AT_RANDOM = 2
"""Operations of a scenario at which the first of two troubles comes."""

scenarios = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)


@scenarios
def test_power_loss_after_each_operation(scenario: Scenario) -> None:
    """Whatever a power loss leaves, all that was acknowledged is there, and the log goes on."""
    explorer = Explorer(seed=SEED, share=0.2)
    explorer.explore(scenario)
    assert explorer.states > 5
    assert explorer.failures == []


@scenarios
def test_power_loss_after_a_kill(scenario: Scenario) -> None:
    """What a second process saw of a killed one, and built upon, is durable too."""
    explorer = Explorer(seed=SEED, samples=0, share=0.06)
    for at in _places(scenario, range(len(explorer.operations(scenario)) + 1)):
        explorer.explore_killed(scenario, at)
    assert explorer.states > 0
    assert explorer.failures == []


@scenarios
def test_power_loss_during_recovery(scenario: Scenario) -> None:
    """A power loss during the recovery from a power loss is recovered from."""
    explorer = Explorer(seed=SEED, samples=0, share=0.06)
    for at in _places(scenario, range(len(explorer.operations(scenario)) + 1)):
        explorer.explore_twice(scenario, at)
    assert explorer.states > 0
    assert explorer.failures == []


@scenarios
def test_power_loss_after_a_failed_sync(scenario: Scenario) -> None:
    """What a failed sync left in the page cache only is not taken for durable by who opens the ledger again."""
    explorer = Explorer(seed=SEED, samples=0, share=0.06)
    syncs = [number for number, kind in enumerate(explorer.operations(scenario)) if "sync" in kind]
    for at in _places(scenario, syncs):
        explorer.explore_failed_sync(scenario, at)
    assert explorer.states > 0
    assert explorer.failures == []


def _places(scenario: Scenario, among: range | list[int]) -> list[int]:
    return random.Random(f"{SEED} {scenario.name}").sample(among, min(AT_RANDOM, len(among)))


def _states(tree: Tree, *operations: Operation) -> list[Tree]:
    model = Model(tree)
    for operation in operations:
        model.apply(operation)
    return [state.tree for state in model.states(random.Random(SEED), 200, singles=True)]


def test_the_model_tears_what_is_not_synced() -> None:
    """An unsynced write is there, missing, cut at a sector, or has zeros in any sector; a synced one is there."""
    old, new = b"a" * 100, b"b" * 1500
    write = Operation("write", "f", new, 100)
    found = {tree["f"][0] for tree in _states({"f": (old, 0o644)}, write) if tree["f"] is not None}
    whole = old + new
    assert {old, whole, whole[:512], whole[:1024], old + bytes(1500)} <= found
    assert whole[:512] + bytes(512) + whole[1024:] in found
    for content in found:
        for start in range(0, len(content), 512):
            part = content[start : start + 512]
            durable = (old[start : start + 512] + bytes(512))[: len(part)]
            assert part in (whole[start : start + len(part)], durable)
    assert _states({"f": (old, 0o644)}, write, Operation("sync", "f"))[0]["f"] == (whole, 0o644)


def test_the_model_keeps_renamings_whole() -> None:
    """After a renaming without sync_dir a file bears the old name or the new one, never both and never none."""
    tree: Tree = {"f": (b"old", 0o644), "f.tmp": (b"new", 0o644)}
    found = _states(tree, Operation("rename", "f.tmp", target="f"))
    assert tree in found
    assert {"f": (b"new", 0o644)} in found
    assert all(state in (tree, {"f": (b"new", 0o644)}) for state in found)


def test_the_model_loses_names_and_what_lies_behind_them() -> None:
    """A synced file in a directory whose own name was not synced may be gone."""
    made = (Operation("mkdir", "d"), Operation("create", "d/f", number=0o644), Operation("write", "d/f", b"x"))
    synced = (*made, Operation("sync", "d/f"), Operation("sync_dir", "d"))
    assert {} in _states({}, *synced)
    assert _states({}, *synced, Operation("sync_dir", ""))[0] == {"d": None, "d/f": (b"x", 0o644)}


def test_the_model_forgets_what_a_failed_sync_should_have_written() -> None:
    """After a failed sync a second sync makes nothing durable but what was written since."""
    lost = (Operation("write", "f", b"x" * 512), Operation("failed sync", "f"), Operation("sync", "f"))
    assert _states({"f": (b"", 0o644)}, *lost)[0]["f"] == (bytes(512), 0o644)
    again = (*lost, Operation("write", "f", b"x" * 512), Operation("sync", "f"))
    assert _states({"f": (b"", 0o644)}, *again)[0]["f"] == (b"x" * 512, 0o644)


def test_a_missing_sync_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check can fail: it finds that files, or directories, are never synced."""
    for method in ("sync", "sync_dir"):
        with monkeypatch.context() as patch:
            patch.setattr(RecordingDisk, method, _do_nothing)
            explorer = Explorer(seed=SEED)
            explorer.explore(SCENARIOS[0])
        assert explorer.failures, method


def _do_nothing(*_: int | Path) -> None:
    """Sync nothing."""
