"""The witness network holds what it promises in simulated time, and the simulation notices when it does not."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simulate import paper, readers, shrink
from simulate.__main__ import main
from simulate.checks import ViolationError, can_split
from simulate.plan import Action, Plan, make_plan
from simulate.witnesses import HonestWitness
from simulate.world import run
from tlog.errors import NotFoundError
from tlog.evidence import Evidence
from tlog.monitoring.claims import Claims
from tlog.monitoring.gossip import Shown
from tlog.monitoring.proving import EarlierRoots
from tlog.policy import Policy
from tlog.witnessing import collect, observer
from tlog.witnessing.observer import Observer
from tlog.witnessing.state import WitnessState

ROOT = Path(__file__).resolve().parents[2]
PARTS, SEEDS_A_PART = 4, 25
ENOUGH = 60
"""Seeds among which one must notice what was broken."""


@pytest.mark.parametrize("part", range(PARTS))
def test_a_hundred_seeds(part: int) -> None:
    """Whatever parties and networks do, no invariant breaks; and they do enough for it to mean something."""
    counts = Counter[str]()
    for seed in range(part * SEEDS_A_PART, (part + 1) * SEEDS_A_PART):
        counts += run(make_plan(seed))
    for what in (
        "checkpoints published",
        "trees accepted by clients",
        "forks begun",
        "forks that every honest party knew of after one round",
        "forks found by asking about earlier roots",
        "forks that witnesses heard of",
        "lies about earlier roots",
        "forged evidence that was refused",
        "answers 422 of honest witnesses",
        "witnesses started again",
    ):
        assert counts[what] > 0, what


def test_a_seed_is_one_run() -> None:
    """The same seed does the same, to the last count."""
    assert make_plan(7) == make_plan(7)
    assert run(make_plan(7)) == run(make_plan(7))
    assert run(make_plan(7)) != run(make_plan(8))


def _no_comparison(witness: Observer, request: Any, seen: Any) -> None:
    """A witness that cosigns whatever comes."""
    del witness, request, seen


def _any_state(state: WitnessState) -> tuple[bytes, int]:
    """A witness that starts from any state."""
    identity, written = state._db.execute("SELECT id, written FROM state").fetchone()
    return identity, written


def _no_quorum(policy: Policy, names: Sequence[str]) -> bool:
    """A policy that asks nobody."""
    del policy, names
    return True


def _nothing_found(own: Any, tree: Any, other: Any) -> Shown:
    """A monitor that does not compare."""
    del own, tree, other
    return Shown()


def _any_evidence(files: Collection[bytes], policy: Policy, origin: str) -> list[Evidence]:
    """A monitor that believes its peers."""
    del policy
    found = [Evidence.parse(file) for file in files]
    return [evidence for evidence in found if evidence.shown.origin == origin]


def _deaf(party: Any) -> None:
    """A monitor, or a witness, that asks nobody."""
    del party


def _asks_nothing(claims: Claims, pool: Any) -> list[Any]:
    """Somebody who waits until his own tree is as large."""
    del claims, pool
    return []


def _tells_nothing(roots: EarlierRoots, origin_hash: str, tree_size: int) -> bytes:
    """A party that does not tell how its tree stands."""
    raise NotFoundError(f"{roots} {origin_hash} {tree_size}")


def _always_larger(witness: Any, shown: Any, checkpoint: Any) -> None:
    """A log that takes every checkpoint that is shown to it for a rollback."""
    collect._require_not_larger(witness, shown, shown.tree_size - 1)
    del checkpoint


BROKEN: dict[str, tuple[Any, str, Callable[..., Any], str]] = {
    "a witness cosigns without comparing": (Observer, "_require_growth", _no_comparison, "witness"),
    "a witness starts from an old state": (WitnessState, "_require_whole", _any_state, "memory"),
    "a client asks for no quorum": (Policy, "is_quorum", _no_quorum, "tree"),
    "a monitor does not compare": (readers, "compare", _nothing_found, "found"),
    "a monitor does not gossip": (readers.Monitor, "gossip", _deaf, "found"),
    "a witness does not gossip": (HonestWitness, "gossip", _deaf, "found"),
    "nobody asks how larger trees stand": (Claims, "ask", _asks_nothing, "found"),
    "nobody tells how larger trees stand": (EarlierRoots, "answer", _tells_nothing, "found"),
    "a monitor believes evidence unverified": (readers, "proven", _any_evidence, "accused"),
    "a log believes each checkpoint to be larger": (collect, "_require_same_tree", _always_larger, "alarm"),
}


def first_violation() -> tuple[Plan, ViolationError]:
    """Return the first seed that breaks something, and what."""
    for seed in range(ENOUGH):
        plan = make_plan(seed)
        try:
            run(plan)
        except ViolationError as err:
            return plan, err
    pytest.fail("nothing was noticed")


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each invariant, broken on purpose in the code that keeps it, is found broken by a few seeds."""
    where, attribute, wrong, invariant = BROKEN[name]
    monkeypatch.setattr(where, attribute, wrong)
    assert first_violation()[1].invariant == invariant


