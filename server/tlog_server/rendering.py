"""Pages as HTML: the templates, what may stand in them, and the policy under which a page runs.

What entries say was written by strangers. Every value of a template goes through `visible` and is escaped; in an
attribute stand only values that this server made, and what the reader typed. Scripts and styles come from this server's
own files; nothing runs that stands in a page.
"""

from __future__ import annotations

import shlex
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import markupsafe
from flask import Blueprint, Response, g, request

from tlog._strict import format_base64
from tlog.errors import Error
from tlog.report.shown import cut, moment, visible
from tlog_server.answering import NO_STORE, answer
from tlog_server.asking import ledger
from tlog_server.problems import PROBLEM_TYPE, RefusedError, problem, refusal_of_failure

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")
HTML = "text/html; charset=utf-8"
MAX_CELL = 200
"""Characters of a value in a table."""

MAX_WORDS = 600
"""Characters of a message in a table."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""The Content-Security-Policy of pages: their own files, and no text ever becomes markup or script."""

_TITLES = {401: "A token is needed", 403: "This token may not", 404: "Not found", 405: "Not so", 503: "Not now"}


def page_blueprint(name: str) -> Blueprint:
    """Return a blueprint of pages: its errors are pages, too."""
    blueprint = Blueprint(name, __name__)
    blueprint.register_error_handler(RefusedError, _refused)
    blueprint.register_error_handler(Error, _failed)
    return blueprint


def page(template: str, **values: Any) -> Response:
    """Return the page that a template makes of these values."""
    shared = {"ledger_origin": ledger().config.origin, "partition": None, "here": ""}
    return html(template, **{**shared, **values})


def html(template: str, **values: Any) -> Response:
    """Return the page that a template makes of these values, and of nothing else."""
    text = _environment().get_template(template).render(**values)
    response = answer(text.encode("utf-8", "replace"), HTML, NO_STORE, compress=True)
    response.headers["Content-Security-Policy"] = POLICY
    return response


def url(path: str, **parameters: Any) -> str:
    """Return a path with a query of those parameters that are not None and not empty."""
    given = {name: value for name, value in parameters.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def _refused(refusal: RefusedError) -> Response:
    if request.accept_mimetypes.best_match((PROBLEM_TYPE, "text/html")) != "text/html":
        return problem(refusal)
    title = _TITLES.get(refusal.status, HTTPStatus(refusal.status).phrase)
    response = page("refused.html", title=title, refusal=refusal, request_id=g.request_id)
    response.status_code = refusal.status
    response.headers.extend(refusal.headers)
    return response


def _failed(error: Error) -> Response:
    return _refused(refusal_of_failure(error))


def _when(ts: str | None) -> str:
    """Return a time of the log's, ISO 8601 in UTC, to the second."""
    return "" if ts is None else f"{ts[:10]} {ts[11:19]} UTC"


def _ago(seconds: float | None) -> str:
    """Return how long ago something was, in words."""
    if seconds is None:
        return ""
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length):,} {unit}s ago"
    return "1 minute ago" if seconds >= 60 else f"{int(seconds)} s ago"


def _seen(value: Any) -> Any:
    """What every expression of the templates goes through, before it is escaped."""
    return visible(value) if isinstance(value, str) and not isinstance(value, markupsafe.Markup) else value


def _lines(text: str) -> markupsafe.Markup:
    return markupsafe.Markup("\n").join(visible(line) for line in text.split("\n"))


def _counted(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_seen,
    )
    environment.globals |= {"url": url, "own_url": lambda: request.url_root.rstrip("/")}
    environment.filters |= {
        "ago": _ago,
        "base64": format_base64,
        "counted": _counted,
        "cut": lambda text: cut(visible(text), MAX_CELL),
        "exact": markupsafe.escape,
        "lines": _lines,
        "moment": moment,
        "number": lambda number: f"{number:,}",
        "quoted": shlex.quote,
        "shortened": lambda text: cut(visible(text), MAX_WORDS),
        "when": _when,
    }
    return environment
