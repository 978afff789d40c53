"""A mirror over HTTP: statuses, headers and bodies of its answers, and the copy, byte for byte that of the log."""

from __future__ import annotations

import base64
import gzip
from pathlib import Path

import pytest
import zstandard
from flask.testing import FlaskClient

from tests.mirroring.conftest import LINES, SIGNER, body, opened, pend
from tests.mirroring.test_pull import Pair
from tests.statements import ORIGIN, consistency_proof
from tlog.mirroring.mirror import Mirror
from tlog.mirroring.push import INFO_TYPE
from tlog.mirroring.upload import Upload, format_upload
from tlog.note import Note, verify_line
from tlog.witnessing.request import origin_hash
from tlog_server.app import create_app
from tlog_server.mirroring import create_mirror_app

SITE = f"/{origin_hash(ORIGIN)}"
BYTES = "application/octet-stream"


@pytest.fixture
def client(mirror: Mirror) -> FlaskClient:
    """Of a mirror without entries."""
    return create_mirror_app(mirror).test_client()


def test_statuses_of_an_upload(client: FlaskClient, mirror: Mirror) -> None:
    """404, 422, 409, 400, 422, 202, 200, 409: each with its body and type, and with what may be sent compressed."""
    unknown = format_upload(Upload("x.example", 0, 3, b""), [])
    for status, raw in ((404, unknown), (422, body(0, 700))):
        assert client.post("/add-entries", data=raw).status_code == status
    pend(mirror, 0, 700)
    for start, size, info in ((0, 3, "700\n0\n"), (256, 700, "700\n0\n"), (700, 700, "700\n0\n")):
        _expect_info(client, 409, format_upload(Upload(ORIGIN, start, size, b""), []), info)
    for raw in (b"", body(0, 700)[:40], body(0, 700)[:3000], format_upload(Upload(ORIGIN, 0, 700, b""), [])):
        assert client.post("/add-entries", data=raw).status_code == 400
    assert client.post("/add-entries", data=body(0, 700).replace(b"event", b"evenT", 1)).status_code == 422
    _expect_info(client, 202, body(0, 700, packages=1), "700\n256\n")
    _expect_info(client, 202, body(256, 700)[:-1], "700\n512\n")
    done = client.post("/add-entries", data=body(512, 700), content_type=BYTES)
    assert (done.status_code, done.headers["Accept-Encoding"]) == (200, "gzip, zstd")
    text = consistency_proof(0, LINES).checkpoint.text
    (line,) = Note.parse(text + b"\n" + done.data).signatures
    verify_line(SIGNER.verifier_key, text, line)
    assert Note.parse(client.get(f"{SITE}/checkpoint").data).signatures[1] == line
    _expect_info(client, 409, body(0, 700, packages=1), "700\n700\n")
    for method in ("GET", "PUT", "DELETE"):
        for path in ("/add-entries", "/add-checkpoint"):
            assert client.open(path, method=method).status_code == 405


def _expect_info(client: FlaskClient, status: int, raw: bytes, begin: str) -> None:
    answer = client.post("/add-entries", data=raw, content_type=BYTES)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, INFO_TYPE)
    assert answer.headers["Accept-Encoding"] == "gzip, zstd"
    assert answer.text.startswith(begin)
    ticket = answer.text.removeprefix(begin)
    assert ticket.endswith("\n")
    assert base64.b64decode(ticket[:-1], validate=True)


def test_statuses_of_a_checkpoint(client: FlaskClient, mirror: Mirror) -> None:
    """200 with an empty body, never cosigned; 409 with the size; 404 of the site until there is something to serve."""
    raw = consistency_proof(0, LINES[:300]).format()
    answer = client.post("/add-checkpoint", data=raw)
    assert (answer.status_code, answer.data) == (200, b"")
    assert mirror.store(ORIGIN).checkpoint() is None
    assert client.get(f"{SITE}/checkpoint").status_code == 404
    again = client.post("/add-checkpoint", data=raw)
    assert (again.status_code, again.data, again.headers["Content-Type"]) == (409, b"300\n", "text/x.tlog.size")
    pending = mirror.pending(ORIGIN)
    assert pending is not None
    assert [line.name for line in pending.signatures] == [ORIGIN], "the log's signature is retained"
    too_large = client.post("/add-checkpoint", data=b"old 0\n" + b"x" * (2 << 20))
    assert too_large.status_code == 413


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_codings(client: FlaskClient, mirror: Mirror, coding: str) -> None:
    """A compressed upload that ends early, or is damaged, keeps what came whole before (202); nothing came: 400."""
    pack = gzip.compress if coding == "gzip" else zstandard.compress
    pend(mirror, 0, 700)
    whole = pack(body(0, 700))
    headers = {"Content-Encoding": coding}
    noise = [n * 7 % 251 for n in range(64)]
    for raw in (b"no coding", whole[:30], b""):
        assert client.post("/add-entries", data=raw, headers=headers).status_code == 400
    assert mirror.store(ORIGIN).next_entry() == 0
    first = pack(body(0, 700, packages=1))
    parts = (first[:-1], first + bytes(noise)) if coding == "gzip" else (first + bytes(noise),)
    for raw in parts:
        answer = client.post("/add-entries", data=raw, headers=headers)
        assert (answer.status_code, answer.text.split("\n")[:2]) == (202, ["700", "256"])
    assert client.post("/add-entries", data=whole, headers=headers).status_code == 200
    for path in ("/add-entries", "/add-checkpoint"):
        assert client.post(path, data=b"x", headers={"Content-Encoding": "br"}).status_code == 415


