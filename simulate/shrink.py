"""Making a failing run short: leaving out actions as long as the same invariant still breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from simulate.checks import ViolationError
from simulate.plan import Action, Plan
from simulate.world import run


def shrink(plan: Plan, invariant: str, *, runs: int = 400) -> Plan:
    """Return a shorter plan that breaks the same invariant; not the shortest one. runs: how many may be tried."""
    actions, left = plan.actions, runs
    width = max(len(actions) // 2, 1)
    while left > 0:
        shorter, left = _without_chunks(actions, width, left, lambda kept: _breaks(plan, kept, invariant))
        if width == 1 and shorter == actions:
            break
        actions, width = shorter, max(width // 2, 1)
    return replace(plan, actions=actions)


def _without_chunks(
    actions: tuple[Action, ...], width: int, left: int, breaks: Callable[[tuple[Action, ...]], bool]
) -> tuple[tuple[Action, ...], int]:
    """Return the actions without the chunks of a width that can be spared, and how many runs are left."""
    end = len(actions)
    while end > 0 and left > 0:
        kept = actions[: max(end - width, 0)] + actions[end:]
        left -= 1
        if breaks(kept):
            actions = kept
        end -= width
    return actions, left


def _breaks(plan: Plan, actions: tuple[Action, ...], invariant: str) -> bool:
    try:
        run(replace(plan, actions=actions))
    except ViolationError as err:
        return err.invariant == invariant
    return False
