from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.ledgers import NAME, ORIGIN, QuickDisk, create, files_of, lines_of, make_ledger, make_writable, opened
from tests.naive import NaiveTree, leaf_hash
from tlog.errors import CorruptLedgerError, Error, NotFoundError


def number_path(number: int, width: int) -> str:
    """Return the path of a tile's index by the words of tlog-tiles."""
    digits = f"{number:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[start : start + 3] for start in range(0, len(digits), 3)]
    path = "/".join([f"x{group}" for group in groups[:-1]] + [groups[-1]])
    return path if width == 256 else f"{path}.p/{width}"


def entries_of(bundle: bytes) -> list[bytes]:
    """Return the entries of a bundle."""
    entries, position = [], 0
    while position < len(bundle):
        size = int.from_bytes(bundle[position : position + 2], "big")
        entries.append(bundle[position + 2 : position + 2 + size])
        position += 2 + size
    return entries


def opened_checkpoint(site: Path, raw: bytes) -> tuple[int, bytes]:
    """Return size and root of a checkpoint, its signature checked with the site's key, by the words of signed-note."""
    name, _, rest = (site / "vkey").read_text().removesuffix("\n").partition("+")
    key_id, _, key = rest.partition("+")
    public = base64.b64decode(key)
    assert hashlib.sha256(name.encode() + b"\n" + public).digest()[:4].hex() == key_id
    text, _, signature = raw.decode().partition("\n\n")
    dash, signer, blob = signature.removesuffix("\n").split(" ")
    assert (dash, signer, signature.count("\n")) == ("\u2014", name, 1)
    decoded = base64.b64decode(blob)
    assert decoded[:4].hex() == key_id
    Ed25519PublicKey.from_public_bytes(public[1:]).verify(decoded[4:], text.encode() + b"\n")
    origin, size, root = text.split("\n")
    assert origin == name
    return int(size), base64.b64decode(root)


