"""add-entries: what the specification answers, and that nothing is stored, signed or taken back that should not be."""

from __future__ import annotations

import hmac
import io
import threading
from pathlib import Path

import pytest

from tests.mirroring.conftest import LINES, SIGNER, body, opened, package, pend, reading, root
from tests.statements import LOG_VKEY, ORIGIN, checkpoint, entry_lines, signing_key
from tlog.errors import ConflictError, CorruptLedgerError, Error, FormatError, ProofError, UnknownOriginError
from tlog.mirroring.mirror import Mirror, MirrorConflictError, NothingPendingError, PartialUploadError
from tlog.mirroring.upload import Package, Upload, format_upload, read_upload
from tlog.policy import Policy
from tlog.tile import Bundle, Tile
from tlog.tlogproof import ConsistencyProof
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


def test_recent_checkpoints(mirror: Mirror) -> None:
    """An upload ends at the checkpoint that it began with, though others are pending by now, without a ticket too."""
    pend(mirror, 0, 500)
    with pytest.raises(PartialUploadError):
        send(mirror, body(0, 500, packages=1))
    for old, size in ((500, 550), (550, 600), (600, 700)):
        pend(mirror, old, size)
    with pytest.raises(MirrorConflictError) as caught:
        send(mirror, body(300, 500))
    assert (caught.value.tree_size, caught.value.next_entry) == (500, 256), "its proofs are good still"
    assert send(mirror, body(256, 500))
    assert_whole(mirror, 500)
    with pytest.raises(MirrorConflictError) as caught:
        send(mirror, body(550, 550)[:60])
    assert (caught.value.tree_size, caught.value.next_entry) == (550, 500)
    assert send(mirror, body(500, 700))
    for _ in range(6):
        pend(mirror, 700, 700)
    with pytest.raises(MirrorConflictError, match="has 700 entries"):
        send(mirror, body(500, 600))
    assert_whole(mirror, 700)


def test_tickets(tmp_path: Path) -> None:
    """A ticket is good after a restart, when the mirror itself remembers the latest checkpoint only; others are not."""
    with opened(tmp_path / "m") as mirror:
        pend(mirror, 0, 600)
        with pytest.raises(PartialUploadError) as caught:
            send(mirror, body(0, 600, packages=1))
        pend(mirror, 600, 700)
    ticket = caught.value.ticket
    with opened(tmp_path / "m") as mirror:
        raw = checkpoint(LINES[:600]).raw
        own = hmac.new(b"another mirror", raw, "sha256").digest() + raw
        spoiled = [ticket[:place] + bytes([ticket[place] ^ 1]) + ticket[place + 1 :] for place in range(len(ticket))]
        for forged in (b"", b"t", ticket[:-1], ticket + b"x", ticket[32:], bytes(32) + raw, own, *spoiled):
            with pytest.raises(MirrorConflictError, match="600 is the size of no pending"):
                send(mirror, body(256, 600, ticket=forged))
        with pytest.raises(MirrorConflictError, match="599 is the size of no pending"):
            send(mirror, body(256, 599, ticket=ticket))
        assert send(mirror, body(256, 600, ticket=ticket))
        assert_whole(mirror, 600)
        assert send(mirror, body(600, 700))
        with pytest.raises(MirrorConflictError, match="has 700 entries"):  # expired: the mirror went on
            send(mirror, body(600, 600, ticket=ticket))
        assert_whole(mirror, 700)


def test_a_ticket_of_another_log(mirror: Mirror) -> None:
    """A ticket names a checkpoint of its own log only."""
    other = signing_key("other.example")
    mirror.add_log(other.verifier_key)
    lines = entry_lines(3, word="of another log")
    signed = checkpoint(lines, other, origin="other.example")
    mirror.add_checkpoint(ConsistencyProof(0, (), signed).format())
    with pytest.raises(MirrorConflictError) as caught:
        send(mirror, format_upload(Upload("other.example", 1, 3, b""), []))
    pend(mirror, 0, 700)
    with pytest.raises(MirrorConflictError, match="3 is the size of no pending"):
        send(mirror, format_upload(Upload(ORIGIN, 0, 3, caught.value.ticket), [package(0, 3, 3, lines)]))


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
    """Ranges backwards, and heads cut off anywhere, are malformed; origins that no log has are not found."""
    good = format_upload(Upload(ORIGIN, 3, 700, b"ticket"), [])
    assert read_upload(reading(good)) == Upload(ORIGIN, 3, 700, b"ticket")
    origin = len(ORIGIN).to_bytes(2, "big") + ORIGIN.encode()
    bad = [good[:cut] for cut in range(len(good))]
    bad += [good.replace((3).to_bytes(8, "big"), (701).to_bytes(8, "big"))]
    for raw in bad:
        with pytest.raises(FormatError):
            read_upload(reading(raw))
    with pytest.raises(UnknownOriginError):
        read_upload(reading(b"\0\1\xff" + good[len(origin) :]))


