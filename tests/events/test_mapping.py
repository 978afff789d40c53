"""What holds for all four mappings: nothing is lost in either direction, whatever stands in an event or a document."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.events.strategies import events, fields
from tests.test_jsontext import values
from tlog.errors import FormatError
from tlog.events import Event, Failure, PolicyDecision
from tlog.jsontext import encode_json
from tlog.mapping import cloudevents, ecs, ocsf, otel
from tlog.mapping import documents as documents_module
from tlog.mapping.cloudevents import from_cloudevents, to_cloudevents
from tlog.mapping.documents import is_same
from tlog.mapping.ecs import from_ecs, to_ecs
from tlog.mapping.ocsf import from_ocsf, to_ocsf
from tlog.mapping.otel import from_otel, to_otel

FORMS: dict[str, tuple[Callable[[Event], dict[str, Any]], Callable[[object], Event]]] = {
    "cloudevents": (to_cloudevents, from_cloudevents),
    "otel": (to_otel, from_otel),
    "ocsf": (to_ocsf, from_ocsf),
    "ecs": (to_ecs, from_ecs),
}
MODULES: dict[str, Any] = {"cloudevents": cloudevents, "otel": otel, "ocsf": ocsf, "ecs": ecs}
LEAST: dict[str, dict[str, Any]] = {
    "cloudevents": {"specversion": "1.0", "id": "1", "source": "/x", "type": "t"},
    "otel": {"body": {"stringValue": "x"}},
    "ocsf": {"class_uid": 3002, "time": 0},
    "ecs": {"@timestamp": "2026-11-21T09:00:00Z"},
}
"""A document of others of each form, as short as they come."""

FILES = Path(__file__).resolve().parent.parent.parent / "testdata" / "events"
FULL = Event(
    id="e-1",
    time="2026-11-21T09:00:00.123456Z",
    category="ai",
    action="document.update",
    actor="agent-7",
    target="doc/17",
    outcome="failure",
    severity="warning",
    correlation_id="5b8efff798038103d269b633813fc60c",
    message="The model refused.",
    data={"page": 3, "ratio": 0.5, "tags": ["a", None, True]},
    error=Failure("Refusal", "unsafe", "line 1\nline 2"),
    started="2026-11-21T09:00:00Z",
    ended="2026-11-21T09:00:00.123Z",
    latency_ms=123.456,
    method="tools/call",
    input={"prompt": "hello"},
    output=["no"],
    provider="example",
    model="large-1",
    usage={"input_tokens": 12, "cost": 0.25},
    policy_decisions=[PolicyDecision("limits", "deny", "too long")],
    labels={"team": "blue"},
)
"""An event with every field."""

every_form = pytest.mark.parametrize("form", FORMS)


def documents(form: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The documents of a form in testdata/events, each with its file's name."""
    for path in sorted((FILES / form).glob("*.json")):
        yield path.name, json.loads(path.read_bytes())


def check_document(form: str, document: dict[str, Any]) -> Event:
    """The event for a document, which gives the document back: same values, same types, same order of keys."""
    to, back = FORMS[form]
    event = back(document)
    assert encode_json(to(event)) == encode_json(document)
    return event


@every_form
@settings(max_examples=100, deadline=None)
@given(event=events)
def test_every_event_comes_back(form: str, event: Event) -> None:
    """Event to document to event is the identical event, through JSON text as well."""
    to, back = FORMS[form]
    document = to(event)
    assert is_same(back(document).to_data(), event.to_data())
    assert back(json.loads(json.dumps(document, sort_keys=True))) == event


@every_form
def test_an_event_with_every_field_comes_back(form: str) -> None:
    """No field is forgotten."""
    assert all(getattr(FULL, name) is not None for name in Event.__struct_fields__)
    to, back = FORMS[form]
    assert back(to(FULL)) == FULL


@every_form
@pytest.mark.parametrize("depth", [20, 60, 100, 124, 126, 127])
def test_events_nested_as_deep_as_allowed_come_back(form: str, depth: int) -> None:
    """Where the form can't nest as deep as the event does, a text takes it."""
    to, back = FORMS[form]
    value: Any = 1
    for _ in range(depth):
        value = [value]
    event = Event(actor="a", action="b", outcome="success", data=value)
    assert back(to(event)) == event


