"""What administrators do, as entries: each act is an event in the partition `tlog-system` of the ledger."""

from __future__ import annotations

from typing import Any

from tlog.events import Event, Outcome
from tlog.ledger import Ledger
from tlog.names import SYSTEM_PARTITION
from tlog.receipt import Receipt
from tlog.recording import capture


def record_act(
    ledger: Ledger,
    action: str,
    *,
    actor: str | None = None,
    target: str | None = None,
    data: Any = None,
    outcome: Outcome = "success",
    writer: str | None = None,
) -> Receipt:
    """Append an administrative act to the system partition, which the first one creates; durable on return.

    action: such as token.create. actor: who did it, the user of this process unless given. target: to what. data: what
    else there is to say, any JSON value. writer: who was authenticated, where the act came over the network.
    Raises: FormatError; CommitUnknownError, StorageError, CorruptLedgerError: then the act must not take place, unless
    it takes rights away.
    """
    event = Event(
        category="audit",
        action=action,
        actor=capture.process_user() if actor is None else actor,
        target=target,
        outcome=outcome,
        data=data,
    )
    meta = None if writer is None else {"writer": writer}
    return ledger.partition(SYSTEM_PARTITION).append(event.to_data(), meta=meta)
