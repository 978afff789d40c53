"""E-mail over TLS: a password goes only to a server whose certificate is in order."""

from __future__ import annotations

import base64
import contextlib
import socketserver
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.tls import make_certificates
from tlog.errors import StorageError
from tlog.monitoring.alerts import Alert
from tlog.monitoring.deliver import deliver_to
from tlog.monitoring.settings import Mail

BODY = Alert("log.example/users", "fork", "critical", "two trees").body(3, 1_795_251_600)
USER, PASSWORD = "tlog", "a secret"


class _Session(socketserver.StreamRequestHandler):
    """A mail server that wants a password, with TLS from the start or on demand."""

    server: _Server

    def handle(self) -> None:
        """Talk to one client."""
        if self.server.is_tls_first and not self._encrypt():
            return
        self._say("220 here")
        while word := self.rfile.readline().decode().strip():
            self.server.heard.append(word)
            command = word.split()[0].upper()
            if command == "STARTTLS":
                self._say("220 go on")
                if not self._encrypt():
                    return
            elif command == "EHLO":
                self._say("250-here\r\n250-AUTH PLAIN\r\n250 STARTTLS")
            elif command == "AUTH":
                given = base64.b64decode(word.split()[2]).decode().split("\0")
                self._say("235 come in" if given == ["", USER, PASSWORD] else "535 no")
            elif command == "DATA":
                self._say("354 go on")
                while self.rfile.readline().rstrip(b"\r\n") != b".":
                    pass
                self.server.mails += 1
                self._say("250 done")
            else:
                self._say("221 bye" if command == "QUIT" else "250 done")

    def finish(self) -> None:
        """Close the connection, which is another one than the server knows where TLS began."""
        super().finish()
        self.request.close()

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self.wfile.write(f"{text}\r\n".encode())

    def _encrypt(self) -> bool:
        """Speak TLS from here on; False where the client will not."""
        try:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        except OSError:
            return False
        self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb", 0)
        return True


class _Server(socketserver.ThreadingTCPServer):
    """heard: the lines that clients said. mails: how many came."""

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext, *, is_tls_first: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.tls, self.is_tls_first = tls, is_tls_first
        self.heard: list[str] = []
        self.mails = 0


@contextlib.contextmanager
def mail_server(root: Path, *, is_tls_first: bool) -> Iterator[_Server]:
    """Serve SMTP with the certificate in `root` on a port of its own."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(root / "server.pem", root / "server.key")
    with _Server(tls, is_tls_first=is_tls_first) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("tls", ["tls", "starttls"])
def test_a_password_goes_to_the_right_server_only(tls: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken with the right password; refused with a wrong one; an unknown certificate never hears the password."""
    authority = make_certificates(tmp_path).authority
    secret = tmp_path / "secret"
    secret.write_text(f"{PASSWORD}\n")
    with mail_server(tmp_path, is_tls_first=tls == "tls") as server:
        address = ("127.0.0.1", server.server_address[1], "tlog@example.com", ("ops@example.com",))
        target = Mail("mail", *address, "info", tls, USER, secret)
        with pytest.raises(StorageError, match="certificate verify failed"):
            deliver_to(target, "monitor-3", BODY)
        assert not any(word.startswith(("AUTH", "MAIL")) for word in server.heard)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        deliver_to(target, "monitor-3", BODY)
        assert server.mails == 1
        secret.write_text("another\n")
        with pytest.raises(StorageError, match="535"):
            deliver_to(target, "monitor-3", BODY)
        assert server.mails == 1