def test_a_witness_whose_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of cosignatures is looked at as well: without what holds it, clocks that step back show."""
    monkeypatch.setattr(observer, "max", lambda now, _, least: now if now > 0 else least, raising=False)
    assert first_violation()[1].invariant == "witness"


def test_traces_are_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of a failing run breaks the same invariant, and leaving out any more does not."""
    monkeypatch.setattr(Observer, "_require_growth", _no_comparison)
    plan, err = first_violation()
    short = shrink.shrink(plan, err.invariant)
    assert 0 < len(short.actions) <= 6 < len(plan.actions)
    with pytest.raises(ViolationError, match=r"^witness: "):
        run(short)
    for left_out in short.actions:
        run(replace(short, actions=tuple(action for action in short.actions if action is not left_out)))


def test_assumption_of_policies() -> None:
    """Two clients can be shown two trees only if two quorums have nobody but liars in common."""
    names = ("w0", "w1", "w2")
    two, one, all_ = "group g 2 w0 w1 w2\nquorum g\n", "quorum w0\n", "group g all w0 w1 w2\nquorum g\n"
    nested = "group a any w0 w1\ngroup b all w2\ngroup g all a b\nquorum g\n"
    assert not can_split(two, two, frozenset(), names)
    assert can_split(two, two, frozenset({"w1"}), names)
    assert not can_split(one, one, frozenset({"w1", "w2"}), names)
    assert can_split(one, one, frozenset({"w0"}), names)
    assert can_split("group g any w0 w1\nquorum g\n", one, frozenset(), names)
    assert not can_split(all_, two, frozenset({"w1"}), names)
    assert can_split(all_, all_, frozenset(names), names)
    assert not can_split(nested, nested, frozenset({"w0", "w1"}), names)
    assert can_split(nested, nested, frozenset({"w2"}), names)


def test_actions_are_in_order() -> None:
    """A trace reads from top to bottom, and says who does what."""
    plan = make_plan(3)
    assert list(plan.actions) == sorted(plan.actions, key=lambda action: action.time)
    assert str(Action(12.5, "crash", "w1", 0)) == "   12.5 s  crash w1"
    assert "w0: " in plan.describe()


def test_the_command() -> None:
    """`python -m simulate` says what was done, and that nothing failed."""
    command = [sys.executable, "-m", "simulate", "--seeds", "2", "--first", "5"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "cosignatures of honest witnesses" in done.stdout
    assert "2 seeds in" in done.stdout
    assert "0 failed" in done.stdout


def test_a_failing_seed_says_how_to_run_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit status is 1, and the seed, its command and a short trace are printed."""
    monkeypatch.setattr(Observer, "_require_growth", _no_comparison)
    seed = first_violation()[0].seed
    monkeypatch.setattr(sys, "argv", ["simulate", "--seeds", "1", "--first", str(seed)])
    assert main() == 1
    shown = capsys.readouterr().out
    assert f"seed {seed}: witness: " in shown
    assert f"again: python -m simulate --seed {seed}\n" in shown
    assert len(re.findall(r"^ *[0-9.]+ s  ", shown, re.MULTILINE)) <= 6


def test_costs_on_paper() -> None:
    """Sizes are those of what the library makes, and the table follows from them."""
    measured = paper.measure()
    assert 45 * 20 > measured.request - measured.shown > 0
    assert measured.shown > 2 * measured.answer > 200
    assert measured.answer < measured.earlier < measured.evidence < 2000
    rows = dict(line.strip("| ").split(" | ", 1) for line in paper.table(measured).splitlines()[2:])
    assert rows["all logs and witnesses: requests a second"] == "15,000 | 250"
    assert rows["a witness: logs that ask it"] == "900 | 900"
