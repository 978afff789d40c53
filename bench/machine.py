"""The machine that the figures are of."""

from __future__ import annotations

import os
import platform
import re
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench.harness import percentile

SYNCS = 200
SYNC_SIZE = 4096

QUIET_LOAD = 0.5
"""Processes that want to run before the benchmark starts, above which somebody else is at work."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the figures depend on."""

    processor: str
    cores: int
    memory: int
    kernel: str
    python: str
    libraries: str
    file_system: str
    sync_p50_ms: float
    sync_p99_ms: float
    load: float
    commit: str

    def format(self) -> str:
        """Return the machine in one line."""
        quiet = "" if self.load <= QUIET_LOAD else f"; NOT QUIET: load {self.load:.1f} before the start"
        return (
            f"{self.processor}, {self.cores} cores, {self.memory / 2**30:.0f} GiB; Linux {self.kernel}; {self.python} "
            f"({self.libraries}); {self.file_system}, fsync of {SYNC_SIZE} bytes {self.sync_p50_ms:.2f} ms "
            f"(p99 {self.sync_p99_ms:.2f}); tlog {self.commit}{quiet}"
        )


def examine(work: Path) -> Machine:
    """Return this machine. work: a directory on the disk that is measured."""
    p50, p99 = _sync_latency(work / "sync")
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=platform.release(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        libraries=f"{' '.join(ssl.OPENSSL_VERSION.split()[:2])}, orjson {version('orjson')}",
        file_system=_file_system(work),
        sync_p50_ms=p50,
        sync_p99_ms=p99,
        load=os.getloadavg()[0],
        commit=_commit(),
    )


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    name = found[1].strip() if found else platform.machine()
    return f"{name} ({'with' if re.search(r'^flags.* sha_ni', text, re.MULTILINE) else 'without'} SHA instructions)"


def _file_system(work: Path) -> str:
    """Return the type of the file system that `work` is on."""
    best, kind = "", "unknown file system"
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, mount, name, *_ = line.split()
        if work.resolve().is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, name
    return kind


def _sync_latency(path: Path) -> tuple[float, float]:
    """Return the median and the 99th percentile of appending a page durably, in milliseconds."""
    taken = []
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        for _ in range(SYNCS):
            start = time.perf_counter()
            os.write(fd, bytes(SYNC_SIZE))
            os.fdatasync(fd)
            taken.append((time.perf_counter() - start) * 1e3)
    finally:
        os.close(fd)
        path.unlink()
    return percentile(taken, 0.5), percentile(taken, 0.99)


def _commit() -> str:
    """Return the version of the code, and whether it was altered since."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        run = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as err:
        print(f"bench: git does not tell which commit this is ({err})", file=sys.stderr)
        return f"{version('tlog')}, commit unknown"
    return run.stdout.strip()
