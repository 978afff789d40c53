"""Pulling a real log: from its exported directory and over HTTP, while it grows, is tampered with, goes back, forks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import tlog
from tests.mirroring.conftest import SECRET, SIGNER
from tests.witnessing.parties import served
from tlog.errors import Error, InconsistentLogError, VerificationError
from tlog.evidence import verify_evidence
from tlog.mirroring.mirror import Mirror
from tlog.mirroring.pull import pull
from tlog.mirroring.source import DirectorySource, open_source
from tlog.policy import Policy
from tlog.witnessing.request import origin_hash
from tlog.witnessing.state import WitnessState
from tlog_server.app import create_app

GROWTH = (3, 256, 300, 700)


class Pair:
    """A log, the site that it exports, and a mirror of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ledger = tlog.Ledger.create(directory / "ledger", origin="audit.example.com")
        self.log = self.ledger.partition("users")
        self.site = directory / "site"
        self.mirror = self.new_mirror("mirror")
        self.grow(3)
        self.mirror.add_log(self.log.vkey)

    def new_mirror(self, name: str) -> Mirror:
        """Return a mirror of its own."""
        home = self.directory / name
        home.mkdir()
        WitnessState.create(home / "state", home / "record")
        return Mirror(home / "logs", WitnessState(home / "state", home / "record"), [SIGNER], SECRET)

    def grow(self, size: int) -> None:
        """Let the log grow, and export it."""
        self.log.append_many({"n": n} for n in range(size - (self.log.size if self.log.exists else 0)))
        self.log.publish()
        self.log.export(self.site)

    @property
    def policy(self) -> Policy:
        """Whom the mirror believes."""
        return Policy.for_log(self.log.vkey)

    @property
    def copy(self) -> Path:
        """The directory of the copy."""
        return self.directory / "mirror" / "logs" / origin_hash(self.log.origin)

    def pull(self) -> tlog.Checkpoint:
        """Pull from the exported site."""
        return pull(self.mirror, self.policy, DirectorySource(self.site))

    def assert_equal(self) -> None:
        """Every tile and bundle that the site has, and the checkpoint implies, is in the copy, byte for byte."""
        for path in self.site.rglob("*"):
            name = path.relative_to(self.site)
            if path.is_file() and name.parts[0] == "tile":
                if ".p" in str(name) and not (self.copy / name).exists():
                    continue  # of an earlier checkpoint, which the mirror has never seen
                assert (self.copy / name).read_bytes() == path.read_bytes(), name
        found = tlog.Checkpoint.parse((self.copy / "checkpoint").read_bytes())
        assert found.text == self.log.checkpoint().text
        self.policy.verify(found)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """A log of 3 entries and a mirror without any."""
    return Pair(tmp_path)


def test_a_growing_log(pair: Pair) -> None:
    """At each size the copy is the log's own site; nothing is read twice."""
    for size in GROWTH:
        pair.grow(size)
        assert pair.pull().tree_size == size
        assert pair.pull().tree_size == size
        pair.assert_equal()


def test_over_http(pair: Pair) -> None:
    """The running server of a ledger is a source as well."""
    pair.grow(700)
    with served(create_app(pair.ledger)) as url:
        source = open_source(f"{url}/users")
        assert pull(pair.mirror, pair.policy, source).tree_size == 700
    pair.assert_equal()


def test_a_tampered_site(pair: Pair) -> None:
    """One bit of any file that is needed: refused, and nothing of it is stored."""
    pair.grow(300)
    names = [
        "checkpoint",
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/44",
    ]
    for name in names:
        path = pair.site / name
        good = path.read_bytes()
        for place in (0, len(good) // 2, len(good) - 1):
            path.chmod(0o644)
            path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
            with pytest.raises(Error):
                pair.pull()
            assert not (pair.copy / "checkpoint").exists()
        path.write_bytes(good)
    assert pair.pull().tree_size == 300
    pair.assert_equal()


def test_a_site_that_goes_back(pair: Pair, tmp_path: Path) -> None:
    """An older copy of the site in its place is no news, and is refused."""
    pair.log.export(tmp_path / "old")
    pair.grow(300)
    pair.pull()
    with pytest.raises(VerificationError, match="went back"):
        pull(pair.mirror, pair.policy, DirectorySource(tmp_path / "old"))
    assert pair.pull().tree_size == 300


@pytest.mark.parametrize("size", [5, 6, 300])
def test_a_log_that_forks(pair: Pair, tmp_path: Path, size: int) -> None:
    """Another history under the same key: refused, with evidence that anyone can judge."""
    pair.grow(5)
    pair.pull()
    twin = tlog.Ledger.create(tmp_path / "twin", origin="audit.example.com")
    fork = twin.partition("users")
    keys = tmp_path / "twin" / "keys"
    keys.mkdir(mode=0o700)
    for name in ("users.pem", "users.vkey"):
        (keys / name).write_bytes((tmp_path / "ledger" / "keys" / name).read_bytes())
        (keys / name).chmod(0o600)
    fork.append_many({"other": n} for n in range(size))
    fork.publish()
    fork.export(tmp_path / "fork")
    with pytest.raises(InconsistentLogError):
        pull(pair.mirror, pair.policy, DirectorySource(tmp_path / "fork"))
    (kept,) = pair.mirror.evidence()
    assert verify_evidence(kept.evidence.format(), pair.policy).against.tree_size == 5
    pair.grow(300)
    assert pair.pull().tree_size == 300


KILLED = """
    import os, sys
    from pathlib import Path
    import tlog
    from tests.mirroring.conftest import SECRET, SIGNER
    from tlog.mirroring.mirror import Mirror
    from tlog.mirroring.pull import pull
    from tlog.mirroring.source import DirectorySource
    from tlog.policy import Policy
    from tlog.witnessing.state import WitnessState

    home, site, vkey, steps = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    mirror = Mirror(home / "logs", WitnessState(home / "state", home / "record"), [SIGNER], SECRET)
    replace = os.replace
    def count(*args, **more):
        global steps
        steps -= 1
        if not steps:
            os.kill(os.getpid(), 9)
        return replace(*args, **more)
    Path.replace = lambda self, target: count(self, target)
    pull(mirror, Policy.for_log(vkey), DirectorySource(site))
"""


def test_killed_at_every_step(pair: Pair) -> None:
    """A pull that is killed before each renaming of a file goes on the next time, and ends with the whole copy."""
    pair.grow(700)
    pair.mirror.close()
    words = [str(pair.directory / "mirror"), str(pair.site), str(pair.log.vkey)]
    kills = 0
    for steps in range(1, 40):
        program = [sys.executable, "-c", textwrap.dedent(KILLED), *words, str(steps)]
        ended = subprocess.run(program, check=False, timeout=60, cwd=Path(__file__).parents[2], env=os.environ)
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL
        kills += 1
    assert kills > 3
    pair.assert_equal()
