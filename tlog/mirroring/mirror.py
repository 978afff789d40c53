"""A mirror: it follows logs as a witness does, and says "I have it all" when it does.

Clients push with `add-checkpoint`, then `add-entries`; or the mirror pulls from a log's site (`tlog.mirroring.pull`).
Either way a checkpoint is pending first, every bundle is proved to be of its tree before it is stored, and the mirror
signs when all of them are durable. Source: c2sp.org/tlog-mirror.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from tlog.checkpoint import Checkpoint
from tlog.cosignature import Cosignature
from tlog.errors import (
    ConflictError,
    FormatError,
    InconsistentLogError,
    ProofError,
    SignatureError,
    UnknownOriginError,
    VerificationError,
)
from tlog.evidence import Evidence
from tlog.hashing import leaf_hashes, perfect_root
from tlog.keys import COSIGNATURES, Signer, VerifierKey
from tlog.mirroring.store import MirrorStore, merged
from tlog.mirroring.upload import Package, Read, Upload, read_package, read_upload
from tlog.names import MAX_ORIGIN_SIZE
from tlog.note import MAX_SIGNATURES, Note, NoteSignature, verify_line
from tlog.storage.disk import Disk, Files
from tlog.subtree import verify_subtree
from tlog.tile import TILE_WIDTH
from tlog.tree import Range, fold, range_nodes
from tlog.witnessing.observer import Observer
from tlog.witnessing.request import AddCheckpoint, origin_hash
from tlog.witnessing.state import Kept, WitnessState

TAG_SIZE = 32

MAX_RECENT = 4
"""Pending checkpoints of a log that are remembered, so that uploads go on which began before the latest one came."""


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
        disk: Disk | None = None,
    ) -> None:
        """root: where the copies lie. signers: the mirror's own keys, no witness's. secret: 32 bytes, for tickets.

        clock: POSIX time in seconds. disk: of the copies; the real file system unless given.
        """
        if not signers or any(signer.verifier_key.key_type not in COSIGNATURES for signer in signers):
            raise FormatError("mirror", "it needs keys of signature type 0x04 or 0x06")
        self._root = root
        self._observer = Observer(state, clock=clock)
        self._signers = tuple(signers)
        self._secret = secret
        self._clock = clock
        self._files = Files(disk, root.parent)
        self._stores: dict[str, MirrorStore] = {}
        self._recent: dict[str, list[Checkpoint]] = {}
        self._mutex = threading.Lock()

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
            raise UnknownOriginError(origin[:MAX_ORIGIN_SIZE], "a log of this mirror")
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

    @property
    def is_sound(self) -> bool:
        """Whether it can take up anything: no write of its state has failed since it was opened."""
        return self._observer.state.is_sound

    def evidence(self) -> list[Kept]:
        """Return the split views that were met, the oldest first."""
        return self._observer.state.kept()

    def add_checkpoint(self, body: bytes, witnesses: Iterable[VerifierKey] = ()) -> bytes:
        """Take up a pending checkpoint; the answer is empty, since the mirror has not got its entries yet.

        witnesses: whose cosignatures on it are kept where they verify; lines of all others are dropped.
        Raises: as `Observer.take`.
        """
        self._observer.take(body)
        request = AddCheckpoint.parse(body)
        pending = self.pending(request.origin)
        if pending is not None and pending.text == request.note.text:  # else somebody was faster
            lines = _cosigned(request.note, witnesses)
            self._remember(replace(pending, signatures=(*pending.signatures, *lines)))
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
            try:
                package = read_package(read, end - start)
            except FormatError:
                if not stored:
                    raise
                break
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
        store, latest = self.store(origin), self._latest(origin)
        if latest is not None and store.next_entry() >= latest.tree_size:
            self._commit(store, latest)
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

    def _remember(self, checkpoint: Checkpoint) -> None:
        """Keep a pending checkpoint in memory, with the cosignatures that came with it."""
        with self._mutex:
            recent = self._recent.setdefault(checkpoint.origin, [])
            before = next((one for one in recent if one.text == checkpoint.text), None)
            others = [one for one in recent if one.text != checkpoint.text]
            recent[:] = [merged(checkpoint, before), *others][:MAX_RECENT]

    def _latest(self, origin: str) -> Checkpoint | None:
        """Return the pending checkpoint, with the cosignatures that are known of it."""
        pending = self.pending(origin)
        recent = self._recent.get(origin, [])
        return next((one for one in recent if pending is not None and one.text == pending.text), pending)

    def _pending(self, upload: Upload, store: MirrorStore) -> Checkpoint:
        """Return the pending checkpoint of the size that an upload names. Raises: as `add_entries`."""
        latest = self._latest(upload.origin)
        if latest is None:
            raise NothingPendingError("no checkpoint of this log is pending; send add-checkpoint first")
        mirrored, following = store.checkpoint(), store.next_entry()
        known = [latest, *self._recent.get(upload.origin, []), *self._redeemed(upload)]
        known += [] if mirrored is None else [mirrored]
        found = next((one for one in known if one.tree_size == upload.end), None)
        if found is None:
            reason = f"{upload.end} is the size of no pending checkpoint"
        elif mirrored is not None and upload.end < mirrored.tree_size:
            reason = f"the mirror has {mirrored.tree_size} entries"
        elif upload.start > following:
            reason = f"entries from {following} on are missing"
        elif min(upload.end, following) - upload.start >= 2 * TILE_WIDTH:
            reason = f"entries up to {following} are here already"
        else:
            return found
        # An upload whose size is a valid one, with entries still to come, may keep the proofs that it has made.
        goal = latest if found is None or following > found.tree_size else found
        raise MirrorConflictError(reason, goal.tree_size, following, self._ticket(goal))

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
        """Make a checkpoint the mirror's, whose entries are all here. Raises: MirrorConflictError."""
        signed = store.commit(pending, lambda checkpoint: self._sign(checkpoint, store.checkpoint()))
        if signed is None:
            latest = self._latest(pending.origin) or pending
            reason = "the mirror went ahead meanwhile"
            raise MirrorConflictError(reason, latest.tree_size, store.next_entry(), self._ticket(latest))
        own = {(key.name, key.key_id) for key in self.vkeys}
        return tuple(line for line in signed.signatures if (line.name, line.key_id) in own)

    def _sign(self, checkpoint: Checkpoint, before: Checkpoint | None) -> Checkpoint:
        """Cosign, at a time that is not before that of the mirror's last cosignature, whatever the clock says."""
        own = {(key.name, key.key_id) for key in self.vkeys}
        lines = [line for line in ([] if before is None else before.signatures) if (line.name, line.key_id) in own]
        times = [Cosignature.decode(line.name, line.key_id, line.signature).timestamp_s for line in lines]
        others = [line for line in checkpoint.signatures if (line.name, line.key_id) not in own]
        fitting = replace(checkpoint, signatures=tuple(others[: MAX_SIGNATURES - len(self._signers)]))
        return fitting.sign(*self._signers, timestamp_s=max(int(self._clock()), *times, 1))

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


def _cosigned(note: Note, witnesses: Iterable[VerifierKey]) -> tuple[NoteSignature, ...]:
    """Return the first line of each witness that verifies, and has a time; what nobody verified is not kept."""
    known = {(key.name, key.key_id): key for key in witnesses}
    found: dict[tuple[str, bytes], NoteSignature] = {}
    for line in note.signatures:
        key = known.get((line.name, line.key_id))
        if key is None or (line.name, line.key_id) in found:
            continue
        try:
            verify_line(key, note.text, line)
        except SignatureError:
            continue
        if Cosignature.decode(line.name, line.key_id, line.signature).timestamp_s:
            found[line.name, line.key_id] = line
    return tuple(found.values())
