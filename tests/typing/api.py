"""The whole public face of tlog in use: what mypy must accept, and a program that runs.

`make lint` checks the types, `tests/test_typing.py` runs it.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, assert_type

import tlog
from tlog.access import VERBS, Token, Tokens
from tlog.jobs import Job, VerifyJobs


def own_a_ledger(directory: Path) -> tuple[tlog.Ledger, tlog.Partition]:
    """Create, open, list."""
    with tlog.Ledger.create(directory / "l", origin="audit.example.com", segment_entries=256) as created:
        assert_type(created, tlog.Ledger)
        assert_type(created.partition("users"), tlog.Partition)
    ledger = tlog.Ledger.open(str(directory / "l"), passphrase=None)
    assert_type(ledger.partitions(), list[str])
    assert_type(ledger.path, Path)
    users = ledger.partition("users")
    assert_type(users.name, str)
    assert_type(users.origin, str)
    assert_type(users.exists, bool)
    return ledger, users


def write(users: tlog.Partition) -> tlog.Checkpoint:
    """Append in every way, publish."""
    receipt = users.append({"user": "alice"}, meta={"writer": "web-1"})
    assert_type(receipt, tlog.Receipt)
    assert_type(receipt.seq, int)
    assert_type(receipt.hash, bytes)
    assert_type(users.append_json(b'{"n": 1.0}'), tlog.Receipt)
    assert_type(users.append_json('{"n": 1.0}'), tlog.Receipt)
    pending = users.submit([1, 2])
    assert_type(pending, tlog.PendingReceipt)
    assert_type(pending.result(timeout=10), tlog.Receipt)
    assert_type(pending.done(), bool)
    assert_type(pending.exception(), BaseException | None)
    bulk = users.append_many({"n": n} for n in range(500))
    assert_type(bulk, tlog.BulkReceipt)
    assert_type((bulk.count, bulk.start, bulk.stop, bulk.hash), tuple[int, int, int, bytes])
    assert_type(users.append_many_json([b"1", "2"]), tlog.BulkReceipt)
    told: list[int] = []
    progress: Callable[[int], None] = told.append
    checkpoint = users.publish(progress=progress)
    assert_type(checkpoint, tlog.Checkpoint)
    assert_type(checkpoint.origin, str)
    assert_type(checkpoint.tree_size, int)
    assert_type(checkpoint.root_hash, bytes)
    assert_type(checkpoint.raw, bytes)
    users.append("after")
    return checkpoint


def take_in(users: tlog.Partition) -> None:
    """Take in events that may come twice: one, and a batch."""
    intake = tlog.Intake(users)
    first = intake.accept({"id": "4711"}, writer="web-1")
    again = intake.accept_json('{"id":"4711"}', writer="web-1", event_id=None)
    assert_type((first.seq, first.hash, again.is_first), tuple[int, bytes, bool])
    batch = tlog.Batch(intake, writer="web-1", batch_id="b")
    receipt = batch.add([{"n": 1}, 2])
    assert_type((receipt.count, receipt.repeated, receipt.start, receipt.stop), tuple[int, int, int, int])
    batch.add_json([b"3"])
    try:
        intake.accept({"id": "4711", "other": True}, writer="web-1")
    except tlog.ReusedIdError as err:
        assert_type(err.seq, int)
    except tlog.BackpressureError as err:
        assert_type(err.retry_after_s, float)
    intake.catch_up()
    intake.close()


def read(users: tlog.Partition) -> None:
    """Look at entries."""
    entry = users.entry(0)
    assert_type(entry, tlog.Entry)
    assert_type((entry.seq, entry.ts, entry.partition), tuple[int, str, str])
    assert_type((entry.prev_hash, entry.hash, entry.raw), tuple[bytes, bytes, bytes])
    assert_type(entry.meta, dict[str, Any])
    assert_type(entry.data, Any)
    assert_type(users.size, int)
    assert_type(users.entries(1, 3), Iterator[tlog.Entry])
    stop = threading.Event()
    follower = users.follow(0, stop=stop)
    assert_type(next(follower), tlog.Entry)
    stop.set()


def ask(users: tlog.Partition) -> None:
    """Index and query."""
    query = tlog.Query.parse("seq=0|1 actor!=alice")
    assert_type(query, tlog.Query)
    with tlog.Index(users) as index:
        assert_type(index.catch_up(), int)
        page = index.search(query, limit=1, after=None, oldest_first=True)
        assert_type(page.hits[0].entry, tlog.Entry)
        assert_type(page.hits[0].values, dict[str, str | None])
        assert_type(page.prove(), list[tlog.Proof])
        assert_type(page.cursor, str | None)
        assert_type(index.search("seq=0").hits[0].prove(), tlog.Proof)
        assert_type(index.coverage().lag, int)
        assert_type(index.count(query), int)
        assert_type(index.facets(query, "actor").counts, tuple[tuple[str | None, int], ...])
        follower = index.follow()
        assert_type(follower.lag, int)
        assert_type(follower.error, tlog.Error | None)
        follower.stop()
        assert_type(index.check().indexed, int)
        assert_type(index.rebuild().entries, int)


def grant(ledger: tlog.Ledger) -> None:
    """Tokens and certificates."""
    tokens = Tokens(ledger)
    text, token = tokens.create("web-1", ["append"], ["users"], lifetime_s=60, actor="alice")
    assert_type(text, str)
    assert_type(token, Token)
    assert_type(
        (token.id, token.writer, token.verbs, token.partitions), tuple[str, str, tuple[str, ...], tuple[str, ...]]
    )
    assert_type((token.created, token.expires, token.certificate), tuple[str, str | None, str | None])
    assert_type(tokens.authenticate(text), Token | None)
    assert_type(token.may("append", "users"), bool)
    assert_type(tokens.create_for_certificate("CN=web-2", "web-2", VERBS), Token)
    assert_type(tokens.identify("CN=web-2"), Token | None)
    assert_type(tokens.list(), list[Token])
    assert_type(tokens.revoke(token.id), Token)


def verify_later(ledger: tlog.Ledger) -> None:
    """A verification in a process of its own."""
    jobs = VerifyJobs(ledger)
    job = jobs.start("users", asked_by="alice")
    assert_type(jobs.get(job.id), Job)
    assert_type(jobs.all(), list[Job])
    assert_type((job.entries, job.checked, job.ended), tuple[int, int, str | None])
    assert_type(job.failure.seq if job.failure is not None else None, int | None)


def verify(users: tlog.Partition, kept: tlog.Checkpoint) -> None:
    """Audit, prove, and verify as somebody else."""
    report = users.verify(checkpoint=kept.raw, policy=None, progress=None)
    assert_type(report, tlog.Report)
    assert_type(report.is_anchored, bool)
    assert_type((report.entries, report.unpublished, report.tiles), tuple[int, int, int])
    assert_type(report.published, tlog.Checkpoint | None)
    assert_type(report.witnesses, tuple[str, ...])
    assert_type(users.fsck(repair=False).is_clean, bool)
    key = users.vkey
    assert_type(key, tlog.VerifierKey)
    policy = tlog.Policy.for_log(str(key))
    assert_type(policy, tlog.Policy)
    assert_type(tlog.Policy.parse(f"log {key}\nquorum none\n".encode()), tlog.Policy)
    proof = users.prove(0)
    assert_type(proof, tlog.Proof)
    assert_type(users.prove_many([0, 1]), list[tlog.Proof])
    assert users.prove(0, kept.tree_size).checkpoint == kept
    assert_type(tlog.Proof.parse(str(proof)), tlog.Proof)
    verified = tlog.verify_proof(str(proof), policy=policy, entry=None)
    assert_type(verified, tlog.VerifiedEntry)
    assert_type(verified.entry, tlog.Entry)
    assert_type(verified.leaf_index, int)
    assert_type(verified.checkpoint, tlog.VerifiedCheckpoint)
    assert_type(tlog.verify_checkpoint(kept.raw, policy), tlog.VerifiedCheckpoint)
    try:
        assert_type(tlog.verify_evidence(tlog.Evidence(kept, kept), policy), tlog.SplitView)
    except tlog.ProofError as err:
        assert_type(err, tlog.ProofError)
    growth = users.prove_consistency(kept.tree_size, new_size=None)
    assert_type(growth, tlog.ConsistencyProof)
    assert_type(tlog.ConsistencyProof.parse(str(growth).encode()), tlog.ConsistencyProof)
    both = tlog.verify_consistency(str(growth), old=kept.raw, policy=policy)
    assert_type(both, tlog.VerifiedConsistency)
    assert_type(both.old.tree_size, int)
    assert_type(both.new.root_hash, bytes)
    assert_type(tlog.Checkpoint.parse(kept.raw), tlog.Checkpoint)
    assert_type(users.checkpoint(kept.tree_size), tlog.Checkpoint)
    assert_type(tlog.SigningKey.generate("example.com/log").verifier_key, tlog.VerifierKey)


def record(directory: Path) -> None:
    """Use the log of an application."""
    with tlog.AuditLog.open(directory / "audit", origin="audit.example.com", actor="api") as audit:
        assert_type(audit, tlog.AuditLog)
        assert_type(audit.security("said", {"n": 1}, actor="alice", level="notice"), tlog.Receipt)
        assert_type(audit.log(30, "said", error=ValueError("x")), tlog.Receipt)
        assert_type(tlog.Event.from_data(audit.read(1)[0].data), tlog.Event)

        @audit.recorded("double", arguments=["number"], target=lambda number: f"number/{number}")
        def double(number: int) -> str:
            return str(number * 2)

        assert_type(double(2), str)
        with audit.recording("call", metadata={"n": 1}) as call:
            assert_type(call.policy_decisions, list[dict[str, str]])
            assert_type(call.receipt, tlog.Receipt | None)
        assert_type(audit.read(10, level="warning", start="2026-01-01"), list[tlog.Entry])
        assert_type(audit.search("said").hits[0].entry, tlog.Entry)
        assert_type(audit.publish(), tlog.Checkpoint)
        assert_type(audit.prove(0), tlog.Proof)
        assert_type(audit.verify(), tlog.Report)
        assert_type(audit.stats().verified, tlog.Checkpoint | None)
    assert_type(tlog.AuditLog(tlog.Ledger.open(directory / "audit").partition("audit")).partition, tlog.Partition)


def log(directory: Path) -> None:
    """Record what is logged, and events of one's own, in the background."""
    handler = tlog.TlogHandler(directory / "audit", "web", origin="audit.example.com", synchronous=True)
    assert_type(handler.writer, tlog.BackgroundWriter)
    handler.close()
    writer = tlog.BackgroundWriter.at(directory / "audit", "web", capacity=10)
    assert_type(writer, tlog.BackgroundWriter)
    assert_type(writer.put(tlog.Event(actor="a", action="b", outcome="unknown")), bool)
    writer.close()


