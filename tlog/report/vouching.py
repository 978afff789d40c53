"""Who vouches for a log beside its own key: the witnesses of a policy, what each cosigned last, and the quorum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from tlog.checkpoint import Checkpoint
from tlog.cosignature import Cosignature
from tlog.errors import NotFoundError
from tlog.keys import VerifierKey
from tlog.note import verify_line
from tlog.partition import Partition
from tlog.policy import LogSignedCheckpoint, Policy, PolicyLog
from tlog.standing import Member, members

LOOKED_AT = 200
"""Cosigned checkpoints, the latest, among which the last one of each witness is looked for."""


class Cosigned(NamedTuple):
    """What a witness cosigned: size, of the tree; time_s: when, POSIX seconds."""

    size: int
    time_s: int


@dataclass(frozen=True, slots=True)
class WitnessRecord:
    """One witness of a policy, and the log.

    name, key, url: in the policy. last: what it cosigned last, None where that is not known. lag: entries of the latest
    tree that it has not cosigned; all of them where `last` is None. is_missing: whether the latest checkpoint is
    without its cosignature.
    """

    name: str
    key: VerifierKey
    url: str | None
    last: Cosigned | None
    lag: int
    is_missing: bool


@dataclass(frozen=True, slots=True)
class Vouching:
    """Who vouches for the latest checkpoint of a log.

    size: of its tree, 0 where there is none. quorum: the policy's, in words. is_met: whether its cosignatures are that
    quorum. witnesses: in the policy's order. groups: of the policy, with how many of their members count. waiting: size
    of the tree that was signed after it, and waits for the quorum; None where none does.
    """

    size: int
    quorum: str
    is_met: bool
    witnesses: tuple[WitnessRecord, ...]
    groups: tuple[Member, ...]
    waiting: int | None = None

    @property
    def missing(self) -> tuple[WitnessRecord, ...]:
        """Those whose cosignature is missing."""
        return tuple(witness for witness in self.witnesses if witness.is_missing)


def vouching(partition: Partition, policy: Policy) -> Vouching:
    """Return who vouches for the published checkpoint of a partition. Nothing is believed that does not verify.

    policy: its own logs do not matter here. Raises: NotFoundError where there is no such partition; FormatError where
    the log's key stands in the policy as a witness's; SignatureError, UntrustedNoteError, CorruptLedgerError.
    Cost: a signature for each witness, and a read of the last LOOKED_AT checkpoints where one is missing.
    """
    policy = replace(policy, logs=(PolicyLog(partition.vkey),))
    latest = partition.checkpoints.last_recorded()
    try:
        signed = policy.authenticate(partition.checkpoint())
    except NotFoundError:
        signed = None
    size = 0 if signed is None else signed.tree_size
    last = {} if signed is None else cosigned_by(signed)
    if signed is not None and len(last) < len(policy.witnesses):
        last = last_cosigned(policy, partition.checkpoints.cosigned.before(size, LOOKED_AT)) | last
    found = vouching_for(policy, size, last)
    return replace(found, waiting=latest.tree_size if latest is not None and latest.tree_size > size else None)


def vouching_for(policy: Policy, size: int, last: Mapping[str, Cosigned]) -> Vouching:
    """Return who vouches for the latest checkpoint of a log.

    size: of its tree, 0 where there is none. last: what each witness cosigned last, as `cosigned_by` names it.
    """
    witnesses, met = [], set()
    for witness in policy.witnesses:
        known = last.get(_name_of(witness.key.name, witness.key.key_id))
        is_missing = known is None or known.size != size
        lag = max(size - (0 if known is None else known.size), 0)
        witnesses.append(WitnessRecord(witness.name, witness.key, witness.url, known, lag, is_missing))
        if not is_missing:
            met.add(witness.name)
    groups = tuple(member for member in members(policy, met) if member.is_group)
    return Vouching(size, policy.quorum_in_words(), policy.is_quorum(met), tuple(witnesses), groups)


def cosigned_by(signed: LogSignedCheckpoint) -> dict[str, Cosigned]:
    """Return who has cosigned a checkpoint, and when, by name and ID of the witness's key."""
    return {
        _name_of(one.key_name, one.key_id): Cosigned(signed.tree_size, one.timestamp_s) for one in signed.cosignatures
    }


def last_cosigned(policy: Policy, checkpoints: Iterable[Checkpoint]) -> dict[str, Cosigned]:
    """Return what each witness of a policy cosigned last, by name and ID of its key.

    checkpoints: of one log of the policy, the largest first; as many are taken as are needed. Raises: SignatureError.
    """
    wanted = {_name_of(witness.key.name, witness.key.key_id): witness.key for witness in policy.witnesses}
    found: dict[str, Cosigned] = {}
    for checkpoint in checkpoints:
        if not wanted:
            break
        for line in checkpoint.signatures:
            name = _name_of(line.name, line.key_id)
            if name not in wanted:
                continue
            verify_line(wanted[name], checkpoint.text, line)
            time_s = Cosignature.decode(line.name, line.key_id, line.signature).timestamp_s
            if time_s:
                found[name] = Cosigned(checkpoint.tree_size, time_s)
                del wanted[name]
    return found


def _name_of(key_name: str, key_id: bytes) -> str:
    return f"{key_name}+{key_id.hex()}"
