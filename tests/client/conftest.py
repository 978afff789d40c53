"""A log whose site was exported at several sizes, a server of it that may lie, and both clients."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import tlog
from tests.client.clients import KINDS, QUICK, MakeClient
from tests.client.lying import LyingServer
from tests.ledgers import NAME, ORIGIN, QuickDisk, create
from tlog.access import Tokens

SIZES = (1, 5, 255, 256, 300, 513)


class Site(NamedTuple):
    """A partition, and its site at each of SIZES in turn: a directory for each, with the partition below it.

    lines, proofs, growth: all entries of the newest, proofs of some, and the consistency proof from size 300.
    """

    partition: tlog.Partition
    roots: dict[int, Path]
    checkpoints: dict[int, bytes]

    lines: list[bytes]
    proofs: dict[int, bytes]
    growth: bytes

    @property
    def vkey(self) -> str:
        """The verifier key."""
        return str(self.partition.vkey)

    @property
    def root(self) -> Path:
        """The newest site."""
        return self.roots[SIZES[-1]]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Read only."""
    top = tmp_path_factory.mktemp("site")
    partition = create(top / "ledger", disk=QuickDisk())
    roots, checkpoints = {}, {}
    for size in SIZES:
        start = partition.size if partition.exists else 0
        partition.append_many({"id": f"event-{seq}", "actor": "alice", "n": seq} for seq in range(start, size))
        checkpoints[size] = partition.publish().raw
        roots[size] = top / str(size)
        partition.export(roots[size] / NAME)
    lines = [entry.raw for entry in partition.entries()]
    proofs = {seq: partition.prove(seq).format() for seq in (0, 255, 256, 512)}
    return Site(partition, roots, checkpoints, lines, proofs, partition.prove_consistency(300).format())


@pytest.fixture
def server(site: Site) -> Iterator[LyingServer]:
    """A server that tells the truth until told otherwise."""
    with LyingServer(site.root) as running:
        yield running


@pytest.fixture(params=list(KINDS))
def make(request: pytest.FixtureRequest) -> Iterator[MakeClient]:
    """Makes clients of either kind, with short waits unless told otherwise, and closes them."""
    made = []

    def make_client(*args: Any, **settings: Any) -> Any:
        made.append(KINDS[request.param](*args, **{"pacing": QUICK, **settings}))
        return made[-1]

    yield make_client
    for client in made:
        client.close()


class Live(NamedTuple):
    """A server that runs. url: its own. ledger: its directory, whose partition `users` is appended to."""

    url: str
    ledger: Path
    vkey: str
    token: str

    @property
    def port(self) -> int:
        """Its port."""
        return int(self.url.rpartition(":")[2])


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """`tlog serve` of a ledger with one entry, which publishes ten times a second; a token that may append."""
    path = tmp_path_factory.mktemp("live") / "ledger"
    with tlog.Ledger.create(path, origin=ORIGIN) as ledger:
        partition = ledger.partition(NAME)
        partition.append({"id": "first"})
        partition.publish()
        vkey = str(partition.vkey)
        token = Tokens(ledger).create("writer-1", ("append",), (NAME,))[0]
    command = [str(Path(sys.executable).parent / "tlog"), "serve", "--ledger", str(path)]
    command += ["--bind", "127.0.0.1:0", "--json", "--publish-interval", "0.1"]
    with (
        (path.parent / "stderr").open("wb") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (path.parent / "stderr").read_text()
            yield Live(json.loads(line)["url"], path, vkey, token)
            process.terminate()
            assert process.wait(30) == 0
        finally:
            process.kill()
