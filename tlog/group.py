"""Group commit: callers in many threads share one write and one sync.

Callers put their payloads into the next group. The first of them finds nobody writing and leads: it takes the group,
commits it and wakes those who waited. While it writes, the following group fills; then one of its waiters is woken to
lead it. Blocking callers need no thread for that; where nobody waits (`submit`), a helper thread takes their place.

A group's `gate` is a lock. It is held until the group may be led, and again while it is led. Whoever gets through the
gate of a group that is not done leads it; whoever gets through the gate of one that is done lets the next one through.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tlog.errors import CommitUnknownError, Error, FormatError


class ClosedError(Error):
    """The write end was closed meanwhile; nothing was written, and another one can be opened."""


class Committed(NamedTuple):
    """Durable entries. first_seq: of the first of them. hashes: the chain hash of each, in hex."""

    first_seq: int
    hashes: Sequence[bytes]


Commit = Callable[[Sequence[bytes]], Committed]
"""Appends payloads, all or none, one after another, and returns when they are durable."""

GATHER_STEPS, GATHER_STEP_S = 20, 0.0005
FEW, MANY = 2, 4096
"""`submit` lets a group grow for at most 10 ms, as long as it gets `FEW` more payloads a step and has not `MANY`."""

MAX_WAITING_BYTES = 1 << 24
"""Bytes of payload in one group at which `submit` waits for the writer instead of letting memory grow."""


class Group:
    """Payloads that are committed together, and what became of them."""

    __slots__ = ("done", "error", "gate", "may_gather", "payloads", "results", "size")

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.size = 0
        self.gate = threading.Lock()
        self.may_gather = False
        self.done = False
        self.results: Sequence[Committed | FormatError] = ()
        self.error: BaseException | None = None


class GroupCommit:
    """Gathers the payloads of all threads into groups and commits one group at a time."""

    def __init__(self, commit: Commit) -> None:
        """commit: called by one thread at a time."""
        self._commit = commit
        self._mutex = threading.Lock()
        self._next = Group()
        self._busy = False
        self._closed = False
        self._helper: queue.SimpleQueue[tuple[Group, bool] | None] = queue.SimpleQueue()
        self._helper_thread: threading.Thread | None = None

    def append(self, payloads: Sequence[bytes], size: int) -> tuple[Group, int]:
        """Commit payloads and return when they are durable: their group, and where in it the first of them stands.

        size: of all payloads together. Raises: what the commit raised, in every thread with payloads in the group.
        """
        group, index, leads = self._enter(payloads, size)
        if leads:
            self._lead(group)
        self.wait(group)
        return group, index

    def submit(self, payloads: Sequence[bytes], size: int) -> tuple[Group, int]:
        """Put payloads into the next group and return at once; `wait` tells when they are durable.

        size: of all payloads together. Where 16 MiB wait already, it returns after they are written.
        """
        group, index, leads = self._enter(payloads, size)
        if index == 0:
            group.may_gather = True
            self._help(group, leads=leads)
        if group.size > MAX_WAITING_BYTES:
            self.wait(group)
        return group, index

    def wait(self, group: Group, timeout_s: float = -1) -> bool:
        """Wait until a group is done; False if it is not after `timeout_s` seconds. Raises: as `append`."""
        if not group.done:
            if not group.gate.acquire(timeout=timeout_s):
                return False
            self._pass_gate(group)
        if group.error is not None:
            raise group.error
        return True

    def close(self) -> None:
        """Commit what was submitted and stop the helper thread; appending afterwards raises ClosedError."""
        with self._mutex:
            self._closed = True
            last = self._next if self._busy else None
        if last is not None:  # nobody enters it any more; behind it nothing is under way
            self.wait(last)
        if self._helper_thread is not None:
            self._helper.put(None)
            self._helper_thread.join()

    def _enter(self, payloads: Sequence[bytes], size: int) -> tuple[Group, int, bool]:
        """Put payloads into the next group; return it, where they begin in it, and whether the caller must lead it."""
        with self._mutex:
            if self._closed:
                raise ClosedError("the write end was closed")
            group = self._next
            index = len(group.payloads)
            group.payloads.extend(payloads)
            group.size += size
            leads = not self._busy
            if leads:
                self._busy = True
                group.gate.acquire()
            return group, index, leads

    def _pass_gate(self, group: Group) -> None:
        """Having acquired the gate: lead the group if it is not done, else let the next one through."""
        if group.done:
            group.gate.release()
        else:
            self._lead(group)

    def _lead(self, group: Group) -> None:
        """Commit a group whose gate this thread holds, wake its waiters, and hand the lead on to the next group."""
        if group.may_gather:
            self._gather(group)
        with self._mutex:
            following = self._next = Group()
            following.gate.acquire()
        try:
            group.results = self._commit_group(group.payloads)
        except Error as err:
            group.error = err
        except BaseException as err:
            group.error = CommitUnknownError(f"the writer was stopped by {err!r}")
            raise
        finally:
            group.payloads = []  # receipts keep the group alive
            group.done = True
            group.gate.release()
            with self._mutex:
                self._busy = bool(following.payloads)
                following.gate.release()

    def _commit_group(self, payloads: Sequence[bytes]) -> Sequence[Committed | FormatError]:
        """Return one result for all payloads, or where one of them was refused, a result for each."""
        try:
            return [self._commit(payloads)]
        except FormatError as err:
            if len(payloads) == 1:
                return [err]
        # One payload does not fit its entry; the others' callers have nothing to do with it.
        return [result for payload in payloads for result in self._commit_group([payload])]

    def _help(self, group: Group, *, leads: bool) -> None:
        if self._helper_thread is None:
            with self._mutex:
                if self._helper_thread is None:
                    helper = threading.Thread(target=self._run, name="tlog-writer", daemon=True)
                    with contextlib.suppress(RuntimeError):  # no room for a thread, or the interpreter is ending
                        helper.start()
                        self._helper_thread = helper
        if self._helper_thread is None:
            self._carry(group, leads=leads)
        else:
            self._helper.put((group, leads))

    def _gather(self, group: Group) -> None:
        """Wait while many callers, woken by the group before, fill this one: small groups cost more than the wait."""
        before = 0
        for _ in range(GATHER_STEPS):
            count = len(group.payloads)
            if count - before < FEW or count > MANY:
                return
            before = count
            time.sleep(GATHER_STEP_S)

    def _run(self) -> None:
        while (item := self._helper.get()) is not None:
            group, leads = item
            with contextlib.suppress(BaseException):  # the group's waiters get it; without this thread others hang
                self._carry(group, leads=leads)

    def _carry(self, group: Group, *, leads: bool) -> None:
        """See that a group is committed, by leading it unless others do."""
        if leads:
            self._lead(group)
        elif not group.done:
            group.gate.acquire()
            self._pass_gate(group)
