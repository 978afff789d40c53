"""The log's side of witnessing: asking for cosignatures until the policy's quorum is met.

All witnesses are asked at once. A witness that is asked from a size that it does not know tells its own, and is asked
again from there. What an answer holds is believed only after it is verified: lines of unknown keys are passed over,
wrong ones are dropped, and a size larger than the log's own counts when a checkpoint shows it that this log signed.
Source: c2sp.org/tlog-witness; c2sp.org/tlog-policy.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TYPE_CHECKING

from tlog._strict import MAX_TREE_SIZE, parse_decimal
from tlog.checkpoint import Checkpoint
from tlog.cosignature import Cosignature
from tlog.errors import CorruptLedgerError, Error, FormatError, InconsistentLogError, PolicyError, StorageError
from tlog.keys import VerifierKey
from tlog.note import MAX_NOTE_SIZE, NoteSignature, verify_line
from tlog.policy import Policy, PolicyWitness
from tlog.publisher import WitnessStanding
from tlog.report.shown import visible
from tlog.tlogproof import ConsistencyProof
from tlog.witnessing.request import origin_hash
from tlog.witnessing.transport import Reply, Transport

if TYPE_CHECKING:
    from tlog.witnessing.web import WebTransport

SIZE_TYPE = "text/x.tlog.size"

DEADLINE_S = 5.0
"""How long witnesses are waited for until the quorum is met."""

GRACE_S = 0.25
"""How long the others are waited for when it is met; what comes later is not published."""

MAX_TRIES = 4
"""Requests to one witness for one checkpoint; another publisher may be ahead of us at each."""

NO_URL = "it has no URL"

MAX_AT_ONCE = 32
MAX_ANSWER_SIZE = 1 << 16
MAX_LINES = 100

Prove = Callable[[int], tuple[bytes, ...]]


class Collector:
    """Gets cosignatures for one log; see `tlog.publisher.Cosigning`. It may be used from several threads."""

    def __init__(
        self,
        policy: Policy,
        transport: Transport | None = None,
        *,
        deadline_s: float = DEADLINE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """policy: its witnesses with their submission prefixes as URLs, and the quorum; its logs are not looked at.

        transport: `tlog.witnessing.web.WebTransport` unless given, made when it is first needed.
        """
        self._policy = policy
        self._transport = transport
        self._web: WebTransport | None = None
        self._deadline_s = deadline_s
        self._clock = clock
        self._mutex = threading.Lock()
        self._standing = {witness.name: WitnessStanding(witness.name, witness.url) for witness in policy.witnesses}
        self._asked = [(witness, witness.url.rstrip("/")) for witness in policy.witnesses if witness.url is not None]
        self._has_looked = False

    def standing(self) -> list[WitnessStanding]:
        """Return how it stands with each witness, in the policy's order."""
        with self._mutex:
            return list(self._standing.values())

    def require_unseen(self, key: VerifierKey, tree_size: int) -> None:
        """See `tlog.publisher.Cosigning`. Witnesses that do not answer are passed over: they cannot cosign either."""
        if self._has_looked:
            return
        deadline = self._clock() + self._deadline_s
        with self._pool() as pool:
            shown = list(pool.map(lambda asked: self._shown(asked[1], key, deadline), self._asked))
        for (witness, _), checkpoint in zip(self._asked, shown, strict=True):
            if checkpoint is not None:
                _require_not_larger(witness, checkpoint, tree_size)
        self._has_looked = True

    def cosign(self, checkpoint: Checkpoint, key: VerifierKey, prove: Prove) -> Checkpoint:
        """See `tlog.publisher.Cosigning`. Cost: a round trip, two where a witness has to tell its size."""
        deadline = self._clock() + self._deadline_s
        lines: dict[str, NoteSignature] = {}
        pool = self._pool()
        try:
            pending = {
                pool.submit(self._ask, witness, url, (checkpoint, key, prove), deadline): witness
                for witness, url in self._asked
            }
            end = deadline
            while pending and self._clock() < end:
                done, _ = wait(pending, max(end - self._clock(), 0), FIRST_COMPLETED)
                for future in done:
                    self._take(pending.pop(future), future, checkpoint, lines)
                if self._policy.is_quorum(lines):
                    end = min(end, self._clock() + GRACE_S) if done else end
            late = f"it did not answer within {self._deadline_s:g} s"
            if self._policy.is_quorum(lines):
                late = f"it did not answer within {GRACE_S:g} s after the quorum was met"
            for witness in pending.values():
                self._stand(witness, trouble=late)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        if not self._policy.is_quorum(lines):
            raise self._not_met(checkpoint, lines)
        ordered = tuple(lines[witness.name] for witness in self._policy.witnesses if witness.name in lines)
        return replace(checkpoint, signatures=(*checkpoint.signatures, *ordered))

    def close(self) -> None:
        """Close the connections that this made; publishing again opens others."""
        with self._mutex:
            if self._web is not None:
                self._web.close()
                self._web = self._transport = None

    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(max(min(len(self._asked), MAX_AT_ONCE), 1), "tlog-witness")

    def _ask(
        self, witness: PolicyWitness, url: str, wanted: tuple[Checkpoint, VerifierKey, Prove], deadline: float
    ) -> NoteSignature:
        """Return one witness's cosignature. Raises: Error saying why there is none."""
        checkpoint, key, prove = wanted
        old_size = self._standing[witness.name].size or 0
        for _ in range(MAX_TRIES):
            hashes = prove(old_size) if 0 < old_size < checkpoint.tree_size else ()
            body = ConsistencyProof(old_size, hashes, checkpoint).format()
            reply = self._send(f"{url}/add-checkpoint", body, MAX_ANSWER_SIZE, deadline)
            if reply.status == 200:
                return _cosignature(witness, checkpoint, reply.body)
            # Some witnesses answer 409 without a size where root hashes differ: that is no size to go on from.
            is_conflict = reply.status == 409 and reply.content_type == SIZE_TYPE
            if is_conflict:
                old_size = _parse_size(reply.body)
            if is_conflict and old_size <= checkpoint.tree_size:
                continue
            shown = self._shown(url, key, deadline)
            if shown is not None:
                _require_same_tree(witness, shown, checkpoint)
            if is_conflict:
                raise StorageError(f"it says that it cosigned {old_size} entries, and does not show that")
            raise StorageError(f"it answered {reply.status}: {_words(reply.body)}")
        raise StorageError(f"it named another size at each of {MAX_TRIES} tries")

    def _shown(self, url: str, key: VerifierKey, deadline: float) -> Checkpoint | None:
        """Return the checkpoint of the log that a witness shows, None where it shows none that the log's key signed."""
        try:
            reply = self._send(f"{url}/{origin_hash(key.name)}/checkpoint", None, MAX_NOTE_SIZE, deadline)
            return Policy.for_log(key).authenticate(reply.body).checkpoint if reply.status == 200 else None
        except Error:
            return None

    def _send(self, url: str, body: bytes | None, limit: int, deadline: float) -> Reply:
        timeout_s = deadline - self._clock()
        if timeout_s <= 0:
            raise StorageError(f"it did not answer within {self._deadline_s:g} s")
        return self._connection().send(url, body, limit=limit, timeout_s=timeout_s)

    def _connection(self) -> Transport:
        with self._mutex:
            if self._transport is None:
                try:
                    from tlog.witnessing.web import WebTransport
                except ImportError as err:
                    message = "asking witnesses needs httpx; pip install 'tlog[client]' brings it"
                    raise StorageError(message) from err
                self._transport = self._web = WebTransport()
            return self._transport

    def _take(
        self,
        witness: PolicyWitness,
        future: Future[NoteSignature],
        checkpoint: Checkpoint,
        lines: dict[str, NoteSignature],
    ) -> None:
        """Take up what became of a request. Raises: CorruptLedgerError, InconsistentLogError: the log is at fault."""
        try:
            line = future.result()
        except (CorruptLedgerError, InconsistentLogError):
            raise
        except Error as err:
            self._stand(witness, trouble=str(err))
            return
        lines[witness.name] = line
        cosignature = Cosignature.decode(line.name, line.key_id, line.signature)
        self._stand(witness, size=checkpoint.tree_size, time=cosignature.timestamp_s)

    def _stand(
        self, witness: PolicyWitness, *, size: int | None = None, time: int | None = None, trouble: str | None = None
    ) -> None:
        with self._mutex:
            before = self._standing[witness.name]
            self._standing[witness.name] = WitnessStanding(
                witness.name,
                witness.url,
                before.size if size is None else size,
                before.time if time is None else time,
                trouble,
            )

    def _not_met(self, checkpoint: Checkpoint, lines: dict[str, NoteSignature]) -> PolicyError:
        """Return the error that says who is missing, and why. A policy's names are octets, not always text."""
        absent = [witness.name for witness in self._policy.witnesses if witness.name not in lines]
        reasons = "; ".join(f"{visible(name)}: {self._standing[name].trouble or NO_URL}" for name in absent[:10])
        met = tuple(map(visible, lines))
        return PolicyError(
            f"the checkpoint of size {checkpoint.tree_size} is not published, because the quorum of witnesses is not "
            f"met: cosigned by {', '.join(met) or 'nobody'}, missing {reasons}. The entries are durable, and the "
            "next publication, by a server or by 'tlog publish', asks again",
            met=met,
            missing=tuple(map(visible, absent)),
        )


