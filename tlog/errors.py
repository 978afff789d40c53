"""The errors of tlog: four kinds of trouble, one small tree.

* bad input: `FormatError` (also a ValueError);
* misbehaviour, or at least something not proven: `VerificationError` and its children, which carry evidence;
* an outage: `StorageError`, and `CommitUnknownError` where only a reload tells the state;
* a bug: `AssertionError`, `TypeError` and `ValueError` of plain Python, never of this tree.

Nothing but `Error` and its children leaves the package for what data, disks and networks do.
"""

from __future__ import annotations


class Error(Exception):
    """Base of all errors of tlog; never raised itself."""


class FormatError(Error, ValueError):
    """Bytes or values are not in the one form that is accepted.

    what: the thing and its place, e.g. "checkpoint line 2" or "data.user.age".
    reason: what is wrong with it and, where there is one, the remedy.
    """

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"{what}: {reason}")
        self.what = what
        self.reason = reason


class RefusedItemError(FormatError):
    """One item of many was refused; the items before it are durable, it and those after it are not.

    index: zero-based position of the item among those given. appended: how many of them are durable. cause: why.
    """

    def __init__(self, index: int, appended: int, cause: FormatError) -> None:
        super().__init__(f"item {index}, {cause.what}", f"{cause.reason}; the {appended} items before it are durable")
        self.index = index
        self.appended = appended
        self.cause = cause


class TooLargeError(FormatError):
    """More bytes, or more things, than are allowed."""


class ReusedIdError(FormatError):
    """An id that a writer has given to an event came again with another event; nothing was written.

    seq: of the entry that has the id.
    """

    def __init__(self, event_id: str, seq: int) -> None:
        super().__init__(
            f"id {event_id[:80]!r}", f"is that of entry {seq}, which has other data; another event needs another id"
        )
        self.seq = seq


class VerificationError(Error):
    """Well-formed, but not proven.

    place: the first bad place, e.g. "entry 17 (segments/00000000000000000000.jsonl)", or None.
    seq: the seq of the first bad entry where the place is an entry, else None.
    expected, found: what the check wanted and what it got, as text (hashes in hex), or None.
    """

    def __init__(
        self,
        message: str,
        *,
        place: str | None = None,
        seq: int | None = None,
        expected: str | None = None,
        found: str | None = None,
    ) -> None:
        text = message if place is None else f"{place}: {message}"
        if expected is not None or found is not None:
            text += f" (expected {expected}, found {found})"
        super().__init__(text)
        self.message = message
        self.place = place
        self.seq = seq
        self.expected = expected
        self.found = found


class SignatureError(VerificationError):
    """A signature line of a known key does not verify."""

    def __init__(self, key_name: str, key_id: bytes) -> None:
        super().__init__(f"the signature of the known key {key_name}+{key_id.hex()} does not verify")
        self.key_name = key_name
        self.key_id = key_id


class UntrustedNoteError(VerificationError):
    """A signed note carries no signature by a known key. note: the raw note."""

    def __init__(self, message: str, note: bytes) -> None:
        super().__init__(message)
        self.note = note


class PolicyError(VerificationError):
    """The log's signature is good, the witnesses' quorum is not met.

    met, missing: names of policy witnesses whose cosignatures were and were not found.
    """

    def __init__(self, message: str, *, met: tuple[str, ...] = (), missing: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.met = met
        self.missing = missing


class ProofError(VerificationError):
    """A proof does not lead to the root hash."""


class TileMismatchError(VerificationError):
    """A tile or entry bundle is not the one that the checkpoint commits to. tile: its path."""

    def __init__(self, message: str, *, tile: str, expected: str | None = None, found: str | None = None) -> None:
        super().__init__(message, place=tile, expected=expected, found=found)
        self.tile = tile


class UnknownOriginError(VerificationError):
    """A checkpoint of a log that nobody asked about. origin: its origin line."""

    def __init__(self, origin: str, known: str) -> None:
        super().__init__(f"the checkpoint's origin is {origin!r}, which is not {known}")
        self.origin = origin


class InconsistentLogError(VerificationError):
    """Two signed statements of one log contradict each other: evidence of a fork or a rollback.

    old_note, new_note: both raw signed notes. proof: the hashes that were tried between them.
    """

    def __init__(self, message: str, *, old_note: bytes, new_note: bytes, proof: tuple[bytes, ...] = ()) -> None:
        super().__init__(message)
        self.old_note = old_note
        self.new_note = new_note
        self.proof = proof


class CorruptLedgerError(VerificationError):
    """The files of a partition disagree with each other or with what was signed; appending and signing stop."""


class StorageError(Error):
    """The storage failed or refused; the state of the log is known and unharmed."""


class NotFoundError(StorageError):
    """No such ledger, partition, entry, tile or checkpoint."""


class UnavailableError(StorageError):
    """A server could not be reached, or gave no answer in time.

    is_unknown: whether what was asked may have been done nevertheless.
    """

    def __init__(self, message: str, *, is_unknown: bool = False) -> None:
        super().__init__(message)
        self.is_unknown = is_unknown


class ConflictError(StorageError):
    """The thing to create exists already, or somebody else holds it."""


class CommitUnknownError(Error):
    """A write or fsync failed: what is on disk is unknown until the partition is opened again."""


class OutcomeUnknownError(CommitUnknownError):
    """No answer to an append came: the event is durable, or it is not.

    key: appending the same data again with this as its id stores it once, whichever it was; None where each event that
    was sent has an id of its own.
    """

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class RequestRefusedError(Error):
    """A server refused a request, or gave an answer that is none; asking again in the same way changes nothing.

    status: of HTTP, 0 where there was no whole answer. field: what the server blames, or None. detail, request_id: the
    server's words, unverified, made safe to look at.
    """

    def __init__(
        self, message: str, *, status: int = 0, detail: str = "", field: str | None = None, request_id: str = ""
    ) -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail
        self.field = field
        self.request_id = request_id


class BackpressureError(Error):
    """Nothing was done; it can be tried again later. retry_after_s: when, in seconds."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
