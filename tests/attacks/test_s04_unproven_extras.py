"""S4, Go CVE-2026-56864 and CVE-2026-42501: what came along with a proven record was believed too.

Over HTTP: a lookup whose index lies, and refusals. Timeouts are tested with the client.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from tests.ledgers import NAME, QuickDisk, create
from tests.statements import LOG_VKEY, checkpoint, entry_lines, inclusion_path, inclusion_proof
from tlog import Policy, verify_proof
from tlog.errors import Error, FormatError, ProofError, VerificationError
from tlog.index.fields import Fields, document
from tlog.index.search import Index, index_path
from tlog.tlogproof import Proof
from tlog_server.app import create_app

POLICY = Policy.for_log(LOG_VKEY)
LINES = entry_lines(8)


def test_s04_only_the_bytes_that_were_hashed_come_back() -> None:
    """The verified entry is the proven line and nothing else, whatever was given beside it."""
    proof = inclusion_proof(3, LINES)
    assert verify_proof(str(proof), policy=POLICY).entry.raw == LINES[3]
    for extra in (LINES[4], LINES[3] + b"\n" + LINES[4], LINES[3] + b" ", b"", LINES[3] + b"\n"):
        with pytest.raises((ProofError, VerificationError)):
            verify_proof(replace(proof, extra=extra), policy=POLICY)
    with pytest.raises(VerificationError, match="not the one in the proof"):
        verify_proof(proof, policy=POLICY, entry=LINES[4])
    text = str(proof)
    head, _, rest = text.partition("index ")
    extra_line = head.splitlines(keepends=True)[1]
    for spelling in (
        text.replace(extra_line, extra_line * 2),
        f"{head}index 3\nindex {rest}",
        text + "an unrelated line\n",
        text + "\n" + extra_line,
        text.replace("\n\n", f"\n{extra_line}\n", 1),
    ):
        with pytest.raises(Error):
            verify_proof(spelling, policy=POLICY)


@pytest.mark.parametrize(
    "data",
    [
        '{"amount":1,"amount":1000000}',
        '1,"data":2',
        '1,"meta":{"writer":"root"}',
        '{"a":{"b":1,"b":2}}',
        "1e400",
        '"\\ud800"',
    ],
)
def test_s04_a_proven_entry_that_readers_would_read_differently(data: str) -> None:
    """A log that signs duplicate keys and their like: the bytes are proven, their reading is refused."""
    body = LINES[0][: LINES[0].index(b'"data":')] + b'"data":' + data.encode()
    line = body + b',"hash":"%b"}' % sha256(body).hexdigest().encode()
    proof = Proof(0, (), checkpoint([line]), line)
    entry = verify_proof(proof, policy=POLICY).entry
    assert entry.raw == line
    with pytest.raises(FormatError):
        _ = entry.data


def test_s04_no_proof_no_entry() -> None:
    """Missing, empty and foreign proofs fail closed, and an entry beside them does not help."""
    for nothing in (b"", "", b"\n\n", str(checkpoint(LINES)), LINES[3]):
        with pytest.raises(Error):
            verify_proof(nothing, policy=POLICY, entry=LINES[3])
    bare = Proof(3, inclusion_path(3, LINES), checkpoint(LINES))
    with pytest.raises(VerificationError, match="does not carry its entry"):
        verify_proof(bare, policy=POLICY)
    with pytest.raises(ProofError):
        verify_proof(replace(bare, hashes=()), policy=POLICY, entry=LINES[3])


def test_s04_lookups_over_http(tmp_path: Path) -> None:
    """An index that names another entry for an id leads to no answer, and a refusal is no proof of anything."""
    partition = create(tmp_path, disk=QuickDisk())
    partition.append_many({"id": f"event-{seq}", "actor": "alice"} for seq in range(4))
    partition.publish()
    with Index(partition) as index:
        index.catch_up()
    client = create_app(tmp_path).test_client()
    policy = Policy.for_log(partition.vkey)
    url = f"/{NAME}/proof/inclusion?id=event-"
    assert verify_proof(client.get(f"{url}2").data, policy=policy).entry.seq == 2
    with closing(sqlite3.connect(index_path(partition))) as database, database:
        lie = document(Fields.of_entry(partition.entry(2))).terms
        database.execute("INSERT INTO terms (rowid, text) VALUES (1, ?)", (lie,))
    for event, status in (("2", 500), ("9", 404)):
        answer = client.get(url + event)
        assert answer.status_code == status
        with pytest.raises(Error):
            verify_proof(answer.data, policy=policy)
