"""Where a log is, and what may be sent there: a token never in clear over a network."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from tlog.client.steps import Request
from tlog.errors import FormatError

MAX_URL_SIZE = 1024

_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(?:/[A-Za-z0-9._~-]+)*/?", re.ASCII)
_TOKEN = re.compile(r"[\x21-\x7e]{1,1024}", re.ASCII)

CODINGS = "zstd, gzip"
"""The content codings that are asked for where something is large."""


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """A server, and the partition that is asked about. base: its URL without a slash at the end."""

    base: str
    partition: str
    token: str | None

    def request(
        self,
        method: str,
        target: str,
        *,
        limit: int,
        headers: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
        is_large: bool = False,
    ) -> Request:
        """Return a request for a path of the server, with its query. is_large: whether its answer may be compressed."""
        sent = [("User-Agent", "tlog-client"), ("Accept-Encoding", CODINGS if is_large else "identity"), *headers]
        if self.token is not None:
            sent.append(("Authorization", f"Bearer {self.token}"))
        return Request(method, self.base + target, tuple(sent), body, limit)

    def __repr__(self) -> str:
        return f"<Address {self.base} partition={self.partition!r}>"


def parse_address(url: str, partition: str, token: str | None) -> Address:
    """Return the address that a URL spells.

    url: of the server, https or http, with a path where the server lies below one; no user, query or fragment.
    Raises: FormatError, also for a token that would be sent over http to another host than this one.
    """
    if len(url) > MAX_URL_SIZE or _URL.fullmatch(url) is None:
        raise FormatError("url", f"{url[:80]!r} is not https://HOST[:PORT][/PATH], without user, query and fragment")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as err:
        raise FormatError("url", f"{url[:80]!r}: {err}") from err
    if not host or port == 0:
        raise FormatError("url", f"{url[:80]!r} names no host, or port 0")
    if token is not None:
        if _TOKEN.fullmatch(token) is None:
            raise FormatError("token", "is not 1 to 1,024 visible ASCII characters")
        if parts.scheme == "http" and not _is_loopback(host):
            raise FormatError("url", f"a token is not sent in clear to {host}; use https")
    return Address(url.rstrip("/"), partition, token)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
