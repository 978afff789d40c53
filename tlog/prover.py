"""Proofs from a partition's own files: which published tree, which entries, which hashes.

What is handed out was checked on the way: the checkpoint's signature with the partition's key, every tile against the
checkpoint's root hash, and the entry's bytes against its leaf hash in the tree. A log that finds its files damaged says
so instead of giving out a proof that will not verify.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from tlog._strict import require_int
from tlog.checkpoint import Checkpoint
from tlog.errors import CorruptLedgerError, FormatError, NotFoundError
from tlog.hashing import leaf_hash
from tlog.policy import Policy
from tlog.reader import TileCache, TileReader
from tlog.storage.checkpoints import CheckpointFiles
from tlog.storage.disk import Files
from tlog.storage.keyfiles import KeyFiles
from tlog.storage.layout import PartitionPaths
from tlog.storage.segments import SegmentReader
from tlog.storage.tiles import TileFiles
from tlog.tile import TILE_WIDTH
from tlog.tlogproof import ConsistencyProof, Proof

BATCH = 1024
"""Proofs that are made from one batch of tiles."""

MAX_SHOWN_BITS = 1024
"""Larger numbers are not worth writing into an error."""

RUN = 4
"""Entries of one tile from which on reading all between them costs less than finding each."""


class Prover:
    """Checkpoints and proofs of one partition. It may be used from several threads."""

    def __init__(self, files: Files, paths: PartitionPaths, segments: SegmentReader) -> None:
        self._files = files
        self._paths = paths
        self._segments = segments
        self._tiles = TileFiles(files, paths.root)
        self._checkpoints = CheckpointFiles(files, paths)
        self._cache = TileCache()
        self._published: tuple[bytes, Checkpoint, TileReader] | None = None

    def published(self) -> tuple[Checkpoint, TileReader]:
        """Return the published checkpoint, its signature checked, and the reader of its tree.

        Raises: NotFoundError where nothing was published, VerificationError.
        """
        raw = self._checkpoints.published_raw()
        if raw is None:
            name = self._paths.name
            raise NotFoundError(f"checkpoint: partition {name} has published none; 'tlog publish {name}' does")
        cached = self._published
        if cached is None or cached[0] != raw:
            checkpoint = self._checkpoints.published()
            if checkpoint is None or checkpoint.raw != raw:
                return self.published()  # replaced a moment ago
            cached = self._published = (raw, *self._authenticated(checkpoint))
        return cached[1], cached[2]

    def at(self, tree_size: int) -> tuple[Checkpoint, TileReader]:
        """Return the checkpoint that was signed at this tree size, and its tree. Raises: NotFoundError, FormatError."""
        cosigned = self._checkpoints.cosigned.at_least(require_int(tree_size, "tree size"))
        if cosigned is not None and cosigned.tree_size == tree_size:
            return self._authenticated(cosigned)
        found = self._checkpoints.at_least(tree_size)
        if found is None or found.tree_size != tree_size:
            near = "" if found is None else f"; the next larger one is of size {found.tree_size}"
            message = f"checkpoint of size {tree_size}: partition {self._paths.name} has signed none{near}"
            raise NotFoundError(message)
        return self._authenticated(found)

    def tree_of(self, tree_size: int | None) -> tuple[Checkpoint, TileReader]:
        """Return the published checkpoint and its tree, or those of a smaller tree size that was signed.

        Raises: NotFoundError, also where the size is larger than the published one: a checkpoint that was signed and is
        not published yet is nobody's business. FormatError.
        """
        published = self.published()
        if tree_size is None or require_int(tree_size, "tree size") == published[0].tree_size:
            return published
        if tree_size > published[0].tree_size:
            raise NotFoundError(
                f"checkpoint of size {tree_size}: the published one of partition {self._paths.name} is of size "
                f"{published[0].tree_size}"
            )
        return self.at(tree_size)

    def prove(self, seqs: Sequence[int], tree_size: int | None = None) -> list[Proof]:
        """Return a proof for each of `seqs`, all under one checkpoint, each with the entry's line.

        tree_size: of the checkpoint, the published one unless given.
        Raises: NotFoundError where the checkpoint does not cover an entry; CorruptLedgerError, TileMismatchError where
        the files do not bear a proof out. Memory: the proofs, and 1,024 entries.
        """
        checkpoint, tree = self.tree_of(tree_size)
        for seq in seqs:
            if not 0 <= whole(seq) < tree.tree_size:
                kind, remedy = "published checkpoint", f"'tlog publish {self._paths.name}' covers all"
                if tree_size is not None:
                    kind, remedy = "checkpoint asked for", "ask for a later one"
                raise NotFoundError(
                    f"entry {seq}: the {kind} covers {tree.tree_size} entries of {self._paths.name}; {remedy}"
                )
        proofs: list[Proof] = []
        for start in range(0, len(seqs), BATCH):
            some = seqs[start : start + BATCH]
            hashes = tree.inclusion_proofs(some)
            lines = self._lines(some, tree)
            proofs += [Proof(seq, path, checkpoint, line) for seq, path, line in zip(some, hashes, lines, strict=True)]
        return proofs

    def prove_consistency(self, old_size: int, new_size: int | None) -> ConsistencyProof:
        """Return the proof from a tree size to the published one, or to a smaller one that was signed.

        Raises: NotFoundError, FormatError, TileMismatchError.
        """
        checkpoint, tree = self.tree_of(new_size)
        return ConsistencyProof(old_size, tree.consistency_proof(old_size), checkpoint)

    def _authenticated(self, checkpoint: Checkpoint) -> tuple[Checkpoint, TileReader]:
        Policy.for_log(KeyFiles(self._files, self._paths).verifier_key()).authenticate(checkpoint)
        return checkpoint, TileReader(self._tiles, checkpoint.tree_size, checkpoint.root_hash, self._cache)

    def _lines(self, seqs: Sequence[int], tree: TileReader) -> Iterator[bytes]:
        """Yield the line of each entry, compared with its leaf hash in the tree."""
        for tile, run in groupby(seqs, lambda seq: seq // TILE_WIDTH):
            some = list(run)
            leaves = tree.leaf_hashes(tile)
            first, stop = min(some), max(some) + 1
            together = next(self._segments.chunks(first, stop)) if len(some) >= RUN else None
            for seq in some:
                line = self._segments.line(seq) if together is None else together[seq - first]
                expected, found = leaves[seq % TILE_WIDTH], leaf_hash(line)
                if expected != found:
                    raise CorruptLedgerError(
                        "the entry is not the one in the tree",
                        place=f"entry {seq} ({self._segments.locate(seq)[0]})",
                        seq=seq,
                        expected=expected.hex(),
                        found=found.hex(),
                    )
                yield line


def whole(seq: Any) -> int:
    """Return `seq` if it is a plain int: True and 1.0 are no positions. Raises: FormatError."""
    if type(seq) is not int:
        raise FormatError("seq", f"{type(seq).__name__} given where a whole number is needed")
    if seq.bit_length() > MAX_SHOWN_BITS:
        raise FormatError("seq", f"a number of {seq.bit_length()} bits is no position")
    return seq
