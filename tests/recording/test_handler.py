from __future__ import annotations

import logging
import logging.handlers
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tlog
from tests.recording.programs import NAME, ORIGIN, check, events_of, messages_of, partition_at
from tlog.context import correlated
from tlog.errors import ConflictError, FormatError, NotFoundError
from tlog.events import Event
from tlog.recording.handler import EXCLUDED, TlogHandler


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """A logger of this test alone; its handlers are closed afterwards."""
    logger = logging.Logger("app.orders", logging.DEBUG)  # noqa: LOG001 - nobody else shall get it
    yield logger
    for handler in logger.handlers:
        handler.close()


def handle(log: logging.Logger, root: Path, **more: Any) -> TlogHandler:
    """Let a handler into a ledger in `root` write what `log` is told."""
    handler = TlogHandler(root, NAME, origin=ORIGIN, **more)
    log.addHandler(handler)
    return handler


def only(root: Path) -> Event:
    """The event of the only entry."""
    (event,) = events_of(partition_at(root))
    return event


@pytest.mark.parametrize("synchronous", [True, False])
def test_a_record_becomes_an_event(log: logging.Logger, tmp_path: Path, synchronous: bool) -> None:
    """Message, level, place and extra fields are where the documentation says."""
    handler = handle(log, tmp_path, synchronous=synchronous, category="user", actor="web-1")
    with correlated("request-1"):
        log.warning("order %d rejected", 7, extra={"target": "order/7", "action": "order.reject", "reason": ["stock"]})
    handler.flush()
    event = only(tmp_path)
    assert (event.message, event.severity, event.outcome) == ("order 7 rejected", "warning", "unknown")
    assert (event.actor, event.action, event.target, event.category) == ("web-1", "order.reject", "order/7", "user")
    assert event.correlation_id == "request-1"
    place = event.data["log"]
    assert event.data["reason"] == ["stock"]
    assert (place["logger"], place["module"], place["thread"]) == ("app.orders", "test_handler", "MainThread")
    assert place["function"] == "test_a_record_becomes_an_event"
    assert {"line", "process", "host"} < set(place)
    assert handler.counters == tlog.recording.background.Counters(1, 1, 0, 0)


def test_synchronous_is_durable_on_return(log: logging.Logger, tmp_path: Path) -> None:
    """When the call returns, another reader finds the entry; there is no thread that could write it later."""
    handle(log, tmp_path, synchronous=True)
    for number in range(3):
        log.info("%d", number)
        assert partition_at(tmp_path).size == number + 1


def test_levels(log: logging.Logger, tmp_path: Path) -> None:
    """Levels map to the severities of RFC 5424, own levels between the standard ones too."""
    handler = handle(log, tmp_path)
    for level in (5, 10, 20, 25, 30, 40, 50, 60, 70):
        log.log(max(level, 10), "x") if level >= 10 else log.handle(logging.makeLogRecord({"levelno": level}))
    handler.flush()
    assert [event.severity for event in events_of(partition_at(tmp_path))] == [
        "debug", "debug", "info", "notice", "warning", "error", "critical", "alert", "emergency",
    ]  # fmt: skip


def test_exceptions_and_stacks(log: logging.Logger, tmp_path: Path) -> None:
    """An exception is recorded with type, message and trace; stack_info beside the place of the call."""
    handler = handle(log, tmp_path)
    try:
        raise KeyError("k")
    except KeyError:
        log.exception("lookup failed", stack_info=True)
    log.error("no exception here", exc_info=True)  # noqa: LOG014 - that is the case
    handler.flush()
    event, other = events_of(partition_at(tmp_path))
    assert event.error is not None
    assert (event.error.type, event.error.message, event.outcome) == ("KeyError", "'k'", "failure")
    assert event.error.stack is not None
    assert "raise KeyError" in event.error.stack
    assert event.data["log"]["stack"].startswith("Stack (most recent call last)")
    assert event.message == "lookup failed"
    assert (other.error, other.outcome) == (None, "unknown")


def test_the_formatter_makes_the_message(log: logging.Logger, tmp_path: Path) -> None:
    """A formatter's text is the message, without the trace, which has a field of its own."""
    handler = handle(log, tmp_path)
    handler.setFormatter(logging.Formatter("[%(levelname)s] %(message)s"))
    try:
        raise KeyError("k")
    except KeyError:
        log.exception("failed")
    handler.flush()
    assert only(tmp_path).message == "[ERROR] failed"


