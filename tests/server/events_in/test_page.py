"""docs/events-api.md shows what the server answers to whoever sends events."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from tests.docrunner import blocks_of, commands_of, stable
from tests.server.events_in.conftest import Server
from tlog_server.taking import DEFAULT_TIMEOUT_S, MAX_TIMEOUT_S, STATES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "events-api.md"


def test_the_answers_on_the_page(server: Server) -> None:
    """Each curl command that sends something gets the answer that the page shows."""
    count = 0
    for block in blocks_of(PAGE):
        for command, shown in commands_of(block) if block.language == "console" else ():
            words = shlex.split(command.replace("$TOKEN", server.token))
            if "-d" in words:
                headers = dict(word.split(": ", 1) for word in words if re.match(r"[A-Z][\w-]+: ", word))
                url = words[-1].removeprefix("http://127.0.0.1:8000")
                sent = {name.replace("-", "_"): value for name, value in headers.items()}
                answer = server.post(url, words[words.index("-d") + 1].encode(), **sent)
                assert _stable(answer.text) == _stable(shown)
                count += 1
    assert count >= 2


def test_the_limits_on_the_page() -> None:
    """The page says what can be waited for, and how long."""
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert all(f"`{state}`" in text for state in STATES)
    assert f"0 to {MAX_TIMEOUT_S}; {DEFAULT_TIMEOUT_S} unless given" in text


def _stable(text: str) -> str:
    fields = json.loads(text)
    fields.pop("request_id", None)
    return stable(json.dumps(fields))
