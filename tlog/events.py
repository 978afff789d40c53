"""The native envelope of audit events: what happened, who did it, to what, and how it ended.

An event is a value. `to_data` gives what is stored as an entry's `data`; `from_data` and `from_json` give it back:

    event = Event(actor="alice", action="document.delete", outcome="success", target="doc/17")
    partition.append(event.to_data())
    event == Event.from_data(partition.entry(0).data)

Every Event is valid: what is wrong is refused when it is made, and it keeps copies of what it was given. Errors name
fields as they stand in the entry, e.g. `data.outcome`. Source: docs/events.md, "The envelope".
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, cast, get_args

import msgspec

from tlog.bundle import MAX_ENTRY_SIZE
from tlog.errors import FormatError
from tlog.jsontext import encode_json, parse_json
from tlog.vocabulary import Vocabulary as Vocabulary  # noqa: PLC0414 - public here, too

MAX_NAME_LENGTH = 1024
MAX_ID_LENGTH = 256

Outcome = Literal["success", "failure", "unknown"]
Severity = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]

OUTCOMES: tuple[str, ...] = get_args(Outcome)
SEVERITIES: tuple[str, ...] = get_args(Severity)
"""The names of RFC 5424 section 6.2.1, the least severe first."""

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_LENGTH)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_LENGTH)]
_Time = Annotated[str, msgspec.Meta(max_length=30)]
_Duration = Annotated[int, msgspec.Meta(ge=0)] | Annotated[float, msgspec.Meta(ge=0)]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z", re.ASCII)
_PLACE = re.compile(r"(?:(.*) - at )?(`key` in )?`\$(.*)`", re.DOTALL)
_FIELD = re.compile(r"Object (contains unknown|missing required) field `(.*)`", re.DOTALL)

_TEXT = f"text of 1 to {MAX_NAME_LENGTH:,} characters"
_NEEDED = {
    "id": f"text of 1 to {MAX_ID_LENGTH} characters",
    "time": "a UTC time such as 2026-11-21T09:00:00.000000Z",
    "started": "a UTC time such as 2026-11-21T09:00:00.000000Z",
    "ended": "a UTC time such as 2026-11-21T09:00:00.000000Z",
    "outcome": f"one of {', '.join(OUTCOMES)}",
    "severity": f"one of {', '.join(SEVERITIES)}",
    "message": "text",
    "error": "an object with the texts type, message and, where there is one, stack",
    "latency_ms": "a finite number of at least 0",
    "usage": "an object of text to number",
    "policy_decisions": "a list of objects with the texts policy, decision and, where there is one, reason",
    "labels": "an object of text to text",
}


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An event's `error`. type: e.g. an exception's class. message: what it said. stack: its trace, as text."""

    type: str
    message: str
    stack: str | None = None