def ask_a_server(key: tlog.VerifierKey, directory: Path) -> None:
    """Append to a server that is not there, and read from it."""
    pacing = tlog.Pacing(timeout_s=0.1, attempt_timeout_s=0.1, poll_s=0.1)
    with tlog.Client("http://127.0.0.1:9", vkey=key, token="t", state=directory / "verified", pacing=pacing) as client:  # noqa: S106
        assert_type(client, tlog.Client)
        assert_type((client.origin, client.name), tuple[str, str])
        assert_type(client.entries(0, 10), Iterator[tlog.Entry])
        assert_type(client.follow(0, stop=threading.Event()), Iterator[tlog.Entry])
        try:
            receipt = client.append({"user": "alice"}, id="1", wait="published")
            assert_type(receipt, tlog.SentReceipt)
            assert_type((receipt.seq, receipt.hash, receipt.key), tuple[int, bytes, str])
            assert_type(client.verify_receipt(receipt, timeout_s=1), tlog.VerifiedEntry)
            bulk = client.append_many(iter([1, 2]), id="2")
            assert_type(bulk, tlog.SentBulkReceipt)
            client.verify_appended(bulk, [1, 2])
            assert_type(client.size, int)
            assert_type(client.checkpoint(), tlog.VerifiedCheckpoint)
            assert_type(client.entry(0), tlog.Entry)
            assert_type(client.prove(0), tlog.Proof)
            assert_type(client.prove_consistency(0), tlog.ConsistencyProof)
            found = client.search("actor=alice", limit=10, after=None, oldest_first=True)
            assert_type(found, tlog.Found)
            assert_type((found.entries, found.unpublished), tuple[tuple[tlog.Entry, ...], tuple[int, ...]])
            assert_type(client.get("1"), tlog.Entry)
            assert_type(client.status(), dict[str, Any])
        except tlog.RequestRefusedError as refused:
            assert_type((refused.status, refused.field), tuple[int, str | None])
        except tlog.OutcomeUnknownError as unknown:
            assert_type(unknown.key, str | None)
        except tlog.UnavailableError as unavailable:
            assert_type(unavailable.is_unknown, bool)


