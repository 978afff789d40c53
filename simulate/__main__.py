"""Runs seeds: `python -m simulate [--seeds N] [--first K]`, or one and its trace: `python -m simulate --seed K`.

Prints what happened how often. A seed that breaks an invariant is printed with the command that runs it again, and with
the shortest trace that was found; the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import Counter

from simulate.checks import ViolationError
from simulate.plan import make_plan
from simulate.shrink import shrink
from simulate.world import run


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m simulate", description="Simulate the witness network.")
    parser.add_argument("--seeds", type=int, default=2000, help="how many (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first one (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="only this one, with what it does")
    args = parser.parse_args()
    seeds = range(args.first, args.first + args.seeds) if args.seed is None else [args.seed]
    if args.seed is not None:
        plan = make_plan(args.seed)
        print(plan.describe(), *plan.actions, sep="\n")
    begun, counts, failed = time.monotonic(), Counter[str](), []
    for seed in seeds:
        try:
            counts += run(make_plan(seed))
        except ViolationError as err:
            failed.append(seed)
            _tell(seed, err)
    for what, count in sorted(counts.items()):
        print(f"{count:>10,}  {what}")
    print(f"{len(seeds):,} seeds in {time.monotonic() - begun:.0f} s, {len(failed)} failed")
    return 1 if failed else 0


def _tell(seed: int, err: ViolationError) -> None:
    """Print how a seed failed, and the shortest way there."""
    plan = shrink(make_plan(seed), err.invariant)
    print(f"seed {seed}: {err}\nagain: python -m simulate --seed {seed}\n{plan.describe()}")
    print(*plan.actions, sep="\n", flush=True)


if __name__ == "__main__":
    logging.disable()
    sys.exit(main())
