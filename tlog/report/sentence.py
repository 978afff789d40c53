"""What an entry says, as a sentence for people: who did what, to what, and how it ended.

An entry may hold any JSON. Where it is no event, the sentence says so instead of guessing. The words between the values
are this module's own, so whoever shows the sentence can tell them from what strangers wrote.
"""

from __future__ import annotations

from typing import Any, NamedTuple

MAX_VALUE = 200
"""Characters of a value in the sentence."""

_ENDINGS = {"success": ", which succeeded", "failure": ", which failed", "unknown": "; how it ended is not known"}
_KINDS = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}


class Part(NamedTuple):
    """A part of a sentence. text: as it stands. is_value: whether the entry's writer wrote it."""

    text: str
    is_value: bool = False


def sentence(data: Any) -> tuple[Part, ...]:
    """Return the sentence about an entry's `data`; the parts together are the whole text. It ends with a full stop.

    Values are cut to 200 characters. Nothing in them is made safe to look at: see `tlog.report.shown`.
    """
    if not isinstance(data, dict):
        kind = _KINDS.get(type(data), "null")
        return (Part(f"This entry is no event with an actor and an action: its data is {kind}."),)
    actor, action, target = (_text(data.get(name)) for name in ("actor", "action", "target"))
    if actor is None and action is None:
        return (Part("This entry names neither an actor nor an action; what it holds stands below."),)
    parts = [Part("Somebody unnamed") if actor is None else Part(actor, is_value=True)]
    parts += [Part(" did "), Part("something unnamed") if action is None else Part(action, is_value=True)]
    if target is not None:
        parts += [Part(" to "), Part(target, is_value=True)]
    outcome = data.get("outcome")
    ending = _ENDINGS.get(outcome, "") if isinstance(outcome, str) else ""
    return (*parts, Part(f"{ending}."))


def _text(value: Any) -> str | None:
    """Return a value as the sentence has it, None where it is none: absent, empty, or no string."""
    if not isinstance(value, str) or not value:
        return None
    return value if len(value) <= MAX_VALUE else f"{value[:MAX_VALUE]}…"
