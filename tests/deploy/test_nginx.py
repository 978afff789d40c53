from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.deploy.conftest import Deployed, free_port
from tests.deploy.proxies import NGINX, proxied, run_nginx
from tests.deploy.tls import Certificates, trusting
from tests.ledgers import NAME

pytestmark = pytest.mark.skipif(NGINX is None, reason="there is no nginx on this machine")

OWN = {"date", "server", "connection", "etag", "x-request-id"}
"""Headers in which two servers may differ: the tag is another one, though as strong, and the id is each request's."""


@pytest.fixture(scope="module")
def mirror(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The mirror alone, over the exported site."""
    port = free_port()
    replacements = {
        "listen 80;": f"listen 127.0.0.1:{port};",
        "listen [::]:80;": "",
        "root /srv/tlog;": f"root {deployed.site};",
    }
    with (
        run_nginx(tmp_path_factory.mktemp("mirror"), "mirror.conf", replacements, port) as address,
        httpx.Client(base_url=f"http://{address}", trust_env=False) as client,
    ):
        yield client


class Echo(BaseHTTPRequestHandler):
    """Answers with the headers that it got, one a line, behind the target."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        body = f"{self.path}\n{self.headers}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def proxy(
    deployed: Deployed, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """The proxy in front of `tlog serve`, with the exported site."""
    with (
        proxied(tmp_path_factory.mktemp("proxy"), deployed.address, deployed.site, certificates) as (url, _),
        httpx.Client(base_url=url, verify=trusting(certificates), trust_env=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def app(deployed: Deployed) -> Iterator[httpx.Client]:
    """The server itself."""
    with httpx.Client(base_url=f"http://{deployed.address}", trust_env=False) as client:
        yield client


def _compared(answer: httpx.Response, *more: str) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in OWN | set(more)}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_mirror_is_the_server_byte_for_byte(
    deployed: Deployed, mirror: httpx.Client, app: httpx.Client, method: str
) -> None:
    """Each exported file has the same status, headers and bytes from nginx as from the server."""
    paths = sorted(f"/{file.relative_to(deployed.site)}" for file in deployed.site.rglob("*") if file.is_file())
    assert len(paths) > 10
    for path in paths:
        ours = app.request(method, path, headers={"Accept-Encoding": "identity"})
        theirs = mirror.request(method, path, headers={"Accept-Encoding": "identity"})
        assert (ours.status_code, theirs.status_code) == (200, 200), path
        assert theirs.content == ours.content, path
        assert _compared(theirs) == _compared(ours), path
        assert theirs.headers["ETag"].startswith('"'), path


def test_conditional_requests_and_ranges(mirror: httpx.Client, app: httpx.Client) -> None:
    """Entity tags, one range, several ranges and ranges outside are answered alike."""
    path = f"/{NAME}/tile/0/000"
    for client in (mirror, app):
        tag = client.get(path).headers["ETag"]
        known = client.get(path, headers={"If-None-Match": tag})
        assert (known.status_code, known.headers["ETag"], known.content) == (304, tag, b"")
        changed = client.get(path, headers={"If-Range": '"other"', "Range": "bytes=0-1"})
        assert changed.status_code == 200
    # With a part of the bytes nginx leaves out that there are ranges.
    for span in ("bytes=0-31", "bytes=-32", "bytes=8160-", "bytes=0-0,5-9", "lines=1-2"):
        ours, theirs = (client.get(path, headers={"Range": span}) for client in (app, mirror))
        assert (theirs.status_code, theirs.content) == (ours.status_code, ours.content), span
        assert _compared(theirs, "accept-ranges") == _compared(ours, "accept-ranges"), span
    outside = [client.get(path, headers={"Range": "bytes=9000-"}) for client in (app, mirror)]
    assert [(answer.status_code, answer.headers["Content-Range"]) for answer in outside] == [(416, "bytes */8192")] * 2


def test_bundles_are_compressed(mirror: httpx.Client, app: httpx.Client) -> None:
    """A client that likes gzip gets it from both, tiles never; what it decodes is the same."""
    for path, coding in ((f"/{NAME}/tile/entries/000", "gzip"), (f"/{NAME}/tile/0/000", None)):
        ours, theirs = (client.get(path, headers={"Accept-Encoding": "gzip"}) for client in (app, mirror))
        assert [answer.headers.get("Content-Encoding") for answer in (ours, theirs)] == [coding, coding]
        assert ours.headers.get("Vary") == theirs.headers.get("Vary")
        assert ours.content == theirs.content


@pytest.mark.parametrize(
    "path",
    [
        "/",
        f"/{NAME}",
        f"/{NAME}/",
        f"/{NAME}/tile/0/000?x=1",
        f"/{NAME}/%74ile/0/000",
        f"/{NAME}/./checkpoint",
        f"//{NAME}/checkpoint",
        f"/{NAME}/tile/0/003",
        f"/{NAME}/tile/00/000",
        f"/{NAME}/tile/0/000.p",
        f"/{NAME}/tile",
        f"/{NAME}/tile/entries",
        "/nobody/checkpoint",
        "/x/../etc/passwd",
    ],
)
def test_what_the_mirror_has_not(mirror: httpx.Client, path: str) -> None:
    """What is not exported, and other spellings of what is, are problem documents with the server's headers."""
    answer = _raw(mirror, path)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


def _raw(client: httpx.Client, target: str) -> httpx.Response:
    """Ask for a target just as it is spelt, without content coding."""
    return client.get("/", headers={"Accept-Encoding": "identity"}, extensions={"target": target.encode()})


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_the_mirror_is_read_only(mirror: httpx.Client, method: str) -> None:
    """Other methods than GET and HEAD are refused with 405."""
    answer = mirror.request(method, f"/{NAME}/checkpoint", content=b"x")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_the_proxy_passes_everything_else_on(deployed: Deployed, proxy: httpx.Client, app: httpx.Client) -> None:
    """Through the proxy everything is as from the server, whether nginx has the file or not; TLS adds one header."""
    paths = sorted(f"/{file.relative_to(deployed.site)}" for file in deployed.site.rglob("*") if file.is_file())
    paths += [
        f"/{NAME}/proof/inclusion?index=5&size=700",
        f"/{NAME}/proof/inclusion?index=700",
        f"/{NAME}/entry/3",
        f"/{NAME}/tile/0/009",
        f"/{NAME}/tile/0/000?x=1",
        f"/{NAME}/%74ile/0/000",
        "/healthz",
        "/nobody/checkpoint",
        "/api/v1/nothing",
    ]
    for path in paths:
        ours, theirs = _raw(app, path), _raw(proxy, path)
        assert theirs.status_code == ours.status_code, path
        if ours.status_code == 200:
            assert theirs.content == ours.content, path
        assert theirs.headers["Strict-Transport-Security"] == "max-age=31536000", path
        skipped = ("strict-transport-security", *(() if ours.status_code == 200 else ("content-length",)))
        assert _compared(theirs, *skipped) == _compared(ours, *skipped), path


def test_tiles_that_are_not_exported_come_from_the_server(
    deployed: Deployed, certificates: Certificates, tmp_path: Path
) -> None:
    """Without any export the proxy gives out the same."""
    with (
        proxied(tmp_path, deployed.address, tmp_path / "nothing", certificates) as (url, _),
        httpx.Client(base_url=url, verify=trusting(certificates), trust_env=False) as client,
    ):
        for path in ("tile/0/000", "tile/entries/002.p/188", "checkpoint", "vkey"):
            assert client.get(f"/{NAME}/{path}").content == (deployed.site / NAME / path).read_bytes()
        post = client.post(f"/{NAME}/tile/0/000", content=b"x")
        assert (post.status_code, post.headers["Allow"]) == (405, "GET, HEAD")


def test_what_clients_say_about_themselves_is_replaced(certificates: Certificates, tmp_path: Path) -> None:
    """The server learns the address and the certificate that nginx saw, whatever the client claims."""
    claims = {
        "X-Forwarded-For": "192.0.2.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example.com",
        "X-Forwarded-Prefix": "/evil",
        "Forwarded": "for=192.0.2.1",
        "X-SSL-Client-Verify": "SUCCESS",
        "X-SSL-Client-S-DN": "CN=root",
        "X_SSL_Client_S_DN": "CN=root",
        "X_Forwarded_For": "192.0.2.1",
        "Authorization": "Bearer tlog_1_2",
    }
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            with proxied(tmp_path, f"127.0.0.1:{server.server_port}", tmp_path, certificates) as (url, _):
                nobody = _echoed(url, trusting(certificates), claims)
                client = _echoed(url, trusting(certificates, certificates[3:5]), claims)
                stranger = _echoed(url, trusting(certificates, certificates[5:7]), claims)
        finally:
            server.shutdown()
            thread.join()
    assert nobody["x-forwarded-for"] == client["x-forwarded-for"] == "127.0.0.1"
    assert nobody["authorization"] == "Bearer tlog_1_2"
    assert (nobody["x-ssl-client-verify"], nobody.get("x-ssl-client-s-dn")) == ("NONE", None)
    assert (client["x-ssl-client-verify"], client["x-ssl-client-s-dn"]) == ("SUCCESS", "CN=client")
    assert stranger == {}, "a certificate of nobody is refused by nginx itself"
    dropped = {"x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix", "forwarded", "x_ssl_client_s_dn"}
    assert not (dropped | {"x_forwarded_for"}) & (set(nobody) | set(client))


def _echoed(url: str, context: ssl.SSLContext, headers: dict[str, str]) -> dict[str, str]:
    """Return the headers that arrive behind the proxy, none where it refuses."""
    with httpx.Client(base_url=url, verify=context, trust_env=False) as client:
        answer = client.get("/anything", headers=headers)
    if answer.status_code != 200:
        assert answer.status_code == 400
        return {}
    pairs = (line.partition(": ") for line in answer.text.splitlines()[1:] if line)
    return {name.lower(): value for name, _, value in pairs}


def test_plain_http_is_sent_to_tls(deployed: Deployed, certificates: Certificates, tmp_path: Path) -> None:
    """Plain HTTP answers with the address under TLS, of the name that nginx knows and not the one that was asked."""
    with (
        proxied(tmp_path, deployed.address, deployed.site, certificates) as (_, plain),
        httpx.Client(base_url=plain, trust_env=False) as client,
    ):
        answer = client.get(f"/{NAME}/checkpoint?a=b", headers={"Host": "evil.example.com"})
    assert answer.status_code == 301
    assert answer.headers["Location"] == f"https://audit.example.com/{NAME}/checkpoint?a=b"


def test_figures_are_not_for_the_world(proxy: httpx.Client) -> None:
    """/metrics and /readyz are not to be had through the proxy, however they are spelt."""
    for path in ("/metrics", "/readyz", "/%6detrics", "/x/../metrics", "/metrics?x=1"):
        answer = _raw(proxy, path)
        assert answer.status_code == 404
        assert b"# HELP" not in answer.content


def test_too_many_requests(deployed: Deployed, certificates: Certificates, tmp_path: Path) -> None:
    """An address that asks too often is refused with 429 and Retry-After, in the form of the server's errors."""
    with (
        proxied(tmp_path, deployed.address, deployed.site, certificates) as (url, _),
        httpx.Client(base_url=url, verify=trusting(certificates), trust_env=False) as client,
    ):
        refused = None
        for _ in range(2000):
            answer = client.get(f"/{NAME}/tile/0/000")
            if answer.status_code != 200:
                refused = answer
                break
    assert refused is not None
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json()["status"] == 429
