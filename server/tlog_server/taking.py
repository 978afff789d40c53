"""What all ways of sending events share: to which partition, by whom, and until when the answer waits."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Literal, NamedTuple

from flask import Flask, current_app, request

from tlog.checkpoint import Checkpoint
from tlog.errors import FormatError, ReusedIdError, TooLargeError
from tlog.intake.intake import Intake, Intakes
from tlog.keeper import NotPublishedError
from tlog.ledger import Ledger
from tlog.names import check_partition_name
from tlog.partition import Partition
from tlog_server.access import require
from tlog_server.asking import keeper, ledger, number, settings, stopping
from tlog_server.problems import RefusedError

State = Literal["durable", "integrated", "published"]
STATES: tuple[State, ...] = ("durable", "integrated", "published")

DEFAULT_TIMEOUT_S = 10
MAX_TIMEOUT_S = 60

_EXTENSION = "tlog_intakes"
_KEY = re.compile(r"[!-~]{1,256}", re.ASCII)


class Target(NamedTuple):
    """Where events go. writer: who sends them, as authenticated."""

    intake: Intake
    writer: str | None


class Wait(NamedTuple):
    """Until when the answer waits. timeout_s: how long at most."""

    state: State
    timeout_s: float


def install(app: Flask, ledger: Ledger) -> None:
    """Give an application the intakes of a ledger. Call it once, before requests come."""
    app.extensions[_EXTENSION] = Intakes(ledger)


def target(asked: Mapping[str, str]) -> Target:
    """Return where the events of this request go, if its sender may append there.

    The partition is created by its first event. Raises: RefusedError.
    """
    name = asked.get("partition")
    if name is None:
        raise RefusedError(400, "Say to which partition the events go: ?partition=NAME.", field="partition")
    try:
        check_partition_name(name)
    except FormatError as err:
        raise RefusedError(400, f"partition: {err.reason}", field="partition") from err
    caller = require("append", name)
    if settings().is_read_only:
        raise RefusedError(403, "This server takes no events; ask its operator which one does.")
    intakes: Intakes = current_app.extensions[_EXTENSION]
    return Target(intakes.of(name), caller.name)


def idempotency_key() -> str | None:
    """Return the request's Idempotency-Key, None where there is none. Raises: RefusedError."""
    values = request.headers.getlist("Idempotency-Key")
    if not values:
        return None
    if len(values) > 1 or _KEY.fullmatch(values[0]) is None:
        raise RefusedError(400, "Send one key of 1 to 256 visible ASCII characters.", field="Idempotency-Key")
    return values[0]


def asked_wait(asked: Mapping[str, str]) -> Wait:
    """Return how long the answer is to wait. Raises: RefusedError."""
    state = asked.get("wait", STATES[0])
    if state == "witnessed":
        if not ledger().config.witnesses:
            detail = "This ledger has no witnesses that could cosign; wait for published."
            raise RefusedError(400, detail, field="wait")
        state = "published"  # where there are witnesses, nothing is published without their quorum
    if state not in STATES:
        raise RefusedError(400, f"The answer can wait until the event is {', '.join(STATES)}.", field="wait")
    timeout_s = number(asked["timeout"], "timeout") if "timeout" in asked else DEFAULT_TIMEOUT_S
    if timeout_s > MAX_TIMEOUT_S:
        raise RefusedError(400, f"timeout: at most {MAX_TIMEOUT_S} seconds.", field="timeout")
    return Wait(state, timeout_s)


def waited(partition: Partition, seq: int, wait: Wait) -> Checkpoint | None:
    """Return the published checkpoint that covers an entry, None where none came in time, or none was waited for.

    Integration and publication are one step here: an entry is in the tree when a checkpoint covers it.
    """
    if wait.state == "durable":
        return None
    end = time.monotonic() + wait.timeout_s
    while True:
        left = end - time.monotonic()
        try:
            return keeper().wait_published(partition, seq, max(min(left, 1.0), 0.0))
        except NotPublishedError:
            if left <= 1.0 or stopping().is_set():
                return None


def refusal_of_event(err: FormatError) -> RefusedError:
    """Return what is answered where an event is refused. Its words are about what the sender sent."""
    status = 422 if isinstance(err, ReusedIdError) else 413 if isinstance(err, TooLargeError) else 400
    field = "id" if isinstance(err, ReusedIdError) else err.what[:200]
    return RefusedError(status, f"{err.what}: {err.reason}", field=field)
