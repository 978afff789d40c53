"""Ledgers whose entries attack whoever looks at them, and pages taken apart."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import tlog
from tests.ledgers import QuickDisk, create
from tests.test_report import ATTACKS, VOID

PLAIN = 30
"""Entries before the attacks. Then each attack stands in every field of an entry of its own."""

FIELDS = ("actor", "action", "target", "message", "category", "severity", "outcome", "time")


def attacking(text: str) -> dict[str, Any]:
    """An event with the text wherever text can stand; an entry has room for 60,000 characters once."""
    if len(text) > 1000:
        return {"actor": "alice", "action": "upload", "message": text}
    return {**dict.fromkeys(FIELDS, text), "data": {text: [text]}}


def make_hostile(path: Path) -> tlog.Partition:
    """Create a ledger with checkpoints at 10 and at the end; return its partition, indexed and closed."""
    partition = create(path, disk=QuickDisk())
    events = [
        {"time": f"2026-01-{seq % 28 + 1:02d}T09:00:00Z", "actor": "alice", "action": "login", "outcome": "failure"}
        for seq in range(PLAIN)
    ]
    partition.append_many(events[:10])
    partition.publish()
    partition.append_many(events[10:])
    partition.append_many(attacking(text) for text in ATTACKS)
    for data in ("only text", ["a", "list"], 17, None, {"neither": "nor"}, {"actor": "bob"}, {"x": 1e300, "y": 0.1}):
        partition.append(data, meta={"writer": "w<b>"})
    partition.publish()
    with tlog.Index(partition) as index:
        index.catch_up()
    partition.close()
    return partition


class Element(NamedTuple):
    """name: of the tag. attributes: by name. text: what stands directly in it, and in all below."""

    name: str
    attributes: dict[str, str]
    text: list[str]


class Outline(HTMLParser):
    """The elements of a page in order; raises where they are not nested well."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.open: list[Element] = []
        self.feed(text)
        self.close()
        assert [element.name for element in self.open] == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, attrs)
        element = Element(tag, {name: value or "" for name, value in attrs}, [])
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element of SVG that ends at once."""
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}, []))

    def handle_endtag(self, tag: str) -> None:
        """Compare with what is open."""
        assert self.open.pop().name == tag

    def handle_data(self, data: str) -> None:
        """Gather the text of every element that is open."""
        for element in self.open:
            element.text.append(data)

    def all(self, *names: str) -> Iterator[Element]:
        """Yield the elements with these names."""
        return (element for element in self.elements if element.name in names)

    def text_of(self, element: Element) -> str:
        """Return the text in an element, with single spaces."""
        return " ".join("".join(element.text).split())
