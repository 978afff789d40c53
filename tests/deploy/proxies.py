"""nginx with the configurations of deploy/, on ports of this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.deploy.conftest import DEPLOY, free_port, wait_for
from tests.deploy.tls import Certificates

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

MAIN = """\
daemon off;
{user}
pid {root}/nginx.pid;
error_log {root}/error.log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    include conf.d/*.conf;
}}
"""


@contextlib.contextmanager
def run_nginx(root: Path, shipped: str, replacements: dict[str, str], port: int) -> Iterator[str]:
    """Run nginx with a file of deploy/nginx, checked with `nginx -t` before; yield the address.

    replacements: values of this test for those that stand in the files, each in one file at least.
    """
    assert NGINX is not None
    (root / "tlog").mkdir()
    (root / "conf.d").mkdir()
    unused = set(replacements)
    for file in (DEPLOY / "nginx").iterdir():
        text = file.read_text()
        unused -= {old for old in unused if old in text}
        for old, new in replacements.items():
            text = text.replace(old, new)
        (root / ("conf.d" if file.name == shipped else "tlog") / file.name).write_text(text)
    assert not unused
    user = "user root;" if os.geteuid() == 0 else ""
    (root / "nginx.conf").write_text(MAIN.format(root=root, user=user))
    command = [NGINX, "-p", str(root), "-c", str(root / "nginx.conf"), "-e", str(root / "error.log")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert (checked.returncode, "[warn]" in checked.stderr) == (0, False), checked.stderr
    with subprocess.Popen(command) as process:
        try:
            wait_for(port, process)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


@contextlib.contextmanager
def proxied(root: Path, upstream: str, site: Path, certificates: Certificates) -> Iterator[tuple[str, str]]:
    """The proxy in front of a server; yields https://HOST:PORT, and http://HOST:PORT."""
    port, plain = free_port(), free_port()
    replacements = {
        "server 127.0.0.1:8000;": f"server {upstream};",
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen [::]:80;": "",
        "listen 443 ssl http2;": f"listen 127.0.0.1:{port} ssl http2;",
        "listen [::]:443 ssl http2;": "",
        "root /srv/tlog;": f"root {site};",
        "/etc/nginx/tls/server.pem": str(certificates.server),
        "/etc/nginx/tls/server.key": str(certificates.server_key),
        "/etc/nginx/tls/clients-ca.pem": str(certificates.authority),
    }
    with run_nginx(root, "tlog.conf", replacements, port) as address:
        yield f"https://{address}", f"http://127.0.0.1:{plain}"