def test_records_that_came_over_a_wire(tmp_path: Path) -> None:
    """A record that a SocketHandler sent has text instead of its exception, which is recorded as one."""
    source = logging.Logger("remote")  # noqa: LOG001 - nobody else shall get it
    catcher = logging.handlers.MemoryHandler(100, flushLevel=logging.CRITICAL)
    source.addHandler(catcher)
    try:
        raise KeyError("k")
    except KeyError:
        source.exception("failed")
    sent = logging.handlers.SocketHandler("localhost", 1).makePickle(catcher.buffer[0])
    handler = TlogHandler(tmp_path, NAME, origin=ORIGIN, synchronous=True)
    handler.handle(logging.makeLogRecord(pickle.loads(sent[4:])))  # noqa: S301 - our own
    handler.close()
    event = only(tmp_path)
    assert event.error is not None
    assert (event.error.type, event.outcome, event.message) == ("KeyError", "failure", "failed")


@pytest.mark.parametrize("name", sorted(EXCLUDED))
def test_our_own_loggers_and_those_of_http_clients_are_excluded(tmp_path: Path, name: str) -> None:
    """What carries events away must not make more of them."""
    handler = TlogHandler(tmp_path, NAME, origin=ORIGIN, synchronous=True)
    for logger in (name, f"{name}.below"):
        handler.handle(logging.makeLogRecord({"name": logger, "msg": "x"}))
    handler.handle(logging.makeLogRecord({"name": f"{name}like", "msg": "kept"}))
    handler.close()
    assert messages_of(partition_at(tmp_path)) == ["kept"]


def test_nothing_is_raised_into_the_application(
    log: logging.Logger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A record that nobody can make sense of is reported as logging reports errors, and counted."""
    handler = handle(log, tmp_path)
    log.info("%d", "no number")
    assert "--- Logging error ---" in capsys.readouterr().err
    assert handler.counters.failed == 1
    logging.raiseExceptions = False
    try:
        log.info("%d", "no number")
    finally:
        logging.raiseExceptions = True
    assert capsys.readouterr().err == ""
    log.info("goes on")
    handler.flush()
    assert messages_of(partition_at(tmp_path)) == ["goes on"]


def test_it_continues_after_a_restart(log: logging.Logger, tmp_path: Path) -> None:
    """Handlers one after another write one chain; one that was closed writes on when it is used again."""
    for number in range(3):
        handler = handle(log, tmp_path, synchronous=number == 1)
        log.info("%d", number)
        handler.close()
        log.info("%d again", number)
        handler.close()
        log.removeHandler(handler)
    partition = partition_at(tmp_path)
    check(partition)
    assert messages_of(partition) == ["0", "0 again", "1", "1 again", "2", "2 again"]


@pytest.mark.parametrize("synchronous", [True, False])
def test_values_that_log_when_they_are_shown(log: logging.Logger, tmp_path: Path, synchronous: bool) -> None:
    """What formatting a record logs is written after it; a value that always logs itself comes to an end."""

    class Talkative:
        def __str__(self) -> str:
            log.info("being shown: %s", self)
            return "talkative"

    handler = handle(log, tmp_path, synchronous=synchronous)
    log.info("outer %s", Talkative())
    handler.flush()
    assert messages_of(partition_at(tmp_path)) == ["outer talkative", "being shown: talkative"]
    assert handler.counters.dropped == 1


def test_every_message_of_a_filter_level_and_logger_is_handled_as_logging_does(
    log: logging.Logger, tmp_path: Path
) -> None:
    """Levels and filters of the handler work."""
    handler = handle(log, tmp_path, level="WARNING")
    handler.addFilter(lambda record: "secret" not in record.getMessage())
    log.info("too low")
    log.error("secret")
    log.error("kept")
    handler.flush()
    assert messages_of(partition_at(tmp_path)) == ["kept"]


def test_bad_settings_are_refused(tmp_path: Path) -> None:
    """What is wrong is said when the handler is made, with the setting's name."""
    with pytest.raises(NotFoundError, match="there is no ledger"):
        TlogHandler(tmp_path / "none", NAME)
    assert not (tmp_path / "none").exists()
    TlogHandler(tmp_path, NAME, origin=ORIGIN).close()
    TlogHandler(tmp_path, NAME).close()
    with pytest.raises(ConflictError, match=r"other\.example"):
        TlogHandler(tmp_path, NAME, origin="other.example")
    with pytest.raises(FormatError, match="partition name"):
        TlogHandler(tmp_path, "No Name")
    for setting in ({"capacity": 0}, {"when_full": "wait"}, {"timeout_s": 0}, {"publish_every_s": "5"}):
        with pytest.raises(FormatError, match=next(iter(setting))):
            TlogHandler(tmp_path, NAME, **setting)


def test_it_is_loaded_lazily() -> None:
    """Importing tlog does not import the handler; its name does."""
    assert tlog.TlogHandler is TlogHandler
    assert "tlog.recording.handler" in sys.modules
