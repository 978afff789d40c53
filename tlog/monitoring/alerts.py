"""What a monitor has to say: one alert, as every target gets it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tlog.report.shown import cut, visible

SEVERITIES = ("info", "warning", "error", "critical")
"""From the least to the worst."""

MISBEHAVIOUR = frozenset({"fork", "invalid", "entry", "time"})
"""Kinds that only a log that lies, or is damaged, brings about."""

MAX_MESSAGE = 2000
"""Characters of a message."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert.

    origin: of the log. kind: `rule`, one of MISBEHAVIOUR, or a condition. severity: one of SEVERITIES. message: a
    sentence, safe to look at. details: further values of JSON, such as the entry's index.
    """

    origin: str
    kind: str
    severity: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)

    def body(self, number: int, time_s: int) -> bytes:
        """Return the JSON text that targets get. number: of the alert, at this monitor. time_s: POSIX seconds."""
        fields = {
            "number": number,
            "time": time_s,
            "origin": self.origin,
            "kind": self.kind,
            "severity": self.severity,
            "message": cut(visible(self.message), MAX_MESSAGE),
            **self.details,
        }
        return json.dumps(fields, ensure_ascii=True, separators=(",", ":")).encode()
