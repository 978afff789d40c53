"""tlog: a transparency log for audit events, which outsiders can check without trusting whoever runs it.

    ledger = tlog.Ledger.create("audit", origin="audit.example.com")
    users = ledger.partition("users")
    receipt = users.append({"user": "alice", "action": "login"})
    users.publish()
    proof = users.prove(receipt.seq)

    tlog.verify_proof(str(proof), policy=tlog.Policy.for_log(str(users.vkey)))

Names are loaded when they are first used, so that whoever only verifies loads neither storage nor log.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlog.audit import Report as Report
    from tlog.checkpoint import Checkpoint as Checkpoint
    from tlog.client.blocking import Client as Client
    from tlog.client.exchange import Pacing as Pacing
    from tlog.client.interface import Log as Log
    from tlog.client.nonblocking import AsyncClient as AsyncClient
    from tlog.client.receipts import SentBulkReceipt as SentBulkReceipt
    from tlog.client.receipts import SentReceipt as SentReceipt
    from tlog.client.searching import Found as Found
    from tlog.entry import Entry as Entry
    from tlog.errors import BackpressureError as BackpressureError
    from tlog.errors import CommitUnknownError as CommitUnknownError
    from tlog.errors import ConflictError as ConflictError
    from tlog.errors import CorruptLedgerError as CorruptLedgerError
    from tlog.errors import Error as Error
    from tlog.errors import FormatError as FormatError
    from tlog.errors import InconsistentLogError as InconsistentLogError
    from tlog.errors import NotFoundError as NotFoundError
    from tlog.errors import OutcomeUnknownError as OutcomeUnknownError
    from tlog.errors import PolicyError as PolicyError
    from tlog.errors import ProofError as ProofError
    from tlog.errors import RefusedItemError as RefusedItemError
    from tlog.errors import RequestRefusedError as RequestRefusedError
    from tlog.errors import ReusedIdError as ReusedIdError
    from tlog.errors import SignatureError as SignatureError
    from tlog.errors import StorageError as StorageError
    from tlog.errors import TileMismatchError as TileMismatchError
    from tlog.errors import UnavailableError as UnavailableError
    from tlog.errors import UnknownOriginError as UnknownOriginError
    from tlog.errors import UntrustedNoteError as UntrustedNoteError
    from tlog.errors import VerificationError as VerificationError
    from tlog.events import Event as Event
    from tlog.evidence import Evidence as Evidence
    from tlog.evidence import SplitView as SplitView
    from tlog.evidence import verify_evidence as verify_evidence
    from tlog.index.query import Query as Query
    from tlog.index.search import Index as Index
    from tlog.intake.batch import Batch as Batch
    from tlog.intake.intake import Intake as Intake
    from tlog.keys import SigningKey as SigningKey
    from tlog.keys import VerifierKey as VerifierKey
    from tlog.ledger import Ledger as Ledger
    from tlog.partition import Partition as Partition
    from tlog.policy import Policy as Policy
    from tlog.policy import VerifiedCheckpoint as VerifiedCheckpoint
    from tlog.receipt import BulkReceipt as BulkReceipt
    from tlog.receipt import PendingReceipt as PendingReceipt
    from tlog.receipt import Receipt as Receipt
    from tlog.recording.auditlog import AuditLog as AuditLog
    from tlog.recording.background import BackgroundWriter as BackgroundWriter
    from tlog.recording.handler import TlogHandler as TlogHandler
    from tlog.tlogproof import ConsistencyProof as ConsistencyProof
    from tlog.tlogproof import Proof as Proof
    from tlog.verify import VerifiedConsistency as VerifiedConsistency
    from tlog.verify import VerifiedEntry as VerifiedEntry
    from tlog.verify import verify_checkpoint as verify_checkpoint
    from tlog.verify import verify_consistency as verify_consistency
    from tlog.verify import verify_proof as verify_proof

__version__ = "0.1.0"

_HOMES = {
    "audit": ("Report",),
    "recording.auditlog": ("AuditLog",),
    "recording.background": ("BackgroundWriter",),
    "checkpoint": ("Checkpoint",),
    "client.blocking": ("Client",),
    "client.exchange": ("Pacing",),
    "client.interface": ("Log",),
    "client.nonblocking": ("AsyncClient",),
    "client.receipts": ("SentBulkReceipt", "SentReceipt"),
    "client.searching": ("Found",),
    "entry": ("Entry",),
    "errors": (
        "BackpressureError",
        "CommitUnknownError",
        "ConflictError",
        "CorruptLedgerError",
        "Error",
        "FormatError",
        "InconsistentLogError",
        "NotFoundError",
        "OutcomeUnknownError",
        "PolicyError",
        "ProofError",
        "RefusedItemError",
        "RequestRefusedError",
        "ReusedIdError",
        "SignatureError",
        "StorageError",
        "TileMismatchError",
        "UnavailableError",
        "UnknownOriginError",
        "UntrustedNoteError",
        "VerificationError",
    ),
    "events": ("Event",),
    "recording.handler": ("TlogHandler",),
    "index.query": ("Query",),
    "index.search": ("Index",),
    "intake.batch": ("Batch",),
    "intake.intake": ("Intake",),
    "keys": ("SigningKey", "VerifierKey"),
    "ledger": ("Ledger",),
    "partition": ("Partition",),
    "policy": ("Policy", "VerifiedCheckpoint"),
    "receipt": ("BulkReceipt", "PendingReceipt", "Receipt"),
    "tlogproof": ("ConsistencyProof", "Proof"),
    "evidence": ("Evidence", "SplitView", "verify_evidence"),
    "verify": ("VerifiedConsistency", "VerifiedEntry", "verify_checkpoint", "verify_consistency", "verify_proof"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME_OF)]  # noqa: PLE0604 - the names are strings


def __getattr__(name: str) -> object:
    module = _HOME_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'tlog' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tlog.{module}"), name)
