"""What pages say of a partition: sentences, growth, the history of its checkpoints, and two of them compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ledgers import QuickDisk, create
from tlog.checkpoint import Checkpoint
from tlog.errors import CorruptLedgerError, FormatError, NotFoundError, UntrustedNoteError
from tlog.index.table import COLUMNS, csv_cell, format_csv, row_of_entry
from tlog.keys import SigningKey
from tlog.ledger import Ledger
from tlog.partition import Partition
from tlog.report.checkpoints import compare, history, partition_of_origin
from tlog.report.overview import growth
from tlog.report.sentence import sentence
from tlog.storage.checkpoints import format_record

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
NAMES = st.sampled_from(["actor", "action", "target", "outcome", "message"]) | st.text()
ANY_JSON = SCALARS | st.lists(SCALARS) | st.dictionaries(NAMES, SCALARS)


def said(data: Any) -> str:
    """The sentence as text."""
    return "".join(part.text for part in sentence(data))


@pytest.fixture
def many(tmp_path: Path) -> Partition:
    """A partition with a checkpoint at every size from 1 to 230: their record is longer than what is read at once."""
    partition = create(tmp_path / "ledger", disk=QuickDisk())
    for number in range(230):
        partition.append({"number": number})
        partition.publish()
    return partition


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"actor": "alice", "action": "login", "outcome": "success"}, "alice did login, which succeeded."),
        ({"actor": "a", "action": "b", "target": "c", "outcome": "failure"}, "a did b to c, which failed."),
        ({"actor": "a", "outcome": "unknown"}, "a did something unnamed; how it ended is not known."),
        ({"action": "b", "outcome": ["success"], "target": ""}, "Somebody unnamed did b."),
        ({"actor": 1, "action": None}, "This entry names neither an actor nor an action; what it holds stands below."),
        ([], "This entry is no event with an actor and an action: its data is a list."),
        (True, "This entry is no event with an actor and an action: its data is true or false."),
        (None, "This entry is no event with an actor and an action: its data is null."),
        ({"actor": "a" * 201, "action": "b"}, f"{'a' * 200}… did b."),
    ],
)
def test_sentences(data: Any, expected: str) -> None:
    """Who did what to what, and how it ended; what is missing is said, and nothing is made up."""
    assert said(data) == expected


@given(ANY_JSON)
def test_every_entry_has_a_sentence(data: Any) -> None:
    """Whatever an entry holds, there is a sentence, and what strangers wrote is marked."""
    parts = sentence(data)
    assert parts[-1].text.endswith(".")
    own = {part.text for part in parts if not part.is_value}
    fields = data if isinstance(data, dict) else {}
    assert not own & {value for value in fields.values() if isinstance(value, str) and len(value) > 40}


def test_growth(tmp_path: Path) -> None:
    """Sizes from 1 to now, evenly spread, each with the time of the entry that made it; as many as there can be."""
    partition = create(tmp_path / "ledger", disk=QuickDisk())
    with pytest.raises(NotFoundError):
        growth(partition)
    partition.append_many({"number": number} for number in range(100))
    assert [point.size for point in growth(partition, 12)] == [1 + 99 * step // 11 for step in range(12)]
    assert [point.size for point in growth(partition, 1000)] == list(range(1, 101))
    assert all(point.ts == partition.entry(point.size - 1).ts for point in growth(partition))
    with pytest.raises(FormatError):
        growth(partition, 1)


def test_recorded_checkpoints_before_a_size(many: Partition) -> None:
    """The last ones below a size, the largest first, wherever the reads begin and end."""
    record = many.checkpoints
    for size in (0, 1, 2, 57, 229, 230, 231, 10**9):
        for limit in (1, 2, 75, 1000):
            expected = list(range(min(size - 1, 230), 0, -1))[:limit]
            assert [found.tree_size for found in record.before(size, limit)] == expected
    with many.paths.checkpoints.open("ab") as file:
        file.write(b'{"tree_size":231,"ro')  # what a crash left
    assert [found.tree_size for found in record.before(10**9, 2)] == [230, 229]


def test_the_history(many: Partition) -> None:
    """Page by page, each with the time of its last entry; what the published tree does not begin with is named."""
    sizes, before, pages = [], None, 0
    while before is not None or not pages:
        page = history(many, before=before, limit=70)
        assert all(signed.logged == many.entry(signed.checkpoint.tree_size - 1).ts for signed in page.checkpoints)
        sizes += [signed.checkpoint.tree_size for signed in page.checkpoints]
        before, pages = page.before, pages + 1
    assert (sizes, pages) == (list(range(230, 0, -1)), 4)
    assert history(many, before=1).checkpoints == ()
    key = SigningKey.from_pem(many.origin, many.paths.private_key.read_bytes())
    lines = many.paths.checkpoints.read_bytes().split(b"\n")
    lines[99] = format_record(Checkpoint(many.origin, 100, b"\1" * 32).sign(key)).rstrip(b"\n")
    many.paths.checkpoints.write_bytes(b"\n".join(lines))
    with pytest.raises(CorruptLedgerError, match="checkpoint of size 100"):
        history(many, limit=1000)
    stranger = SigningKey.generate(many.origin)
    lines[99] = format_record(Checkpoint(many.origin, 100, many.root_at(100)).sign(stranger)).rstrip(b"\n")
    many.paths.checkpoints.write_bytes(b"\n".join(lines))
    with pytest.raises(UntrustedNoteError):
        history(many, limit=1000)


@given(sizes=st.tuples(st.integers(1, 30), st.integers(1, 30)), lies=st.tuples(st.booleans(), st.booleans()))
def test_comparing(tmp_path_factory: pytest.TempPathFactory, sizes: tuple[int, int], lies: tuple[bool, bool]) -> None:
    """In any order: the same, consistent or contradicting as the roots are; the smaller of the false ones is named."""
    partition = _compared(tmp_path_factory)
    key = SigningKey.from_pem(partition.origin, partition.paths.private_key.read_bytes())
    roots = [b"\1" * 32 if lie else partition.root_at(size) for size, lie in zip(sizes, lies, strict=True)]
    notes = [Checkpoint(partition.origin, size, root).sign(key).raw for size, root in zip(sizes, roots, strict=True)]
    found = compare(notes[0], notes[1], partition)
    other = compare(notes[1], notes[0], partition)
    assert (found.verdict, found.difference == "") == (other.verdict, other.difference == "")
    if sizes[0] == sizes[1]:
        assert found.verdict == ("same" if lies[0] == lies[1] else "contradicting")
    else:
        false = [size for size, lie in zip(sizes, lies, strict=True) if lie]
        assert found.verdict == ("contradicting" if false else "consistent")
        assert not false or found.difference.startswith(f"At size {min(false)}: ")


_COMPARED: list[Partition] = []


def _compared(tmp_path_factory: pytest.TempPathFactory) -> Partition:
    if not _COMPARED:
        partition = create(tmp_path_factory.mktemp("compared") / "ledger", disk=QuickDisk())
        partition.append_many({"number": number} for number in range(30))
        partition.publish()
        partition.close()
        _COMPARED.append(partition)
    return _COMPARED[0]


def test_origins(tmp_path: Path) -> None:
    """An origin of this ledger names its partition, and no other origin does."""
    with Ledger.create(tmp_path / "ledger", origin="audit.example.com") as ledger:
        assert partition_of_origin(ledger, "audit.example.com/users") == "users"
        for origin in ("users", "other.example/users", "audit.example.com/", "audit.example.com/a/b", "/users"):
            with pytest.raises(NotFoundError):
                partition_of_origin(ledger, origin)


def test_rows(tmp_path: Path) -> None:
    """A row has every column, and no cell is a formula or breaks a line."""
    partition = create(tmp_path / "ledger", disk=QuickDisk())
    for data in ({"actor": "=1+1", "action": "+2", "message": "a\nb", "target": 3}, "text", None):
        partition.append(data)
    rows = [row_of_entry(entry) for entry in partition.entries()]
    assert all(tuple(row) == COLUMNS for row in rows)
    assert (rows[0]["actor"], rows[0]["target"], rows[1]["actor"]) == ("=1+1", None, None)
    assert [csv_cell(value) for value in ("=1", "-1", "@a", None, 5, "a\u202eb")] == [
        "'=1", "'-1", "'@a", "", "5", "a\\u202eb",
    ]  # fmt: skip
    assert format_csv([["=1+1", 'say "x"', "a\nb"]]) == '\'=1+1,"say ""x""",a\\nb\r\n'
