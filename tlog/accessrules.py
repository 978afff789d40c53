"""Which partitions are private, and which proxies are believed: the table `[access]` of `tlog.toml`.

Source: docs/access.md; RFC 7239 section 5.2 and 8.1 on what a forwarded address is worth.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from tlog.errors import FormatError
from tlog.names import check_partition_name

EVERY = "*"
"""In place of names of partitions: all of them, also those that are created later."""

MAX_FORWARDED = 32
"""Addresses of one X-Forwarded-For that are looked at."""

_SETTINGS = ("private", "trusted_proxies")

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AccessRules:
    """What `[access]` says; a value, never changed.

    table: private, a list of names of partitions, or of EVERY alone: to read these takes a grant; to read all others
    takes none. trusted_proxies, a list of addresses and networks: the only peers whose word about the client's address
    and certificate is believed. Raises: FormatError naming `access.<name>`.
    """

    __slots__ = ("_networks", "has_private", "is_all_private", "private")

    def __init__(self, table: Mapping[str, Any]) -> None:
        for name in table:
            if name not in _SETTINGS:
                raise FormatError(f"access.{str(name)[:40]}", f"is no setting; there are {', '.join(_SETTINGS)}")
        names = _texts(table, "private")
        self.is_all_private = EVERY in names
        if self.is_all_private and len(names) > 1:
            raise FormatError("access.private", f"{EVERY!r} stands for all partitions; give it alone, or names")
        self.private = frozenset(names if self.is_all_private else map(_partition, names))
        self.has_private = bool(names)
        self._networks = tuple(map(_network, _texts(table, "trusted_proxies")))

    def is_private(self, partition: str) -> bool:
        """Whether reading the partition of this name takes a grant."""
        return self.is_all_private or partition in self.private

    def is_trusted(self, peer: str) -> bool:
        """Whether the peer with this address is a proxy that is believed."""
        address = _address(peer)
        return address is not None and any(address in network for network in self._networks)

    def client_address(self, peer: str, forwarded_for: str) -> str:
        """Return the address of the client: the peer's own, or what the trusted proxies before it say.

        forwarded_for: the header X-Forwarded-For, to whose end each proxy adds whom it was asked by; all that stands
        before the last address that is not trusted may be made up. Where a proxy added what is no address, the client
        is the proxy.
        """
        client = peer
        for text in reversed(forwarded_for.split(",")[-MAX_FORWARDED:]):
            if not self.is_trusted(client) or _address(text.strip()) is None:
                break
            client = text.strip()
        address = _address(client)
        return client if address is None else str(address)


def _texts(table: Mapping[str, Any], name: str) -> list[str]:
    values = table.get(name, [])
    if not isinstance(values, (list, tuple)) or not all(isinstance(value, str) for value in values):
        raise FormatError(f"access.{name}", 'is no list of texts, such as ["a", "b"]')
    if len(set(values)) < len(values):
        raise FormatError(f"access.{name}", "has one of them twice")
    return list(values)


def _partition(name: str) -> str:
    try:
        return check_partition_name(name)
    except FormatError as err:
        raise FormatError("access.private", str(err)) from err


def _network(text: str) -> _Network:
    what = f"access.trusted_proxies, {text[:40]!r}"
    try:
        network = ipaddress.ip_network(text)
    except ValueError as err:
        raise FormatError(what, "is no address, nor a network such as 10.0.0.0/8") from err
    if text not in (str(network), str(network.network_address)) or ("/" not in text and network.num_addresses > 1):
        raise FormatError(what, f"is spelled {network}")
    if network.prefixlen == 0:
        raise FormatError(what, "trusts everybody, and everybody could say who they are; name your proxies")
    return network


def _address(text: str) -> _Address | None:
    """Return the address that a text spells, None where it spells none. IPv4 inside of IPv6 is IPv4."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped
