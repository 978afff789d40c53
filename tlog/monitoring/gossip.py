"""Gossip: asking peers what a log has shown them, and comparing it with what it has shown here.

Peers are witnesses and other monitors; each is a URL, below which are, as at a witness's monitoring prefix,

    <SHA-256 of the origin in hex>/checkpoint              the latest checkpoint that the peer has verified
    <SHA-256 of the origin in hex>/consistency/<size>      the root hash that its tree had at that size, proven
    evidence                                               the SHA-256, in hex, of each evidence file, one a line
    evidence/<SHA-256 in hex>                              the file

A peer is believed in nothing: a checkpoint counts if the log's own key signed it, an earlier root hash if it leads to
such a checkpoint, evidence if it proves itself. So a lying peer can keep things to itself, and cannot accuse a log.
Source: c2sp.org/tlog-witness, "Monitoring"; docs/monitor.md, "Gossip".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from hashlib import sha256

from tlog.checkpoint import Checkpoint
from tlog.earlier import MAX_EARLIER_ROOT_SIZE, ProvenRoot, verify_earlier_root
from tlog.errors import Error, NotFoundError, StorageError, UnknownOriginError
from tlog.evidence import MAX_EVIDENCE_SIZE, Evidence, SplitView, find_contradiction, verify_evidence
from tlog.note import MAX_NOTE_SIZE
from tlog.policy import LogSignedCheckpoint, Policy
from tlog.reader import TileReader
from tlog.witnessing.request import origin_hash
from tlog.witnessing.transport import Transport

MAX_LIST = 256
"""Evidence files of one peer that are looked at in one round."""

TIMEOUT_S = 10.0

_HASH = re.compile(r"[0-9a-f]{64}")

Tree = Callable[[], TileReader]
"""Makes the reader of one's own tree, where it is needed."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a peer showed. ahead: a checkpoint that is larger than one's own, to be compared later."""

    evidence: Evidence | None = None
    ahead: Checkpoint | None = None


class Peer:
    """One peer, by its URL."""

    def __init__(self, url: str, transport: Transport) -> None:
        """url: without a slash at the end, from configuration."""
        self.url = url
        self._transport = transport

    def checkpoint(self, policy: Policy, origin: str) -> Checkpoint | None:
        """Return the log's checkpoint that the peer has, with the log's own signature only; None where it has none.

        Raises: StorageError where the peer cannot be asked; FormatError, VerificationError where it is not of the log.
        """
        raw = self._get(f"{origin_hash(origin)}/checkpoint", MAX_NOTE_SIZE)
        if raw is None:
            return None
        signed = Policy(policy.logs).authenticate(raw)
        if signed.origin != origin:
            raise UnknownOriginError(signed.origin, repr(origin))
        return own_signature(signed)

    def earlier_root(self, policy: Policy, origin: str, tree_size: int) -> ProvenRoot:
        """Return the root hash that the peer's tree of a log had at a size, verified.

        Raises: NotFoundError where the peer cannot tell; StorageError; FormatError, VerificationError where it is not
        proven, or not what was asked for.
        """
        raw = self._get(f"{origin_hash(origin)}/consistency/{tree_size}", MAX_EARLIER_ROOT_SIZE)
        if raw is None:
            raise NotFoundError(f"the peer {self.url} cannot tell how its tree stands at size {tree_size}")
        return verify_earlier_root(raw, Policy(policy.logs), origin, tree_size)

    def evidence(self, known: Collection[str]) -> list[bytes]:
        """Return the evidence files of the peer whose hashes are not known, unverified. Raises: StorageError."""
        raw = self._get("evidence", 65 * MAX_LIST)
        names = [] if raw is None else raw.decode("ascii", "replace").split("\n")
        found = []
        for name in names[:MAX_LIST]:
            if _HASH.fullmatch(name) is None or name in known:
                continue
            file = self._get(f"evidence/{name}", MAX_EVIDENCE_SIZE)
            if file is not None and sha256(file).hexdigest() == name:
                found.append(file)
        return found

    def _get(self, path: str, limit: int) -> bytes | None:
        reply = self._transport.send(f"{self.url}/{path}", None, limit=limit, timeout_s=TIMEOUT_S)
        if reply.status == 404:
            return None
        if reply.status != 200:
            raise StorageError(f"the peer {self.url} answered {reply.status}")
        return reply.body


def own_signature(signed: LogSignedCheckpoint) -> Checkpoint:
    """Return a checkpoint with the one line of the log's key that was verified: nobody else can spoil it then."""
    key = signed.log_key
    lines = tuple(line for line in signed.checkpoint.signatures if (line.name, line.key_id) == (key.name, key.key_id))
    return replace(signed.checkpoint, signatures=lines)


def compare(own: Checkpoint | None, tree: Tree, other: Checkpoint) -> Shown:
    """Compare one's own checkpoint of a log with another that the log signed.

    tree: reads one's own tree, from the log. Raises: what reading tiles raises. Cost: none where the two say the same;
    otherwise a few tiles.
    """
    if own is None or other.tree_size > own.tree_size:
        return Shown(ahead=other)
    if other.text == own.text or other.tree_size == 0:
        return Shown()
    if other.tree_size == own.tree_size:
        is_fork = other.root_hash != own.root_hash
        return Shown(evidence=Evidence(other, own) if is_fork else None)
    return Shown(evidence=find_contradiction(own, tree(), other))


def settled(evidence: bytes | Evidence, policy: Policy) -> tuple[Evidence, SplitView]:
    """Return evidence, verified, as all parties spell it: the log's own signatures, two of one size in one order.

    Raises: as `verify_evidence`.
    """
    split = verify_evidence(evidence, Policy(policy.logs))
    hashes = (evidence if isinstance(evidence, Evidence) else Evidence.parse(evidence)).hashes
    against, shown = own_signature(split.against), own_signature(split.shown)
    if against.tree_size == shown.tree_size and against.raw > shown.raw:
        against, shown = shown, against
    return Evidence(against, shown, hashes), split


def proven(files: Collection[bytes], policy: Policy, origin: str) -> list[Evidence]:
    """Return those of some files that prove a fork of this very log, as `settled` spells them."""
    found = []
    for file in files:
        try:
            evidence, split = settled(file, policy)
            if split.origin == origin:
                found.append(evidence)
        except Error:
            continue  # of another log, or nothing: a peer may say what it likes
    return found
