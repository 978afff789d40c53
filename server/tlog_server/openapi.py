"""The interface described for machines: one document that is kept by hand, and compared with the routes by test.

Source: spec.openapis.org/oas/v3.1.0.
"""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response

from tlog_server.answering import answer
from tlog_server.asking import accepted, parameters

JSON = "application/json"
CACHE = "public, max-age=300"
DOCUMENT = Path(__file__).with_name("openapi.json").read_bytes()

openapi = Blueprint("openapi", __name__)


@openapi.get("/openapi.json")
def document() -> Response:
    """The document."""
    parameters()
    accepted(JSON)
    return answer(DOCUMENT, JSON, CACHE, compress=True)
