"""Pushing: a log's operator uploads to a mirror what it has not, with `add-checkpoint` and then `add-entries`.

Source: c2sp.org/tlog-mirror, section "Updating a Mirror".
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from itertools import islice

from tlog._strict import MAX_TREE_SIZE, parse_base64, parse_decimal
from tlog.checkpoint import Checkpoint
from tlog.errors import FormatError, StorageError
from tlog.integrate import Progress
from tlog.keys import VerifierKey
from tlog.mirroring.upload import MAX_PACKAGES, Package, Upload, format_upload
from tlog.note import Note, NoteSignature, open_note
from tlog.partition import Partition
from tlog.proof import build, plan_nodes
from tlog.reader import TileReader
from tlog.subtree import plan_subtree_consistency
from tlog.tile import TILE_WIDTH
from tlog.witnessing.transport import Reply
from tlog.witnessing.web import WebTransport

INFO_TYPE = "text/x.tlog.mirror-info"
SIZE_TYPE = "text/x.tlog.size"
TIMEOUT_S = 60.0
MAX_ANSWER_SIZE = 1 << 17
GZIP_LEVEL = 6
MAX_REFUSALS = 8
"""Answers that do not name a later place to go on from."""


def push(
    partition: Partition,
    url: str,
    transport: WebTransport,
    keys: Sequence[VerifierKey] = (),
    progress: Progress | None = None,
) -> tuple[NoteSignature, ...]:
    """Upload the published tree of a partition to a mirror; return the mirror's cosignatures of it.

    url: the mirror's submission prefix. keys: whose cosignatures are returned, verified; lines of others are passed
    over. progress: told how many entries the mirror has. Raises: NotFoundError where nothing is published; StorageError
    where the mirror cannot be reached or refuses; FormatError where its answers are none of the protocol;
    UntrustedNoteError, SignatureError where there are keys, and none has cosigned; as `TileReader.read_nodes`.
    Memory: 32 bundles.
    """
    checkpoint = partition.checkpoint()
    tree = TileReader(partition.tiles, checkpoint.tree_size, checkpoint.root_hash)
    base = url.rstrip("/")
    _pend(partition, checkpoint, base, transport)
    start, ticket, refusals = checkpoint.tree_size, b"", 0
    while True:
        upload = Upload(checkpoint.origin, start, checkpoint.tree_size, ticket)
        packages = list(islice(_packages(partition, tree, upload), MAX_PACKAGES))
        reply = transport.send(
            f"{base}/add-entries",
            gzip.compress(format_upload(upload, packages), GZIP_LEVEL),
            limit=MAX_ANSWER_SIZE,
            timeout_s=TIMEOUT_S,
            headers={"Content-Type": "application/octet-stream", "Content-Encoding": "gzip"},
        )
        if reply.status == 200:
            return _cosignatures(checkpoint, reply.body, keys)
        if reply.status not in {202, 409} or reply.content_type != INFO_TYPE:
            raise _refused(reply)
        size, following, ticket = _info(reply.body)
        refusals += following <= start
        if size != checkpoint.tree_size or refusals > MAX_REFUSALS:
            raise StorageError(
                f"the mirror wants another checkpoint, of size {size}; push again when that is published"
            )
        start = min(following, checkpoint.tree_size)
        if progress is not None:
            progress(start)


def _pend(partition: Partition, checkpoint: Checkpoint, base: str, transport: WebTransport) -> None:
    """Make the checkpoint pending, from the size that the mirror names."""
    old_size = 0
    for _ in range(3):
        proof = partition.prove_consistency(old_size)
        reply = transport.send(f"{base}/add-checkpoint", proof.format(), limit=MAX_ANSWER_SIZE, timeout_s=TIMEOUT_S)
        if reply.status == 200:
            return
        if reply.status != 409 or reply.content_type != SIZE_TYPE:
            raise _refused(reply)
        old_size = parse_decimal(reply.body.decode("ascii", "replace").removesuffix("\n"), "size", MAX_TREE_SIZE)
        if old_size > checkpoint.tree_size:
            raise StorageError(
                f"the mirror has seen {old_size} entries of this log, and {checkpoint.tree_size} are here"
            )
    raise StorageError("the mirror names another size each time")


def _packages(partition: Partition, tree: TileReader, upload: Upload) -> Iterator[Package]:
    """Yield the packages of an upload, with their proofs."""
    for start, end in upload.packages():
        lines = tuple(line for chunk in partition.segments.chunks(start, end) for line in chunk)
        plan = plan_subtree_consistency(start - start % TILE_WIDTH, end, upload.end)
        yield Package(lines, build(plan, tree.read_nodes(plan_nodes(plan))))


def _cosignatures(checkpoint: Checkpoint, body: bytes, keys: Sequence[VerifierKey]) -> tuple[NoteSignature, ...]:
    """Return the lines of an answer that verify under `keys`. Raises: as `push`."""
    note = Note.parse(checkpoint.text + b"\n" + body)
    return tuple(line for _, line in open_note(note, keys).verified) if keys else ()


def _info(body: bytes) -> tuple[int, int, bytes]:
    """Return the size, the next entry and the ticket of a mirror's answer. Raises: FormatError."""
    lines = body.decode("ascii", "replace").split("\n")
    if len(lines) != 4 or lines[3]:
        raise FormatError("mirror-info", f"{body[:80]!r} are not three lines")
    numbers = [parse_decimal(line, "mirror-info", MAX_TREE_SIZE) for line in lines[:2]]
    return numbers[0], numbers[1], parse_base64(lines[2], "mirror-info: ticket")


def _refused(reply: Reply) -> StorageError:
    return StorageError(f"the mirror answered {reply.status}: {reply.body[:200].decode('utf-8', 'replace').strip()!r}")
