"""A mirror over HTTP: `add-checkpoint` and `add-entries` for logs, and the copies, as tlog-tiles has them, for readers.

It is an application of its own. Source: c2sp.org/tlog-mirror; c2sp.org/tlog-tiles.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence

from flask import Flask, Response

from tlog.errors import FormatError, NotFoundError
from tlog.keys import VerifierKey
from tlog.mirroring.mirror import Mirror, MirrorConflictError, PartialUploadError
from tlog.tile import Bundle, Tile, parse_path
from tlog.witnessing.request import MAX_REQUEST_SIZE, origin_hash
from tlog_server import bodies, problems
from tlog_server.answering import BYTES, IMMUTABLE, answer
from tlog_server.asking import SETTINGS
from tlog_server.party import TEXT, new_party_app, refuse_in_words
from tlog_server.problems import RefusedError
from tlog_server.settings import Settings
from tlog_server.static_log import CHECKPOINT_CACHE

INFO_TYPE = "text/x.tlog.mirror-info"
MAX_UPLOAD_SIZE = 1 << 30
"""Bytes of an upload; a client sends 32 packages of at most 17 MB."""


def create_mirror_app(mirror: Mirror, witnesses: Sequence[VerifierKey] = ()) -> Flask:
    """Return the WSGI application of a mirror; submission prefix and monitoring prefix are both its root.

    witnesses: see `Mirror.add_checkpoint`.
    """
    app = new_party_app("tlog_server.mirroring", mirror.vkeys, lambda: mirror.is_sound)
    app.config[SETTINGS] = Settings()
    bodies.install(app)
    problems.install(app)
    refuse_in_words(app)

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers["Accept-Encoding"] = "gzip, zstd"
        return response

    _take(app, mirror, witnesses)
    _serve(app, mirror)
    _refuse(app)
    return app


def _take(app: Flask, mirror: Mirror, witnesses: Sequence[VerifierKey]) -> None:
    """Add what logs ask for."""

    @app.post("/add-checkpoint")
    def add_checkpoint() -> Response:
        """Take up a pending checkpoint."""
        return Response(mirror.add_checkpoint(bodies.read_body(MAX_REQUEST_SIZE), witnesses), content_type=TEXT)

    @app.post("/add-entries")
    def add_entries() -> Response:
        """Take up entries, as far as they are proved."""
        body = _Stream(bodies.stream_body(MAX_UPLOAD_SIZE))
        try:
            lines = mirror.add_entries(body.read)
        except FormatError:
            if body.refusal is not None:  # nothing could be used, and this is why
                raise body.refusal from None
            raise
        return Response("".join(f"{line}\n" for line in lines), content_type=TEXT)


def _serve(app: Flask, mirror: Mirror) -> None:
    """Add what readers ask for."""

    @app.get("/<path:name>/checkpoint")
    def checkpoint(name: str) -> Response:
        """The mirror checkpoint of a log."""
        found = mirror.store(_origin(mirror, name)).checkpoint()
        if found is None:
            raise NotFoundError("nothing of this log was mirrored yet")
        return answer(found.raw, TEXT, CHECKPOINT_CACHE)

    @app.get("/<path:name>/tile/<path:rest>")
    def tile(name: str, rest: str) -> Response:
        """A tile or an entry bundle."""
        store = mirror.store(_origin(mirror, name))
        try:
            place = parse_path(f"tile/{rest}")
        except FormatError as err:
            raise NotFoundError("this is no path of a tile or an entry bundle") from err
        found = store.checkpoint()
        size = 0 if found is None else found.tree_size
        height = 8 * place.level if isinstance(place, Tile) else 0
        if size >> height < place.index * 256 + place.width:
            raise NotFoundError("the mirror checkpoint does not imply this")
        return answer(store.read(place), BYTES, IMMUTABLE, compress=isinstance(place, Bundle))


def _refuse(app: Flask) -> None:
    """Say to those who cannot go on what they need."""

    @app.errorhandler(MirrorConflictError)
    def conflict(error: MirrorConflictError) -> Response:
        ticket = base64.b64encode(error.ticket).decode()
        status = 202 if isinstance(error, PartialUploadError) else 409
        return Response(f"{error.tree_size}\n{error.next_entry}\n{ticket}\n", status, content_type=INFO_TYPE)


def _origin(mirror: Mirror, name: str) -> str:
    """Return the origin that a path has, as its hash, or as it is, where `tlog.Client` looks. Raises: NotFoundError."""
    for origin in mirror.origins():
        if name in (origin_hash(origin), origin):
            return origin
    raise NotFoundError("there is no such log here")


class _Stream:
    """A body that is read by sizes. refusal: why it ended before its end, if it did; what came before may be used."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")
        self.refusal: RefusedError | None = None

    def read(self, size: int) -> bytes:
        """Return `size` bytes, fewer only at the end."""
        parts = []
        while size and (self._piece or self._refill()):
            part, self._piece = self._piece[:size], self._piece[size:]
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _refill(self) -> bool:
        try:
            self._piece = memoryview(next(self._pieces, b""))
        except RefusedError as refusal:
            self.refusal = refusal
        return bool(self._piece)
