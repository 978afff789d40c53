"""Names of partitions and origins: what they may be, in one place for library, server and tools."""

from __future__ import annotations

import re

from tlog.errors import FormatError

MAX_ORIGIN_SIZE = 255

RESERVED_PARTITION_NAMES = frozenset(
    {
        "about", "api", "compare", "consistency", "docs", "evidence", "favicon.ico", "healthz", "history", "live",
        "login", "metrics", "monitor", "openapi.json", "readyz", "robots.txt", "search", "static", "status", "tail",
        "tree", "v1", "verify", "witness", "witnesses",
    }
)  # fmt: skip
"""Names that a path of the server needs."""

SYSTEM_PARTITION = "tlog-system"
"""The partition that holds what administrators did, one entry an act; over the network nobody appends to it."""

_PARTITION = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_ORIGIN_PREFIX = re.compile(r"[^\s+\x00-\x20\x7f\"\\]+")


def check_partition_name(name: str) -> str:
    """Return `name` if it may name a partition: 1 to 64 of a-z, 0-9, '.', '_', '-', not starting with punctuation.

    Raises: FormatError, also for the names in `RESERVED_PARTITION_NAMES`.
    """
    if _PARTITION.fullmatch(name) is None:
        raise FormatError(
            f"partition name {name[:80]!r}",
            "use 1 to 64 characters of a-z, 0-9, '.', '_' and '-', starting with a letter or digit",
        )
    if name in RESERVED_PARTITION_NAMES:
        raise FormatError(f"partition name {name!r}", "a path of the server needs this name; choose another")
    return name


def check_origin_prefix(prefix: str) -> str:
    """Return `prefix` if it can begin the origin of every partition: a URL without scheme and trailing slash.

    Source: c2sp.org/tlog-checkpoint (origin), c2sp.org/signed-note (key names). Raises: FormatError.
    """
    what = f"origin {prefix[:80]!r}"
    if _ORIGIN_PREFIX.fullmatch(prefix) is None:
        raise FormatError(what, "use a URL without scheme, spaces, quotes and '+', such as audit.example.com")
    if "://" in prefix or prefix.startswith("/") or prefix.endswith("/"):
        raise FormatError(what, "leave out the scheme and the slash at either end, as in audit.example.com")
    if len(prefix.encode("utf-8", "surrogatepass")) > MAX_ORIGIN_SIZE - 65:
        raise FormatError(what, f"use at most {MAX_ORIGIN_SIZE - 65} bytes, so that a partition's name fits behind it")
    try:
        prefix.encode()
    except UnicodeEncodeError as err:
        raise FormatError(what, "it is not valid Unicode") from err
    hidden = next((character for character in prefix if not character.isprintable()), None)
    if hidden is not None:
        raise FormatError(what, f"holds U+{ord(hidden):04X}, which nobody sees; leave it out")
    return prefix


def origin_of(prefix: str, partition: str) -> str:
    """Return the origin of the log that a partition is: `<origin prefix>/<partition>`."""
    return f"{prefix}/{partition}"
