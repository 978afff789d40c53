"""Bodies in all forms: whole, chunked, packed, too large, damaged, broken off."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zstandard
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.access.conftest import Guarded
from tlog_server.app import create_app
from tlog_server.asking import reads_body
from tlog_server.bodies import MAX_WINDOW, RATIO_SLACK, read_body, stream_body

LIMIT = 1 << 20
BIG_LIMIT = 1 << 28


@pytest.fixture(scope="module")
def app(guarded: Guarded) -> Flask:
    """An application that says how many bytes came, and their check sum."""
    made = create_app(guarded.path)

    @reads_body
    def whole() -> str:
        body = read_body(LIMIT)
        return f"{len(body)} {zlib.crc32(body)}"

    @reads_body
    def stream() -> str:
        size = crc = 0
        for part in stream_body(BIG_LIMIT):
            assert 0 < len(part) <= 8 << 20
            size, crc = size + len(part), zlib.crc32(part, crc)
        return f"{size} {crc}"

    made.add_url_rule("/api/test/whole", view_func=whole, methods=["POST"])
    made.add_url_rule("/api/test/stream", view_func=stream, methods=["POST"])
    return made


Post = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def post(app: Flask) -> Post:
    """Send a body; return the status and the answer."""

    def send(
        body: bytes | None, coding: str | None = None, *, path: str = "whole", is_chunked: bool = False, **more: Any
    ) -> tuple[int, str]:
        headers = {} if coding is None else {"Content-Encoding": coding}
        overrides: dict[str, Any] = dict(more)
        if is_chunked:
            headers["Transfer-Encoding"] = "chunked"
            overrides |= {"wsgi.input_terminated": True, "wsgi.input": io.BytesIO(body or b""), "CONTENT_LENGTH": ""}
            body = None
        answer = app.test_client().post(
            f"/api/test/{path}", data=body, headers=headers, environ_overrides=overrides, content_type="text/plain"
        )
        return answer.status_code, answer.text

    return send


def expected(body: bytes) -> tuple[int, str]:
    """What the application says about a body."""
    return 200, f"{len(body)} {zlib.crc32(body)}"


def packed_by_zstd(body: bytes) -> bytes:
    """Pack a body, without a checksum."""
    return zstandard.ZstdCompressor(level=3).compress(body)


PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": packed_by_zstd}


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, LIMIT - 1, LIMIT])
def test_sizes(post: Post, size: int, is_chunked: bool) -> None:
    """What is within the limit comes through byte for byte, in whatever form; one byte more is refused."""
    body = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
    assert post(body, is_chunked=is_chunked) == expected(body)
    for name, pack in PACKERS.items():
        assert post(pack(body), name, is_chunked=is_chunked) == expected(body)
    if size == LIMIT:
        for form, coding in ((body + b"x", None), *((pack(body + b"x"), name) for name, pack in PACKERS.items())):
            status, said = post(form, coding, is_chunked=is_chunked)
            assert (status, str(LIMIT) in said) == (413, True)


@settings(max_examples=40, deadline=None)
@given(parts=st.lists(st.binary(max_size=300), min_size=1, max_size=5), coding=st.sampled_from(sorted(PACKERS)))
def test_several_members(post: Post, parts: list[bytes], coding: str) -> None:
    """Members of gzip, and frames of zstd, may follow each other; empty ones too."""
    packed = b"".join(map(PACKERS[coding], parts))
    body = b"".join(parts)
    assert post(packed, coding) == expected(body)


@pytest.mark.parametrize("coding", sorted(PACKERS))
@pytest.mark.parametrize("is_chunked", [False, True])
def test_damage(post: Post, coding: str, is_chunked: bool) -> None:
    """A packed body that is cut off anywhere, or followed by something else, is refused."""
    packed = PACKERS[coding](b'{"event":1}\n' * 50)
    for stop in range(len(packed)):
        status, said = post(packed[:stop], coding, is_chunked=is_chunked)
        assert (status, "Content-Encoding" in said) == (400, True), stop
    for more in (b"x", b"\0" * 100, b'{"event":2}'):
        assert post(packed + more, coding, is_chunked=is_chunked)[0] == 400
    for wrong in (b"x", b'{"event":1}', b"\x28\xb5\x2f\xfd" + b"\xff" * 20, b"\x1f\x8b" + b"\xff" * 20):
        assert post(wrong, coding, is_chunked=is_chunked)[0] == 400


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, gzip", "identity, gzip", "compress", "*", "x" * 1000])
def test_other_codings(post: Post, app: Flask, coding: str) -> None:
    """A coding that the server does not take off is refused, and the answer says which ones it does."""
    assert post(b"x", coding)[0] == 415
    answer = app.test_client().post("/api/test/whole", data=b"x", headers={"Content-Encoding": coding})
    assert answer.headers["Accept-Encoding"] == "identity, gzip, zstd"


def test_spellings_of_codings(post: Post) -> None:
    """Codings are named without regard to case; x-gzip is gzip, identity is none."""
    for name in ("GZIP", "x-gzip", " gzip "):
        assert post(gzip.compress(b"abc"), name) == expected(b"abc")
    for name in ("identity", "Identity"):
        assert post(b"abc", name) == expected(b"abc")


def gzip_bomb() -> bytes:
    """A body of 128 KiB that unpacks to 128 MiB."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(128)), packer.flush()])


