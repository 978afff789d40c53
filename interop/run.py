"""Check exported partitions and proofs with programs in Go that share no code with tlog.

A ledger is filled, published at several sizes and exported. Then

* interop/go, on golang.org/x/mod's sumdb/note and sumdb/tlog, authenticates every tile and entry, verifies our proofs,
  compares them with its own, and makes further proofs that are verified here;
* transparency-dev/tessera's fsck (pinned in interop/go-fsck) rebuilds every tile from the entries and compares;
* both refuse the export after one bit was flipped, in each kind of file.

Exit status 0: all agree, or go is too old, which is said. 1: the first disagreement is named.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tlog
from tlog._strict import format_base64, parse_hash
from tlog.export import export_partition
from tlog.hashing import leaf_hash
from tlog.proof import verify_consistency, verify_inclusion

HERE = Path(__file__).resolve().parent
EVENTS = HERE.parent / "testdata" / "events" / "flask-history.jsonl"
OLDEST_GO = (1, 25)
XMOD = "golang.org/x/mod"
TESSERA = "github.com/transparency-dev/tessera"
TIMEOUT_S = 60

# Sizes to publish at: a full tile and its neighbours; 66,311, where the subtrees of the right edge share tiles at three
# levels, the shape in which a tile reader has left tiles unchecked (CVE-2026-56865).
HISTORY_SIZES = (1, 2, 255, 256, 257, 4096, 5531)
MANY_SIZES = (23, 65_536, 66_311)


class DisagreementError(Exception):
    """A program in Go and tlog do not agree."""


class Programs:
    """The programs in Go, built into a directory."""

    def __init__(self, directory: Path) -> None:
        self.interop = directory / "tlog-interop"
        self.fsck = directory / "fsck"
        _go("vet", "./...", cwd=HERE / "go")
        _go("build", "-trimpath", "-o", str(self.interop), ".", cwd=HERE / "go")
        _go("build", "-trimpath", "-o", str(self.fsck), f"{TESSERA}/cmd/fsck", cwd=HERE / "go-fsck")

    def check(self, exported: Path, *arguments: Path | str) -> dict[str, Any] | str:
        """Run interop/go on an export; return its report, or why it refuses."""
        run = _run(self.interop, *arguments[:2], exported, exported / "vkey", *arguments[2:])
        if run.returncode not in (0, 1):
            raise DisagreementError(f"interop/go ended with status {run.returncode}: {run.stderr}")
        report: dict[str, Any] | str = json.loads(run.stdout) if run.returncode == 0 else run.stderr
        return report

    def fsck_passes(self, exported: Path, checkpoint: tlog.Checkpoint) -> bool:
        """Whether tessera's fsck says that the export is the tree of this checkpoint.

        This version ends with status 0 either way, so what it says counts.
        """
        options = (f"--storage_url={exported.as_uri()}/", f"--public_key={exported / 'vkey'}", "--ui=false", "-N=4")
        run = _run(self.fsck, *options)
        said = (
            f"Successfully fsck'd log with size {checkpoint.tree_size} and root {format_base64(checkpoint.root_hash)}"
        )
        return run.returncode == 0 and said in run.stderr


class Case:
    """One partition, published at `sizes` (ascending), its export and its proof files."""

    def __init__(self, partition: tlog.Partition, directory: Path, events: Sequence[Any], sizes: Sequence[int]) -> None:
        self.partition = partition
        self.sizes = sizes
        self.exported = directory / "export"
        self.proofs = directory / "proofs"
        self.proofs.mkdir(parents=True)
        self.indexes = sorted({index for size in sizes for index in (0, size // 2, size - 1)})
        self.checkpoints: dict[int, tlog.Checkpoint] = {}
        self._fill(events)

    def _fill(self, events: Sequence[Any]) -> None:
        start = 0
        for size in self.sizes:
            self.partition.append_many(events[start:size])
            self.checkpoints[size] = self.partition.publish()
            (self.proofs / f"{size}.old").write_bytes((self.partition.path / "checkpoint").read_bytes())
            start = size
        export_partition(self.partition, self.exported)
        for index in self.indexes:
            (self.proofs / f"{index}.tlog-proof").write_text(str(self.partition.prove(index)), encoding="utf-8")
        for size in self.sizes:
            proof = self.partition.prove_consistency(size)
            (self.proofs / f"{size}.consistency").write_text(str(proof), encoding="utf-8")

    def check(self, programs: Programs) -> str:
        """Have everything checked in both directions; return what was checked, in words. Raises: DisagreementError."""
        inclusion = [(index, size) for size in self.sizes for index in self.indexes if index < size]
        consistency = [(old, new) for new in self.sizes for old in self.sizes if old <= new]
        requests = self.proofs / "requests.json"
        requests.write_text(json.dumps({"inclusion": inclusion, "consistency": consistency}), encoding="utf-8")
        files = sorted(path for path in self.proofs.iterdir() if path.suffix in {".tlog-proof", ".consistency"})
        report = programs.check(self.exported, "-requests", requests, *files)
        if isinstance(report, str):
            raise DisagreementError(report)
        if report["entries"] != self.sizes[-1] or report["proof_files"] != len(files):
            raise DisagreementError(f"interop/go has not checked everything: {report}")
        for (index, size), hashes in zip(inclusion, report["inclusion"], strict=True):
            verify_inclusion(
                leaf_hash(self.partition.entry(index).raw),
                index,
                size,
                self.checkpoints[size].root_hash,
                [parse_hash(text, "x/mod's proof") for text in hashes or ()],
            )
        for (old, new), hashes in zip(consistency, report["consistency"], strict=True):
            roots = self.checkpoints[old].root_hash, self.checkpoints[new].root_hash
            verify_consistency(old, new, *roots, [parse_hash(text, "x/mod's proof") for text in hashes or ()])
        if not programs.fsck_passes(self.exported, self.checkpoints[self.sizes[-1]]):
            raise DisagreementError("tessera's fsck does not accept the export")
        read = (
            f"{report['entries']:,} entries, {report['hash_tiles']} tiles and {report['bundles']} bundles authenticated"
        )
        theirs = len(inclusion) + len(consistency)
        return f"{read}; {len(files)} proofs of ours verified by x/mod, {theirs} of x/mod's verified here"

    def check_refusals(self, programs: Programs) -> str:
        """Flip one bit in one file of each kind, and see it refused; return how many. Raises: DisagreementError."""
        files = _sample(self.exported)
        for file in files:
            good = file.read_bytes()
            flipped = bytearray(good)
            flipped[len(good) // 2] ^= 1
            file.write_bytes(flipped)
            name = file.relative_to(self.exported)
            if not isinstance(programs.check(self.exported), str):
                raise DisagreementError(f"interop/go accepts a flipped bit in {name}")
            if programs.fsck_passes(self.exported, self.checkpoints[self.sizes[-1]]):
                raise DisagreementError(f"tessera's fsck accepts a flipped bit in {name}")
            file.write_bytes(good)
        return f"a flipped bit is refused in each of {len(files)} files"


def main() -> None:
    """Check two partitions and print a line for each thing that was shown."""
    version = _go("env", "GOVERSION", cwd=HERE).strip()
    numbers = re.match(r"go(\d+)\.(\d+)", version)
    if numbers is not None and (int(numbers[1]), int(numbers[2])) < OLDEST_GO:
        print(f"interop: skipped, {version} is older than go{OLDEST_GO[0]}.{OLDEST_GO[1]}, which {XMOD} needs")
        return
    history = [json.loads(line) for line in EVENTS.read_bytes().splitlines()]
    many = [{"n": n} for n in range(MANY_SIZES[-1])]
    with tempfile.TemporaryDirectory(prefix="tlog-interop-") as name:
        scratch = Path(name)
        programs = Programs(scratch)
        print(f"{version}; {XMOD} {_pinned(XMOD, 'go')}; {TESSERA} {_pinned(TESSERA, 'go-fsck')}")
        ledger = tlog.Ledger.create(scratch / "ledger", origin="interop.example.com/log")
        for partition, events, sizes in (("history", history, HISTORY_SIZES), ("many", many, MANY_SIZES)):
            case = Case(ledger.partition(partition), scratch / partition, events, sizes)
            print(f"{partition}: {case.check(programs)}")
            print(f"{partition}: {case.check_refusals(programs)}")


def _sample(exported: Path) -> list[Path]:
    """Return the first and the last file of each kind: checkpoint, vkey, each level's tiles, bundles."""
    kinds: dict[tuple[str, ...], list[Path]] = {}
    for file in sorted(path for path in exported.rglob("*") if path.is_file()):
        kinds.setdefault(file.relative_to(exported).parts[:2], []).append(file)
    return sorted({file for group in kinds.values() for file in (group[0], group[-1])})


def _go(*arguments: str, cwd: Path) -> str:
    # GOTOOLCHAIN=local: a missing Go version is an error here, not a download.
    environment = os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"}
    run = subprocess.run(["go", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise DisagreementError(f"go {' '.join(arguments)} in {cwd.name}: {run.stdout}{run.stderr}")
    return run.stdout


def _pinned(module: str, directory: str) -> str:
    return _go("list", "-m", "-f", "{{.Version}}", module, cwd=HERE / directory).strip()


def _run(*command: Path | str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)


if __name__ == "__main__":
    try:
        main()
    except (DisagreementError, tlog.Error) as err:
        sys.exit(f"interop: FAILED: {err}")
