"""Pulling: a mirror reads a log's site, proves every bundle, and signs what it has.

Every step is durable before the next one, so a pull that was ended goes on where it was. A site that shows something
else than what was pending before is refused, with the evidence where there is any.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from tlog.bundle import decode_bundle
from tlog.checkpoint import Checkpoint
from tlog.errors import Error, FormatError, NotFoundError, TileMismatchError, VerificationError
from tlog.evidence import find_contradiction
from tlog.hashing import leaf_hashes
from tlog.integrate import Progress
from tlog.mirroring.mirror import Mirror
from tlog.mirroring.source import MAX_FILE_SIZE, Source, SourceTiles, read_checkpoint
from tlog.policy import Policy
from tlog.reader import TileReader
from tlog.tile import TILE_WIDTH, Bundle
from tlog.tlogproof import ConsistencyProof
from tlog.witnessing.observer import StaleSizeError

_log = logging.getLogger("tlog.mirroring")


def pull(mirror: Mirror, policy: Policy, source: Source, progress: Progress | None = None) -> Checkpoint:
    """Copy what a log's site has and the mirror has not; return the mirror checkpoint.

    policy: the log's keys, and the witnesses whose quorum is asked for; their cosignatures are kept and served too, so
    that whoever asks for the same quorum can read from the mirror. The log is one that the mirror knows.
    progress: told how many entries are here. Raises: as `Policy.verify`; InconsistentLogError where the log forked;
    ProofError, TileMismatchError where the site does not bear its checkpoint out; VerificationError where it went back;
    StorageError. Cost: one read a bundle and a tile. Memory: one bundle.
    """
    checkpoint = policy.verify(read_checkpoint(source)).checkpoint
    tree = TileReader(SourceTiles(source), checkpoint.tree_size, checkpoint.root_hash)
    _pend(mirror, policy, checkpoint, tree)
    store = mirror.store(checkpoint.origin)
    while (start := store.next_entry()) < checkpoint.tree_size:
        index = start // TILE_WIDTH
        store.put(index, proved_bundle(source, tree, index))
        if progress is not None:
            progress(store.next_entry())
    found = mirror.finish(checkpoint.origin)
    if found is None:
        raise AssertionError("a mirror that has all entries signs")
    return found


def keep_pulling(
    mirror: Mirror, policy: Policy, sources: Mapping[str, Source], stop: threading.Event, interval_s: float
) -> None:
    """Pull from every source, by the log's origin, again and again until `stop` is set; log what goes wrong."""
    while not stop.is_set():
        for origin, source in sources.items():
            try:
                pull(mirror, policy, source)
            except Error as err:
                _log.error("pulling %s: %s", origin, err)
        stop.wait(interval_s)


def _pend(mirror: Mirror, policy: Policy, checkpoint: Checkpoint, tree: TileReader) -> None:
    """Make the checkpoint pending, from whatever the mirror has seen."""
    pending = mirror.pending(checkpoint.origin)
    old_size = 0 if pending is None else pending.tree_size
    if pending is not None and old_size > checkpoint.tree_size:
        raise VerificationError(
            "the site went back: its checkpoint is smaller than one that was seen before",
            expected=f"at least {old_size}",
            found=str(checkpoint.tree_size),
        )
    if pending is not None and pending.tree_size:
        evidence = find_contradiction(checkpoint, tree, pending)
        if evidence is not None:
            raise mirror.forked(evidence)
    hashes = tree.consistency_proof(old_size) if 0 < old_size < checkpoint.tree_size else ()
    try:
        witnesses = [witness.key for witness in policy.witnesses]
        mirror.add_checkpoint(ConsistencyProof(old_size, hashes, checkpoint).format(), witnesses)
    except StaleSizeError:  # somebody else has pushed meanwhile
        _pend(mirror, policy, checkpoint, tree)


def proved_bundle(source: Source, tree: TileReader, index: int) -> list[bytes]:
    """Return the entries of a bundle, each compared with the tree. Raises: TileMismatchError, StorageError."""
    width = min(tree.tree_size - index * TILE_WIDTH, TILE_WIDTH)
    place = Bundle(index, width)
    try:
        raw = source.read(place.path, MAX_FILE_SIZE)
    except NotFoundError:
        if width == TILE_WIDTH:
            raise
        place = Bundle(index)
        raw = source.read(place.path, MAX_FILE_SIZE)
    try:
        entries = decode_bundle(raw, place.width)[:width]
    except FormatError as err:
        raise TileMismatchError(f"the bundle is none ({err.reason})", tile=place.path) from err
    for number, (found, expected) in enumerate(
        zip(leaf_hashes(entries), tree.leaf_hashes(index), strict=True), index * TILE_WIDTH
    ):
        if found != expected:
            raise TileMismatchError(
                f"entry {number} is not the one in the tree",
                tile=place.path,
                expected=expected.hex(),
                found=found.hex(),
            )
    return entries
