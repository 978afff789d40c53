"""An index that is kept open while its file is deleted."""

from __future__ import annotations

from pathlib import Path

from tests.ledgers import QuickDisk, create
from tlog.index.search import Index, index_path


def test_a_deleted_index_is_not_read_on(tmp_path: Path) -> None:
    """Who keeps an index open sees at once that its file is gone, and then the one that was made in its place."""
    partition = create(tmp_path / "l", disk=QuickDisk())
    partition.append_many({"actor": f"a{n}"} for n in range(20))
    with Index(partition) as kept, Index(partition) as other:
        other.catch_up()
        assert kept.count("") == 20
        path = index_path(partition)
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        assert kept.coverage().indexed == 0
        partition.append({"actor": "a20"})
        assert other.catch_up() == 21
        assert [hit.entry.seq for hit in kept.search("actor=a20|a3").hits] == [20, 3]
