"""Access and bodies on real servers: several processes, slow and broken clients, connections that are used again."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

import tlog
from tests.ledgers import QuickDisk, create
from tests.server.access.conftest import bearing
from tlog.access import Tokens
from tlog.ledger import Config
from tlog.storage.layout import CONFIG_NAME

PROGRAM = """
import sys
from pathlib import Path
from tlog_server import running
from tlog_server.asking import reads_body
from tlog_server.bodies import read_body
from tlog_server.settings import Settings

class Server(running._Server):
    def load(self):
        @reads_body
        def size():
            return f"{len(read_body(1 << 20))} bytes\\n"
        app = super().load()
        app.add_url_rule("/api/test", view_func=size, methods=["POST"])
        return app

running._Server = Server
settings = Settings(workers=int(sys.argv[2]), threads=2, max_streams=1, body_timeout_s=1.0)
def ready(url):
    print(url, flush=True)

sys.exit(running.serve(Path(sys.argv[1]), "127.0.0.1:0", settings=settings, on_ready=ready))
"""
TIMEOUT_S = 30


@contextlib.contextmanager
def serving(ledger: Path, workers: int = 1) -> Iterator[tuple[str, int]]:
    """Run a server that also reads bodies; yield its URL and the number of its parent process."""
    command = [sys.executable, "-c", PROGRAM, str(ledger), str(workers)]
    root = Path(__file__).resolve().parents[3]
    environment = os.environ | {"PYTHONWARNINGS": "default"}
    with subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("http://")
            yield url, process.pid
        finally:
            process.terminate()
            assert process.wait(TIMEOUT_S) == 0


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger whose partition `users` is private, with a checkpoint."""
    path = tmp_path_factory.mktemp("serve") / "ledger"
    partition = create(path, disk=QuickDisk())
    partition.append("event")
    partition.publish()
    partition.close()
    (path / CONFIG_NAME).write_bytes(Config("audit.example.com", 256, access={"private": ["users"]}).format())
    return path


@pytest.fixture(scope="module")
def url(ledger: Path) -> Iterator[str]:
    """A server with one process of two threads, and a second for each body."""
    with serving(ledger) as (address, _):
        yield address


def connect(url: str) -> socket.socket:
    """Connect to a server."""
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), TIMEOUT_S)


def answers(sock: socket.socket, *, count: int | None = None) -> list[bytes]:
    """Read answers until there are `count` of them, or the server closes; each must have its length, and no more."""
    found: list[bytes] = []
    data = b""
    while count is None or len(found) < count:
        head, end, rest = data.partition(b"\r\n\r\n")
        if end:
            length = int(next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))[15:])
            if len(rest) >= length:
                found.append(head + end + rest[:length])
                data = rest[length:]
                continue
        piece = sock.recv(65_536)
        if not piece:
            break
        data += piece
    assert data == b""
    return found


def status(answer: bytes) -> int:
    """The status of an answer."""
    return int(answer.split(b" ", 2)[1])


def test_revocation_in_every_process(ledger: Path) -> None:
    """What is granted and what is revoked counts at the next request, whichever process answers it."""
    with serving(ledger, workers=2) as (url, _), tlog.Ledger.open(ledger) as opened:
        tokens = Tokens(opened)

        def statuses(text: str) -> set[int]:
            with httpx.Client(trust_env=False, headers=bearing(text) | {"Connection": "close"}) as client:
                return {client.get(f"{url}/users/checkpoint").status_code for _ in range(30)}

        for _ in range(2):
            text, token = tokens.create("web-1", ["read"], ["users"])
            assert statuses(text) == {200}
            tokens.revoke(token.id)
            assert statuses(text) == {401}


@pytest.mark.parametrize("head", ["Content-Length: 100000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nffff\r\n"])
def test_slow_bodies(url: str, head: str) -> None:
    """A body that trickles in ends with 408 when its time is over, and its thread answers others."""
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(url)) for _ in range(4)]
        start = time.monotonic()
        for sock in slow:
            sock.sendall(f"POST /api/test HTTP/1.1\r\nHost: x\r\n{head}".encode())
            sock.settimeout(0.02)
        pending, found = set(slow), list[bytes]()
        while pending and time.monotonic() < start + TIMEOUT_S:
            for sock in list(pending):
                with contextlib.suppress(TimeoutError):
                    try:
                        sock.sendall(b"x")
                        found.append(sock.recv(65_536))
                        pending.discard(sock)
                    except ConnectionError:
                        pending.discard(sock)
            time.sleep(0.05)
        assert not pending
        late = [answer for answer in found if status(answer) == 408]
        assert {status(answer) for answer in found} <= {408, 503}, "503: it waited for a thread for too long"
        assert len(late) >= 2
        assert all(b"Connection: close" in answer for answer in late)
    assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200


