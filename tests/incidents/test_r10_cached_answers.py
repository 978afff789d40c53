"""R10, TrustAsia 2026: a gateway answered every question with the answer to another one.

Over HTTP: what caches may keep, and a proxy that drops the query.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ledgers import QuickDisk, create
from tlog import Policy, verify_consistency, verify_proof
from tlog.errors import Error, VerificationError
from tlog_server.app import create_app


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


def test_r10_caches_keep_only_answers_that_their_query_names(tmp_path: Path) -> None:
    """What may be kept is the same for ever under its URL; what grows with the log, and every refusal, is not kept."""
    partition = create(tmp_path, disk=QuickDisk())
    partition.append_many(range(5))
    partition.publish()
    client = create_app(tmp_path).test_client()
    kept, fresh = "public, max-age=31536000, immutable", "no-store"
    policies = {
        "proof/inclusion?index=1&size=5": kept, "proof/consistency?old=2&new=5": kept, "tile/0/000.p/5": kept,
        "entry/1": kept, "proof/inclusion?index=1": fresh, "proof/consistency?old=2": fresh,
        "proof/inclusion?index=1&size=9": fresh, "proof/inclusion?index=9": fresh, "tile/0/000.p/9": fresh,
    }  # fmt: skip
    before = {url: client.get(f"/{partition.name}/{url}") for url in policies}
    assert {url: answer.headers["Cache-Control"] for url, answer in before.items()} == policies
    partition.append_many(range(4))
    partition.publish()
    for url, answer in before.items():
        again = client.get(f"/{partition.name}/{url}")
        assert (again.data == answer.data) == (policies[url] == kept), url


def test_r10_a_proxy_that_drops_the_query(tmp_path: Path) -> None:
    """A cache that keeps one answer a path gives everybody the first one: whoever asked otherwise refuses it."""
    partition = create(tmp_path, disk=QuickDisk())
    partition.append_many(range(5))
    old = partition.publish()
    partition.append_many(range(4))
    partition.publish()
    client = create_app(tmp_path).test_client()
    policy = Policy.for_log(partition.vkey)
    cache: dict[str, bytes] = {}

    def ask(path: str, query: str) -> bytes:
        if path not in cache:
            cache[path] = client.get(f"/{partition.name}/{path}?{query}").data
        return cache[path]

    for seq in range(9):
        answer, wanted = ask("proof/inclusion", f"index={seq}&size=9"), partition.entry(seq).raw
        if seq == 0:
            assert verify_proof(answer, policy=policy, entry=wanted).entry.seq == 0
        else:
            with pytest.raises(VerificationError):
                verify_proof(answer, policy=policy, entry=wanted)
    assert b"old 2\n" in ask("proof/consistency", "old=2&new=9")
    with pytest.raises(VerificationError):
        verify_consistency(ask("proof/consistency", "old=5&new=9"), old=old, policy=policy)
