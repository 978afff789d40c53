"""Who may do what over the network: `tlog token`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from tlog.access import VERBS, Token, Tokens
from tlog_tools import common, output

DAY_S = 86_400
FOREVER = "for ever"


@click.group("token", epilog="Each of them takes --ledger DIR and --json.")
def token_command() -> None:
    """Create, list and revoke the tokens by which the server knows writers.

    Every creation and every revocation is an entry of the partition tlog-system.
    """


@token_command.command("create")
@click.argument("writer")
@click.option("--append", "verbs", flag_value="append", multiple=True, help="The token may append.")
@click.option("--read", "verbs", flag_value="read", multiple=True, help="The token may read private partitions.")
@click.option("--admin", "verbs", flag_value="admin", multiple=True, help="The token may have partitions verified.")
@click.option(
    "--partition",
    "partitions",
    metavar="NAME",
    multiple=True,
    required=True,
    help="A partition for which it counts; may be repeated. '*' stands for all.",
)
@click.option("--days", type=common.Number(), help="Days until it expires; without it, it counts until it is revoked.")
@click.option(
    "--certificate",
    metavar="SUBJECT",
    help="Grant it to the client certificate with this subject, as a trusted proxy sends it, instead of a token.",
)
@common.with_ledger
@common.with_json
def create_command(
    *,
    writer: str,
    verbs: tuple[str, ...],
    partitions: tuple[str, ...],
    days: int | None,
    certificate: str | None,
    ledger_path: Path,
    as_json: bool,
) -> None:
    """Create a token and print it, once: only its hash is kept.

    WRITER is the name that is recorded, in meta.writer, in each entry that is appended with the token.

    With --json: {"token"} and what 'tlog token list --json' prints.
    """
    if not verbs:
        raise click.UsageError(f"say what it may do: one or more of {', '.join(f'--{verb}' for verb in VERBS)}")
    lifetime_s = None if days is None else days * DAY_S
    with common.open_ledger(ledger_path) as ledger:
        tokens = Tokens(ledger)
        text = None
        if certificate is None:
            text, token = tokens.create(writer, verbs, partitions, lifetime_s=lifetime_s)
        else:
            token = tokens.create_for_certificate(certificate, writer, verbs, partitions, lifetime_s=lifetime_s)
    if as_json:
        output.emit_json(({} if text is None else {"token": text}) | token.public_fields())
        return
    if text is None:
        output.say(f"created {token.id}: {_line(token)}")
    else:
        output.emit_line(text)
        output.say(f"created {token.id}: {_line(token)}; the token is shown this once and kept nowhere")


@token_command.command("list")
@common.with_ledger
@common.with_json
def list_command(ledger_path: Path, as_json: bool) -> None:
    """Print the tokens, the oldest first: id, writer, verbs, partitions, end. Never the secrets, which nobody has.

    With --json: {"id", "writer", "verbs", "partitions", "created"} of each, and "expires" and "certificate" where it
    has them.
    """
    with common.open_ledger(ledger_path) as ledger:
        for token in Tokens(ledger).list():
            if as_json:
                output.emit_json(token.public_fields())
            else:
                output.emit_line(output.printable(f"{token.id}  {_line(token)}"))


@token_command.command("revoke")
@click.argument("identifier", metavar="ID")
@common.with_ledger
@common.with_json
def revoke_command(identifier: str, ledger_path: Path, as_json: bool) -> None:
    """Revoke a token: from now on, no server takes it.

    ID is the first part of the token behind 'tlog_', as 'tlog token list' prints it.

    With --json: {"revoked", "writer"}.
    """
    with common.open_ledger(ledger_path) as ledger:
        token = Tokens(ledger).revoke(identifier)
    if as_json:
        output.emit_json({"revoked": token.id, "writer": token.writer})
    else:
        output.say(f"revoked {token.id} of {output.printable(token.writer)}")


def _line(token: Token) -> str:
    parts: Iterable[str] = (
        token.writer,
        ",".join(token.verbs),
        ",".join(token.partitions),
        FOREVER if token.expires is None else f"until {token.expires}",
        *([] if token.certificate is None else [f"certificate {token.certificate}"]),
    )
    return "  ".join(parts)
