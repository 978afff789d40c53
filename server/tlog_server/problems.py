"""Errors as answers: one table from the errors of `tlog.errors` to HTTP statuses, and problem documents (RFC 9457).

What a request did wrong is a `RefusedError`, whose words are the server's own: they name the field and the remedy. The
words of the library's errors may name files, so they go to the log, under the request's id, and never into an answer.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus

from flask import Flask, Response, g
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from tlog.errors import (
    BackpressureError,
    CommitUnknownError,
    ConflictError,
    Error,
    FormatError,
    NotFoundError,
    StorageError,
    VerificationError,
)
from tlog.index.store import IndexBusyError

PROBLEM_TYPE = "application/problem+json"
RETRY_AFTER_S = 5

STATUSES: tuple[tuple[type[Error], int, str], ...] = (
    (VerificationError, 500, "The log found its own files damaged, and gives out nothing that it cannot prove."),
    (FormatError, 500, "The log found a file of its own unreadable, and gives out nothing that it cannot prove."),
    (NotFoundError, 404, "The log has published no such resource; <partition>/checkpoint says what it has."),
    (ConflictError, 409, "Somebody else holds or has made this already; look, then ask again."),
    (IndexBusyError, 503, "The answer takes longer than this server allows; ask for less, or later."),
    (StorageError, 503, "The log cannot reach its storage now; ask again later."),
    (CommitUnknownError, 503, "The log does not know whether a write arrived; ask again later."),
    (BackpressureError, 503, "The log is not ready for this yet; ask again later."),
    (Error, 500, "The log failed; its operator finds the reason under the request's id."),
)
"""Status and words for each error of the library that leaves a handler; the first class that fits counts."""

_log = logging.getLogger("tlog.server")


class RefusedError(Exception):
    """A request that gets no answer.

    status: of HTTP. detail: what is wrong, and the remedy. field: where, or None. more: other fields of the problem
    document.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        field: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        more: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.field = field
        self.headers = tuple(headers)
        self.more = {} if more is None else dict(more)


def problem(refusal: RefusedError) -> Response:
    """Return the problem document of a refusal. No cache keeps it: what is missing now may be published next."""
    fields: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(refusal.status).phrase,
        "status": refusal.status,
        "detail": refusal.detail,
    }
    if refusal.field is not None:
        fields["field"] = refusal.field
    fields |= refusal.more
    fields["request_id"] = g.request_id
    response = Response(json.dumps(fields) + "\n", refusal.status, content_type=PROBLEM_TYPE)
    response.headers.extend(refusal.headers)
    response.headers["Cache-Control"] = "no-store"
    return response


def refusal_of(error: Error) -> RefusedError:
    """Return what is answered where the library raised `error`: the table's words, not the error's."""
    status, detail = next((status, detail) for kind, status, detail in STATUSES if isinstance(error, kind))
    headers = [("Retry-After", str(RETRY_AFTER_S))] if status == HTTPStatus.SERVICE_UNAVAILABLE else []
    return RefusedError(status, detail, headers=headers)


def install(app: Flask) -> None:
    """Make every error of the application a problem document."""
    app.register_error_handler(RefusedError, problem)
    app.register_error_handler(Error, _library_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _defect)


def refusal_of_failure(error: Error) -> RefusedError:
    """Return what is answered where the library raised `error`; what is no fault of the request goes to the log."""
    refusal = refusal_of(error)
    if refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("request_failed request_id=%s error=%s: %s", g.request_id, type(error).__name__, error)
    return refusal


def _library_error(error: Error) -> Response:
    return problem(refusal_of_failure(error))


def _http_error(error: HTTPException) -> Response:
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        return problem(RefusedError(405, f"This resource answers {allowed} only.", headers=[("Allow", allowed)]))
    if error.code == HTTPStatus.NOT_FOUND:
        return problem(RefusedError(404, "There is no resource with this path."))
    if error.code is None or error.code < HTTPStatus.BAD_REQUEST:
        raise AssertionError(f"the server answered {error.code}, which no route does")
    return problem(RefusedError(error.code, "The request is not one that HTTP or this server knows."))


def _defect(error: Exception) -> Response:
    _log.error("request_failed request_id=%s defect", g.request_id, exc_info=error)
    return problem(RefusedError(500, "The server has a defect; its operator finds the reason under the request's id."))
