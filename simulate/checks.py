"""The invariants, checked at each step against what really happened, with code that the parties do not use.

    tree       no two honest clients accept trees that contradict each other, if their policies' assumption holds
    witness    an honest witness never signs a smaller tree after a larger one, two roots for a size, or two histories
    memory     a witness whose state is gone or old does not start again
    found      an honest monitor that compared a fork has evidence at once; after the last trouble all honest parties
               that gossip have it in one interval, if two of them can show it
    accused    no honest party has evidence against an honest log, and all evidence it has is verified by `tlog-verify`
    alarm      an honest log is never told that it was rolled back

The assumption of two policies is that no two sets of witnesses, one meeting each quorum, have only liars in common:
an honest witness never signs both of two trees that contradict each other, so it can be in one of the sets only.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import product
from typing import NamedTuple

from tests.naive import NaiveTree
from tlog.errors import VerificationError
from tlog.evidence import Evidence, verify_evidence
from tlog.keys import VerifierKey
from tlog.policy import Policy


class ViolationError(AssertionError):
    """An invariant does not hold. invariant: its name."""

    def __init__(self, invariant: str, message: str) -> None:
        super().__init__(f"{invariant}: {message}")
        self.invariant = invariant


class Statement(NamedTuple):
    """A tree that a log signed."""

    origin: str
    size: int
    root: bytes


class Checks:
    """Sees everything. counts: what happened how often."""

    def __init__(self, quorums: tuple[str, ...], liars: frozenset[str], witnesses: tuple[str, ...]) -> None:
        """quorums: of the clients, as policy lines. liars: names among the witnesses."""
        self.counts: Counter[str] = Counter()
        self.honest_logs: set[str] = set()
        self.keys: dict[str, VerifierKey] = {}
        self._quorums, self._liars, self._witnesses = quorums, liars, witnesses
        self._trees: dict[Statement, NaiveTree] = {}
        self._signed: dict[tuple[str, str], tuple[Statement, int]] = {}
        self._accepted: dict[str, list[tuple[int, Statement]]] = {}
        self._judged: set[bytes] = set()

    def signs(self, statement: Statement, tree: NaiveTree) -> None:
        """A log signs a tree."""
        self._trees.setdefault(statement, tree)

    def contradict(self, one: Statement, other: Statement) -> bool:
        """Tell whether no tree can hold both."""
        small, large = sorted((one, other), key=lambda statement: statement.size)
        return self._trees[large].root(small.size) != small.root

    def cosigned(self, witness: str, statement: Statement, time: int) -> None:
        """An honest witness signed."""
        self.counts["cosignatures of honest witnesses"] += 1
        before = self._signed.get((witness, statement.origin))
        self._signed[witness, statement.origin] = (statement, time)
        if before is None:
            return
        if statement.size < before[0].size or time < before[1]:
            raise ViolationError("witness", f"{witness} went back from {before[0].size} to {statement.size}")
        if self.contradict(before[0], statement):
            raise ViolationError("witness", f"{witness} cosigned two histories of {statement.origin}")

    def accepted(self, client: int, statement: Statement) -> None:
        """An honest client believes a tree."""
        self.counts["trees accepted by clients"] += 1
        known = self._accepted.setdefault(statement.origin, [])
        if (client, statement) in known:
            return
        for other_client, other in known:
            if self.contradict(other, statement):
                if not can_split(self._quorums[other_client], self._quorums[client], self._liars, self._witnesses):
                    message = f"c{other_client} accepted size {other.size}, c{client} size {statement.size}: two trees"
                    raise ViolationError("tree", message)
                self.counts["splits where the policies' assumption was broken"] += 1
        known.append((client, statement))

    def convicted(self, party: str, evidence: Evidence) -> None:
        """An honest party holds evidence."""
        raw = evidence.format()
        if raw in self._judged:
            return
        self._judged.add(raw)
        origin = evidence.shown.origin
        self.counts["pieces of evidence"] += 1
        if origin in self.honest_logs:
            raise ViolationError("accused", f"{party} has evidence against the honest log {origin}")
        try:
            verify_evidence(raw, Policy.for_log(self.keys[origin]))
        except VerificationError as err:
            raise ViolationError("accused", f"the evidence of {party} is not verified: {err}") from err

    def compared(self, monitor: str, own: Statement, other: Statement, *, has_evidence: bool) -> None:
        """An honest monitor saw another signed tree, of at most its own size."""
        self.counts["checkpoints compared by monitors"] += 1
        if not has_evidence and self.contradict(own, other):
            raise ViolationError(
                "found", f"{monitor} saw a fork of {own.origin} at size {other.size}, and kept nothing"
            )

    def started(self, witness: str, *, is_whole: bool) -> None:
        """An honest witness started from its state."""
        self.counts["witnesses started again"] += 1
        if not is_whole:
            raise ViolationError("memory", f"{witness} started from a state that is not its latest one")


@cache
def can_split(one: str, other: str, liars: frozenset[str], witnesses: tuple[str, ...]) -> bool:
    """Tell whether liars could show two trees, one to each of two clients: the assumption that both make is broken.

    one, other: the group and quorum lines of the policies. Cost: 2^n for n honest witnesses.
    """
    honest = [name for name in witnesses if name not in liars]
    for sides in product((False, True), repeat=len(honest)):
        first = {name for name, is_first in zip(honest, sides, strict=True) if is_first}
        if _is_met(one, liars | first) and _is_met(other, liars | (set(honest) - first)):
            return True
    return False


def _is_met(quorum: str, signed: frozenset[str] | set[str]) -> bool:
    """Tell whether a policy's quorum is met, by the words of c2sp.org/tlog-policy."""
    met = set(signed)
    for line in quorum.splitlines():
        keyword, name, *rest = line.split()
        if keyword == "group":
            threshold = {"any": 1, "all": len(rest) - 1}.get(rest[0]) or int(rest[0])
            if sum(member in met for member in rest[1:]) >= threshold:
                met.add(name)
        elif keyword == "quorum":
            return name in met
    raise AssertionError("a policy has a quorum line")