@every_form
def test_an_event_that_looks_as_if_it_kept_a_document_comes_back(form: str) -> None:
    """Data of the shape in which documents are kept: forged, changed, of a document written here, or kept twice."""
    to, back = FORMS[form]
    kept = back(LEAST[form])
    written = to(FULL)
    for event in (
        kept,
        Event.from_data({**kept.to_data(), "actor": "mallory"}),
        Event.from_data({**kept.to_data(), "message": "added"}),
        Event.from_data({**kept.to_data(), "data": {**kept.data, "more": 1}}),
        documents_module._adopted(MODULES[form]._FORM, written),
        Event.from_data({**FULL.to_data(), "data": {form: written}}),
        Event.from_data({**FULL.to_data(), "data": {form: to(kept)}}),
        Event.from_data({**FULL.to_data(), "data": {form: None}}),
        Event.from_data({**FULL.to_data(), "data": {form: {}}}),
        Event.from_data({**kept.to_data(), "data": {form: kept.to_data()}}),
    ):
        assert back(to(event)) == event


@every_form
def test_a_document_that_keeps_itself_inside_comes_back(form: str) -> None:
    """A document that spells an event that keeps a document, as deep as it goes, is told from the document it keeps."""
    to, back = FORMS[form]
    document = LEAST[form]
    for _ in range(6):
        kept = back(document)
        forged = to(Event.from_data({**kept.to_data(), "actor": "x"}))
        for twisted in (document, forged, _with_fields(forged, kept)):
            assert is_same(to(back(twisted)), twisted)
        document = forged


def _with_fields(document: dict[str, Any], event: Event) -> dict[str, Any]:
    """The document with the actor of an event wherever an actor stands."""
    text = json.dumps(document).replace(json.dumps("x"), json.dumps(event.actor))
    found: dict[str, Any] = json.loads(text)
    return found


@every_form
@settings(max_examples=40, deadline=None)
@given(
    added=st.dictionaries(st.text("abz019", min_size=1, max_size=5), values | fields, max_size=3), seed=st.integers()
)
def test_every_document_that_is_accepted_comes_back(form: str, added: dict[str, Any], seed: int) -> None:
    """Documents of others with more or other values than they ought to have: the same again, or FormatError."""
    to, back = FORMS[form]
    choose = random.Random(seed)
    for document in ({**LEAST[form], **added}, _changed(to(FULL), choose), _changed(LEAST[form], choose)):
        try:
            event = back(document)
        except FormatError:
            continue
        assert encode_json(to(event)) == encode_json(document) or is_same(to(event), document)


def _changed(document: Any, choose: random.Random) -> Any:
    """A copy with one value somewhere changed, or one key left out."""
    other: Any = choose.choice([None, True, 0, 1.0, -5, 2**63, "", "x", "\n", [], {}, [{}], {"a": [1]}, "1" * 2000])
    if isinstance(document, dict) and document and choose.random() < 0.9:
        key = choose.choice(sorted(document))
        if choose.random() < 0.1:
            return {name: value for name, value in document.items() if name != key}
        return {**document, key: _changed(document[key], choose)}
    if isinstance(document, list) and document and choose.random() < 0.9:
        place = choose.randrange(len(document))
        return [*document[:place], _changed(document[place], choose), *document[place + 1 :]]
    return other


@every_form
def test_the_order_of_keys_does_not_make_a_document_somebody_elses(form: str) -> None:
    """A document written here that a database gave back with sorted keys still is the event itself."""
    to, back = FORMS[form]
    assert back(json.loads(json.dumps(to(FULL), sort_keys=True))) == FULL


@every_form
def test_example_documents_come_back(form: str) -> None:
    """Every document in testdata/events becomes an event, and the identical document again."""
    found = list(documents(form))
    assert len(found) >= 2
    for name, document in found:
        event = check_document(form, document)
        assert event.data == {form: document}, name


@every_form
@pytest.mark.parametrize(
    "document", [None, [], "text", 1, {"a": float("nan")}, {1: 2}, {"a": object()}, {"a": "\0"}, {"a": 2**64}]
)
def test_what_is_no_json_object_is_refused(form: str, document: object) -> None:
    """The error names the form."""
    with pytest.raises(FormatError, match=f"^{form}"):
        FORMS[form][1](document)


@every_form
def test_a_document_is_not_changed_and_not_shared(form: str) -> None:
    """What was given stays as it was, and changing it later changes no event."""
    to, back = FORMS[form]
    document = json.loads(json.dumps(LEAST[form]))
    event = back(document)
    assert document == LEAST[form]
    document.clear()
    assert to(event) == LEAST[form]
    to(event).clear()
    assert to(event) == LEAST[form]


@every_form
def test_a_document_nested_too_deep_is_refused(form: str) -> None:
    """An event can't keep it; the error says so."""
    value: Any = 1
    for _ in range(127):
        value = [value]
    with pytest.raises(FormatError, match="nested deeper than 128"):
        FORMS[form][1]({**LEAST[form], ("data" if form == "cloudevents" else "x"): value})
