"""Parties that lie: witnesses, and monitors. What they say about the log is made up, old, or of another tree."""

from __future__ import annotations

import random
from dataclasses import replace

from simulate.checks import Checks
from simulate.network import EPOCH_S, Network, give_out
from simulate.readers import Leaves
from tlog.checkpoint import Checkpoint
from tlog.earlier import EarlierRoot, prove_earlier_root
from tlog.errors import Error
from tlog.evidence import Evidence
from tlog.hashing import HASH_SIZE
from tlog.keys import SigningKey, VerifierKey
from tlog.note import sign_line
from tlog.reader import TileReader
from tlog.tlogproof import MAX_PROOF_HASHES
from tlog.witnessing.request import AddCheckpoint, origin_hash
from tlog.witnessing.transport import Reply
from tlog_server.party import SIZE_TYPE

TEXT = "text/plain"
HUGE = (b"9223372036854775807\n", b"9223372036854775808\n", b"9" * 4000 + b"\n", b"-1\n", b"00\n", b"0\n", b"7\n")


def forged_root(rng: random.Random, true: Checkpoint, size: int) -> bytes:
    """Return a lie about the root that a tree had at a size: made-up hashes, another size, another key, or garbage."""
    if not 1 <= size <= true.tree_size or rng.random() < 0.1:
        return rng.choice((b"", b"\xff" * 100, true.raw, rng.randbytes(3000)))
    count = rng.choice((0, 1, 3, size.bit_length(), MAX_PROOF_HASHES))
    lie = EarlierRoot(
        rng.choice((size, size, size, 1, true.tree_size)),
        rng.choice((true.root_hash, rng.randbytes(HASH_SIZE))),
        tuple(rng.randbytes(HASH_SIZE) for _ in range(count)),
        true,
    )
    if rng.random() < 0.3:
        lie = replace(lie, checkpoint=replace(true, root_hash=rng.randbytes(HASH_SIZE)))
    elif rng.random() < 0.3:
        name = rng.choice((true.origin, "other.example/log"))
        stranger = SigningKey.from_seed(name, rng.randbytes(HASH_SIZE))
        lie = replace(lie, checkpoint=Checkpoint(name, true.tree_size, true.root_hash).sign(stranger))
    return lie.format()


class LyingWitness:
    """Has the key that policies name, and does not do what a witness does."""

    def __init__(self, name: str, key: SigningKey, kind: str, place: tuple[Network, Checks]) -> None:
        """kind: one of `plan.WITNESS_LIES`."""
        self.name, self._key, self._kind = name, key, kind
        self._network, self._checks = place
        self._notes: dict[str, list[bytes]] = {}
        self._first: dict[str, bytes] = {}
        self._rng = random.Random(name)
        self._network.handlers[name] = self.answer

    def answer(self, src: str, path: str, body: bytes | None) -> Reply:
        """Lie."""
        del src
        if self._kind == "silent":
            return Reply(self._rng.choice((500, 503, 302, 404)), TEXT, b"\x1b[31mno\n")
        if self._kind == "garbage":
            return Reply(200, TEXT, self._rng.randbytes(self._rng.choice((0, 10, 3000))))
        if body is None:
            return self._shown(path)
        if self._kind == "huge sizes" and self._rng.random() < 0.8:
            return Reply(409, SIZE_TYPE, self._rng.choice(HUGE))
        request = AddCheckpoint.parse(body)
        line = sign_line(self._key, request.note.text, timestamp_s=EPOCH_S + int(self._network.clock()))
        self._notes.setdefault(origin_hash(request.origin), []).append(request.note.raw + f"{line}\n".encode())
        signed = f"{line}\n".encode()
        return Reply(200, TEXT, self._first.setdefault(request.origin, signed) if self._kind == "replays" else signed)

    def _shown(self, path: str) -> Reply:
        """Answer monitors: whatever it has, or made up."""
        place, _, size = path.partition("/consistency/")
        notes = self._notes.get(place.removesuffix("/checkpoint"))
        if not notes:
            return Reply(404, TEXT, b"")
        if size:
            self._checks.counts["lies about earlier roots"] += 1
            return Reply(200, TEXT, forged_root(self._rng, Checkpoint.parse(self._rng.choice(notes)), int(size)))
        return Reply(200, TEXT, notes[0] if self._kind == "replays" else self._rng.choice(notes))


