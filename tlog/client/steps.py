"""What the client's logic asks of whoever does input and output, which it does none of itself.

The logic is generators. Each yields steps and is sent what came of them; one driver does the steps blocking
(`tlog.client.blocking`), another awaits them (`tlog.client.nonblocking`), and neither knows what they are for.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

from tlog.entry import Entry
from tlog.errors import FormatError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request. limit: bytes that the answer's body may have, before and after its content coding."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    limit: int


class Answer(NamedTuple):
    """An HTTP answer. headers: names in lower case. body: without content coding."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Failure(NamedTuple):
    """No whole answer. reason: in words. was_sent: whether the server may have got the request."""

    reason: str
    was_sent: bool


Reply = Answer | Failure | FormatError
"""What came of a request; a FormatError for an answer that is too long or packed badly."""


class Send(NamedTuple):
    """Send a request; a `Reply` is sent back. timeout_s: seconds until the last byte of the answer."""

    request: Request
    timeout_s: float


class Sleep(NamedTuple):
    """Do nothing for a while. is_idle: whether it is for want of anything new, and may be the end."""

    seconds: float
    is_idle: bool = False


class Give(NamedTuple):
    """Give entries to whoever iterates."""

    entries: Sequence[Entry]


class Pull(NamedTuple):
    """Take the next of the events that are to be appended; it is sent back, END behind the last one."""


END: Final = object()

Step = Send | Sleep | Give | Pull

Flow = Generator[Step, Any, T]
"""Logic that ends with a T."""