async def await_a_server(client: tlog.AsyncClient) -> None:
    """The same for programs that await."""
    receipt = await client.append(1, id="1", wait="durable")
    assert_type(receipt, tlog.SentReceipt)
    assert_type(await client.verify_receipt(receipt), tlog.VerifiedEntry)
    bulk = await client.append_many([1, 2])
    assert_type(bulk, tlog.SentBulkReceipt)
    await client.verify_appended(bulk, [1, 2])
    assert_type(await client.size(), int)
    assert_type(await client.checkpoint(), tlog.VerifiedCheckpoint)
    assert_type(await client.entry(0), tlog.Entry)
    assert_type([entry async for entry in client.entries()], list[tlog.Entry])
    assert_type(client.follow(), AsyncIterator[tlog.Entry])
    assert_type(await client.prove(0), tlog.Proof)
    assert_type(await client.search(), tlog.Found)
    assert_type(await client.get("1"), tlog.Entry)
    await client.aclose()


def use_either(log: tlog.Log) -> int:
    """What a local partition and a client have in common."""
    receipt = log.append({"user": "alice"})
    assert_type((receipt.seq, receipt.hash), tuple[int, bytes])
    bulk = log.append_many([1, 2])
    assert_type((bulk.count, bulk.start, bulk.stop, bulk.hash), tuple[int, int, int, bytes])
    assert_type((log.checkpoint().tree_size, log.checkpoint().root_hash), tuple[int, bytes])
    assert_type(log.entry(0), tlog.Entry)
    assert_type(next(log.entries(0, 1)), tlog.Entry)
    assert_type(log.follow(0), Iterator[tlog.Entry])
    assert_type(log.prove(0), tlog.Proof)
    assert_type(log.prove_consistency(1), tlog.ConsistencyProof)
    return log.size


