"""What a client gets back for what it appended: the server's word, until it is verified."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tlog.client.answers import number_in
from tlog.errors import FormatError

STATES = frozenset({"durable", "integrated", "published", "witnessed"})

_CHAIN_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SentReceipt:
    """What the server says about an event: durable as entry `seq`, with this 32-byte chain hash.

    sent: the event's JSON text, as it was sent. key: under which appending it again stores nothing. state: durable,
    integrated, published or witnessed; less than was waited for where that did not come in time. is_repeated: whether
    the server says that it had it before. `Client.verify_receipt` checks it, at once or after years.
    """

    seq: int
    hash: bytes
    sent: bytes
    key: str
    state: str
    is_repeated: bool


@dataclass(frozen=True, slots=True)
class SentBulkReceipt:
    """What the server says about the events of one `append_many`: all durable, within [start, stop).

    count: how many. repeated: how many of them the server had before; without such, their entries are in the order of
    the events. hash: 32-byte chain hash of the entry before `stop`. Where other writers were at work, their entries lie
    between. For count 0, start and stop are 0 and the hash is empty. `Client.verify_appended` checks it.
    """

    count: int
    start: int
    stop: int
    hash: bytes
    repeated: int


def state_in(fields: dict[str, Any], what: str) -> str:
    """Return the state that an answer states. Raises: FormatError."""
    state = fields.get("state")
    if not isinstance(state, str) or state not in STATES:
        raise FormatError(f"{what}, state", f"is none of {', '.join(sorted(STATES))}")
    return state


def chain_hash_in(fields: dict[str, Any], what: str) -> bytes:
    """Return the chain hash that an answer states. Raises: FormatError."""
    text = fields.get("chain_hash")
    if not isinstance(text, str) or _CHAIN_HASH.fullmatch(text) is None:
        raise FormatError(f"{what}, chain_hash", "is not 64 hex digits")
    return bytes.fromhex(text)


def check_partition(fields: dict[str, Any], partition: str, what: str) -> None:
    """Check that an answer is about the partition that was meant. Raises: FormatError."""
    if fields.get("partition") != partition:
        raise FormatError(f"{what}, partition", f"is not {partition!r}")


def receipt_of(fields: dict[str, Any], partition: str, sent: bytes, key: str, *, is_repeated: bool) -> SentReceipt:
    """Return the receipt that an answer is. Raises: FormatError."""
    check_partition(fields, partition, "receipt")
    return SentReceipt(
        seq=number_in(fields, "index", "receipt"),
        hash=chain_hash_in(fields, "receipt"),
        sent=sent,
        key=key,
        state=state_in(fields, "receipt"),
        is_repeated=is_repeated,
    )
