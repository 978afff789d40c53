from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

import tlog
from tests.auditlog.test_auditlog import event_of, make
from tests.ledgers import FaultyDisk
from tlog.context import correlated, correlation_id
from tlog.index.fields import parse_time


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[tlog.AuditLog]:
    """A new log."""
    with make(tmp_path, actor="tester") as made:
        yield made


def events(trail: tlog.AuditLog) -> list[tlog.Event]:
    """Return all events, each of which must be a valid one."""
    return [tlog.Event.from_data(entry.data) for entry in trail.partition.entries()] if trail.partition.exists else []


def test_a_call_that_returns(trail: tlog.AuditLog) -> None:
    """One event, written at the end, with start, end, latency, outcome, and a receipt."""
    with trail.recording("report.export", actor="bob", target="report/7", category="user", metadata={"n": 1}) as record:
        assert not trail.partition.exists
        before = record.receipt
    (event,) = events(trail)
    assert before is None
    assert record.receipt == tlog.Receipt(0, trail.partition.entry(0).hash)
    assert (event.id, event.action, event.actor, event.target) == (record.id, "report.export", "bob", "report/7")
    assert (event.category, event.outcome, event.severity, event.error) == ("user", "success", "info", None)
    assert event.data["n"] == 1
    assert event.data["log"].keys() == {"host", "process"}
    assert event.started is not None
    assert event.ended is not None
    assert event.latency_ms is not None
    assert event.time == event.started
    took = (parse_time(event.ended) or 0) - (parse_time(event.started) or 0)
    assert abs(took / 1e6 - event.latency_ms) < 0.01
    assert event.correlation_id == record.correlation_id
    assert correlation_id() is None


@pytest.mark.parametrize("error", [LookupError("lost"), KeyboardInterrupt(), SystemExit(2), asyncio.CancelledError()])
def test_a_call_that_does_not_return(trail: tlog.AuditLog, error: BaseException) -> None:
    """It is recorded as a failure with type, message and stack, and the very exception is raised again."""
    with pytest.raises(type(error)) as caught, trail.recording("x"):
        raise error
    assert caught.value is error
    event = event_of(trail)
    assert (event.outcome, event.severity) == ("failure", "error")
    assert event.error is not None
    assert event.error.type == (
        "asyncio.exceptions.CancelledError" if type(error) is asyncio.CancelledError else type(error).__name__
    )
    assert event.error.message == str(error)
    assert "test_recording.py" in (event.error.stack or "")


def test_what_may_be_set(trail: tlog.AuditLog) -> None:
    """All that agents and language models do: input, output, usage, model, provider, policy decisions."""
    with trail.recording("llm.complete", category="ai", method="chat", provider="acme", labels={"team": "x"}) as record:
        record.model = "m-1"
        record.input = [{"role": "user", "content": "hello"}]
        record.output = []
        record.usage = {"input_tokens": 3, "output_tokens": 5.5}
        record.decide("pii", "allow")
        record.decide("cost", "deny", "over budget")
        record.outcome, record.severity, record.message = "failure", "warning", "stopped"
        record.actor, record.target = "agent-7", "chat/1"
        record.data["tool"] = "search"
    event = event_of(trail)
    assert (event.method, event.provider, event.model) == ("chat", "acme", "m-1")
    assert (event.input, event.output) == ([{"role": "user", "content": "hello"}], [])
    assert event.usage == {"input_tokens": 3, "output_tokens": 5.5}
    assert event.to_data()["policy_decisions"] == [
        {"policy": "pii", "decision": "allow"},
        {"policy": "cost", "decision": "deny", "reason": "over budget"},
    ]
    assert (event.outcome, event.severity, event.message) == ("failure", "warning", "stopped")
    assert (event.actor, event.target, event.labels, event.data["tool"]) == (
        "agent-7",
        "chat/1",
        {"team": "x"},
        "search",
    )


def test_what_does_not_fit_is_recorded_nevertheless(trail: tlog.AuditLog) -> None:
    """The call has happened: its event is written with what can be kept, and says what was changed."""
    with trail.recording("x", actor="bob") as record:
        record.actor = record.id = record.correlation_id = ""
        record.outcome = "fine"
        record.usage = {"tokens": "many"}  # type: ignore[dict-item]
        record.output = {"when": object(), "text": "y" * 200_000}
        record.data["log"] = "mine"
    event = event_of(trail)
    assert (event.actor, event.outcome, event.usage) == ("bob", "success", None)
    assert event.id.count("-") == 4
    assert event.correlation_id
    assert event.data["outcome"] == "fine"
    assert event.data["usage"] == {"tokens": "many"}
    assert event.data["log_"] == "mine"
    assert event.output["when"].startswith("<object object")
    notes = " ".join(event.data["log"]["notes"])
    assert all(word in notes for word in ("actor", "outcome", "usage", "output.when", "output.text"))


