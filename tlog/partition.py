"""A partition: one log, with everything that its owner does with it.

Reading needs neither lock nor private key. The write end is opened at the first append, and opened anew in a child
process after a fork.
"""

from __future__ import annotations

import functools
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tlog.audit import Report, audit
from tlog.checkpoint import Checkpoint
from tlog.entry import (
    Entry,
    encode_payload,
    encode_payloads,
    encode_raw_payload,
    encode_raw_payloads,
    parse_entry,
    payload_prefix,
)
from tlog.errors import ConflictError, CorruptLedgerError, NotFoundError
from tlog.export import ExportReport, export
from tlog.fsck import FsckReport, fsck
from tlog.group import ClosedError
from tlog.integrate import Progress, chain_head
from tlog.keys import ML_DSA_44_COSIGNATURE, SigningKey, VerifierKey
from tlog.linked import linked
from tlog.names import check_partition_name
from tlog.policy import Policy
from tlog.prover import Prover, whole
from tlog.publisher import Cosigning, Publisher, WitnessStanding, read_signed_state
from tlog.reader import TileReader
from tlog.receipt import BulkReceipt, PendingReceipt, Receipt
from tlog.seal import SealReport, seal
from tlog.sequencer import Clock, Sequencer
from tlog.site import Site
from tlog.storage.checkpoints import CheckpointFiles
from tlog.storage.disk import Files
from tlog.storage.keyfiles import KeyFiles
from tlog.storage.layout import PartitionPaths
from tlog.storage.segments import SegmentReader
from tlog.storage.tail import read_mark
from tlog.storage.tiles import TileFiles
from tlog.tlogproof import ConsistencyProof, Proof
from tlog.workers import Ahead
from tlog.writer import Writer

T = TypeVar("T")

FOLLOW_INTERVAL_S = 0.1
"""How often `follow` looks for new entries."""


_partitions: weakref.WeakSet[Partition] = weakref.WeakSet()


