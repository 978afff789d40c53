"""Peers that lie about how their trees stand at other sizes, each in its own way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tlog.checkpoint import Checkpoint
from tlog.earlier import MAX_EARLIER_ROOT_SIZE, EarlierRoot
from tlog.evidence import Evidence
from tlog.keys import SigningKey

Answer = Callable[[str], bytes | None]
"""What a peer answers for a path; None is 404."""

STRANGER = SigningKey.from_seed("stranger.example/log", bytes(range(2, 34)))


def _flipped(value: bytes) -> bytes:
    return bytes([value[0] ^ 1]) + value[1:]


def _signed_by(key: SigningKey, checkpoint: Checkpoint) -> Checkpoint:
    return replace(checkpoint, origin=key.name, signatures=()).sign(key)


def _wrong_hashes(claim: EarlierRoot) -> bytes:
    hashes = (_flipped(claim.hashes[0]), *claim.hashes[1:]) if claim.hashes else (bytes(32),)
    return replace(claim, hashes=hashes).format()


def _accusation(claim: EarlierRoot) -> bytes:
    return Evidence(claim.checkpoint, claim.checkpoint, claim.hashes).format()


TWISTS: dict[str, Callable[[EarlierRoot], bytes | None]] = {
    "nothing there": lambda _: None,
    "empty": lambda _: b"",
    "garbage": lambda _: b"lies\n\nlies",
    "noise": lambda _: b"\xff" * 1000,
    "too long": lambda _: b"x" * (MAX_EARLIER_ROOT_SIZE + 1),
    "another log": lambda claim: replace(claim, checkpoint=_signed_by(STRANGER, claim.checkpoint)).format(),
    "another key": lambda claim: replace(
        claim, checkpoint=_signed_by(SigningKey.generate(claim.checkpoint.origin), claim.checkpoint)
    ).format(),
    "not what was signed": lambda claim: replace(
        claim, checkpoint=replace(claim.checkpoint, root_hash=bytes(32))
    ).format(),
    "not signed": lambda claim: claim.format().partition("\n\n— ".encode())[0] + b"\n\n",
    "wrong hashes": _wrong_hashes,
    "a hash too many": lambda claim: replace(claim, hashes=(*claim.hashes, bytes(32))).format(),
    "a hash too few": lambda claim: replace(claim, hashes=claim.hashes[1:]).format(),
    "64 hashes": lambda claim: claim.format().replace(b"\n\n", b"\n" + b"A" * 43 + b"=\n" * 64, 1),
    "another root": lambda claim: replace(claim, root_hash=_flipped(claim.root_hash)).format(),
    "another size": lambda claim: replace(claim, tree_size=claim.tree_size % claim.checkpoint.tree_size + 1).format(),
    "the checkpoint alone": lambda claim: claim.checkpoint.raw,
    "an accusation": _accusation,
}


def lies(name: str, truth: Answer) -> Answer:
    """Return a peer that shows its true checkpoint, twists every proof, and lists evidence that there is not."""

    def answer(path: str) -> bytes | None:
        if path == "evidence":
            return b"0" * 64 + b"\n"
        if path.startswith("evidence/"):
            return b"lies\n\nlies"
        raw = truth(path)
        if "/consistency/" not in path:
            return raw
        return b"lies\n\nlies" if raw is None else TWISTS[name](EarlierRoot.parse(raw))

    return answer
