"""R12, Rekor and others: a proof built at another tree size than that of the checkpoint which came with it.

The same over HTTP is tested with the server.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.incidents.programs import TIMEOUT_S, start
from tests.ledgers import make_ledger, opened
from tlog import Policy, verify_consistency, verify_proof

GROW = """
import sys, tlog
partition = tlog.Ledger.open(sys.argv[1]).partition("users")
for number in range(20):
    partition.append_many({"event": partition.size + n} for n in range(17))
    print(partition.publish().tree_size, flush=True)
"""
PROVERS = 16


def test_r12_each_proof_verifies_against_the_checkpoint_that_came_with_it(tmp_path: Path) -> None:
    """Sixteen threads ask for proofs while another process appends and publishes."""
    make_ledger(tmp_path, [5])
    shared = opened(tmp_path)
    policy = Policy.for_log(shared.vkey)
    kept = shared.checkpoint()
    done = threading.Event()

    def prove(number: int) -> set[int]:
        partition = shared if number % 2 else opened(tmp_path)
        sizes: set[int] = set()
        while not done.is_set() or len(sizes) < 1:
            size = partition.checkpoint().tree_size
            for proof in partition.prove_many([0, size // 2, size - 1]):
                proven = verify_proof(str(proof), policy=policy)
                assert proven.checkpoint.tree_size >= size
                assert proven.entry.data == {"event": proven.leaf_index}
                sizes.add(proven.checkpoint.tree_size)
            growth = verify_consistency(str(partition.prove_consistency(5)), old=kept, policy=policy)
            assert growth.new.tree_size >= size
        return sizes

    with ThreadPoolExecutor(PROVERS) as pool, start(GROW, tmp_path) as writer:
        provers = [pool.submit(prove, number) for number in range(PROVERS)]
        try:
            assert writer.stdout is not None
            told = [int(line) for line in writer.stdout]
            assert writer.wait(TIMEOUT_S) == 0
        finally:
            done.set()
        seen: set[int] = set().union(*(prover.result() for prover in provers))
    assert told == [5 + 17 * number for number in range(1, 21)]
    assert seen <= {5, *told}
    assert len(seen) > 2  # the log grew while proofs were made
