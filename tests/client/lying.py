"""Servers on real ports that give out a log's exported site, but where told to lie, and a proxy that breaks off."""

from __future__ import annotations

import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import pytest

from tlog.errors import Error


@dataclass(frozen=True, slots=True)
class Said:
    """An answer. headers: besides Content-Length, which is the body's unless it is among them."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Lie = Callable[[str], Said | None]
"""Given the path with its query, returns the answer, or None for the truth."""

Raw = Callable[[str, socket.socket], bool]
"""Given the path with its query and the connection, tells whether it has done all itself."""


class LyingServer:
    """Serves the files below `root`, at the paths they have there; what is asked of it is in `asked`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lie: Lie = lambda _: None
        self.raw: Raw = lambda _path, _socket: False
        self.asked: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                """Answer."""
                outer.answer(self)

            def do_POST(self) -> None:
                """Answer, the body read."""
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                outer.answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients hang up
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    def wrap(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        self.asked.append(handler.path)
        self.headers.append({name.lower(): value for name, value in handler.headers.items()})
        if self.raw(handler.path, handler.connection):
            handler.close_connection = True
            return
        said = self.lie(handler.path) or self.truth(handler.path)
        handler.send_response(said.status)
        for name, value in {"Content-Length": str(len(said.body)), **said.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(said.body)

    def truth(self, path: str) -> Said:
        """Return the file with this path, or 404."""
        place = self.root / path.partition("?")[0].lstrip("/")
        return Said(place.read_bytes()) if place.is_file() else Said(b"no such file\n", 404)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class CuttingProxy:
    """Hands bytes to and fro between clients and a server, and cuts connections by chance, at any point.

    Of the connections, `share` are cut: before the server has seen anything, in the middle of the request, after the
    request and before the answer, or in the middle of the answer.
    """

    def __init__(self, host: str, port: int, *, share: float, seed: int) -> None:
        self._target = (host, port)
        self._share = share
        self._random = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cut: dict[str, int] = {"before": 0, "request": 0, "answer": 0, "middle": 0}
        self._mutex = threading.Lock()
        self._is_open = True
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def _accept(self) -> None:
        while self._is_open:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._mutex:
                fate = self._random.choice(list(self.cut)) if self._random.random() < self._share else ""
                if fate:
                    self.cut[fate] += 1
            threading.Thread(target=self._serve, args=(client, fate), daemon=True).start()

    def _serve(self, client: socket.socket, fate: str) -> None:
        with client:
            client.settimeout(10)
            try:
                if fate == "before":
                    return
                with socket.create_connection(self._target, timeout=10) as server:
                    server.settimeout(10)
                    self._relay(client, server, fate)
            except OSError:
                return

    def _relay(self, client: socket.socket, server: socket.socket, fate: str) -> None:
        """One request and its answer; connections are not kept, so that each request has a fate of its own."""
        request = read_request(client)
        if fate == "request":
            server.sendall(request[: len(request) // 2])
            return
        server.sendall(request)
        answer = read_message(server)
        if fate == "answer":
            return
        if fate == "middle":
            client.sendall(answer[: len(answer) // 2])
            return
        client.sendall(answer)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_open = False
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def read_request(client: socket.socket) -> bytes:
    """Read one request, and ask the server to close the connection behind its answer."""
    message = read_message(client)
    head, blank, body = message.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, b"Connection: close"]) + blank + body


def read_message(connection: socket.socket) -> bytes:
    """Read one HTTP message with a length, or up to the end of the connection."""
    message = b""
    while b"\r\n\r\n" not in message:
        part = connection.recv(65536)
        if not part:
            return message
        message += part
    head, _, body = message.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name == b"content-length":
            length = int(value)
    while len(body) < length:
        part = connection.recv(65536)
        if not part:
            break
        message += part
        body += part
    return message


def drip(connection: socket.socket, data: bytes, pause_s: float, limit_s: float) -> None:
    """Send a byte at a time, over and over again, until the other side hangs up."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        for number in range(len(data)):
            try:
                connection.sendall(data[number : number + 1])
            except OSError:
                return
            time.sleep(pause_s)


def refused(action: Callable[[], object], *kinds: type[Error]) -> Error:
    """Do what must be refused; return the error, which is one of these, or any of the library's."""
    with pytest.raises(kinds or Error) as caught:
        action()
    return caught.value
