"""How a checkpoint stands under a policy, member by member: for people who want to know what is missing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from tlog.policy import Policy


@dataclass(frozen=True, slots=True)
class Member:
    """A witness or a group of a policy.

    name: in the policy. needed, had: members of a group; of a witness, 1, and 0 or 1. is_quorum: whether the
    policy's quorum is this member. members: names of a group's.
    """

    name: str
    is_group: bool
    needed: int
    had: int
    is_quorum: bool
    members: tuple[str, ...] = ()

    @property
    def is_met(self) -> bool:
        """Whether it counts as having cosigned."""
        return self.had >= self.needed


def members(policy: Policy, witnesses: Collection[str]) -> tuple[Member, ...]:
    """Return each witness and group of the policy, in its order, with what the cosignatures of `witnesses` make of it.

    witnesses: by their names in the policy, as `LogSignedCheckpoint.witnesses_met` has them. It guards nothing:
    `Policy.verify` does. Source: c2sp.org/tlog-policy, section "Defining a witness group".
    """
    found: dict[str, Member] = {}
    for witness in policy.witnesses:
        has_cosigned = int(witness.name in witnesses)
        found[witness.name] = Member(witness.name, False, 1, has_cosigned, policy.quorum == witness.name)
    for group in policy.groups:  # members stand before the groups they are in
        had = sum(found[member].is_met for member in group.members)
        found[group.name] = Member(group.name, True, group.threshold, had, policy.quorum == group.name, group.members)
    return tuple(found.values())
