"""Export: a partition as a complete static tlog-tiles site, for any web server, object store or CDN.

Nothing is copied: tiles and entry bundles are made from the entries, and the checkpoint is written only after the tree
over them turned out to be the one that was signed. Source: c2sp.org/tlog-tiles.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tlog.bundle import encode_bundle
from tlog.checkpoint import Checkpoint
from tlog.entry import ChainHead, check_chain
from tlog.errors import CorruptLedgerError, NotFoundError
from tlog.hashing import leaf_hashes
from tlog.integrate import TILE_BATCH, Progress
from tlog.keys import VerifierKey
from tlog.site import vkey_file
from tlog.storage.disk import Files
from tlog.storage.segments import SegmentReader
from tlog.tile import TILE_WIDTH, Bundle, Tile, edge_tiles
from tlog.tilebuilder import TileBuilder, TileHashes


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was exported. tree_size: entries. files, size: number and bytes of the files that the site has."""

    tree_size: int
    files: int
    size: int


def export(
    files: Files,
    segments: SegmentReader,
    directory: Path,
    *,
    checkpoint: Checkpoint,
    vkey: VerifierKey,
    signed_sizes: Iterable[int] = (),
    progress: Progress | None = None,
) -> ExportReport:
    """Write `checkpoint`, `vkey`, `tile/...` and `tile/entries/...` of the published tree into a directory.

    checkpoint: verified. directory: made if it is missing; files that are there with the same bytes stay as they are,
    so that a second export adds what is new. signed_sizes: tree sizes of earlier checkpoints; their partial tiles and
    bundles are written where the full one does not exist yet, for clients that hold such a checkpoint.
    progress: told how many entries are done.
    Raises: CorruptLedgerError naming the first bad entry; the checkpoint is not written then. StorageError.
    Cost: two SHA-256 calls an entry and one a node. Memory: 8 MiB of tiles and as many bundles.
    """
    site = _Site(files, directory)
    builder = TileBuilder()
    head = ChainHead()
    _, _, partition = checkpoint.origin.rpartition("/")
    lines: list[bytes] = []
    for lines in segments.chunks(0, checkpoint.tree_size):
        head = check_chain(head, partition.encode(), lines, str(segments.locate(builder.tree_size)[0]))
        if len(lines) == TILE_WIDTH:
            site.add(Bundle(builder.tree_size // TILE_WIDTH), encode_bundle(lines))
        for tile, hashes in builder.add(leaf_hashes(lines)):
            site.add(tile, b"".join(hashes))
        if progress is not None:
            progress(builder.tree_size)
    lines = lines if checkpoint.tree_size % TILE_WIDTH else []
    for tile, hashes in _partial_tiles(builder, signed_sizes):
        site.add(tile, b"".join(hashes))
        if tile.level == 0:
            site.add(Bundle(tile.index, tile.width), encode_bundle(lines[: tile.width]))
    if builder.root() != checkpoint.root_hash:
        raise CorruptLedgerError(
            f"the entries do not make the tree that was signed at size {checkpoint.tree_size}; 'tlog verify' tells",
            place=str(directory),
            expected=checkpoint.root_hash.hex(),
            found=builder.root().hex(),
        )
    site.flush()
    site.add_file(directory / "vkey", vkey_file(vkey))
    site.flush()
    site.add_file(directory / "checkpoint", checkpoint.raw)
    site.flush()
    return ExportReport(checkpoint.tree_size, site.count, site.size)


def _partial_tiles(builder: TileBuilder, signed_sizes: Iterable[int]) -> Iterator[TileHashes]:
    """Yield the partial tiles of the tree, and those of smaller trees at the same places."""
    current = {(tile.level, tile.index): hashes for tile, hashes in builder.partial_tiles()}
    wanted = set(edge_tiles(builder.tree_size))
    for size in signed_sizes:
        wanted.update(tile for tile in edge_tiles(size) if tile.width <= len(current.get((tile.level, tile.index), ())))
    for tile in sorted(wanted):
        yield tile, current[tile.level, tile.index][: tile.width]


class _Site:
    """The files of a site, written in batches."""

    def __init__(self, files: Files, directory: Path) -> None:
        self._files = files
        self._directory = directory
        self._batch: list[tuple[Path, bytes]] = []
        self.count = 0
        self.size = 0

    def add(self, place: Tile | Bundle, data: bytes) -> None:
        self.add_file(self._directory / place.path, data)

    def add_file(self, path: Path, data: bytes) -> None:
        self.count += 1
        self.size += len(data)
        if not self._is_there(path, data):
            self._batch.append((path, data))
        if len(self._batch) >= TILE_BATCH:
            self.flush()

    def flush(self) -> None:
        if self._batch:
            self._files.replace_many(self._batch)
            self._batch = []

    def _is_there(self, path: Path, data: bytes) -> bool:
        if self._files.size(path) != len(data):
            return False
        try:
            return self._files.read(path, len(data)) == data
        except NotFoundError:
            return False
