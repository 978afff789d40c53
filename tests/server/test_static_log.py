from __future__ import annotations

import functools
import gzip
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import zstandard

from tests.ledgers import NAME, QuickDisk, create
from tests.server.conftest import SIZES, Served
from tlog.bundle import decode_bundle
from tlog_server.app import create_app

BUNDLE = f"/{NAME}/tile/entries/001"
TILE = f"/{NAME}/tile/0/000"
IMMUTABLE = "public, max-age=31536000, immutable"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def plain_server(served: Served) -> Iterator[httpx.Client]:
    """A plain static file server on the exported site."""
    handler = functools.partial(_Quiet, directory=str(served.site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}", trust_env=False) as client:
            yield client
        server.shutdown()
        thread.join()


def test_a_static_server_serves_the_same(served: Served, plain_server: httpx.Client) -> None:
    """Every path that the checkpoints at all sizes imply has the same bytes from the exported site and from here."""
    files = [file for file in served.site.rglob("*") if file.is_file()]
    assert len(files) > 2 * len(SIZES)
    for file in files:
        path = str(file.relative_to(served.site))
        ours, plain = served.client.get(f"/{NAME}/{path}"), plain_server.get(f"/{path}")
        assert (ours.status_code, plain.status_code) == (200, 200), path
        assert ours.data == plain.content == file.read_bytes(), path
        assert ours.headers["Content-Length"] == plain.headers["Content-Length"]


@pytest.mark.parametrize(
    ("path", "content_type", "cache"),
    [
        ("checkpoint", "text/plain; charset=utf-8", "public, max-age=2"),
        ("vkey", "text/plain; charset=utf-8", "public, max-age=300"),
        ("tile/0/000", "application/octet-stream", IMMUTABLE),
        ("tile/1/000.p/2", "application/octet-stream", IMMUTABLE),
        ("tile/entries/002.p/188", "application/octet-stream", IMMUTABLE),
    ],
)
def test_headers(served: Served, path: str, content_type: str, cache: str) -> None:
    """Content type and caching are those of tlog-tiles; HEAD says the same without the bytes; 304 repeats the tag."""
    full = served.client.get(f"/{NAME}/{path}")
    assert (full.status_code, full.headers["Content-Type"]) == (200, content_type)
    assert full.headers["Cache-Control"] == cache
    head = served.client.head(f"/{NAME}/{path}")
    assert (head.status_code, head.data) == (200, b"")
    same = ("Content-Type", "Content-Length", "ETag", "Cache-Control")
    assert [head.headers[name] for name in same] == [full.headers[name] for name in same]
    tag = full.headers["ETag"]
    for known in (tag, f'"other", W/{tag}', "*"):
        answer = served.client.get(f"/{NAME}/{path}", headers={"If-None-Match": known})
        assert (answer.status_code, answer.data) == (304, b"")
        assert (answer.headers["ETag"], answer.headers["Cache-Control"]) == (tag, cache)
    assert served.client.get(f"/{NAME}/{path}", headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/3", "tile/0/0", "tile/00/000", "tile/0/000/", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/05",
        "tile/0/x000/000", "tile/64/000", "tile/-1/000", "tile/0/000.p/1/", "tile/entries/", "tile/", "tile", "tile/0",
        "tile/0/../0/000", "tile/0/%30%30%30", "tile%2f0%2f000", "tile/0//000", "/tile/0/000", "checkpoint/",
        "%63heckpoint", "checkpoints.jsonl", "segments/00000000000000000000.jsonl", "lock", "../../tlog.toml",
        "..%2f..%2ftlog.toml", "tile/..%2fcheckpoint", "tile/0/000\u0665", "tile/0/000;a", "vkey%00",
    ],
)  # fmt: skip
def test_any_other_spelling_is_not_found(served: Served, path: str) -> None:
    """A path has one spelling; every other one is a 404 problem, and leads to no file."""
    answer = served.client.get(f"/{NAME}/{path}")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path", ["tile/0/000.p/2", "tile/0/002.p/189", "tile/0/002", "tile/0/003", "tile/1/000", "tile/entries/002.p/208"]
)
def test_what_no_published_checkpoint_implies_is_not_found(served: Served, path: str) -> None:
    """Widths that were never signed, and entries that are not published yet, are not served."""
    answer = served.client.get(f"/{NAME}/{path}")
    assert answer.status_code == 404
    assert answer.get_json()["field"] == "tile"


