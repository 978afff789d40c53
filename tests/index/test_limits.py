"""How long a question may take."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.index.model import events
from tests.ledgers import QuickDisk, create
from tlog.index import sqlite
from tlog.index.search import Index
from tlog.index.sqlite import SqliteStore
from tlog.index.store import IndexBusyError

QUESTIONS: tuple[Callable[[Index], object], ...] = (
    lambda index: index.search("actor=* since=2026-01-02"),
    lambda index: index.first("text=a*"),
    lambda index: index.count("actor!=alice"),
    lambda index: index.facets("", "actor"),
    lambda index: index.counts("id=*"),
)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """An index of 300 entries whose questions may take no time at all."""
    partition = create(tmp_path / "l", disk=QuickDisk())
    partition.append_many(events(300))
    with Index(partition) as made:
        made.catch_up()
    return Index(partition, time_limit_s=0)


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_ends_when_its_time_is_over(
    index: Index, question: Callable[[Index], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every kind of question is ended inside the database; the same connection then answers who has time."""
    monkeypatch.setattr(sqlite, "STEPS", 1)
    with pytest.raises(IndexBusyError, match="longer than is allowed"):
        question(index)
    index._time_limit_s = None
    question(index)
    index.close()


def test_waiting_for_other_questions_counts(index: Index) -> None:
    """Who finds the connection taken waits no longer than its question may take; who has no limit waits."""
    store = index._store
    assert isinstance(store, SqliteStore)
    answers: list[object] = []
    with store._mutex:
        hurried = threading.Thread(target=lambda: answers.append(_outcome(lambda: index.count(""))))
        hurried.start()
        hurried.join()
        patient = threading.Thread(target=lambda: answers.append(_outcome(store.position)))
        patient.start()
    patient.join()
    assert isinstance(answers[0], IndexBusyError)
    assert answers[1] == store.position()
    index.close()


def _outcome(question: Callable[[], object]) -> object:
    try:
        return question()
    except IndexBusyError as err:
        return err
