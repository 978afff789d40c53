"""The audit of a partition: every entry, tile and checkpoint against hashes that are computed anew.

Source: RFC 6962 section 2.1; docs/threat-model.md for what an audit can and cannot show.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tlog._heap import keep_freed_memory
from tlog.checkpoint import Checkpoint
from tlog.entry import ChainHead, check_chain
from tlog.errors import (
    CorruptLedgerError,
    Error,
    FormatError,
    InconsistentLogError,
    NotFoundError,
    TileMismatchError,
    VerificationError,
)
from tlog.hashing import leaf_hashes, split_hashes
from tlog.integrate import Progress
from tlog.policy import LogSignedCheckpoint, Policy
from tlog.reader import TileReader
from tlog.storage.checkpoints import CheckpointFiles
from tlog.storage.disk import Files
from tlog.storage.layout import PartitionPaths
from tlog.storage.segments import SegmentReader
from tlog.storage.tail import durable_count
from tlog.storage.tiles import TileFiles
from tlog.stretch import (
    CHECK_CHAIN,
    COMPARE_TILES,
    STRETCH_ENTRIES,
    Stretch,
    stretch_of,
    whole_stretches,
)
from tlog.tile import TILE_HEIGHT, TILE_WIDTH, Tile
from tlog.tilebuilder import TileBuilder, TileHashes
from tlog.workers import examine_all

REPAIR = "'tlog fsck' tells whether tiles or entries were altered, and with '--repair' rebuilds tiles"


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit has checked, and found right.

    partition, origin: whose. entries: the chain from entry 0 to this number. published: the published checkpoint, None
    where there is none; every entry below its size is in its tree, and its tiles are those of the tree. tiles: how many
    were compared. kept: the checkpoint that the auditor kept elsewhere, None where none was given. witnesses: the names
    of the witnesses whose cosignatures of the published checkpoint were verified.
    """

    partition: str
    origin: str
    entries: int
    published: Checkpoint | None
    tiles: int
    kept: Checkpoint | None
    witnesses: tuple[str, ...]

    @property
    def is_anchored(self) -> bool:
        """Whether a kept checkpoint shows that nothing signed up to then was cut off or replaced."""
        return self.kept is not None

    @property
    def unpublished(self) -> int:
        """The entries that no published checkpoint covers; their chain was checked and nothing more."""
        return self.entries - (0 if self.published is None else self.published.tree_size)


def audit(
    files: Files,
    paths: PartitionPaths,
    segments: SegmentReader,
    policy: Policy,
    *,
    kept: bytes | None = None,
    progress: Progress | None = None,
) -> Report:
    """Check a partition from its first entry to its last; return what was checked.

    1. The published checkpoint is valid under the policy, and the kept one was signed by the same log.
    2. The chain holds from entry 0 to the last line, and there are as many entries as were signed and acknowledged.
    3. The tree over the entries has the root hashes of both checkpoints.
    4. Every tile of the published tree is what the entries make of it.

    kept: a signed checkpoint from elsewhere.
    Raises: VerificationError naming the first bad place: CorruptLedgerError for an entry, TileMismatchError for a tile,
    InconsistentLogError, with both notes, where the log signed another tree than the kept one.
    Cost: two SHA-256 calls an entry and one a node. Memory: about 2 MiB.
    """
    keep_freed_memory()
    # (1) Who signed what.
    raw = _read_published(files, paths)
    published = None if raw is None else policy.verify(raw)
    anchor = None if kept is None else policy.authenticate(kept)
    signed_sizes = {signed.tree_size for signed in (published, anchor) if signed is not None}
    entries, acknowledged = durable_count(files, paths, segments, max(signed_sizes, default=0))
    needed = _needed(acknowledged, published, anchor)
    # (2) and (4), in one pass; the roots of (3) on the way.
    walk = _Walk(files, paths, segments, published, progress)
    roots = {0: walk.builder.root()}
    for stop in sorted({entries, *(size for size in signed_sizes if size < entries)}):
        roots[stop] = walk.to(stop)
    _require_entries(entries, needed)
    _require_one_log(published, anchor)
    # (3) The entries are those that were signed.
    _require_roots(roots, published, anchor)
    return Report(
        paths.name,
        "" if published is None else published.origin,
        entries,
        None if published is None else published.checkpoint,
        walk.compared,
        None if anchor is None else anchor.checkpoint,
        () if published is None else published.witnesses_met,
    )


