"""The table `[access]`: private partitions and trusted proxies."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlog.accessrules import MAX_FORWARDED, AccessRules
from tlog.errors import FormatError
from tlog.ledger import Config

FILE = """\
origin = "audit.example.com"

[access]
private = ["users", "tlog-system"]
trusted_proxies = ["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"]
"""


def test_the_table_in_the_file() -> None:
    """The file's table is read, and what is written reads back; without it, all is public and no proxy believed."""
    config = Config.parse(FILE.encode(), "tlog.toml")
    rules = config.access_rules()
    assert [name for name in ("users", "tlog-system", "orders") if rules.is_private(name)] == ["users", "tlog-system"]
    again = Config.parse(config.format(), "tlog.toml")
    assert (again, again.format()) == (config, config.format())
    nothing = Config("audit.example.com").access_rules()
    assert not nothing.has_private
    assert not nothing.is_private("users")
    assert not nothing.is_trusted("127.0.0.1")
    assert b"access" not in Config("audit.example.com").format()


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ('access = ["users"]', "access"), ("[access]\nprivat = []", "access.privat"),
        ("[access]\nprivate = true", "access.private"), ('[access]\nprivate = "users"', "access.private"),
        ("[access]\nprivate = [1]", "access.private"), ('[access]\nprivate = ["Users"]', "access.private"),
        ('[access]\nprivate = ["api"]', "access.private"), ('[access]\nprivate = ["*", "users"]', "access.private"),
        ('[access]\nprivate = ["a", "a"]', "access.private"), ('[access]\ntrusted_proxies = ["a"]', "access.trusted"),
        ('[access]\ntrusted_proxies = ["10.0.0.1/8"]', "access.trusted"),
        ('[access]\ntrusted_proxies = ["10.0.0.0/255.0.0.0"]', "access.trusted"),
        ('[access]\ntrusted_proxies = ["0.0.0.0/0"]', "access.trusted"),
        ('[access]\ntrusted_proxies = ["::/0"]', "access.trusted"),
        ('[access]\ntrusted_proxies = ["10.0.0.01"]', "access.trusted"),
        ('[access]\ntrusted_proxies = ["2001:DB8::1"]', "access.trusted"),
        ('[access]\ntrusted_proxies = ["localhost"]', "access.trusted"),
    ],
)  # fmt: skip
def test_what_the_table_may_not_say(line: str, field: str) -> None:
    """Each mistake is refused, and the error names file and setting."""
    with pytest.raises(FormatError) as caught:
        Config.parse(f'origin = "audit.example.com"\n{line}\n'.encode(), "tlog.toml")
    assert caught.value.what.startswith(f"tlog.toml, {field}")


PROXIES = {"trusted_proxies": ["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"]}


@pytest.mark.parametrize(
    ("peer", "header", "client"),
    [
        ("192.0.2.1", "", "192.0.2.1"), ("192.0.2.1", "198.51.100.1", "192.0.2.1"), ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.1", "198.51.100.1"), ("127.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "198.51.100.1, 10.1.2.3", "198.51.100.1"), ("127.0.0.1", "10.9.9.9,10.1.2.3", "10.9.9.9"),
        ("127.0.0.1", "198.51.100.1, unknown", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.1, nonsense, 10.1.2.3", "10.1.2.3"),
        ("127.0.0.1", "198.51.100.1:4711", "127.0.0.1"), ("127.0.0.1", ",", "127.0.0.1"),
        ("::ffff:127.0.0.1", "198.51.100.1", "198.51.100.1"), ("::ffff:192.0.2.1", "198.51.100.1", "192.0.2.1"),
        ("2001:db8::1", "2001:0DB9::0001", "2001:db9::1"), ("", "198.51.100.1", ""),
        ("nonsense", "1.1.1.1", "nonsense"),
    ],
)  # fmt: skip
def test_whose_address_it_is(peer: str, header: str, client: str) -> None:
    """Only trusted proxies are believed, each about the one it was asked by; the rest may be made up."""
    assert AccessRules(PROXIES).client_address(peer, header) == client


addresses = st.ip_addresses().map(str) | st.sampled_from(["10.0.0.1", "127.0.0.1", "x", ""])


@given(peer=addresses, forwarded=st.lists(addresses, max_size=MAX_FORWARDED + 8))
def test_nobody_chooses_an_address(peer: str, forwarded: list[str]) -> None:
    """What a stranger puts in front of what the proxies add changes nothing."""
    rules = AccessRules(PROXIES)
    found = rules.client_address(peer, ",".join(forwarded))
    if not rules.is_trusted(peer):
        assert found == rules.client_address(peer, "")
    elif found not in {"x", ""} and not rules.is_trusted(found):
        lied = rules.client_address(peer, ",".join(["203.0.113.7", *forwarded]))
        assert lied == found


def test_a_long_header_is_read_in_part() -> None:
    """Of a header with many addresses only the last ones are looked at."""
    header = ",".join(["198.51.100.1", *["10.0.0.1"] * MAX_FORWARDED])
    assert AccessRules(PROXIES).client_address("127.0.0.1", header) == "10.0.0.1"


@pytest.mark.parametrize(
    "table", [{"private": {"users"}}, {"private": None}, {1: []}, {"trusted_proxies": [ipaddress]}]
)
def test_tables_of_other_types(table: dict[Any, Any]) -> None:
    """A table made in a program is checked as one in a file."""
    with pytest.raises(FormatError, match="access"):
        AccessRules(table)
