"""The command `tlog`. A command's module is loaded when the command runs, so that `tlog --help` is quick."""

from __future__ import annotations

import importlib

import click

from tlog import __version__
from tlog_tools import output

SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Set up": {
        "init": ("create", "Create a ledger."),
        "keygen": ("create", "Create a partition with its key, before its first append."),
    },
    "Write": {
        "append": ("write", "Append one event, or many from standard input."),
        "publish": ("write", "Sign and publish a checkpoint over all durable entries."),
        "seal": ("write", "Compress the segments that are complete."),
    },
    "Read": {
        "get": ("read", "Print one entry."),
        "tail": ("read", "Print the last entries, or all from one on; follow new ones."),
        "query": ("query", "Find entries by their fields, times and words."),
        "list": ("read", "Print the names of the partitions, one a line."),
        "status": ("read", "Show sizes and checkpoints."),
        "stats": ("report", "Show what is in a partition: sizes, days, kinds of events."),
        "report": ("report", "Write an audit report as one HTML file, with proofs in it."),
        "index": ("index", "Show, rebuild or check the index that queries use."),
        "export": ("read", "Write a static site that any web server can serve."),
    },
    "Prove": {
        "vkey": ("prove", "Print verifier keys, for whoever is to verify."),
        "checkpoint": ("prove", "Print a signed checkpoint, for auditors to keep."),
        "prove": ("prove", "Write the proof that an entry is in the log."),
        "consistency": ("prove", "Print the proof that the log only grew."),
    },
    "Check": {
        "verify": ("check", "Check every entry, tile and checkpoint."),
        "fsck": ("check", "Rebuild and compare what is derived from the entries."),
        "restore": ("restore", "Put a lost partition together again from a copy of it."),
        "policy": ("policy", "Say what a policy asks for, and how a checkpoint meets it."),
    },
    "Serve": {
        "serve": ("serve", "Serve a ledger over HTTP: pages, proofs, and taking events."),
        "token": ("token", "Create, list and revoke the tokens by which the server knows writers."),
    },
}
"""The commands by section: the module that has each, and its line in `tlog --help`."""


class LazyGroup(click.Group, output.Program):
    """A group that imports a command's module when the command is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of all commands."""
        return [name for commands in SECTIONS.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a command, None where there is none of that name."""
        for commands in SECTIONS.values():
            if cmd_name in commands:
                module = importlib.import_module(f"tlog_tools.{commands[cmd_name][0]}")
                command = getattr(module, f"{cmd_name}_command")
                if not isinstance(command, click.Command):
                    raise AssertionError(f"{cmd_name} is no command")
                return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the sections of `tlog --help` from the table alone."""
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name, short) for name, (_, short) in commands.items()], col_max=12)


@click.group(
    "tlog",
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 verification failed, 2 usage or bad input, 3 not found, 4 input/output or "
    "unavailable, 5 policy not met. 'tlog-verify' checks proofs and checkpoints without a ledger.",
)
@click.option(
    "--ledger", metavar="DIR", envvar="TLOG_LEDGER", help="The ledger's directory; TLOG_LEDGER, else ./ledger."
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, ledger: str | None) -> None:
    """A transparency log for audit events, which outsiders can check without trusting whoever runs it."""
    ctx.obj = ledger