def test_the_same_bytes(tmp_path: Path) -> None:
    """Whatever the log serves for its tree, the mirror answers the same: bytes, types, tags, caching, ranges, HEAD."""
    pair = Pair(tmp_path)
    for size in (300, 700):
        pair.grow(size)
        pair.pull()
    log, copy = create_app(pair.ledger).test_client(), create_mirror_app(pair.mirror).test_client()
    paths = ["tile/0/000", "tile/0/001", "tile/0/002.p/188", "tile/1/000.p/2"]
    paths += ["tile/entries/000", "tile/entries/001", "tile/entries/002.p/188"]
    gone = [
        "tile/0/001.p/44",
        "tile/entries/001.p/44",
        "tile/0/002",
        "tile/0/003",
        "tile/1/000",
        "tile/entries/002.p/9",
    ]
    wrong = ["tile/0/3", "tile/00/000", "tile/0/000.p/0", "tile/0/000.p/256", "tile/64/000", "tile/0/x000/000", "tile/"]
    same = ("Content-Type", "ETag", "Cache-Control", "Content-Length", "Accept-Ranges", "Content-Range", "Vary")
    asked: list[dict[str, str]] = [{}, {"Range": "bytes=1-9"}, {"Range": "bytes=-4"}, {"Range": "bytes=99999999-"}]
    asked += [{"Accept-Encoding": "gzip"}, {"Accept-Encoding": "zstd"}, {"If-None-Match": "*"}]
    for path in paths:
        for headers in asked:
            for method in ("GET", "HEAD"):
                ours = log.open(f"/users/{path}", method=method, headers=headers)
                theirs = copy.open(f"/{origin_hash(pair.log.origin)}/{path}", method=method, headers=headers)
                assert theirs.status_code == ours.status_code, (path, headers)
                if ours.status_code != 416:  # there the words are a refusal's, with an id of their own
                    assert theirs.data == ours.data
                    assert [theirs.headers.get(name) for name in same] == [ours.headers.get(name) for name in same]
    for path in [*gone, *wrong, "checkpoints", "../mirror.pem", "vkey"]:
        assert copy.get(f"/{origin_hash(pair.log.origin)}/{path}").status_code == 404, path
    note = copy.get(f"/{pair.log.origin}/checkpoint")
    assert (note.headers["Content-Type"], note.headers["Cache-Control"]) == (
        "text/plain; charset=utf-8",
        "public, max-age=2",
    )
    assert (
        copy.get(
            f"/{origin_hash(pair.log.origin)}/checkpoint", headers={"If-None-Match": note.headers["ETag"]}
        ).status_code
        == 304
    )
    assert pair.policy.verify(note.data).root_hash == pair.log.checkpoint().root_hash


def test_nothing_of_a_larger_tree_is_served(client: FlaskClient, mirror: Mirror) -> None:
    """Entries that are pending are stored already, and shown when their tree is cosigned, never before."""
    pend(mirror, 0, 300)
    assert client.post("/add-entries", data=body(0, 300)).status_code == 200
    pend(mirror, 300, 700)
    assert client.post("/add-entries", data=body(256, 700, packages=1)).status_code == 202
    for path in ("tile/entries/001", "tile/0/001", "tile/entries/002.p/188"):
        assert client.get(f"{SITE}/{path}").status_code == 404
    assert client.get(f"{SITE}/tile/entries/001.p/44").status_code == 200


def test_damage_is_no_fault_of_the_client(tmp_path: Path) -> None:
    """A copy that was damaged is an outage (503) without words about files; moved away, it is made again."""
    with opened(tmp_path / "m") as mirror:
        client = create_mirror_app(mirror).test_client()
        pend(mirror, 0, 300)
        assert client.post("/add-entries", data=body(0, 300)).status_code == 200
        for name in ("checkpoint", "tile/entries/001.p/44"):
            file = tmp_path / "m" / "logs" / origin_hash(ORIGIN) / name
            good = file.read_bytes()
            file.write_bytes(b"damaged")
            answer = client.post("/add-entries", data=body(300 if name == "checkpoint" else 290, 300))
            assert (answer.status_code, str(tmp_path) in answer.text) == (503, False)
            file.write_bytes(good)
    (tmp_path / "m" / "logs").rename(tmp_path / "moved")
    with opened(tmp_path / "m") as mirror:
        client = create_mirror_app(mirror).test_client()
        assert client.get(f"{SITE}/checkpoint").status_code == 404
        assert client.post("/add-entries", data=body(0, 300)).status_code == 200
        assert client.get(f"{SITE}/tile/entries/001.p/44").status_code == 200
