"""What a request asks, parsed strictly: one spelling of each path, no unknown, double or unread parameters, no body."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

from flask import current_app, request

from tlog._strict import MAX_TREE_SIZE, parse_decimal
from tlog.errors import FormatError, NotFoundError
from tlog.keeper import Keeper
from tlog.ledger import Ledger
from tlog.partition import Partition
from tlog_server.access import require
from tlog_server.problems import RefusedError
from tlog_server.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])

LEDGER = "TLOG_LEDGER"
"""The name under which the application's configuration holds its ledger."""

SETTINGS = "TLOG_SETTINGS"
"""The name under which it holds its settings."""

KEEPER = "TLOG_KEEPER"
"""The name under which it holds the keeper, which `tlog serve` starts and tests do not."""

METRICS = "TLOG_METRICS"
"""The name under which it holds what the process counts."""

PROBE = "TLOG_PROBE"
"""The name under which it holds what tries whether the storage can be written to."""

STOPPING = "TLOG_STOPPING"
"""The name under which it holds the event that is set when the process is told to end: streams end then."""

MAX_URL_LENGTH = 2048
MAX_PARAMETERS = 16


def check_request() -> None:
    """Refuse what no handler reads: long URLs, other spellings of a path, bodies. Raises: RefusedError."""
    asked = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - the proxy costs at each look
    environ, path = asked.environ, asked.path
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    if len(raw) > MAX_URL_LENGTH or len(path) + len(environ.get("QUERY_STRING", "")) > MAX_URL_LENGTH:
        raise RefusedError(414, f"The URL is longer than {MAX_URL_LENGTH} characters.")
    if raw and _path_of(raw) != quote(asked.root_path + path, safe="/:@!$&'()*+,;=~"):
        raise RefusedError(404, "There is no resource with this path; paths here need no percent signs.")
    has_body = environ.get("CONTENT_LENGTH", "") not in {"", "0"} or "HTTP_TRANSFER_ENCODING" in environ
    if has_body and asked.routing_exception is None and not _reads_body():
        raise RefusedError(413, "Send no body: this resource reads none.")


def reads_body(view: F) -> F:
    """Mark a handler as one that reads the request's body; to all others none may be sent."""
    view.reads_body = True  # type: ignore[attr-defined]
    return view


def _reads_body() -> bool:
    return getattr(current_app.view_functions.get(request.endpoint or ""), "reads_body", False)


def _path_of(target: str) -> str | None:
    """Return the path of a request's target, also of one in absolute form; None where it has none."""
    try:
        return target.partition("?")[0] if target.startswith("/") else urlsplit(target).path
    except ValueError:
        return None


def ledger() -> Ledger:
    """Return the ledger that the application serves."""
    found: Ledger = current_app.config[LEDGER]
    return found


def settings() -> Settings:
    """Return the application's settings."""
    found: Settings = current_app.config[SETTINGS]
    return found


def keeper() -> Keeper:
    """Return the ledger's keeper in this process, of which `wait_published` may be asked whether it runs or not."""
    found: Keeper = current_app.config[KEEPER]
    return found


def stopping() -> threading.Event:
    """Return the event that is set when the process is told to end; an answer that goes on for long looks at it."""
    found: threading.Event = current_app.config[STOPPING]
    return found


def partition(name: str) -> Partition:
    """Return the partition that a path names, for reading.

    Raises: RefusedError where the caller may not read it, and where there is none.
    """
    require("read", name)
    try:
        return ledger().existing(name)
    except (NotFoundError, FormatError) as err:
        raise RefusedError(404, "There is no partition of this name.", field="partition") from err


def parameters(*allowed: str) -> Mapping[str, str]:
    """Return the query's parameters by name. Raises: RefusedError for other names, and double ones."""
    try:
        pairs = parse_qsl(
            request.query_string.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(request.query_string),
            errors="strict",
            max_num_fields=MAX_PARAMETERS,
        )
    except ValueError as err:
        raise RefusedError(400, "The query is no list of name=value with '&' between them.", field="query") from err
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in allowed:
            takes = f"takes {', '.join(allowed)} only" if allowed else "takes no parameters"
            raise RefusedError(400, f"{name[:40]!r} is no parameter of this resource, which {takes}.", field="query")
        if name in found:
            raise RefusedError(400, f"The parameter {name} stands twice; leave one out.", field=name)
        found[name] = value
    return found


@contextmanager
def parsing(field: str) -> Iterator[None]:
    """Make what the block cannot parse a refusal that names the field."""
    try:
        yield
    except FormatError as err:
        raise RefusedError(400, f"{field}: {err.reason}", field=field) from err


def number(text: str, field: str) -> int:
    """Return the number, at most 2^63 - 1, that a parameter spells. Raises: RefusedError."""
    with parsing(field):
        return parse_decimal(text, field, MAX_TREE_SIZE)


def accepted(*types: str) -> str:
    """Return which of these media types the client likes best, the first of equals. Raises: RefusedError where none."""
    if "Accept" not in request.headers:
        return types[0]
    best: str | None = request.accept_mimetypes.best_match(types)
    if best is None:
        raise RefusedError(406, f"This resource comes as {' or '.join(types)}.", field="Accept")
    return best
