"""Ledgers whose entries attack whoever looks at them, and pages taken apart."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

from werkzeug.test import TestResponse

import tlog
from tests.ledgers import QuickDisk, create
from tests.test_report import ATTACKS, VOID
from tlog_server.rendering import POLICY

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


def require_sound(response: TestResponse, owner: str) -> Outline:
    """Return a page that is well made: well nested, one title, headings in order, ids once, labels, nothing inline.

    owner: with what its title goes on behind the dot.
    """
    assert response.headers["Content-Security-Policy"] == POLICY
    assert response.headers["Cache-Control"] == "no-store"
    page = Outline(response.text)
    assert page.open == []
    assert [element.attributes.get("lang") for element in page.all("html")] == ["en"]
    assert f" · {owner}" in page.text_of(next(page.all("title")))
    levels = [int(element.name[1]) for element in page.all("h1", "h2", "h3", "h4")]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip([0, *levels], levels, strict=False)), levels
    ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    labels = {element.attributes["for"] for element in page.all("label")}
    for field in page.all("input", "select", "textarea"):
        assert field.attributes.get("type") == "hidden" or field.attributes["id"] in labels
    for element in page.elements:
        for name in ("aria-labelledby", "aria-describedby", "for"):
            assert element.attributes.get(name, ids[0]) in ids
        assert not [name for name in element.attributes if name.startswith("on") or name == "style"]
        if element.name in {"script", "a", "button", "th"}:
            assert (element.name == "script") != bool(page.text_of(element) or element.attributes.get("aria-label"))
    assert all(element.attributes["src"].startswith("/static/js/") for element in page.all("script"))
    assert not list(page.all("style", "iframe", "object", "img"))
    return page
