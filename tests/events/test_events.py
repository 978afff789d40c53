"""The envelope: what an event may hold, how it is stored, and what the errors say."""

from __future__ import annotations

import enum
import json
import math
import pickle
from typing import Any, cast

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tlog
from tests.events.strategies import events, fields
from tests.events.test_mapping import FULL
from tests.test_jsontext import values
from tlog.errors import FormatError
from tlog.events import OUTCOMES, SEVERITIES, Event, Failure, PolicyDecision

FIELDS = (
    "id", "time", "category", "action", "actor", "target", "outcome", "severity", "correlation_id", "message", "data",
    "error", "started", "ended", "latency_ms", "method", "input", "output", "provider", "model", "usage",
    "policy_decisions", "labels",
)  # fmt: skip
NAMES = ("action", "actor", "target", "category", "correlation_id", "method", "provider", "model")
TIMES = ("time", "started", "ended")
LEAST = {"id": "1", "time": "2026-11-21T09:00:00Z", "action": "b", "actor": "a", "outcome": "success"}

make: Any = Event
"""The constructor, for arguments that a type checker would refuse."""


class Level(enum.StrEnum):
    """A level as applications have it."""

    HIGH = "error"


def refusal(**change: Any) -> FormatError:
    """The error for an event with these fields, which is the same from the constructor and from the stored form."""
    with pytest.raises(FormatError) as made:
        make(**{**LEAST, **change})
    with pytest.raises(FormatError) as stored:
        Event.from_data({**LEAST, **change})
    assert str(made.value) == str(stored.value)
    return made.value


def test_fields_in_their_order() -> None:
    """The fields are these, in this order, in the stored form as well."""
    assert Event.__struct_fields__ == FIELDS
    assert tuple(FULL.to_data()) == FIELDS
    assert tlog.Event is Event


def test_three_fields_are_enough() -> None:
    """The id and the time are filled in; what is absent is left out."""
    event = Event(actor="a", action="b", outcome="success")
    assert list(event.to_data()) == ["id", "time", "action", "actor", "outcome"]
    assert len(event.id) == 36
    assert len(event.time) == len("2026-11-21T09:00:00.000000Z")
    assert Event(actor="a", action="b", outcome="success").id > event.id


@settings(max_examples=100, deadline=None)
@given(event=events)
def test_the_stored_form_is_the_event(event: Event) -> None:
    """Event to data to event, through JSON text as well, is the identical one; so are a pickle and a replacement."""
    data = event.to_data()
    text = orjson.dumps(data)
    assert Event.from_data(data) == event
    assert Event.from_json(text) == Event.from_json(text.decode()) == event
    assert orjson.dumps(Event.from_json(text).to_data()) == text
    assert pickle.loads(pickle.dumps(event)) == event  # noqa: S301 - made here
    assert msgspec.structs.replace(event, actor="z").to_data() == {**data, "actor": "z"}


def test_what_is_stored_in_a_partition_is_read_back(tmp_path: Any) -> None:
    """An entry's data is the event."""
    with tlog.Ledger.create(tmp_path / "ledger", origin="audit.example") as ledger:
        users = ledger.partition("users")
        receipt = users.append(FULL.to_data())
        assert Event.from_data(users.entry(receipt.seq).data) == FULL


@pytest.mark.parametrize("name", ["id", "time", "actor", "action", "outcome"])
def test_required_fields(name: str) -> None:
    """The stored form must have them; null counts as absent."""
    for data in ({k: v for k, v in LEAST.items() if k != name}, {**LEAST, name: None}):
        with pytest.raises(FormatError, match=rf"^data\.{name}: is missing; it must be ") as caught:
            Event.from_data(data)
        assert caught.value.what == f"data.{name}"


def test_null_is_absent() -> None:
    """A field of the stored form that is null is as one that is not there."""
    absent = {name: None for name in FIELDS if name not in LEAST}
    assert Event.from_data({**LEAST, **absent}) == Event.from_data(LEAST)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["", "x" * 1025, 1, True, ["x"], {}, "a\0", "\ud800"])
def test_names_are_text_of_limited_length(name: str, value: Any) -> None:
    """1 to 1,024 characters; no other types, no NUL, no lone surrogates."""
    assert refusal(**{name: value}).what == f"data.{name}"
    assert getattr(Event.from_data({**LEAST, name: "×" * 1024}), name) == "×" * 1024


