from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import naive
from tests.vectors import SUNLIGHT, TESSERA_LOG, TILE_PATHS, load_json
from tlog.bundle import decode_bundle, encode_bundle
from tlog.errors import Error, FormatError
from tlog.hashing import EMPTY_ROOT, leaf_hashes, perfect_root, split_hashes
from tlog.policy import Policy
from tlog.tile import Bundle, Tile, edge_tiles, new_bundles, new_tiles, parse_path, tile_at
from tlog.tilebuilder import TileBuilder

PATHS = load_json(TILE_PATHS)
PYRAMID = naive.Pyramid(1 << 10)
TESSERA_VKEY = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
TESSERA_ENTRIES = (
    b"one two three four five six seven eit nain ten ileven twelf threeten fourten fivten".split()  # its own spelling
)
MIRROR = SUNLIGHT / "witness" / "mirror" / "000de184301123b9278c086a7d9f68c9577e83872224c197058fd90784ea9706"

coordinates = st.tuples(st.integers(0, 2**63 - 1), st.integers(1, 256))


def test_the_path_table_is_complete() -> None:
    """All 13 good and 16 bad paths are there."""
    assert (len(PATHS["ok"]), len(PATHS["bad"])) == (13, 16)


@pytest.mark.parametrize(("path", "level", "index", "width"), PATHS["ok"])
def test_good_paths(path: str, level: int | str, index: int, width: int) -> None:
    """The paths of golang/mod and tessera are read and written; indexes beyond 2^63 - 1 are refused."""
    if index > 2**63 - 1:
        with pytest.raises(FormatError, match="larger than"):
            parse_path(path)
        return
    expected = Bundle(index, width) if level == "entries" else Tile(int(level), index, width)
    assert parse_path(path) == expected
    assert type(parse_path(path)) is type(expected)
    assert expected.path == path


@pytest.mark.parametrize("path", PATHS["bad"])
def test_bad_paths(path: str) -> None:
    """The paths that golang/mod and tessera refuse are refused."""
    with pytest.raises(FormatError):
        parse_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "", "tile", "tile/0", "tile/0/", "tile/00/000", "tile/01/000", "tile/0/00", "tile/0/0000", "tile/0/x000/000",
        "tile/0/x000/x001/000", "tile/0/000.p/0", "tile/0/000.p/00", "tile/0/000.p/01", "tile/0/000.p/256",
        "tile/0/000.p/1000", "tile/0/000.p/-1", "tile/0/000.p/+1", "tile/0/000.p/1/", "/tile/0/000", "tile/0/000/",
        "tile/0/000\n", "tile/0/000.p/1\n", "tile/0/٠٠٠", "tile/٠/000", "tile/0/000.P/1", "tile//000",
        "tile/0//000", "tile/0/../0/000", "tile/entries/", "tile/entries/000.p/", "tile/data/000", "Tile/0/000",
        "tile/0/x001/x234/x067", "tile/0/001/234/067", "tile/64/000", "tile/100/000", "tile/8/0/000",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999", "tile/0/" + "x000/" * 20 + "000", "t" * 10**6,
        "tile/0/000\0", "tile/0/000%2ep/1", "tile/0/000.p/1.p/1", "tile/entries/x009/x223/x372/x036/x854/x775/808",
    ],
)  # fmt: skip
def test_other_spellings(path: str) -> None:
    """No second spelling of a path is accepted: no empty groups, zeros, signs, other digits, line ends, dots."""
    with pytest.raises(FormatError):
        parse_path(path)


@given(st.integers(0, 63), coordinates)
def test_tile_paths_round_trip(level: int, place: tuple[int, int]) -> None:
    """The path of any tile or bundle leads back to it, and no other path does."""
    for found in (Tile(level, *place), Bundle(*place)):
        assert parse_path(found.path) == found


@given(st.one_of(st.text(), st.text("tile/0123456789x.pentris-+", max_size=40), st.from_regex(r"tile/.{0,30}")))
def test_arbitrary_paths(text: str) -> None:
    """Arbitrary text is either the canonical path of a tile, or refused with our error."""
    try:
        found = parse_path(text)
    except Error:
        return
    assert found.path == text


