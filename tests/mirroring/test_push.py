"""Pushing a real log to a mirror over HTTP: at once, in parts, again, after it grew, and when the mirror is odd."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tlog
from tests.mirroring.conftest import SIGNER
from tests.mirroring.test_pull import Pair
from tests.statements import checkpoint, witness_key
from tests.witnessing.parties import WSGI, served
from tlog.errors import Error, StorageError
from tlog.mirroring.push import push
from tlog.mirroring.upload import read_package, read_upload
from tlog.note import verify_line
from tlog.witnessing.web import WebTransport
from tlog_server.mirroring import create_mirror_app

WITNESSED = f"{checkpoint([], witness_key(1)).signatures[0]}\n".encode()
FORGED = f"{checkpoint([], SIGNER).signatures[0]}\n".encode()
"""A line of a key that nobody asked for, and one of the mirror's about another tree."""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """A log of 3 entries and a mirror without any."""
    made = Pair(tmp_path)
    yield made
    made.ledger.close()


def test_pushed_as_it_grows(pair: Pair) -> None:
    """At each size the copy is the log's own site, and what comes back is the mirror's cosignature; 40 bundles too."""
    with served(create_mirror_app(pair.mirror)) as url, WebTransport() as transport:
        for size in (3, 256, 300, 10_000):
            pair.grow(size)
            for _ in range(2):
                (line,) = push(pair.log, url, transport, [SIGNER.verifier_key])
                verify_line(SIGNER.verifier_key, pair.log.checkpoint().text, line)
            pair.assert_equal()


def test_what_is_sent(pair: Pair) -> None:
    """Octets, compressed, at most 32 packages in a request, each request from where the mirror says."""
    pair.grow(10_000)
    app = create_mirror_app(pair.mirror)
    sent: list[tuple[str, str, int, int]] = []

    def watched(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/add-entries":
            raw = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            body = io.BytesIO(gzip.decompress(raw))
            upload = read_upload(body.read)
            spans = upload.packages()
            count = sum(read_package(body.read, stop - begin) is not None for begin, stop in spans)
            assert body.read() == b""
            sent.append((environ["CONTENT_TYPE"], environ["HTTP_CONTENT_ENCODING"], upload.start, count))
            environ["wsgi.input"] = io.BytesIO(raw)
        return app(environ, start)

    with served(watched) as url, WebTransport() as transport:
        push(pair.log, url, transport)
    what = ("application/octet-stream", "gzip")
    assert sent == [(*what, 10_000, 0), (*what, 0, 32), (*what, 8192, 8)]
    pair.assert_equal()


def test_a_pull_meanwhile(pair: Pair) -> None:
    """Where the mirror has pulled a part, only the rest is sent."""
    pair.grow(300)
    pair.pull()
    pair.grow(700)
    with served(create_mirror_app(pair.mirror)) as url, WebTransport() as transport:
        push(pair.log, url, transport)
    pair.assert_equal()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (500, b"broken", "text/plain"),
        (409, b"3\n0\n\n", "text/x.tlog.mirror-info"),
        (409, b"9\n0\n\n", "text/x.tlog.mirror-info"),
        (202, b"3\n0\n\n", "text/x.tlog.mirror-info"),
        (202, b"3\n2\n\n", "text/x.tlog.mirror-info"),
        (200, b"", "text/plain"),
        (200, b"cosigned\n", "text/plain"),
        (200, WITNESSED, "text/plain"),
        (200, FORGED, "text/plain"),
        (202, b"3\n", "text/x.tlog.mirror-info"),
        (202, b"3\n0\n!\n", "text/x.tlog.mirror-info"),
        (409, b"3\n", "text/plain"),
    ],
)
def test_odd_answers_end(pair: Pair, status: int, body: bytes, kind: str) -> None:
    """A mirror that answers something else, or the same for ever, ends the upload with its words."""

    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        is_entries = environ["PATH_INFO"] == "/add-entries"
        answer = body if is_entries else b""
        start(f"{status if is_entries else 200} x", [("Content-Type", kind), ("Content-Length", str(len(answer)))])
        return [answer]

    odd: WSGI = app
    with served(odd) as url, WebTransport() as transport, pytest.raises(Error):
        push(pair.log, url, transport, [SIGNER.verifier_key])


def test_a_mirror_that_does_not_know_the_log(pair: Pair, tmp_path: Path) -> None:
    """The mirror's refusal is shown."""
    stranger = tlog.Ledger.create(tmp_path / "other", origin="other.example").partition("users")
    stranger.append("x")
    stranger.publish()
    with (
        served(create_mirror_app(pair.mirror)) as url,
        WebTransport() as transport,
        pytest.raises(StorageError, match="the mirror answered 404"),
    ):
        push(stranger, url, transport)
