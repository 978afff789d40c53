"""Witnesses on real ports, honest ones and others, and a ledger that asks them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from tlog.keys import VerifierKey
from tlog.ledger import Ledger
from tlog.partition import Partition
from tlog.witnessing.home import WitnessHome
from tlog.witnessing.witness import Witness
from tlog_server.witnessing import create_witness_app

WSGI = Callable[[dict[str, Any], Any], Iterable[bytes]]


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
        """Say nothing."""


@contextlib.contextmanager
def served(app: Flask | WSGI, port: int = 0) -> Iterator[str]:
    """Serve an application on a port of its own; yields its URL."""
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def new_witness(directory: Path, name: str, *logs: VerifierKey, post_quantum: bool = False) -> Witness:
    """Return a new witness that knows these logs."""
    home = WitnessHome(directory)
    home.create(name, post_quantum=post_quantum)
    witness = home.open()
    for log in logs:
        witness.add_log(log)
    return witness


def policy_text(quorum: str, members: Sequence[tuple[str, VerifierKey, str | None]]) -> str:
    """Return the text of a policy with a group `g` of all witnesses; quorum: any, all or a number."""
    lines = [f"witness {name} {vkey} {url or ''}".rstrip() for name, vkey, url in members]
    return "\n".join([*lines, f"group g {quorum} {' '.join(name for name, _, _ in members)}", "quorum g", ""])


def witnessed_ledger(directory: Path, policy: str) -> tuple[Ledger, Partition]:
    """Return a new ledger whose checkpoints need this policy's quorum, and its partition `users` with 3 entries."""
    ledger = Ledger.create(directory, origin="audit.example.com")
    ledger.close()
    (directory / "witnesses.policy").write_text(policy)
    config = directory / "tlog.toml"
    config.write_text(config.read_text() + '\nwitnesses = "witnesses.policy"\n')
    ledger = Ledger.open(directory)
    partition = ledger.partition("users")
    partition.append_many({"n": number} for number in range(3))
    return ledger, partition


def honest(witness: Witness) -> Flask:
    """Return the application of an honest witness."""
    return create_witness_app(witness)
