"""Publication: sign what is durable and consistent with everything signed before, and make it fetchable.

The order of steps is the safety property. While the key's lock is held:

1. what the key signed last (its own record), the record of checkpoints and the published one must agree;
2. the entries since then are integrated, tiles durable, and the root hash is computed a second time from the disk;
3. the key's record advances, durably; only then is there a signature;
4. the checkpoint goes into the record; where witnesses are asked for, it waits for their quorum; then it is published.

A crash between any two steps leaves a state from which the next call goes on. Source: c2sp.org/tlog-checkpoint ("a log
must not sign a checkpoint that is inconsistent with any it signed before"), docs/crash-table.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tlog.checkpoint import Checkpoint
from tlog.errors import CorruptLedgerError, VerificationError
from tlog.hashing import EMPTY_ROOT
from tlog.integrate import Integration, Progress
from tlog.keys import ML_DSA_44_COSIGNATURE, SigningKey, VerifierKey
from tlog.policy import Policy
from tlog.reader import TileReader
from tlog.storage.checkpoints import CheckpointFiles, SignerRecord
from tlog.storage.disk import Files
from tlog.storage.keyfiles import KeyFiles
from tlog.storage.layout import PartitionPaths
from tlog.storage.segments import SegmentReader
from tlog.storage.tiles import TileFiles
from tlog.tile import TILE_HEIGHT, Tile, edge_tiles
from tlog.workers import Ahead


@dataclass(frozen=True, slots=True)
class SignedState:
    """What was signed.

    latest: the largest signed checkpoint on disk. record: what the key says; ahead of it after a crash. published: the
    published one, where that is of the same tree as `latest`. is_recorded: whether `latest` is in the record.
    """

    latest: Checkpoint
    record: Checkpoint
    published: Checkpoint | None
    is_recorded: bool


@dataclass(frozen=True, slots=True)
class WitnessStanding:
    """How it stands with one witness. size: of the last tree that it cosigned for us, None if it never has.

    time: POSIX seconds of that cosignature. trouble: why it did not cosign the last time, None where it did.
    """

    name: str
    url: str | None
    size: int | None = None
    time: int | None = None
    trouble: str | None = None


class Cosigning(Protocol):
    """Who gets cosignatures for a log: it knows the policy, and how to reach the witnesses."""

    def standing(self) -> list[WitnessStanding]:
        """Return how it stands with each witness, in the policy's order."""

    def require_unseen(self, key: VerifierKey, tree_size: int) -> None:
        """Look whether a witness has cosigned a larger tree of this key than the one that is to be signed.

        Asked before signing, whenever the process has not signed yet. Raises: CorruptLedgerError, with the evidence:
        the data was rolled back.
        """

    def cosign(self, checkpoint: Checkpoint, key: VerifierKey, prove: Callable[[int], tuple[bytes, ...]]) -> Checkpoint:
        """Return the checkpoint with the cosignatures of the policy's quorum.

        key: with which the log signed. prove: returns the consistency proof from a smaller size to the checkpoint's.
        Raises: PolicyError naming who is missing and why; nothing is published then. CorruptLedgerError where a witness
        shows a larger tree that the log signed, InconsistentLogError where it shows another one.
        """


def read_signed_state(files: Files, paths: PartitionPaths, key: VerifierKey) -> SignedState | None:
    """Return what was signed for a partition, None where nothing was.

    key: the partition's own. Raises: CorruptLedgerError where the key's record and the checkpoints disagree.
    """
    stored = CheckpointFiles(files, paths)
    published, recorded = stored.published(), stored.last_recorded()
    record = SignerRecord(files, paths).read()  # read last, because it advances first
    latest = None
    for checkpoint, place in ((recorded, paths.checkpoints), (published, paths.checkpoint)):
        if checkpoint is None:
            continue
        try:
            Policy.for_log(key).authenticate(checkpoint)
        except VerificationError as err:
            raise CorruptLedgerError(
                f"the checkpoint is not signed with this partition's key ({err})", place=str(place)
            ) from err
        if latest is None or checkpoint.tree_size > latest.tree_size:
            latest = checkpoint
        elif checkpoint.tree_size == latest.tree_size and checkpoint.root_hash != latest.root_hash:
            raise CorruptLedgerError(f"two checkpoints of size {latest.tree_size}", place=str(place))
    if record is None:
        if latest is None:
            return None
        raise CorruptLedgerError(
            "checkpoints were signed, but the key's record of them is gone: restore it from where the key was kept",
            place=str(paths.signed),
        )
    if record.origin != key.name:
        raise CorruptLedgerError("the key's record is of another log", place=str(paths.signed))
    if latest is None:
        latest = Checkpoint(key.name, 0, EMPTY_ROOT)
    same = record.tree_size == latest.tree_size
    if record.tree_size < latest.tree_size or (same and record.root_hash != latest.root_hash):
        raise CorruptLedgerError(
            "the key's record is not the last that was signed: it, or the partition's files, were put back",
            place=str(paths.signed),
            expected=f"size {latest.tree_size}, root {latest.root_hash.hex()}",
            found=f"size {record.tree_size}, root {record.root_hash.hex()}",
        )
    is_published = published is not None and published.text == latest.text
    return SignedState(latest, record, published if is_published else None, recorded == latest)


