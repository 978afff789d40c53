"""Telling peers how one's own tree of a log stands at the size of theirs.

Whoever asks is a stranger, and each answer takes tiles from the log's site. So answers are remembered, few are made at
once, and nothing is looked up for sizes that one's own tree does not have.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256

from tlog.checkpoint import Checkpoint
from tlog.earlier import EarlierRoot, prove_earlier_root
from tlog.errors import BackpressureError, NotFoundError
from tlog.reader import TileReader

MAX_AT_ONCE = 8
"""Answers that are made at the same time, half of what a server's threads are. Requests beyond are refused, so that
whoever asks for something else is served."""

MAX_OF_ONE_LOG = 4
"""Of these, answers about one log: one whose site is slow keeps nobody from asking about another."""

MAX_REMEMBERED = 1024
"""Answers that are remembered, some 2 kB each at most."""

RETRY_AFTER_S = 1.0

TreeOf = Callable[[str], tuple[Checkpoint, TileReader]]
"""Returns the latest checkpoint of a log that was verified here, with the log's own signature, and the reader of its
tree, by the SHA-256 of its origin in hex. Raises: NotFoundError where there is none, or no site to read it from."""


class EarlierRoots:
    """Answers what earlier root hashes one's own trees had. It may be used from several threads."""

    def __init__(self, tree_of: TreeOf) -> None:
        self._tree_of = tree_of
        self._lock = threading.Lock()
        self._busy: Counter[str] = Counter()
        self._made: OrderedDict[tuple[bytes, int], tuple[bytes, tuple[bytes, ...]]] = OrderedDict()

    def answer(self, origin_hash: str, tree_size: int) -> bytes:
        """Return the file that tells the root hash of the first `tree_size` entries in the tree verified last.

        Raises: NotFoundError where there is no tree of that size; BackpressureError where others are being answered;
        what reading tiles raises. Cost: the tiles of two proofs, nothing where the same was asked before.
        """
        checkpoint, tree = self._tree_of(origin_hash)
        if not 1 <= tree_size <= checkpoint.tree_size:
            raise NotFoundError(f"the tree here has {checkpoint.tree_size} entries")
        key = (sha256(checkpoint.text).digest(), tree_size)
        known = self._recall(key)
        if known is not None:
            return EarlierRoot(tree_size, *known, checkpoint).format()
        with self._place(origin_hash):
            made = prove_earlier_root(checkpoint, tree, tree_size)
        self._remember(key, (made.root_hash, made.hashes))
        return made.format()

    @contextmanager
    def _place(self, origin_hash: str) -> Iterator[None]:
        """Take one of the places for answers that are made. Raises: BackpressureError where there is none."""
        with self._lock:
            if self._busy.total() >= MAX_AT_ONCE or self._busy[origin_hash] >= MAX_OF_ONE_LOG:
                raise BackpressureError("others are being answered", RETRY_AFTER_S)
            self._busy[origin_hash] += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy[origin_hash] -= 1

    def _recall(self, key: tuple[bytes, int]) -> tuple[bytes, tuple[bytes, ...]] | None:
        with self._lock:
            known = self._made.get(key)
            if known is not None:
                self._made.move_to_end(key)
            return known

    def _remember(self, key: tuple[bytes, int], made: tuple[bytes, tuple[bytes, ...]]) -> None:
        with self._lock:
            self._made[key] = made
            while len(self._made) > MAX_REMEMBERED:
                self._made.popitem(last=False)
