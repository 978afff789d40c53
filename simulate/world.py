"""One run: everybody of a plan, its actions in the order of their times, and the calm at the end."""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections import Counter
from pathlib import Path

from simulate.checks import Checks, Statement, ViolationError
from simulate.liars import LyingMonitor, LyingWitness
from simulate.logs import Log, LyingLog
from simulate.network import LATE_S, Handler, Network
from simulate.plan import DURATION_S, Action, Plan
from simulate.readers import Client, Monitor
from simulate.witnesses import HonestWitness, witness_key
from tlog.policy import Policy
from tlog.witnessing.transport import Reply

MEMORY = Path("/dev/shm")  # noqa: S108 - Linux's file system in memory, where syncs cost nothing


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
    """All parties of a run. In half of the runs nobody passes on evidence: each party must find all forks itself."""

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
                self.witnesses[name] = HonestWitness(name, keys[name], inside, log_keys)
            else:
                LyingWitness(name, keys[name], kind, (self.network, self.checks))
        self._rng = random.Random(f"calm {plan.seed}")
        self._is_quiet = self._rng.random() < 0.5
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
        for name, habit in zip(names, plan.habits, strict=True):
            if name in self.witnesses and habit != "alone":
                self.witnesses[name].peers = [other for other in (*names, *monitors) if other != name]
            if name in self.witnesses and habit == "gossips and reads":
                self.witnesses[name].sites = {key.name: log for log, key in log_keys.items()}
        self._everybody = [*names, *monitors, *self.clients, *self.logs]
        self._ups: dict[str, float] = {}
        if self._is_quiet:
            self._keep_evidence_back()

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
        """Repair everything, let each party make one round, in any order, and check that forks are found."""
        self._move_to(max(self.network.now, DURATION_S))
        self.network.heal()
        for name in sorted(self._ups):
            self._start(name)
        self._move_to(self.network.now + LATE_S)
        due = {origin for origin in self.checks.keys if self._is_provable(origin)}
        if not self._is_quiet:
            due |= {origin for origin in self.checks.keys if self._knows(origin)}
        parties = self._gossiping()
        for name in self._rng.sample(parties, len(parties)):
            self._round(name)
        for origin in due:
            unaware = set(parties) - set(self._knows(origin))
            if unaware:
                raise ViolationError("found", f"{sorted(unaware)} have no evidence against {origin}")
        self.checks.counts["forks that every honest party knew of after one round"] += len(due)

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
            self._gossip(who)
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

    def _gossip(self, who: str) -> None:
        if who in self.readers:
            self.readers[who].gossip()
        elif who in self.witnesses and self.witnesses[who].peers:
            self.witnesses[who].gossip()

    def _round(self, who: str) -> None:
        """Let a party do what it does in an interval."""
        if who in self.readers:
            self.readers[who].follow()
        self._gossip(who)

    def _keep_evidence_back(self) -> None:
        """Let nobody pass on evidence."""

        def silenced(handler: Handler) -> Handler:
            return lambda src, path, body: (
                Reply(404, "text/plain", b"") if path.startswith("evidence") else handler(src, path, body)
            )

        self.network.handlers = {name: silenced(handler) for name, handler in self.network.handlers.items()}

    def _gossiping(self) -> list[str]:
        """Return who is honest, up, and gossips."""
        witnesses = [name for name, witness in self.witnesses.items() if witness.peers]
        return [*self.monitors, *(name for name in witnesses if name not in self.network.down)]

    def _knows(self, origin: str) -> list[str]:
        """Return the honest that are up and have evidence against a log."""
        witnesses = [name for name in self.witnesses if name not in self.network.down]
        return [
            *(name for name, monitor in self.monitors.items() if monitor.evidence[origin]),
            *(name for name in witnesses if self.witnesses[name].has_evidence(origin)),
        ]

    def _is_provable(self, origin: str) -> bool:
        """Tell whether two honest parties hold what contradicts each other, and can show it.

        That is: trees of one size, or the larger tree's holder has its tiles.
        """
        up = [witness for name, witness in self.witnesses.items() if name not in self.network.down]
        all_held: list[tuple[Statement | None, bool]] = [(each.own(origin), True) for each in self.monitors.values()]
        all_held += [(witness.seen(origin), witness.can_read(origin)) for witness in up]
        held = [(own, has_tiles) for own, has_tiles in all_held if own is not None]
        return any(
            self.checks.contradict(one, other)
            for one, _ in held
            for other, has_tiles in held
            if one.size == other.size or (one.size < other.size and has_tiles)
        )