class LyingMonitor:
    """Says nothing, old things, or accuses everybody."""

    def __init__(self, name: str, kind: str, place: tuple[Network, Checks], logs: dict[str, VerifierKey]) -> None:
        """kind: one of `plan.MONITOR_LIES`."""
        self.name, self._kind = name, kind
        self._network, self._checks = place
        self._logs = logs
        self._seen: dict[str, list[tuple[Checkpoint, TileReader]]] = {key.name: [] for key in logs.values()}
        self._origins = {origin_hash(key.name): key.name for key in logs.values()}
        self._rng = random.Random(name)
        self._files: list[bytes] = []
        self._network.handlers[name] = self.answer

    def follow(self) -> None:
        """Collect what may be twisted later."""
        for log, key in self._logs.items():
            try:
                reply = self._network.ask(self.name, log, "tree")
                length, _, rest = reply.body.partition(b"\n")
                if length:
                    seen, leaves = Checkpoint.parse(rest[: int(length)]), Leaves(rest[int(length) :])
                    self._seen[key.name].append((seen, TileReader(leaves, seen.tree_size, seen.root_hash)))
            except Error:
                continue

    def gossip(self) -> None:
        """Ask nobody."""

    def answer(self, src: str, path: str, body: bytes | None) -> Reply:
        """Lie."""
        del src, body
        if self._kind == "silent":
            return Reply(503, TEXT, b"")
        if not path.startswith("evidence"):
            place, _, size = path.partition("/consistency/")
            seen = self._seen[self._origins[place.removesuffix("/checkpoint")]]
            if not seen:
                return Reply(404, TEXT, b"")
            if size:
                return Reply(200, TEXT, self._root(seen, int(size)))
            return Reply(200, TEXT, self._shown([checkpoint for checkpoint, _ in seen]).raw)
        if path == "evidence":
            shown = [[checkpoint for checkpoint, _ in seen] for seen in self._seen.values() if seen]
            self._files = [self._accusation(seen).format() for seen in shown]
        return give_out(self._files, path)

    def _shown(self, seen: list[Checkpoint]) -> Checkpoint:
        """Return the checkpoint that is shown: an old one, any of those that were shown here, or none of the log."""
        if self._kind == "forges evidence" and self._rng.random() < 0.5:
            return self._forged(seen[-1])
        return seen[0] if self._kind == "stale" else self._rng.choice(seen)

    def _root(self, seen: list[tuple[Checkpoint, TileReader]], size: int) -> bytes:
        """Answer about an earlier root: out of whatever tree was seen once, which may be proven well, or made up."""
        true, tree = seen[0] if self._kind == "stale" else self._rng.choice(seen)
        if 1 <= size <= true.tree_size and (self._kind == "stale" or self._rng.random() < 0.3):
            return prove_earlier_root(true, tree, size).format()
        self._checks.counts["lies about earlier roots"] += 1
        return forged_root(self._rng, true, size)

    def _forged(self, true: Checkpoint) -> Checkpoint:
        """Return a checkpoint of another tree, with the log's signature of the true one, or one by a key of its own."""
        forged = replace(true, tree_size=max(true.tree_size, 1), root_hash=self._rng.randbytes(HASH_SIZE))
        if self._rng.random() < 0.5:
            return forged
        key = SigningKey.from_seed(true.origin, self._rng.randbytes(HASH_SIZE))
        return Checkpoint(true.origin, forged.tree_size, forged.root_hash).sign(key)

    def _accusation(self, seen: list[Checkpoint]) -> Evidence:
        """Return evidence that does not hold: true checkpoints with made-up hashes, or a forged one."""
        against, shown = self._rng.choice(seen), seen[-1]
        if self._rng.random() < 0.3 and against.tree_size:
            return Evidence(against, replace(against, root_hash=self._rng.randbytes(HASH_SIZE)))
        if against.tree_size > shown.tree_size:
            against, shown = shown, against
        return Evidence(against, shown, tuple(self._rng.randbytes(HASH_SIZE) for _ in range(self._rng.randint(0, 7))))
