"""What a witness and a mirror have in common: following logs by the requests of `add-checkpoint`, in one direction.

There is no transport here. Each refusal is an error of its own class, in the order of the specification's text:

    400 FormatError, 404 UnknownOriginError, 403 SignatureError and UntrustedNoteError, 409 StaleSizeError,
    422 ProofError and InconsistentLogError

Source: c2sp.org/tlog-witness, section "add-checkpoint"; c2sp.org/tlog-mirror, section "add-checkpoint".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

from tlog.checkpoint import Checkpoint
from tlog.errors import ConflictError, FormatError, InconsistentLogError, NotFoundError, ProofError, UnknownOriginError
from tlog.evidence import Evidence
from tlog.hashing import EMPTY_ROOT
from tlog.keys import ED25519_NOTE, ML_DSA_44_COSIGNATURE, Signer, VerifierKey
from tlog.note import MAX_NOTE_SIZE, Note, NoteSignature, open_note, sign_line
from tlog.proof import roots_from_consistency
from tlog.witnessing.request import AddCheckpoint
from tlog.witnessing.state import Kept, Step, Tree, WitnessState

MAX_KEPT_KEYS = 1 << 14
"""Logs whose keys are kept as they were parsed, some 500 bytes each."""


class StaleSizeError(ConflictError):
    """The old size is not that of the latest checkpoint that was cosigned. tree_size: of that one, 0 for none."""

    def __init__(self, tree_size: int) -> None:
        super().__init__(f"the latest checkpoint that this witness cosigned has the size {tree_size}")
        self.tree_size = tree_size


class Observer:
    """Follows logs, and remembers the latest checkpoint of each. It may be used from several threads."""

    def __init__(self, state: WitnessState, *, clock: Callable[[], float] = time.time) -> None:
        """clock: POSIX time in seconds."""
        self.state = state
        self._clock = clock

    def add_log(self, *keys: VerifierKey) -> None:
        """Know a log, by all its keys; the key name is the origin. What was seen of it before stays.

        Raises: FormatError where the keys have different names, or one is of a type that logs do not sign with.
        """
        names = {key.name for key in keys}
        if len(names) != 1:
            raise FormatError("log", "all keys of one log have its origin as their name")
        for key in keys:
            if key.key_type not in {ED25519_NOTE, ML_DSA_44_COSIGNATURE}:
                reason = f"a log signs with keys of signature type 0x01 or 0x06, {key.name} has {key.key_type:#04x}"
                raise FormatError("log", reason)
        self.state.add_log(names.pop(), [str(key) for key in keys])

    def take(self, body: bytes, signers: Sequence[Signer] = ()) -> tuple[NoteSignature, ...]:
        """Take up the checkpoint of a request, if the log only grew; return the cosignatures of `signers` on it.

        It is stored durably before this returns, in one step with the comparison of sizes, so two requests at once
        never go back. body: of the request. Raises: as the module says; StorageError.
        Cost: a signature verified for each of the log's keys, one made for each signer, and a transaction shared with
        all other requests.
        """
        request = AddCheckpoint.parse(body)
        tree = self.state.tree(request.origin)
        if tree is None:
            raise UnknownOriginError(request.origin, "a log that is followed here")
        opened = open_note(request.note, _keys(tree.vkeys))
        # Lines that nobody verified are not kept: in what is served, or in evidence, they could spoil it for readers.
        request = replace(request, note=Note(request.note.text, tuple(line for _, line in opened.verified)))
        if request.old_size > request.tree_size:
            raise FormatError("add-checkpoint: old size", f"{request.old_size} is more than {request.tree_size}")
        if request.old_size != tree.size:
            raise StaleSizeError(tree.size)
        self._require_growth(request, tree)
        if signers:
            self.require_unconvicted(request.origin)
        # The clock may step back, the time of a cosignature does not.
        timestamp_s = max(int(self._clock()), tree.time, 1)
        lines = tuple(sign_line(signer, request.note.text, timestamp_s=timestamp_s) for signer in signers)
        note = Note(request.note.text, (*request.note.signatures, *lines))
        if len(note.raw) > MAX_NOTE_SIZE:  # nobody could read it, this witness neither
            raise FormatError("add-checkpoint", f"with its cosignatures the note is longer than {MAX_NOTE_SIZE} bytes")
        step = Step(request.origin, tree, request.tree_size, request.root_hash, note.raw, timestamp_s)
        if not self.state.advance(step):
            current = self.state.tree(request.origin)
            raise StaleSizeError(tree.size if current is None else current.size)
        return lines

    def knows(self, origin: str) -> bool:
        """Whether this log is followed."""
        return self.state.tree(origin) is not None

    def checkpoint(self, origin_hash: str) -> bytes:
        """Return the latest checkpoint of a log, with the log's verified signatures and the cosignatures made of it.

        origin_hash: SHA-256 of the origin, in lowercase hex. Raises: NotFoundError where nothing was seen of it.
        """
        seen = self.state.seen_by_hash(origin_hash)
        if seen is None or seen.note is None:
            raise NotFoundError("nothing of this log was seen here")
        return seen.note

    def latest(self) -> list[tuple[str, Checkpoint | None]]:
        """Return the logs that are known, by origin, each with its latest checkpoint."""
        found = []
        for origin in self.state.origins():
            seen = self.state.seen(origin)
            note = None if seen is None else seen.note
            found.append((origin, None if note is None else Checkpoint.parse(note)))
        return found

    def _require_growth(self, request: AddCheckpoint, tree: Tree) -> None:
        """Check that the request's tree extends the latest one. Raises: ProofError, InconsistentLogError."""
        size, root = request.tree_size, request.root_hash
        if size == 0 and root != EMPTY_ROOT:
            raise ProofError(
                "the root of the empty tree is SHA-256 of nothing", expected=EMPTY_ROOT.hex(), found=root.hex()
            )
        if tree.size in {0, size}:
            if request.hashes:
                raise ProofError(f"there is nothing to prove from size {tree.size} to {size}; send no hashes")
            if size == tree.size and root != tree.root:
                raise self._contradiction(f"the log signed two trees of size {size}", request, tree)
            return
        try:
            old, new = roots_from_consistency(tree.size, size, tree.root, request.hashes)
        except FormatError as err:
            raise ProofError(f"the consistency proof from {tree.size} to {size} is none ({err.reason})") from err
        if (old, new) == (tree.root, root):
            return
        if new == root:
            # The signed new tree does hold an old tree of that size, and it is another one.
            raise self._contradiction(f"the log replaced entries below {tree.size} that it had signed", request, tree)
        raise ProofError(
            f"the consistency proof from {tree.size} to {size} does not lead to the signed root",
            expected=root.hex(),
            found=new.hex(),
        )

    def require_unconvicted(self, origin: str) -> None:
        """Raise InconsistentLogError for a log that was proven to lie: nobody signs for it here any more."""
        if not self.state.is_convicted(origin):
            return
        evidence = next(kept.evidence for kept in self.state.kept() if kept.origin == origin)
        raise InconsistentLogError(
            "this log has signed two trees that contradict each other, so nothing of it is cosigned here any more",
            old_note=evidence.against.raw,
            new_note=evidence.shown.raw,
            proof=evidence.hashes,
        )

    def _contradiction(self, reason: str, request: AddCheckpoint, tree: Tree) -> InconsistentLogError:
        """Keep a contradiction as evidence and return the error that carries it.

        Raises: StaleSizeError where the log's latest tree is another one meanwhile.
        """
        seen = self.state.seen(request.origin)
        if seen is None or (seen.size, seen.root) != (tree.size, tree.root):
            raise StaleSizeError(tree.size if seen is None else seen.size)
        against, shown = Checkpoint.parse(seen.note or b""), Checkpoint.parse(request.note.raw)
        self.state.keep(Kept(request.origin, int(self._clock()), Evidence(against, shown, request.hashes)))
        return InconsistentLogError(reason, old_note=against.raw, new_note=shown.raw, proof=request.hashes)


@lru_cache(MAX_KEPT_KEYS)
def _keys(vkeys: tuple[str, ...]) -> tuple[VerifierKey, ...]:
    return tuple(map(VerifierKey.parse, vkeys))
