"""What the server can be told, in one place; `tlog serve` takes each as an option and as a variable `TLOG_*`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tlog.errors import FormatError

_LIMITS: dict[str, tuple[float, float]] = {
    "workers": (1, 64),
    "threads": (1, 256),
    "publish_interval_s": (0.05, 3600),
    "max_event_bytes": (1024, 1 << 24),
    "max_batch_bytes": (1024, 1 << 40),
    "body_timeout_s": (0.1, 3600),
    "token_rate": (0, 1e6),
    "address_rate": (0, 1e6),
    "max_streams": (0, 255),
    "max_waiting": (1, 10_000),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a server runs.

    workers: processes. threads: of each; as many requests are answered at once. max_streams: of these, how many may be
    taken by streams of events; one is always left for other requests. max_waiting: requests that wait for a thread, in
    each process, from which on more are refused with 503.
    is_read_only: no event is taken, nothing is published, no index is kept; then no private key is needed.
    publish_interval_s: seconds between two checkpoints of a partition that grows.
    max_event_bytes: of the body that has one event, or another request's body that is read at once. max_batch_bytes: of
    a body that is a batch, after its content coding is taken off. body_timeout_s: how long a body may keep
    the server waiting, beside a second for each 64 KiB of it.
    token_rate, address_rate: requests a second of one token, and of one address without a token; 0 for no limit.
    has_access_log: whether each request is logged. log_format: of what else is logged.
    Raises: FormatError naming the setting that is outside its range.
    """

    workers: int = 2
    threads: int = 16
    max_streams: int = 8
    max_waiting: int = 64
    is_read_only: bool = False
    publish_interval_s: float = 1.0
    max_event_bytes: int = 1 << 18
    max_batch_bytes: int = 1 << 30
    body_timeout_s: float = 30.0
    token_rate: float = 0.0
    address_rate: float = 0.0
    has_access_log: bool = False
    log_format: Literal["text", "json"] = "text"

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            if not low <= getattr(self, name) <= high:
                raise FormatError(name, f"{getattr(self, name)} is outside {low:,} to {high:,}")
        object.__setattr__(self, "max_streams", min(self.max_streams, self.threads - 1))