def read_site(site: Path, checkpoint: bytes | None = None) -> list[bytes]:
    """Read a whole site as a stranger would: bundles, their leaf hashes, all tiles, the root, the checkpoint.

    checkpoint: another one than the site's. Nothing here uses the code under test.
    """
    raw = (site / "checkpoint").read_bytes() if checkpoint is None else checkpoint
    size, root = opened_checkpoint(site, raw)
    entries: list[bytes] = []
    for number in range(-(-size // 256)):
        width = min(256, size - 256 * number)
        found = entries_of((site / "tile/entries" / number_path(number, width)).read_bytes())
        assert len(found) == width
        entries += found
    tree = NaiveTree(lambda index: leaf_hash(entries[index]))
    level, count = 0, size
    while count:
        span = 256**level
        for number in range(-(-count // 256)):
            width = min(256, count - 256 * number)
            starts = [(256 * number + position) * span for position in range(width)]
            expected = b"".join(tree.mth(start, start + span) for start in starts)
            assert (site / f"tile/{level}" / number_path(number, width)).read_bytes() == expected
        level, count = level + 1, count // 256
    assert tree.root(size) == root
    return entries


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 511, 512, 513, 700])
def test_a_stranger_reads_the_site(tmp_path: Path, size: int) -> None:
    """A naive reader of tlog-tiles finds every bundle and tile, computes the root and checks the signature."""
    partition = opened(make_ledger(tmp_path / "l", [size], more=3))
    report = partition.export(tmp_path / "site")
    assert read_site(tmp_path / "site") == lines_of(partition)[:size]
    files = [path for path in (tmp_path / "site").rglob("*") if path.is_file()]
    assert report.tree_size == size
    assert (report.files, report.size) == (len(files), sum(path.stat().st_size for path in files))
    assert not [path for path in files if path.name.endswith(".tmp")]


def test_a_large_site(tmp_path: Path) -> None:
    """The same where level 1 has a full tile and a partial one, and level 2 begins."""
    partition = create(tmp_path / "l", disk=QuickDisk())
    partition.append_many(range(256 * 256 + 300))
    partition.publish()
    partition.close()
    opened(tmp_path / "l", disk=QuickDisk()).export(tmp_path / "site")
    assert len(read_site(tmp_path / "site")) == 256 * 256 + 300
    assert (tmp_path / "site/tile/2/000.p/1").exists()
    assert (tmp_path / "site/tile/1/001.p/1").exists()


def test_sealed_segments_are_exported_alike(tmp_path: Path) -> None:
    """Sealing changes no byte of the site."""
    partition = opened(make_ledger(tmp_path / "l", [600]))
    partition.export(tmp_path / "plain")
    partition.seal()
    partition.export(tmp_path / "sealed")
    assert files_of(tmp_path / "plain") == files_of(tmp_path / "sealed")


def test_a_second_export_adds(tmp_path: Path) -> None:
    """Exporting again touches no file that is there but the checkpoint, and adds what is new."""
    partition = opened(make_ledger(tmp_path / "l", [300]))
    site = tmp_path / "site"
    partition.export(site)
    before = files_of(site, times=True)
    partition.export(site)
    assert files_of(site, times=True) == before
    partition.append_many(range(400))
    partition.publish()
    partition.export(site)
    after = files_of(site, times=True)
    del before["checkpoint"]
    assert {name: after[name] for name in before} == before
    assert {"tile/0/001", "tile/entries/001", "tile/0/002.p/188", "tile/1/000.p/2"} <= set(after)
    assert len(read_site(site)) == 700


def test_earlier_checkpoints_are_served(tmp_path: Path) -> None:
    """Whoever holds an earlier checkpoint finds the partial tiles and bundles of its size, or the full ones.

    c2sp.org/tlog-tiles: a log may remove partial tiles where the full tile exists, and only there.
    """
    sizes = [1, 3, 255, 256, 300, 301, 512, 513, 600]
    partition = opened(make_ledger(tmp_path / "l", sizes))
    site = tmp_path / "site"
    partition.export(site)
    latest = 600
    for size in sizes:
        level, count = 0, size
        while count:
            number, width = divmod(count, 256)
            if width and (number + 1) * 256 > latest >> 8 * level:
                full = (site / f"tile/{level}" / number_path(number, latest // 256**level % 256)).read_bytes()
                assert (site / f"tile/{level}" / number_path(number, width)).read_bytes() == full[: width * 32]
                if level == 0:
                    bundle = (site / "tile/entries" / number_path(number, width)).read_bytes()
                    assert entries_of(bundle) == lines_of(partition)[number * 256 : number * 256 + width]
            level, count = level + 1, count // 256
    assert (site / "tile/0/002.p/1").exists()
    assert (site / "tile/entries/002.p/1").exists()
    assert (site / "tile/1/000.p/1").exists()
    assert not (site / "tile/0/000.p").exists()
    for size in (513, 600):
        assert len(read_site(site, partition.checkpoint(size).raw)) == size


@pytest.mark.parametrize("damage", ["entry", "chain", "line"])
def test_damaged_entries_are_not_exported(tmp_path: Path, damage: str) -> None:
    """Where the entries are not those that were signed, an export fails, and the site has no checkpoint of them."""
    path = make_ledger(tmp_path / "l", [300, 600])
    partition = opened(path)
    partition.export(tmp_path / "site")
    kept = (tmp_path / "site/checkpoint").read_bytes()
    file = partition.paths.plain(256)
    raw = file.read_bytes()
    if damage == "entry":
        raw = raw.replace(b'"event":300', b'"event":301')
    elif damage == "line":
        raw = raw[: raw.index(b'{"seq":300')] + raw[raw.index(b'{"seq":301') :]
    else:
        other = opened(make_ledger(tmp_path / "other", [600]))
        assert other.origin == f"{ORIGIN}/{NAME}"
        raw = other.paths.plain(256).read_bytes().replace(b"T09:", b"T10:")
    make_writable(file).write_bytes(raw)
    for site in (tmp_path / "site", tmp_path / "fresh"):
        with pytest.raises(CorruptLedgerError, match="entry"):
            opened(path).export(site)
    assert (tmp_path / "site/checkpoint").read_bytes() == kept
    assert not (tmp_path / "fresh/checkpoint").exists()


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    """Without a checkpoint there is nothing to export; a file in the place of the directory is an error of ours."""
    partition = create(tmp_path / "l", disk=QuickDisk())
    partition.append(1)
    with pytest.raises(NotFoundError, match="tlog publish"):
        partition.export(tmp_path / "site")
    assert not (tmp_path / "site").exists()
    partition.publish()
    (tmp_path / "site").write_text("precious")
    with pytest.raises(Error):
        partition.export(tmp_path / "site")
    assert (tmp_path / "site").read_text() == "precious"
