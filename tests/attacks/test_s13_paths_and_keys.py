"""S13: links that lead elsewhere where files belong, and key files that others can read or that are no keys."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attacks.bounds import refused
from tests.ledgers import NAME, QuickDisk, copied, make_ledger, opened
from tlog import SigningKey
from tlog.errors import FormatError

LOG = f"partitions/{NAME}"
PLACES = {
    "segment": f"{LOG}/segments/{256:020d}.jsonl",
    "checkpoint": f"{LOG}/checkpoint",
    "record of checkpoints": f"{LOG}/checkpoints.jsonl",
    "durable mark": f"{LOG}/lock",
    "edge tile": f"{LOG}/tile/0/001.p/44",
    "private key": f"keys/{NAME}.pem",
    "verifier key": f"keys/{NAME}.vkey",
    "signer's record": f"keys/{NAME}.signed",
    "configuration": "tlog.toml",
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published ledger of 300 entries."""
    return make_ledger(tmp_path_factory.mktemp("source") / "l", [300], more=1)


def replaced(file: Path, kind: str) -> None:
    """Put a link to the same bytes, a dangling link, a FIFO or a directory in the place of a file."""
    elsewhere = file.parent.parent.parent / "elsewhere"
    file.rename(elsewhere)
    if kind == "link":
        file.symlink_to(elsewhere)
    elif kind == "dangling link":
        file.symlink_to(elsewhere.with_name("nowhere"))
    elif kind == "FIFO":
        os.mkfifo(file)
    else:
        file.mkdir()


@pytest.mark.parametrize("kind", ["link", "dangling link", "FIFO", "directory"])
@pytest.mark.parametrize("place", PLACES)
def test_s13_no_regular_file(source: Path, tmp_path: Path, place: str, kind: str) -> None:
    """What is no regular file is refused by whoever needs it, at once, and nothing is made where a link leads."""
    path = copied(source, tmp_path / "deep" / "ledger")
    replaced(path / PLACES[place], kind)
    name = Path(PLACES[place]).name

    def use() -> None:
        partition = opened(path, disk=QuickDisk())
        partition.append("more")
        partition.publish()

    assert name in refused(use)
    assert not list(tmp_path.rglob("nowhere"))
    assert threading.active_count() < 50


KEYS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "blanks": lambda _: b" " * 32,
    "cut": lambda pem: pem[: len(pem) // 2],
    "a seed": lambda _: b"k" * 32,
    "a public key": lambda _: b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n",
    "two keys": lambda pem: pem + pem,
    "all bytes equal": lambda _: placeholder(),
    "another key": lambda _: SigningKey.generate("audit.example.com/users").to_pem(),
    "too large": lambda pem: pem + b"\n" * 20_000,
}


def placeholder() -> bytes:
    """Return a PEM file whose private key is 32 times the same byte."""
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(b"\x20" * 32)
    return key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())


@pytest.mark.parametrize("kind", KEYS)
def test_s13_key_files_that_are_no_keys(source: Path, tmp_path: Path, kind: str) -> None:
    """Nothing is signed with what is no key, or not this log's; the error names the file, and never shows the key."""
    path = copied(source, tmp_path / "l")
    file = path / "keys" / f"{NAME}.pem"
    pem = file.read_bytes()
    file.write_bytes(KEYS[kind](pem))
    before = (path / LOG / "checkpoint").read_bytes(), (path / "keys" / f"{NAME}.signed").read_bytes()
    text = refused(opened(path, disk=QuickDisk()).publish)
    assert kind == "another key" or file.name in text
    assert not any(line and line in text for line in pem.decode().splitlines()[1:-1])
    assert before == ((path / LOG / "checkpoint").read_bytes(), (path / "keys" / f"{NAME}.signed").read_bytes())


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601, 0o700 | 0o077])
def test_s13_key_files_that_others_may_read(source: Path, tmp_path: Path, mode: int) -> None:
    """A key that group or others have any right to is not used; chmod makes it good."""
    path = copied(source, tmp_path / "l")
    file = path / "keys" / f"{NAME}.pem"
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(mode)
    partition = opened(path, disk=QuickDisk())
    text = refused(partition.publish, FormatError)
    assert f"{mode:04o}" in text
    assert "chmod 600" in text
    file.chmod(0o400)
    assert partition.publish().tree_size == 301


def test_s13_a_tile_is_never_written_through_a_link(source: Path, tmp_path: Path) -> None:
    """Where a tile is to be written lies a link to another file: it is replaced, and the file stays as it is."""
    path = copied(source, tmp_path / "l")
    victim = tmp_path / "victim"
    victim.write_bytes(b"not a tile")
    for name in ("tile/0/001.p/45", "tile/0/001.p/46"):
        (path / LOG / name).symlink_to(victim)
    partition = opened(path, disk=QuickDisk())
    partition.publish()
    assert victim.read_bytes() == b"not a tile"
    assert not (path / LOG / "tile/0/001.p/45").is_symlink()
    assert partition.fsck().findings == ()
