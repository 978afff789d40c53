"""Recording calls: one event for each, with its start, end, latency and outcome, written when it ends.

However a call ends, the event is written: when it returns, raises, is cancelled, or ends the program by SystemExit or
KeyboardInterrupt. What it raises is raised again. Within a call, everything that is recorded has its correlation id;
a call inside of another one shares that of the outer one.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, cast

import orjson

from tlog.context import correlated, correlation_id
from tlog.events import OUTCOMES, Event, uuid7
from tlog.receipt import Receipt
from tlog.recording import capture

P = ParamSpec("P")
R = TypeVar("R")

ExcInfo = (
    bool
    | BaseException
    | tuple[type[BaseException], BaseException, TracebackType | None]
    | tuple[None, None, None]
    | None
)

_GIVEN = (
    "id", "category", "action", "actor", "target", "severity", "correlation_id", "message", "data", "method", "input",
    "output", "provider", "model", "usage",
)  # fmt: skip


@dataclass(slots=True, kw_only=True, eq=False)
class Record:
    """What will be recorded of a call; its attributes may be set until the call ends, as fields of an event.

    Whatever is set is recorded: what does not fit its field goes to `data`, and what JSON cannot carry becomes its
    repr, as in `capture`. outcome: of a call that returns, success unless set; of one that raises, failure.
    severity: info, or error for a failure, unless set. receipt: where the event lies in the log, None before it does.
    """

    action: str
    actor: str
    category: str | None = None
    target: str | None = None
    outcome: str | None = None
    severity: str | None = None
    correlation_id: str | None = None
    message: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    method: str | None = None
    input: Any = None
    output: Any = None
    provider: str | None = None
    model: str | None = None
    usage: dict[str, int | float] | None = None
    policy_decisions: list[dict[str, str]] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    id: str = field(default_factory=uuid7)
    receipt: Receipt | None = field(default=None, init=False)

    def checked(self) -> Event:
        """Return the event that this is up to now. Raises: FormatError naming the field."""
        names = (name for name in Record.__slots__ if name != "receipt")
        given: dict[str, Any] = {name: value for name in names if (value := getattr(self, name)) is not None}
        return Event(**{"outcome": "unknown", **given})

    def decide(self, policy: str, decision: str, reason: str | None = None) -> None:
        """Add to `policy_decisions` what a policy has decided about the call, e.g. `allow` or `deny`, and why."""
        self.policy_decisions.append(
            {"policy": policy, "decision": decision} | ({} if reason is None else {"reason": reason})
        )


class Recording:
    """A context manager around one call. It is used once."""

    def __init__(self, record: Record, write: Callable[[bytes], Receipt], log: capture.Fields) -> None:
        """write: appends the JSON text of an event and returns when it is durable. log: recorded as `data.log`."""
        self.record = record
        # These are checked; what is set later may not fit.
        self._named: capture.Fields = {"id": record.id, "action": record.action, "actor": record.actor}
        self._write = write
        self._log = log
        self._began: tuple[float, float] | None = None
        self._scope: AbstractContextManager[str] | None = None

    def __enter__(self) -> Record:
        """Begin: what is recorded from now on in this thread or task has the record's correlation id."""
        record = self.begin()
        self._scope = correlated(record.correlation_id)
        self._scope.__enter__()
        return record

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the event. Raises: as `Partition.append`; what the call has raised is then the error's context."""
        if self._scope is None:
            raise AssertionError("a recording ends that did not begin")
        with contextlib.suppress(ValueError):  # a generator may be closed in a context that never was in the scope
            self._scope.__exit__(None, None, None)
        self.finish(error)

    def begin(self) -> Record:
        """Begin without a scope; `finish` must follow. Raises: RuntimeError where it began before."""
        if self._began is not None:
            raise RuntimeError("a recording records one call; make another one for the next")
        with correlated(self.record.correlation_id) as value:
            self.record.correlation_id = self._named["correlation_id"] = value
        self._began = (time.time(), time.perf_counter())
        return self.record

    def finish(self, error: BaseException | None) -> None:
        """Write the event. error: what the call has raised, None where it returned."""
        self.record.receipt = self._write(capture.fit(self._event(error)))

    def keep_input(self, values: Mapping[str, Any]) -> None:
        """Record these arguments as they are now, whatever the call does to them."""
        text = capture.fit(capture.compose({}, [("input", dict(values))], {}))
        kept = orjson.loads(text)
        self.record.input = kept.get("input")
        notes = kept.get("data", {}).get("log", {}).get("notes", [])
        if notes:
            self._log["input_notes"] = notes

    def _event(self, error: BaseException | None) -> capture.Fields:
        if self._began is None:
            raise AssertionError("a recording ends that did not begin")
        record = self.record
        started, began = self._began
        latency = max(time.perf_counter() - began, 0.0)
        is_closed = isinstance(error, GeneratorExit)  # whoever consumed a generator wanted no more of it
        outcome = "success" if error is None else "unknown" if is_closed else "failure"
        given = [(name, getattr(record, name)) for name in _GIVEN]
        given += [("policy_decisions", record.policy_decisions or None), ("labels", record.labels or None)]
        if error is None or is_closed:
            given.append(("outcome", record.outcome))
            outcome = record.outcome if record.outcome in OUTCOMES else outcome
        ours: capture.Fields = {
            **self._named,
            "time": capture.rfc3339(started),
            "outcome": outcome,
            "severity": "error" if outcome == "failure" else "info",
            "started": capture.rfc3339(started),
            "ended": capture.rfc3339(started + latency),
            "latency_ms": round(latency * 1000, 3),
        }
        if error is not None and not is_closed:
            ours["error"] = capture.error_of(type(error), error, error.__traceback__)
        return capture.compose(ours, given, dict(self._log))


