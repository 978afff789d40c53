"""`add-checkpoint` without Flask, which takes as long for a request as the witness itself does.

A witness follows thousands of logs, and this is what all of them send. Whatever is not such a request in its plain form
goes on to the application, which answers `add-checkpoint` too, and the same. Source: c2sp.org/tlog-witness.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from tlog.errors import Error, FormatError
from tlog.witnessing.request import MAX_REQUEST_SIZE
from tlog.witnessing.witness import Witness
from tlog_server.party import TEXT, common_headers, new_request_id, refusal

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PATH = "/add-checkpoint"

_LENGTH = re.compile("[0-9]{1,9}", re.ASCII)


class AddCheckpoint:
    """A WSGI application around the one of a witness."""

    def __init__(self, app: WSGIApplication, witness: Witness) -> None:
        self._app = app
        self._witness = witness

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        size = _body_size(environ)
        if size is None:
            return self._app(environ, start_response)
        request_id = new_request_id()
        headers = common_headers(request_id)
        try:
            body = environ["wsgi.input"].read(size)
            if len(body) < size:
                raise FormatError("add-checkpoint", f"the body ended after {len(body)} of {size} bytes")
            answer, status, content_type = self._witness.add_checkpoint(body), 200, TEXT
        except Error as err:
            refused = refusal(err, request_id)
            answer, status, content_type = refused.body.encode(), refused.status, refused.content_type
            headers.update(refused.headers)
        headers |= {"Content-Type": content_type, "Content-Length": str(len(answer))}
        start_response(f"{status} {HTTPStatus(status).phrase}", list(headers.items()))
        return [answer]


def _body_size(environ: WSGIEnvironment) -> int | None:
    """Return the bytes of the body of a plain `add-checkpoint`, None for any other request."""
    if environ["PATH_INFO"] != PATH or environ["REQUEST_METHOD"] != "POST" or "HTTP_TRANSFER_ENCODING" in environ:
        return None
    length = environ.get("CONTENT_LENGTH", "")
    if _LENGTH.fullmatch(length) is None or int(length) > MAX_REQUEST_SIZE:
        return None
    return int(length)
