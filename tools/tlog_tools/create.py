"""Setting up: `tlog init` and `tlog keygen`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

import tlog
from tlog_tools import common, output


@click.command("init")
@click.argument("directory", metavar="[DIR]", required=False)
@click.option(
    "--origin", required=True, help="What the origins of all partitions begin with, such as audit.example.com."
)
@click.option(
    "--post-quantum", is_flag=True, help="Sign checkpoints with ML-DSA-44 too, beside Ed25519; 3.3 kB more each."
)
@common.with_ledger
@common.with_json
def init_command(directory: str | None, origin: str, post_quantum: bool, ledger_path: Path, as_json: bool) -> None:
    """Create a ledger.

    DIR is its directory; without it, the ledger that --ledger, TLOG_LEDGER or ./ledger name. The origin is the name
    under which verifiers know the log for ever: use a domain that you own, without scheme.
    """
    path = Path(directory) if directory is not None else ledger_path
    with tlog.Ledger.create(path, origin=origin, post_quantum=post_quantum) as ledger:
        if as_json:
            output.emit_json({"ledger": str(ledger.path), "origin": ledger.config.origin})
        else:
            output.say(f"created a ledger in {ledger.path}; the log of a partition NAME is {origin}/NAME")


@click.command("keygen")
@click.argument("partition")
@click.option("--passphrase", "encrypt", is_flag=True, help="Encrypt the private key; the passphrase is asked for.")
@common.with_ledger
@common.with_json
def keygen_command(partition: str, encrypt: bool, ledger_path: Path, as_json: bool) -> None:
    """Create a partition with its key, before its first append.

    Prints the verifier key. Without this command the first append creates the key. The passphrase is taken from
    TLOG_KEY_PASSPHRASE, and the key is encrypted wherever that is set; publishing needs it again.
    """
    with common.open_ledger(ledger_path) as ledger:
        secret = common.passphrase()
        if encrypt and secret is None:
            secret = _ask_passphrase()
        vkey = ledger.partition(partition).create(secret)
        if as_json:
            output.emit_json({"partition": partition, "vkey": str(vkey), "encrypted": secret is not None})
        else:
            output.emit_line(str(vkey))


def _ask_passphrase() -> bytes:
    if not sys.stdin.isatty():
        raise click.UsageError(f"there is no terminal to ask for the passphrase: set {common.PASSPHRASE_VARIABLE}")
    answer: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True)
    return answer.encode("utf-8", "surrogateescape")
