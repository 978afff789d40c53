"""R2, Nimbus 2018: the bytes of an entry were corrupted, its hash was not; the right bytes put back made it good."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from tests.ledgers import NAME, QuickDisk, files_of, make_ledger, make_writable, opened
from tlog.errors import CorruptLedgerError


def test_r02_a_corrupted_entry_is_named_and_only_the_right_bytes_heal_it(tmp_path: Path) -> None:
    """One byte of one line: entry and segment are named, repair leaves it alone, and the root never changes."""
    path = make_ledger(tmp_path, [600])
    segment = path / "partitions" / NAME / "segments" / f"{256:020d}.jsonl"
    right = segment.read_bytes()
    place = right.index(b'"event":300') + len(b'"event":30')
    before = opened(path).checkpoint()
    make_writable(segment).write_bytes(right[:place] + b"7" + right[place + 1 :])
    partition = opened(path, disk=QuickDisk())
    with pytest.raises(CorruptLedgerError, match=rf"entry 300 .*{segment.name}") as caught:
        partition.verify()
    assert caught.value.seq == 300
    assert [finding.seq for finding in partition.fsck(repair=True).findings] == [300]
    assert segment.read_bytes() != right

    # A replacement that is an entry, but another one, is no repair.
    lines = right.split(b"\n")
    body = lines[44].replace(b'"event":300', b'"event":307')[:-75]
    lines[44] = body + b',"hash":"%b"}' % sha256(body).hexdigest().encode()
    segment.write_bytes(b"\n".join(lines))
    with pytest.raises(CorruptLedgerError, match=r"entry 30[01] "):
        opened(path).verify()
    with pytest.raises(CorruptLedgerError, match="entry 300 "):
        opened(path).prove(300)

    segment.write_bytes(right)
    statements = files_of(path / "keys")
    healed = opened(path)
    assert healed.verify(checkpoint=before.raw).entries == 600
    assert healed.fsck().findings == ()
    assert healed.publish() == before
    assert files_of(path / "keys") == statements
