"""All of the torture, in full: `python -m tests.torture.run [PART ...]`, where the parts are the keys of PARTS.

Prints a line for each part with what was done, and everything that failed; the exit code is 1 where something did.
"""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterator

from tests.torture.faults import Injector
from tests.torture.fulldisk import CannotMountError, FullDisk
from tests.torture.kills import Killer
from tests.torture.powerloss import SCENARIOS, Explorer, Scenario
from tests.torture.stress import Stress
from tests.torture.syscalls import Tracer

KILLS = 200
STRESS_S = 300
SAMPLES = 100
SHARE_OF_SECOND_TROUBLES = 0.3
"""Of the states after two troubles, which are many times those after one."""

Result = tuple[str, list[str]]
"""What was done, and what failed."""


def power_loss() -> Result:
    """Every prefix of every scenario, with each file and name for itself and a sample of combinations."""
    explorer = Explorer(samples=SAMPLES, thorough=True)
    for scenario in SCENARIOS:
        explorer.explore(scenario)
    return f"{explorer.states} states after {len(SCENARIOS)} scenarios", explorer.failures


def power_loss_after_kill() -> Result:
    """A process is killed at each operation, another one goes on, then the power fails."""
    return _again(Explorer.explore_killed, "killed first", lambda kinds: iter(range(len(kinds) + 1)))


def power_loss_in_recovery() -> Result:
    """The power fails at each operation, and again during recovery."""
    return _again(Explorer.explore_twice, "in recovery", lambda kinds: iter(range(len(kinds) + 1)))


def power_loss_after_failed_sync() -> Result:
    """Each sync fails, the caller goes on, then the power fails."""
    return _again(
        Explorer.explore_failed_sync,
        "after a failed sync",
        lambda kinds: (n for n, k in enumerate(kinds) if "sync" in k),
    )


def _again(
    explore: Callable[[Explorer, Scenario, int], None], what: str, places: Callable[[list[str]], Iterator[int]]
) -> Result:
    explorer, runs = Explorer(share=SHARE_OF_SECOND_TROUBLES), 0
    for scenario in SCENARIOS:
        for at in places(explorer.operations(scenario)):
            explore(explorer, scenario, at)
            runs += 1
    return f"{explorer.states} states {what}, {runs} runs", explorer.failures


def faults() -> Result:
    """Every call of the write path fails, in every way."""
    injector = Injector()
    injector.inject(first=True)
    injector.inject(first=False)
    return f"{injector.faults} faults at {len(injector.by_call)} kinds of calls", injector.failures


def full_disk() -> Result:
    """A disk with ever one page more."""
    full = FullDisk()
    try:
        full.run()
    except CannotMountError as err:
        return f"skipped, nothing can be mounted here: {err}", []
    return f"{full.runs} runs, refused {full.refused}", full.failures


def kills() -> Result:
    """Writers are killed at random."""
    killer = Killer()
    killer.run(KILLS)
    return f"{killer.kills} kills, {killer.acknowledged} statements held", killer.failures


def syscalls() -> Result:
    """EIO, ENOSPC and SIGKILL at each system call."""
    if shutil.which("strace") is None:
        return "skipped, there is no strace on this machine", []
    tracer = Tracer()
    tracer.run()
    return f"{tracer.injected} system calls failed or killed", tracer.failures


def stress() -> Result:
    """Everything at once."""
    result = Stress()
    result.run(STRESS_S)
    done = f"{result.entries} entries, {result.checkpoints} checkpoints, {result.proofs} proofs, {result.kills} kills"
    return f"{STRESS_S} s: {done}", result.failures


PARTS: dict[str, Callable[[], Result]] = {
    "power-loss": power_loss,
    "power-loss-after-kill": power_loss_after_kill,
    "power-loss-in-recovery": power_loss_in_recovery,
    "power-loss-after-failed-sync": power_loss_after_failed_sync,
    "faults": faults,
    "full-disk": full_disk,
    "kills": kills,
    "syscalls": syscalls,
    "stress": stress,
}


def main(names: list[str]) -> int:
    """Run parts, all unless some are named; return how many of them failed."""
    logging.getLogger("tlog").addHandler(logging.NullHandler())
    failed = 0
    for name in names or PARTS:
        begun = time.monotonic()
        done, failures = PARTS[name]()
        failed += bool(failures)
        sys.stdout.write(f"{name}: {done}; {len(failures)} failures; {time.monotonic() - begun:.0f} s\n")
        sys.stdout.writelines(f"  {failure}\n" for failure in failures[:20])
        sys.stdout.flush()
    return failed


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