def test_a_connection_stays_in_step(url: str) -> None:
    """After a body that nobody read, the next answer on the connection is that to the next request, and no other."""
    inner = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(inner), inner) for _ in range(100)) + b"0\r\n\r\n"
    for body, head in (
        (inner, f"Content-Length: {len(inner)}"),
        (inner * 5000, f"Content-Length: {len(inner) * 5000}"),
        (chunks, "Transfer-Encoding: chunked"),
    ):
        for path, expected in (("/healthz", 405), ("/api/v1/nothing", 404), ("/api/test", 415)):
            more = "Content-Encoding: br\r\n" if expected == 415 else ""
            with connect(url) as sock:
                for _ in range(3):
                    request = f"POST {path} HTTP/1.1\r\nHost: x\r\n{more}{head}\r\n\r\n".encode()
                    sock.sendall(request + body + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                    first, second = answers(sock, count=2)
                    assert (status(first), status(second)) == (expected, 200)
                    assert second.endswith(b"\r\n\r\nok\n")
                sock.shutdown(socket.SHUT_WR)
                assert answers(sock) == []


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_large_body_that_nobody_wants(url: str, is_chunked: bool) -> None:
    """The answer comes whole, says that the connection ends, and the connection ends: the rest is not read."""
    head = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {1 << 40}"
    piece = b"x" * 65_536
    sent = 0
    with connect(url) as sock:
        sock.sendall(f"POST /api/test HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode())
        with contextlib.suppress(OSError):
            for _ in range(1000):
                sock.sendall(b"10000\r\n" + piece + b"\r\n" if is_chunked else piece)
                sent += len(piece)
                time.sleep(0.005)
        sock.settimeout(TIMEOUT_S)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while more := sock.recv(65_536):
                answer += more
    assert sent < 50 << 20
    assert status(answer) == 413
    assert b"Connection: close" in answer
    assert b"more than 1048576 bytes" in answer


@pytest.mark.parametrize(
    "body",
    [
        b"x\r\n",
        b"-1\r\n",
        b"5\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabcdef\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"3;a=\x00\r\nabc\r\n0\r\n\r\n",
    ],
)
def test_chunks_that_are_none(url: str, body: bytes) -> None:
    """Nonsense where a chunk should be is refused, and nothing behind it is taken for a request."""
    with connect(url) as sock:
        head = b"POST /api/test HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        sock.sendall(head + body + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        (answer,) = answers(sock)
        assert status(answer) == 400
        assert b"Connection: close" in answer


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked", "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: -5", "Content-Length: 5, 5", "Content-Length: +5", "Content-Length: 0x5",
        "Transfer-Encoding: gzip", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: xchunked",
        "Content_Length: 5\r\nTransfer-Encoding : chunked",
    ],
)  # fmt: skip
def test_lengths_that_two_readers_read_differently(url: str, head: str) -> None:
    """A request whose body ends in one place for one reader and elsewhere for another is refused, and is the last."""
    with connect(url) as sock:
        body = b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        sock.sendall(f"POST /api/test HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode() + body)
        found = answers(sock)
        assert [status(answer) for answer in found] in ([400], [501])


def test_bodies_that_break_off(url: str) -> None:
    """A connection that ends within a body is answered with 400 where somebody still listens, and harms nobody."""
    for head in ("Content-Length: 100\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n10\r\nabc"):
        with connect(url) as sock:
            sock.sendall(f"POST /api/test HTTP/1.1\r\nHost: x\r\n{head}".encode())
            sock.shutdown(socket.SHUT_WR)
            (answer,) = answers(sock)
            assert status(answer) == 400
    assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200


def test_headers_of_strangers(url: str) -> None:
    """Headers that only a proxy may set, in all spellings, make nobody somebody."""
    for name in ("X-SSL-Client-S-DN", "X_SSL_Client_S_DN", "X-SSL_Client-S_DN"):
        verify = name.replace("S-DN", "Verify").replace("S_DN", "Verify")
        headers = {name: "CN=web-1", verify: "SUCCESS", "X-Forwarded-For": "10.0.0.1", "Forwarded": "for=10.0.0.1"}
        answer = httpx.get(f"{url}/users/checkpoint", headers=headers, trust_env=False)
        assert answer.status_code == 401
