"""The public static paths of every partition: what tlog-tiles asks for, and the verifier key beside it.

Each is the same, byte for byte, as the file that `tlog export` writes. Source: c2sp.org/tlog-tiles.
"""

from __future__ import annotations

from flask import Blueprint, Response

from tlog.errors import FormatError, NotFoundError
from tlog.site import vkey_file
from tlog.tile import Bundle, parse_path
from tlog_server.answering import BYTES, IMMUTABLE, TEXT, answer
from tlog_server.asking import parameters, partition
from tlog_server.problems import RefusedError

CHECKPOINT_CACHE = "public, max-age=2"
VKEY_CACHE = "public, max-age=300"

static_log = Blueprint("static_log", __name__)


@static_log.get("/<name>/checkpoint")
def checkpoint(name: str) -> Response:
    """The published checkpoint, its signature checked."""
    parameters()
    try:
        found = partition(name).site.checkpoint()
    except NotFoundError as err:
        raise RefusedError(404, "This partition has published no checkpoint yet.", field="partition") from err
    return answer(found.raw, TEXT, CHECKPOINT_CACHE)


@static_log.get("/<name>/vkey")
def vkey(name: str) -> Response:
    """The verifier key. Whoever verifies should have it by another way too."""
    parameters()
    return answer(vkey_file(partition(name).vkey), TEXT, VKEY_CACHE)


@static_log.get("/<name>/tile/<path:rest>")
def tile(name: str, rest: str) -> Response:
    """A tile or an entry bundle that the published checkpoint implies."""
    parameters()
    try:
        place = parse_path(f"tile/{rest}")
    except FormatError as err:
        detail = (
            "Ask for tile/<level>/<index>[.p/<width>] or tile/entries/<index>[.p/<width>], as tlog-tiles spells it."
        )
        raise RefusedError(404, detail, field="tile") from err
    site = partition(name).site
    try:
        body = site.read(place)
    except NotFoundError as err:
        detail = "No published checkpoint implies this; ask for what <partition>/checkpoint has, in its widths."
        raise RefusedError(404, detail, field="tile") from err
    return answer(body, BYTES, IMMUTABLE, compress=isinstance(place, Bundle))