def zstd_bomb(size: int = 1 << 30) -> bytes:
    """A body of 32 KiB that unpacks to a gigabyte: blocks that each stand for 128 KiB of one byte."""
    blocks = [(1 << 1 | (1 << 17) << 3).to_bytes(3, "little") + b"a"] * (size >> 17)
    return b"\x28\xb5\x2f\xfd" + b"\x00\x58" + b"".join(blocks) + (1).to_bytes(3, "little")


def many_bombs() -> bytes:
    """Frames that announce nothing and unpack to much, one after another."""
    return packed_by_zstd(bytes(8 << 20)) * 200


@pytest.mark.parametrize(("coding", "make"), [("gzip", gzip_bomb), ("zstd", zstd_bomb), ("zstd", many_bombs)])
@pytest.mark.parametrize("path", ["whole", "stream"])
def test_bombs(post: Post, coding: str, make: Callable[[], bytes], path: str) -> None:
    """A small body that unpacks into a huge one is refused as soon as it does, before it takes memory."""
    bomb = make()
    tracemalloc.start()
    try:
        status, said = post(bomb, coding, path=path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert status == 413
    assert peak < 32 << 20
    assert ("times its size" in said) == (path == "stream")


def test_a_window_of_its_own_size(post: Post) -> None:
    """A frame of zstd that asks for more than 8 MiB of memory is refused; the largest window that is allowed works."""
    body = bytes(range(256)) * 100
    for log, status in ((23, 200), (24, 400), (27, 400), (31, 400)):
        parameters = zstandard.ZstdCompressionParameters(window_log=min(log, 27), enable_ldm=log > 27)
        packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        packed = bytearray(packer.compress(body) + packer.flush())
        assert packed[5] >> 3 == min(log, 27) - 10
        packed[5] = (log - 10) << 3
        assert post(bytes(packed), "zstd")[0] == status
    assert MAX_WINDOW == 1 << 23


def test_what_repeats_itself_is_no_bomb(post: Post) -> None:
    """Events that are much alike pack well, and are taken."""
    numbered = b"".join(b'{"id":"event-%d","actor":"alice","outcome":"success"}\n' % n for n in range(250_000))
    assert 2 * len(numbered) > 4 * RATIO_SLACK
    same = b'{"action":"heartbeat"}\n' * 150_000
    for name, pack in PACKERS.items():
        for body in (numbered * 2, same):
            assert post(pack(body), name, path="stream") == expected(body)


def test_a_body_that_ends_early(post: Post) -> None:
    """A body with fewer bytes than announced is refused, never taken as the whole."""
    status, said = post(b"abc", CONTENT_LENGTH="10")
    assert status == 400
    assert "end" in said
    status, said = post(b"abc", CONTENT_LENGTH="10", **{"wsgi.input_terminated": True})
    assert (status, "3 of 10" in said) == (400, True)


class Broken(io.RawIOBase):
    """A body whose connection breaks after a while."""

    def __init__(self, error: Exception) -> None:
        self._parts: Iterator[bytes] = iter([b"x" * 10, b"y" * 10])
        self._error = error

    def read(self, size: int = -1, /) -> bytes:
        """Return some bytes, then fail."""
        assert size >= 0
        for part in self._parts:
            return part
        raise self._error


def test_broken_connections(post: Post) -> None:
    """A connection that breaks, and one whose chunks are nonsense, end in an answer of their own, not in a defect."""
    from gunicorn.http.errors import InvalidChunkSize, NoMoreData

    for error, status in (
        (ConnectionResetError("gone"), 400), (NoMoreData(), 400), (InvalidChunkSize(b"x"), 400), (TimeoutError(), 408),
    ):  # fmt: skip
        more = {"wsgi.input": Broken(error), "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        assert post(b"", **more, CONTENT_LENGTH="")[0] == status
