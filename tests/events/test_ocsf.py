"""OCSF: what we write has the attributes, types and numbers that the published schema asks for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from tests.events.facts import OCSF_BASE, OCSF_CLASSES, OCSF_OBJECTS, OCSF_REQUIRED, OCSF_SEVERITY, OCSF_STATUS
from tests.events.strategies import events
from tests.events.test_mapping import FULL, LEAST, documents
from tlog.errors import FormatError
from tlog.events import OUTCOMES, SEVERITIES, Event
from tlog.mapping.ocsf import from_ocsf, to_ocsf


def problems(document: dict[str, Any]) -> list[str]:
    """What the schema objects to in a document of class 6003 or 3002; attributes beyond our table are objected to."""
    kind = OCSF_CLASSES[document["class_uid"]]
    attributes = OCSF_BASE | kind["attributes"]
    found = _object_problems(
        "", document, {**kind, "attributes": attributes, "required": OCSF_REQUIRED | kind["required"]}
    )
    expected = {
        "category_uid": kind["category"][0],
        "category_name": kind["category"][1],
        "class_name": kind["name"],
        "type_uid": document["class_uid"] * 100 + document["activity_id"],
        "severity": OCSF_SEVERITY.get(document["severity_id"], "no such number"),
        "status": OCSF_STATUS.get(document["status_id"], "no such number"),
    }
    if document["activity_id"] != 99:
        expected["activity_name"] = kind["activities"].get(document["activity_id"], "no such number")
    return found + [name for name, value in expected.items() if document[name] != value]


def _object_problems(path: str, value: Any, facts: dict[str, Any]) -> list[str]:
    if type(value) is not dict:
        return [f"{path} is no object"]
    found = [f"{path}{name} is missing" for name in facts["required"] - value.keys()]
    if facts["at_least_one"] and not facts["at_least_one"] & value.keys():
        found.append(f"{path} has none of {facts['at_least_one']}")
    for name, item in value.items():
        wanted = facts["attributes"].get(name)
        if isinstance(wanted, str):
            found += _object_problems(f"{path}{name}.", item, OCSF_OBJECTS[wanted])
        elif isinstance(wanted, list):
            for inner in item:
                found += _object_problems(f"{path}{name}.", inner, OCSF_OBJECTS[wanted[0]])
        elif wanted is None or type(item) is not wanted:
            found.append(f"{path}{name} is {type(item).__name__}, not {wanted}")
    return found


@settings(max_examples=100, deadline=None)
@given(event=events)
def test_every_event_is_valid(event: Event) -> None:
    """Required attributes, types, numbers and their captions, whatever stands in the event."""
    assert problems(to_ocsf(event)) == []


@pytest.mark.parametrize("severity", [None, *SEVERITIES])
@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("action", ["login", "user.logout", "create", "a.read", "set", "x/delete", "other"])
def test_all_numbers(severity: Any, outcome: Any, action: str) -> None:
    """Every severity, outcome and kind of action gives numbers that the schema knows."""
    event = Event(actor="a", action=action, outcome=outcome, severity=severity)
    assert problems(to_ocsf(event)) == []
    assert from_ocsf(to_ocsf(event)) == event


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"time": "2026"}, "time is str"),
        ({"severity_id": 7}, "severity"),
        ({"activity_id": 9}, "type_uid"),
        ({"actor": {}}, "actor. has none of"),
        ({"api": {}}, "api.operation is missing"),
        ({"extra": 1}, "extra is int"),
        ({"metadata": {"version": "1.6.0"}}, "metadata.product is missing"),
    ],
)
def test_a_document_that_is_not_valid_is_found_out(change: dict[str, Any], problem: str) -> None:
    """The check above can fail."""
    assert any(found.startswith(problem) for found in problems({**to_ocsf(FULL), **change}))


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("login", (3002, 1)),
        ("user.sign.in.signin", (3002, 1)),
        ("session/LOGOUT", (3002, 2)),
        ("document.create", (6003, 1)),
        ("get", (6003, 2)),
        ("role:updated", (6003, 3)),
        ("file-removed", (6003, 4)),
        ("login.page", (6003, 99)),
        ("×", (6003, 99)),
    ],
)
def test_classes_and_activities(action: str, expected: tuple[int, int]) -> None:
    """The last word of an action tells class and activity."""
    document = to_ocsf(Event(actor="a", action=action, outcome="success"))
    assert (document["class_uid"], document["activity_id"]) == expected


def test_fields_of_both_classes() -> None:
    """Actor, action and target stand where each class has them."""
    document = to_ocsf(FULL)
    assert (document["actor"], document["api"]) == ({"user": {"name": "agent-7"}}, {"operation": "document.update"})
    assert (document["resources"], document["time"]) == ([{"name": "doc/17"}], 1795251600123)
    login = to_ocsf(Event.from_data({**FULL.to_data(), "action": "login"}))
    assert (login["user"], login["service"]) == ({"name": "agent-7"}, {"name": "doc/17"})
    assert login["metadata"]["event_code"] == "login"


def test_documents_of_others() -> None:
    """The fields of the documents in testdata are found where the schema has them."""
    found = {name: from_ocsf(document) for name, document in documents("ocsf")}
    event = found["api-activity.json"]
    assert (event.id, event.actor, event.action, event.target) == ("ev-1", "alice", "DeleteBucket", "invoices")
    assert (event.outcome, event.severity, event.message) == ("failure", "error", "Denied")
    event = found["authentication.json"]
    assert (event.actor, event.target, event.time) == ("alice", "sso.example", "2026-03-01T12:00:00.123000Z")
    assert found["microseconds.json"].time == "2026-03-01T12:00:00.123456Z"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"class_uid": 4001}, "ocsf.class_uid"),
        ({"class_uid": "3002"}, "ocsf.class_uid"),
        ({"class_uid": 3002.0}, "ocsf.class_uid"),
        ({"class_uid": []}, "ocsf.class_uid"),
        ({"time": "2026-03-01T12:00:00Z"}, "ocsf.time"),
        ({"time": True}, "ocsf.time"),
    ],
)
def test_other_classes_and_times_are_refused(change: dict[str, Any], named: str) -> None:
    """The error names the attribute."""
    with pytest.raises(FormatError) as caught:
        from_ocsf({**LEAST["ocsf"], **change})
    assert caught.value.what == named
