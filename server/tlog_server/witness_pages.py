"""The pages of a witness: whose logs it follows, what it cosigned last, and evidence side by side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from hashlib import sha256

from flask import Blueprint, Response

from tlog.errors import NotFoundError
from tlog.witnessing.state import Listed
from tlog.witnessing.witness import Witness
from tlog_server.asking import parameters
from tlog_server.network import Column, Follows, Party, Picture, State, picture
from tlog_server.party_pages import evidence_page
from tlog_server.rendering import html

LISTED = 100
"""Logs of one page."""

PARTY = "Witness"


def witness_pages(witness: Witness, peers: Sequence[str] = ()) -> Blueprint:
    """Return the pages of a witness. peers: URLs of those with whom it gossips."""
    pages = Blueprint("witness_pages", __name__)

    @pages.get("/")
    def overview() -> Response:
        """The keys, the logs, and what was found."""
        asked = parameters("after")
        logs = witness.listed(asked.get("after", ""), LISTED)
        kept = witness.evidence()
        return html(
            "witness.html",
            party=PARTY,
            here="overview",
            name=witness.name,
            vkeys="\n".join(map(str, witness.vkeys)),
            logs=logs,
            count=witness.log_count,
            after=logs[-1].origin if len(logs) == LISTED else None,
            evidence=[(sha256(one.evidence.format()).hexdigest(), one.origin, one.time) for one in kept],
            convicted={one.origin for one in kept},
            peers=peers,
            picture=_picture(witness.name, logs, {one.origin for one in kept}, peers),
            now_s=int(time.time()),
        )

    @pages.get("/evidence/<name>/view")
    def evidence_view(name: str) -> Response:
        """One piece of evidence, side by side."""
        parameters()
        for one in witness.evidence():
            if sha256(one.evidence.format()).hexdigest() == name:
                return evidence_page(PARTY, name, one.evidence.format(), [witness.policy(one.origin)])
        raise NotFoundError("there is no such evidence here")

    return pages


def _picture(name: str, logs: Sequence[Listed], convicted: set[str], peers: Sequence[str]) -> Picture | None:
    """Return the drawing of the logs of this page, the witness, and its peers; None where there is nobody else."""
    parties, follows = [], []
    for log in logs:
        is_forked = log.origin in convicted
        note = f"{log.size:,} entries cosigned" if log.time_s else "nothing cosigned yet"
        state: State = "bad" if is_forked else "good" if log.time_s else "idle"
        parties.append(Party(f"l {log.origin}", log.origin, "forked" if is_forked else note, state))
        follows.append(Follows("witness", f"l {log.origin}", bool(log.time_s) and not is_forked))
    follows += [Follows("witness", f"p {url}", True) for url in peers]
    columns = [
        Column("Logs", parties),
        Column("This witness", [Party("witness", name, "cosigns", "idle")]),
        Column("Its peers", [Party(f"p {url}", url.partition("://")[2], "gossips", "idle") for url in peers]),
    ]
    return picture([column for column in columns if column.parties], follows) if logs or peers else None
