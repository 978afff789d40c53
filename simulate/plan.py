"""What a seed stands for: who takes part, and what is done when.

Each action carries a seed of its own for what is decided while it is done, so leaving one out changes no other: that
is what makes a trace that can be shrunk.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NamedTuple

DURATION_S = 300.0
INTERVAL_S = 60.0
"""How often a monitor follows its logs, and asks its peers."""

WITNESS_LIES = ("signs anything", "replays", "huge sizes", "garbage", "silent")
HABITS = ("alone", "gossips", "gossips and reads")
"""Of honest witnesses: with nobody; with everybody; and with the logs' sites, where their tiles are."""
MONITOR_LIES = ("silent", "forges evidence", "stale")


class Action(NamedTuple):
    """One step. time: virtual seconds. who: a party. seed: of all that is decided at random while it is done."""

    time: float
    verb: str
    who: str
    seed: int

    def __str__(self) -> str:
        return f"{self.time:7.1f} s  {self.verb} {self.who}".rstrip()


@dataclass(frozen=True, slots=True)
class Plan:
    """One run.

    logs, witnesses, monitors: how each behaves, "honest" or a lie. habits: of the witnesses, if honest. quorums: the
    group and quorum lines of policies, the logs' own first, then those of each client.
    """

    seed: int
    logs: tuple[str, ...]
    witnesses: tuple[str, ...]
    habits: tuple[str, ...]
    monitors: tuple[str, ...]
    quorums: tuple[str, ...]
    actions: tuple[Action, ...]

    def describe(self) -> str:
        """Return who takes part, in words."""
        witnesses = (
            f"{kind}, {habit}" if kind == "honest" else kind
            for kind, habit in zip(self.witnesses, self.habits, strict=True)
        )
        parties = (("l", self.logs), ("w", witnesses), ("m", self.monitors))
        lines = [f"{letter}{number}: {kind}" for letter, kinds in parties for number, kind in enumerate(kinds)]
        lines += [
            f"{'logs' if not number else f'c{number - 1}'}: {quorum.strip().replace(chr(10), '; ')}"
            for number, quorum in enumerate(self.quorums)
        ]
        return "\n".join(lines)


def make_plan(seed: int) -> Plan:
    """Return the run of a seed."""
    rng = random.Random(f"plan {seed}")
    logs = ("honest", rng.choice(("lying", "lying", "honest")))
    count = rng.randint(3, 5)
    liars = min(rng.choice((0, 0, 1, 1, 1, 2, 2, 3)), count)
    witnesses = ["honest"] * (count - liars) + [rng.choice(WITNESS_LIES[:2] + WITNESS_LIES) for _ in range(liars)]
    if rng.random() < 0.2:  # more liars than any policy bears
        witnesses = ["honest"] + ["signs anything"] * (count - 1)
    rng.shuffle(witnesses)
    habits = tuple(rng.choice(HABITS) for _ in witnesses)
    monitors = ["honest"] * rng.randint(1, 3) + [rng.choice(MONITOR_LIES) for _ in range(rng.randint(0, 2))]
    majority = f"group g {count // 2 + 1} {_names(range(count))}\nquorum g\n"
    quorums = (majority, *(_quorum(rng, count) for _ in range(rng.randint(2, 3))))
    parties = _Parties(
        logs,
        [f"w{number}" for number in range(count)],
        [f"m{number}" for number in range(len(monitors))],
        [f"c{number}" for number in range(len(quorums) - 1)],
    )
    return Plan(seed, logs, tuple(witnesses), habits, tuple(monitors), quorums, _actions(rng, parties))


def _names(numbers: range | list[int]) -> str:
    return " ".join(f"w{number}" for number in numbers)


def _quorum(rng: random.Random, count: int) -> str:
    """Return what a client asks for: k of some, all, one, or groups of groups."""
    numbers = rng.sample(range(count), count)
    kind = rng.choice(("strong", "strong", "strong", "strong", "majority", "any", "all", "some", "nested", "one"))
    if kind == "strong":  # bears a third of liars
        return f"group g {(count + (count - 1) // 3) // 2 + 1} {_names(numbers)}\nquorum g\n"
    if kind == "majority":
        return f"group g {count // 2 + 1} {_names(numbers)}\nquorum g\n"
    if kind == "some":
        return f"group g 2 {_names(numbers[:3])}\nquorum g\n"
    if kind == "one":
        return f"quorum w{numbers[0]}\n"
    if kind == "nested":
        return f"group a any {_names(numbers[:2])}\ngroup b all {_names(numbers[2:])}\ngroup g all a b\nquorum g\n"
    return f"group g {kind} {_names(numbers)}\nquorum g\n"


class _Parties(NamedTuple):
    logs: tuple[str, ...]
    witnesses: list[str]
    monitors: list[str]
    clients: list[str]


_Draft = list[tuple[float, str, str]]


def _actions(rng: random.Random, parties: _Parties) -> tuple[Action, ...]:
    drafts = _work(rng, parties) + _forks(rng, parties) + _troubles(rng, parties)
    return tuple(Action(round(at, 1), verb, who, rng.getrandbits(48)) for at, verb, who in sorted(drafts))


def _work(rng: random.Random, parties: _Parties) -> _Draft:
    """What everybody does again and again."""
    often = [("publish", f"l{number}", 50.0) for number in range(len(parties.logs))]
    often += [(verb, name, INTERVAL_S) for name in parties.monitors for verb in ("follow", "gossip")]
    often += [("gossip", name, INTERVAL_S) for name in parties.witnesses]
    often += [("fetch", name, 50.0) for name in parties.clients]
    drafts = []
    for verb, who, interval in often:
        at = rng.uniform(0, interval)
        while at < DURATION_S:
            drafts.append((at, verb, who))
            at += interval * rng.uniform(0.8, 1.2)
    return drafts


def _forks(rng: random.Random, parties: _Parties) -> _Draft:
    """What lying logs begin."""
    drafts = []
    for number in (number for number, kind in enumerate(parties.logs) if kind == "lying"):
        drafts += [(rng.uniform(20, DURATION_S), "fork", f"l{number}") for _ in range(rng.randint(1, 3))]
        if rng.random() < 0.5:
            drafts.append((rng.uniform(60, DURATION_S), "rejoin", f"l{number}"))
    return drafts


def _troubles(rng: random.Random, parties: _Parties) -> _Draft:
    """What happens to the network, and to machines."""
    drafts = []
    machines = [*parties.witnesses, *parties.monitors, *(f"l{number}" for number in range(len(parties.logs)))]
    for _ in range(rng.randint(2, 6)):
        verb = rng.choice(("cut", "crash", "crash", "crash in reply", "weather", "weather"))
        at = rng.uniform(0, DURATION_S)
        if verb in {"cut", "weather"}:
            drafts += [(at, verb, ""), (at + rng.uniform(20, 90), "calm", "")]
        else:
            drafts.append((at, verb, rng.choice(machines)))
    drafts += [
        (rng.uniform(0, DURATION_S), "set clock", rng.choice(parties.witnesses)) for _ in range(rng.randint(0, 3))
    ]
    if rng.random() < 0.3:
        who, at = rng.choice(parties.witnesses), rng.uniform(0, DURATION_S)
        drafts += [(at, "back up", who), (rng.uniform(at, DURATION_S), "restore", who)]
    if rng.random() < 0.1:
        drafts.append((rng.uniform(0, DURATION_S), "lose state", rng.choice(parties.witnesses)))
    return drafts
