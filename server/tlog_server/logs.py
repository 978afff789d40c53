"""What the server logs: messages of its parts as text or JSON, and requests as one JSON object a line.

No query, no header, no address and no body is logged: they may hold secrets, or what somebody wants forgotten.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

LogFormat = Literal["text", "json"]

_access = logging.getLogger("tlog.access")


def log_request(
    request_id: str, *, method: str, route: str | None, status: int, duration_s: float, caller: str | None
) -> None:
    """Log a request that is answered now. route: its template, None where none matched. caller: the writer's name."""
    fields = {
        "time": _time(),
        "request_id": request_id,
        "method": method[:16],
        "route": route,
        "status": status,
        "duration_ms": round(duration_s * 1000, 3),
        "caller": caller,
    }
    _access.info("%s", json.dumps(fields))


def configure(log_format: LogFormat, *, has_access_log: bool) -> None:
    """Send what tlog's parts log to standard error: messages from WARNING on, and requests where they are wanted."""
    parts = logging.getLogger("tlog")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(log_format))
    parts.addHandler(handler)
    if has_access_log:
        requests = logging.StreamHandler(sys.stderr)
        _access.addHandler(requests)
        _access.setLevel(logging.INFO)
        _access.propagate = False


def formatter(log_format: LogFormat) -> logging.Formatter:
    """Return what makes a line of a message."""
    if log_format == "json":
        return _JsonFormatter()
    return logging.Formatter("tlog: %(asctime)s %(levelname)s %(name)s %(message)s")


class _JsonFormatter(logging.Formatter):
    """A message as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = {
            "time": _time(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def _time() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
