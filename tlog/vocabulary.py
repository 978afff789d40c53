"""Categories of events, and how long the events of each are to be kept.

A category belongs to a retention class, and a class says for how many days. Classes are declared only: nothing is
deleted by them, because a log that deletes is no evidence. They tell whoever archives or prunes what may go, and
auditors what was promised. Source: docs/events.md, "Categories and retention".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from tlog.errors import FormatError

FOREVER = "forever"
MAX_DAYS = 36_525

DEFAULT_RETENTION: Mapping[str, int | str] = {
    "operational": 90,
    "security": 365,  # PCI DSS 4.0, requirement 10.5.1: twelve months
    "compliance": 2557,  # seven years
    "permanent": FOREVER,
}
"""Days, or "forever", by retention class."""

DEFAULT_CATEGORIES: Mapping[str, str] = {
    "system": "operational",
    "service": "operational",
    "security": "security",
    "ai": "security",
    "user": "security",
    "config": "security",
    "error": "operational",
    "audit": "compliance",
    "revenue": "compliance",
}
"""Retention classes by category."""

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}", re.ASCII)


class _HasCategory(Protocol):
    @property
    def category(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Category:
    """name: of the category. retention: of its class. days: how long its events are to be kept; None is for ever."""

    name: str
    retention: str
    days: int | None


class Vocabulary:
    """The categories that events of a ledger may have, each with its retention class; a value, never changed.

    categories: retention class by category, beside or instead of the default ones. retention: days (1 to 36,525) or
    "forever" by class, likewise. Raises: FormatError naming `categories.<name>` or `retention.<name>`.
    """

    __slots__ = ("_categories",)

    def __init__(
        self,
        categories: Mapping[str, str] | None = None,
        retention: Mapping[str, int | str] | None = None,
    ) -> None:
        classes = {**DEFAULT_RETENTION, **(retention or {})}
        for name, days in classes.items():
            _check_name(name, "retention")
            if days != FOREVER and (type(days) is not int or not 1 <= days <= MAX_DAYS):
                raise FormatError(
                    f"retention.{name}",
                    f"{_shown(days)} is neither a number of days, 1 to {MAX_DAYS:,}, nor {FOREVER!r}",
                )
        self._categories: dict[str, Category] = {}
        for name, kind in {**DEFAULT_CATEGORIES, **(categories or {})}.items():
            _check_name(name, "categories")
            if type(cast("Any", kind)) is not str or kind not in classes:
                raise FormatError(
                    f"categories.{name}",
                    f"{_shown(kind)} is no retention class; there are {', '.join(classes)}; [retention] adds more",
                )
            days = classes[kind]
            self._categories[name] = Category(name, kind, days if isinstance(days, int) else None)

    def __iter__(self) -> Iterator[Category]:
        """Iterate over the categories, the default ones first."""
        return iter(self._categories.values())

    def __getitem__(self, name: str) -> Category:
        """Return the category with this name. Raises: FormatError naming `data.category`."""
        found = self._categories.get(name)
        if found is None:
            raise FormatError(
                "data.category",
                f"{name[:80]!r} is no category; there are {', '.join(self._categories)}; [categories] in tlog.toml "
                "adds more",
            )
        return found

    def check(self, event: _HasCategory) -> None:
        """Return if the event has no category, or one of these. Raises: FormatError naming `data.category`."""
        if event.category is not None:
            self[event.category]


def _shown(value: object) -> str:
    """A value of the configuration, cut short; only text and small numbers are sure to be quick to write."""
    is_small = isinstance(value, str) or (isinstance(value, int) and value.bit_length() <= 128)
    return repr(value)[:80] if is_small else f"a {type(value).__name__}"


def _check_name(name: object, table: str) -> None:
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise FormatError(
            f"{table}.{str(name)[:80]}",
            "is no name; use 1 to 64 characters of a-z, 0-9, '_' and '-', starting with a letter",
        )
