"""Runs the targets of fuzz/targets.py under atheris: `python -m fuzz.run [--seconds N] [TARGET ...]`.

One target after another, each in a process of its own, which starts from the seeds in testdata/fuzz/<target>. What the
fuzzer learns goes to build/fuzz/<target>/corpus and is used again at the next run. An input that shows a bug is kept as
build/fuzz/<target>/crash-<hash>; `python -m fuzz.run --replay FILE TARGET` shows its traceback. Exit status 1 where
there was one. Needs atheris, which `make fuzz` installs.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SEEDS = ROOT / "testdata" / "fuzz"
OUTPUT = ROOT / "build" / "fuzz"

MAX_INPUT_SIZE = 4096
SHORT = {"tile-path": 100, "durable-mark": 100, "vkey": 300}
"""The largest inputs of targets that refuse longer ones before they look at them."""
TIMEOUT_S = 20
MEMORY_MIB = 2048


class Result(NamedTuple):
    """How one target ran. findings: names of inputs that show a bug. status: of the process."""

    target: str
    executions: int
    seconds: float
    findings: list[str]
    status: int


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.run", description="Run the fuzz targets under atheris.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all, if none is given")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: %(default)s)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="call the target with this file's bytes, once")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    known = sorted(path.name for path in SEEDS.iterdir() if path.is_dir())
    unknown = [name for name in args.targets if name not in known]
    if unknown:
        parser.error(f"there is no target {unknown[0]}; there are {', '.join(known)}")
    if args.replay is not None and len(args.targets) != 1:
        parser.error("--replay needs one target")
    if args.inside:
        _fuzz(args.targets[0], args.seconds)
    if args.replay is not None:
        return _replay(args.targets[0], args.replay)
    results = [_run(name, args.seconds) for name in args.targets or known]
    return 1 if any(result.status or result.findings for result in results) else 0


def _run(target: str, seconds: int) -> Result:
    """Fuzz one target in a process of its own and print how it went."""
    folder = OUTPUT / target
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    before = set(folder.iterdir())
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch, (folder / "log").open("w+") as log:
        command = [sys.executable, "-m", "fuzz.run", "--inside", "--seconds", str(seconds), target]
        environment = os.environ | {"TMPDIR": scratch}
        status = subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log, check=False).returncode
        log.seek(0)
        text = log.read()
    counts = re.findall(r"stat::number_of_executed_units: ([0-9]+)", text)
    findings = sorted(path.name for path in set(folder.iterdir()) - before if path.is_file() and path.name != "log")
    result = Result(target, int(counts[-1]) if counts else 0, time.monotonic() - start, findings, status)
    rate = result.executions / result.seconds
    print(f"{target:18} {result.executions:>10,} executions {rate:>8,.0f}/s  ", end="")
    print("no finding" if not status and not findings else f"FINDING, see {folder}: {' '.join(findings) or 'log'}")
    if status:
        print(text[-3000:], file=sys.stderr)
    sys.stdout.flush()
    return result


def _fuzz(target: str, seconds: int) -> None:
    """Fuzz in this process, which atheris ends."""
    import atheris

    with atheris.instrument_imports(include=["tlog", "fuzz", "json", "tomllib"]):
        from fuzz.targets import TARGETS, attempt

    folder = OUTPUT / target
    arguments = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        f"-artifact_prefix={folder}/",
        f"-max_len={SHORT.get(target, MAX_INPUT_SIZE)}",
        f"-timeout={TIMEOUT_S}",
        f"-rss_limit_mb={MEMORY_MIB}",
        "-print_final_stats=1",
        str(folder / "corpus"),
        str(SEEDS / target),
    ]

    def one_input(data: bytes) -> None:
        attempt(TARGETS[target], data)

    atheris.Setup(arguments, one_input)
    atheris.Fuzz()


def _replay(target: str, path: Path) -> int:
    from fuzz.targets import TARGETS, attempt

    print("accepted" if attempt(TARGETS[target], path.read_bytes()) else "refused")
    return 0


if __name__ == "__main__":
    sys.exit(main())
