"""Serving: `tlog serve`."""

from __future__ import annotations

from pathlib import Path

import click

import tlog
from tlog_tools import common, output


@click.command("serve")
@click.option(
    "--bind", default="127.0.0.1:8000", show_default=True, metavar="HOST:PORT", help="Where to listen; port 0: any."
)
@common.with_ledger
@common.with_json
def serve_command(bind: str, ledger_path: Path, as_json: bool) -> int:
    """Serve checkpoints, tiles, entries and proofs over HTTP.

    Whoever reaches the address can read every partition. Put a proxy with TLS in front of it before others can. The
    server reads the ledger only, needs no private key, and ends with SIGTERM or Ctrl-C when its last answer is given.

    With --json: {"url"} when it is ready.
    """
    try:
        from tlog_server.running import serve
    except ImportError as err:
        raise tlog.StorageError("the server needs Flask and gunicorn; pip install 'tlog[server]' brings them") from err

    def ready(url: str) -> None:
        if as_json:
            output.emit_json({"url": url})
        else:
            output.emit_line(f"serving {ledger_path} at {url}")
            for name in tlog.Ledger.open(ledger_path).partitions():
                output.emit_line(f"  {url}/{name}/checkpoint")
        output.flush()

    return serve(ledger_path, bind, on_ready=ready)