@pytest.mark.parametrize("value", ["", "x" * 257, 7, None])
def test_ids(value: Any) -> None:
    """1 to 256 characters of text."""
    with pytest.raises(FormatError, match=r"^data\.id: "):
        Event.from_data({**LEAST, "id": value})
    assert Event.from_data({**LEAST, "id": "x" * 256}).id == "x" * 256


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize(
    "value",
    [
        "2026-11-21T09:00:00", "2026-11-21T09:00:00+00:00", "2026-11-21t09:00:00z", "2026-11-21 09:00:00Z",
        "2026-11-21T09:00:00.Z", "2026-11-21T09:00:00.1234567890Z", "2026-11-21T09:00:00,5Z", "2026-02-29T09:00:00Z",
        "2026-11-21T24:00:00Z", "2026-11-21T09:00:60Z", "0000-01-01T00:00:00Z", "2026-11-21", "20261121T090000Z",
        "2026-W47-6T09:00:00Z", " 2026-11-21T09:00:00Z", "2026-11-21T09:00:00Z\n", "٢026-11-21T09:00:00Z", "", 0, 1.5,
        "2026-11-21T09:00:00.000000+00:00Z",
    ],
)  # fmt: skip
def test_times_of_other_forms_are_refused(name: str, value: Any) -> None:
    """One spelling only, and only times that exist."""
    assert refusal(**{name: value}).what == f"data.{name}"


@pytest.mark.parametrize("value", ["2026-11-21T09:00:00Z", "2026-11-21T09:00:00.5Z", "2024-02-29T23:59:59.123456789Z"])
def test_times_keep_their_digits(value: str) -> None:
    """0 to 9 digits behind the point, kept as they are."""
    event = Event.from_data({**LEAST, "time": value, "started": value, "ended": value})
    assert (event.time, event.started, event.ended) == (value, value, value)


@pytest.mark.parametrize(
    ("name", "values_", "allowed"),
    [("outcome", OUTCOMES, "success, failure, unknown"), ("severity", SEVERITIES, "debug, info, notice, warning")],
)
def test_words(name: str, values_: tuple[str, ...], allowed: str) -> None:
    """The fields outcome and severity have their words, in lower case; the error gives them."""
    for value in values_:
        assert Event.from_data({**LEAST, name: value}).to_data()[name] == value
    for wrong in ("SUCCESS", "Info", "ok", "", 1, True, ["info"]):
        error = refusal(**{name: wrong})
        assert error.what == f"data.{name}"
        assert allowed in error.reason


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1, -0.5, True, "5", 2**64, [5], {}])
def test_latencies(value: Any) -> None:
    """A finite number of at least 0, and a bool is no number."""
    assert refusal(latency_ms=value).what == "data.latency_ms"
    kept = Event.from_data({**LEAST, "latency_ms": 5}).latency_ms
    assert type(kept) is int
    assert Event.from_data({**LEAST, "latency_ms": 0.0}).latency_ms == 0


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"message": 5}, "data.message"),
        ({"labels": {"a": 1}}, "data.labels.a"),
        ({"labels": {"a": "b", "c": None}}, "data.labels.c"),
        ({"labels": {1: "x"}}, "data.labels, key 1"),
        ({"labels": ["x"]}, "data.labels"),
        ({"usage": {"a": "1"}}, "data.usage.a"),
        ({"usage": {"a": True}}, "data.usage.a"),
        ({"usage": {"a": math.nan}}, "data.usage.a"),
        ({"usage": {"a": 2**64}}, "data.usage.a"),
        ({"usage": 5}, "data.usage"),
        ({"error": "text"}, "data.error"),
        ({"error": {"type": "a"}}, "data.error.message"),
        ({"error": {"message": "a"}}, "data.error.type"),
        ({"error": {"type": 1, "message": "a"}}, "data.error.type"),
        ({"error": {"type": "a", "message": "b", "stack": []}}, "data.error.stack"),
        ({"error": {"type": "a", "message": "b", "more": 1}}, "data.error.more"),
        ({"policy_decisions": {"policy": "a"}}, "data.policy_decisions"),
        ({"policy_decisions": [{"policy": "a"}]}, "data.policy_decisions[0].decision"),
        ({"policy_decisions": [{"policy": "a", "decision": "b"}, 5]}, "data.policy_decisions[1]"),
        ({"policy_decisions": [{"policy": "a", "decision": "b", "x": 1}]}, "data.policy_decisions[0].x"),
        ({"data": math.nan}, "data.data"),
        ({"data": {"a": [object()]}}, "data.data.a[0]"),
        ({"data": {1: 2}}, "data.data, key 1"),
        ({"input": b"bytes"}, "data.input"),
        ({"output": {"a": {1, 2}}}, "data.output.a"),
    ],
)
def test_errors_name_the_place(change: dict[str, Any], what: str) -> None:
    """Down to the key or the item, whoever gave the value."""
    error = refusal(**change)
    assert error.what == what
    assert error.reason


