"""docs/events-api.md shows what the server answers, and names what there is."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import tlog
from tests.docrunner import blocks_of, commands_of, stable
from tests.server.conftest import granted
from tlog_server import indexes
from tlog_server.app import create_app
from tlog_server.events_out import CONDITIONS
from tlog_server.events_stream import HEARTBEAT_S

PAGE = Path(__file__).resolve().parents[3] / "docs" / "events-api.md"
URL = "http://127.0.0.1:8000"
EVENTS = (
    {"id": "a1", "actor": "alice", "action": "login", "outcome": "success"},
    {"id": "b1", "actor": "bob", "action": "login", "outcome": "success"},
    {"id": "c1", "actor": "carol", "action": "login", "outcome": "failure"},
)
WAIT_S = 60.0


def test_the_answers_on_the_page(tmp_path: Path) -> None:
    """Each command that asks, asked of a server of such a ledger, gets the answer that the page shows."""
    with tlog.Ledger.create(tmp_path / "ledger", origin="audit.example.com") as ledger:
        users = ledger.partition("users")
        for event in EVENTS:
            users.append(event)
        users.publish()
        with tlog.Index(users) as index:
            index.catch_up()
    client = create_app(tmp_path / "ledger").test_client()
    bearer: dict[str, str] = {}
    count, job = 0, ""
    for command, shown in commands():
        match = re.fullmatch(rf"curl -s (-X POST )?(?:-H \"Authorization: Bearer \$TOKEN\" )?'{URL}([^']*)'", command)
        assert match is not None, command
        url = re.sub(r"(?<=/verify/).*", job, match[2])
        if "verify" in url and not bearer:  # from the first token on, there is a system partition
            bearer = {"Authorization": f"Bearer {granted(tmp_path / 'ledger', writer='ops')}"}
        deadline = time.monotonic() + WAIT_S
        while True:
            answer = client.open(url, method="POST" if match[1] else "GET", headers=bearer)
            if match[1] or '"state":"running"' not in answer.text:
                break
            assert time.monotonic() < deadline
        job = json.loads(answer.data)["job"] if match[1] else job
        assert plain(answer.text) == plain(shown), command
        count += 1
    assert count == 7


def test_what_the_page_names() -> None:
    """The parameters, the heartbeat and the time limit are those of the code."""
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in CONDITIONS)
    assert f"every {HEARTBEAT_S:.0f} seconds" in text
    assert f"may take {indexes.TIME_LIMIT_S:.0f} seconds" in text


def commands() -> list[tuple[str, str]]:
    """The commands of the sections that are about reading, each with what the page shows for it."""
    read = PAGE.read_text(encoding="utf-8").index("\n## Searching")
    line = PAGE.read_text(encoding="utf-8")[:read].count("\n")
    blocks = [block for block in blocks_of(PAGE) if block.language == "console" and block.line > line]
    return [command for block in blocks for command in commands_of(block)]


def plain(text: str) -> str:
    """A text without what differs from run to run."""
    return stable(re.sub(r'"request_id": "[0-9a-f]{16}"', '"request_id": "0"', text))