def test_the_canonical_sequence() -> None:
    """Packages are aligned at multiples of 256, as the specification counts them; without entries there are none."""
    for start in (0, 1, 255, 256, 257, 300, 512, 600):
        for end in range(start, 1100, 50):
            rounded_start, rounded_end = start // 256 * 256, -(-end // 256) * 256
            count = (rounded_end - rounded_start) // 256 if start < end else 0
            wanted = [
                (max(start, rounded_start + number * 256), min(end, rounded_start + (number + 1) * 256))
                for number in range(count)
            ]
            assert list(Upload(ORIGIN, start, end, b"").packages()) == wanted


def test_an_upload_without_entries(mirror: Mirror) -> None:
    """It asks for a cosignature of what is here; what stands behind its head is nobody's."""
    pend(mirror, 0, 700)
    assert send(mirror, body(0, 700))
    for rest in (b"", b"\0", b"\xff", b"rest"):
        assert send(mirror, body(700, 700) + rest)


def test_origins_that_no_log_has(mirror: Mirror) -> None:
    """Empty, very long, with a NUL: not found, and not repeated at length (404)."""
    pend(mirror, 0, 300)
    for origin in ("", "x" * 65_535, ORIGIN + "\0", ORIGIN.upper()):
        with pytest.raises(UnknownOriginError) as caught:
            send(mirror, format_upload(Upload(origin, 0, 300, b""), []))
        assert len(str(caught.value)) < 400


def test_sizes_beyond_every_tree(mirror: Mirror) -> None:
    """Any end that is no pending checkpoint's is a conflict, up to the largest number of 64 bits (409)."""
    pend(mirror, 0, 300)
    head = format_upload(Upload(ORIGIN, 0, 300, b""), [])
    for size in (1, 299, 301, 2**63 - 1, 2**63, 2**64 - 1):
        with pytest.raises(MirrorConflictError) as caught:
            send(mirror, head.replace((300).to_bytes(8, "big"), size.to_bytes(8, "big")))
        assert (caught.value.tree_size, caught.value.next_entry) == (300, 0)


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


def test_a_larger_tree_meanwhile(mirror: Mirror) -> None:
    """An upload that ends when a larger tree was mirrored takes nothing back; it is told so, and has no cosignature."""
    pend(mirror, 0, 600)
    pend(mirror, 600, 700)
    source = io.BytesIO(body(0, 600))
    is_early = True

    def read(size: int) -> bytes:
        nonlocal is_early
        data = source.read(size)
        if is_early and source.tell() > 3000:  # behind the head, which was found good
            is_early = False
            assert send(mirror, body(0, 700))
        return data

    with pytest.raises(MirrorConflictError, match="went ahead") as caught:
        mirror.add_entries(read)
    assert not isinstance(caught.value, PartialUploadError)
    assert (caught.value.tree_size, caught.value.next_entry) == (700, 700)
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


def test_what_rots_before_it_is_signed(tmp_path: Path) -> None:
    """A stored entry that is another one by the time that the tree is whole: the tree is not signed for."""
    with opened(tmp_path / "m") as mirror:
        pend(mirror, 0, 700)
        with pytest.raises(PartialUploadError):
            send(mirror, body(0, 700, packages=2))
        file = tmp_path / "m" / "logs" / origin_hash(ORIGIN) / "tile" / "entries" / "001"
        good = file.read_bytes()
        file.write_bytes(good.replace(b"event", b"evenT", 1))
        with pytest.raises(CorruptLedgerError, match="do not make the tree of size 700; move this copy away"):
            send(mirror, body(512, 700))
        assert mirror.store(ORIGIN).checkpoint() is None
        file.write_bytes(good)
        assert send(mirror, body(512, 700))
        assert_whole(mirror, 700)


def test_a_fork_is_not_pending(mirror: Mirror) -> None:
    """A checkpoint of another history is refused as a witness refuses it, and its entries too."""
    pend(mirror, 0, 300)
    assert send(mirror, body(0, 300))
    with pytest.raises(Error):
        pend(mirror, 300, 600, OTHER)
    with pytest.raises(MirrorConflictError):
        send(mirror, body(300, 600, OTHER))
    assert_whole(mirror, 300)
