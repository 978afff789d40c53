"""Witnesses to measure, each a process of its own: `tlog-witness`, and litewitness of filippo.io/torchwood."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.go_programs import LITEWITNESS, GoPrograms
from bench.servers import START_S, free_address, running
from tlog import VerifierKey
from tlog._strict import format_base64
from tlog.hashing import EMPTY_ROOT
from tlog.keys import ED25519_COSIGNATURE
from tlog.witnessing.home import WitnessHome

LITE_NAME = "lite.example.com"
AGENT_TOOLS = ("ssh-agent", "ssh-add", "ssh-keygen")


class Witness(NamedTuple):
    """A witness that runs. vkey: its verifier key. pid: of the process that was started."""

    address: str
    vkey: str
    pid: int


def missing_litewitness(go: GoPrograms) -> str | None:
    """Build litewitness; return why it can't be had here, or None."""
    missing = [tool for tool in AGENT_TOOLS if shutil.which(tool) is None]
    return f"there is no {', '.join(missing)} on this machine" if missing else go.build_litewitness()


@contextlib.contextmanager
def tlog_witness(directory: Path, logs: Sequence[str]) -> Iterator[Witness]:
    """Run `tlog-witness serve` as it comes. logs: the verifier keys of those it follows."""
    home = WitnessHome(directory)
    (vkey,) = home.create("ours.example.com")
    with home.open() as witness:
        for log in logs:
            witness.add_log(VerifierKey.parse(log))
    address = free_address()
    program = str(Path(sys.executable).parent / "tlog-witness")
    with running([program, "--dir", str(directory), "serve", "--bind", address], address) as process:
        yield Witness(address, str(vkey), process.pid)


@contextlib.contextmanager
def litewitness(go: GoPrograms, directory: Path, logs: Sequence[str]) -> Iterator[Witness]:
    """Run litewitness, which must have been built, with a key in an ssh-agent of its own.

    Logs go into its database as `witnessctl` would put them there, with an index on their keys, which it has not:
    it would read all keys for each request.
    """
    directory.mkdir()
    agent, key, database = directory / "agent", directory / "key", directory / "witness.db"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    shown = subprocess.run(["ssh-keygen", "-l", "-f", f"{key}.pub"], check=True, capture_output=True, text=True).stdout
    address = free_address()
    options = ["-db", str(database), "-name", LITE_NAME, "-key", shown.split()[1], "-ssh-agent", str(agent)]
    with _ssh_agent(agent, key), running([str(go.path(LITEWITNESS)), *options, "-listen", address], address) as process:
        with contextlib.closing(sqlite3.connect(database, timeout=5)) as db, db:
            names = [log.partition("+")[0] for log in logs]
            db.executemany("INSERT INTO log VALUES (?, 0, ?)", [(name, format_base64(EMPTY_ROOT)) for name in names])
            db.executemany("INSERT INTO key VALUES (?, ?)", zip(names, logs, strict=True))
            db.execute("CREATE INDEX IF NOT EXISTS bench_key ON key (origin)")
        public_key = base64.b64decode(key.with_suffix(".pub").read_text(encoding="utf-8").split()[1])[-32:]
        yield Witness(address, str(VerifierKey(LITE_NAME, ED25519_COSIGNATURE, public_key)), process.pid)


@contextlib.contextmanager
def _ssh_agent(socket: Path, key: Path) -> Iterator[None]:
    """Run an ssh-agent that holds a key, for a `with` block."""
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + START_S
            while not socket.exists() and time.monotonic() < deadline:
                time.sleep(0.02)
            subprocess.run(["ssh-add", "-q", str(key)], env=os.environ | {"SSH_AUTH_SOCK": str(socket)}, check=True)
            yield
        finally:
            process.terminate()
            process.wait(START_S)
