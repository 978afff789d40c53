"""fsck: everything that is stored compared with everything that can be derived from it, and derived files rebuilt.

Segments, keys and signed checkpoints are originals: what is wrong with them is reported and never changed. Tiles,
manifests and the published copy of the last checkpoint are derived: `--repair` rebuilds them, but tiles only where the
entries make the tree that was signed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tlog.checkpoint import Checkpoint
from tlog.entry import ChainHead, check_chain
from tlog.errors import CorruptLedgerError, Error, NotFoundError
from tlog.hashing import leaf_hashes
from tlog.integrate import TILE_BATCH, Progress
from tlog.keys import VerifierKey
from tlog.policy import Policy
from tlog.publisher import read_signed_state
from tlog.reader import TileReader
from tlog.storage.checkpoints import CheckpointFiles
from tlog.storage.disk import TEMPORARY_SUFFIX, Files
from tlog.storage.keyfiles import KeyFiles
from tlog.storage.layout import PartitionPaths
from tlog.storage.sealed import derive_manifest, read_manifest
from tlog.storage.segments import SegmentReader
from tlog.storage.tail import durable_count
from tlog.storage.tiles import TileFiles
from tlog.tile import TILE_HEIGHT, TILE_WIDTH, Tile
from tlog.tilebuilder import TileBuilder, TileHashes

TEMPORARY_AGE_S = 600
"""Temporary files that are younger may belong to somebody who is writing them."""

MAX_FINDINGS = 1000
"""Findings kept; more of them say nothing that these do not."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. place: file or entry. seq: of the entry, None where it is none.

    is_repairable: whether the thing is derived and its originals are in order. is_repaired: whether it was rebuilt.
    """

    place: str
    message: str
    seq: int | None = None
    is_repairable: bool = False
    is_repaired: bool = False


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What was examined. entries, tiles: how many. findings: what is wrong, in the order in which it was found."""

    entries: int
    tiles: int
    findings: tuple[Finding, ...]

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong, or nothing any more."""
        return all(finding.is_repaired for finding in self.findings)


def fsck(
    files: Files,
    paths: PartitionPaths,
    segments: SegmentReader,
    *,
    is_witnessed: bool = False,
    repair: bool = False,
    progress: Progress | None = None,
) -> FsckReport:
    """Examine a partition completely. repair: rebuild derived files that are missing or wrong.

    is_witnessed: a checkpoint is published when witnesses have cosigned it, so the last signed ones may wait for that.

    Nothing that stands in the files ends the examination but a broken chain: behind it no entry can be told from
    another, and a finding says so. Raises: StorageError where files cannot be read or written.
    Cost: two SHA-256 calls an entry and one a node, once more with repairs. Memory: about 2 MiB.
    """
    examination = _Examination(files, paths, segments, repair=repair, progress=progress)
    return examination.run(is_witnessed=is_witnessed)


class _Examination:
    """One run of fsck over one partition."""

    def __init__(
        self, files: Files, paths: PartitionPaths, segments: SegmentReader, *, repair: bool, progress: Progress | None
    ) -> None:
        self._files = files
        self._paths = paths
        self._segments = segments
        self._repair = repair
        self._progress = progress
        self._tiles = TileFiles(files, paths.root)
        self._checkpoints = CheckpointFiles(files, paths)
        self._findings: list[Finding] = []
        self._wrong_tiles: dict[Tile, None] = {}
        self._tile_count = 0
        self._ahead: Checkpoint | None = None  # the signer's record where it is ahead of all checkpoints

    def run(self, *, is_witnessed: bool) -> FsckReport:
        self._remove_temporaries()
        latest = self._examine_statements(is_witnessed=is_witnessed)
        self._examine_manifests()
        entries = self._examine_entries(latest)
        return FsckReport(entries, self._tile_count, tuple(self._findings[:MAX_FINDINGS]))

    def _find(self, finding: Finding) -> None:
        if len(self._findings) < MAX_FINDINGS:
            self._findings.append(finding)

    def _find_error(self, err: Error, place: str) -> None:
        self._find(Finding(getattr(err, "place", None) or place, str(err), getattr(err, "seq", None)))

    def _remove_temporaries(self) -> None:
        """Remove what a crash left of files that never got their names; without `repair` they are no finding."""
        if self._repair:
            for directory in (self._paths.root, self._paths.keys):
                for path in directory.rglob(f"*{TEMPORARY_SUFFIX}"):
                    if time.time() - path.lstat().st_mtime > TEMPORARY_AGE_S:
                        self._files.disk.unlink(path)

    def _examine_statements(self, *, is_witnessed: bool) -> Checkpoint | None:
        """Examine keys, records and checkpoints; return the largest signed checkpoint, None where there is none."""
        key = self._examine_key()
        if key is None:
            return None
        policy = Policy.for_log(key)
        self._examine_published(policy, self._checkpoints.cosigned if is_witnessed else self._checkpoints)
        try:
            state = read_signed_state(self._files, self._paths, key)
            self._examine_record(policy)
        except Error as err:
            self._find_error(err, str(self._paths.checkpoints))
            return None
        if state is not None and state.record.tree_size > state.latest.tree_size:
            self._ahead = state.record
        return None if state is None or not state.latest.signatures else state.latest

    def _examine_key(self) -> VerifierKey | None:
        keys = KeyFiles(self._files, self._paths)
        try:
            return keys.verifier_key()
        except Error as err:
            self._find_error(err, str(self._paths.verifier_key))
        return None

    def _examine_published(self, policy: Policy, record: CheckpointFiles) -> None:
        """The published checkpoint is a copy of the last line of the record; where that is lost, it is the original.

        record: of the signed checkpoints, or of the cosigned ones where witnesses are asked for.
        """
        last: Checkpoint | None = None
        try:
            last = record.last_recorded()
            published = self._checkpoints.published()
            if published is not None and last is None:  # published before witnesses were asked for
                last = self._checkpoints.at_least(published.tree_size)
            if published == last:
                return
            if published is not None and last is not None and published.text == last.text:
                policy.authenticate(published)
                return
            message = "the published checkpoint is not the last one of the record"
            if published is not None and last is not None and published.tree_size >= last.tree_size:
                policy.authenticate(published)
                self._find(Finding(str(self._paths.checkpoints), "the record has not the published checkpoint"))
                return
        except Error as err:
            message = str(err)
        if self._repair and last is not None:
            self._checkpoints.publish(last)
        done = self._repair and last is not None
        self._find(Finding(str(self._paths.checkpoint), message, None, last is not None, done))

    def _examine_record(self, policy: Policy) -> None:
        """Every checkpoint of the record is signed, and sizes ascend."""
        size = -1
        for checkpoint in self._checkpoints.all():
            policy.authenticate(checkpoint)
            if checkpoint.tree_size <= size:
                raise CorruptLedgerError(
                    f"checkpoint of size {checkpoint.tree_size} after one of {size}", place=str(self._paths.checkpoints)
                )
            size = checkpoint.tree_size
        for checkpoint in self._checkpoints.cosigned.all():
            policy.authenticate(checkpoint)
            signed = self._checkpoints.at_least(checkpoint.tree_size)
            if signed is None or signed.text != checkpoint.text:
                raise CorruptLedgerError(
                    f"the checkpoint of size {checkpoint.tree_size} is not in the record of those that were signed",
                    place=str(self._paths.cosigned),
                )

    def _examine_manifests(self) -> None:
        for first in self._firsts():
            sealed, path = self._paths.sealed(first), self._paths.manifest(first)
            if not self._files.exists(sealed) or self._files.exists(self._paths.plain(first)):
                continue  # with the plain file still there, sealing is not finished and nothing reads the sealed one
            try:
                derived = derive_manifest(self._files, sealed, first)
            except Error as err:
                self._find_error(err, str(sealed))
                continue
            try:
                if read_manifest(self._files, path) == derived:
                    continue
                message = "the manifest is not that of its segment"
            except Error as err:
                message = str(err)
            if self._repair:
                self._files.replace(path, derived.encode())
            self._find(Finding(str(path), message, None, is_repairable=True, is_repaired=self._repair))

    def _firsts(self) -> list[int]:
        try:
            return self._segments.firsts()
        except Error as err:
            self._find_error(err, str(self._paths.segments))
            return []

    def _examine_entries(self, latest: Checkpoint | None) -> int:
        """Walk the chain and the tree; return how many entries hold together."""
        builder = TileBuilder()
        try:
            signed_size = max([checkpoint.tree_size for checkpoint in (latest, self._ahead) if checkpoint], default=0)
            total, acknowledged = durable_count(self._files, self._paths, self._segments, signed_size)
            needed = max(acknowledged, signed_size)
            if total < needed:
                message = f"entries are missing: {needed} were signed or acknowledged"
                self._find(Finding(f"entry {total} ({self._paths.segments})", message, total))
            self._walk(builder, latest, total)
        except NotFoundError as err:
            self._find(Finding(f"entry {builder.tree_size}", str(err), builder.tree_size))
        except Error as err:
            self._find_error(err, f"entry {builder.tree_size}")
        return builder.tree_size

    def _walk(self, builder: TileBuilder, latest: Checkpoint | None, total: int) -> None:
        head = ChainHead()
        signed_size = 0 if latest is None else latest.tree_size
        roots_are_right = True
        for stop, signed in self._stops(total):
            for lines in self._segments.chunks(builder.tree_size, stop):
                where = str(self._segments.locate(builder.tree_size)[0])
                head = check_chain(head, self._paths.name.encode(), lines, where)
                self._compare(builder.add(leaf_hashes(lines)), signed_size)
                if self._progress is not None:
                    self._progress(builder.tree_size)
            if signed is not None:
                self._compare(builder.partial_tiles(), signed_size)
                if builder.root() != signed.root_hash and signed is self._ahead:
                    message = f"the key has signed another tree of size {stop} than these entries make"
                    self._find(Finding(str(self._paths.signed), message))
                elif builder.root() != signed.root_hash:
                    roots_are_right = False
                    message = f"the entries do not make the tree that was signed at size {stop}"
                    self._find(Finding(f"checkpoint of size {stop}", message))
        if latest is not None and self._wrong_tiles:
            if roots_are_right:
                self._rebuild_tiles(latest)
            else:
                self._name_wrong_entries(latest)

    def _stops(self, total: int) -> Iterator[tuple[int, Checkpoint | None]]:
        """Yield the tree sizes to stop at, with the checkpoint that was signed there, up to the last entry."""
        try:
            for checkpoint in self._checkpoints.all():
                if checkpoint.tree_size <= total:
                    yield checkpoint.tree_size, checkpoint
        except Error:  # a finding of `_examine_statements`
            pass
        if self._ahead is not None and self._ahead.tree_size <= total:
            yield self._ahead.tree_size, self._ahead
        yield total, None

    def _compare(self, computed: list[TileHashes], signed_size: int) -> None:
        for tile, hashes in computed:
            count = signed_size >> TILE_HEIGHT * tile.level
            if tile.index * TILE_WIDTH + tile.width > count:
                continue
            is_replaced = tile.width < TILE_WIDTH and (tile.index + 1) * TILE_WIDTH <= count
            if is_replaced and not self._files.exists(self._tiles.path(tile)):
                continue
            self._tile_count += 1
            try:
                (stored,) = self._tiles.read_tiles([tile])
            except Error:
                stored = b""
            if stored != b"".join(hashes) and len(self._wrong_tiles) < MAX_FINDINGS:
                self._wrong_tiles[tile] = None

    def _rebuild_tiles(self, latest: Checkpoint) -> None:
        """The entries are what was signed, so the tiles that differ are wrong: report them, and write them again."""
        for tile in self._wrong_tiles:
            message = "the tile is missing or not what the entries make of it"
            self._find(Finding(str(self._tiles.path(tile)), message, None, is_repairable=True))
        if not self._repair:
            return
        builder, batch = TileBuilder(), _Batch(self._tiles, set(self._wrong_tiles))
        for stop, _ in self._stops(latest.tree_size):
            for lines in self._segments.chunks(builder.tree_size, stop):
                batch.add(builder.add(leaf_hashes(lines)))
            batch.add(builder.partial_tiles())
        batch.write()
        places = {str(self._tiles.path(tile)) for tile in self._wrong_tiles}
        self._findings = [replace(f, is_repaired=True) if f.place in places else f for f in self._findings]

    def _name_wrong_entries(self, latest: Checkpoint) -> None:
        """Some entries are not what was signed: find them by the tiles that still lead to the signed root."""
        tree = TileReader(self._tiles, latest.tree_size, latest.root_hash)
        for tile in (tile for tile in self._wrong_tiles if tile.level == 0):
            start = tile.index * TILE_WIDTH
            try:
                signed = tree.leaf_hashes(tile.index)[: tile.width]
            except Error as err:
                self._find_error(err, tile.path)
                continue
            lines = next(self._segments.chunks(start, start + tile.width))
            for number, (found, expected) in enumerate(zip(leaf_hashes(lines), signed, strict=True)):
                if found != expected:
                    place = f"entry {start + number} ({self._segments.locate(start)[0]})"
                    self._find(Finding(place, "the entry is not the one that was signed", start + number))


class _Batch:
    """Wrong tiles that wait to be written again, each once."""

    def __init__(self, tiles: TileFiles, wrong: set[Tile]) -> None:
        self._tiles = tiles
        self._wrong = wrong
        self._made: list[tuple[Tile, bytes]] = []

    def add(self, built: list[TileHashes]) -> None:
        for tile, hashes in built:
            if tile in self._wrong:
                self._wrong.remove(tile)
                self._made.append((tile, b"".join(hashes)))
        if len(self._made) >= TILE_BATCH:
            self.write()

    def write(self) -> None:
        self._tiles.write_tiles(self._made)
        self._made = []