def test_a_slip_of_the_pen(trail: tlog.AuditLog) -> None:
    """An attribute that a record does not have cannot be set; a recording is used once."""
    recording = trail.recording("x")
    with pytest.raises(AttributeError), recording as record:
        record.outputs = 1  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="records one call"), recording:
        pass
    assert len(events(trail)) == 1


@pytest.mark.parametrize("fails", [False, True])
def test_an_event_that_cannot_be_written(tmp_path: Path, fails: bool) -> None:
    """It is not lost silently: the error is raised after the call, with the call's own exception behind it."""

    class BrokenDisk(FaultyDisk):
        """A disk that fails from some operation on."""

        def _step(
            self, name: str, path: Path, action: Callable[[], None], half: Callable[[], None] | None = None
        ) -> None:
            if self.fail_at is not None:
                raise tlog.StorageError(f"{path}: broken")
            super()._step(name, path, action, half)

    disk = BrokenDisk()
    trail = make(tmp_path, disk)
    trail.info("before")
    done = []

    def call() -> None:
        with trail.recording("x"):
            disk.fail_at = 0
            done.append(1)
            if fails:
                raise LookupError("lost")

    with pytest.raises((tlog.StorageError, tlog.CommitUnknownError)) as caught:
        call()
    assert done == [1]
    seen, found = caught.value.__context__, False
    while seen is not None:
        found, seen = found or isinstance(seen, LookupError), seen.__context__
    assert found == fails
    disk.fail_at = None
    trail.info("after")
    assert trail.partition.size >= 2
    trail.close()


def test_nested_calls_share_a_correlation_id(trail: tlog.AuditLog) -> None:
    """A call inside of another one has its id, and so has what is logged there; the next call has another one."""
    with trail.recording("outer") as outer:
        trail.info("said")
        with trail.recording("inner") as inner:
            assert correlation_id() == inner.correlation_id == outer.correlation_id
    with trail.recording("next") as other:
        pass
    first = outer.correlation_id
    assert [(event.action, event.correlation_id) for event in events(trail)] == [
        ("log", first),
        ("inner", first),
        ("outer", first),
        ("next", other.correlation_id),
    ]
    assert other.correlation_id != first
    with correlated("request-7"), trail.recording("in a request") as within:
        assert within.correlation_id == "request-7"
    with trail.recording("given", correlation_id="case-1"):
        assert correlation_id() == "case-1"


