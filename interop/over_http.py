"""The running server, read over HTTP by the programs in Go: at several sizes, while it grows, and through a liar."""

from __future__ import annotations

import contextlib
import http.client
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import tlog
from interop.programs import DisagreementError, Programs, Refusal, Served, accepted, require_none
from tlog.tile import TILE_HEIGHT, TILE_WIDTH, Bundle, Tile

ORIGIN = "interop.example.com/served"
PARTITION = "flask"
SEGMENT_ENTRIES = 256
SIZES = (1, 255, 256, 257, 1500, 5531)

STEP = 37
"""Entries of each step while the log grows; no divisor of a tile's width, so that every edge is another one."""

ROUNDS_GROWING = 3
TIMEOUT_S = 30


def check_server(programs: Programs, directory: Path, events: Sequence[Any]) -> Iterator[str]:
    """Serve a ledger with `tlog serve`, have it checked over HTTP, and yield what was shown, in words."""
    directory.mkdir()
    with (
        tlog.Ledger.create(directory / "ledger", origin=ORIGIN, segment_entries=SEGMENT_ENTRIES) as ledger,
        _serving(directory / "ledger") as base,
    ):
        partition = ledger.partition(PARTITION)
        partition.create()
        vkey, policy = directory / "vkey", directory / "policy"
        vkey.write_text(f"{partition.vkey}\n", encoding="utf-8")
        policy.write_bytes(tlog.Policy.for_log(partition.vkey).format())
        client = _Client(programs, base, vkey, policy)
        yield client.check_sizes(partition, events, directory)
        yield client.check_growing(partition, events)
        yield client.check_refusals(partition)


