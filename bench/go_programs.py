"""The references that are written in Go: built once a run, or a reason why not. go/go.mod pins their modules."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

MODULE = Path(__file__).resolve().parent / "go"
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

    def run(self, program: str, *arguments: str) -> dict[str, Any]:
        """Run a program to its end and return its report. Raises: CalledProcessError."""
        command = [str(self._directory / program), *arguments]
        report: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        return report


def _go(*arguments: str) -> str:
    # GOTOOLCHAIN=local: a missing Go version is an error here, not a download.
    environment = os.environ | {"GOTOOLCHAIN": "local"}
    return subprocess.run(
        ["go", *arguments], cwd=MODULE, env=environment, capture_output=True, text=True, check=True
    ).stdout
