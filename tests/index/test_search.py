"""Searching, paging, counting, and what comes to light when index and log differ."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import tlog
from tests.index.model import counted, events, matching
from tests.ledgers import QuickDisk, copied, create, opened
from tlog.errors import FormatError, NotFoundError, StorageError
from tlog.index.fields import ROW_FIELDS, Fields, document
from tlog.index.query import Query
from tlog.index.search import Hit, Index, index_path
from tlog.index.sqlite import SqliteStore
from tlog.index.store import Batch, IndexDamagedError, IndexMismatchError, Position

ENTRIES = 600
QUERIES = (
    "",
    "actor=alice",
    "actor=alice|bob action=log* outcome!=success",
    'text="failed password"',
    'text!="failed password" actor!=carol',
    "text=pass*",
    "data.ip=10.0.0.1|10.0.0.2",
    "data.n=17",
    "since=2026-01-05 until=2026-01-08T00:00:00.000000001Z",
    "since=2026-01-05 until=2026-01-08",
    "seq=5|599|600|700",
    "seq!=5 actor=nosuch",
    "actor=* id!=x",
)


@pytest.fixture(scope="module")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with a published partition of 600 events, in part compressed, made once."""
    partition = create(tmp_path_factory.mktemp("template") / "l")
    partition.append_many(events(ENTRIES))
    partition.publish()
    partition.seal()
    partition.close()
    return partition.paths.ledger


@pytest.fixture
def users(tmp_path: Path, _template: Path) -> tlog.Partition:
    """The partition in a ledger of its own, without an index."""
    return opened(copied(_template, tmp_path / "l"), disk=QuickDisk())


@pytest.fixture
def index(users: tlog.Partition) -> Index:
    """Its index, up to date."""
    index = Index(users)
    assert index.catch_up() == ENTRIES
    return index


def edit(index: Index, *statements: str) -> None:
    """Change an index behind everybody's back."""
    index.close()
    with sqlite3.connect(index_path(index.partition)) as db:
        for statement in statements:
            db.execute(statement)
    db.close()


@pytest.mark.parametrize("text", QUERIES)
@pytest.mark.parametrize("oldest_first", [False, True])
def test_pages(index: Index, text: str, oldest_first: bool) -> None:
    """Pages of any size are what looking at every entry gives, in order, and the entries are the log's own."""
    entries = list(index.partition.entries())
    expected = matching(entries, Query.parse(text))
    expected = expected if oldest_first else expected[::-1]
    for limit in (1, 7, 1000):
        found: list[Hit] = []
        cursor = None
        while True:
            page = index.search(text, limit=limit, after=cursor, oldest_first=oldest_first)
            assert str(page.coverage) == f"index covers 0..{ENTRIES} of {ENTRIES} entries"
            found += page.hits
            cursor = page.cursor
            if cursor is None or (limit == 1 and len(found) > 5):
                break
            assert len(page.hits) == limit
        assert [hit.entry.seq for hit in found] == expected[: len(found)]
        assert limit == 1 or len(found) == len(expected)
        assert all(hit.entry == entries[hit.entry.seq] for hit in found)
    assert index.count(text) == len(expected)


def test_every_hit_is_proven(index: Index) -> None:
    """Hits come with proofs that verify with the key alone; what is not published yet has none."""
    policy = tlog.Policy.for_log(index.partition.vkey)
    page = index.search("actor=alice", limit=20)
    for hit, proof in zip(page.hits, page.prove(), strict=True):
        assert tlog.verify_proof(proof.format(), policy=policy).entry.raw == hit.entry.raw
        assert hit.prove() == proof
    index.partition.append({"actor": "alice"})
    index.catch_up()
    with pytest.raises(NotFoundError, match="tlog publish users"):
        index.search("actor=alice", limit=1).prove()


def test_cursors_are_stable_and_bound(index: Index) -> None:
    """Appending moves no page; a cursor of another query, order or spelling is refused."""
    first = index.search("actor=alice", limit=10)
    assert first.cursor is not None
    second = index.search("actor=alice", limit=10, after=first.cursor)
    index.partition.append_many(events(50, seed=2))
    assert index.catch_up() == 50
    assert index.search("actor=alice", limit=10, after=first.cursor).hits == second.hits
    for query, after, oldest_first in (
        ("actor=bob", first.cursor, False),
        ("actor=alice", first.cursor, True),
        ("actor=alice", first.cursor + "A", False),
        ("actor=alice", first.cursor[:-1], False),
        ("actor=alice", "", False),
        ("actor=alice", "\u00e9", False),
        ("actor=alice", "A" * 10_000, False),
        ("actor=alice", f" {first.cursor}", False),
    ):
        with pytest.raises(FormatError, match="cursor"):
            index.search(query, after=after, oldest_first=oldest_first)


@pytest.mark.parametrize("limit", [0, 1001, -1, True, 10**30])
def test_limits(index: Index, limit: int) -> None:
    """A page has 1 to 1,000 hits."""
    with pytest.raises(FormatError, match="limit"):
        index.search("", limit=limit)


