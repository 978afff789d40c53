"""Restoring a partition that was lost at its origin from a mirror, or from any copy of its site.

Before the key may sign again, it is shown that nothing which it signed is missing: the copy is as large as the key's
own record says, and has the root hash that the record names. The partition is put together beside its place and takes
it when all of it was checked, so a restoration that was ended leaves nothing behind that looks like a log.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, replace

from tlog.audit import audit
from tlog.checkpoint import Checkpoint
from tlog.entry import Block, ChainHead, Encoded, check_chain
from tlog.errors import ConflictError, CorruptLedgerError, NotFoundError, PolicyError
from tlog.fsck import fsck
from tlog.integrate import Progress
from tlog.keys import ML_DSA_44_COSIGNATURE, VerifierKey
from tlog.ledger import Ledger
from tlog.mirroring.pull import proved_bundle
from tlog.mirroring.source import Source, SourceTiles, read_checkpoint
from tlog.policy import LogSignedCheckpoint, Policy, PolicyLog
from tlog.reader import TileReader
from tlog.storage.checkpoints import CheckpointFiles, SignerRecord
from tlog.storage.keyfiles import KeyFiles
from tlog.storage.layout import PartitionPaths
from tlog.storage.segments import SegmentReader
from tlog.storage.tail import DurableMark, SegmentAppender, Tail
from tlog.tile import TILE_WIDTH

STAGING = "restoring"
"""Directory of the ledger in which a partition is put together."""


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What was restored. entries: all that the copy has. signed: the size of the last tree that the key signed."""

    entries: int
    signed: int
    checkpoint: Checkpoint


def restore(ledger: Ledger, name: str, source: Source, progress: Progress | None = None) -> RestoreReport:
    """Put a lost partition together from a copy of its site; its key and the key's record must be here.

    progress: told how many entries are here. Raises: ConflictError where there are entries of this partition already;
    NotFoundError where its verifier key, or the key's record, is gone; CorruptLedgerError where the copy lacks entries
    that the key has signed, or has others; as `Policy.authenticate`; TileMismatchError; StorageError.
    Cost: one read a bundle and a tile, four SHA-256 calls an entry. Memory: one bundle.
    """
    paths = PartitionPaths(ledger.path, ledger.path / ledger.config.keys, name)
    if ledger.files.disk.list_dir(paths.segments):
        raise ConflictError(f"partition {name}: there are entries in {paths.root}; move the directory away first")
    key = KeyFiles(ledger.files, paths).verifier_key()
    record = SignerRecord(ledger.files, paths).read()
    if record is None:
        raise NotFoundError(f"{paths.signed}: the key's record is gone; restore it from where the key was kept")
    trusted = _trusted(ledger, paths, key)
    signed = trusted.authenticate(read_checkpoint(source))
    checkpoint = signed.checkpoint
    tree = TileReader(SourceTiles(source), checkpoint.tree_size, checkpoint.root_hash)
    _require_all(tree, record, str(paths.signed))
    staging = replace(paths, ledger=ledger.path / STAGING, _made={})
    shutil.rmtree(staging.ledger, ignore_errors=True)
    _fill(ledger, staging, source, tree, progress)
    _state(ledger, staging, trusted, signed)
    _examine(ledger, staging, checkpoint, key)
    ledger.partition(name).close()
    ledger.files.ensure_dir(paths.root.parent)
    if paths.root.exists():  # without entries: what an attempt to append has made
        ledger.files.disk.rename(paths.root, staging.ledger / "before")
    ledger.files.disk.rename(staging.root, paths.root)
    ledger.files.disk.sync_dir(paths.root.parent)
    shutil.rmtree(staging.ledger, ignore_errors=True)
    return RestoreReport(checkpoint.tree_size, record.tree_size, checkpoint)


def _require_all(tree: TileReader, record: Checkpoint, place: str) -> None:
    """Check that the copy holds the tree that the key signed last. Raises: CorruptLedgerError."""
    if tree.tree_size < record.tree_size:
        raise CorruptLedgerError(
            f"the copy has {tree.tree_size} entries, the key has signed {record.tree_size}: entries {tree.tree_size} "
            f"to {record.tree_size - 1} are missing, so the key must not sign again; find a copy that has them",
            place=place,
            seq=tree.tree_size,
        )
    root = tree.root_at(record.tree_size)
    if root != record.root_hash:
        raise CorruptLedgerError(
            f"the copy's first {record.tree_size} entries are not those that the key signed last",
            place=place,
            expected=record.root_hash.hex(),
            found=root.hex(),
        )


def _fill(ledger: Ledger, staging: PartitionPaths, source: Source, tree: TileReader, progress: Progress | None) -> None:
    """Write the segments, every entry compared with the tree, and the chain checked."""
    ledger.files.ensure_dir(staging.segments)
    segment_entries = ledger.config.segment_entries
    appender = SegmentAppender(ledger.files, staging, segment_entries, Tail(ChainHead(), DurableMark(0, 0, 0)))
    try:
        head = ChainHead()
        for index in range(-(-tree.tree_size // TILE_WIDTH)):
            lines = proved_bundle(source, tree, index)
            head = check_chain(head, staging.name.encode(), lines)
            appender.append(Encoded([Block(len(lines), b"\n".join(lines) + b"\n")], [], b"", head))
            if progress is not None:
                progress(head.seq)
    finally:
        appender.close()


def _trusted(ledger: Ledger, paths: PartitionPaths, key: VerifierKey) -> Policy:
    """Return the policy that believes the partition's own keys, and the witnesses that the ledger asks."""
    post_quantum = KeyFiles(ledger.files, paths.post_quantum, ML_DSA_44_COSIGNATURE)
    keys = (key, post_quantum.verifier_key()) if post_quantum.exist() else (key,)
    asked = ledger.witness_policy()
    logs = tuple(map(PolicyLog, keys))
    return Policy(logs) if asked is None else replace(asked, logs=logs)


def _state(ledger: Ledger, staging: PartitionPaths, trusted: Policy, found: LogSignedCheckpoint) -> None:
    """Put the checkpoint into the records, and publish it, with the lines of the copy's that were verified."""
    files, checkpoint = CheckpointFiles(ledger.files, staging), found.checkpoint
    own = {(log.key.name, log.key.key_id) for log in trusted.logs}
    cosigners = {(line.key_name, line.key_id) for line in found.cosignatures}
    lines = [line for line in checkpoint.signatures if (line.name, line.key_id) in own | cosigners]
    cosigned = replace(checkpoint, signatures=tuple(lines))
    files.record(replace(checkpoint, signatures=tuple(line for line in lines if (line.name, line.key_id) in own)))
    if trusted.witnesses:
        with contextlib.suppress(PolicyError):  # the next publication asks the witnesses again
            trusted.require_quorum(found)
            files.cosigned.record(cosigned)
    files.publish(cosigned)


def _examine(ledger: Ledger, staging: PartitionPaths, checkpoint: Checkpoint, key: VerifierKey) -> None:
    """Make the tiles, and check all that is there against the checkpoint."""
    with contextlib.closing(SegmentReader(ledger.files, staging, ledger.config.segment_entries)) as segments:
        report = fsck(ledger.files, staging, segments, repair=True)
        if not report.is_clean:
            raise CorruptLedgerError(
                f"the restored partition is not whole: {report.findings[0]}", place=str(staging.root)
            )
        audit(ledger.files, staging, segments, Policy.for_log(key), kept=checkpoint.raw)
