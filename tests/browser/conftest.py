"""A real browser (Debian's chromium, driven by Playwright), and a real server for it to talk to."""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

import tlog
from tests.ledgers import NAME, QuickDisk, create

CHROMIUM = shutil.which("chromium")
AXE = importlib.resources.files("axe_playwright_python") / "axe.min.js"
TIMEOUT_MS = 20_000
expect.set_options(timeout=TIMEOUT_MS)

SIZES = (3, 300, 700)
"""Of the checkpoints of the ledger that is served."""


class Live(NamedTuple):
    """A server that runs. url: without a slash at its end. ledger: its directory. vkey: of the partition NAME."""

    url: str
    ledger: Path
    vkey: str


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium without a window. Of package scope: while Playwright runs, no test of asyncio can."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser that remembers nothing yet."""
    opened = browser.new_context(locale="en-GB", timezone_id="UTC")
    opened.set_default_timeout(TIMEOUT_MS)
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """An empty page. A script that fails, or a violation of a page's policy, fails the test."""
    opened = context.new_page()
    errors = complaints_of(opened)
    yield opened
    assert errors == []


def complaints_of(page: Page) -> list[str]:
    """Return a list that fills with what the page's scripts throw, and with what its policy refuses."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if _is_complaint(said.type, said.text) else None)
    return errors


def _is_complaint(kind: str, text: str) -> bool:
    return kind == "error" and ("Content Security Policy" in text or "TrustedHTML" in text or "Uncaught" in text)


def axe_violations(page: Page, *, theme: str = "light", only: str | None = None) -> list[str]:
    """Return what axe-core finds wrong with a page, one line a rule and element; empty where it is accessible.

    theme: light or dark. only: a selector of what to look at, the whole page unless given.
    """
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.evaluate(AXE.read_text("utf-8"))  # outside the page's policy, as developer tools are
    found: dict[str, Any] = page.evaluate("(only) => axe.run(only ?? document, {resultTypes: ['violations']})", only)
    assert found["passes"], "axe has looked at nothing"
    return [
        f"{rule['id']} ({rule['impact']}): {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


def overflow_of(page: Page) -> int:
    """Return by how many pixels the page is wider than its window."""
    width: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return width


@contextlib.contextmanager
def serving(ledger: Path, *words: str) -> Iterator[str]:
    """Run `tlog serve` on a free port; yield its URL."""
    program = Path(sys.executable).with_name("tlog")
    command = [str(program), "serve", "--json", "--ledger", str(ledger), "--bind", "127.0.0.1:0", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ) as process:
        try:
            if process.stdout is None:
                raise AssertionError("the server's output is a pipe")
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="package")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A gunicorn server of a ledger with checkpoints at SIZES. Tests that change the ledger serve one of their own."""
    path = tmp_path_factory.mktemp("live") / "ledger"
    partition = create(path, disk=QuickDisk())
    for size in SIZES:
        start = partition.size if partition.exists else 0
        partition.append_many(
            {
                "id": f"event-{seq}",
                "time": f"2026-11-{seq % 20 + 1:02}T09:00:00Z",
                "category": "user",
                "action": ("user.login", "user.logout", "file.read")[seq % 3],
                "severity": "info",
                "actor": ("alice", "bob", "carol")[seq % 3],
                "outcome": "failure" if seq % 7 == 0 else "success",
            }
            for seq in range(start, size)
        )
        partition.publish()
    with tlog.Index(partition) as index:
        index.catch_up()
    vkey = str(partition.vkey)
    partition.close()
    with serving(path) as url:
        yield Live(url, path, vkey)


@pytest.fixture
def site(live: Live) -> str:
    """The URL of the partition that is served."""
    return f"{live.url}/{NAME}"