class Partition:
    """One log of a ledger. Get it from `Ledger.partition`. It may be used from several threads."""

    def __init__(
        self,
        files: Files,
        paths: PartitionPaths,
        origin: str,
        segment_entries: int,
        *,
        passphrase: bytes | None = None,
        cosigning: Cosigning | None = None,
        is_post_quantum: bool = False,
        clock: Clock = time.time_ns,
    ) -> None:
        """Not for users. origin: of the log. passphrase: of its private key where that is encrypted.

        cosigning: asks the witnesses without whose quorum nothing is published; None where there are none.
        is_post_quantum: checkpoints carry an ML-DSA-44 signature beside that of Ed25519.
        """
        self.name = check_partition_name(paths.name)
        self.origin = origin
        self.files = files
        self.paths = paths
        self.segments = SegmentReader(files, paths, segment_entries)
        self.tiles = TileFiles(files, paths.root)
        self.checkpoints = CheckpointFiles(files, paths)
        self._passphrase = passphrase
        self._cosigning = cosigning
        self._is_post_quantum = is_post_quantum
        self._clock = clock
        self._prover = Prover(files, paths, self.segments)
        self._known_size = 0
        self._writer: Writer | None = None
        self._opening = threading.Lock()
        _partitions.add(self)

    # Writing

    def append(self, data: Any, *, meta: dict[str, Any] | None = None) -> Receipt:
        """Append one event and return when it is durable.

        data: any JSON value; what JSON cannot carry unaltered is refused (`tlog.jsontext`). meta: what the log itself
        attests about the submission, such as the authenticated writer; never the submitter's words.
        Raises: FormatError naming the field; CommitUnknownError where the write failed, and then at every call until
        `reopen`; CorruptLedgerError, StorageError.
        Cost: one write and one sync, shared with all threads that append at the same time.
        """
        payload = encode_payload(data, meta)
        while True:
            try:
                return (self._writer or self._write_end()).append(payload)
            except ClosedError:  # at the same moment: open another one
                continue

    def append_json(self, text: bytes | str, *, meta: dict[str, Any] | None = None) -> Receipt:
        """Like `append`, for JSON text, which is checked and kept byte for byte."""
        payload = encode_raw_payload(text, meta)
        return self.write(lambda writer: writer.append(payload))

    def submit(self, data: Any, *, meta: dict[str, Any] | None = None) -> PendingReceipt:
        """Append one event without waiting; the receipt's `result()` waits. Raises: FormatError at once."""
        payload = encode_payload(data, meta)
        while True:
            try:
                return (self._writer or self._write_end()).submit(payload)
            except ClosedError:
                continue

    def append_many(self, events: Iterable[Any], *, meta: dict[str, Any] | None = None) -> BulkReceipt:
        """Append events from any iterable, each like `append`; all are durable on return.

        meta: of each of them. Raises: RefusedItemError, whose `index` says which event was refused; the events before
        it are durable then. Memory: two chunks of 8,192 events or 4 MiB, whatever the iterable's length.
        """
        encode = functools.partial(encode_payloads, prefix=payload_prefix(meta))
        return self.write(lambda writer: writer.append_many(events, encode))

    def append_many_json(self, texts: Iterable[bytes | str], *, meta: dict[str, Any] | None = None) -> BulkReceipt:
        """Like `append_many`, for JSON texts, which are checked and kept byte for byte."""
        encode = functools.partial(encode_raw_payloads, prefix=payload_prefix(meta))
        return self.write(lambda writer: writer.append_many(texts, encode))

    def publish(self, *, progress: Progress | None = None) -> Checkpoint:
        """Integrate all durable entries, sign a checkpoint over them, publish it and return it.

        Does nothing where no entry was added since the last one. progress: told how many entries are integrated.
        Raises: NotFoundError where there is no such partition yet; CorruptLedgerError naming the first bad entry or
        tile, where the files disagree with each other or with what was signed before: nothing is signed then;
        PolicyError naming the witnesses that are missing: then the checkpoint before stays published; StorageError.
        """
        self._require()
        publisher = Publisher(
            self.files,
            self.paths,
            self.segments,
            self.origin,
            cosigning=self._cosigning,
            is_post_quantum=self._is_post_quantum,
            clock=self._clock,
        )
        return self.write(
            lambda writer: publisher.publish(
                writer.durable_size, passphrase=self._passphrase, ahead=writer.ahead, progress=progress
            )
        )

    def create(self, passphrase: bytes | None = None) -> VerifierKey:
        """Create the partition with a key of its own; appending to a new partition does it too.

        passphrase: encrypts the private key. Raises: ConflictError where there is one already.
        """
        key = SigningKey.generate(self.origin)
        KeyFiles(self.files, self.paths).create(key, passphrase)
        self.files.ensure_dir(self.paths.segments)
        return key.verifier_key

    def reopen(self) -> None:
        """Open the write end again after CommitUnknownError, recovering what is on disk."""
        self.close()
        self._write_end()

    @property
    def poison(self) -> BaseException | None:
        """The failure after which this process appends nothing until `reopen`; None while all is well."""
        return None if self._writer is None else self._writer.poison

    @property
    def clock_held(self) -> int:
        """How often this process found the clock before the last entry's time, since it opened the write end."""
        return 0 if self._writer is None else self._writer.clock_held

    def close(self) -> None:
        """Write what was submitted and release the files; appending opens them again."""
        with self._opening:
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.close()
            self.segments.close()

    # Reading

    @property
    def exists(self) -> bool:
        """Whether the partition was created."""
        return self.files.exists(self.paths.root)

    @property
    def size(self) -> int:
        """The number of durable entries. Raises: NotFoundError where there is no such partition."""
        mark = read_mark(self.files, self.paths)
        if mark is not None:
            return mark.seq
        self._require()
        return self.segments.count()

    @property
    def vkey(self) -> VerifierKey:
        """The verifier key. Raises: NotFoundError, FormatError."""
        return KeyFiles(self.files, self.paths).verifier_key()

    @property
    def post_quantum_vkey(self) -> VerifierKey | None:
        """The ML-DSA-44 verifier key, None where nothing was signed with one. Raises: FormatError."""
        keys = KeyFiles(self.files, self.paths.post_quantum, ML_DSA_44_COSIGNATURE)
        return keys.verifier_key() if keys.exist() else None

    def entry(self, seq: int) -> Entry:
        """Return one entry, its own hash checked. Raises: NotFoundError, CorruptLedgerError, VerificationError."""
        if whole(seq) >= self._known_size:
            self._known_size = self.size
        if not 0 <= seq < self._known_size:
            raise NotFoundError(f"entry {seq}: partition {self.name} has {self._known_size} entries")
        entry = parse_entry(self.segments.line(seq))
        if entry.seq != seq:
            raise CorruptLedgerError("the line is another entry", place=f"entry {seq}", seq=seq, found=str(entry.seq))
        return entry

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        """Yield the durable entries [start, stop) in order, hash and link to the entry before checked.

        stop: all that are durable when the call is made unless given. Memory: 1 MiB. Raises: CorruptLedgerError.
        """
        size = self.size
        stop = size if stop is None else min(whole(stop), size)
        return linked(self.segments, max(whole(start), 0), stop)

    def follow(self, start: int | None = None, *, stop: threading.Event | None = None) -> Iterator[Entry]:
        """Yield entries as they become durable, for ever.

        start: the first seq, the next one to be appended unless given. stop: ends the iteration when it is set.
        """
        seq = self.size if start is None else max(whole(start), 0)
        stop = threading.Event() if stop is None else stop
        previous: Entry | None = None
        while not stop.is_set():
            for entry in linked(self.segments, seq, self.size, previous):
                yield entry
                previous, seq = entry, entry.seq + 1
            stop.wait(FOLLOW_INTERVAL_S)

    def checkpoint(self, tree_size: int | None = None) -> Checkpoint:
        """Return the published checkpoint, or the one that was signed at this tree size.

        Its signature is checked with the partition's own key. Raises: NotFoundError, VerificationError.
        """
        self._require()
        return (self._prover.published() if tree_size is None else self._prover.at(tree_size))[0]

    def prove(self, seq: int, tree_size: int | None = None) -> Proof:
        """Return the proof that an entry is in the published tree; it carries the entry and the checkpoint.

        tree_size: a smaller size for which a checkpoint was signed; the proof is under that one then.
        Raises: NotFoundError where the checkpoint does not cover the entry; CorruptLedgerError,
        TileMismatchError where the files do not bear the proof out. Cost: a few tiles, from memory where they were used
        lately.
        """
        return self.prove_many([seq], tree_size)[0]

    def prove_many(self, seqs: Sequence[int], tree_size: int | None = None) -> list[Proof]:
        """Return a proof for each of `seqs`, all under one checkpoint; runs cost less. Raises: as `prove`."""
        self._require()
        return self._prover.prove(seqs, tree_size)

    def prove_consistency(self, old_size: int, new_size: int | None = None) -> ConsistencyProof:
        """Return the proof that the tree of `old_size` entries is a prefix of the published one.

        new_size: a tree size that a checkpoint was signed for, the published one unless given.
        Raises: NotFoundError, FormatError, TileMismatchError.
        """
        self._require()
        return self._prover.prove_consistency(old_size, new_size)

    def root_at(self, tree_size: int) -> bytes:
        """Return the root hash that the published tree had at a smaller or equal size, from authenticated tiles.

        Raises: NotFoundError where nothing was published; FormatError for a larger size; TileMismatchError.
        """
        self._require()
        return self._prover.published()[1].root_at(tree_size)

    def verify(
        self, *, checkpoint: bytes | None = None, policy: Policy | None = None, progress: Progress | None = None
    ) -> Report:
        """Check every entry and tile of the partition, and its published checkpoint; return what was checked.

        checkpoint: a signed checkpoint that was kept elsewhere; without one nothing shows that the end was not cut off,
        and the report says "not anchored". policy: who is trusted to have signed; the partition's own key unless given.
        progress: told how many entries are checked. Raises: VerificationError naming the first bad place.
        Cost: two SHA-256 calls an entry and one a node. Memory: flat.
        """
        self._require()
        policy = Policy.for_log(self.vkey) if policy is None else policy
        return audit(
            self.files,
            self.paths,
            self.segments,
            policy,
            kept=checkpoint,
            progress=progress,
        )

    def fsck(self, *, repair: bool = False, progress: Progress | None = None) -> FsckReport:
        """Compare everything stored with everything derived from it; report all findings instead of the first.

        repair: rebuild derived files (tiles, manifests, the published copy of the last checkpoint).
        Raises: NotFoundError where there is no such partition; StorageError.
        """
        self._require()
        is_witnessed = self._cosigning is not None
        return fsck(self.files, self.paths, self.segments, is_witnessed=is_witnessed, repair=repair, progress=progress)

    def export(self, directory: str | Path, *, progress: Progress | None = None) -> ExportReport:
        """Write the published tree as a static tlog-tiles site, with entry bundles, checkpoint and verifier key.

        directory: made if it is missing. Raises: NotFoundError, CorruptLedgerError, StorageError.
        """
        checkpoint = self.checkpoint()
        return export(
            self.files,
            self.segments,
            Path(directory),
            checkpoint=checkpoint,
            vkey=self.vkey,
            signed_sizes=(signed.tree_size for signed in self.checkpoints.all()),
            progress=progress,
        )

    @property
    def site(self) -> Site:
        """What `export` writes, one resource at a time. Raises: NotFoundError where there is no such partition."""
        self._require()
        return Site(self._prover, self.checkpoints, self.segments, self.tiles)

    def witnesses(self) -> list[WitnessStanding]:
        """Return how it stands with each witness that this process asked; empty where none are asked for."""
        return [] if self._cosigning is None else self._cosigning.standing()

    def seal(self, *, progress: Progress | None = None) -> SealReport:
        """Compress the complete segments that the published tree covers. Raises: CorruptLedgerError, StorageError."""
        self._require()
        _, tree = self._prover.published()
        return seal(self.files, self.paths, self.segments, tree, progress)

    # Helpers

    def _require(self) -> None:
        if not self.exists:
            raise NotFoundError(f"partition {self.name}: there is none in {self.paths.ledger}")

    def write(self, action: Callable[[Writer], T]) -> T:
        """Do something with the write end, with a new one if this one is closed at the same moment.

        For the library's own modules.
        """
        while True:
            try:
                return action(self._write_end())
            except ClosedError:
                continue

    def _write_end(self) -> Writer:
        with self._opening:
            if self._writer is None:
                self._writer = self._open_writer()
            return self._writer

    def forget(self) -> None:
        """Give up the write end in a forked child: neither its locks nor its threads survive the fork."""
        writer, self._writer = self._writer, None
        self._opening = threading.Lock()
        if writer is not None:
            writer.forget()

    def _open_writer(self) -> Writer:
        if not self.files.exists(self.paths.verifier_key):
            try:
                self.create(self._passphrase)
            except ConflictError:  # another process was first, and may have been killed before it was done
                KeyFiles(self.files, self.paths).complete(self.origin, self._passphrase)
        self.files.ensure_dir(self.paths.segments)
        state = read_signed_state(self.files, self.paths, self.vkey)
        minimum_size = 0 if state is None else state.record.tree_size
        ahead = Ahead(self.files, self.paths, self.segments.segment_entries)
        sequencer = Sequencer(
            self.files, self.paths, self.segments.segment_entries, minimum_size, ahead, clock=self._clock
        )
        try:
            if state is not None:
                chain_head(self.segments, TileReader(self.tiles, state.latest.tree_size, state.latest.root_hash))
        except BaseException:
            sequencer.close()
            raise
        return Writer(sequencer, self.name)


def _forget_write_ends() -> None:
    for partition in list(_partitions):
        partition.forget()


os.register_at_fork(after_in_child=_forget_write_ends)