@pytest.mark.parametrize("name", ["other", "Users", "x" * 65, "..", "_a", "api", "a%2fb", "keys"])
def test_unknown_partitions(served: Served, name: str) -> None:
    """Only partitions that exist are looked at, and asking for others leaves nothing behind."""
    open_before = set(served.client.application.config["TLOG_LEDGER"]._open)
    assert served.client.get(f"/{name}/checkpoint").status_code == 404
    assert set(served.client.application.config["TLOG_LEDGER"]._open) == open_before


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["checkpoint", "vkey", "tile/0/000", "tile/entries/000"])
def test_other_methods(served: Served, method: str, path: str) -> None:
    """Other methods get 405 and are told which there are."""
    answer = served.client.open(f"/{NAME}/{path}", method=method)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert answer.get_json()["status"] == 405


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1), ("bytes=0-31", 0, 32), ("bytes=8190-", 8190, 8192), ("bytes=-2", 8190, 8192),
        ("bytes=8000-999999", 8000, 8192), ("bytes=-99999", 0, 8192),
    ],
)  # fmt: skip
def test_one_range(served: Served, asked: str, start: int, stop: int) -> None:
    """A single range gets its bytes."""
    whole = served.client.get(TILE)
    part = served.client.get(TILE, headers={"Range": asked})
    assert (part.status_code, part.data) == (206, whole.data[start:stop])
    assert part.headers["Content-Range"] == f"bytes {start}-{stop - 1}/8192"
    assert part.headers["ETag"] == whole.headers["ETag"]
    tagged = {"Range": asked, "If-Range": whole.headers["ETag"]}
    assert served.client.get(TILE, headers=tagged).status_code == 206
    assert served.client.get(TILE, headers=tagged | {"If-Range": '"other"'}).status_code == 200
    assert served.client.head(TILE, headers={"Range": asked}).status_code == 200


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,3-4", "lines=0-1", "bytes=5-2", "bytes=", "bytes=-", "nonsense", "bytes=a-b"]
)
def test_what_is_no_single_range_is_passed_over(served: Served, asked: str) -> None:
    """Several ranges, other units and nonsense get the whole."""
    assert served.client.get(TILE, headers={"Range": asked}).status_code == 200


@pytest.mark.parametrize("asked", ["bytes=8192-", "bytes=9000-9001", "bytes=-0"])
def test_a_range_outside(served: Served, asked: str) -> None:
    """A range behind the end is refused with the size."""
    answer = served.client.get(TILE, headers={"Range": asked})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, "bytes */8192")
    assert answer.get_json()["field"] == "Range"


@pytest.mark.parametrize(
    ("asked", "coding"),
    [
        (None, None), ("", None), ("identity", None), ("br", None), ("gzip", "gzip"), ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"), ("gzip;q=1.0, zstd;q=0.5", "gzip"), ("gzip;q=0.5, zstd;q=0.5", "zstd"),
        ("gzip;q=0", None), ("gzip;q=0, *", "zstd"), ("*", "zstd"), ("*;q=0, gzip", "gzip"), ("GZIP", "gzip"),
        ("x-gzip", "gzip"), ("identity;q=1, gzip;q=0.5", None), ("identity;q=0, gzip;q=0.001", "gzip"),
        ("zstd;q=0.0, gzip;q=0.000", None), ("gzip;q=2", None), ("gzip;q=nan", None), ("gzip;q", None),
    ],
)  # fmt: skip
def test_content_codings(served: Served, asked: str | None, coding: str | None) -> None:
    """Bundles come in the coding that the client likes best; what is inside is always the same."""
    plain = served.client.get(BUNDLE).data
    answer = served.client.get(BUNDLE, headers={} if asked is None else {"Accept-Encoding": asked})
    assert answer.status_code == 200
    assert answer.headers.get("Content-Encoding") == coding
    assert answer.headers["Vary"] == "Accept-Encoding"
    if coding == "zstd":
        assert zstandard.ZstdDecompressor().decompress(answer.data) == plain
    else:
        assert (answer.data if coding is None else gzip.decompress(answer.data)) == plain
    assert len(decode_bundle(plain, 256)) == 256
    assert coding is None or len(answer.data) < len(plain) // 2


@pytest.mark.parametrize("asked", ["identity;q=0", "*;q=0", "br, *;q=0"])
def test_no_coding_is_left(served: Served, asked: str) -> None:
    """Who refuses everything that there is gets 406."""
    assert served.client.get(BUNDLE, headers={"Accept-Encoding": asked}).status_code == 406


def test_tags_and_ranges_of_coded_bundles(served: Served) -> None:
    """Each coding has a tag of its own, the same at every time; a range is one of the bytes without coding."""
    tags = set()
    for coding in ("identity", "gzip", "zstd"):
        first, second = (served.client.get(BUNDLE, headers={"Accept-Encoding": coding}) for _ in range(2))
        assert (first.data, first.headers["ETag"]) == (second.data, second.headers["ETag"])
        known = {"Accept-Encoding": coding, "If-None-Match": first.headers["ETag"]}
        assert served.client.get(BUNDLE, headers=known).status_code == 304
        tags.add(first.headers["ETag"])
    assert len(tags) == 3
    part = served.client.get(BUNDLE, headers={"Accept-Encoding": "gzip", "Range": "bytes=0-1"})
    assert (part.status_code, part.data) == (206, served.client.get(BUNDLE).data[:2])
    assert "Content-Encoding" not in part.headers


def test_tiles_are_not_compressed(served: Served) -> None:
    """Hashes do not get smaller."""
    answer = served.client.get(TILE, headers={"Accept-Encoding": "gzip, zstd"})
    assert "Content-Encoding" not in answer.headers
    assert len(answer.data) == 8192


def test_nothing_published(served: Served, tmp_path: Path) -> None:
    """Before the first checkpoint there is a key, and neither checkpoint nor tiles."""
    create(tmp_path / "ledger", disk=QuickDisk()).append("first")
    client = create_app(str(tmp_path / "ledger")).test_client()
    assert client.get(f"/{NAME}/vkey").status_code == 200
    for path in ("checkpoint", "tile/0/000.p/1", "tile/entries/000.p/1", "entry/0", "proof/inclusion?index=0"):
        assert client.get(f"/{NAME}/{path}").status_code == 404, path
    assert served.client.get("/readyz").status_code == client.get("/readyz").status_code == 200