def test_threads_begin_anew_unless_they_run_in_a_copy_of_the_context(trail: tlog.AuditLog) -> None:
    """A thread has the id of whoever started it if it runs in a copy of that one's context."""
    seen: dict[str, str | None] = {}

    def work(name: str) -> None:
        with trail.recording(name) as record:
            seen[name] = record.correlation_id

    with trail.recording("outer") as outer:
        threads = [
            threading.Thread(target=contextvars.copy_context().run, args=(work, "copied")),
            threading.Thread(target=contextvars.Context().run, args=(work, "anew")),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert seen["copied"] == outer.correlation_id
    assert seen["anew"] not in (None, outer.correlation_id)


def test_tasks(trail: tlog.AuditLog) -> None:
    """Tasks that run at the same time keep their ids apart; a task inside of a call has the id of the call."""

    @trail.recorded("child")
    async def child(name: str) -> str | None:
        await asyncio.sleep(0)
        trail.info(name)
        return correlation_id()

    @trail.recorded("parent", target=lambda number: f"job/{number}")
    async def parent(number: int) -> list[str | None]:
        mine = correlation_id()
        found = await asyncio.gather(*(child(f"{number}.{n}") for n in range(3)))
        return [mine, *found]

    async def main() -> list[list[str | None]]:
        return await asyncio.gather(*(parent(number) for number in range(4)))

    answers = asyncio.run(main())
    assert all(len(set(ids)) == 1 for ids in answers)
    assert len({ids[0] for ids in answers}) == 4
    by_target = {event.target: event.correlation_id for event in events(trail) if event.action == "parent"}
    assert by_target == {f"job/{number}": answers[number][0] for number in range(4)}
    assert sum(event.action == "child" for event in events(trail)) == 12
    assert inspect.iscoroutinefunction(parent)


def test_a_task_that_is_cancelled(trail: tlog.AuditLog) -> None:
    """Its call is recorded, once, and the task ends as cancelled."""

    @trail.recorded("slow")
    async def slow() -> None:
        await asyncio.sleep(60)

    async def main() -> bool:
        task = asyncio.create_task(slow())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(main())
    (event,) = events(trail)
    assert event.error is not None
    assert (event.outcome, event.error.type) == ("failure", "asyncio.exceptions.CancelledError")


def test_decorated_functions(trail: tlog.AuditLog) -> None:
    """A call does what it did: it returns, raises, and refuses wrong arguments; name and signature stay."""

    @trail.recorded("divide", category="user", actor=lambda a, b=1: f"user-{a}/{b}", labels={"k": "v"})
    def divide(a: int, b: int = 1) -> float:
        """Divide."""
        return a / b

    assert divide(6, b=3) == 2
    with pytest.raises(ZeroDivisionError):
        divide(1, 0)
    assert (divide.__name__, divide.__doc__, str(inspect.signature(divide))) == (
        "divide",
        "Divide.",
        "(a: 'int', b: 'int' = 1) -> 'float'",
    )
    first, second = events(trail)
    assert (first.actor, first.outcome, first.input, first.labels) == ("user-6/3", "success", None, {"k": "v"})
    assert second.error is not None
    assert (second.actor, second.outcome, second.error.type) == ("user-1/0", "failure", "ZeroDivisionError")


def test_arguments_are_recorded_only_where_named(trail: tlog.AuditLog) -> None:
    """Chosen arguments are recorded as they were when the call began, defaults too; others never are."""

    @trail.recorded("pay", arguments=["amount", "items"])
    def pay(card: str, amount: int = 5, items: list[Any] | None = None) -> str:
        if items is not None:
            items.append("later")
        return f"{card} {amount}"

    pay("4111", items=[object()])
    event = event_of(trail)
    assert event.input["amount"] == 5
    assert len(event.input["items"]) == 1
    assert event.input["items"][0].startswith("<object object")
    assert "items" in event.data["log"]["input_notes"][0]
    assert b"4111" not in trail.partition.entry(0).raw
    with pytest.raises(TypeError):
        pay()  # type: ignore[call-arg]
    assert (event_of(trail).outcome, event_of(trail).input) == ("failure", {})


def test_generators(trail: tlog.AuditLog) -> None:
    """A generator is one call from its first item to its end; what is sent, thrown and returned passes through."""

    @trail.recorded("stream")
    def stream() -> Generator[Any, Any, str]:
        got = []
        mine = correlation_id()
        for number in range(2):
            try:
                got.append((yield number))
            except LookupError as err:
                got.append((yield str(err)))
            assert correlation_id() == mine
            trail.info("step")
        return f"got {got}"

    assert inspect.isgeneratorfunction(stream)
    stream()  # never begun: no call
    assert events(trail) == []
    with trail.recording("consumer") as consumer:
        running = stream()
    assert next(running) == 0
    assert correlation_id() is None
    assert running.send("a") == 1
    assert running.throw(LookupError("b")) == "b"
    with pytest.raises(StopIteration, match="got"):
        next(running)
    found = events(trail)
    assert [event.action for event in found] == ["consumer", "log", "log", "stream"]
    assert len({event.correlation_id for event in found[1:]}) == 1
    assert found[3].outcome == "success"
    assert found[3].correlation_id != consumer.correlation_id  # it began after the consumer's call


def test_generators_that_end_early(trail: tlog.AuditLog) -> None:
    """One that fails is a failure; one that its consumer closes is neither that nor a success; it cleans up."""
    cleaned = []

    @trail.recorded("stream")
    def stream(fails: bool) -> Iterator[int]:
        try:
            yield 1
            if fails:
                raise LookupError("lost")
            yield 2
        finally:
            cleaned.append(correlation_id())

    with pytest.raises(LookupError):
        list(stream(True))
    closed = stream(False)
    next(closed)
    closed.close()  # type: ignore[attr-defined]
    first, second = events(trail)
    assert (first.outcome, second.outcome, second.severity, second.error) == ("failure", "unknown", "info", None)
    assert cleaned == [first.correlation_id, second.correlation_id]


def test_asynchronous_generators(trail: tlog.AuditLog) -> None:
    """The same for asynchronous generators: asend, athrow and aclose pass through, and the consumer has no scope."""

    @trail.recorded("stream")
    async def stream(count: int) -> AsyncIterator[Any]:
        for number in range(count):
            try:
                sent = yield number
            except LookupError as err:
                sent = yield str(err)
            await asyncio.sleep(0)
            trail.info("step", {"sent": sent})

    async def main() -> None:
        assert [item async for item in stream(2)] == [0, 1]
        running: Any = stream(9)
        assert await anext(running) == 0
        assert correlation_id() is None
        assert await running.asend("a") == 1
        assert await running.athrow(LookupError("b")) == "b"
        await running.aclose()
        failing: Any = stream(1)
        await anext(failing)
        with pytest.raises(ValueError, match="k"):
            await failing.athrow(ValueError("k"))

    assert inspect.isasyncgenfunction(stream)
    asyncio.run(main())
    calls = [event for event in events(trail) if event.action == "stream"]
    assert [event.outcome for event in calls] == ["success", "unknown", "failure"]
    steps = [event for event in events(trail) if event.action == "log"]
    assert [event.data["sent"] for event in steps] == [None, None, "a"]
    assert [event.correlation_id for event in steps] == [calls[0].correlation_id] * 2 + [calls[1].correlation_id]


def test_a_recording_in_a_generator_that_another_context_closes(trail: tlog.AuditLog) -> None:
    """The event is written also where the scope cannot be left, because it was entered in another context."""

    def items() -> Iterator[int]:
        with trail.recording("inside"):
            yield 1

    running = items()
    contextvars.copy_context().run(next, running)
    running.close()  # type: ignore[attr-defined]
    assert event_of(trail).outcome == "unknown"
