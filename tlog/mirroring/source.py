"""Where a log's static site is read from: a directory that `tlog export` wrote, or a URL. Nothing of it is believed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tlog.errors import FormatError, NotFoundError, StorageError
from tlog.note import MAX_NOTE_SIZE
from tlog.storage.disk import Files
from tlog.storage.tiles import MAX_TILE_SIZE
from tlog.tile import TILE_WIDTH, Tile
from tlog.witnessing.transport import Transport

MAX_FILE_SIZE = 17 << 20
"""Bytes of any file of a site; the largest is a bundle of 256 entries of 65,535 bytes."""

TIMEOUT_S = 30.0


class Source(Protocol):
    """The files of a log's site."""

    def read(self, path: str, limit: int) -> bytes:
        """Return the bytes of a file, by its path on the site. Raises: NotFoundError, StorageError, FormatError."""


class DirectorySource:
    """A site in a directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files = Files()

    def read(self, path: str, limit: int) -> bytes:
        """See `Source`."""
        return self._files.read(self._root / path, limit)


class WebSource:
    """A site at a URL."""

    def __init__(self, url: str, transport: Transport) -> None:
        """url: http or https, of the directory that holds `checkpoint`."""
        if not url.startswith(("http://", "https://")):
            raise FormatError("URL", f"{url[:80]!r} begins with neither http:// nor https://")
        self._url = url.rstrip("/")
        self._transport = transport

    def read(self, path: str, limit: int) -> bytes:
        """See `Source`."""
        reply = self._transport.send(f"{self._url}/{path}", None, limit=limit, timeout_s=TIMEOUT_S)
        if reply.status == 404:
            raise NotFoundError(f"{self._url}/{path}: is not there")
        if reply.status != 200:
            raise StorageError(f"{self._url}/{path}: the server answered {reply.status}")
        return reply.body


def open_source(place: str) -> Source:
    """Return the source at a URL, or in a directory. Raises: FormatError; StorageError where httpx is missing."""
    if "://" not in place:
        return DirectorySource(Path(place))
    try:
        from tlog.witnessing.web import WebTransport
    except ImportError as err:
        raise StorageError("reading from a URL needs httpx; pip install 'tlog[client]' brings it") from err
    return WebSource(place, WebTransport())


class SourceTiles:
    """The tiles of a source; see `tlog.reader.TileSource`. A partial tile that is gone is cut out of the full one."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def read_tiles(self, tiles: Sequence[Tile]) -> list[bytes]:
        """Return the unverified bytes of each tile."""
        return [self._read(tile) for tile in tiles]

    def _read(self, tile: Tile) -> bytes:
        try:
            return self._source.read(tile.path, MAX_TILE_SIZE)
        except NotFoundError:
            if tile.width == TILE_WIDTH:
                raise
        return self._source.read(Tile(tile.level, tile.index).path, MAX_TILE_SIZE)[: tile.width * 32]


def read_checkpoint(source: Source) -> bytes:
    """Return the unverified checkpoint of a source."""
    return source.read("checkpoint", MAX_NOTE_SIZE)