class _Walk:
    """One pass over the entries: checks the chain, grows the tree, compares tiles as they are completed."""

    def __init__(
        self,
        files: Files,
        paths: PartitionPaths,
        segments: SegmentReader,
        published: LogSignedCheckpoint | None,
        progress: Progress | None,
    ) -> None:
        self._files = files
        self._paths = paths
        self._segments = segments
        self._tiles = TileFiles(files, paths.root)
        self._published = published
        self._progress = progress
        self._head = ChainHead()
        self.builder = TileBuilder()
        self.compared = 0

    def to(self, stop: int) -> bytes:
        """Walk up to the entry `stop`; return the root hash there."""
        start, end = whole_stretches(self.builder.tree_size, stop)
        self._one_by_one(start)
        stretches = [self._stretch(first) for first in range(start, end, STRETCH_ENTRIES)]
        for stretch, examined in zip(stretches, examine_all(self._files, stretches), strict=True):
            if examined is None or examined.wrong or not examined.follows(self._head):
                self._one_by_one(stretch.stop)
                continue
            self.compared += len(examined.roots) if stretch.mode == COMPARE_TILES else 0
            for root in examined.roots:
                self._compare(self.builder.add_tile(root))
            self._head = ChainHead(stretch.stop, examined.after, examined.last_ts)
            self._tell()
        self._one_by_one(stop)
        if self._published is not None and stop == self._published.tree_size:
            self._compare(self.builder.partial_tiles())
        return self.builder.root()

    def _one_by_one(self, stop: int) -> None:
        try:
            for lines in self._segments.chunks(self.builder.tree_size, stop):
                where = str(self._segments.locate(self.builder.tree_size)[0])
                self._head = check_chain(self._head, self._paths.name.encode(), lines, where)
                self._compare(self.builder.add(leaf_hashes(lines)))
                self._tell()
        except (FormatError, NotFoundError) as err:  # a segment that is too short, a manifest that is wrong or gone
            seq = self.builder.tree_size
            raise CorruptLedgerError(f"the entry cannot be read ({err})", place=f"entry {seq}", seq=seq) from err

    def _stretch(self, first: int) -> Stretch:
        is_published = self._published is not None and first + STRETCH_ENTRIES <= self._published.tree_size
        mode = COMPARE_TILES if is_published else CHECK_CHAIN
        return stretch_of(self._paths, self._segments.segment_entries, first, mode)

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self.builder.tree_size)

    def _compare(self, computed: Iterable[TileHashes]) -> None:
        """Compare computed tiles with the stored ones, as far as the published tree has them."""
        if self._published is None:
            return
        for tile, hashes in computed:
            last = tile.index * TILE_WIDTH + len(hashes)
            if last > self._published.tree_size >> TILE_HEIGHT * tile.level:
                continue
            self.compared += 1
            try:
                (stored,) = self._tiles.read_tiles([tile])
            except Error as err:
                raise TileMismatchError(f"the tile cannot be read ({err}); {REPAIR}", tile=tile.path) from err
            if stored != b"".join(hashes):
                raise self._explain(tile, hashes, stored)

    def _explain(self, tile: Tile, hashes: Sequence[bytes], stored: bytes) -> VerificationError:
        """Say whether the tile or the entries were altered: the one that the checkpoint commits to was not."""
        if self._published is None:
            raise AssertionError("without a checkpoint no tile is compared")
        try:
            TileReader(self._tiles, self._published.tree_size, self._published.root_hash).read_tile(tile)
        except Error:
            return TileMismatchError(f"the tile and the entries under it disagree; {REPAIR}", tile=tile.path)
        for number, (computed, signed) in enumerate(zip(hashes, split_hashes(stored), strict=True)):
            if computed != signed and tile.level == 0:
                seq = tile.index * TILE_WIDTH + number
                return CorruptLedgerError(
                    "the entry is not the one that was signed",
                    place=f"entry {seq} ({self._segments.locate(seq)[0]})",
                    seq=seq,
                    expected=signed.hex(),
                    found=computed.hex(),
                )
        # Entries and level 0 tiles were rewritten together: what differs is the hash over them in a tile above.
        return self._explain_upper(tile, hashes, split_hashes(stored))

    def _explain_upper(self, tile: Tile, computed: Sequence[bytes], signed: Sequence[bytes]) -> CorruptLedgerError:
        number = next(n for n, pair in enumerate(zip(computed, signed, strict=True)) if pair[0] != pair[1])
        width = TILE_WIDTH**tile.level
        start = (tile.index * TILE_WIDTH + number) * width
        return CorruptLedgerError(
            "these entries, and tiles over them, are not those that were signed",
            place=f"entries {start} to {start + width - 1} ({self._segments.locate(start)[0]})",
            seq=start,
            expected=signed[number].hex(),
            found=computed[number].hex(),
        )


