"""A witness: it cosigns a log's checkpoint if the log only grew since the last one that it cosigned.

There is no transport here; `tlog_server.witnessing` brings requests over HTTP. Each refusal is an error of its own
class, in the order in which the specification names them:

    400 FormatError, 404 UnknownOriginError, 403 SignatureError and UntrustedNoteError, 409 StaleSizeError,
    422 ProofError and InconsistentLogError

Source: c2sp.org/tlog-witness.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from tlog.checkpoint import Checkpoint
from tlog.errors import (
    ConflictError,
    FormatError,
    InconsistentLogError,
    NotFoundError,
    ProofError,
    UnknownOriginError,
)
from tlog.evidence import Evidence
from tlog.hashing import EMPTY_ROOT
from tlog.keys import COSIGNATURES, Signer, VerifierKey
from tlog.note import Note, NoteSignature, open_note, sign_line
from tlog.proof import roots_from_consistency
from tlog.witnessing.request import AddCheckpoint
from tlog.witnessing.state import Kept, Seen, Step, WitnessState


class StaleSizeError(ConflictError):
    """The old size is not that of the latest checkpoint that was cosigned. tree_size: of that one, 0 for none."""

    def __init__(self, tree_size: int) -> None:
        super().__init__(f"the latest checkpoint that this witness cosigned has the size {tree_size}")
        self.tree_size = tree_size


class Witness:
    """One witness. It may be used from several threads."""

    def __init__(
        self, state: WitnessState, signers: Sequence[Signer], *, clock: Callable[[], float] = time.time
    ) -> None:
        """signers: cosigner keys, one or more of one name. clock: POSIX time in seconds. Raises: FormatError."""
        if not signers or any(signer.verifier_key.key_type not in COSIGNATURES for signer in signers):
            raise FormatError("witness", "it needs keys of signature type 0x04 or 0x06")
        if len({signer.verifier_key.name for signer in signers}) != 1:
            raise FormatError("witness", "its keys have different names; one witness has one name")
        self._state = state
        self._signers = tuple(signers)
        self._clock = clock

    @property
    def name(self) -> str:
        """The witness's name."""
        return self._signers[0].verifier_key.name

    @property
    def vkeys(self) -> tuple[VerifierKey, ...]:
        """The verifier keys, which belong into the policies of those who trust this witness."""
        return tuple(signer.verifier_key for signer in self._signers)

    def add_log(self, *keys: VerifierKey) -> None:
        """Know a log, by all its keys; the key name is the origin. What was cosigned of it before stays.

        Raises: FormatError where the keys have different names, or are keys of witnesses.
        """
        names = {key.name for key in keys}
        if len(names) != 1:
            raise FormatError("log", "all keys of one log have its origin as their name")
        own = {key.public_key for key in self.vkeys}
        if any(key.public_key in own for key in keys):
            raise FormatError("log", "this is the witness's own key; a witness that vouches for itself is none")
        self._state.add_log(names.pop(), [str(key) for key in keys])

    def add_checkpoint(self, body: bytes) -> bytes:
        """Cosign the checkpoint of a request, and return the signature lines: the answer's body.

        What was cosigned is stored durably before this returns, in one step with the comparison of sizes, so two
        requests at once never move the witness back.
        body: of the request, at most `MAX_REQUEST_SIZE` bytes. Raises: as the module says; StorageError.
        Cost: a signature verified and one made for each key, and a transaction shared with all other requests.
        """
        request = AddCheckpoint.parse(body)
        seen = self._state.seen(request.origin)
        if seen is None:
            raise UnknownOriginError(request.origin, "a log of this witness")
        opened = open_note(request.note, [VerifierKey.parse(vkey) for vkey in seen.vkeys])
        if request.old_size > request.tree_size:
            raise FormatError("add-checkpoint: old size", f"{request.old_size} is more than {request.tree_size}")
        if request.old_size != seen.size:
            raise StaleSizeError(seen.size)
        self._require_growth(request, seen)
        # The clock may step back, the time of a cosignature does not.
        timestamp_s = max(int(self._clock()), seen.time, 1)
        lines = tuple(sign_line(signer, request.note.text, timestamp_s=timestamp_s) for signer in self._signers)
        # Lines that nobody verified are not stored, and so not served: they could spoil the note for its readers.
        note = Note(request.note.text, (*(line for _, line in opened.verified), *lines))
        step = Step(request.origin, seen, request.tree_size, request.root_hash, note.raw, timestamp_s)
        if not self._state.advance(step):
            current = self._state.seen(request.origin)
            raise StaleSizeError(seen.size if current is None else current.size)
        return _body(lines)

    def checkpoint(self, origin_hash: str) -> bytes:
        """Return the latest cosigned checkpoint of a log, as monitors fetch it.

        origin_hash: SHA-256 of the origin, in lowercase hex. The note carries the log's verified signatures and this
        witness's cosignatures. Raises: NotFoundError where nothing was cosigned of such a log.
        """
        seen = self._state.seen_by_hash(origin_hash)
        if seen is None or seen.note is None:
            raise NotFoundError("nothing of this log was cosigned here")
        return seen.note

    def latest(self) -> list[tuple[str, Checkpoint | None]]:
        """Return the logs that are known, by origin, each with the latest checkpoint that was cosigned."""
        found = []
        for origin in self._state.origins():
            seen = self._state.seen(origin)
            note = None if seen is None else seen.note
            found.append((origin, None if note is None else Checkpoint.parse(note)))
        return found

    def evidence(self) -> list[Kept]:
        """Return the split views that were met, the oldest first."""
        return self._state.kept()

    def close(self) -> None:
        """Release the state."""
        self._state.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _require_growth(self, request: AddCheckpoint, seen: Seen) -> None:
        """Check that the request's tree extends the one seen. Raises: ProofError, InconsistentLogError."""
        size, root = request.tree_size, request.root_hash
        if size == 0 and root != EMPTY_ROOT:
            raise ProofError(
                "the root of the empty tree is SHA-256 of nothing", expected=EMPTY_ROOT.hex(), found=root.hex()
            )
        if seen.size in {0, size}:
            if request.hashes:
                raise ProofError(f"there is nothing to prove from size {seen.size} to {size}; send no hashes")
            if size == seen.size and root != seen.root:
                raise self._contradiction(f"the log signed two trees of size {size}", request, seen)
            return
        try:
            old, new = roots_from_consistency(seen.size, size, seen.root, request.hashes)
        except FormatError as err:
            raise ProofError(f"the consistency proof from {seen.size} to {size} is none ({err.reason})") from err
        if (old, new) == (seen.root, root):
            return
        if new == root:
            # The signed new tree does hold an old tree of that size, and it is another one.
            raise self._contradiction(f"the log replaced entries below {seen.size} that it had signed", request, seen)
        raise ProofError(
            f"the consistency proof from {seen.size} to {size} does not lead to the signed root",
            expected=root.hex(),
            found=new.hex(),
        )

    def _contradiction(self, reason: str, request: AddCheckpoint, seen: Seen) -> InconsistentLogError:
        """Keep a contradiction as evidence and return the error that carries it."""
        against, shown = Checkpoint.parse(seen.note or b""), Checkpoint.parse(request.note.raw)
        self._state.keep(Kept(request.origin, int(self._clock()), Evidence(against, shown, request.hashes)))
        return InconsistentLogError(reason, old_note=against.raw, new_note=shown.raw, proof=request.hashes)


def _body(lines: Sequence[NoteSignature]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
