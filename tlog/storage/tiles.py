"""Tiles as files, under the paths that tlog-tiles gives them. Source: c2sp.org/tlog-tiles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tlog.errors import NotFoundError, StorageError
from tlog.hashing import HASH_SIZE
from tlog.storage.disk import Files
from tlog.tile import TILE_WIDTH, Tile

MAX_TILE_SIZE = TILE_WIDTH * HASH_SIZE


class TileFiles:
    """The tiles below one directory; a `tlog.reader.TileSource`."""

    def __init__(self, files: Files, root: Path) -> None:
        """root: the partition's directory, or that of an exported site."""
        self._files = files
        self.root = root

    def path(self, tile: Tile) -> Path:
        """Return where a tile lies."""
        return self.root / tile.path

    def read_tiles(self, tiles: Sequence[Tile]) -> list[bytes]:
        """Return the unverified bytes of each tile. Raises: NotFoundError, FormatError.

        A partial tile that is gone is cut out of the full tile that took its place.
        """
        return [self._read(tile) for tile in tiles]

    def write_tiles(self, tiles: Sequence[tuple[Tile, bytes]]) -> None:
        """Store tiles durably. Cost: one wait for all. Raises: StorageError."""
        if tiles:
            self._files.replace_many([(self.path(tile), raw) for tile, raw in tiles])

    def remove_partials(self, tile: Tile) -> None:
        """Remove the partial tiles at the place of a full tile."""
        directory = self.path(Tile(tile.level, tile.index, 1)).parent
        for name in self._files.disk.list_dir(directory):
            self._files.disk.unlink(directory / name)
        if self._files.exists(directory):
            self._files.disk.remove_dir(directory)

    def _read(self, tile: Tile) -> bytes:
        try:
            return self._files.read(f"{self.root}/{tile.path}", MAX_TILE_SIZE)
        except NotFoundError:
            if tile.width == TILE_WIDTH:
                raise
        full = Tile(tile.level, tile.index)
        try:
            return self._files.read(self.path(full), MAX_TILE_SIZE)[: tile.width * HASH_SIZE]
        except StorageError as err:
            raise NotFoundError(f"{self.path(tile)}: neither this partial tile nor the full tile exists") from err
