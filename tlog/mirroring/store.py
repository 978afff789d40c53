"""The copy of one log: a tlog-tiles site that grows by verified bundles, and is published when it is whole.

Bundles are stored as they come, once they are proved to belong to a tree that the log signed. The tiles over them, and
the checkpoint with the mirror's cosignature, follow when all entries of that tree are durable, in this order; so what
the checkpoint implies can be fetched at every moment, and no step goes back. Source: c2sp.org/tlog-mirror,
c2sp.org/tlog-tiles.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tlog.bundle import MAX_ENTRY_SIZE, decode_bundle, encode_bundle
from tlog.checkpoint import Checkpoint
from tlog.errors import CorruptLedgerError, FormatError, NotFoundError
from tlog.hashing import leaf_hashes
from tlog.note import MAX_NOTE_SIZE, NoteSignature
from tlog.reader import TileReader
from tlog.storage.disk import Files
from tlog.storage.tiles import MAX_TILE_SIZE, TileFiles
from tlog.tile import TILE_HEIGHT, TILE_WIDTH, Bundle, Tile
from tlog.tilebuilder import TileBuilder

TILE_BATCH = 256
"""Tiles that are written together."""

MAX_BUNDLE_SIZE = TILE_WIDTH * (MAX_ENTRY_SIZE + 2)

_REMEDY = "move this copy away, and have the mirror pull it again, or the log push it"


class MirrorStore:
    """The copy of one log. Threads may use it at once; one process at a time writes to it."""

    def __init__(self, files: Files, root: Path) -> None:
        """root: the directory that is served, `<origin hash>`."""
        self.root = root
        self._files = files
        self._tiles = TileFiles(files, root)
        self._mutex = threading.RLock()
        self._next: int | None = None

    def checkpoint(self) -> Checkpoint | None:
        """Return the mirror checkpoint, None before the first. It was verified before it was stored.

        Raises: CorruptLedgerError where the file is damaged.
        """
        path = self.root / "checkpoint"
        try:
            return Checkpoint.parse(self._files.read(path, MAX_NOTE_SIZE))
        except NotFoundError:
            return None
        except FormatError as err:
            raise CorruptLedgerError(f"the mirror checkpoint is damaged ({err.reason})", place=str(path)) from err

    def next_entry(self) -> int:
        """Return the index of the first entry that is not here. Cost: once a process, a directory of bundles."""
        with self._mutex:
            if self._next is None:
                self._next = self._find_next()
            return self._next

    def entries(self, index: int, width: int) -> list[bytes]:
        """Return the first `width` entries of a bundle. Raises: NotFoundError, CorruptLedgerError."""
        for found in (TILE_WIDTH, *range(width, TILE_WIDTH)):
            path = self.root / Bundle(index, found).path
            if self._files.exists(path):
                try:
                    return decode_bundle(self._files.read(path, MAX_BUNDLE_SIZE), found)[:width]
                except FormatError as err:
                    raise CorruptLedgerError(
                        f"the bundle is damaged ({err.reason}); {_REMEDY}", place=str(path)
                    ) from err
        raise NotFoundError(f"{self.root}: the first {width} entries of bundle {index} are not here")

    def put(self, index: int, entries: Sequence[bytes]) -> None:
        """Store the first entries of a bundle durably, which were proved to be of the log. What is there stays."""
        with self._mutex:
            size = index * TILE_WIDTH + len(entries)
            if size <= self.next_entry():
                return
            if index * TILE_WIDTH > self.next_entry():
                raise AssertionError("bundles are stored in their order")
            self._files.replace_many([(self.root / Bundle(index, len(entries)).path, encode_bundle(entries))])
            self._next = size

    def commit(self, checkpoint: Checkpoint, sign: Callable[[Checkpoint], Checkpoint]) -> Checkpoint | None:
        """Make the tiles of a tree whose entries are all here, then its checkpoint the mirror's; return it, signed.

        checkpoint: consistent with the one before, with no line that was not verified. Lines that the mirror has for
        the very same text stay. sign: adds the mirror's cosignatures; called when all entries and tiles are durable.
        Returns None, and changes nothing, where the mirror's checkpoint is larger. Raises: CorruptLedgerError where the
        entries do not make the root, FormatError where the cosignatures do not fit into the note.
        """
        with self._mutex:
            before = self.checkpoint()
            if before is not None and before.tree_size > checkpoint.tree_size:
                return None
            if before is None or before.tree_size < checkpoint.tree_size:
                self._store_tree(before, checkpoint)
            elif before.root_hash != checkpoint.root_hash:
                raise self._corrupt(checkpoint, before.root_hash)
            signed = sign(merged(checkpoint, before))
            if len(signed.raw) > MAX_NOTE_SIZE:
                raise FormatError(
                    "checkpoint", f"with the mirror's cosignatures it has more than {MAX_NOTE_SIZE} bytes"
                )
            if before is None or before.text != signed.text or _names(before.signatures) != _names(signed.signatures):
                self._files.replace(self.root / "checkpoint", signed.raw)
                self._remove_partials(0 if before is None else before.tree_size, signed.tree_size)
            return signed

    def _store_tree(self, before: Checkpoint | None, checkpoint: Checkpoint) -> None:
        """Make the tiles that a checkpoint implies, and see that the names of its bundles are durable."""
        first = 0 if before is None else before.tree_size // TILE_WIDTH
        builder = self._builder(before)
        batch: list[tuple[Tile, bytes]] = []
        while builder.tree_size < checkpoint.tree_size:
            index, offset = divmod(builder.tree_size, TILE_WIDTH)
            width = min(checkpoint.tree_size - index * TILE_WIDTH, TILE_WIDTH)
            hashes = leaf_hashes(self.entries(index, width)[offset:])
            batch += [(tile, b"".join(row)) for tile, row in builder.add(hashes)]
            if len(batch) >= TILE_BATCH:
                self._tiles.write_tiles(batch)
                batch = []
        if builder.root() != checkpoint.root_hash:
            raise self._corrupt(checkpoint, builder.root())
        batch += [(tile, b"".join(row)) for tile, row in builder.partial_tiles()]
        self._tiles.write_tiles(batch)
        self._store_partial_bundle(checkpoint.tree_size)
        # A process that was killed may have left names in the page cache that no disk has.
        last, width = divmod(checkpoint.tree_size, TILE_WIDTH)
        directories = {(self.root / Bundle(index).path).parent for index in range(first, last)}
        if width:
            directories.add((self.root / Bundle(last, width).path).parent)
        for directory in sorted(directories):
            self._files.ensure_dir(directory)
            self._files.disk.sync_dir(directory)

    def _remove_partials(self, old_size: int, new_size: int) -> None:
        """Remove the partial tiles and bundles that full ones have replaced; otherwise they outgrow the entries."""
        for level in range(TILE_HEIGHT):
            index = old_size >> TILE_HEIGHT * (level + 1)
            if index < new_size >> TILE_HEIGHT * (level + 1):
                places: list[Tile | Bundle] = (
                    [Tile(level, index, 1)] if level else [Tile(0, index, 1), Bundle(index, 1)]
                )
                for directory in ((self.root / place.path).parent for place in places):
                    for name in self._files.disk.list_dir(directory):
                        self._files.disk.unlink(directory / name)
                    if self._files.exists(directory):
                        self._files.disk.remove_dir(directory)

    def _corrupt(self, checkpoint: Checkpoint, found: bytes) -> CorruptLedgerError:
        return CorruptLedgerError(
            f"the mirrored entries do not make the tree of size {checkpoint.tree_size}; {_REMEDY}",
            place=str(self.root),
            expected=checkpoint.root_hash.hex(),
            found=found.hex(),
        )

    def read(self, place: Tile | Bundle) -> bytes:
        """Return the bytes of a tile or bundle that is here. Raises: NotFoundError."""
        limit = MAX_TILE_SIZE if isinstance(place, Tile) else MAX_BUNDLE_SIZE
        return self._files.read(self.root / place.path, limit)

    def reader(self) -> TileReader | None:
        """Return the reader of the mirrored tree, None before the first checkpoint."""
        checkpoint = self.checkpoint()
        return None if checkpoint is None else TileReader(self._tiles, checkpoint.tree_size, checkpoint.root_hash)

    def _builder(self, before: Checkpoint | None) -> TileBuilder:
        reader = None if before is None else TileReader(self._tiles, before.tree_size, before.root_hash)
        return TileBuilder() if reader is None else TileBuilder(reader.tree_size, reader.edge())

    def _store_partial_bundle(self, tree_size: int) -> None:
        """Have the bundle at the tree's right edge in exactly the width that its checkpoint implies."""
        index, width = divmod(tree_size, TILE_WIDTH)
        if width and not self._files.exists(self.root / Bundle(index, width).path):
            raw = encode_bundle(self.entries(index, width))
            self._files.replace_many([(self.root / Bundle(index, width).path, raw)])

    def _find_next(self) -> int:
        """Look where the bundles end: behind the mirror checkpoint, one by one."""
        checkpoint = self.checkpoint()
        size = 0 if checkpoint is None else checkpoint.tree_size
        index = size // TILE_WIDTH
        while self._files.exists(self.root / Bundle(index).path):
            index += 1
        for width in range(TILE_WIDTH - 1, 0, -1):
            if self._files.exists(self.root / Bundle(index, width).path):
                return max(size, index * TILE_WIDTH + width)
        return max(size, index * TILE_WIDTH)


def merged(checkpoint: Checkpoint, before: Checkpoint | None) -> Checkpoint:
    """Return the checkpoint with the further lines of an earlier one of the same text; newer lines of a key win."""
    if before is None or before.text != checkpoint.text:
        return checkpoint
    new = _names(checkpoint.signatures)
    kept = [line for line in before.signatures if (line.name, line.key_id) not in new]
    return replace(checkpoint, signatures=(*checkpoint.signatures, *kept))


def _names(lines: Sequence[NoteSignature]) -> set[tuple[str, bytes]]:
    return {(line.name, line.key_id) for line in lines}
