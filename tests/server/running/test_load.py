"""More than can be answered, and clients that hold on to what they have: who can be answered is answered soon."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ledgers import NAME, QuickDisk, create
from tests.server.running.server import Server, running
from tests.waiting import until
from tlog_server.envelope import SECURITY_HEADERS

ONE_THREAD = ("--workers", "1", "--threads", "1", "--max-streams", "0", "--max-waiting", "1", "--read-only")


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger with a published partition."""
    partition = create(tmp_path / "ledger", disk=QuickDisk())
    partition.append_many(range(300))
    partition.publish()
    partition.close()
    return tmp_path / "ledger"


@contextlib.contextmanager
def sending(server: Server, text: bytes) -> Iterator[socket.socket]:
    """A connection on which something was sent."""
    with socket.create_connection(server.address, timeout=30) as sock:
        sock.sendall(text)
        yield sock


def answer_of(sock: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """The next answer on a connection: status, headers, body."""
    with sock.makefile("rb") as file:
        status = int(file.readline().split()[1])
        headers = {}
        while line := file.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name] = value
        return status, headers, file.read(int(headers["Content-Length"]))


def get(path: str, *, method: str = "GET") -> bytes:
    """A request without a body."""
    return f"{method} {path} HTTP/1.1\r\nHost: log.example\r\n\r\n".encode()


def test_more_than_may_wait_is_refused_at_once(ledger: Path) -> None:
    """503 with Retry-After, as a problem, over a connection that stays; who watches is answered all the same."""
    with running(ledger, *ONE_THREAD) as server:
        until(lambda: server.get("/healthz").status_code == 200)
        with sending(server, b"GET /heal") as slow:  # holds the one thread until the rest of its header comes
            time.sleep(0.2)
            with sending(server, get(f"/{NAME}/checkpoint")) as waiting:
                time.sleep(0.2)
                with sending(server, get(f"/{NAME}/vkey")) as third:
                    status, headers, body = answer_of(third)
                    assert (status, headers["Retry-After"]) == (503, "1")
                    assert headers["Content-Type"] == "application/problem+json"
                    assert {name: headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
                    assert json.loads(body)["request_id"] == headers["X-Request-ID"]
                    for path in ("/healthz", "/readyz", "/metrics"):
                        third.sendall(get(path))
                        assert answer_of(third)[0] == 200, path
                    third.sendall(get(f"/{NAME}/vkey"))
                    assert answer_of(third)[0] == 503
                    third.sendall(b"nonsense\r\n\r\n")
                    assert third.recv(1) == b""
                with sending(server, get("/x", method="HEAD")) as head:
                    assert head.recv(5000).startswith(b"HTTP/1.1 503 ")
                with sending(
                    server, b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n" + bytes(1000)
                ) as post:
                    assert answer_of(post)[0] == 503
                time.sleep(0.8)
                slow.sendall(get("/healthz")[9:])
                assert answer_of(slow)[0] == 200
                assert answer_of(waiting)[0] == 503  # it has waited for longer than anybody should
                waiting.sendall(get(f"/{NAME}/checkpoint"))
                assert answer_of(waiting)[0] == 200
        metrics = server.get("/metrics").text
        assert 'tlog_http_refused_total{reason="overload"} 5.0' in metrics
        assert server.end() == 0


def test_connections_that_send_nothing_hold_no_thread(ledger: Path) -> None:
    """Twenty that are open and silent, and the one thread is free; after a while they are closed."""
    with running(ledger, *ONE_THREAD) as server, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(sending(server, b"")) for _ in range(20)]
        for _ in range(3):
            assert server.get(f"/{NAME}/checkpoint").status_code == 200
        assert silent[0].recv(1) == b""


def test_a_header_that_never_ends_gives_its_thread_back(ledger: Path) -> None:
    """Sent byte by byte, it has ten seconds; then the connection is closed, and nothing is said."""
    with running(ledger, *ONE_THREAD) as server, sending(server, b"GET / HTTP/1.1\r\nX: ") as slow:
        with contextlib.suppress(ConnectionError):
            for _ in range(300):
                slow.sendall(b"x")
                time.sleep(0.1)
            pytest.fail("it went on for ever")
        assert server.get(f"/{NAME}/checkpoint").status_code == 200
        assert server.end() == 0
        assert server.said() == []
