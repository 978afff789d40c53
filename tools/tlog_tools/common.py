"""What the commands of `tlog` share: where the ledger is, its partitions, numbers as arguments."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

import tlog
from tlog._strict import MAX_TREE_SIZE, format_base64, parse_decimal
from tlog_tools import output

DEFAULT_LEDGER = "ledger"
LEDGER_VARIABLE = "TLOG_LEDGER"
PASSPHRASE_VARIABLE = "TLOG_KEY_PASSPHRASE"  # noqa: S105 - the variable's name, not its value
PASSPHRASE_FILE_VARIABLE = "TLOG_KEY_PASSPHRASE_FILE"  # noqa: S105 - as above
MAX_PASSPHRASE_SIZE = 1024

F = TypeVar("F", bound=Callable[..., Any])


class Number(click.ParamType[int]):
    """A whole number from 0 to 2^63 - 1, as a command's argument."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number that an argument spells in its one spelling."""
        if isinstance(value, int):
            return value
        try:
            return parse_decimal(value, "number", MAX_TREE_SIZE)
        except tlog.FormatError as err:
            self.fail(err.reason, param, ctx)


def with_ledger(command: F) -> F:
    """Add `--ledger DIR`, which the command gets as the path `ledger_path`, to a command."""
    return click.option(
        "--ledger",
        "ledger_path",
        metavar="DIR",
        callback=_ledger_path,
        help=f"The ledger's directory; otherwise {LEDGER_VARIABLE}, otherwise ./{DEFAULT_LEDGER}.",
    )(command)


def with_json(command: F) -> F:
    """Add `--json`, which the command gets as the flag `as_json`, to a command."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="One JSON object a line on standard output; errors too, on standard error.",
    )(command)


def open_ledger(path: Path) -> tlog.Ledger:
    """Return the ledger at `path`, with the passphrase of its keys from the environment."""
    return tlog.Ledger.open(path, passphrase=passphrase())


def passphrase() -> bytes | None:
    """Return the passphrase that the environment holds or names a file of, None where both are unset or empty.

    Of the file's content one newline at the end is left out. Raises: FormatError where both are there, or the file is
    too large; StorageError where it cannot be read.
    """
    given = os.environb.get(PASSPHRASE_VARIABLE.encode()) or None
    path = os.environ.get(PASSPHRASE_FILE_VARIABLE)
    if not path:
        return given
    if given is not None:
        raise tlog.FormatError(PASSPHRASE_FILE_VARIABLE, f"is set, and {PASSPHRASE_VARIABLE} too; unset one of them")
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_PASSPHRASE_SIZE + 1)
    except OSError as err:
        raise tlog.StorageError(f"{path}: {err.strerror}; {PASSPHRASE_FILE_VARIABLE} names it") from err
    if len(content) > MAX_PASSPHRASE_SIZE:
        raise tlog.FormatError(path, f"is larger than the {MAX_PASSPHRASE_SIZE} bytes of a passphrase")
    return content.removesuffix(b"\n") or None


def existing(ledger: tlog.Ledger, name: str) -> tlog.Partition:
    """Return a partition that was created. Raises: NotFoundError."""
    return ledger.existing(name)


def chosen(ledger: tlog.Ledger, name: str | None) -> list[str]:
    """Return the names of the partitions to work on: the one named, otherwise all.

    Raises: NotFoundError where there is none, so that no command reports success about nothing.
    """
    names = ledger.partitions() if name is None else [existing(ledger, name).name]
    if not names:
        raise tlog.NotFoundError(f"{ledger.path}: the ledger has no partitions yet; 'tlog append NAME JSON' makes one")
    return names


def published_size(partition: tlog.Partition) -> int:
    """Return how many entries the published checkpoint covers, 0 where there is none."""
    try:
        return partition.checkpoint().tree_size
    except tlog.NotFoundError:
        return 0


def checkpoint_fields(checkpoint: tlog.Checkpoint) -> dict[str, Any]:
    """Return what `--json` says about a checkpoint; the root hash is in base64, as the checkpoint has it."""
    return {
        "origin": checkpoint.origin,
        "tree_size": checkpoint.tree_size,
        "root_hash": format_base64(checkpoint.root_hash),
    }


def for_each(
    ledger: tlog.Ledger, names: Iterable[str], as_json: bool, action: Callable[[tlog.Partition], int | None]
) -> int:
    """Run `action` on each partition, whatever happens to the others; return the first exit code that is not 0."""
    first = output.DONE
    for name in names:
        try:
            code = action(ledger.partition(name)) or output.DONE
        except tlog.Error as err:
            output.flush()
            code = output.report_error(err, program="tlog", as_json=as_json, partition=name)
        first = first or code
    return first


def _ledger_path(ctx: click.Context, _: click.Parameter, value: str | None) -> Path:
    """Return the ledger's path: the command's own option, the group's (which knows the variable), or ./ledger."""
    return Path(value or ctx.obj or DEFAULT_LEDGER)
