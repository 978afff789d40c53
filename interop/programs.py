"""The programs in Go that check us: how they are built, called and understood."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import tlog
from tlog._strict import format_base64

HERE = Path(__file__).resolve().parent
OLDEST_GO = (1, 25)
TIMEOUT_S = 60
MAX_REASON = 2000

# Directory of the Go module that pins it -> module path.
PINNED = {
    "go": "golang.org/x/mod",
    "go-fsck": "github.com/transparency-dev/tessera",
    "go-torchwood": "filippo.io/torchwood",
    "go-witness": "github.com/transparency-dev/formats",
    "go-sunlight": "filippo.io/sunlight",
}


class DisagreementError(Exception):
    """A program in Go and tlog do not agree, or a program does not run."""


class Refusal(str):
    """What a program said when it refused."""

    __slots__ = ()


class Served(NamedTuple):
    """A partition that is served at a URL. vkey: the file with its verifier key, had by another way."""

    url: str
    vkey: Path


Site = Path | Served
"""Where a log is read: the directory of an export, which has the key in it, or a server."""


class Programs:
    """The programs, built into a directory. Raises: DisagreementError where one does not build."""

    def __init__(self, directory: Path) -> None:
        self._xmod = directory / "tlog-interop"
        self._torchwood = directory / "tlog-interop-torchwood"
        self._fsck = directory / "fsck"
        _build("go", self._xmod)
        _build("go-torchwood", self._torchwood)
        _build("go-fsck", self._fsck, f"{PINNED['go-fsck']}/cmd/fsck")
        self._formats = directory / "tlog-interop-witness"
        self.litewitness = directory / "litewitness"
        self.oneshot = directory / "posix-oneshot"
        self.sunlight = directory / "sunlight"
        _build("go-witness", self._formats)
        _build("go-sunlight", self.sunlight, f"{PINNED['go-sunlight']}/cmd/sunlight")
        _build("go-witness", self.litewitness, f"{PINNED['go-torchwood']}/cmd/litewitness")
        _build("go-witness", self.oneshot, f"{PINNED['go-fsck']}/cmd/examples/posix-oneshot")

    def xmod(
        self, site: Site, *, proof_files: Iterable[Path] = (), requests: Path | None = None, is_ours: bool = True
    ) -> dict[str, Any] | Refusal:
        """Have interop/go check a site; return its report, or why it refuses. is_ours: its entries are tlog's."""
        options = () if requests is None else ("-requests", requests)
        plain = () if is_ours else ("-plain",)
        return _report(self._xmod, *options, *plain, _location(site), _vkey(site), *proof_files)

    def formats(self, checkpoint: Path, vkeys: Iterable[tlog.VerifierKey], name: str) -> dict[str, Any] | Refusal:
        """Have interop/go-witness verify a checkpoint by all these keys, and cosign it under a name."""
        return _report(self._formats, "-name", name, checkpoint, *map(str, vkeys))

    def torchwood(
        self, policy: Path, *, proof_files: Iterable[Path] = (), site: Site | None = None, cosigner: str | None = None
    ) -> dict[str, Any] | Refusal:
        """Have interop/go-torchwood check proof files and a site under a policy; return its report, or why not."""
        options = () if site is None else ("-dir", _location(site))
        cosign = () if cosigner is None else ("-cosign", cosigner)
        return _report(self._torchwood, *options, *cosign, policy, *proof_files)

    def fsck(self, site: Site, checkpoint: tlog.Checkpoint) -> dict[str, Any] | Refusal:
        """Have tessera's fsck check a site, which must be the tree of this checkpoint; return {}, or why not.

        This version ends with status 0 either way, so what it says counts.
        """
        url = site.url if isinstance(site, Served) else site.as_uri()
        run = _run(self._fsck, f"--storage_url={url}/", f"--public_key={_vkey(site)}", "--ui=false", "-N=4")
        root = format_base64(checkpoint.root_hash)
        said = f"Successfully fsck'd log with size {checkpoint.tree_size} and root {root}"
        return {} if run.returncode == 0 and said in run.stderr else Refusal(run.stderr[-MAX_REASON:].strip())


def accepted(report: dict[str, Any] | Refusal, program: str) -> dict[str, Any]:
    """Return the report of a program. Raises: DisagreementError where it refused."""
    if isinstance(report, Refusal):
        raise DisagreementError(f"{program} refuses what is right: {report}")
    return report


def require_none(verdicts: dict[str, bool], what: str) -> None:
    """Raise DisagreementError where a program takes what all must refuse. verdicts: whether each takes it."""
    if any(verdicts.values()):
        raise DisagreementError(f"{what} is accepted by {', '.join(name for name, yes in verdicts.items() if yes)}")


def missing_go() -> str | None:
    """Return why the programs can't be built with the go of this machine, None where they can."""
    version = _go("env", "GOVERSION", cwd=HERE).strip()
    numbers = re.match(r"go(\d+)\.(\d+)", version)
    if numbers is not None and (int(numbers[1]), int(numbers[2])) < OLDEST_GO:
        return f"{version} is older than go{OLDEST_GO[0]}.{OLDEST_GO[1]}, which {PINNED['go']} needs"
    return None


def versions() -> str:
    """Return the versions of go and of the pinned modules, in words."""
    modules = [
        f"{module} {_go('list', '-m', '-f', '{{.Version}}', module, cwd=HERE / directory).strip()}"
        for directory, module in PINNED.items()
    ]
    return ", ".join([_go("env", "GOVERSION", cwd=HERE).strip(), *modules])


def _location(site: Site) -> Path | str:
    return site.url if isinstance(site, Served) else site


def _vkey(site: Site) -> Path:
    return site.vkey if isinstance(site, Served) else site / "vkey"


def _build(directory: str, program: Path, package: str | None = None) -> None:
    if package is None:
        _go("vet", "./...", cwd=HERE / directory)
    # Without version control stamps: they are not wanted, and git may be missing or refuse this directory.
    _go("build", "-trimpath", "-buildvcs=false", "-o", str(program), package or ".", cwd=HERE / directory)


def _go(*arguments: str, cwd: Path) -> str:
    # GOTOOLCHAIN=local: a missing Go version is an error here, not a download.
    environment = os.environ | {"GOTOOLCHAIN": "local"}
    run = subprocess.run(["go", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise DisagreementError(f"go {' '.join(arguments)} in {cwd.name}: {run.stdout}{run.stderr}")
    return run.stdout


def _report(*command: Path | str) -> dict[str, Any] | Refusal:
    run = _run(*command)
    if run.returncode == 0:
        report: dict[str, Any] = json.loads(run.stdout)
        return report
    if run.returncode == 1 and run.stderr:
        return Refusal(run.stderr[-MAX_REASON:].strip())
    raise DisagreementError(f"{Path(command[0]).name} ended with status {run.returncode}: {run.stderr}")


def _run(*command: Path | str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as err:
        raise DisagreementError(f"{Path(command[0]).name} did not end within {TIMEOUT_S} s") from err
