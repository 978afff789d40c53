"""One question, one answer: asked again, after a while, where nobody answered or the server is overloaded.

Asked again: what could not be sent, what got no whole answer in time, and the statuses 429, 502, 503 and 504. An answer
that says when to come back is obeyed. Whoever asks makes sure that asking twice does no harm.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from tlog.client.answers import refusal, retry_after
from tlog.client.steps import Answer, Flow, Reply, Request, Send, Sleep
from tlog.errors import FormatError, UnavailableError

RETRIED = frozenset({429, 502, 503, 504})
REFUSED_UNDONE = 429
"""The status that says for certain that nothing was done."""

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
"""Pauses double from the first to the longest, each cut by chance to between half and all of it."""


def _chance() -> float:
    return secrets.randbelow(1 << 32) / (1 << 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """How long a client waits.

    timeout_s: for one request, with all that is asked again and the pauses between. attempt_timeout_s: for one attempt.
    poll_s: between two looks at the log's checkpoint. monotonic: a clock in seconds. chance: numbers in [0, 1).
    Raises: FormatError.
    """

    timeout_s: float = 60.0
    attempt_timeout_s: float = 20.0
    poll_s: float = 1.0
    monotonic: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = _chance

    def __post_init__(self) -> None:
        for name in ("timeout_s", "attempt_timeout_s", "poll_s"):
            value = getattr(self, name)
            if not 0 < value <= 86_400:
                raise FormatError(name, f"{value} is not more than 0 and at most 86,400 seconds")


def exchange(request: Request, pacing: Pacing) -> Flow[Answer]:
    """Return the answer to a request, whatever its status but RETRIED. Raises: UnavailableError; FormatError."""
    start = pacing.monotonic()
    deadline = start + pacing.timeout_s
    attempts, is_unknown = 0, False
    while True:
        left = max(deadline - pacing.monotonic(), 0.001)
        reply: Reply = yield Send(request, min(left, pacing.attempt_timeout_s))
        attempts += 1
        if isinstance(reply, FormatError):
            raise reply
        if isinstance(reply, Answer):
            if reply.status not in RETRIED:
                return reply
            reason, asked_s = str(refusal(request, reply)), retry_after(reply) or 0.0
            is_unknown = is_unknown or reply.status != REFUSED_UNDONE
        else:
            reason, asked_s = reply.reason, 0.0
            is_unknown = is_unknown or reply.was_sent
        pause = min(FIRST_PAUSE_S * 2 ** min(attempts - 1, 10), LONGEST_PAUSE_S) * (1 + pacing.chance()) / 2 + asked_s
        if pacing.monotonic() + pause >= deadline:
            took = pacing.monotonic() - start
            raise UnavailableError(
                f"{request.url.partition('?')[0]}: {reason}; gave up after {attempts} attempts in {took:.1f} s"
                + (f", asked to wait {asked_s:.0f} s more" if asked_s else ""),
                is_unknown=is_unknown,
            )
        yield Sleep(pause)


def fetch(request: Request, pacing: Pacing) -> Flow[bytes]:
    """Return the body of the answer 200. Raises: NotFoundError, RequestRefusedError, UnavailableError, FormatError."""
    answer = yield from exchange(request, pacing)
    if answer.status != 200:
        raise refusal(request, answer)
    return answer.body
