"""What goes over the wire: where to, how much comes back, and how long it may take."""

from __future__ import annotations

import datetime as dt
import gzip
import ipaddress
import socket
import ssl
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import tlog
from tests.client.clients import IMPATIENT, KINDS, MakeClient
from tests.client.conftest import SIZES, Site
from tests.client.lying import LyingServer, Said, drip, refused
from tlog.client.address import parse_address
from tlog.client.answers import decoded

LONG_S = 20.0
"""Far more than any deadline in here."""


@pytest.mark.parametrize(
    ("url", "token", "is_good"),
    [
        ("https://log.example", "tlog_a_b", True), ("https://log.example:8443/below/", "t", True),
        ("http://log.example", None, True), ("http://127.0.0.1:8000", "t", True), ("http://[::1]:8000", "t", True),
        ("http://localhost", "t", True), ("http://127.8.9.1", "t", True),
        ("http://log.example", "t", False), ("http://10.0.0.1", "t", False), ("http://localhost.example", "t", False),
        ("http://127.0.0.1.example", "t", False), ("http://0.0.0.0", "t", False), ("http://[::2]", "t", False),
        ("http://127.0.0.1@log.example", "t", False), ("http://log.example#127.0.0.1", "t", False),
        ("https://user:pw@log.example", None, False), ("https://log.example?x=1", None, False),
        ("https://log.example/#x", None, False), ("ftp://log.example", None, False), ("log.example", None, False),
        ("https://", None, False), ("https://log.example:0", None, False), ("https://log.example:99999", None, False),
        ("https://log.example/a//b", None, False), ("https://log.example/a b", None, False), ("", None, False),
        ("https://[::1", None, False), ("https://lög.example", None, False), ("https://log.example\n", None, False),
        ("https://log.example/" + "x" * 2000, None, False), ("https://log.example\\@evil", None, False),
        ("https://log.example", "", False), ("https://log.example", "a b", False),
        ("https://log.example", "a\n", False),
        ("https://log.example", "ö", False), ("HTTPS://log.example", None, False),
    ],
)  # fmt: skip
def test_where_a_token_may_go(url: str, token: str | None, is_good: bool) -> None:
    """URLs have one form; a token is for https, or for this machine."""
    if is_good:
        assert parse_address(url, "users", token).base == url.rstrip("/")
    else:
        refused(lambda: parse_address(url, "users", token), tlog.FormatError)


def test_the_token_is_in_no_message(site: Site, server: LyingServer, make: MakeClient) -> None:
    """Neither what a client shows of itself nor an error has the token in it; the server gets it with every request."""
    client = make(server.url, vkey=site.vkey, token="tlog_secret", pacing=IMPATIENT)  # noqa: S106
    assert client.size == SIZES[-1]
    assert {headers["authorization"] for headers in server.headers} == {"Bearer tlog_secret"}
    server.lie = lambda _: Said(b"", 403)
    assert "secret" not in f"{client!r}{refused(client.checkpoint)}"
    server.lie = lambda _: Said(b"", 503)
    assert "secret" not in str(refused(client.checkpoint, tlog.UnavailableError))
    without = make(server.url, vkey=site.vkey)
    server.lie = lambda _: None
    without.checkpoint()
    assert "authorization" not in server.headers[-1]


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_redirects_are_not_followed(site: Site, server: LyingServer, make: MakeClient, status: int) -> None:
    """Wherever a redirect leads, also to the same server: nothing is sent there, and the error says where it led."""
    with LyingServer(site.root) as other:
        client = make(server.url, vkey=site.vkey, token="tlog_secret")  # noqa: S106
        for target in (f"{other.url}/users/checkpoint", "/users/vkey", "file:///etc/passwd", "http://[bad"):
            server.asked.clear()
            server.lie = lambda _, target=target: Said(b"", status, {"Location": target})  # type: ignore[misc]
            assert target in str(refused(client.checkpoint, tlog.RequestRefusedError))
            refused(lambda: client.append(1), tlog.RequestRefusedError)
            assert len(server.asked) == 2
        assert other.asked == []


