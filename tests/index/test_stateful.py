"""An index driven by random steps beside a model that reads every entry of the log."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.index.model import DATA, QUERIES, counted, events, matching
from tests.ledgers import QuickDisk, StepClock, create, opened
from tlog.index.fields import ROW_FIELDS, Fields, document
from tlog.index.query import Query
from tlog.index.search import Index, index_path
from tlog.index.sqlite import SqliteStore
from tlog.index.store import Batch, Position


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(DATA, min_size=1, max_size=20), st.lists(QUERIES, min_size=1, max_size=12))
def test_index_and_model_agree(values: list[object], queries: list[Query]) -> None:
    """What SQLite finds is what `Query.matches` holds for, whatever the entries and the queries."""
    fields = [Fields.of(seq, f"2026-06-01T12:00:{seq:02d}.000000Z", value) for seq, value in enumerate(values)]
    with tempfile.TemporaryDirectory() as name:
        store = SqliteStore(Path(name) / "index.sqlite", "users", "origin")
        assert store.add(Batch(Position(), Position(len(fields), b"0"), [document(entry) for entry in fields]))
        for query in queries:
            expected = [entry.seq for entry in fields if query.matches(entry)]
            found = store.search(query, 0, len(fields), 1000, oldest_first=True)
            assert [row.seq for row in found] == expected, query.format()
            assert store.count(query, len(fields)) == len(expected)
        store.close()


class Indexed(RuleBasedStateMachine):
    """One partition with its index, and how far the index should be."""

    @initialize()
    def start(self) -> None:
        """An empty partition, and no index."""
        self.directory = Path(tempfile.mkdtemp())
        self.partition = create(self.directory / "l", disk=QuickDisk(), clock=StepClock())
        self.partition.create()
        self.index = Index(self.partition)
        self.indexed = 0

    def teardown(self) -> None:
        """Remove the ledger."""
        if hasattr(self, "partition"):
            self.index.close()
            self.partition.close()
            shutil.rmtree(self.directory)

    @rule(values=st.lists(DATA, max_size=6))
    def append(self, values: list[object]) -> None:
        """Some entries of any kind."""
        self.partition.append_many(values)

    @rule(count=st.sampled_from([100, 256, 300]), seed=st.integers(0, 3))
    def append_events(self, count: int, seed: int) -> None:
        """Many that have values in common."""
        if self.partition.size < 1500:
            self.partition.append_many(events(count, seed))

    @rule()
    def seal(self) -> None:
        """Compress what is complete."""
        self.partition.publish()
        self.partition.seal()

    @rule()
    def catch_up(self) -> None:
        """The index gets all there is."""
        assert self.index.catch_up() == self.partition.size - self.indexed
        self.indexed = self.partition.size

    @rule(keeps_index=st.booleans())
    def crash(self, keeps_index: bool) -> None:
        """The process dies: everything is opened anew, and the index may be lost."""
        self.index.close()
        self.partition.close()
        if not keeps_index:
            for path in index_path(self.partition).parent.glob("*"):
                path.unlink()
            self.indexed = 0
        self.partition = opened(self.directory / "l", disk=QuickDisk(), clock=StepClock())
        self.index = Index(self.partition)

    @rule()
    def rebuild(self) -> None:
        """The index is made anew."""
        assert self.index.rebuild().indexed == self.partition.size
        self.indexed = self.partition.size

    @rule()
    def check(self) -> None:
        """There is nothing to find."""
        assert self.index.check().indexed == self.indexed

    @rule(query=QUERIES, limit=st.integers(1, 30), oldest_first=st.booleans(), field=st.sampled_from(ROW_FIELDS))
    def ask(self, query: Query, limit: int, oldest_first: bool, field: str) -> None:
        """Two pages and the counts of any query."""
        entries = list(self.partition.entries(0, self.indexed))
        expected = matching(entries, query)
        expected = expected if oldest_first else expected[::-1]
        page = self.index.search(query, limit=limit, oldest_first=oldest_first)
        hits = list(page.hits)
        if page.cursor is not None:
            page = self.index.search(query, limit=limit, after=page.cursor, oldest_first=oldest_first)
            hits += page.hits
        assert [hit.entry.seq for hit in hits] == expected[: 2 * limit]
        assert (page.cursor is None) == (len(expected) <= len(hits))
        assert dict(self.index.facets(query, field, 1000).counts) == counted(entries, query, field)

    @invariant()
    def covers(self) -> None:
        """The index says how far it has come, and finds the last entry that it covers."""
        if hasattr(self, "index"):
            coverage = self.index.coverage()
            assert (coverage.indexed, coverage.entries) == (self.indexed, self.partition.size)
            newest = [hit.entry.seq for hit in self.index.search("", limit=1).hits]
            assert newest == ([self.indexed - 1] if self.indexed else [])


TestIndexed = Indexed.TestCase
TestIndexed.settings = settings(max_examples=12, stateful_step_count=15, deadline=None)