class Publisher:
    """Signs and publishes the checkpoints of one partition."""

    def __init__(
        self,
        files: Files,
        paths: PartitionPaths,
        segments: SegmentReader,
        origin: str,
        *,
        cosigning: Cosigning | None = None,
        is_post_quantum: bool = False,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """cosigning: gets the cosignatures without which nothing is published; None where no witness is asked for.

        is_post_quantum: add an ML-DSA-44 signature, with a key that is made when it is first needed. clock: POSIX time
        in nanoseconds, which that signature holds.
        """
        self._files = files
        self._cosigning = cosigning
        self._is_post_quantum = is_post_quantum
        self._clock = clock
        self._paths = paths
        self._segments = segments
        self._origin = origin
        self._tiles = TileFiles(files, paths.root)
        self._checkpoints = CheckpointFiles(files, paths)

    def publish(
        self,
        durable_size: Callable[[], int],
        *,
        passphrase: bytes | None = None,
        ahead: Ahead | None = None,
        progress: Progress | None = None,
    ) -> Checkpoint:
        """Publish a checkpoint over all durable entries and return it; the published one where nothing was added.

        durable_size: asked for the number of durable entries while the key's lock is held. ahead: where entries may
        have been examined already.
        Raises: CorruptLedgerError where files and signed checkpoints disagree; nothing is signed then. PolicyError
        where the quorum of witnesses is not met: the checkpoint before stays the published one. StorageError.
        Cost: three SHA-256 calls an entry since the last checkpoint and two a node.
        """
        keys = KeyFiles(self._files, self._paths)
        with keys.locked():
            key = keys.load(self._origin, passphrase)
            if key.verifier_key != keys.verifier_key():
                raise CorruptLedgerError("the private key is not that of the verifier key", place=str(self._paths.keys))
            state = read_signed_state(self._files, self._paths, key.verifier_key)
            size = durable_size()
            if state is not None:
                _refuse_rollback(state, size, self._paths)
                if state.latest.signatures and not (state.is_recorded and state.published):
                    self._checkpoints.record(state.latest)  # a line that was read may be in the page cache only
                if size == state.latest.tree_size and state.latest.signatures:
                    if state.published is None:
                        return self._publish(state.latest, key.verifier_key)
                    self._files.disk.sync_dir(self._paths.root)  # whoever published it may have died before that
                    return state.published
            latest = state.latest if state is not None else Checkpoint(self._origin, 0, EMPTY_ROOT)
            integration = Integration(self._files, self._paths, self._segments, latest, ahead=ahead, progress=progress)
            root = self._integrate(integration, latest, state.record if state is not None else latest, size)
            if self._cosigning is not None:
                self._cosigning.require_unseen(key.verifier_key, size)
            signers = (key, *self._post_quantum_key(passphrase))
            checkpoint = self._sign(Checkpoint(self._origin, size, root), signers)
            self._checkpoints.record(checkpoint)
            checkpoint = self._publish(checkpoint, key.verifier_key)
            for tile in edge_tiles(latest.tree_size):
                if (tile.index + 1) << TILE_HEIGHT <= size >> TILE_HEIGHT * tile.level:
                    self._tiles.remove_partials(Tile(tile.level, tile.index))
        return checkpoint

    def _integrate(self, integration: Integration, latest: Checkpoint, record: Checkpoint, size: int) -> bytes:
        """Return the root hash over `size` entries, found twice, after storing all tiles of that tree."""
        root = integration.to(record.tree_size)
        if root != record.root_hash:
            raise CorruptLedgerError(
                f"the key has signed another tree of size {record.tree_size} than these entries make",
                place=str(self._paths.segments),
                expected=record.root_hash.hex(),
                found=root.hex(),
            )
        root, again = integration.to(size), integration.again(size)
        if root != again:
            raise CorruptLedgerError(
                f"two computations of the root at size {size} disagree: memory or disk is failing; nothing was signed",
                place=f"entries {latest.tree_size} to {size - 1}",
                expected=again.hex(),
                found=root.hex(),
            )
        return root

    def _publish(self, checkpoint: Checkpoint, key: VerifierKey) -> Checkpoint:
        """Publish a signed checkpoint, cosigned where witnesses are asked for, and return it."""
        if self._cosigning is not None:
            tree = TileReader(self._tiles, checkpoint.tree_size, checkpoint.root_hash)
            checkpoint = self._cosigning.cosign(checkpoint, key, tree.consistency_proof)
            self._checkpoints.cosigned.record(checkpoint)
        self._checkpoints.publish(checkpoint)
        return checkpoint

    def _sign(self, checkpoint: Checkpoint, signers: Sequence[SigningKey]) -> Checkpoint:
        """Advance the key's record, then sign, and check the signatures before anybody sees them."""
        SignerRecord(self._files, self._paths).advance(checkpoint)
        timestamp_s = max(self._clock() // 1_000_000_000, 1) if self._is_post_quantum else None
        signed = checkpoint.sign(*signers, timestamp_s=timestamp_s)
        for signer in signers:
            Policy.for_log(signer.verifier_key).verify(signed)
        return signed

    def _post_quantum_key(self, passphrase: bytes | None) -> list[SigningKey]:
        """Return the ML-DSA-44 key where it is asked for, a new one where there is none yet. The key's lock is held."""
        if not self._is_post_quantum:
            return []
        keys = KeyFiles(self._files, self._paths.post_quantum, ML_DSA_44_COSIGNATURE)
        if not keys.exist():
            keys.create(SigningKey.generate(self._origin, ML_DSA_44_COSIGNATURE), passphrase)
        keys.complete(self._origin, passphrase)
        key = keys.load(self._origin, passphrase)
        if key.verifier_key != keys.verifier_key():
            raise CorruptLedgerError(
                "the private key is not that of the verifier key", place=str(self._paths.post_quantum.keys)
            )
        return [key]


def _refuse_rollback(state: SignedState, size: int, paths: PartitionPaths) -> None:
    if size < state.record.tree_size:
        raise CorruptLedgerError(
            f"the key has signed {state.record.tree_size} entries, {size} are here: the data was rolled back or cut; "
            "restore the missing segments, and 'tlog fsck' shows whether they fit",
            place=str(paths.segments),
            seq=size,
        )
