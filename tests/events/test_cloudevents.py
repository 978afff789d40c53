"""CloudEvents: the project's own SDK reads what we write, and the attributes are those of the specification."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given, settings

from tests.events.strategies import events
from tests.events.test_mapping import FULL, LEAST, documents
from tlog.errors import FormatError
from tlog.events import OUTCOMES, Event
from tlog.mapping.cloudevents import from_cloudevents, to_cloudevents

SDK = JSONFormat()


def read(document: dict[str, Any]) -> CloudEvent:
    """What the SDK makes of a document."""
    found = SDK.read(CloudEvent, json.dumps(document))
    assert isinstance(found, CloudEvent)
    return found


def test_the_sdk_reads_the_same_values() -> None:
    """Attributes and data of a written event are, for the SDK, those of the table."""
    found = read(to_cloudevents(FULL))
    assert (found.get_id(), found.get_type(), found.get_subject()) == ("e-1", "document.update", "doc/17")
    assert (found.get_specversion(), found.get_source()) == ("1.0", "/tlog/ai")
    assert found.get_time() == datetime(2026, 11, 21, 9, 0, 0, 123456, UTC)
    assert found.get_datacontenttype() == "application/json"
    assert (found.get_extension("authtype"), found.get_extension("authid")) == ("unknown", "agent-7")
    assert found.get_extension("correlationid") == FULL.correlation_id
    assert (found.get_extension("severitytext"), found.get_extension("severitynumber")) == ("WARNING", 13)
    rest = found.get_data()
    assert isinstance(rest, dict)
    assert rest["outcome"] == "failure"
    assert rest["data"] == FULL.data


@settings(max_examples=100, deadline=None)
@given(event=events)
def test_the_sdk_accepts_every_event(event: Event) -> None:
    """Whatever stands in an event, the SDK takes the document."""
    found = read(to_cloudevents(event))
    assert found.get_type()
    assert found.get_id()


def test_an_event_survives_the_sdk() -> None:
    """What the SDK writes again after reading it is the identical event."""
    assert from_cloudevents(json.loads(SDK.write(read(to_cloudevents(FULL))))) == FULL


@pytest.mark.parametrize("name", ["binary.json", "json.json", "least.json"])
def test_events_of_the_sdk_are_read(name: str) -> None:
    """An event made by the SDK has the same id, type, subject and time here."""
    found = read(dict(documents("cloudevents"))[name])
    event = from_cloudevents(json.loads(SDK.write(found)))
    assert (event.id, event.action, event.target) == (found.get_id(), found.get_type(), found.get_subject())
    time = found.get_time()
    expected = datetime(1970, 1, 1, tzinfo=UTC) if time is None else time
    assert datetime.fromisoformat(event.time) == expected


@settings(max_examples=50, deadline=None)
@given(event=events)
def test_attributes_are_of_the_types_of_the_specification(event: Event) -> None:
    """Names of 1 to 20 of a-z and 0-9; strings without control characters and noncharacters; non-empty ones."""
    for name, value in to_cloudevents(event).items():
        assert re.fullmatch("[a-z0-9]{1,20}", name)
        if name != "data":
            assert type(value) in (str, int)
            assert value != ""
            assert not any(_is_forbidden(ord(c)) for c in str(value))


def _is_forbidden(code: int) -> bool:
    return code <= 0x1F or 0x7F <= code <= 0x9F or 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"specversion": "0.3"}, "cloudevents.specversion"),
        ({"specversion": 1.0}, "cloudevents.specversion"),
        ({"id": None}, "cloudevents.id"),
        ({"id": ""}, "cloudevents.id"),
        ({"source": 5}, "cloudevents.source"),
        ({"type": None}, "cloudevents.type"),
        ({"Upper": "x"}, "cloudevents, attribute 'Upper'"),
        ({"under_score": "x"}, "cloudevents, attribute 'under_score'"),
        ({"nested": {}}, "cloudevents.nested"),
        ({"fraction": 0.5}, "cloudevents.fraction"),
    ],
)
def test_what_is_no_cloudevent_is_refused(change: dict[str, Any], named: str) -> None:
    """The error names the attribute."""
    with pytest.raises(FormatError) as caught:
        from_cloudevents({**LEAST["cloudevents"], **change})
    assert caught.value.what == named


def test_values_that_do_not_fit_an_event_are_only_kept() -> None:
    """Names and ids that are too long, times that are none: the event has defaults, the document has what it had."""
    document = {**LEAST["cloudevents"], "id": "i" * 300, "type": "t" * 2000, "subject": "", "time": "tomorrow"}
    event = from_cloudevents(document)
    assert (event.action, event.target, event.time) == ("unknown", None, "1970-01-01T00:00:00Z")
    assert re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", event.id)
    assert from_cloudevents(document).id == event.id != from_cloudevents({**document, "subject": "x"}).id
    assert to_cloudevents(event) == document


def test_the_outcome_is_not_guessed() -> None:
    """CloudEvents don't tell an outcome."""
    assert {from_cloudevents(document).outcome for _, document in documents("cloudevents")} == {"unknown"}
    assert "unknown" in OUTCOMES
