"""Group commit by itself: what happens where there is no room for its helper thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from tlog.group import Committed, GroupCommit


def test_without_room_for_a_thread_the_caller_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Submitting where no thread can be started, as at the end of a program, is writing, and nobody waits for ever."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    written: list[bytes] = []

    def commit(payloads: Sequence[bytes]) -> Committed:
        first = len(written)
        written.extend(payloads)
        return Committed(first, [b"00"] * len(payloads))

    groups = GroupCommit(commit)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        group, index = groups.submit((b"a", b"b"), 2)
        assert (index, group.done) == (0, True)
        assert groups.wait(group, 1)
        assert groups.append((b"d",), 1)[0].done
    assert written == [b"a", b"b", b"d"]
    group, _ = groups.submit((b"e",), 1)
    assert groups.wait(group, 10)
    groups.close()
    assert written == [b"a", b"b", b"d", b"e"]
