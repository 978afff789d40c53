"""The files of the pages: scripts, styles, the icon, and the self-contained checker, from the package itself.

A path is looked up among the files that the package has, so nothing that a client writes reaches the file system.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

from flask import Blueprint, Response

from tlog_server.answering import answer
from tlog_server.asking import parameters
from tlog_server.checker import build_checker
from tlog_server.problems import RefusedError

ROOT = Path(__file__).with_name("static")

CACHE = "no-cache"
"""Kept by browsers, and compared at each use: modules of two versions together could verify nothing."""

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""The media types of the files that are served, by their suffix; other files are not."""

CHECKER = "checker.html"
DOWNLOADED_AS = "tlog-checker.html"

static_files = Blueprint("static_files", __name__)


class StaticFile(NamedTuple):
    """A file that is served. content_type: its media type. policy: the Content-Security-Policy under which it runs."""

    body: bytes
    content_type: str
    policy: str | None = None


@static_files.get("/static/<path:name>")
def static_file(name: str) -> Response:
    """A file of the package. `checker.html?download=1` is the same, to be kept."""
    asked = parameters("download") if name == CHECKER else parameters()
    if asked.get("download", "1") != "1":
        raise RefusedError(400, "download takes 1 only.", field="download")
    found = files().get(name)
    if found is None:
        raise RefusedError(404, "There is no file of this name.")
    response = answer(found.body, found.content_type, CACHE, compress=True)
    if found.policy is not None:
        response.headers["Content-Security-Policy"] = found.policy
    if asked:
        response.headers["Content-Disposition"] = f'attachment; filename="{DOWNLOADED_AS}"'
    return response


@cache
def files() -> dict[str, StaticFile]:
    """Return every file that is served, by its path below `/static/`. Read once a process."""
    found = {
        path.relative_to(ROOT).as_posix(): StaticFile(path.read_bytes(), TYPES[path.suffix])
        for path in sorted(ROOT.rglob("*"))
        if path.suffix in TYPES and path.is_file()
    }
    checker = build_checker(ROOT)
    found[CHECKER] = StaticFile(checker.page, "text/html; charset=utf-8", checker.policy)
    return found
