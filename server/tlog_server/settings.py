"""What the server can be told, in one place; `tlog serve` takes each as an option and as a variable `TLOG_*`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a server runs.

    is_read_only: no event is taken, nothing is published, no index is kept; then no private key is needed.
    publish_interval_s: seconds between two checkpoints of a partition that grows.
    """

    is_read_only: bool = False
    publish_interval_s: float = 1.0
