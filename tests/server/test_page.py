"""docs/server.md shows what the server answers."""

from __future__ import annotations

import re
from pathlib import Path

import tlog
from tests.docrunner import blocks_of, commands_of, stable
from tests.server.conftest import Served
from tlog_server.app import create_app
from tlog_server.envelope import SECURITY_HEADERS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "server.md"
URL = "http://127.0.0.1:8000"
NAMES = {
    "<path:name>": "<file>",
    "<name>": "<partition>",
    "<path:rest>": "<level>/<index>[.p/<width>]",
    "<path:event_id>": "<id>",
}
"""What varies in a path, as the application and as the page names it."""


def test_the_answers_on_the_page(tmp_path: Path) -> None:
    """Each curl command of the page, asked of a server of the page's ledger, gets the answer that the page shows."""
    with tlog.Ledger.create(tmp_path / "ledger", origin="audit.example.com") as ledger:
        for name in ("alice", "bob", "carol"):
            ledger.partition("users").append({"actor": name, "action": "login", "outcome": "success"})
        ledger.partition("users").publish()
    client = create_app(tmp_path / "ledger").test_client()
    count = 0
    for block in blocks_of(PAGE):
        for command, shown in commands_of(block) if block.language == "console" and not block.is_run else ():
            match = re.fullmatch(rf"curl -s '?{URL}([^\s']*)'?( > .*)?", command)
            if match is not None:
                text = client.get(match[1]).text
                assert stable(_plain(text)) == stable(_plain(shown)) or match[2], command
                assert client.get(match[1]).status_code == 200 or "problem" not in shown
                count += 1
    assert count >= 4


def test_every_path_is_on_the_page(served: Served) -> None:
    """The page has all paths of the server, and all headers that every answer carries."""
    text = PAGE.read_text(encoding="utf-8")
    for rule in served.client.application.url_map.iter_rules():
        path = str(rule)
        for name, shown in NAMES.items():
            path = path.replace(name, shown)
        assert f"`{path}" in text, path
    for name, value in SECURITY_HEADERS.items():
        assert f"`{name}: {value}`" in text


def _plain(text: str) -> str:
    return re.sub(r'"request_id": "[0-9a-f]{16}"', '"request_id": "0"', text)