class PolicyDecision(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a policy decided about an action. policy: its name. decision: e.g. allow, deny. reason: why, as text."""

    policy: str
    decision: str
    reason: str | None = None


class UUID7Source:
    """Makes UUIDs of version 7 that only grow, for any number of threads, and in a forked process others than before.

    48 bits of Unix milliseconds, a counter of 42 bits that begins anywhere in its lower half at each millisecond, and
    32 random bits. A clock that steps back is held. Source: RFC 9562 sections 5.7 and 6.2 (method 1).
    """

    def __init__(self) -> None:
        self._last = 0
        # Re-entrant: a signal handler may log an event while its thread is in here.
        self._mutex = threading.RLock()
        os.register_at_fork(after_in_child=self._begin_anew)

    def _begin_anew(self) -> None:
        self._last = 0
        self._mutex = threading.RLock()

    def make(self) -> str:
        """Return a UUID that is greater than all that this source made in this process."""
        random = int.from_bytes(os.urandom(10))
        now = time.time_ns() // 1_000_000 << 42 | random >> 39
        with self._mutex:
            # A counter that is full runs over into the milliseconds, as the RFC allows.
            self._last = now = now if now >> 42 > self._last >> 42 else self._last + 1
        count = now & (1 << 42) - 1
        value = (now >> 42) << 80 | 0x7 << 76 | (count >> 30) << 64 | 0b10 << 62 | (count & (1 << 30) - 1) << 32
        digits = f"{value | random & 0xFFFFFFFF:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


uuid7 = UUID7Source().make
"""Return a new UUIDv7 as text of 36 characters; see `UUID7Source`. Cost: about a microsecond."""


def now() -> str:
    """Return the present time as events have it: RFC 3339 in UTC with microseconds."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


class _Fields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    id: _Id = msgspec.field(default_factory=uuid7)
    time: _Time = msgspec.field(default_factory=now)
    category: _Name | None = None
    action: _Name
    actor: _Name
    target: _Name | None = None
    outcome: Outcome
    severity: Severity | None = None
    correlation_id: _Name | None = None
    message: str | None = None
    data: Any = None
    error: Failure | None = None
    started: _Time | None = None
    ended: _Time | None = None
    latency_ms: _Duration | None = None
    method: _Name | None = None
    input: Any = None
    output: Any = None
    provider: _Name | None = None
    model: _Name | None = None
    usage: dict[str, int | float] | None = None
    policy_decisions: list[PolicyDecision] | None = None
    labels: dict[str, str] | None = None


class Event(_Fields, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One audit event; a field that is None is absent.

    id: 1 to 256 characters, a new UUIDv7 unless given. time: when it happened, RFC 3339 in UTC with `Z` and at most 9
    fractional digits, now unless given. category: see `Vocabulary`. action: what was done, e.g. "user.login". actor,
    target: who did it, to what. outcome: success, failure or unknown. severity: a name of `SEVERITIES`.
    correlation_id: what events of one request share. message: for people. data: any JSON value. error: a `Failure`, or
    a mapping of its fields.

    For calls of services, agents and language models: started, ended: times as `time`. latency_ms: milliseconds.
    method: e.g. "tools/call". input, output: any JSON value. provider, model: who computed it. usage: e.g. tokens, text
    to number. policy_decisions: `PolicyDecision`s, or mappings of their fields. labels: text to text.

    actor, target, action, category, correlation_id, method, provider, model: 1 to 1,024 characters.
    Raises: FormatError naming the field. Cost: some microseconds, growing with the event's size.
    """

    def __post_init__(self) -> None:
        given: dict[str, Any] = {name: value for name in _NAMES if (value := getattr(self, name)) is not None}
        if self.error is not None or self.policy_decisions is not None:
            given = {name: _plain(value) if name in _STRUCTS else value for name, value in given.items()}
        text = encode_json(given)
        try:
            fields = _DECODER.decode(text)
        except msgspec.ValidationError as err:
            raise _refusal(str(err), given) from err
        for name, value in given.items():
            if type(value) is not str:  # text stands for itself; all else could be changed by who gave it
                msgspec.structs.force_setattr(self, name, getattr(fields, name))
        _check_time(self.time, "time")
        if self.started is not None:
            _check_time(self.started, "started")
        if self.ended is not None:
            _check_time(self.ended, "ended")

    def to_data(self) -> dict[str, Any]:
        """Return the stored form: a dict of its own with plain JSON values, absent fields left out."""
        return cast("dict[str, Any]", msgspec.to_builtins(self))

    @classmethod
    def from_data(cls, value: object) -> Event:
        """Return the event whose stored form is `value`, such as an entry's `data`. A field that is null is absent.

        Raises: FormatError naming the field that is missing, unknown or wrong.
        """
        if type(value) is not dict:
            raise FormatError("data", f"{type(value).__name__} given where an event, a JSON object, is needed")
        if not value.keys() <= _NAME_SET:
            name = next(name for name in value if name not in _NAME_SET)
            raise FormatError(
                f"data.{_cut(str(name))}", "is no field of an event; what is your own belongs into data.data"
            )
        for name in ("id", "time", "actor", "action", "outcome"):
            if value.get(name) is None:
                raise FormatError(f"data.{name}", f"is missing; it must be {_NEEDED.get(name, _TEXT)}")
        return cls(**value)

    @classmethod
    def from_json(cls, text: bytes | str) -> Event:
        """Return the event whose stored form is spelled by JSON text of at most 65,535 bytes. Raises: FormatError."""
        raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        if len(raw) > MAX_ENTRY_SIZE:
            raise FormatError("data", f"{len(raw):,} bytes given where an entry has at most {MAX_ENTRY_SIZE:,}")
        return cls.from_data(parse_json(raw))


_NAMES = Event.__struct_fields__
_NAME_SET = frozenset(_NAMES)
_STRUCTS = frozenset({"error", "policy_decisions"})
_DECODER = msgspec.json.Decoder(_Fields)


def _plain(value: Any) -> Any:
    """A Failure, or a sequence of PolicyDecisions, as JSON values; anything else as it is."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) if isinstance(item, PolicyDecision) else item for item in value]
    return msgspec.to_builtins(value) if isinstance(value, (Failure, PolicyDecision)) else value


def _check_time(text: str, name: str) -> None:
    if _TIME.fullmatch(text) is not None:
        try:
            datetime.fromisoformat(text)
        except ValueError as err:
            raise FormatError(f"data.{name}", f"{text!r} is no time that exists; give {_NEEDED[name]}") from err
    else:
        raise FormatError(f"data.{name}", f"{_cut(repr(text))} given where {_NEEDED[name]} is needed")


def _refusal(message: str, given: Mapping[str, Any]) -> FormatError:
    """The error for what msgspec said, such as "Expected `str`, got `int` - at `$.error.type`"."""
    match = _PLACE.fullmatch(message)
    reason, path = (message, "") if match is None else (match[1] or "", match[3])
    name = re.split(r"[.\[]", path)[1] if path else ""
    needed = _NEEDED.get(name, _TEXT)
    field = _FIELD.fullmatch(reason)
    if field is not None:
        is_unknown = field[1] == "contains unknown"
        return FormatError(
            f"data{path}.{_cut(field[2])}", f"is {'no field' if is_unknown else 'missing'}; give {needed}"
        )
    value: Any = given.get(name)
    if path.endswith("[...]"):  # msgspec doesn't tell the key
        kinds = (str,) if name == "labels" else (int, float)
        path, value = next((f".{name}.{_cut(key)}", v) for key, v in value.items() if type(v) not in kinds)
    elif path != f".{name}":
        return FormatError(f"data{path}", f"{reason}; give {needed}")
    return FormatError(f"data{path}", f"{_cut(repr(value))} given where {needed} is needed")


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
