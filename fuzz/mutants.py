"""Prints what `make mutate` found: mutants killed and survived for each module, and the change of each survivor.

    python -m fuzz.mutants <directory in which mutmut ran>

A mutant counts as killed where a test failed, ran into the time limit, or died. What survives must be killed by a new
test, or explained in docs/testing.md. Exit status 1 where mutants are left that nobody has tried, or no test calls.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

# Exit statuses of mutmut's workers: pytest's own, mutmut's for "no test calls it", and a signal's.
SURVIVED = 0
NO_TEST = (5, 33)
NOT_TRIED = (None, 2, 34, 35)


def main() -> int:
    """Print the table and the survivors; return the exit status."""
    folder = Path(sys.argv[1])
    left: list[str] = []
    survivors: list[str] = []
    print(f"{'module':24}{'mutants':>8}{'killed':>8}{'survived':>10}{'no test':>9}{'not tried':>11}")
    for path in sorted((folder / "mutants").rglob("*.py.meta")):
        statuses: dict[str, int | None] = json.loads(path.read_text())["exit_code_by_key"]
        alive = [name for name, status in statuses.items() if status == SURVIVED]
        uncalled = [name for name, status in statuses.items() if status in NO_TEST]
        untried = [name for name, status in statuses.items() if status in NOT_TRIED]
        if not statuses:
            continue
        killed = len(statuses) - len(alive) - len(uncalled) - len(untried)
        module = str(path.relative_to(folder / "mutants").with_suffix("").with_suffix(""))
        print(
            f"{module:24}{len(statuses):>8}{killed:>8}{len(alive):>10}{len(uncalled):>9}{len(untried):>11}", flush=True
        )
        survivors += alive
        left += [*uncalled, *untried]
    for name in survivors:
        shown = subprocess.run(
            [Path(sys.executable).parent / "mutmut", "show", name],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        changed = [line for line in shown.splitlines() if line[:1] in "-+" and line[:3] not in ("---", "+++")]
        print("", name, *changed, sep="\n", flush=True)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
