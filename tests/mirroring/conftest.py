"""A mirror, and the log that it copies."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.statements import LOG, checkpoint, consistency_proof, entry_lines, signing_key, tree_hash
from tests.test_subtree import subproof
from tlog.keys import ED25519_COSIGNATURE
from tlog.mirroring.mirror import Mirror
from tlog.mirroring.upload import Package, Upload, format_upload
from tlog.storage.disk import Disk
from tlog.witnessing.state import WitnessState

LINES = entry_lines(700)
SIGNER = signing_key("mirror.example.net", ED25519_COSIGNATURE)
SECRET = b"s" * 32


def opened(directory: Path, disk: Disk | None = None, clock: Callable[[], float] = time.time) -> Mirror:
    """Return the mirror in a directory, made if it is missing; it knows the log of `tests.statements`."""
    directory.mkdir(exist_ok=True)
    state = directory / "state.sqlite"
    if not state.exists():
        WitnessState.create(state, directory / "record")
    held = WitnessState(state, directory / "record")
    mirror = Mirror(directory / "logs", held, [SIGNER], SECRET, disk=disk, clock=clock)
    mirror.add_log(LOG.verifier_key)
    return mirror


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    """A mirror without any entries."""
    with opened(tmp_path / "mirror") as mirror:
        yield mirror


def pend(mirror: Mirror, old: int, size: int, lines: list[bytes] = LINES) -> None:
    """Make the checkpoint of `size` pending."""
    assert mirror.add_checkpoint(consistency_proof(old, lines[:size]).format()) == b""


def package(start: int, end: int, size: int, lines: list[bytes] = LINES) -> Package:
    """Return the package of the entries [start, end) for the tree of `size`."""
    first = start - start % 256
    return Package(tuple(lines[start:end]), subproof(first, end, [*lines[:size]]))


def body(start: int, size: int, lines: list[bytes] = LINES, *, ticket: bytes = b"", packages: int = 99) -> bytes:
    """Return the request that uploads the entries from `start` on."""
    upload = Upload(checkpoint([]).origin, start, size, ticket)
    spans = list(upload.packages())[:packages]
    return format_upload(upload, [package(*span, size, lines) for span in spans])


def reading(raw: bytes) -> Callable[[int], bytes]:
    """Return what reads a body."""
    return io.BytesIO(raw).read


def root(size: int) -> bytes:
    """Return the root hash of the log at a size."""
    return tree_hash(LINES[:size])