class _Client:
    """The programs in Go, pointed at a server. policy: of the partition's log alone, with the key in the file vkey."""

    def __init__(self, programs: Programs, base: str, vkey: Path, policy: Path) -> None:
        self._programs = programs
        self._base = base
        self._vkey = vkey
        self._policy = policy

    def check_sizes(self, partition: tlog.Partition, events: Sequence[Any], directory: Path) -> str:
        """Publish at each size; have everything read, and every proof file that the server makes."""
        files: list[Path] = []
        report: dict[str, Any] = {}
        for size in SIZES:
            partition.append_many(events[partition.size : size])
            checkpoint = partition.publish()
            files += self._fetch_proofs(directory, size)
            report = accepted(self._xmod(proof_files=files), "interop/go")
            theirs = accepted(self._torchwood(self._base, files), "interop/go-torchwood")
            if report["entries"] != size or theirs["entries"] != size or report["proof_files"] != len(files):
                raise DisagreementError(f"not everything was checked over HTTP: {report}, {theirs}")
            accepted(self._programs.fsck(self._site(self._base), checkpoint), "tessera's fsck")
        return (
            f"published at {', '.join(f'{size:,}' for size in SIZES)}, read over HTTP by all; {report['entries']:,} "
            f"entries, {report['hash_tiles']} tiles authenticated; {report['proof_files']} proofs fetched, all verify"
        )

    def check_growing(self, partition: tlog.Partition, events: Sequence[Any]) -> str:
        """Have the log read while it is appended to and published all the time."""
        stop = threading.Event()
        failed: list[BaseException] = []

        def grow() -> None:
            try:
                while not stop.is_set():
                    partition.append_many(events[:STEP])
                    partition.publish()
            except BaseException as err:  # noqa: BLE001 - it ends the thread, and is raised where the thread is joined
                failed.append(err)

        thread = threading.Thread(target=grow)
        thread.start()
        try:
            seen = []
            for _ in range(ROUNDS_GROWING):
                seen.append(accepted(self._xmod(), "interop/go, while the log grew")["entries"])
                read = accepted(self._torchwood(self._base, []), "interop/go-torchwood, while the log grew")
                seen.append(read["entries"])
        finally:
            stop.set()
            thread.join(TIMEOUT_S)
        if failed:
            raise DisagreementError(f"the log did not grow: {failed[0]}") from failed[0]
        if seen != sorted(seen) or len(set(seen)) < ROUNDS_GROWING:
            raise DisagreementError(f"the log was to grow while it was read, but had {seen} entries")
        return f"while it grew, trees of {', '.join(f'{size:,}' for size in seen)} entries were read and authenticated"

    def check_refusals(self, partition: tlog.Partition) -> str:
        """Put a proxy between that flips one bit of one resource; all programs must refuse."""
        checkpoint = partition.checkpoint()
        paths = _sample(checkpoint.tree_size)
        with _Liar.running(self._base) as liar:
            accepted(self._programs.fsck(self._site(liar.url), checkpoint), "tessera's fsck, through the proxy")
            accepted(self._torchwood(liar.url, []), "interop/go-torchwood, through the proxy")
            accepted(self._xmod(liar.url), "interop/go, through the proxy")
            for path in paths:
                liar.target = f"/{PARTITION}/{path}"
                liar.lies = 0
                verdicts = {"interop/go": not isinstance(self._xmod(liar.url), Refusal)}
                if path != "vkey":  # the others' key comes from us: they do not read the one that is served
                    refused = isinstance(self._programs.fsck(self._site(liar.url), checkpoint), Refusal)
                    verdicts["tessera's fsck"] = not refused
                    verdicts["torchwood"] = not isinstance(self._torchwood(liar.url, []), Refusal)
                require_none(verdicts, f"a bit flipped on the way in {path}")
                if liar.lies < len(verdicts):
                    raise DisagreementError(f"{path} was read {liar.lies} times by {len(verdicts)} programs")
        return f"a bit flipped on the way is refused, in each of {len(paths)} resources: {', '.join(paths)}"

    def _fetch_proofs(self, directory: Path, size: int) -> list[Path]:
        """Write the proofs that the server makes for a published size as files; return them."""
        found = []
        for index in sorted({0, size // 2, size - 1}):
            text = _get(self._base, f"/{PARTITION}/proof/inclusion?index={index}&size={size}")
            found.append(directory / f"{index}-{size}.tlog-proof")
            found[-1].write_bytes(text)
        signed = _get(self._base, f"/{PARTITION}/checkpoint")
        (directory / f"{size}.checkpoint").write_bytes(signed)
        for old in SIZES[: SIZES.index(size) + 1]:
            text = _get(self._base, f"/{PARTITION}/proof/consistency?old={old}&new={size}")
            found.append(directory / f"{old}-{size}.consistency")
            found[-1].write_bytes(text)
            found[-1].with_suffix(".old").write_bytes((directory / f"{old}.checkpoint").read_bytes())
        return found

    def _site(self, base: str) -> Served:
        return Served(f"{base}/{PARTITION}", self._vkey)

    def _xmod(self, base: str = "", proof_files: Sequence[Path] = ()) -> dict[str, Any] | Refusal:
        return self._programs.xmod(self._site(base or self._base), proof_files=proof_files)

    def _torchwood(self, base: str, files: Sequence[Path]) -> dict[str, Any] | Refusal:
        proofs = [path for path in files if path.suffix == ".tlog-proof"]
        return self._programs.torchwood(self._policy, site=self._site(base), proof_files=proofs)


@contextlib.contextmanager
def _serving(ledger: Path) -> Iterator[str]:
    """Run `tlog serve` on a free port; yield its URL. It must end well when it is told to."""
    program = str(Path(sys.executable).parent / "tlog")
    command = [program, "serve", "--ledger", str(ledger), "--bind", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None:
            raise AssertionError("the server was started with its output in a pipe")
        try:
            url = re.search(r"http://\S+", process.stdout.readline())
            if url is None:
                raise DisagreementError("tlog serve does not tell its URL")
            yield url[0]
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(TIMEOUT_S)
    if status != 0:
        raise DisagreementError(f"tlog serve ended with status {status}")


def _get(base: str, target: str) -> bytes:
    """Return the body of an answer, without content coding. Raises: DisagreementError unless the status is 200."""
    status, _, body = _ask(base, target)
    if status != http.HTTPStatus.OK:
        raise DisagreementError(f"{target}: the server answers {status}: {body[:200]!r}")
    return body


def _ask(base: str, target: str) -> tuple[int, str, bytes]:
    """Return status, content type and body."""
    connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=TIMEOUT_S)
    try:
        connection.request("GET", target, headers={"Accept-Encoding": "identity"})
        response = connection.getresponse()
        return response.status, response.headers["Content-Type"], response.read()
    finally:
        connection.close()


class _Liar(ThreadingHTTPServer):
    """A proxy that flips the lowest bit of the middle byte of one resource. lies: how often it did."""

    daemon_threads = True
    request_queue_size = 128  # the programs open many connections at once; the default makes them wait for seconds

    def __init__(self, base: str) -> None:
        super().__init__(("127.0.0.1", 0), _LiarHandler)
        self.base = base
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.target = ""
        self.lies = 0

    @classmethod
    @contextlib.contextmanager
    def running(cls, base: str) -> Iterator[_Liar]:
        """Run one in front of a server for a `with` block."""
        with cls(base) as liar:
            thread = threading.Thread(target=liar.serve_forever)
            thread.start()
            try:
                yield liar
            finally:
                liar.shutdown()
                thread.join(TIMEOUT_S)


class _LiarHandler(BaseHTTPRequestHandler):
    server: _Liar

    def do_GET(self) -> None:
        """Pass the request on, and the answer back."""
        status, content_type, body = _ask(self.server.base, self.path)
        if self.path == self.server.target:
            self.server.lies += 1
            flipped = bytearray(body)
            flipped[len(flipped) // 2] ^= 1
            body = bytes(flipped)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def _sample(tree_size: int) -> list[str]:
    """Return checkpoint, key, the first and the last tile of each level, and the first and the last bundle."""
    places: set[Tile | Bundle] = set()
    level = 0
    while count := tree_size >> TILE_HEIGHT * level:
        last = ((count - 1) // TILE_WIDTH, (count - 1) % TILE_WIDTH + 1)
        places |= {Tile(level, 0, min(count, TILE_WIDTH)), Tile(level, *last)}
        if level == 0:
            places |= {Bundle(0, min(count, TILE_WIDTH)), Bundle(*last)}
        level += 1
    return ["checkpoint", "vkey", *sorted(place.path for place in places)]
