"""`tlog-witness serve` killed after it stored a checkpoint and before it answered; a log that asks again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.waiting import until
from tests.witnessing.parties import new_witness, policy_text, witnessed_ledger
from tlog import Partition, Policy
from tlog.checkpoint import Checkpoint
from tlog.errors import PolicyError
from tlog.witnessing.home import WitnessHome
from tlog.witnessing.request import origin_hash

PROGRAM = """
    import os, sys
    from pathlib import Path
    from tlog_tools.witness import main

    write, once = os.pwrite, Path(sys.argv[1])

    def write_and_die(*arguments):
        write(*arguments)
        if once.exists():
            once.unlink()
            os.kill(os.getpid(), 9)

    os.pwrite = write_and_die
    main(["--dir", sys.argv[2], "serve", "--bind", "127.0.0.1:0", "--json"])
"""
"""The witness, which kills its own serving process after the next write where the file of the first word is there."""


def is_published(partition: Partition) -> bool:
    """Try to publish once; tell whether the quorum was there."""
    try:
        partition.publish()
    except PolicyError:
        return False
    return True


def test_killed_between_persisting_and_the_answer(tmp_path: Path) -> None:
    """What was stored is remembered by the process that takes over, and the log's next try is cosigned (S9)."""
    witness = new_witness(tmp_path / "w", "w.example")
    key = witness.vkeys[0]
    ledger, partition = witnessed_ledger(tmp_path / "ledger", "quorum none\n")
    witness.add_log(partition.vkey)
    witness.close()
    ledger.close()
    once = tmp_path / "once"
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(once), str(tmp_path / "w")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            text = policy_text("all", [("w", key, url)])
            (tmp_path / "ledger" / "witnesses.policy").write_text(text)
            trust = Policy.parse(f"log {partition.vkey}\n{text}")
            with type(ledger).open(tmp_path / "ledger") as ledger:
                users = ledger.partition("users")
                until(lambda: is_published(users))  # the serving process may still be starting
                assert trust.verify(users.checkpoint()).tree_size == 3
                users.append({"n": 3})
                once.touch()
                with pytest.raises(PolicyError, match="cosigned by nobody, missing w"):
                    users.publish()
                assert not once.exists()
                assert users.checkpoint().tree_size == 3
                until(lambda: is_published(users))
                assert trust.verify(users.checkpoint()).tree_size == 4
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    with WitnessHome(tmp_path / "w").open() as witness:
        assert Checkpoint.parse(witness.checkpoint(origin_hash(partition.origin))).tree_size == 4
