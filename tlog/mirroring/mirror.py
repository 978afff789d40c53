"""A mirror: it follows logs as a witness does, and says "I have it all" when it does.

Clients push with `add-checkpoint`, then `add-entries`; or the mirror pulls from a log's site (`tlog.mirroring.pull`).
Either way a checkpoint is pending first, every bundle is proved to be of its tree before it is stored, and the mirror
signs when all of them are durable. Source: c2sp.org/tlog-mirror.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tlog.checkpoint import Checkpoint
from tlog.errors import (
    ConflictError,
    FormatError,
    InconsistentLogError,
    ProofError,
    UnknownOriginError,
    VerificationError,
)
from tlog.evidence import Evidence
from tlog.hashing import leaf_hashes, perfect_root
from tlog.keys import COSIGNATURES, Signer, VerifierKey
from tlog.mirroring.store import MirrorStore
from tlog.mirroring.upload import Package, Read, Upload, read_package, read_upload
from tlog.note import NoteSignature
from tlog.storage.disk import Files
from tlog.subtree import verify_subtree
from tlog.tile import TILE_WIDTH
from tlog.tree import Range, fold, range_nodes
from tlog.witnessing.observer import Observer
from tlog.witnessing.request import origin_hash
from tlog.witnessing.state import Kept, WitnessState

TAG_SIZE = 32


class MirrorConflictError(ConflictError):
    """What a client should do next: upload [next_entry, tree_size), and send the ticket along."""

    def __init__(self, reason: str, tree_size: int, next_entry: int, ticket: bytes) -> None:
        super().__init__(reason)
        self.tree_size = tree_size
        self.next_entry = next_entry
        self.ticket = ticket


class NothingPendingError(VerificationError):
    """No checkpoint of the log was received yet, so entries cannot be compared with anything."""


class Mirror:
    """One mirror of any number of logs. It may be used from several threads."""

    def __init__(
        self,
        root: Path,
        state: WitnessState,
        signers: Sequence[Signer],
        secret: bytes,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """root: where the copies lie. signers: the mirror's own keys, no witness's. secret: 32 bytes, for tickets."""
        if not signers or any(signer.verifier_key.key_type not in COSIGNATURES for signer in signers):
            raise FormatError("mirror", "it needs keys of signature type 0x04 or 0x06")
        self._root = root
        self._observer = Observer(state, clock=clock)
        self._signers = tuple(signers)
        self._secret = secret
        self._clock = clock
        self._files = Files()
        self._stores: dict[str, MirrorStore] = {}

    @property
    def vkeys(self) -> tuple[VerifierKey, ...]:
        """The verifier keys."""
        return tuple(signer.verifier_key for signer in self._signers)

    def add_log(self, *keys: VerifierKey) -> None:
        """Mirror a log from now on, by all its keys. Raises: FormatError."""
        self._observer.add_log(*keys)

    def origins(self) -> list[str]:
        """Return the origins of the logs that are mirrored."""
        return self._observer.state.origins()

    def store(self, origin: str) -> MirrorStore:
        """Return the copy of a log. Raises: UnknownOriginError."""
        if self._observer.state.seen(origin) is None:
            raise UnknownOriginError(origin, "a log of this mirror")
        return self._stores.setdefault(origin, MirrorStore(self._files, self._root / origin_hash(origin)))

    def pending(self, origin: str) -> Checkpoint | None:
        """Return the latest checkpoint that was taken up, None before the first. Raises: UnknownOriginError."""
        seen = self._observer.state.seen(origin)
        if seen is None:
            raise UnknownOriginError(origin, "a log of this mirror")
        return None if seen.note is None else Checkpoint.parse(seen.note)

    def forked(self, evidence: Evidence) -> InconsistentLogError:
        """Keep the evidence of a fork, and return the error that carries it."""
        self._observer.state.keep(Kept(evidence.shown.origin, int(self._clock()), evidence))
        message = f"the log {evidence.shown.origin} forked: it signed two trees of which only one can be true"
        return InconsistentLogError(
            message, old_note=evidence.against.raw, new_note=evidence.shown.raw, proof=evidence.hashes
        )

    def evidence(self) -> list[Kept]:
        """Return the split views that were met, the oldest first."""
        return self._observer.state.kept()

    def add_checkpoint(self, body: bytes) -> bytes:
        """Take up a pending checkpoint; the answer is empty, since the mirror has not got its entries yet.

        Raises: as `Observer.take`.
        """
        self._observer.take(body)
        return b""

    def add_entries(self, read: Read) -> tuple[NoteSignature, ...]:
        """Take up the entries of a request, package by package; return the mirror's cosignatures when it has them all.

        read: of the body, already decoded. Every package that was proved is durable, whatever becomes of the rest.
        Raises, with the status over HTTP: UnknownOriginError (404); NothingPendingError (422); ProofError where a
        package is not of the tree (422); FormatError where nothing could be used (400); MirrorConflictError (409);
        PartialUploadError where something was stored and more is needed (202). Memory: one package.
        """
        upload = read_upload(read)
        store = self.store(upload.origin)
        pending = self._pending(upload, store)
        stored = 0
        for start, end in upload.packages():
            package = read_package(read, end - start)
            if package is None:
                break
            self._take(store, pending, (start, end), package)
            stored += 1
        if store.next_entry() < upload.end:
            if not stored:
                raise FormatError("add-entries", "the body ends before its first package")
            raise PartialUploadError("the upload goes on", upload.end, store.next_entry(), self._ticket(pending))
        return self._commit(store, pending)

    def finish(self, origin: str) -> Checkpoint | None:
        """Sign the pending checkpoint where all its entries are here; return the mirror checkpoint."""
        seen, store = self._observer.state.seen(origin), self.store(origin)
        if seen is not None and seen.note is not None and store.next_entry() >= seen.size:
            self._commit(store, Checkpoint.parse(seen.note))
        return store.checkpoint()

    def close(self) -> None:
        """Release the state."""
        self._observer.state.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _pending(self, upload: Upload, store: MirrorStore) -> Checkpoint:
        """Return the pending checkpoint of the size that an upload names. Raises: as `add_entries`."""
        seen = self._observer.state.seen(upload.origin)
        if seen is None or seen.note is None:
            raise NothingPendingError("no checkpoint of this log is pending; send add-checkpoint first")
        latest, mirrored, following = Checkpoint.parse(seen.note), store.checkpoint(), store.next_entry()
        known = [latest, *([] if mirrored is None else [mirrored]), *self._redeemed(upload)]
        found = next((one for one in known if one.tree_size == upload.end), None)
        if found is None:
            reason = f"{upload.end} is the size of no pending checkpoint"
        elif mirrored is not None and upload.end < mirrored.tree_size:
            reason, found = f"the mirror has {mirrored.tree_size} entries", None
        elif upload.start > following:
            reason, found = f"entries from {following} on are missing", None
        elif min(upload.end, following) - upload.start >= 2 * TILE_WIDTH:
            reason, found = f"entries up to {following} are here already", None
        else:
            return found
        raise MirrorConflictError(reason, latest.tree_size, following, self._ticket(latest))

    def _take(self, store: MirrorStore, pending: Checkpoint, span: tuple[int, int], package: Package) -> None:
        """Check a package against the pending tree and store it. Raises: ProofError."""
        index, offset = divmod(span[0], TILE_WIDTH)
        entries = [*(store.entries(index, offset) if offset else ()), *package.entries]
        root = _tree_hash(leaf_hashes(entries))
        try:
            verify_subtree((index * TILE_WIDTH, span[1]), pending.tree_size, root, pending.root_hash, package.hashes)
        except FormatError as err:
            raise ProofError(f"the package of entry {span[0]} has no proof ({err.reason})") from err
        store.put(index, entries)

    def _commit(self, store: MirrorStore, pending: Checkpoint) -> tuple[NoteSignature, ...]:
        mirrored = store.checkpoint()
        if mirrored is not None and mirrored.tree_size > pending.tree_size:
            seen = self._observer.state.seen(pending.origin)
            size = mirrored.tree_size if seen is None else seen.size
            raise MirrorConflictError("the mirror went ahead meanwhile", size, store.next_entry(), b"")
        log_lines = tuple(line for line in pending.signatures if line.name == pending.origin)
        signed = Checkpoint(pending.origin, pending.tree_size, pending.root_hash, pending.extensions, log_lines).sign(
            *self._signers, timestamp_s=max(int(self._clock()), 1)
        )
        store.commit(signed)
        return signed.signatures[len(log_lines) :]

    def _ticket(self, checkpoint: Checkpoint) -> bytes:
        """Return a ticket with which a client may go on with this checkpoint when another one is pending."""
        tag = hmac.new(self._secret, checkpoint.raw, hashlib.sha256).digest()
        return tag + checkpoint.raw if len(checkpoint.raw) + TAG_SIZE < 1 << 16 else b""

    def _redeemed(self, upload: Upload) -> list[Checkpoint]:
        """Return the checkpoint in an upload's ticket, if it is one that was given out here."""
        tag, raw = upload.ticket[:TAG_SIZE], upload.ticket[TAG_SIZE:]
        if not hmac.compare_digest(tag, hmac.new(self._secret, raw, hashlib.sha256).digest()):
            return []
        checkpoint = Checkpoint.parse(raw)
        return [checkpoint] if checkpoint.origin == upload.origin else []


class PartialUploadError(MirrorConflictError):
    """Something of an upload was stored, and more is needed (202)."""


def _tree_hash(hashes: Sequence[bytes]) -> bytes:
    """Return the Merkle tree hash of up to 256 leaf hashes."""
    nodes = range_nodes(Range(0, len(hashes)))
    return fold([perfect_root(hashes[node.index << node.level : (node.index + 1) << node.level]) for node in nodes])
