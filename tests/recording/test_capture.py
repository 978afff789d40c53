from __future__ import annotations

import datetime as dt
import decimal
import enum
import sys
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlog.context import (
    MAX_CORRELATION_ID,
    accepted_correlation_id,
    correlated,
    correlation_id,
    nested,
    new_correlation_id,
)
from tlog.events import Event, uuid7
from tlog.jsontext import parse_json
from tlog.recording import capture


class Unprintable:
    """A value whose own code fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


class Colour(enum.IntEnum):
    """A number with a name."""

    RED = 1


def kept(*given: tuple[str, Any], **ours: Any) -> Event:
    """The event that is made of some fields, read back from its text, which must fit into an entry."""
    base = {"id": uuid7(), "time": capture.rfc3339(1.5), "action": "log", "actor": "root", "outcome": "unknown"}
    text = capture.fit(capture.compose(base | ours, given, {"logger": "app"}))
    assert len(text) <= capture.ROOM
    return Event.from_data(parse_json(text))


def test_what_fits_stays_as_it_is() -> None:
    """Fields of the envelope go to the envelope, others to data, and nothing is noted."""
    event = kept(("actor", "alice"), ("target", "doc/1"), ("size", 3), ("usage", {"tokens": 2}), ("correlation_id", 42))
    assert (event.actor, event.target, event.usage, event.correlation_id) == ("alice", "doc/1", {"tokens": 2}, "42")
    assert event.data == {"size": 3, "log": {"logger": "app"}}
    assert kept(("actor", None), ("data", {"a": 1})).data == {"a": 1, "log": {"logger": "app"}}
    assert kept(("id", "order-7")).id == "order-7"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("actor", ["alice"]), ("actor", ""), ("actor", True), ("outcome", "ok"), ("severity", "WARN"), ("time", "now"),
        ("started", "2026-13-01T00:00:00Z"), ("latency_ms", -1), ("latency_ms", float("nan")), ("labels", {"a": 1}),
        ("error", {"type": "x"}), ("policy_decisions", [{}]), ("usage", {"a": "b"}), ("message", 7),
    ],
)  # fmt: skip
def test_what_does_not_fit_its_field_goes_to_data(name: str, value: Any) -> None:
    """A value that the envelope has no place for is kept in data, and a note says so."""
    event = kept((name, value))
    assert name in event.data
    assert any(name in note for note in event.data["log"]["notes"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({1, }, "{1}"), (b"\xff", "b'\\xff'"), (float("inf"), "inf"), (2**64, str(2**64)), (1j, "1j"),
        (decimal.Decimal("1.5"), "Decimal('1.5')"), (dt.date(2026, 1, 2), "datetime.date(2026, 1, 2)"),
        ("a\0b\ud800", "a\\x00b\\ud800"), ({1: {"x": object}}, {"1": {"x": "<class 'object'>"}}),
        (Unprintable(), "<Unprintable that cannot be shown>"), ((1, [None, True]), [1, [None, True]]),
        (Colour.RED, 1), (uuid.UUID(int=1), str(uuid.UUID(int=1))),
    ],
)  # fmt: skip
def test_what_json_cannot_carry_becomes_its_repr(value: Any, expected: Any) -> None:
    """Values that are no JSON are shown as their repr; plain ones beside them stay."""
    assert kept(("value", value), ("plain", [1, "x"])).data["value"] == expected


def test_a_repr_is_noted() -> None:
    """A note names the place and the type."""
    event = kept(("user", {"groups": {1}}))
    assert event.data["log"]["notes"] == ["data.user.groups: a set, as its repr"]


def test_the_applications_own_log_field_is_kept() -> None:
    """What the application calls `log` does not replace ours."""
    event = kept(("log", "mine"))
    assert (event.data["log_"], event.data["log"]["logger"]) == ("mine", "app")


@pytest.mark.parametrize("size", [50_000, 70_000, 3_000_000])
@pytest.mark.parametrize("text", ["x", "\x01", "\N{GRINNING FACE}"])
def test_what_is_too_large_is_cut_with_a_note(size: int, text: str) -> None:
    """However large message and data are, the event fits into an entry, and says what is missing."""
    event = kept(("body", text * size), ("rows", list(range(size))), message=text * size)
    assert event.message is not None
    assert event.message.startswith(text * 128)
    assert "[cut: " in event.message
    assert any("of" in note and "characters" in note for note in event.data["log"]["notes"])


def test_endless_values_end() -> None:
    """What contains itself, once or in many places, is cut off."""
    loop: list[Any] = []
    loop.extend([loop] * 10)
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    for value in (loop, deep, {"a": deep}):
        assert "log" in kept(("value", value)).data


def test_large_envelope_fields_are_left_out() -> None:
    """An envelope can be too large, too: what explains it is left out, who did what is not."""
    big = {f"k{n}": "x" * 1000 for n in range(100)}
    long = "\x01" * 1024
    names = ("actor", "target", "action", "category", "correlation_id", "method", "provider", "model")
    fields = [("labels", big), ("input", big), ("output", "y" * 100_000), *((name, long) for name in names)]
    event = kept(*fields, error={"type": "E", "message": "m" * 90_000, "stack": "s" * 90_000})
    assert (event.actor, event.target) == (long, long)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.builds(object),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
    max_leaves=8,
)


@given(st.lists(st.tuples(st.sampled_from([*Event.__struct_fields__, "log", "other"]), values), max_size=6))
def test_every_event_is_valid(given: list[tuple[str, Any]]) -> None:
    """Whatever values the fields are given, a valid event comes out."""
    kept(*given)


def test_hostile_names_in_notes() -> None:
    """A name of a field that JSON cannot carry is cleaned in the notes about it too."""
    event = kept(("data", {"a\0b": object(), "\ud800": 2**80}))
    notes = event.to_data()["data"]["log"]["notes"]
    assert len(notes) >= 2
    assert not any("\0" in note or "\ud800" in note for note in notes)


def test_times() -> None:
    """Times are UTC with microseconds, and valid in events."""
    assert capture.rfc3339(0) == "1970-01-01T00:00:00.000000Z"
    assert capture.rfc3339(1_795_251_600.25) == "2026-11-21T09:00:00.250000Z"


def test_errors_whose_code_fails() -> None:
    """An exception that cannot be shown is recorded nevertheless."""

    class BadError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    try:
        raise BadError
    except BadError:
        kind, error, trace = sys.exc_info()
    assert kind is not None
    found = capture.error_of(kind, error, trace)
    assert "BadError" in found["type"]
    assert found["message"] == "<BadError that cannot be shown>"
    assert "test_capture.py" in found["stack"]
    assert capture.error_of_text("Traceback\nKeyError: 'x'\n")["type"] == "KeyError"


def test_correlation_ids_nest() -> None:
    """Scopes inside scopes have their own ids, and the outer one's is back afterwards."""
    assert correlation_id() is None
    with correlated("request-1") as outer:
        assert correlation_id() == outer == "request-1"
        with correlated() as same:
            assert same == outer
        with nested("charge") as inner, nested() as innermost:
            assert inner == "request-1/charge"
            assert innermost.startswith("request-1/charge/")
        with correlated("other"):
            assert correlation_id() == "other"
        assert correlation_id() == outer
    assert correlation_id() is None
    with nested("job") as alone:
        assert alone.endswith("/job")
    with correlated("x" * MAX_CORRELATION_ID), nested() as unchanged:
        assert unchanged == "x" * MAX_CORRELATION_ID
    for bad in ("", "x" * (MAX_CORRELATION_ID + 1)):
        with pytest.raises(ValueError, match="1 to 1024"), correlated(bad):
            pass


def test_foreign_correlation_ids_are_checked() -> None:
    """An id from outside is bounded, and has no characters that could forge anything."""
    for good in ("a", "4bf92f3577b34da6a3ce929d0e0e4736", "Root=1-67891233-abcdef012345678912345678", "x" * 128):
        assert accepted_correlation_id(good) == good
    for bad in (None, "", "x" * 129, "a b", "a\nb", "-a", "é", "a\0", "a,b", "a;b", "<a>"):
        assert accepted_correlation_id(bad) is None
    assert accepted_correlation_id(new_correlation_id()) is not None


def test_process_user_is_a_name() -> None:
    """The default actor is there, and valid."""
    assert kept(("actor", capture.process_user())).actor == capture.process_user()


def test_serially_ends() -> None:
    """What an action leads to is done after it; what that leads to is given up, and counted."""
    serially, done, given_up = capture.Serially(), list[int](), list[int]()

    def act(number: int) -> None:
        done.append(number)
        given_up.append(serially.do(act, number + 1))

    assert serially.do(act, 1) == 0
    assert (done, given_up) == ([1, 2], [0, 1])
    assert serially.do(done.append, 5) == 0
    assert done[-1] == 5