def test_unknown_fields_are_refused() -> None:
    """The error names the field and says where one's own things belong."""
    for name in ("user", "Actor", "x" * 500, ""):
        with pytest.raises(FormatError, match=r"is no field of an event; what is your own belongs into data\.data"):
            Event.from_data({**LEAST, name: 1})
    with pytest.raises(FormatError, match=r"^data\.5: "):
        Event.from_data(cast("Any", {5: 1, **LEAST}))
    with pytest.raises(TypeError, match="user"):
        make(**LEAST, user="x")


@pytest.mark.parametrize("value", [None, [], "text", 5, [LEAST]])
def test_what_is_no_object_is_refused(value: object) -> None:
    """An entry's data may be anything; an event is an object."""
    with pytest.raises(FormatError, match=r"^data: .* needed$"):
        Event.from_data(value)


def test_errors_are_short() -> None:
    """Values are cut short in errors."""
    for change in ({"actor": "x" * 10**6}, {"time": "9" * 10**6}, {"outcome": "y" * 10**6}, {"labels": "z" * 10**6}):
        assert len(str(refusal(**change))) < 400
    assert len(str(refusal(labels={"k" * 10**6: 1}))) < 400


def test_values_are_copied() -> None:
    """An event keeps what was given to it, whatever is done to that later; so does who asked for its stored form."""
    data = {"list": [1], "tuple": (1, {"a": 2})}
    labels = {"a": "b"}
    event = make(**LEAST, data=data, labels=labels)
    before = json.dumps(event.to_data())
    data["list"].append(2)  # type: ignore[attr-defined]
    labels["c"] = "d"
    event.to_data()["data"].clear()
    assert json.dumps(event.to_data()) == before
    assert event.data == {"list": [1], "tuple": [1, {"a": 2}]}


def test_values_become_plain_json() -> None:
    """Members of enums stand as their values, mappings of a failure as a Failure, tuples as lists."""
    event = make(
        **LEAST,
        severity=Level.HIGH,
        error={"type": "E", "message": "m"},
        policy_decisions=({"policy": "p", "decision": "allow"}, PolicyDecision("q", "deny")),
    )
    assert type(event.severity) is str
    assert event.error == Failure("E", "m")
    assert event.policy_decisions == [PolicyDecision("p", "allow"), PolicyDecision("q", "deny")]
    assert event == Event.from_data(event.to_data())


def test_events_do_not_change() -> None:
    """Setting a field is refused."""
    with pytest.raises(AttributeError, match="immutable"):
        FULL.actor = "mallory"  # type: ignore[misc]


def test_json_text_is_read_strictly() -> None:
    """Duplicate keys, other encodings and texts that can't be an entry's are refused."""
    text = json.dumps(LEAST)
    assert Event.from_json(text) == Event.from_data(LEAST)
    for wrong in (text[:-1], text[:-1] + ',"actor":"b"}', text.encode("utf-16"), "\ud800", "[]", "", text + "{}"):
        with pytest.raises(FormatError) as caught:
            Event.from_json(wrong)
        assert caught.value.what.startswith("data")
    with pytest.raises(FormatError, match="65,536 bytes given where an entry has at most 65,535"):
        Event.from_json(b" " * 65_536)


@settings(max_examples=100, deadline=None)
@given(data=st.dictionaries(st.sampled_from(FIELDS), values, max_size=6) | fields | values)
def test_anything_else_is_a_format_error(data: Any) -> None:
    """Whatever is stored, reading it gives an event that is stored the same way, or an error of tlog."""
    places = {True}
    for value in (data, {**LEAST, **data} if isinstance(data, dict) else data):
        try:
            event = Event.from_data(value)
        except FormatError as err:
            places.add(err.what.startswith("data"))
        else:
            assert event.to_data() == {name: item for name, item in value.items() if item is not None}
    assert places == {True}