def _read_published(files: Files, paths: PartitionPaths) -> Checkpoint | None:
    try:
        return CheckpointFiles(files, paths).published()
    except FormatError as err:
        raise CorruptLedgerError(f"the published checkpoint is no checkpoint ({err})", place=err.what) from err


def _needed(
    acknowledged: int, published: LogSignedCheckpoint | None, anchor: LogSignedCheckpoint | None
) -> list[tuple[int, str]]:
    """Return how many entries somebody has a right to expect, and why."""
    needed = [(acknowledged, "were acknowledged")]
    if published is not None:
        needed.append((published.tree_size, "are covered by the published checkpoint"))
    if anchor is not None:
        needed.append((anchor.tree_size, "are covered by the checkpoint that was kept"))
    return needed


def _require_entries(entries: int, needed: list[tuple[int, str]]) -> None:
    for size, why in needed:
        if size > entries:
            raise CorruptLedgerError(
                f"entries are missing: {size} {why}",
                place=f"entry {entries}",
                seq=entries,
                expected=f"{size} entries",
                found=f"{entries}",
            )


def _require_one_log(published: LogSignedCheckpoint | None, anchor: LogSignedCheckpoint | None) -> None:
    """Check that the kept checkpoint is an earlier one of the same log, or the published one."""
    if anchor is not None and (published is None or published.tree_size < anchor.tree_size):
        raise VerificationError(
            "the published checkpoint is older than the one that was kept: it was put back, or is not the log's last",
            expected=f"tree size {anchor.tree_size} or more",
            found="none" if published is None else f"{published.tree_size}",
        )
    if anchor is not None and published is not None and anchor.origin != published.origin:
        raise VerificationError(
            "the checkpoint that was kept is of another log", expected=published.origin, found=anchor.origin
        )


def _require_roots(
    roots: dict[int, bytes], published: LogSignedCheckpoint | None, anchor: LogSignedCheckpoint | None
) -> None:
    if published is not None and roots[published.tree_size] != published.root_hash:
        raise CorruptLedgerError(
            f"the entries do not make the tree that was signed at size {published.tree_size}",
            place="the published checkpoint",
            expected=published.root_hash.hex(),
            found=roots[published.tree_size].hex(),
        )
    if anchor is not None and published is not None and roots[anchor.tree_size] != anchor.root_hash:
        raise InconsistentLogError(
            f"the log has signed two trees: its entries are not those of the kept one, of size {anchor.tree_size}",
            old_note=anchor.checkpoint.raw,
            new_note=published.checkpoint.raw,
        )
