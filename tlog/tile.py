"""Tiles of 256 hashes and bundles of 256 entries: coordinates, paths, and which of them a tree of a given size has.

A tile at tile level L and index N holds the Merkle tree hashes of 256 consecutive perfect subtrees of 256^L leaves. The
width of a partial tile follows from the tree size alone, and a partial tile is never hashed into the level above.

Source: c2sp.org/tlog-tiles.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from tlog._strict import MAX_TREE_SIZE, parse_decimal
from tlog.errors import FormatError

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
MAX_TILE_LEVEL = 63
MAX_PATH_LENGTH = 64

_PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([0-9]{1,3}))?", re.ASCII)


class Tile(NamedTuple):
    """A tile of hashes. level: 0 to 63, 0 holds leaf hashes. index: zero-based. width: 1 to 256 hashes, 256 is full."""

    level: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no tile needs
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """The path below the log's prefix, e.g. `tile/0/x001/x234/067.p/112`."""
        return f"tile/{self.level}/{_format_index(self.index, self.width)}"


class Bundle(NamedTuple):
    """A bundle of entries, those of the level 0 tile with the same index and width. width: 1 to 256 entries."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which no tile needs
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """The path below the log's prefix, e.g. `tile/entries/000.p/7`."""
        return f"tile/entries/{_format_index(self.index, self.width)}"


def parse_path(path: str) -> Tile | Bundle:
    """Return the tile or bundle with this path. Raises: FormatError for any other spelling than the canonical one."""
    match = _PATH.fullmatch(path) if len(path) <= MAX_PATH_LENGTH else None
    if match is None:
        raise FormatError("tile path", f"{path[:80]!r} is not tile/<level or entries>/<index>[.p/<width>]")
    index = int(match[2].replace("x", "").replace("/", ""))
    width = TILE_WIDTH if match[3] is None else parse_decimal(match[3], "tile width", TILE_WIDTH - 1)
    if index > MAX_TREE_SIZE:
        raise FormatError("tile path", f"the index {index} is larger than {MAX_TREE_SIZE}")
    if match[1] == "entries":
        found: Tile | Bundle = Bundle(index, width)
    else:
        found = Tile(parse_decimal(match[1], "tile level", MAX_TILE_LEVEL), index, width)
    if width == 0 or found.path != path:
        raise FormatError("tile path", f"{path!r} is not canonical")
    return found


def edge_tiles(tree_size: int) -> list[Tile]:
    """Return the partial tiles of a tree, from the highest level down; they hold its whole right edge.

    Cost: at most 8 tiles. Source: c2sp.org/tlog-tiles (partial tiles).
    """
    edge = []
    level, count = 0, tree_size
    while count:
        if count % TILE_WIDTH:
            edge.append(Tile(level, count // TILE_WIDTH, count % TILE_WIDTH))
        level, count = level + 1, count // TILE_WIDTH
    edge.reverse()
    return edge


def new_tiles(old_size: int, new_size: int) -> Iterator[Tile]:
    """Yield the tiles that a tree of `new_size` has and one of `old_size` has not, level by level upwards."""
    level, old_count, new_count = 0, old_size, new_size
    while new_count:
        for index in range(old_count // TILE_WIDTH, new_count // TILE_WIDTH):
            yield Tile(level, index)
        if new_count % TILE_WIDTH and old_count != new_count:
            yield Tile(level, new_count // TILE_WIDTH, new_count % TILE_WIDTH)
        level, old_count, new_count = level + 1, old_count // TILE_WIDTH, new_count // TILE_WIDTH


def new_bundles(old_size: int, new_size: int) -> Iterator[Bundle]:
    """Yield the entry bundles that a tree of `new_size` has and one of `old_size` has not."""
    for index in range(old_size // TILE_WIDTH, new_size // TILE_WIDTH):
        yield Bundle(index)
    if new_size % TILE_WIDTH and old_size != new_size:
        yield Bundle(new_size // TILE_WIDTH, new_size % TILE_WIDTH)


def tile_at(level: int, index: int, tree_size: int) -> Tile:
    """Return the tile at this place with the width that it has in a tree of `tree_size`.

    Raises: FormatError where the tree has no such tile.
    """
    width = min((tree_size >> TILE_HEIGHT * level) - index * TILE_WIDTH, TILE_WIDTH) if level >= 0 else 0
    if width <= 0 or index < 0:
        raise FormatError("tile", f"a tree of size {tree_size} has no tile at level {level}, index {index}")
    return Tile(level, index, width)


def _format_index(index: int, width: int) -> str:
    path = f"{index % 1000:03d}"
    while index >= 1000:
        index //= 1000
        path = f"x{index % 1000:03d}/{path}"
    return path if width == TILE_WIDTH else f"{path}.p/{width}"
