"""R10, TrustAsia 2026: a gateway answered every question with the answer to another one.

Caching headers, and a proxy that drops the query, are tested with the server.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ledgers import QuickDisk, create
from tlog import Policy, verify_consistency, verify_proof
from tlog.errors import Error, VerificationError


def test_r10_the_answer_to_another_question_is_refused(tmp_path: Path) -> None:
    """Whatever is asked, a proof for other sizes or another entry comes back: only the right one is accepted."""
    partition = create(tmp_path, disk=QuickDisk())
    sizes = [0, 1, 5, 8, 13]
    kept = {}
    for size in sizes:
        partition.append_many(range(size - (partition.size if size > 0 else 0)))
        kept[size] = partition.publish()
    policy = Policy.for_log(partition.vkey)
    answers = {(old, new): partition.prove_consistency(old, new) for old in sizes for new in sizes[1:] if old <= new}
    for (old, new), answer in answers.items():
        for size in sizes:
            if size == old:
                assert verify_consistency(str(answer), old=kept[size], policy=policy).new.tree_size == new
            else:
                with pytest.raises(VerificationError):
                    verify_consistency(str(answer), old=kept[size], policy=policy)
    entries = list(partition.entries())
    for seq in range(13):
        answer_for_seq = str(partition.prove(seq))
        for entry in entries:
            if entry.seq == seq:
                assert verify_proof(answer_for_seq, policy=policy, entry=entry.raw).entry.seq == seq
            else:
                with pytest.raises(VerificationError):
                    verify_proof(answer_for_seq, policy=policy, entry=entry.raw)


@pytest.mark.parametrize("answer", [b"", b"\n", b"502 Bad Gateway\n", b"<html></html>", b"null", b"{}"])
def test_r10_no_answer_is_no_proof(tmp_path: Path, answer: bytes) -> None:
    """Empty and foreign answers fail closed."""
    partition = create(tmp_path, disk=QuickDisk())
    partition.append(1)
    kept = partition.publish()
    policy = Policy.for_log(partition.vkey)
    for verify in (
        lambda: verify_proof(answer, policy=policy, entry=partition.entry(0).raw),
        lambda: verify_consistency(answer, old=kept, policy=policy),
        lambda: policy.verify(answer),
    ):
        with pytest.raises(Error):
            verify()
