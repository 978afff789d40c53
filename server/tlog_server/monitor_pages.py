"""The pages of a monitor: what it follows, what lasts, what it found, and evidence side by side.

Findings may hold what entries say, so all but evidence is shown on this machine only.
"""

from __future__ import annotations

import time

from flask import Blueprint, Response

from tlog.errors import NotFoundError
from tlog.monitoring.monitor import Monitor
from tlog.monitoring.overview import FollowedLog, followed_logs
from tlog_server.asking import number, parameters
from tlog_server.network import Column, Follows, Party, Picture, picture, vouching_picture
from tlog_server.party_pages import evidence_page, require_here
from tlog_server.rendering import html

LISTED = 50
"""Findings of one page."""

LAST = 2**62
PARTY = "Monitor"


def monitor_pages(monitor: Monitor) -> Blueprint:
    """Return the pages of a monitor."""
    pages = Blueprint("monitor_pages", __name__)

    @pages.get("/")
    def overview() -> Response:
        """The logs, what lasts, what was found, and who follows whom."""
        require_here()
        before = _before()
        logs = followed_logs(monitor)
        found = monitor.state.findings(before, LISTED)
        return html(
            "monitor.html",
            party=PARTY,
            here="overview",
            logs=logs,
            lasting=[condition for log in logs for condition in log.conditions],
            evidence=monitor.state.evidence(),
            findings=found,
            before=_next(found),
            picture=_picture(monitor, logs),
            is_running=monitor.is_running(),
        )

    @pages.get("/<origin_hash>/")
    def log_page(origin_hash: str) -> Response:
        """One log: who vouches for it, what lasts, what was found."""
        require_here()
        before = _before()
        log = next((log for log in followed_logs(monitor) if log.name == origin_hash), None)
        if log is None:
            raise NotFoundError("no log of this name is followed here")
        found = monitor.state.findings(before, LISTED, log.origin)
        return html(
            "monitor_log.html",
            party=PARTY,
            here="log",
            log=log,
            evidence=[(name, log.origin, time_s) for name, time_s in log.evidence],
            findings=found,
            before=_next(found),
            picture=vouching_picture(log.origin, log.vouching),
            now_s=int(time.time()),
        )

    @pages.get("/evidence/<name>/view")
    def evidence_view(name: str) -> Response:
        """One piece of evidence, side by side."""
        parameters()
        file = monitor.state.evidence_file(name)
        policies = [log.policy for log in monitor.settings.logs]
        return evidence_page(PARTY, name, file, policies, monitor.state.shared(name))

    return pages


def _before() -> int:
    asked = parameters("before")
    return number(asked["before"], "before") if "before" in asked else LAST


def _next(found: list[dict[str, object]]) -> int | None:
    """Return where the next page of findings begins, None after the last."""
    last = found[-1]["number"] if len(found) == LISTED else None
    return last if isinstance(last, int) and last > 1 else None


def _picture(monitor: Monitor, logs: tuple[FollowedLog, ...]) -> Picture:
    """Return the drawing of witnesses, logs, this monitor, and its peers."""
    witnesses: dict[str, Party] = {}
    follows: list[Follows] = []
    for log in logs:
        for witness in log.vouching.witnesses:
            key = f"w {witness.key}"
            note = "cosigned" if not witness.is_missing else "missing"
            state = "bad" if witness.is_missing or (key in witnesses and witnesses[key].state == "bad") else "good"
            witnesses[key] = Party(key, witness.key.name, note, "good" if state == "good" else "bad")
            follows.append(Follows(key, log.name, not witness.is_missing))
        follows.append(Follows("monitor", log.name, log.is_read))
    silent = {condition.kind for log in logs for condition in log.conditions if condition.kind.startswith("peer ")}
    peers = []
    for url in monitor.settings.peers:
        is_well = f"peer {url}" not in silent
        peers.append(
            Party(url, url.partition("://")[2], "gossips" if is_well else "no answer", "good" if is_well else "bad")
        )
        follows.append(Follows("monitor", url, is_well))
    followed = [Party(log.name, log.origin, f"{log.size:,} entries", "good" if log.is_well else "bad") for log in logs]
    columns = [
        Column("Witnesses", list(witnesses.values())),
        Column("Logs", followed),
        Column("This monitor", [Party("monitor", "this monitor", "reads every entry", "idle")]),
        Column("Its peers", peers),
    ]
    return picture([column for column in columns if column.parties], follows)
