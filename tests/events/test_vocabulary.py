"""Categories and retention classes, and their configuration in tlog.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tlog
from tlog import events
from tlog.errors import FormatError
from tlog.events import Event
from tlog.ledger import Config
from tlog.vocabulary import DEFAULT_CATEGORIES, DEFAULT_RETENTION, Category, Vocabulary

ORIGIN = b'origin = "audit.example"\n'


def event(category: str | None) -> Event:
    """An event of a category."""
    return Event(actor="a", action="b", outcome="success", category=category)


def test_usual_categories() -> None:
    """There are nine, each with a class and its days."""
    assert events.Vocabulary is Vocabulary
    found = {category.name: category for category in Vocabulary()}
    assert list(found) == ["system", "service", "security", "ai", "user", "config", "error", "audit", "revenue"]
    assert found["audit"] == Category("audit", "compliance", 2557)
    assert all(found[name].days == DEFAULT_RETENTION[kind] for name, kind in DEFAULT_CATEGORIES.items())


def test_check() -> None:
    """Events without a category or with a known one pass; the error names the known ones and where to add more."""
    vocabulary = Vocabulary({"payments": "compliance"})
    for name in (None, "audit", "payments"):
        vocabulary.check(event(name))
    for name in ("Audit", "audit ", "audits", "x" * 1000):
        with pytest.raises(FormatError, match=r"is no category; there are system, .*, payments; \[categories\]") as err:
            vocabulary.check(event(name))
        assert err.value.what == "data.category"
        assert len(str(err.value)) < 400


def test_classes_of_ones_own() -> None:
    """Categories and classes can be added, and the usual ones changed."""
    vocabulary = Vocabulary({"payments": "tax", "user": "permanent"}, {"tax": 3653, "security": 730, "hold": "forever"})
    assert vocabulary["payments"] == Category("payments", "tax", 3653)
    assert vocabulary["user"] == Category("user", "permanent", None)
    assert vocabulary["ai"].days == 730
    assert vocabulary["audit"].days == 2557


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("categories = 5", "categories"),
        ('categories = ["a"]', "categories"),
        ("retention = true", "retention"),
        ("[categories]\na = 5", "categories.a"),
        ("[categories]\na = []", "categories.a"),
        ('[categories]\na = "none"', "categories.a"),
        ('[categories]\nA = "security"', "categories.A"),
        ('[categories]\n"" = "security"', "categories."),
        ('[categories]\n"a\\nb" = "security"', "categories.a\nb"),
        (f'[categories]\n{"a" * 65} = "security"', f"categories.{'a' * 65}"),
        ('[categories.a]\nb = "security"', "categories.a"),
        ("[retention]\nx = 0", "retention.x"),
        ("[retention]\nx = -1", "retention.x"),
        ("[retention]\nx = 36526", "retention.x"),
        ("[retention]\nx = 1.5", "retention.x"),
        ("[retention]\nx = true", "retention.x"),
        ('[retention]\nx = "ever"', "retention.x"),
        ("[retention]\nx = 2026-11-21", "retention.x"),
        (f"[retention]\nx = 0x{'f' * 8000}", "retention.x"),
        (f"[retention]\nx = [0x{'f' * 8000}]", "retention.x"),
        ("[retention]\nX = 5", "retention.X"),
    ],
)
def test_wrong_configurations(text: str, what: str) -> None:
    """The error names the file and the key, and is short."""
    with pytest.raises(FormatError) as caught:
        Config.parse(ORIGIN + text.encode(), "tlog.toml")
    assert caught.value.what == f"tlog.toml, {what}"
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[categories]\n",
        '[categories]\npayments = "compliance"\n[retention]\n',
        '[retention]\ntax = 3653\nhold = "forever"\n[categories]\npayments = "tax"\nlegal-case = "hold"\n',
    ],
)
def test_what_is_written_is_read_again(text: str) -> None:
    """Parsing what `format` gives is the same configuration."""
    config = Config.parse(ORIGIN + text.encode(), "tlog.toml")
    assert Config.parse(config.format(), "tlog.toml") == config


def test_a_ledger_has_its_vocabulary(tmp_path: Path) -> None:
    """What stands in tlog.toml is what the opened ledger checks events with."""
    path = tmp_path / "ledger"
    tlog.Ledger.create(path, origin="audit.example").close()
    with (path / "tlog.toml").open("a") as file:
        file.write('\n[categories]\npayments = "tax"\n\n[retention]\ntax = 3653\n')
    with tlog.Ledger.open(path) as ledger:
        vocabulary = ledger.config.vocabulary()
    assert vocabulary["payments"] == Category("payments", "tax", 3653)
    vocabulary.check(event("payments"))


@pytest.mark.parametrize("days", [1, 36_525, "forever"])
def test_limits_of_days(days: Any) -> None:
    """One day to a hundred years, or for ever."""
    assert Vocabulary({"x": "y"}, {"y": days})["x"].days == (None if days == "forever" else days)