def naive_tiles(size: int) -> dict[tuple[int, int], int]:
    """Return the width of each tile by the words of tlog-tiles: level l holds floor(size / 256^l) hashes."""
    widths = {}
    level, count = 0, size
    while count:
        for index in range(count // 256):
            widths[level, index] = 256
        if count % 256:
            widths[level, count // 256] = count % 256
        level, count = level + 1, count // 256
    return widths


SIZES = [*range(5), 255, 256, 257, 300, 511, 512, 513, 1000, 65535, 65536, 65537, 66311, 70000]


def test_worked_examples() -> None:
    """The examples of tlog-tiles: sizes 70,000 and 256."""
    tiles = naive_tiles(70000)
    assert sum(level == 0 for level, _ in tiles) == 274
    assert edge_tiles(70000) == [Tile(2, 0, 1), Tile(1, 1, 17), Tile(0, 273, 112)]
    assert [tile.path for tile in edge_tiles(70000)] == ["tile/2/000.p/1", "tile/1/001.p/17", "tile/0/273.p/112"]
    assert [tile.path for tile in new_tiles(0, 256)] == ["tile/0/000", "tile/1/000.p/1"]


@pytest.mark.parametrize("size", SIZES)
def test_tiles_of_a_size(size: int) -> None:
    """A tree has the tiles that the specification's formula gives, and its partial ones are its right edge."""
    widths = naive_tiles(size)
    assert {(tile.level, tile.index): tile.width for tile in new_tiles(0, size)} == widths
    assert len(list(new_tiles(0, size))) == len(widths)
    assert edge_tiles(size) == sorted((Tile(*at, width) for at, width in widths.items() if width < 256), reverse=True)
    for (level, index), width in widths.items():
        assert tile_at(level, index, size) == Tile(level, index, width)
    for level in range(4):
        beyond = 1 + max((index for at, index in widths if at == level), default=-1)
        with pytest.raises(FormatError, match="has no tile"):
            tile_at(level, beyond, size)


@pytest.mark.parametrize("old", SIZES)
@pytest.mark.parametrize("new", SIZES)
def test_new_tiles(old: int, new: int) -> None:
    """The tiles new between two sizes are those of the larger one that the smaller one has not."""
    if old <= new:
        before = {Tile(*at, width) for at, width in naive_tiles(old).items()}
        after = {Tile(*at, width) for at, width in naive_tiles(new).items()}
        assert sorted(new_tiles(old, new)) == sorted(after - before)
        entries = {Bundle(tile.index, tile.width) for tile in after - before if tile.level == 0}
        assert sorted(new_bundles(old, new)) == sorted(entries)


@pytest.mark.parametrize(("level", "index"), [(0, -1), (3, -1), (-1, 0), (0, -257), (0, 2**64), (200, 0), (63, 0)])
def test_hostile_places(level: int, index: int) -> None:
    """S7: nodes and tiles outside the tree are refused, also left of it."""
    with pytest.raises(FormatError):
        tile_at(level, index, 1000)


def test_tessera_log_bit_for_bit() -> None:
    """From its 15 entries, tessera's test log comes out bit for bit: bundles, tiles, roots, at all 16 sizes."""
    policy = Policy.for_log(TESSERA_VKEY)
    builder = TileBuilder()
    for size in range(16):
        checkpoint = policy.verify((TESSERA_LOG / f"checkpoint.{size}").read_bytes())
        assert checkpoint.tree_size == size
        assert checkpoint.root_hash == builder.root()
        stored = {str(path.relative_to(TESSERA_LOG)) for path in TESSERA_LOG.rglob(f"*.p/{size}")}
        paths = [tile.path for tile in new_tiles(0, size)] + [bundle.path for bundle in new_bundles(0, size)]
        assert stored == set(paths)
        assert len(paths) == (2 if size else 0)
        for tile, hashes in builder.partial_tiles():
            assert b"".join(hashes) == (TESSERA_LOG / tile.path).read_bytes()
        for bundle in new_bundles(0, size):
            raw = (TESSERA_LOG / bundle.path).read_bytes()
            assert encode_bundle(TESSERA_ENTRIES[:size]) == raw
            assert decode_bundle(raw, size) == TESSERA_ENTRIES[:size]
        builder.add(leaf_hashes(TESSERA_ENTRIES[size : size + 1]))
    assert base64.b64encode(checkpoint.root_hash) == b"rKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383cs="


def test_sunlight_tiles_bit_for_bit() -> None:
    """The tiles of sunlight's 300-leaf mirror: from its leaf hashes come its level 1 tile and the signed root."""
    full, rest = ((MIRROR / path).read_bytes() for path in ("tile/0/000", "tile/0/001.p/44"))
    builder = TileBuilder()
    completed = builder.add(split_hashes(full))
    assert completed == [(Tile(0, 0), split_hashes(full))]
    assert builder.add(split_hashes(rest)) == []
    partial = {tile.path: b"".join(hashes) for tile, hashes in builder.partial_tiles()}
    assert partial == {
        "tile/1/000.p/1": (MIRROR / "tile/1/000.p/1").read_bytes(),
        "tile/0/001.p/44": rest,
    }
    lines = (MIRROR / "checkpoint").read_bytes().split(b"\n")
    assert lines[1:3] == [b"300", base64.b64encode(builder.root())]
    assert lines[2] == b"gw31yQrqZZCcEOPrzX+bpy3nJ6QgngTKn8G1m0i62uU="


def test_empty_tree() -> None:
    """A tree of no leaves has no tiles and the root SHA-256("")."""
    builder = TileBuilder()
    nothing: list[Any] = []
    assert builder.root() == EMPTY_ROOT
    assert (builder.partial_tiles(), edge_tiles(0), list(new_tiles(0, 0)), list(new_bundles(0, 0))) == (nothing,) * 4
    assert perfect_root([EMPTY_ROOT]) == EMPTY_ROOT
