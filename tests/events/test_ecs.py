"""The Elastic Common Schema: what we write has the fields, types and values of the published list."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings

from tests.events.facts import ECS_FIELDS, ECS_KINDS, ECS_OUTCOMES, ECS_TYPES_OF
from tests.events.strategies import events
from tests.events.test_mapping import FULL, LEAST, documents
from tlog.errors import FormatError
from tlog.events import Event
from tlog.mapping.ecs import from_ecs, to_ecs


def leaves(document: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """The fields of a document, each with its name in dots."""
    for name, value in document.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{name}.")
        else:
            yield path + name, value


def problems(document: dict[str, Any]) -> list[str]:
    """What the field list objects to; our own field set and labels, which are free, are left out."""
    fields = dict(leaves({name: value for name, value in document.items() if name not in {"tlog", "labels"}}))
    found = [f"{name} is no field" for name in fields.keys() - ECS_FIELDS.keys()]
    found += [name for name, value in fields.items() if name in ECS_FIELDS and not _fits(value, ECS_FIELDS[name])]
    (category,) = fields.get("event.category", [None])
    if not set(fields["event.type"]) <= ECS_TYPES_OF.get(category, set()):
        found.append("event.type")
    if fields["event.kind"] not in ECS_KINDS or fields["event.outcome"] not in ECS_OUTCOMES:
        found.append("event.kind or event.outcome")
    labels = document.get("labels", {})
    return found + [key for key, value in labels.items() if "." in key or type(value) is not str]


def _fits(value: Any, kind: str) -> bool:
    if kind == "date":
        return type(value) is str and datetime.fromisoformat(value).tzinfo is not None
    if kind == "long":
        return type(value) is int and 0 <= value < 2**63
    if kind == "keyword array":
        return type(value) is list and all(type(item) is str for item in value)
    return type(value) is str


@settings(max_examples=100, deadline=None)
@given(event=events)
def test_every_event_is_valid(event: Event) -> None:
    """Every field outside of our own set is in the list, of its type, with a value that is allowed."""
    assert problems(to_ecs(event)) == []


@pytest.mark.parametrize("category", [None, "user", "config", "security"])
@pytest.mark.parametrize("action", ["login", "logout", "create", "read", "update", "delete", "other"])
def test_categories_and_types(category: str | None, action: str) -> None:
    """event.type has what is expected for event.category."""
    event = Event(actor="a", action=action, outcome="success", category=category)
    assert problems(to_ecs(event)) == []
    assert from_ecs(to_ecs(event)) == event


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"@timestamp": 5},
        {"labels": {"a.b": "c"}},
        {"event": {**to_ecs(FULL)["event"], "kind": "other"}},
        {"event": {**to_ecs(FULL)["event"], "category": ["iam"], "type": ["start"]}},
        {"event": {**to_ecs(FULL)["event"], "duration": 0.5}},
    ],
)
def test_a_document_that_is_not_valid_is_found_out(change: dict[str, Any]) -> None:
    """The check above can fail."""
    assert problems({**to_ecs(FULL), **change}) != []


def test_fields() -> None:
    """The fields of an event stand where the table has them."""
    found = dict(leaves(to_ecs(FULL)))
    assert found["@timestamp"] == FULL.time
    assert (found["event.id"], found["event.action"], found["event.outcome"]) == ("e-1", "document.update", "failure")
    assert (found["user.name"], found["entity.target.name"]) == ("agent-7", "doc/17")
    assert (found["event.duration"], found["event.dataset"]) == (123456000, "tlog.ai")
    assert (found["error.stack_trace"], found["trace.id"]) == ("line 1\nline 2", FULL.correlation_id)
    assert set(to_ecs(FULL)["tlog"]) == {"data", "method", "input", "output", "usage", "policy_decisions"}


@pytest.mark.parametrize(("latency", "duration"), [(0, 0), (5, 5000000), (0.5, 500000), (1e-7, 0), (5.0, 5000000)])
def test_durations(latency: float, duration: int) -> None:
    """Milliseconds become whole nanoseconds; what is lost by it, or is spelled otherwise, stands in our own field."""
    event = Event(actor="a", action="b", outcome="success", latency_ms=latency)
    document = to_ecs(event)
    assert document["event"]["duration"] == duration
    assert ("tlog" in document) == (latency in {1e-7, 5.0} and type(latency) is float)
    assert type(from_ecs(document).latency_ms) is type(latency)


def test_dotted_and_nested_names_are_read_alike() -> None:
    """Dots in names make levels; the document is kept as it came."""
    nested = {"@timestamp": "2026-03-01T12:00:00Z", "event": {"action": "x", "id": "1"}, "user": {"name": "u"}}
    dotted = {"@timestamp": "2026-03-01T12:00:00Z", "event.action": "x", "event": {"id": "1"}, "user.name": "u"}
    one, other = from_ecs(nested), from_ecs(dotted)
    assert (one.action, one.actor, one.id, one.time) == (other.action, other.actor, other.id, other.time)
    assert (to_ecs(one), to_ecs(other)) == (nested, dotted)
    assert from_ecs({**dotted, "event.action.x": 1, "user.name": 5}).actor == "unknown"


def test_names_with_very_many_dots() -> None:
    """They are kept and not looked at: no error but FormatError, and no time lost."""
    deep = ".".join("a" * 30_000)
    inner: dict[str, Any] = {"x": 1}
    for _ in range(40):
        inner = {".".join("b" * 31): inner, "b": dict(inner)} if len(str(inner)) < 2000 else {"b." * 31 + "b": inner}
    document = {**LEAST["ecs"], f"{deep}.x": 1, f"{deep}.y": 2, "n": inner, "n.b": {"b": {}}}
    assert to_ecs(from_ecs(document)) == document


@pytest.mark.parametrize("labels", [{}, {"a.b": "c"}, {"": "x"}])
def test_labels_that_would_be_read_as_something_else(labels: dict[str, str]) -> None:
    """Dots in keys would make levels, and of nothing nothing is indexed: such labels stand in our own field set."""
    event = Event(actor="a", action="b", outcome="success", labels=labels)
    document = to_ecs(event)
    assert "labels" not in document
    assert document["tlog"] == {"labels": labels}
    assert from_ecs(document) == event


def test_documents_of_others() -> None:
    """The fields of the documents in testdata are found."""
    found = {name: from_ecs(document) for name, document in documents("ecs")}
    event = found["nested.json"]
    assert (event.id, event.actor, event.action, event.outcome) == ("ev-9", "alice", "ssh_login", "failure")
    assert (event.severity, event.latency_ms, event.started) == ("warning", 1.5, "2026-03-01T11:59:59Z")
    event = found["dotted.json"]
    assert (event.actor, event.target, event.time) == ("bob", "/etc/passwd", "2026-03-01T11:00:00Z")
    assert found["epoch.json"].time == "2026-03-01T12:00:00.123000Z"


@pytest.mark.parametrize("value", [None, "yesterday", 0.5, True, 2**62, [], "2026-02-30T00:00:00Z"])
def test_a_document_without_a_time_is_refused(value: Any) -> None:
    """The error names @timestamp."""
    with pytest.raises(FormatError) as caught:
        from_ecs({"message": "x", "@timestamp": value})
    assert caught.value.what == "ecs.@timestamp"
