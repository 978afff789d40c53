"""Logs that sign with ML-DSA-44 too, from the command line."""

from __future__ import annotations

from tests.tools.conftest import Shell, ok


def test_commands(shell: Shell) -> None:
    """`tlog init --post-quantum` and `tlog vkey --post-quantum`."""
    ok(shell.tlog("init", "--origin", "audit.example.com", "--post-quantum"))
    ok(shell.tlog("append", "users", '{"n":0}'))
    assert shell.tlog("vkey", "users", "--post-quantum").exit_code == 3
    ok(shell.tlog("publish", "users"))
    key = shell.write("pq.vkey", ok(shell.tlog("vkey", "users", "--post-quantum")))
    proof = shell.write("proof", ok(shell.tlog("prove", "users", 0)))
    assert ok(shell.verify("--proof", proof, "--key", key)).startswith("proved: entry 0 is in the log")
