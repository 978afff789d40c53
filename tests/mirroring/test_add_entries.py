"""add-entries: what the specification answers, and that nothing is stored, signed or taken back that should not be."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.mirroring.conftest import LINES, SIGNER, body, opened, package, pend, reading, root
from tests.statements import LOG_VKEY, ORIGIN, checkpoint, entry_lines
from tlog.errors import ConflictError, Error, FormatError, ProofError, UnknownOriginError
from tlog.mirroring.mirror import Mirror, MirrorConflictError, NothingPendingError, PartialUploadError
from tlog.mirroring.upload import Package, Upload, format_upload, read_upload
from tlog.policy import Policy
from tlog.tile import Bundle, Tile
from tlog.witnessing.request import origin_hash

OTHER = entry_lines(700, word="other")


def send(mirror: Mirror, raw: bytes) -> tuple[object, ...]:
    """Send a request."""
    return mirror.add_entries(reading(raw))


def assert_whole(mirror: Mirror, size: int) -> None:
    """The copy is the tree of `size`: cosigned checkpoint, every tile and bundle, nothing but the log's lines."""
    store = mirror.store(ORIGIN)
    found = store.checkpoint()
    assert found is not None
    policy = Policy.parse(f"log {LOG_VKEY}\nwitness m {SIGNER.verifier_key}\nquorum m\n")
    assert (policy.verify(found.raw).tree_size, found.root_hash) == (size, root(size))
    reader = store.reader()
    assert reader is not None
    assert reader.root_at(size) == root(size)
    for index in range(-(-size // 256)):
        width = min(256, size - index * 256)
        assert store.entries(index, width) == LINES[index * 256 : index * 256 + width]
        reader.leaf_hashes(index)
        store.read(Bundle(index, width))
        store.read(Tile(0, index, width))


def test_a_log_is_copied(mirror: Mirror) -> None:
    """In one request, in the next one from the middle of a bundle, and once more with nothing new."""
    seen = 0
    for size in (3, 256, 300, 512, 700):
        pend(mirror, seen, size)
        assert send(mirror, body(seen, size))
        assert_whole(mirror, size)
        seen = size
    assert send(mirror, body(700, 700))
    assert_whole(mirror, 700)


def test_in_parts(mirror: Mirror) -> None:
    """A prefix of the packages is kept, and the answer says how to go on (202)."""
    pend(mirror, 0, 700)
    with pytest.raises(PartialUploadError) as caught:
        send(mirror, body(0, 700, packages=1))
    assert (caught.value.tree_size, caught.value.next_entry) == (700, 256)
    with pytest.raises(PartialUploadError) as caught:
        send(mirror, body(256, 700)[:-1])
    assert caught.value.next_entry == 512
    assert mirror.store(ORIGIN).checkpoint() is None, "nothing is signed before all is here"
    assert send(mirror, body(512, 700))
    assert_whole(mirror, 700)


def test_every_interruption(mirror: Mirror) -> None:
    """A body cut off anywhere: whole packages stay, nothing else, and the upload goes on from there."""
    pend(mirror, 0, 600)
    whole = body(0, 600)
    step = len(whole) // 40
    for cut in range(0, len(whole), step):
        try:
            send(mirror, whole[:cut])
        except (PartialUploadError, FormatError):
            pass
        except MirrorConflictError:
            break
        assert mirror.store(ORIGIN).checkpoint() is None
        assert mirror.store(ORIGIN).next_entry() in (0, 256, 512)
    following = mirror.store(ORIGIN).next_entry()
    assert send(mirror, body(following, 600))
    assert_whole(mirror, 600)


def test_statuses(mirror: Mirror) -> None:
    """Each refusal of the specification, before anything is stored."""
    with pytest.raises(NothingPendingError):  # 422
        send(mirror, body(0, 300))
    pend(mirror, 0, 300)
    with pytest.raises(UnknownOriginError):  # 404
        send(mirror, format_upload(Upload("x.example", 0, 300, b""), []))
    for start, size in ((0, 299), (1, 300), (256, 300)):  # 409: no such checkpoint, entries missing
        with pytest.raises(MirrorConflictError) as caught:
            send(mirror, body(start, size))
        assert not isinstance(caught.value, PartialUploadError)
        assert (caught.value.tree_size, caught.value.next_entry) == (300, 0)
    with pytest.raises(FormatError):  # 400
        send(mirror, body(0, 300)[:2000])
    with pytest.raises(ProofError):  # 422
        send(mirror, body(0, 300, OTHER))
    assert mirror.store(ORIGIN).next_entry() == 0
    pend(mirror, 300, 700)
    send_all = body(0, 700)
    assert send(mirror, send_all)
    with pytest.raises(MirrorConflictError):  # 409: smaller than the mirror's
        send(mirror, body(0, 300))
    with pytest.raises(MirrorConflictError):  # 409: too many that are here already
        send(mirror, send_all)


def test_tickets(mirror: Mirror) -> None:
    """With its ticket an upload ends at the checkpoint that it began with, though another one is pending by now."""
    pend(mirror, 0, 600)
    with pytest.raises(PartialUploadError) as caught:
        send(mirror, body(0, 600, packages=1))
    pend(mirror, 600, 700)
    ticket = caught.value.ticket
    with pytest.raises(MirrorConflictError):
        send(mirror, body(256, 600))
    for forged in (b"x" * 32 + ticket[32:], ticket[:-1], b"t", checkpoint(OTHER[:600]).raw):
        with pytest.raises(MirrorConflictError):
            send(mirror, body(256, 600, ticket=forged))
    assert send(mirror, body(256, 600, ticket=ticket))
    assert_whole(mirror, 600)
    assert send(mirror, body(600, 700))
    assert_whole(mirror, 700)


@pytest.mark.parametrize("what", ["entry", "hash", "count", "more hashes", "swapped"])
def test_tampered_packages(mirror: Mirror, what: str) -> None:
    """One bit of an entry or a hash, a hash too many, entries in another order: refused, and not stored."""
    pend(mirror, 0, 700)
    good = package(0, 256, 700)
    entries, hashes = list(good.entries), list(good.hashes)
    if what == "entry":
        entries[100] = entries[100].replace(b"event", b"evenT")
    elif what == "hash":
        hashes[0] = bytes(32)
    elif what == "count":
        hashes.pop()
    elif what == "more hashes":
        hashes.append(bytes(32))
    else:
        entries[1], entries[2] = entries[2], entries[1]
    changed = replace_package(good, entries, hashes)
    with pytest.raises(ProofError):
        send(mirror, format_upload(Upload(ORIGIN, 0, 700, b""), [changed]))
    assert mirror.store(ORIGIN).next_entry() == 0


def replace_package(good: Package, entries: list[bytes], hashes: list[bytes]) -> Package:
    """Return a package with other contents."""
    return good._replace(entries=tuple(entries), hashes=tuple(hashes))


def test_heads_that_are_none() -> None:
    """Ranges backwards or beyond 2^63, origins that are empty, too long or not UTF-8, and heads cut off anywhere."""
    good = format_upload(Upload(ORIGIN, 3, 700, b"ticket"), [])
    assert read_upload(reading(good)) == Upload(ORIGIN, 3, 700, b"ticket")
    origin = len(ORIGIN).to_bytes(2, "big") + ORIGIN.encode()
    bad = [good[:cut] for cut in range(len(good))]
    bad += [good.replace((3).to_bytes(8, "big"), (701).to_bytes(8, "big")), origin + b"\xff" * 16 + b"\0\0"]
    rest = good[len(origin) :]
    bad += [b"\0\0" + rest, b"\0\1\xff" + rest, b"\x01\x00" + b"x" * 256 + rest]
    for raw in bad:
        with pytest.raises(FormatError):
            read_upload(reading(raw))


def test_concurrent_uploads(mirror: Mirror) -> None:
    """Eight clients at once, each with its own parts: one whole copy."""
    pend(mirror, 0, 700)
    errors: list[BaseException] = []

    def upload() -> None:
        try:
            for _ in range(20):
                following = mirror.store(ORIGIN).next_entry()
                try:
                    send(mirror, body(min(following, 700), 700, packages=1))
                except PartialUploadError:
                    continue
                except ConflictError:
                    continue
                return
        except BaseException as err:
            errors.append(err)
            raise

    threads = [threading.Thread(target=upload) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert_whole(mirror, 700)


def test_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    """What was stored is there after a restart, in the middle of an upload and after one."""
    with opened(tmp_path / "m") as mirror:
        pend(mirror, 0, 700)
        with pytest.raises(PartialUploadError):
            send(mirror, body(0, 700, packages=2))
    with opened(tmp_path / "m") as mirror:
        assert mirror.store(ORIGIN).next_entry() == 512
        assert send(mirror, body(512, 700))
    with opened(tmp_path / "m") as mirror:
        assert_whole(mirror, 700)
        assert (tmp_path / "m" / "logs" / origin_hash(ORIGIN) / "checkpoint").exists()


def test_a_fork_is_not_pending(mirror: Mirror) -> None:
    """A checkpoint of another history is refused as a witness refuses it, and its entries too."""
    pend(mirror, 0, 300)
    assert send(mirror, body(0, 300))
    with pytest.raises(Error):
        pend(mirror, 300, 600, OTHER)
    with pytest.raises(MirrorConflictError):
        send(mirror, body(300, 600, OTHER))
    assert_whole(mirror, 300)