def test_facets(index: Index) -> None:
    """Counts are those of looking at every entry; other fields are refused."""
    entries = list(index.partition.entries())
    for text in QUERIES:
        for field in ROW_FIELDS:
            facets = index.facets(text, field)
            assert dict(facets.counts) == counted(entries, Query.parse(text), field)
            assert [number for _, number in facets.counts] == sorted((n for _, n in facets.counts), reverse=True)
    assert len(index.facets("", "actor", 2).counts) == 2
    for field in ("id", "data.ip", "nosuch", "seq; DROP TABLE entry"):
        with pytest.raises(FormatError, match="facets"):
            index.facets("", field)


def test_what_is_not_indexed_is_said(index: Index) -> None:
    """An answer says how many entries it is about, and leaves out the others."""
    index.partition.append({"actor": "dave"})
    page = index.search("actor=dave")
    assert (page.hits, str(page.coverage), page.coverage.lag) == ((), "index covers 0..600 of 601 entries", 1)


def test_an_index_of_nothing(tmp_path: Path) -> None:
    """A partition without entries has an empty index; one that does not exist has none."""
    partition = create(tmp_path / "l")
    index = Index(partition)
    with pytest.raises(NotFoundError):
        index.catch_up()
    partition.create()
    assert not index_path(partition).exists()
    assert (index.catch_up(), index.search("").hits, index.count("")) == (0, (), 0)
    assert index.check().indexed == index.rebuild().indexed == 0


TAMPERED: dict[str, tuple[str, ...]] = {
    "a row with another actor": ("UPDATE entry SET actor = 'mallory' WHERE seq = 300",),
    "a row with another time": ("UPDATE entry SET time = time + 1 WHERE seq = 300",),
    "a row of another type": ("UPDATE entry SET actor = x'00' WHERE seq = 300",),
    "terms that the entry has not": ("INSERT INTO terms (rowid, text) VALUES (300, '= =ueve')",),
}
HIDDEN: dict[str, tuple[str, ...]] = {
    "a row is gone": ("DELETE FROM entry WHERE seq = 300",),
    "a row too many": (
        "INSERT INTO entry SELECT 5000, time, category, action, actor, target, outcome, severity FROM entry LIMIT 1",
    ),
    "the terms of an entry are gone": ("INSERT INTO terms (terms, rowid, text) VALUES ('delete', 300, 'TERMS')",),
    "one term is gone": ("INSERT INTO terms (terms, rowid, text) VALUES ('delete', 300, 'FIRST')",),
    "times of a range": ("UPDATE span SET high = low",),
}


@pytest.mark.parametrize("name", [*TAMPERED, *HIDDEN])
def test_check_finds_whatever_was_altered(index: Index, name: str) -> None:
    """Whatever is changed, added or removed, `check` finds it and names the entry; a rebuild mends it."""
    assert index.check().indexed == ENTRIES
    terms = document(Fields.of_entry(index.partition.entry(300))).terms
    statements = (TAMPERED | HIDDEN)[name]
    edit(index, *(text.replace("TERMS", terms).replace("FIRST", " ".join(terms.split()[:2])) for text in statements))
    with pytest.raises(IndexMismatchError, match="tlog index rebuild users") as caught:
        index.check()
    places = {"a row too many": 5000, "terms that the entry has not": None, "times of a range": None}
    assert caught.value.seq == places.get(name, 300)
    assert index.rebuild().indexed == ENTRIES
    assert index.check().indexed == ENTRIES


@pytest.mark.parametrize("name", TAMPERED)
def test_a_search_that_meets_a_lie_fails(index: Index, name: str) -> None:
    """An answer is never made of what the index says alone: a hit that the log does not bear out ends the search."""
    edit(index, *TAMPERED[name])
    with pytest.raises(IndexMismatchError) as caught:
        index.search("actor=eve" if "terms" in name else "seq=300")
    assert (caught.value.seq, caught.value.place) == (300, "entry 300")
    assert index.search("seq=299").hits[0].entry.seq == 299


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def _scribble(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[:4096] + b"\xff" * (len(raw) - 4096))


def _run(*statements: str) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        db = sqlite3.connect(path)
        for statement in statements:
            db.execute(statement)
        db.commit()
        db.close()

    return run


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"no database" * 1000),
        _truncate,
        _scribble,
        _run("PRAGMA user_version = 2"),
        _run("PRAGMA user_version = -1"),
        _run("DROP TABLE span"),
        _run("DROP TABLE terms"),
        _run("CREATE TRIGGER t AFTER INSERT ON entry BEGIN DELETE FROM entry; END"),
        _run("DROP TABLE entry", "CREATE VIEW entry AS SELECT 1 AS seq"),
        _run("DELETE FROM state"),
        _run("UPDATE state SET size = 'many'"),
        _run("UPDATE state SET size = -1"),
        _run("UPDATE state SET hash = x'00'"),
        _run("UPDATE state SET origin = 'other.example.com/users'"),
        _run("UPDATE state SET words = 'Unicode 1.0'"),
        _run("UPDATE terms_data SET block = x'ffffffff' WHERE id > 10"),
    ],
    ids=lambda damage: damage.__name__,
)
def test_a_damaged_file_is_said_to_be_damaged(index: Index, damage: Callable[[Path], object]) -> None:
    """What is no index of this version and log is refused with the remedy, and the remedy works."""
    index.close()
    damage(index_path(index.partition))
    with pytest.raises(IndexDamagedError, match="tlog index rebuild users"):
        index.search("actor=alice")
    index.close()
    assert index.rebuild().indexed == ENTRIES
    assert index.check().indexed == ENTRIES
    assert not list(index_path(index.partition).parent.glob("*.tmp*"))


