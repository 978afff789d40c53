"""Help, laziness, and how the programs are called."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

import tlog
from tests.tools.conftest import Shell, modules_after
from tlog_tools.main import SECTIONS, cli
from tlog_tools.verify import main

COMMANDS = {name: short for commands in SECTIONS.values() for name, (_, short) in commands.items()}


def test_help_lists_every_command() -> None:
    """`tlog --help` has a line for each command, made without loading any."""
    result = CliRunner().invoke(cli, ["--help"])
    assert result.exit_code == 0
    for name, short in COMMANDS.items():
        assert f"  {name}" in result.stdout
        assert short in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(name: str) -> None:
    """Each command has help, begins it with the line of `tlog --help`, takes --json, and --ledger where it has one."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert (command.help or "").split("\n")[0] == COMMANDS[name]
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert f"Usage: tlog {name} " in result.stdout
    assert ("--ledger DIR" in result.stdout) == (name != "policy")
    assert "--json" in result.stdout
    assert CliRunner().invoke(cli, [name, "-h"]).stdout == result.stdout


def test_help_of_tlog_verify() -> None:
    """`tlog-verify --help` shows its options and exit codes."""
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert all(word in result.stdout for word in ("--proof", "--consistency", "--checkpoint", "--policy", "Exit codes"))


def test_help_loads_no_library() -> None:
    """`tlog --help` loads no command, no storage, no cryptography, nothing that only some command needs."""
    loaded = modules_after("tlog_tools.main import cli as command", ["--help"])
    assert "tlog_tools.output" in loaded
    assert sorted(name for name in loaded if name.startswith("tlog_tools.")) == ["tlog_tools.main", "tlog_tools.output"]
    assert sorted(name for name in loaded if name.startswith("tlog.")) == ["tlog.errors"]
    assert loaded.isdisjoint({"cryptography", "msgpack", "orjson", "rich", "zstandard", "json", "asyncio", "socket"})


def test_a_command_loads_no_other_commands() -> None:
    """A command's module is loaded alone, and rich only for a terminal."""
    loaded = modules_after("tlog_tools.main import cli as command", ["list", "--ledger", "/nonexistent"])
    assert {"tlog_tools.read", "tlog.ledger"} <= loaded
    assert loaded.isdisjoint({"rich", "tlog_tools.write", "tlog_tools.prove", "tlog_tools.check", "tlog_tools.verify"})


def test_verifying_loads_no_storage_when_it_runs() -> None:
    """A whole run of `tlog-verify` loads the verifying layers only, also inside functions."""
    words = ["--proof", "/nonexistent", "--key", "log.example/a+59a9ca24+Aem5o+lQy18gbgvC2QdzfsBWnzj41U+b1x+QYqhH8Jcd"]
    loaded = modules_after("tlog_tools.verify import main as command", words)
    assert "tlog.verify" in loaded or "tlog.policy" in loaded
    assert not [name for name in loaded if name.startswith(("tlog.storage", "tlog.ledger", "tlog.partition", "flask"))]


@pytest.mark.parametrize("program", [cli, main])
def test_version(program: click.Command) -> None:
    """--version prints the version of the library."""
    result = CliRunner().invoke(program, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"{program.name} {tlog.__version__}\n")


@pytest.mark.parametrize(
    "words",
    [
        ["nosuch"],
        ["append"],
        ["append", "users"],
        ["get", "users", "-1"],
        ["get", "users", "+1"],
        ["get", "users", "01"],
        ["get", "users", "9223372036854775808"],
        ["tail", "users", "-n", "x"],
        ["tail", "users", "--follow", "--from", "1", "-n", "2"],
        ["append", "users", "1", "--skip-bad"],
        ["init"],
        ["keygen"],
        ["status", "--nosuch"],
    ],
)
def test_usage_errors(users: Shell, words: list[str]) -> None:
    """What is no command line ends with 2, and says so in JSON where JSON was asked for."""
    result = users.tlog(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr
    in_json = users.tlog(*words, "--json")
    assert in_json.exit_code == 2
    assert in_json.stderr.startswith('{"error":')


def test_the_ledger_is_found_in_order(users: Shell) -> None:
    """The command's --ledger comes before that of the group, that before TLOG_LEDGER, that before ./ledger."""
    ledger, wrong = users.ledger, users.directory / "wrong"
    assert users.tlog("--ledger", wrong, "list", "--ledger", ledger).stdout == "users\n"
    assert users.tlog("--ledger", ledger, "list", TLOG_LEDGER=str(wrong)).stdout == "users\n"
    assert users.tlog("list", TLOG_LEDGER=str(wrong)).exit_code == 3
    assert users.start("tlog", "list", TLOG_LEDGER="").stdout == "users\n"
