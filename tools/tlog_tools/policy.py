"""Policies: `tlog policy check`."""

from __future__ import annotations

from typing import Any

import click

import tlog
from tlog.note import MAX_NOTE_SIZE
from tlog.policy import MAX_POLICY_SIZE, LogSignedCheckpoint
from tlog.standing import Member, members
from tlog_tools import common, output


@click.group("policy", epilog="It takes --json. The form of policies: c2sp.org/tlog-policy.")
def policy_command() -> None:
    """Say what a policy asks for, and how a checkpoint meets it."""


@policy_command.command("check")
@click.argument("file")
@click.option("--checkpoint", metavar="FILE", help="A signed checkpoint: which members of the policy have cosigned it?")
@common.with_json
def check_command(file: str, checkpoint: str | None, as_json: bool) -> int:
    """Say in words whom a policy believes, and what it asks for; and how a checkpoint stands under it.

    Exit code 0 where the policy is well-formed and the checkpoint, if one is given, is valid under it; 5 where only the
    quorum is missing. FILE may be '-', standard input.

    With --json: {"logs", "witnesses", "groups", "quorum"}, and with --checkpoint {"origin", "tree_size", "members",
    "valid"}.
    """
    policy = tlog.Policy.parse(output.read_input(file, MAX_POLICY_SIZE, "policy"))
    if checkpoint is None:
        signed, met = None, frozenset[str]()
    elif not policy.logs:
        raise tlog.FormatError("policy", "it names no log: add 'log <vkey>'; 'tlog vkey PARTITION' prints the key")
    else:
        signed = policy.authenticate(output.read_input(checkpoint, MAX_NOTE_SIZE, "checkpoint"))
        met = _cosigners(policy, signed)
    is_valid = signed is None or policy.is_quorum(met)
    if as_json:
        shown = {} if signed is None else _fields(policy, signed, met, is_valid=is_valid)
        output.emit_json({**_policy_fields(policy), **shown})
    else:
        for line in policy.describe():
            output.emit_line(output.printable(line))
        if signed is not None:
            _print_standing(policy, signed, met, is_valid=is_valid)
    return output.DONE if is_valid else output.exit_code_of(tlog.PolicyError("the quorum is not met"))


def _cosigners(policy: tlog.Policy, signed: LogSignedCheckpoint) -> frozenset[str]:
    """Return the names, in the policy, of the witnesses that have cosigned; in `signed` they are spelled for people."""
    cosigned = {(line.key_name, line.key_id) for line in signed.cosignatures}
    return frozenset(one.name for one in policy.witnesses if (one.key.name, one.key.key_id) in cosigned)


def _text(name: str) -> str:
    """Return a name, which is octets, or a URL as JSON and terminals can have it, spelled as `Policy.describe` does."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _print_standing(policy: tlog.Policy, signed: LogSignedCheckpoint, met: frozenset[str], *, is_valid: bool) -> None:
    output.emit_line("")
    log = f"{signed.log_key.name}+{signed.log_key.key_id.hex()}"
    output.emit_line(f"the checkpoint of {signed.tree_size:,} entries is signed by {output.printable(log)}")
    for member in members(policy, met):
        mark = output.paint("met    ", "green") if member.is_met else output.paint("missing", "yellow")
        output.emit_line(f"  {mark}  {output.printable(_in_words(member))}")
    word = output.paint("valid", "green") if is_valid else output.paint("not valid", "red")
    output.emit_line(f"under this policy it is {word}: the quorum is {'' if is_valid else 'not '}met")


def _in_words(member: Member) -> str:
    kind = "group" if member.is_group else "witness"
    count = f", {member.had} of its members, {member.needed} needed" if member.is_group else ""
    return f"{kind} {_text(member.name)}{count}{' (the quorum)' if member.is_quorum else ''}"


def _policy_fields(policy: tlog.Policy) -> dict[str, Any]:
    return {
        "logs": [{"vkey": str(log.key), "url": _url(log.url)} for log in policy.logs],
        "witnesses": [
            {"name": _text(witness.name), "vkey": str(witness.key), "url": _url(witness.url)}
            for witness in policy.witnesses
        ],
        "groups": [
            {"name": _text(group.name), "threshold": group.threshold, "members": [*map(_text, group.members)]}
            for group in policy.groups
        ],
        "quorum": _text(policy.quorum),
    }


def _url(url: str | None) -> str | None:
    return None if url is None else _text(url)


def _fields(policy: tlog.Policy, signed: LogSignedCheckpoint, met: frozenset[str], *, is_valid: bool) -> dict[str, Any]:
    return {
        "origin": signed.origin,
        "tree_size": signed.tree_size,
        "members": [
            {"name": _text(member.name), "is_group": member.is_group, "needed": member.needed, "had": member.had}
            for member in members(policy, met)
        ],
        "valid": is_valid,
    }
