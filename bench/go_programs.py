"""The references that are written in Go: built once a run, or a reason why not.

go/go.mod and go-posix/go.mod pin their modules.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

MODULE = Path(__file__).resolve().parent / "go"
POSIX_MODULE = MODULE.with_name("go-posix")
POSIX_PACKAGE = "github.com/transparency-dev/tessera/cmd/conformance/posix"
POSIX = "posix"
"""The name of Tessera's conformance server on its POSIX driver."""

LITEWITNESS_MODULE = MODULE.parents[1] / "interop" / "go-witness"
LITEWITNESS_PACKAGE = "filippo.io/torchwood/cmd/litewitness"
LITEWITNESS = "litewitness"
"""The name of torchwood's witness, which the interoperation suite pins."""

PINNED = ("github.com/transparency-dev/tessera", "golang.org/x/mod")


class GoPrograms:
    """The programs, or why they can't be had here."""

    def __init__(self, directory: Path) -> None:
        """directory: where to build them; made if it is missing."""
        self._directory = directory
        self.missing: str | None = None
        self.versions: dict[str, str] = {}
        if shutil.which("go") is None:
            self.missing = "there is no go on this machine"
            return
        try:
            # Without version control stamps: they are not wanted, and git may be missing or refuse this directory.
            _go("build", "-trimpath", "-buildvcs=false", "-o", f"{directory}/", "./...")
            self.versions = {name: _go("list", "-m", "-f", "{{.Version}}", name).strip() for name in PINNED}
        except subprocess.CalledProcessError as err:
            self.missing = f"go does not build it: {err.stderr.strip().splitlines()[-1]}"

    def build_posix(self) -> str | None:
        """Build POSIX, which has many modules and is wanted by one group only; return why it can't be had, or None."""
        return self._build(POSIX, POSIX_PACKAGE, POSIX_MODULE)

    def build_litewitness(self) -> str | None:
        """Build LITEWITNESS; return why it can't be had, or None."""
        return self._build(LITEWITNESS, LITEWITNESS_PACKAGE, LITEWITNESS_MODULE)

    def _build(self, program: str, package: str, module: Path) -> str | None:
        if self.missing is None and not self.path(program).exists():
            try:
                _go("build", "-trimpath", "-buildvcs=false", "-o", str(self.path(program)), package, cwd=module)
            except subprocess.CalledProcessError as err:
                return f"go does not build it: {err.stderr.strip().splitlines()[-1]}"
        return self.missing

    def path(self, program: str) -> Path:
        """Return where a program is, once it is built."""
        return self._directory / program

    def run(self, program: str, *arguments: str) -> dict[str, Any]:
        """Run a program to its end and return its report. Raises: CalledProcessError."""
        command = [str(self.path(program)), *arguments]
        report: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        return report


def _go(*arguments: str, cwd: Path = MODULE) -> str:
    # GOTOOLCHAIN=local: a missing Go version is an error here, not a download.
    environment = os.environ | {"GOTOOLCHAIN": "local"}
    return subprocess.run(
        ["go", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=True
    ).stdout
