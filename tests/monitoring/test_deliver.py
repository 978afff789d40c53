"""Targets: a webhook, a mail server and a program, all real, and what each of them may do wrong."""

from __future__ import annotations

import json
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask, Response, request

from tests.witnessing.parties import served
from tlog.errors import Error, FormatError, StorageError
from tlog.monitoring.alerts import MAX_MESSAGE, Alert
from tlog.monitoring.deliver import deliver_to
from tlog.monitoring.settings import Command, Mail, Webhook

ALERT = Alert("log.example/users", "fork", "critical", "two trees\r\nBcc: eve@example.com \u202e", {"index": 7})
BODY = ALERT.body(3, 1_795_251_600)


def test_a_body_is_safe_json() -> None:
    """What strangers wrote cannot steer a terminal or a header, and no message is endless."""
    fields = json.loads(BODY)
    assert BODY.isascii()
    assert fields["message"] == "two trees\\u000d\\nBcc: eve@example.com \\u202e"
    assert (fields["number"], fields["time"], fields["index"]) == (3, 1_795_251_600, 7)
    assert len(json.loads(Alert("o", "k", "info", "x" * 100_000).body(1, 1))["message"]) < MAX_MESSAGE + 50


def test_webhook(tmp_path: Path) -> None:
    """One POST with the body, its type, the id and the secret; no redirect is followed, and no error is a success."""
    app, seen = Flask("hook"), []
    secret = tmp_path / "secret"
    secret.write_text("Bearer abc\n")

    @app.route("/<path:name>", methods=["GET", "POST"])
    def hook(name: str) -> Response:
        seen.append((name, request.method, request.get_data(), dict(request.headers)))
        return Response("", int(name) if name.isdigit() else 204, {"Location": "/stolen"})

    with served(app) as url:
        deliver_to(Webhook("hook", f"{url}/alerts", "info", secret), "monitor-3", BODY)
        ((name, method, body, headers),) = seen
        assert (name, method, body) == ("alerts", "POST", BODY)
        assert headers["Content-Type"] == "application/json"
        assert (headers["Idempotency-Key"], headers["Authorization"]) == ("monitor-3", "Bearer abc")
        for status in (301, 307, 308, 400, 500):
            with pytest.raises(StorageError, match=str(status)):
                deliver_to(Webhook("hook", f"{url}/{status}", "info"), "monitor-3", BODY)
        assert "stolen" not in [name for name, *_ in seen]
        secret.write_text("Bearer a\nX-Other: b")
        with pytest.raises(FormatError):
            deliver_to(Webhook("hook", f"{url}/alerts", "info", secret), "monitor-3", BODY)
    with pytest.raises(StorageError):
        deliver_to(Webhook("hook", f"{url}/alerts", "info"), "monitor-3", BODY)


class _Smtp(socketserver.StreamRequestHandler):
    """Enough of SMTP to take a mail."""

    def handle(self) -> None:
        """Talk to one client."""
        mails: list[list[str]] = self.server.mails  # type: ignore[attr-defined]
        lines: list[str] = []
        self.wfile.write(b"220 here\r\n")
        while word := self.rfile.readline().decode().strip():
            lines.append(word)
            if word.upper() == "DATA":
                self.wfile.write(b"354 go on\r\n")
                while (line := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                    lines.append(line)
                mails.append(lines)
            is_last = word.upper() == "QUIT"
            self.wfile.write(b"550 no\r\n" if "nobody@" in word else b"221 bye\r\n" if is_last else b"250 done\r\n")
            if is_last:
                return


@contextmanager
def mail_server() -> Iterator[tuple[int, list[list[str]]]]:
    """Serve SMTP on a port of its own; yields it, and the mails."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Smtp) as server:
        server.daemon_threads = True
        mails: list[list[str]] = []
        server.mails = mails  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1], mails
        finally:
            server.shutdown()
            thread.join()


def test_mail() -> None:
    """A mail with a subject in one line comes to all who are named; where the server will not, it is tried again."""
    with mail_server() as (port, mails):
        target = Mail("mail", "127.0.0.1", port, "tlog@example.com", ("a@example.com", "b@example.com"), "info", "none")
        deliver_to(target, "monitor-3", BODY)
        (lines,) = mails
        assert {line for line in lines if line.lower().startswith("rcpt")} == {
            "rcpt TO:<a@example.com>",
            "rcpt TO:<b@example.com>",
        }
        assert "Subject: [tlog] critical: fork at log.example/users" in lines
        assert not any(line.startswith("Bcc") for line in lines)
        for other in (
            Mail("mail", "127.0.0.1", port, "tlog@example.com", ("nobody@example.com",), "info", "none"),
            Mail("mail", "127.0.0.1", port, "tlog@example.com", ("a@example.com",), "info", "starttls"),
        ):
            with pytest.raises(StorageError):
                deliver_to(other, "monitor-3", BODY)
        assert len(mails) == 1


def test_program(tmp_path: Path) -> None:
    """A program gets the body on its standard input; one that fails, or is not there, is tried again."""
    file = tmp_path / "got"
    code = f"import sys; open({str(file)!r}, 'wb').write(sys.stdin.buffer.read())"
    deliver_to(Command("program", (sys.executable, "-c", code), "info"), "monitor-3", BODY)
    assert file.read_bytes() == BODY
    for words in ((sys.executable, "-c", "raise SystemExit(3)"), (str(tmp_path / "missing"),)):
        with pytest.raises(Error):
            deliver_to(Command("program", words, "info"), "monitor-3", BODY)
