"""Who follows whom, as a drawing: parties in columns, arrows between them. The templates make SVG of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Literal, NamedTuple

from tlog.report.shown import visible
from tlog.report.vouching import Vouching

WIDTH, HEIGHT = 200, 48
GAP_X, GAP_Y = 80, 14
HEADING = 30
MARGIN = 4

MAX_SHOWN = 12
"""Parties of a column that are drawn; the last place says how many more there are."""

MAX_LABEL = 24
"""Characters of a label; the whole stands in the box's title, and in the page's tables."""

State = Literal["good", "bad", "idle"]


class Party(NamedTuple):
    """Somebody in the drawing. key: by which arrows name it. note: a few words below its label. state: how it is."""

    key: str
    label: str
    note: str
    state: State


class Follows(NamedTuple):
    """An arrow between parties of two columns. who, whom: their keys. is_well: whether it does so now."""

    who: str
    whom: str
    is_well: bool


class Column(NamedTuple):
    """Parties under one heading."""

    heading: str
    parties: Sequence[Party]


class Box(NamedTuple):
    """A party that is drawn. x, y: of its upper left corner. title: the whole label."""

    x: int
    y: int
    label: str
    note: str
    title: str
    state: State


class Arrow(NamedTuple):
    """An arrow that is drawn. path: as SVG has it."""

    path: str
    is_well: bool


class Picture(NamedTuple):
    """The drawing. headings: x and text of each. words: what it shows, for those who do not see it."""

    width: int
    height: int
    headings: tuple[tuple[int, str], ...]
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    words: str


def picture(columns: Sequence[Column], follows: Sequence[Follows]) -> Picture:
    """Return the drawing of these parties; arrows to those that are not drawn are left out."""
    shown = [_shown(column.parties) for column in columns]
    rows = max(map(len, shown), default=0)
    height = HEADING + rows * (HEIGHT + GAP_Y) + MARGIN
    places: dict[str, tuple[int, int]] = {}
    boxes: list[Box] = []
    for number, parties in enumerate(shown):
        x = MARGIN + number * (WIDTH + GAP_X)
        top = HEADING + (rows - len(parties)) * (HEIGHT + GAP_Y) // 2
        for row, party in enumerate(parties):
            y = top + row * (HEIGHT + GAP_Y)
            places[party.key] = (x, y)
            label = visible(party.label)
            short = label if len(label) <= MAX_LABEL else f"{label[: MAX_LABEL - 1]}…"
            boxes.append(Box(x, y, short, party.note, label, party.state))
    arrows = tuple(
        Arrow(_path(places[each.who], places[each.whom]), each.is_well)
        for each in follows
        if each.who in places and each.whom in places
    )
    width = 2 * MARGIN + len(columns) * (WIDTH + GAP_X) - GAP_X
    headings = tuple((MARGIN + place * (WIDTH + GAP_X), each.heading) for place, each in enumerate(columns))
    words = "; ".join(f"{each.heading}: {', '.join(party.label for party in each.parties)}" for each in columns)
    return Picture(width, height, headings, tuple(boxes), arrows, words)


def vouching_picture(origin: str, found: Vouching) -> Picture | None:
    """Return the drawing of who vouches for a log: witnesses, the groups that they count in, the log.

    None where the policy names no witness.
    """
    if not found.witnesses:
        return None
    witnesses, arrows = [], []
    grouped: dict[str, str] = {}
    for group in found.groups:
        grouped |= dict.fromkeys(group.members, group.name)
    met = {group.name: group.is_met for group in found.groups}
    for witness in found.witnesses:
        is_well = not witness.is_missing
        note = "cosigned" if is_well else "missing"
        witnesses.append(Party(f"w {witness.name}", witness.name, note, "good" if is_well else "bad"))
        met[witness.name] = is_well
    groups: dict[int, list[Party]] = {}
    depths: dict[str, int] = {}
    for group in found.groups:  # members stand before the groups they are in
        depth = depths[group.name] = 1 + max(depths.get(member, 0) for member in group.members)
        note = f"{group.had} of {group.needed} needed"
        party = Party(f"w {group.name}", group.name, note, "good" if group.is_met else "bad")
        groups.setdefault(depth, []).append(party)
    for party in (*witnesses, *chain.from_iterable(groups.values())):
        name = party.key.removeprefix("w ")
        whom = f"w {grouped[name]}" if name in grouped else "log"
        arrows.append(Follows(party.key, whom, met[name]))
    log = Party("log", origin, f"{found.size:,} entries", "good" if found.is_met else "bad")
    columns = [Column("Groups" if depth == 1 else "Groups of groups", groups[depth]) for depth in sorted(groups)]
    return picture([Column("Witnesses", witnesses), *columns, Column("Log", [log])], arrows)


def _shown(parties: Sequence[Party]) -> list[Party]:
    if len(parties) <= MAX_SHOWN:
        return list(parties)
    return [*parties[: MAX_SHOWN - 1], Party("", f"{len(parties) - MAX_SHOWN + 1:,} more", "in the table", "idle")]


def _path(start: tuple[int, int], end: tuple[int, int]) -> str:
    (x1, y1), (x2, y2) = start, end
    y1, y2 = y1 + HEIGHT // 2, y2 + HEIGHT // 2
    x1, x2 = (x1 + WIDTH, x2) if x1 < x2 else (x1, x2 + WIDTH)
    middle = (x1 + x2) // 2
    return f"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}"