def test_the_environment_sends_nothing_elsewhere(
    site: Site, server: LyingServer, make: MakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Proxies and passwords of the environment are not used, cookies are not kept."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login user password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with LyingServer(site.root) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        server.lie = lambda path: Said(server.truth(path).body, 200, {"Set-Cookie": "a=b; Path=/"})
        client = make(server.url, vkey=site.vkey)
        client.checkpoint()
        client.entry(3)
        assert proxy.asked == []
    assert all("cookie" not in headers and "authorization" not in headers for headers in server.headers)


def reads(raw: Callable[[str, socket.socket], bool], client: tlog.Client, server: LyingServer) -> tlog.Error:
    """Have a server answer in its own way, and return the client's error."""
    server.raw = raw
    start = time.monotonic()
    error = refused(client.checkpoint)
    assert time.monotonic() - start < LONG_S / 2
    return error


@pytest.mark.parametrize(
    ("begin", "rest"),
    [
        (b"", b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 20_000),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"), (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)  # fmt: skip
def test_slow_answers_end_at_the_deadline(
    site: Site, server: LyingServer, make: MakeClient, begin: bytes, rest: bytes
) -> None:
    """A byte now and then, in the headers or in the body, for ever: the client gives up when its time is over."""

    def raw(_: str, connection: socket.socket) -> bool:
        connection.sendall(begin)
        drip(connection, rest, 0.02, LONG_S)
        return True

    error = reads(raw, make(server.url, vkey=site.vkey, pacing=IMPATIENT), server)
    assert isinstance(error, tlog.UnavailableError)


def test_silence_ends_at_the_deadline(site: Site, make: MakeClient) -> None:
    """Nobody accepts, nobody answers, nobody listens: unavailable, each in its time."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = make(f"http://127.0.0.1:{silent.getsockname()[1]}", vkey=site.vkey, pacing=IMPATIENT)
        error = refused(client.checkpoint, tlog.UnavailableError)
        assert isinstance(error, tlog.UnavailableError)
        assert error.is_unknown
    error = refused(client.checkpoint, tlog.UnavailableError)
    assert isinstance(error, tlog.UnavailableError)
    assert (error.is_unknown, "cannot connect" in str(error)) == (False, True)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\n\r\n", b"HTTP/1.1 200 OK\r\n",
    ],
)  # fmt: skip
def test_endless_answers(site: Site, server: LyingServer, make: MakeClient, head: bytes) -> None:
    """Headers or a body without end: refused after as much as such an answer may have, whatever its status."""
    sent = []

    def raw(_: str, connection: socket.socket) -> bool:
        connection.sendall(head)
        piece = b"a" * 65536 if head.endswith(b"\r\n\r\n") else b"x: " + b"a" * 65000 + b"\r\n"
        try:
            for _count in range(1000):
                connection.sendall(piece)
                sent.append(len(piece))
        except OSError:
            return True
        return True

    error = reads(raw, make(server.url, vkey=site.vkey, pacing=IMPATIENT), server)
    assert isinstance(error, tlog.FormatError | tlog.UnavailableError)
    assert sum(sent) < 30 << 20


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"\r\n", b"HTTP/1.1", b"HTTP/1.1 999999 OK\r\n\r\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", b"HTTP/1.1 200 OK\r\n bad: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_no_http(site: Site, server: LyingServer, make: MakeClient, answer: bytes) -> None:
    """Answers that are cut off or no HTTP are no answers."""

    def raw(_: str, connection: socket.socket) -> bool:
        connection.sendall(answer)
        return True

    error = reads(raw, make(server.url, vkey=site.vkey, pacing=IMPATIENT), server)
    assert isinstance(error, tlog.UnavailableError | tlog.FormatError)


def test_content_codings(site: Site, server: LyingServer, make: MakeClient) -> None:
    """Bundles are asked for compressed, and read in gzip, zstd and as they are, also where nobody asked for it."""
    codings: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "zstd": zstandard.ZstdCompressor().compress,
        "identity": bytes,
    }
    for name, encode in codings.items():

        def lie(path: str, name: str = name, encode: Callable[[bytes], bytes] = encode) -> Said:
            return Said(encode(server.truth(path).body), 200, {"Content-Encoding": name})

        server.lie = lie
        client = make(server.url, vkey=site.vkey)
        assert [entry.seq for entry in client.entries(250, 260)] == list(range(250, 260))
    asked = {path: headers["accept-encoding"] for path, headers in zip(server.asked, server.headers, strict=True)}
    assert asked["/users/tile/entries/000"] == "zstd, gzip"
    assert asked["/users/checkpoint"] == "identity"


MIB = bytes(1 << 20)


def bomb(coding: str) -> bytes:
    """Return 64 MiB of zeros, in a content coding."""
    if coding == "gzip":
        return gzip.compress(MIB * 64)
    return zstandard.ZstdCompressor().compress(MIB * 64)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", bomb("gzip")), ("zstd", bomb("zstd")), ("gzip", b""), ("zstd", b""), ("gzip", b"no gzip"),
        ("zstd", b"no zstd"), ("gzip", gzip.compress(b"x") + b"x"), ("gzip", gzip.compress(b"x" * 99)[:-3]),
        ("gzip", gzip.compress(b"x") * 2), ("zstd", zstandard.compress(b"x") + b"x"), ("br", b"x"), ("deflate", b"x"),
        ("zstd", zstandard.compress(b"abc" * 99)[:-3]), ("zstd", zstandard.compress(b"x") * 2), ("gzip, gzip", b"x"),
        ("identity", bytes(70_000)),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)}b",
)  # fmt: skip
def test_what_is_packed_badly(coding: str, body: bytes) -> None:
    """Bombs, streams that are cut off or go on, and unknown codings: refused, in bounded memory."""
    tracemalloc.start()
    try:
        refused(lambda: decoded(body, coding, 65_536), tlog.FormatError)
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()


def test_windows_are_bounded() -> None:
    """A small zstd frame that wants a window of 128 MiB is refused."""
    for window_log, is_good in ((23, True), (24, False), (27, False)):
        parameters = zstandard.ZstdCompressionParameters(window_log=window_log)
        encoder = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        body = encoder.compress(b"text") + encoder.flush()
        if is_good:
            assert decoded(body, "zstd", 65_536) == b"text"
        else:
            refused(lambda body=body: decoded(body, "zstd", 65_536), tlog.FormatError)  # type: ignore[misc]


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536])
def test_what_is_packed_well(size: int) -> None:
    """Up to the limit, every coding gives the bytes back."""
    body = bytes(size)
    assert decoded(body, "", 65_536) == body
    assert decoded(gzip.compress(body), "x-gzip", 65_536) == body
    assert decoded(zstandard.compress(body), "ZSTD", 65_536) == body


def certificate(directory: Path) -> Path:
    """Make a certificate of 127.0.0.1, signed by itself; return the file with it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + made.public_bytes(serialization.Encoding.PEM)
    (directory / "cert.pem").write_bytes(pem)
    return directory / "cert.pem"


@pytest.mark.parametrize("kind", list(KINDS))
def test_certificates_are_checked(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A server whose certificate no authority of the system signed gets no request; when one did, it is asked."""
    file = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with LyingServer(site.root) as server:
        server.wrap(context)
        url = server.url.replace("http:", "https:")
        client = KINDS[kind](url, vkey=site.vkey, token="tlog_secret", pacing=IMPATIENT)  # noqa: S106
        assert "cannot connect" in str(refused(client.checkpoint, tlog.UnavailableError))
        assert server.asked == []
        client.close()
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        client = KINDS[kind](url, vkey=site.vkey)
        assert client.size == SIZES[-1]
        client.close()
        wrong = KINDS[kind](url.replace("127.0.0.1", "localhost"), vkey=site.vkey, pacing=IMPATIENT)
        refused(wrong.checkpoint, tlog.UnavailableError)
        wrong.close()


def test_without_httpx() -> None:
    """Where httpx is missing, the error names the extra that brings it; all else of the library works."""
    for name in ("Client", "AsyncClient"):
        program = f"import sys; sys.modules['httpx'] = None; import tlog; tlog.Policy; tlog.{name}"
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert run.returncode == 1
        assert "pip install 'tlog[client]'" in run.stderr.splitlines()[-1]