def _cosignature(witness: PolicyWitness, checkpoint: Checkpoint, answer: bytes) -> NoteSignature:
    """Return the witness's line in its answer, verified. Lines of other keys are passed over. Raises: Error."""
    try:
        text = answer.decode()
    except UnicodeDecodeError as err:
        raise FormatError("answer", "it is not UTF-8") from err
    key = witness.key
    found = None
    for number, line in enumerate(text.split("\n")[:-1]):
        if number >= MAX_LINES:
            raise FormatError("answer", f"it has more than {MAX_LINES} lines")
        try:
            signature = NoteSignature.parse(line)
        except FormatError:
            continue
        if (signature.name, signature.key_id) != (key.name, key.key_id):
            continue
        verify_line(key, checkpoint.text, signature)
        if not Cosignature.decode(signature.name, signature.key_id, signature.signature).timestamp_s:
            raise FormatError("answer", "its cosignature has no time")
        found = found or signature
    if found is None:
        raise StorageError(f"its answer has no cosignature of {key.name}+{key.key_id.hex()}")
    return found


def _require_same_tree(witness: PolicyWitness, shown: Checkpoint, checkpoint: Checkpoint) -> None:
    """Compare a checkpoint that the log signed with the one that it is about to publish.

    Raises: CorruptLedgerError where it is of a larger tree, InconsistentLogError where it is of another one.
    """
    _require_not_larger(witness, shown, checkpoint.tree_size)
    if shown.tree_size == checkpoint.tree_size and shown.root_hash != checkpoint.root_hash:
        message = f"the log signed two trees of size {shown.tree_size}: the other one was cosigned by {witness.name}"
        raise InconsistentLogError(message, old_note=shown.raw, new_note=checkpoint.raw)


def _require_not_larger(witness: PolicyWitness, shown: Checkpoint, tree_size: int) -> None:
    if shown.tree_size > tree_size:
        raise CorruptLedgerError(
            f"the witness {witness.name} shows a checkpoint of {shown.tree_size} entries that this log's key signed, "
            f"and {tree_size} are here: the data and the key's record were rolled back, or the key is used elsewhere; "
            "restore the missing entries before anything is signed",
            place=witness.url,
            seq=tree_size,
        )


def _parse_size(body: bytes) -> int:
    if not body.endswith(b"\n") or not body[:-1].isascii():
        raise FormatError("size", f"{body[:40]!r} is no number with a newline")
    return parse_decimal(body[:-1].decode(), "size", MAX_TREE_SIZE)


def _words(body: bytes) -> str:
    """Return the beginning of an answer's words, made safe to look at."""
    return visible(body[:200].decode("utf-8", "replace").strip()) or "no words"
