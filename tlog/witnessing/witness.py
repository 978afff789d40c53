"""A witness: it cosigns a log's checkpoint if the log only grew since the last one that it cosigned.

`tlog_server.witnessing` brings requests over HTTP. Source: c2sp.org/tlog-witness.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from tlog.checkpoint import Checkpoint
from tlog.cosignature import cosign_subtree
from tlog.errors import FormatError, NotFoundError, UnknownOriginError
from tlog.evidence import Evidence, SplitView, verify_evidence
from tlog.keys import COSIGNATURES, ML_DSA_44_COSIGNATURE, Signer, VerifierKey
from tlog.note import NoteSignature, open_note
from tlog.policy import Policy, PolicyLog
from tlog.subtree import verify_subtree
from tlog.witnessing.observer import Observer
from tlog.witnessing.request import SignSubtree
from tlog.witnessing.state import Kept, Listed, WitnessState


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
        self._observer = Observer(state, clock=clock)
        self._clock = clock
        self._signers = tuple(signers)

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

        Raises: FormatError where the keys have different names, or one is the witness's own.
        """
        own = {key.public_key for key in self.vkeys}
        if any(key.public_key in own for key in keys):
            raise FormatError("log", "this is the witness's own key; a witness that vouches for itself is none")
        self._observer.add_log(*keys)

    def add_checkpoint(self, body: bytes) -> bytes:
        """Cosign the checkpoint of a request, and return the signature lines: the answer's body.

        Raises, cost: as `Observer.take`.
        """
        return "".join(f"{line}\n" for line in self._observer.take(body, self._signers)).encode()

    def sign_subtree(self, body: bytes) -> bytes:
        """Cosign a subtree of a tree that this witness has cosigned, and return the signature lines.

        body: of the request. The lines are of the ML-DSA-44 key, and without a time. Raises: FormatError (400);
        UnknownOriginError (404), and NotFoundError where the witness has no such key; SignatureError and
        UntrustedNoteError where this witness has not cosigned the checkpoint (403); ProofError, and where there
        is evidence against the log InconsistentLogError (422).
        Source: c2sp.org/tlog-witness, section "sign-subtree".
        """
        request = SignSubtree.parse(body)
        checkpoint = request.checkpoint
        if not self._observer.knows(checkpoint.origin):
            raise UnknownOriginError(checkpoint.origin, "a log that is followed here")
        signers = [signer for signer in self._signers if signer.verifier_key.key_type == ML_DSA_44_COSIGNATURE]
        if not signers:
            raise NotFoundError("this witness has no ML-DSA-44 key, and no other one can sign subtrees")
        open_note(checkpoint.note, self.vkeys)
        verify_subtree(request.span, checkpoint.tree_size, request.subtree_root, checkpoint.root_hash, request.hashes)
        self._observer.require_unconvicted(checkpoint.origin)
        lines = []
        for signer in signers:
            made = cosign_subtree(checkpoint.origin, *request.span, request.subtree_root, signer)
            lines.append(NoteSignature(made.key_name, made.key_id, made.payload))
        return "".join(f"{line}\n" for line in lines).encode()

    def checkpoint(self, origin_hash: str) -> bytes:
        """Return the latest cosigned checkpoint of a log, as monitors fetch it. See `Observer.checkpoint`."""
        return self._observer.checkpoint(origin_hash)

    def latest(self) -> list[tuple[str, Checkpoint | None]]:
        """Return the logs that are known, by origin, each with the latest checkpoint that was cosigned."""
        return self._observer.latest()

    @property
    def is_sound(self) -> bool:
        """Whether it can cosign: no write of its state has failed since it was opened."""
        return self._observer.state.is_sound

    @property
    def log_count(self) -> int:
        """How many logs it knows."""
        return self._observer.state.count()

    def listed(self, after: str, limit: int) -> list[Listed]:
        """Return the first logs whose origins come after `after`, at most `limit`, in the order of their origins."""
        return self._observer.state.listed(after, limit)

    def evidence(self) -> list[Kept]:
        """Return the split views that were met, the oldest first."""
        return self._observer.state.kept()

    def policy(self, origin: str) -> Policy:
        """Return the policy that believes this log's keys, and asks for no cosignature. Raises: NotFoundError."""
        seen = self._observer.state.seen(origin)
        if seen is None:
            raise NotFoundError(f"the log {origin!r} is not known here")
        return Policy(tuple(PolicyLog(VerifierKey.parse(vkey)) for vkey in seen.vkeys))

    def accuse(self, evidence: Evidence) -> SplitView:
        """Keep evidence that came from elsewhere; from then on nothing of its log is cosigned.

        Raises: as `verify_evidence`; NotFoundError for a log that is not known; StorageError.
        """
        origin = evidence.against.origin
        split = verify_evidence(evidence, self.policy(origin))
        self._observer.state.keep(Kept(origin, int(self._clock()), evidence))
        return split

    def close(self) -> None:
        """Release the state."""
        self._observer.state.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
