"""Trees that a client has verified: each signed by the log, and grown from the one before it.

A tree's nodes come out of tiles, fetched when a reader first asks for them, and every one is compared with the signed
root hash before it is used (`tlog.reader`). Entries come in bundles, whose leaf hashes must be those of the tree.
Source: c2sp.org/tlog-tiles; RFC 9162 section 2.1.4.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tlog.bundle import MAX_ENTRY_SIZE, decode_bundle
from tlog.client.address import Address
from tlog.client.exchange import Pacing, fetch
from tlog.client.identity import Identity
from tlog.client.memory import REMEDY, Memory
from tlog.client.steps import Flow, Request
from tlog.errors import (
    FormatError,
    InconsistentLogError,
    NotFoundError,
    TileMismatchError,
    UnknownOriginError,
    VerificationError,
)
from tlog.hashing import HASH_SIZE, leaf_hashes
from tlog.note import MAX_NOTE_SIZE
from tlog.policy import LogSignedCheckpoint, VerifiedCheckpoint
from tlog.reader import TileCache, TileReader
from tlog.tile import TILE_WIDTH, Bundle, Tile, tile_at
from tlog.tlogproof import ConsistencyProof
from tlog.verify import verify_consistency

T = TypeVar("T")


class MissingTiles(Exception):  # noqa: N818 - no error: it says what to fetch
    """A reader needs tiles that were not fetched yet."""

    def __init__(self, tiles: Sequence[Tile]) -> None:
        super().__init__(tiles)
        self.tiles = tiles


class FetchedTiles(threading.local):
    """Gives a reader the tiles that were fetched for what its thread is doing, and says which are missing."""

    def __init__(self) -> None:
        self.given: dict[Tile, bytes] = {}

    def read_tiles(self, tiles: Sequence[Tile]) -> Sequence[bytes]:
        """Return the unverified bytes of each tile. Raises: MissingTiles."""
        missing = [tile for tile in tiles if tile not in self.given]
        if missing:
            raise MissingTiles(missing)
        return [self.given[tile] for tile in tiles]


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree of the log. checkpoint: verified, and consistent with all that the client knew before."""

    checkpoint: VerifiedCheckpoint
    reader: TileReader
    source: FetchedTiles

    @property
    def size(self) -> int:
        """The number of entries."""
        return self.checkpoint.tree_size


