"""Serving: `tlog serve`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

import tlog
from tlog_tools import common, output

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: tuple[tuple[str, str, Any, dict[str, Any]], ...] = (
    ("workers", "--workers", 2, {"help": "Worker processes."}),
    ("threads", "--threads", 16, {"help": "Threads of each; as many requests are answered at once."}),
    ("max_streams", "--max-streams", 8, {"help": "Of these, how many streams of events may take, less than all."}),
    ("max_waiting", "--max-waiting", 64, {"help": "Requests that wait for a thread; more are refused with 503."}),
    ("is_read_only", "--read-only", False, {"is_flag": True, "help": "Take no events, publish nothing; needs no key."}),
    ("publish_interval_s", "--publish-interval", 1.0, {"metavar": "SECONDS", "help": "Between two checkpoints."}),
    ("max_event_bytes", "--max-event-bytes", 1 << 18, {"help": "Size of a body that has one event."}),
    ("max_batch_bytes", "--max-batch-bytes", 1 << 30, {"help": "Size of a body that has many events, decoded."}),
    ("body_timeout_s", "--body-timeout", 30.0, {"metavar": "SECONDS", "help": "How long a body may take to arrive."}),
    ("token_rate", "--token-rate", 0.0, {"metavar": "RATE", "help": "Requests a second of one token; 0 for any."}),
    ("address_rate", "--address-rate", 0.0, {"metavar": "RATE", "help": "Likewise of an address without token."}),
    ("has_access_log", "--access-log", False, {"is_flag": True, "help": "Log each request, as JSON."}),
    ("log_format", "--log-format", "text", {"type": click.Choice(["text", "json"]), "help": "Of the other messages."}),
)
"""The settings of `tlog_server.settings`, as options and as variables; a test compares the two."""


def with_settings(command: F) -> F:
    """Add an option for each setting of the server."""
    for name, option, default, words in reversed(_OPTIONS):
        variable = "TLOG_" + option.removeprefix("--").upper().replace("-", "_")
        shown = {"show_default": not words.get("is_flag", False), "show_envvar": True, **words}
        command = click.option(option, name, default=default, envvar=variable, **shown)(command)
    return command


@click.command("serve")
@click.option(
    "--bind",
    default="127.0.0.1:8000",
    show_default=True,
    metavar="HOST:PORT",
    envvar="TLOG_BIND",
    show_envvar=True,
    help="Where to listen; port 0: any.",
)
@with_settings
@common.with_ledger
@common.with_json
def serve_command(bind: str, ledger_path: Path, as_json: bool, **settings: Any) -> int:
    """Serve a ledger over HTTP: pages, proofs, and taking events.

    Whoever reaches the address can read every partition that is not private. Put a proxy with TLS in front of it before
    others can. What is appended is published every second, and indexed. SIGTERM or Ctrl-C end the server when its last
    answer is given, SIGHUP starts new worker processes.

    With --json: {"url"} when it is ready.
    """
    try:
        from tlog_server.running import serve
        from tlog_server.settings import Settings
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

    return serve(ledger_path, bind, settings=Settings(**settings), passphrase=common.passphrase(), on_ready=ready)