def test_a_log_that_was_rolled_back(users: tlog.Partition, index: Index, tmp_path: Path) -> None:
    """An index that is ahead of its log, or has another last entry, says so until it is rebuilt."""
    other = create(tmp_path / "other")
    for number, count in enumerate((ENTRIES - 1, 1, 5)):
        other.append_many(events(count, seed=7 + number))
        target = index_path(other)
        target.parent.mkdir(exist_ok=True)
        index.close()
        target.write_bytes(index_path(users).read_bytes())
        wrong = Index(other)
        for ask in (wrong.catch_up, wrong.coverage, wrong.check, lambda index=wrong: index.search("")):
            with pytest.raises(IndexMismatchError, match="rolled back or replaced; 'tlog index rebuild users'"):
                ask()
        assert wrong.rebuild().indexed == other.size
        wrong.check()
        wrong.close()


def test_a_place_that_cannot_be_written(users: tlog.Partition) -> None:
    """Where the directory cannot be made, the error names it."""
    (users.paths.ledger / "index").write_text("a file")
    with pytest.raises(StorageError, match="index"):
        Index(users).catch_up()
    with pytest.raises(StorageError, match="index"):
        Index(users).rebuild()


def test_searching_while_the_index_is_replaced(index: Index) -> None:
    """Searches go on through catching up and rebuilding, and each sees an index as a whole."""
    stop, errors = threading.Event(), []

    def search() -> None:
        mine = Index(opened(index.partition.paths.ledger))
        try:
            while not stop.is_set():
                page = mine.search("actor=alice", limit=5)
                assert len(page.hits) == 5
                assert ENTRIES <= page.coverage.indexed <= mine.count("") <= mine.coverage().indexed
        except BaseException as err:  # noqa: BLE001 - told to the test
            errors.append(err)
        mine.close()

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for seed in range(3):
        index.rebuild()
        index.partition.append_many(events(20, seed=seed))
        index.catch_up()
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert index.check().indexed == ENTRIES + 60


def test_no_phrase_goes_on_from_one_string_to_another(index: Index) -> None:
    """Words in a row are words of one string, wherever two strings stand beside each other."""
    apart: list[object] = [
        ["below", "ground"],
        {"data": ["below", "ground"]},
        {"data": {"a": "below", "b": "ground"}},
        {"data": {"p" * 257: "below", "q" * 257: "ground"}},
        {"data": {"a": "below"}, "message": "ground"},
        {"message": "below", "note": "ground", "error": ["below", {"a": "ground"}]},
        {"message": "below", "data": "ground"},
    ]
    index.partition.append_many([*apart, {"message": "below ground"}])
    index.catch_up()
    assert [hit.entry.seq for hit in index.search('text="below ground"').hits] == [ENTRIES + len(apart)]
    assert index.count('text="below ground"') == 1
    assert index.count("text=below text=ground") == len(apart) + 1


def test_a_batch_is_added_whole_or_not_at_all(tmp_path: Path) -> None:
    """Rows and position change together: where the last step fails, nothing was added."""
    store = SqliteStore(tmp_path / "index.sqlite", "users", "origin")
    made = [document(Fields.of(0, "2026-01-01T00:00:00.000000Z", {"actor": "alice"}))]
    with pytest.raises(UnicodeDecodeError):
        store.add(Batch(Position(), Position(1, b"\xff"), made))
    assert (store.position(), store.count(Query(), 10)) == (Position(), 0)
    assert store.add(Batch(Position(), Position(1, b"0"), made))
    assert not store.add(Batch(Position(), Position(1, b"0"), made))
    assert (store.position(), store.count(Query(), 10)) == (Position(1, b"0"), 1)
    store.close()


def test_words_of_sql_are_only_words(index: Index) -> None:
    """What looks like SQL, FTS5 syntax or a pattern is looked for as it stands."""
    store = SqliteStore(index_path(index.partition), "users", index.partition.origin)
    for value in (
        "' OR 1=1 --",
        '" OR text MATCH "a',
        "alice%",
        "_lice",
        "al?ce",
        "[a]lice",
        "^alice",
        "NOT",
        "=ualice",
        "\0",
    ):
        for field in ("actor", "data.ip", "id"):
            query = Query().with_option(field, '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"')
            assert store.search(query, 0, ENTRIES, 1, oldest_first=False) == []
    assert index.search('text="OR AND NOT NEAR"').hits == ()
    assert index.count("") == ENTRIES
    store.close()
