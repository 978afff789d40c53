"""One run: everybody of a plan, its actions in the order of their times, and the calm at the end."""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections import Counter
from pathlib import Path

from simulate.checks import Checks, ViolationError
from simulate.logs import Log, LyingLog
from simulate.network import LATE_S, Network
from simulate.plan import DURATION_S, INTERVAL_S, Action, Plan
from simulate.readers import Client, LyingMonitor, Monitor
from simulate.witnesses import HonestWitness, LyingWitness, witness_key
from tlog.policy import Policy

MEMORY = Path("/dev/shm")  # noqa: S108 - Linux's file system in memory, where syncs cost nothing
CALM_INTERVALS = 2
"""After the last trouble: in one interval each monitor hears of a fork from a peer, or in the next from who did."""


def run(plan: Plan) -> Counter[str]:
    """Do a plan; return what happened how often. Raises: ViolationError."""
    with contextlib.ExitStack() as stack:
        place = MEMORY if MEMORY.is_dir() else None
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="tlog-simulate-", dir=place))
        world = World(plan, Path(directory))
        stack.callback(world.close)
        for action in plan.actions:
            world.do(action)
        world.calm_down()
        return world.checks.counts


class World:
    """All parties of a run."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        """directory: an empty one, for the states of the witnesses."""
        names = tuple(f"w{number}" for number in range(len(plan.witnesses)))
        liars = frozenset(name for name, kind in zip(names, plan.witnesses, strict=True) if kind != "honest")
        self.checks = Checks(plan.quorums[1:], liars, names)
        self.network = Network()
        self.network.crash = self._crash
        keys = {name: witness_key(name, plan.seed) for name in names}
        lines = "".join(f"witness {name} {key.verifier_key} sim://{name}\n" for name, key in keys.items())
        quorum = Policy.parse(lines + plan.quorums[0])
        self.logs: dict[str, Log] = {}
        for number, kind in enumerate(plan.logs):
            name = f"l{number}"
            log = (Log if kind == "honest" else LyingLog)(name, self.network, self.checks, quorum, plan.seed)
            self.logs[name] = log
            if kind == "honest":
                self.checks.honest_logs.add(log.origin)
        log_keys = {name: log.key.verifier_key for name, log in self.logs.items()}
        self.witnesses: dict[str, HonestWitness] = {}
        for name, kind in zip(names, plan.witnesses, strict=True):
            if kind == "honest":
                inside = (self.network, self.checks, directory / name)
                self.witnesses[name] = HonestWitness(name, keys[name], inside, list(log_keys.values()))
            else:
                LyingWitness(name, keys[name], kind, self.network)
        monitors = [f"m{number}" for number in range(len(plan.monitors))]
        self.monitors: dict[str, Monitor] = {}
        self.readers: dict[str, Monitor | LyingMonitor] = {}
        for name, kind in zip(monitors, plan.monitors, strict=True):
            around = (self.network, self.checks)
            if kind == "honest":
                peers = [*names, *(other for other in monitors if other != name)]
                self.readers[name] = self.monitors[name] = Monitor(name, around, log_keys, peers)
            else:
                self.readers[name] = LyingMonitor(name, kind, around, log_keys)
        self.clients = {
            f"c{number}": Client(
                number,
                self.network,
                self.checks,
                {name: Policy.parse(f"log {key}\n{lines}{quorum}") for name, key in log_keys.items()},
            )
            for number, quorum in enumerate(plan.quorums[1:])
        }
        self._everybody = [*names, *monitors, *self.clients, *self.logs]
        self._ups: dict[str, float] = {}

    def do(self, action: Action) -> None:
        """Do one action, after all that was due before it."""
        self._move_to(action.time)
        rng = self.network.rng = random.Random(action.seed)
        who = action.who
        if action.verb in {"cut", "weather", "calm"}:
            self._trouble(action.verb, rng)
        elif who not in self.network.down:
            self._act(action.verb, who, rng)

    def calm_down(self) -> None:
        """Repair everything, let the monitors do what they do in two intervals, and check that forks are found."""
        self._move_to(max(self.network.now, DURATION_S))
        self.network.heal()
        for name in sorted(self._ups):
            self._start(name)
        self._move_to(self.network.now + LATE_S)
        knew: dict[str, bool] = {}
        for _ in range(CALM_INTERVALS):
            knew = {origin: self._knows(origin) != [] for origin in self.checks.keys}
            for monitor in self.monitors.values():
                monitor.follow()
                monitor.gossip()
            self._move_to(self.network.now + INTERVAL_S)
        for origin in self.checks.keys:
            self._require_found(origin)
            # What a monitor had before the last interval, all have; a liar may have shown it something new since.
            if knew[origin] and len(self._knows(origin)) < len(self.monitors):
                raise ViolationError("found", f"only {self._knows(origin)} have evidence against {origin}")
            self.checks.counts["forks found by every honest monitor"] += len(self._knows(origin)) == len(self.monitors)

    def close(self) -> None:
        """Release the witnesses' states."""
        for witness in self.witnesses.values():
            witness.crash()

    def _move_to(self, time: float) -> None:
        self.network.elapsed = 0.0
        for name, at in sorted(self._ups.items(), key=lambda item: item[1]):
            if at <= time:
                self.network.deliver_until(at)
                self._start(name)
        self.network.deliver_until(time)
        self.network.elapsed = 0.0

    def _trouble(self, verb: str, rng: random.Random) -> None:
        """Change the network."""
        network = self.network
        if verb == "calm":
            network.heal()
        elif verb == "weather":
            network.loss, network.slowness = rng.choice((0.05, 0.2, 0.5)), rng.choice((0.0, 0.5, 3.0))
        else:
            network.groups = {name: rng.choice((0, 0, 1)) for name in self._everybody}

    def _act(self, verb: str, who: str, rng: random.Random) -> None:
        """Let one party act that is up."""
        if verb == "publish":
            self.logs[who].publish(rng)
        elif verb in {"fork", "rejoin"}:
            log = self.logs[who]
            if isinstance(log, LyingLog):
                log.fork(rng, self._everybody) if verb == "fork" else log.rejoin()
        elif verb == "fetch":
            for name in self.logs:
                self.clients[who].fetch(name)
        elif verb == "follow":
            self.readers[who].follow()
        elif verb == "gossip":
            self.readers[who].gossip()
        elif verb == "crash":
            self._crash(who)
        elif verb == "crash in reply":
            self.network.crashes_in_reply.add(who)
        elif who in self.witnesses:
            self._happen(verb, self.witnesses[who], rng)

    def _happen(self, verb: str, witness: HonestWitness, rng: random.Random) -> None:
        """Let something happen to a witness."""
        if verb == "set clock":
            witness.skew_s = rng.choice((-86_400.0, -5.0, 3600.0, -2e9, 0.0))
        elif verb == "back up":
            witness.back_up()
        else:
            self._crash(witness.name)
            witness.restore() if verb == "restore" else witness.lose_state()

    def _crash(self, who: str) -> None:
        """Take a party down for a while."""
        self.checks.counts["crashes"] += 1
        self.network.down.add(who)
        self._ups[who] = self.network.clock() + random.Random(f"{who} {self.network.clock()}").uniform(1, 90)
        if who in self.logs:
            self.logs[who].crash()
        if who in self.witnesses:
            self.witnesses[who].crash()

    def _start(self, who: str) -> None:
        del self._ups[who]
        if who not in self.witnesses or self.witnesses[who].start():
            self.network.down.discard(who)

    def _require_found(self, origin: str) -> None:
        """Check that the honest know of each contradiction between what they hold of a log. Raises: ViolationError."""
        held = {name: monitor.own(origin) for name, monitor in self.monitors.items()}
        held |= {name: w.seen(origin) for name, w in self.witnesses.items() if name not in self.network.down}
        statements = [statement for statement in held.values() if statement is not None]
        for name, monitor in self.monitors.items():
            own = held[name]
            if monitor.evidence[origin] or own is None:
                continue
            for other in statements:
                is_waiting = other.size > own.size and bool(monitor.waiting[origin])
                if self.checks.contradict(own, other) and not is_waiting:
                    raise ViolationError("found", f"{name} has size {own.size} of {origin}, another size {other.size}")

    def _knows(self, origin: str) -> list[str]:
        """Return the honest monitors that have evidence against a log."""
        return [name for name, monitor in self.monitors.items() if monitor.evidence[origin]]
