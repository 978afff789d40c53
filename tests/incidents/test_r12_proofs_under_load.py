"""R12, Rekor and others: a proof built at another tree size than that of the checkpoint which came with it.

The same over HTTP, and tiles that are asked for with the checkpoint that was fetched before.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.incidents.programs import TIMEOUT_S, start
from tests.ledgers import make_ledger, opened
from tlog import Checkpoint, Policy, verify_consistency, verify_proof
from tlog.reader import TileReader
from tlog.tile import Tile
from tlog_server.app import create_app

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


def test_r12_over_http(tmp_path: Path) -> None:
    """Two applications are asked in turn while the log grows: proofs, and tiles of the checkpoint seen before."""
    make_ledger(tmp_path, [5])
    clients = [create_app(tmp_path).test_client() for _ in range(2)]
    policy = Policy.for_log(opened(tmp_path).vkey)
    kept = opened(tmp_path).checkpoint()
    seen: set[int] = set()

    class Fetched:
        """Tiles over HTTP, from whichever application did not give the checkpoint."""

        def read_tiles(self, tiles: Sequence[Tile]) -> list[bytes]:
            answers = [clients[1].get(f"/users/{tile.path}") for tile in tiles]
            assert [answer.status_code for answer in answers] == [200] * len(tiles)
            return [answer.data for answer in answers]

    with start(GROW, tmp_path) as writer:
        while writer.poll() is None or len(seen) < 1:
            checkpoint = Checkpoint.parse(clients[0].get("/users/checkpoint").data)
            size = checkpoint.tree_size
            tree = TileReader(Fetched(), size, checkpoint.root_hash)
            for at in ("", f"&size={size}"):
                answer = clients[1].get(f"/users/proof/inclusion?index={size - 1}{at}").data
                proven = verify_proof(answer, policy=policy)
                assert proven.checkpoint.tree_size >= size
                assert not at or proven.checkpoint.tree_size == size
            growth = clients[1].get("/users/proof/consistency?old=5").data
            assert verify_consistency(growth, old=kept, policy=policy).new.tree_size >= size
            assert len(tree.inclusion_proof(size - 1)) >= 1
            seen.add(size)
        assert writer.returncode == 0
    assert len(seen) > 2  # the log grew while it was asked
