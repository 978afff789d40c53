"""`tlog-monitor run --once` killed with SIGKILL in the middle of its rounds, at many places."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

from tests.monitoring.parties import Log, settings_file
from tlog.monitoring.settings import read_settings
from tlog.monitoring.state import MonitorState

EVENTS = 700
EVERY = 50
"""Each so many entries there is one that the rule looks for."""

PROGRAM = """
    import os, sys
    from tlog.monitoring.state import MonitorState
    from tlog_tools.monitor import main

    left, do = int(sys.argv[1]), MonitorState._do

    def counted(*arguments):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
        return do(*arguments)

    MonitorState._do = counted
    main(["--config", sys.argv[2], "run", "--once"])
"""
"""Ends itself before it writes to its state for the n-th time."""

STEPS = (0, 1, 3, 4, 7, 11, 19, 23, 40, 60, 100, 200)
"""Some nine of them are in the middle of a round; the rest is for rounds that will have more to write."""


def test_killed_in_the_middle_of_rounds(log: Log, tmp_path: Path) -> None:
    """Wherever it dies, each entry is looked at once, and each alert reaches its target, under one number.

    The target itself kills it as well, before it takes its first alert.
    """
    log.grow(*({"actor": "bob" if number % EVERY == 0 else "eve"} for number in range(EVENTS)))
    got = tmp_path / "got"
    path = settings_file(tmp_path / "m", [log], "skew_s = 31536000", "[log.growth]\nleast = 4")
    take = f"if mkdir {got}.once; then kill -9 $PPID; exit; fi 2> {os.devnull}; cat >> {got}; echo >> {got}"
    text = path.read_text().replace('run = ["cat"]', f'run = ["sh", "-c", "{take}"]')
    path.write_text(text + '[[rule]]\nname = "bob"\nquery = "actor=bob"\n')
    MonitorState.create(read_settings(path).directory)
    codes: list[int] = []
    for step in STEPS:
        program = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(step), str(path)]
        codes.append(subprocess.run(program, capture_output=True, check=False, timeout=60).returncode)
        if codes[-1] != -signal.SIGKILL:
            break
    assert len(codes) > 6
    assert codes[-1] in {0, 6}

    bodies = [json.loads(line) for line in got.read_text().splitlines()]
    numbers = {body["number"]: body["index"] for body in bodies if body["kind"] == "rule"}
    assert all(numbers[body["number"]] == body["index"] for body in bodies if body["kind"] == "rule")
    # The log's first three entries are of alice, bob and carol.
    expected = Counter([1, *range(3, 3 + EVENTS, EVERY)])
    assert Counter(numbers.values()) == expected
    with MonitorState(read_settings(path).directory) as state:
        assert state.followed(log.origin).next == log.partition.size == EVENTS + 3
        assert sum(state.counts(log.origin)["*"].values()) == EVENTS + 3, "each entry was counted once"
        assert state.undelivered() == {}