def recorded(
    start: Callable[[tuple[Any, ...], dict[str, Any]], Recording], names: tuple[str, ...] = ()
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that records each call of a function.

    start: returns what records a call with these arguments. names: of the parameters whose values are recorded.
    Of a coroutine function, a call ends when what it returns was awaited; of a generator function, when the generator
    is exhausted or closed, and one that is never begun is no call. What a generator's consumer does between two items
    is not in the scope of the call. Raises, where it decorates: ValueError for a name that is no parameter.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        called = cast("Callable[..., Any]", function)
        signature = inspect.signature(function)
        for name in names:
            if name not in signature.parameters:
                raise ValueError(f"{name!r} is no parameter of {called.__qualname__}{signature}")

        def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Recording:
            made = start(args, kwargs)
            if names:
                made.keep_input(_chosen(signature, names, args, kwargs))
            return made

        return cast("Callable[P, R]", functools.wraps(function)(_wrapper(called, begin)))

    return decorate


def _wrapper(
    function: Callable[..., Any], begin: Callable[[tuple[Any, ...], dict[str, Any]], Recording]
) -> Callable[..., Any]:
    """Return a function of the same kind that records. begin: returns what records one call."""
    if inspect.iscoroutinefunction(function):

        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            with begin(args, kwargs):
                return await function(*args, **kwargs)

        return coroutine
    if inspect.isgeneratorfunction(function):

        def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            return (yield from _generate(begin(args, kwargs), function(*args, **kwargs)))

        return generator
    if inspect.isasyncgenfunction(function):
        return _async_wrapper(function, begin)

    def plain(*args: Any, **kwargs: Any) -> Any:
        with begin(args, kwargs):
            return function(*args, **kwargs)

    return plain


class _Steps:
    """The scope of a generator: entered for each of its steps, as its last step has left it."""

    def __init__(self, correlation: str | None) -> None:
        self._correlation = correlation

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        with correlated(self._correlation):
            try:
                yield
            finally:
                self._correlation = correlation_id()


def _generate(recording: Recording, generator: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Run a generator and record it as one call. Source: PEP 380, what `yield from` does."""
    steps = _Steps(recording.begin().correlation_id)
    resume: Callable[[Any], Any] = generator.send
    value: Any = None
    try:
        while True:
            try:
                with steps.step():
                    item = resume(value)
            except StopIteration as stop:
                result = stop.value
                break
            try:
                value = yield item
                resume = generator.send
            except GeneratorExit:
                with steps.step():
                    generator.close()
                raise
            except BaseException as err:  # noqa: BLE001 - whatever the consumer throws is for the generator
                resume, value = generator.throw, err
    except BaseException as err:
        recording.finish(err)
        raise
    recording.finish(None)
    return result


def _async_wrapper(
    function: Callable[..., AsyncGenerator[Any, Any]], begin: Callable[[tuple[Any, ...], dict[str, Any]], Recording]
) -> Callable[..., AsyncGenerator[Any, Any]]:
    """The same for asynchronous generators, to which nothing like `yield from` can delegate. Source: PEP 525."""

    async def generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        recording, made = begin(args, kwargs), function(*args, **kwargs)
        steps = _Steps(recording.begin().correlation_id)
        resume: Callable[[Any], Any] = made.asend
        value: Any = None
        try:
            while True:
                try:
                    with steps.step():
                        item = await resume(value)
                except StopAsyncIteration:
                    break
                try:
                    value = yield item
                    resume = made.asend
                except GeneratorExit:
                    with steps.step():
                        await made.aclose()
                    raise
                except BaseException as err:  # noqa: BLE001 - as above
                    resume, value = made.athrow, err
        except BaseException as err:
            recording.finish(err)
            raise
        recording.finish(None)

    return generator


def _chosen(
    signature: inspect.Signature, names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Return the values of some parameters in a call; none where the call does not fit, which Python will say."""
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return {}
    bound.apply_defaults()
    return {name: bound.arguments[name] for name in names}


def exception_of(error: object, exc_info: ExcInfo) -> BaseException | None:
    """Return the exception that a caller has given, as `error` or as what `logging` takes as `exc_info`."""
    if isinstance(error, BaseException):
        return error
    if isinstance(exc_info, BaseException):
        return exc_info
    found = exc_info if isinstance(exc_info, tuple) else sys.exc_info() if exc_info else (None, None, None)
    return found[1]
