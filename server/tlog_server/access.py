"""Who may do what: the one question that every handler asks before it reads or writes a partition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tlog_server.problems import RefusedError

Verb = Literal["append", "read", "admin"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request. name: of the authenticated writer, None where nobody said who they are."""

    name: str | None


def require(verb: Verb, partition: str) -> Caller:
    """Return who sent the request if they may do this to the partition. Raises: RefusedError, 401 or 403."""
    if verb == "read":
        return Caller(None)
    detail = f"To {verb} to {partition}, send a token that may: 'Authorization: Bearer TOKEN'."
    raise RefusedError(401, detail, field="Authorization", headers=[("WWW-Authenticate", "Bearer")])
