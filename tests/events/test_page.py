"""What docs/events.md says of fields, categories and mappings is what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.events.test_mapping import FORMS, FULL
from tlog.events import Event
from tlog.mapping.documents import get
from tlog.vocabulary import Vocabulary

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "events.md"
HEADINGS = {"cloudevents": "CloudEvents", "otel": "OpenTelemetry", "ocsf": "OCSF", "ecs": "Elastic Common Schema"}


def rows(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading."""
    section = re.split(rf"^#+ {heading}\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1]
    table = re.search(r"^\|[- |]+\|\n((?:\|.*\|\n)+)", section, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table[1].splitlines()]


def test_envelope() -> None:
    """The table has every field, in the order in which they are stored, and says which are required."""
    table = {row[0].strip("`"): row[1:] for row in rows("The envelope")}
    assert tuple(table) == Event.__struct_fields__
    required = {name for name, (value, meaning) in table.items() if "required" in value or "always stored" in meaning}
    assert required == {"id", "time", "action", "actor", "outcome"}


def test_categories() -> None:
    """The table has the usual categories with their classes and days."""
    found = [(row[0].strip("`"), row[1].strip("`"), int(row[2])) for row in rows("Categories and retention")]
    assert found == [(category.name, category.retention, category.days) for category in Vocabulary()]


@pytest.mark.parametrize("form", FORMS)
def test_mapping(form: str) -> None:
    """A field stands, in a document made of an event with all fields, where its row says; no field has no row."""
    document = FORMS[form][0](FULL)
    if form == "otel":
        document = {**document, **{item["key"]: item["value"] for item in document["attributes"]}}
    named = set()
    for row in rows(HEADINGS[form]):
        field = row[0].strip("`")
        named.add(field)
        places = re.findall(r"`([^`]+)`", row[1])
        assert places, field
        for place in places if field != "correlation_id" else places[:1]:
            assert field == "all others" or _find(document, place) is not None, (field, place)
    others = _others(form, document)
    assert named - {"all others"} | others == set(Event.__struct_fields__)
    assert not (named - {"error"}) & others


def _find(document: Any, place: str) -> Any:
    """What stands at a place; a place such as /tlog/<category> is a value."""
    if "<" in place:
        return place.replace("<category>", str(FULL.category)) in str(document) or None
    found = document.get(place)
    return get(document, place.split(".")) if found is None else found


def _others(form: str, document: Any) -> set[str]:
    """The fields in tlog's own place."""
    if form == "otel":
        return {key.removeprefix("tlog.") for key in document if key.startswith("tlog.")} - {"correlation_id"}
    path = {"cloudevents": ["data"], "ocsf": ["unmapped", "tlog"], "ecs": ["tlog"]}[form]
    return set(get(document, path))
