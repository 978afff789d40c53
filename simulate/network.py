"""A network in virtual time: delays, losses, cuts, parties that are down, and requests that arrive when all is over."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from typing import Any

from tlog._strict import parse_decimal
from tlog.errors import Error, FormatError, NotFoundError, StorageError
from tlog.monitoring.proving import EarlierRoots
from tlog.policy import Policy
from tlog.witnessing.collect import Collector
from tlog.witnessing.transport import Reply

TIMEOUT_S = 5.0
LATE_S = 90.0
"""How long a request may wander."""
EPOCH_S = 1_800_000_000
"""POSIX time at which a run begins."""

Handler = Callable[[str, str, bytes | None], Reply]
"""How a party answers: who asks, the path, the body of a POST or None."""


class Network:
    """Everybody's connection, and the only clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.elapsed = 0.0
        self.rng = random.Random(0)
        self.loss = self.slowness = 0.0
        self.groups: dict[str, int] = {}
        self.down: set[str] = set()
        self.crashes_in_reply: set[str] = set()
        self.handlers: dict[str, Handler] = {}
        self._late: list[tuple[float, int, str, str, str, bytes | None]] = []
        self._counter = 0
        self.crash: Callable[[str], None] = self.down.add

    def clock(self) -> float:
        """Return virtual seconds since the run began, the time that a request under way has taken included."""
        return self.now + self.elapsed

    def ask(self, src: str, dst: str, path: str, body: bytes | None = None, timeout_s: float = TIMEOUT_S) -> Reply:
        """Return a party's answer. Raises: StorageError where none comes in time; it may have been asked all the same.

        A request that is late, or sent twice by the network, is delivered later by `deliver_until`.
        """
        rng, begun = self.rng, self.elapsed
        if not self.is_path(src, dst) or rng.random() < self.loss:
            self.elapsed = begun + timeout_s
            raise StorageError("no answer came")
        delay = self._delay()
        if rng.random() < self.loss / 2 or delay > timeout_s:
            self._counter += 1
            late = self.clock() + rng.uniform(1, LATE_S)
            heapq.heappush(self._late, (late, self._counter, src, dst, path, body))
        if delay > timeout_s:
            self.elapsed = begun + timeout_s
            raise StorageError("no answer came in time")
        self.elapsed += delay
        reply = self.handlers[dst](src, path, body)
        if dst in self.crashes_in_reply:
            self.crashes_in_reply.discard(dst)
            self.crash(dst)
        delay = self._delay()
        if dst in self.down or rng.random() < self.loss or self.elapsed - begun + delay > timeout_s:
            self.elapsed = begun + timeout_s
            raise StorageError("the answer was lost")
        self.elapsed += delay
        return reply

    def is_path(self, src: str, dst: str) -> bool:
        """Tell whether two parties are up, and on one side of every cut."""
        return not self.down & {src, dst} and self.groups.get(src, 0) == self.groups.get(dst, 0)

    def deliver_until(self, time: float) -> None:
        """Move the clock, and deliver what is late."""
        while self._late and self._late[0][0] <= time:
            self.now, _, src, dst, path, body = heapq.heappop(self._late)
            if self.is_path(src, dst):
                self.handlers[dst](src, path, body)
        self.now = max(self.now, time)

    def heal(self) -> None:
        """Repair everything but the parties that are down."""
        self.loss = self.slowness = 0.0
        self.groups.clear()
        self.crashes_in_reply.clear()

    def _delay(self) -> float:
        return self.rng.uniform(0.01, 0.2) + (self.rng.expovariate(1 / self.slowness) if self.slowness else 0.0)


class Connection:
    """A party's `tlog.witnessing.transport.Transport`. URLs have the form sim://<party>/<path>."""

    def __init__(self, network: Network, src: str) -> None:
        self._network = network
        self._src = src

    def send(self, url: str, body: bytes | None, *, limit: int, timeout_s: float) -> Reply:
        """See `Transport`."""
        dst, _, path = url.removeprefix("sim://").partition("/")
        reply = self._network.ask(self._src, dst, path, body, min(timeout_s, TIMEOUT_S))
        if len(reply.body) > limit:
            raise StorageError(f"the answer has more than {limit} bytes")
        return reply


def give_out(files: list[bytes], path: str) -> Reply:
    """Answer about evidence as the servers of witnesses and monitors do: the list of hashes, or a file."""
    named = {sha256(file).hexdigest(): file for file in files}
    if path == "evidence":
        return Reply(200, "text/plain", "".join(f"{name}\n" for name in named).encode())
    file = named.get(path.removeprefix("evidence/"))
    return Reply(404, "text/plain", b"") if file is None else Reply(200, "text/plain", file)


def tell_root(roots: EarlierRoots, path: str) -> Reply:
    """Answer about an earlier root as the servers of witnesses and monitors do."""
    origin_hash, _, size = path.partition("/consistency/")
    try:
        return Reply(200, "text/plain", roots.answer(origin_hash, parse_decimal(size, "size")))
    except (NotFoundError, FormatError):
        return Reply(404, "text/plain", b"")
    except Error:
        return Reply(503, "text/plain", b"")


class OneAfterAnother(ThreadPoolExecutor):
    """Runs a task when it is handed in, each from the same virtual time, as if all had run at once; no threads."""

    def __init__(self, network: Network) -> None:
        super().__init__(1)
        self._network = network

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See `Executor`."""
        future: Future[Any] = Future()
        begun = self._network.elapsed
        try:
            future.set_result(fn(*args, **kwargs))
        except Error as err:
            future.set_exception(err)
        self._network.elapsed = begun
        return future


class SimulatedCollector(Collector):
    """The log's collector, with the network's clock and without threads."""

    def __init__(self, policy: Policy, network: Network, src: str) -> None:
        super().__init__(policy, Connection(network, src), deadline_s=TIMEOUT_S, clock=network.clock)
        self._network = network

    def _pool(self) -> ThreadPoolExecutor:
        return OneAfterAnother(self._network)
