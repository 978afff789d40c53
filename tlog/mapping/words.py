"""Words that several projects have their own numbers or names for: severities and kinds of actions."""

from __future__ import annotations

import re
from typing import Any

OTEL_SEVERITY = {
    "debug": 5,
    "info": 9,
    "notice": 10,
    "warning": 13,
    "error": 17,
    "critical": 18,
    "alert": 19,
    "emergency": 21,
}
"""OpenTelemetry's numbers. Source: OpenTelemetry logs data model, appendix B, column Syslog."""

_SYNONYMS = {
    "trace": "debug", "information": "info", "informational": "info", "warn": "warning", "err": "error",
    "crit": "critical", "fatal": "emergency", "panic": "emergency", "emerg": "emergency",
}  # fmt: skip

_ACTIVITIES = {
    "logon": "login logon signin authenticate",
    "logoff": "logout logoff signout",
    "create": "create created add added insert inserted register registered upload uploaded post",
    "read": "read get list view viewed query search export exported download downloaded head",
    "update": "update updated change changed edit edited modify modified set rename renamed put patch",
    "delete": "delete deleted remove removed revoke revoked drop dropped",
}
_ACTIVITY_OF = {word: activity for activity, words in _ACTIVITIES.items() for word in words.split()}


def severity_of_text(text: Any) -> str | None:
    """Return the severity that a level's name means, in any case; None where it means none."""
    name = text.lower() if type(text) is str else ""
    return name if name in OTEL_SEVERITY else _SYNONYMS.get(name)


def severity_of_number(number: Any) -> str | None:
    """Return the severity for a SeverityNumber of OpenTelemetry, 1 to 24; None for anything else."""
    if type(number) is not int or not 1 <= number <= 24:
        return None
    return next((name for name, least in reversed(OTEL_SEVERITY.items()) if number >= least), "debug")


def activity_of(action: str) -> str | None:
    """Return logon, logoff, create, read, update or delete if the last word of an action means it, else None."""
    return _ACTIVITY_OF.get(re.split(r"[^a-z0-9]", action.lower())[-1])