both: tuple[Callable[[tlog.Partition], tlog.Log], Callable[[tlog.Client], tlog.Log]] = (
    lambda partition: partition,
    lambda client: client,
)
"""Both have the one interface."""


def keep(users: tlog.Partition, directory: Path) -> None:
    """Seal, export, close."""
    assert_type(users.seal().segments, int)
    assert_type(users.export(directory / "site").tree_size, int)
    users.reopen()
    users.close()


def handle_errors(users: tlog.Partition) -> list[str]:  # noqa: C901 - one clause an error, and nothing in it
    """Every error that a caller may want to tell apart."""
    met: list[str] = []
    try:
        users.append_many([1, {"x": float("nan")}])
    except tlog.RefusedItemError as refused:
        assert_type((refused.index, refused.appended), tuple[int, int])
        met.append(refused.what)
    try:
        users.append(float("inf"))
    except tlog.FormatError as malformed:
        assert_type((malformed.what, malformed.reason), tuple[str, str])
        met.append(malformed.reason)
    try:
        tlog.verify_proof(str(users.prove(10**9)), policy=tlog.Policy.for_log(str(users.vkey)))
    except (tlog.InconsistentLogError, tlog.ConflictError) as error:
        raise AssertionError from error
    except tlog.TileMismatchError as tile:
        assert_type(tile.tile, str)
    except tlog.PolicyError as policy:
        assert_type((policy.met, policy.missing), tuple[tuple[str, ...], tuple[str, ...]])
    except tlog.SignatureError as signature:
        assert_type((signature.key_name, signature.key_id), tuple[str, bytes])
    except tlog.UnknownOriginError as unknown:
        assert_type(unknown.origin, str)
    except tlog.UntrustedNoteError as untrusted:
        assert_type(untrusted.note, bytes)
    except (tlog.ProofError, tlog.CorruptLedgerError) as wrong:
        assert_type(wrong.seq, int | None)
    except tlog.VerificationError as wrong:
        assert_type((wrong.place, wrong.expected, wrong.found), tuple[str | None, str | None, str | None])
    except tlog.NotFoundError as missing:
        met.append(str(missing))
    except (tlog.StorageError, tlog.CommitUnknownError, tlog.Error) as other:
        met.append(str(other))
    return met


def main(directory: Path) -> int:
    """Run all of it; return the number of entries."""
    ledger, users = own_a_ledger(directory)
    kept = write(users)
    take_in(users)
    read(users)
    users.publish()
    ask(users)
    grant(ledger)
    verify(users, kept)
    record(directory)
    log(directory)
    if len(handle_errors(users)) != len(("refused", "malformed", "missing")):
        raise AssertionError("an error was not met")
    ask_a_server(users.vkey, directory)
    if use_either(both[0](users)) != users.size:
        raise AssertionError("two sizes")
    keep(users, directory)
    size = users.size
    ledger.close()
    return size
