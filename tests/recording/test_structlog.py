from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.recording.programs import NAME, ORIGIN, events_of, partition_at
from tlog.context import correlated
from tlog.integrations.structlog import TlogProcessor
from tlog.recording.background import BackgroundWriter


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[BackgroundWriter]:
    """A writer into a new ledger."""
    made = BackgroundWriter.at(tmp_path, NAME, origin=ORIGIN)
    yield made
    assert made.close(20)


def logger_of(writer: BackgroundWriter, *before: Any, **options: Any) -> tuple[Any, list[dict[str, Any]]]:
    """A logger with the processor in the middle, and what the processor behind it gets."""
    passed: list[dict[str, Any]] = []

    def catch(_logger: Any, _name: str, event_dict: Any) -> str:
        passed.append(dict(event_dict))
        return ""

    chain = [*before, TlogProcessor(writer, **options), catch]
    return structlog.wrap_logger(structlog.PrintLogger(), processors=chain), passed


def test_events_are_written_and_passed_on(writer: BackgroundWriter, tmp_path: Path) -> None:
    """The envelope's fields are filled, the rest goes to data, and the next processor gets the event unchanged."""
    before = [structlog.stdlib.add_log_level, structlog.processors.StackInfoRenderer()]
    log, passed = logger_of(writer, *before, category="ai", actor="agent-1")
    with correlated("run-1"):
        log.bind(model="m-1").warning("tool called", action="tool.call", tool="search", odd={1}, stack_info=True)
    assert writer.flush(20)
    (event,) = events_of(partition_at(tmp_path))
    assert (event.message, event.severity, event.action) == ("tool called", "warning", "tool.call")
    assert (event.actor, event.category, event.model, event.correlation_id) == ("agent-1", "ai", "m-1", "run-1")
    assert (event.data["tool"], event.data["odd"]) == ("search", "{1}")
    assert event.data["log"]["stack"].startswith("Stack")
    assert passed[0]["odd"] == {1}
    assert {"event", "level", "stack", "action", "tool", "odd", "model"} == set(passed[0])


@pytest.mark.parametrize("renders", [True, False])
def test_exceptions(writer: BackgroundWriter, tmp_path: Path, renders: bool) -> None:
    """An exception is recorded, whether a processor before has made text of it or not."""
    before = [structlog.processors.format_exc_info] if renders else []
    log, _ = logger_of(writer, *before)
    try:
        raise KeyError("k")
    except KeyError as err:
        log.exception("failed")
        log.error("failed", exc_info=err)  # noqa: TRY400 - that is the case
    assert writer.flush(20)
    for event in events_of(partition_at(tmp_path)):
        assert event.error is not None
        assert (event.error.type, event.outcome, event.severity) == ("KeyError", "failure", "error")
        assert "raise KeyError" in (event.error.stack or "")


def test_nothing_is_raised_and_nothing_loops(writer: BackgroundWriter, tmp_path: Path) -> None:
    """Our own loggers are excluded, values that log when they are shown come to an end."""

    class Talkative:
        def __repr__(self) -> str:
            log.info("being shown", value=self)
            return "talkative"

    log, passed = logger_of(writer)
    log.info("outer", value=Talkative())
    excluded = structlog.wrap_logger(logging.getLogger("httpx"), processors=[TlogProcessor(writer), _end])
    excluded.info("not written")
    assert writer.flush(20)
    assert [event.message for event in events_of(partition_at(tmp_path))] == ["outer", "being shown"]
    assert len(passed) == 3


def _end(_logger: Any, _name: str, _event_dict: Any) -> Any:
    raise structlog.DropEvent