class Trees:
    """The trees of one log, and what is in them. Any number of threads may use it."""

    def __init__(self, identity: Identity, address: Address, memory: Memory, pacing: Pacing) -> None:
        self.identity = identity
        self._address = address
        self._memory = memory
        self._pacing = pacing
        self._cache = TileCache()
        self._current: Tree | None = None

    def newest(self) -> Flow[Tree]:
        """Fetch the log's checkpoint and return its tree, having verified that it contains the tree known before.

        Raises: InconsistentLogError, the evidence kept, where the log contradicts what it signed; VerificationError
        where its tree is smaller than the one known; NotFoundError where it has published nothing; as `Policy.verify`.
        """
        kept = self._kept()
        raw = yield from fetch(self._request("checkpoint", MAX_NOTE_SIZE), self._pacing)
        new = self.identity.policy.verify(raw)
        if new.origin != self.identity.origin:
            raise UnknownOriginError(new.origin, repr(self.identity.origin))
        if kept is not None and new.tree_size < kept.tree_size:
            message = "the log shows a smaller tree than it has shown before: an old checkpoint, or it went back"
            raise VerificationError(message, expected=f"at least {kept.tree_size}", found=str(new.tree_size))
        tree = self._tree(new)
        while True:
            if kept is not None:
                yield from self._require_growth(kept, tree)
            note = None if kept is None else kept.checkpoint.raw
            is_same = kept is not None and kept.tree_size == new.tree_size
            if self._memory.advance(note, note if note is not None and is_same else new.checkpoint.raw):
                self._current = tree
                return tree
            # Another client was quicker. Its tree and this one must be of one log, whichever is larger.
            kept = self._kept()
            if kept is not None and kept.tree_size > new.tree_size:
                larger = self._tree(self.identity.policy.verify(kept.checkpoint))
                yield from self._require_growth(new, larger)
                self._current = larger
                return larger

    def latest(self, seq: int) -> Flow[Tree]:
        """Return the tree verified last if it has the entry `seq`, otherwise the newest one. Raises: as `newest`."""
        tree = self._current
        return tree if tree is not None and seq < tree.size else (yield from self.newest())

    def covering(self, seq: int) -> Flow[Tree]:
        """Return a verified tree that has the entry `seq`. Raises: NotFoundError where none has; as `newest`."""
        tree = yield from self.latest(seq)
        if not 0 <= seq < tree.size:
            raise NotFoundError(f"entry {seq}: the log {self.identity.origin} has published {tree.size} entries")
        return tree

    def ask(self, tree: Tree, question: Callable[[TileReader], T]) -> Flow[T]:
        """Return what a reader answers, fetching the tiles that it needs. Raises: as the reader, as `fetch`."""
        given: dict[Tile, bytes] = {}
        while True:
            try:
                return self._ask(tree, question, given)
            except MissingTiles as missing:
                wanted = missing.tiles
            for tile in wanted:
                given[tile] = yield from self._fetch(tile, HASH_SIZE * TILE_WIDTH)

    def lines(self, tree: Tree, bundle_index: int) -> Flow[list[bytes]]:
        """Return the leaf data of the bundle at `bundle_index`, compared with the tree.

        Raises: TileMismatchError naming the bundle, or the tile above it; as `fetch`. Cost: a request, and one for each
        tile above that was not used lately; two SHA-256 calls an entry.
        """
        place = tile_at(0, bundle_index, tree.size)
        bundle = Bundle(bundle_index, place.width)
        raw = yield from self._fetch(bundle, (2 + MAX_ENTRY_SIZE) * TILE_WIDTH)
        try:
            lines = decode_bundle(raw, bundle.width)
        except FormatError as err:
            raise TileMismatchError(f"the bundle is damaged: it {err.reason}", tile=bundle.path) from err
        hashes = leaf_hashes(lines)
        if place.width == TILE_WIDTH:
            # A full tile is authenticated by the tile above it, whoever made it: this one need not be fetched.
            given = {place: b"".join(hashes)}
            known = yield from self._leaves(tree, place, given, bundle)
        else:
            known = yield from self.ask(tree, lambda reader: reader.leaf_hashes(bundle_index))
        for offset, (found, expected) in enumerate(zip(hashes, known, strict=True)):
            if found != expected:
                seq = bundle_index * TILE_WIDTH + offset
                message = f"entry {seq} is not the one under the checkpoint"
                raise TileMismatchError(message, tile=bundle.path, expected=expected.hex(), found=found.hex())
        return lines

    def growth(self, old_size: int, tree: Tree) -> Flow[ConsistencyProof]:
        """Return the proof that a tree begins with the one of `old_size` entries. Raises: as `ask`, FormatError."""
        hashes = yield from self.ask(tree, lambda reader: reader.consistency_proof(old_size))
        return ConsistencyProof(old_size, hashes, tree.checkpoint.checkpoint)

    def _leaves(self, tree: Tree, place: Tile, given: dict[Tile, bytes], bundle: Bundle) -> Flow[list[bytes]]:
        """Return the authentic leaf hashes of a full tile, of which `given` has a candidate."""
        while True:
            try:
                return self._ask(tree, lambda reader: reader.read_tile(place), given)
            except MissingTiles as missing:
                wanted = missing.tiles
            except TileMismatchError as err:
                if err.tile != place.path:
                    raise
                message = "its entries are not those under the checkpoint"
                raise TileMismatchError(message, tile=bundle.path) from err
            for tile in wanted:
                given[tile] = yield from self._fetch(tile, HASH_SIZE * TILE_WIDTH)

    @staticmethod
    def _ask(tree: Tree, question: Callable[[TileReader], T], given: dict[Tile, bytes]) -> T:
        before, tree.source.given = tree.source.given, given
        try:
            return question(tree.reader)
        finally:
            tree.source.given = before

    def _tree(self, checkpoint: VerifiedCheckpoint) -> Tree:
        current, source = self._current, FetchedTiles()
        if current is not None and (current.size, current.checkpoint.root_hash) == (
            checkpoint.tree_size,
            checkpoint.root_hash,
        ):
            return Tree(checkpoint, current.reader, current.source)
        reader = TileReader(source, checkpoint.tree_size, checkpoint.root_hash, self._cache)
        return Tree(checkpoint, reader, source)

    def _kept(self) -> LogSignedCheckpoint | None:
        """Return the checkpoint that is remembered, its signature checked. Raises: FormatError, VerificationError."""
        raw = self._memory.read()
        if raw is None:
            return None
        try:
            kept = self.identity.policy.authenticate(raw)
            if kept.origin != self.identity.origin:
                raise UnknownOriginError(kept.origin, repr(self.identity.origin))
        except (FormatError, VerificationError) as err:
            raise VerificationError(f"what is remembered of the log is no checkpoint of it ({err}); {REMEDY}") from err
        return kept

    def _require_growth(self, old: LogSignedCheckpoint, tree: Tree) -> Flow[None]:
        """Check that a tree contains an older one. Raises: InconsistentLogError, the evidence kept."""
        proof = yield from self.growth(old.tree_size, tree)
        try:
            verify_consistency(proof, old=old.checkpoint, policy=self.identity.policy)
        except InconsistentLogError as err:
            place = self._memory.accuse(err, proof)
            message = err.message + ("" if place is None else f"; the evidence is in {place}")
            raise InconsistentLogError(message, old_note=err.old_note, new_note=err.new_note, proof=err.proof) from err

    def _fetch(self, place: Tile | Bundle, limit: int) -> Flow[bytes]:
        """Return the unverified bytes of a tile or bundle.

        A log may have deleted a partial one when the full one came; then the beginning of that is taken.
        """
        try:
            return (
                yield from fetch(self._request(place.path, limit, is_large=isinstance(place, Bundle)), self._pacing)
            )
        except NotFoundError:
            if place.width == TILE_WIDTH:
                raise
        full = place._replace(width=TILE_WIDTH)
        raw = yield from fetch(self._request(full.path, limit, is_large=isinstance(place, Bundle)), self._pacing)
        return raw[: place.width * HASH_SIZE] if isinstance(place, Tile) else _beginning(raw, place.width)

    def _request(self, path: str, limit: int, *, is_large: bool = False) -> Request:
        target = f"/{self.identity.partition}/{path}"
        return self._address.request("GET", target, limit=limit, is_large=is_large)


def _beginning(raw: bytes, width: int) -> bytes:
    """Return the bundle of the first `width` entries of a bundle, as far as it has them."""
    end = 0
    for _ in range(width):
        end += 2 + int.from_bytes(raw[end : end + 2], "big")
    return raw[:end]
