"""Proofs, each with the checkpoint that it belongs to, and single entries.

Nothing here has to be believed: `tlog-verify` checks a proof with the log's verifier key alone. Caches may keep an
answer only where the query says all that it depends on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

from flask import Blueprint, Response

from tlog._strict import format_base64, parse_decimal, parse_hash
from tlog.checkpoint import MAX_TREE_SIZE, Checkpoint
from tlog.errors import CorruptLedgerError, Error, FormatError, NotFoundError
from tlog.hashing import leaf_hash
from tlog.index.query import Query, Value
from tlog.jsontext import encode_json
from tlog.partition import Partition
from tlog.tlogproof import ConsistencyProof, Proof
from tlog_server.answering import BYTES, IMMUTABLE, NO_STORE, TEXT, answer
from tlog_server.asking import accepted, number, parameters, parsing, partition
from tlog_server.indexes import index_of
from tlog_server.problems import RefusedError

JSON = "application/json"
PLAIN = "text/plain"
WAYS = ("index", "id", "leaf_hash")

_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)

proofs = Blueprint("proofs", __name__)


@proofs.get("/<name>/proof/inclusion")
def inclusion(name: str) -> Response:
    """The proof that an entry is in the published tree, or in an earlier one that was signed."""
    asked = parameters(*WAYS, "size")
    media_type = accepted(PLAIN, JSON)
    found = partition(name)
    size = number(asked["size"], "size") if "size" in asked else None
    proof = _prove(found, _index_of(found, asked), size)
    cache = IMMUTABLE if "index" in asked and size is not None else NO_STORE
    return _rendered(proof.format(), _inclusion_fields(proof), media_type, cache)


@proofs.get("/<name>/proof/consistency")
def consistency(name: str) -> Response:
    """The proof that the tree of `old` entries is a prefix of the published one, or of one that was signed at `new`."""
    asked = parameters("old", "new")
    media_type = accepted(PLAIN, JSON)
    found = partition(name)
    if "old" not in asked:
        raise RefusedError(400, "The parameter old is missing: the size of the tree that you know.", field="old")
    old = number(asked["old"], "old")
    new = number(asked["new"], "new") if "new" in asked else None
    try:
        proof = found.prove_consistency(old, new)
    except (NotFoundError, FormatError) as err:
        checkpoint = _checkpoint(found, new, "new")
        if old > checkpoint.tree_size:
            detail = f"old is larger than {checkpoint.tree_size}, the size of the newer tree."
            raise RefusedError(400, detail, field="old") from err
        _damaged(found, err)
    return _rendered(proof.format(), _consistency_fields(proof), media_type, NO_STORE if new is None else IMMUTABLE)


@proofs.get("/<name>/entry/<index>")
def entry(name: str, index: str) -> Response:
    """The exact bytes of an entry that is published, compared with the tree; or, as JSON, the entry with its proof."""
    parameters()
    media_type = accepted(BYTES, JSON)
    try:
        place = parse_decimal(index, "index", MAX_TREE_SIZE)
    except FormatError as err:
        raise RefusedError(404, f"index: {err.reason}", field="index") from err
    proof = _prove(partition(name), place, None)
    if media_type == JSON:
        return answer(encode_json(_inclusion_fields(proof)) + b"\n", JSON, NO_STORE, vary="Accept")
    return answer(_line(proof), BYTES, IMMUTABLE, vary="Accept")


def _index_of(found: Partition, asked: Mapping[str, str]) -> int:
    """Return the index of the entry that is asked for in one of the ways. Raises: RefusedError."""
    ways = [way for way in WAYS if way in asked]
    if len(ways) != 1:
        raise RefusedError(
            400, f"Say which entry by exactly one of {', '.join(WAYS)}.", field=ways[-1] if ways else "index"
        )
    if "leaf_hash" in asked:
        return _index_of_leaf(found, asked["leaf_hash"])
    return number(asked["index"], "index") if "index" in asked else _index_of_id(found, asked["id"])


def _index_of_leaf(found: Partition, text: str) -> int:
    """Return where the last entry with this leaf hash is, written in base64 or in hex."""
    with parsing("leaf_hash"):
        wanted = bytes.fromhex(text) if _HEX.fullmatch(text) else parse_hash(text, "leaf_hash")
    try:
        index = found.site.find_leaf(wanted)
    except NotFoundError as err:
        raise RefusedError(404, "This partition has published no checkpoint yet.", field="partition") from err
    if index is None:
        raise RefusedError(404, "No entry of the published tree has this leaf hash.", field="leaf_hash")
    return index


def _index_of_id(found: Partition, event_id: str) -> int:
    """Return where the first event with this id is. The query index says where, and the entry is read to see it."""
    with parsing("id"):
        query = Query().with_condition("id", (Value(event_id),))
    index = index_of(found)
    hit = index.first(query)
    if hit is None:
        raise RefusedError(404, f"No event with this id was found: {index.coverage()}.", field="id")
    return hit.entry.seq


def _prove(found: Partition, index: int, size: int | None) -> Proof:
    """Return the proof of an entry. Raises: RefusedError saying which trees and entries there are."""
    try:
        return found.prove(index, size)
    except NotFoundError as err:
        checkpoint = _checkpoint(found, size, "size")
        if index >= checkpoint.tree_size:
            detail = f"The tree has {checkpoint.tree_size} entries, and none with index {index}; indexes begin at 0."
            raise RefusedError(404, detail, field="index") from err
        _damaged(found, err)


def _checkpoint(found: Partition, size: int | None, field: str) -> Checkpoint:
    """Return the published checkpoint, or the one of a size. Raises: RefusedError where there is none."""
    try:
        published = found.checkpoint()
    except NotFoundError as err:
        raise RefusedError(404, "This partition has published no checkpoint yet.", field="partition") from err
    if size is None or size == published.tree_size:
        return published
    try:
        if size < published.tree_size:
            return found.checkpoint(size)
    except NotFoundError as err:
        detail = f"No checkpoint was signed at the size {size}; leave it out, or give the size of one that you hold."
        raise RefusedError(404, detail, field=field) from err
    raise RefusedError(404, f"The size {size} is larger than the published tree's, {published.tree_size}.", field=field)


def _damaged(found: Partition, err: Error) -> NoReturn:
    """Say that what must be there is not: the tree is published, and the entry is in it."""
    raise CorruptLedgerError(f"what a proof needs cannot be read ({err})", place=found.name) from err


def _line(proof: Proof) -> bytes:
    if proof.extra is None:
        raise AssertionError("a proof of the library's own has no entry")
    return proof.extra


def _inclusion_fields(proof: Proof) -> dict[str, object]:
    line = _line(proof)
    return {
        "index": proof.leaf_index,
        "leaf_hash": format_base64(leaf_hash(line)),
        "hashes": [format_base64(value) for value in proof.hashes],
        **_checkpoint_fields(proof.checkpoint),
        "entry": line.decode(),
    }


def _consistency_fields(proof: ConsistencyProof) -> dict[str, object]:
    hashes = [format_base64(value) for value in proof.hashes]
    return {"old_size": proof.old_size, "hashes": hashes, **_checkpoint_fields(proof.checkpoint)}


def _checkpoint_fields(checkpoint: Checkpoint) -> dict[str, object]:
    return {
        "tree_size": checkpoint.tree_size,
        "root_hash": format_base64(checkpoint.root_hash),
        "checkpoint": str(checkpoint),
    }


def _rendered(text: bytes, fields: dict[str, object], media_type: str, cache: str) -> Response:
    """Return a proof in the form that the client likes best."""
    if media_type == JSON:
        return answer(encode_json(fields) + b"\n", JSON, cache, vary="Accept")
    return answer(text, TEXT, cache, vary="Accept")
