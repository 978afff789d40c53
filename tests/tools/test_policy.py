"""`tlog policy check`: a policy in words, and how a checkpoint stands under it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.statements import (
    LOG,
    LOG_VKEY,
    POLICY_EXAMPLE,
    TIMESTAMP_S,
    WITNESS_VKEYS,
    checkpoint,
    entry_lines,
    witness_key,
)
from tests.tools.conftest import Shell, objects, ok
from tlog.policy import Policy
from tlog.standing import members

SIGNED = checkpoint(entry_lines(3))
NAMES = ["X1", "X2", "X3", "Y1", "Y2", "Y3"]


@pytest.fixture
def policy(shell: Shell) -> Path:
    """The example of c2sp.org/tlog-policy."""
    return shell.write("policy", POLICY_EXAMPLE)


def cosigned(shell: Shell, *numbers: int) -> Path:
    """A checkpoint with the cosignatures of these witnesses."""
    return shell.write("checkpoint", SIGNED.sign(*map(witness_key, numbers), timestamp_s=TIMESTAMP_S).raw)


def test_in_words(shell: Shell, policy: Path) -> None:
    """Each log, witness and group, and the quorum, in words."""
    shown = ok(shell.tlog("policy", "check", policy))
    for words in ("is believed", "group X-witnesses is 2 of 3: X1, X2, X3", "quorum: X-and-Y, 2 of 2"):
        assert words in shown
    fields = objects(ok(shell.tlog("policy", "check", policy, "--json")))[0]
    assert [witness["name"] for witness in fields["witnesses"]] == NAMES
    assert (fields["quorum"], len(fields["logs"])) == ("X-and-Y", 1)


def test_a_checkpoint_under_it(shell: Shell, policy: Path) -> None:
    """Which members are met is said one by one; the exit code is 5 where only the quorum is missing."""
    met = shell.tlog("policy", "check", policy, "--checkpoint", cosigned(shell, 1, 3, 5))
    assert met.exit_code == 0
    assert "under this policy it is valid: the quorum is met" in met.stdout
    short = shell.tlog("policy", "check", policy, "--checkpoint", cosigned(shell, 1, 5))
    assert short.exit_code == 5
    assert "missing  group X-witnesses, 1 of its members, 2 needed" in short.stdout
    assert "met      group Y-witnesses, 1 of its members, 1 needed" in short.stdout
    assert "missing  group X-and-Y, 1 of its members, 2 needed (the quorum)" in short.stdout
    fields = objects(shell.tlog("policy", "check", policy, "--checkpoint", cosigned(shell, 1, 5), "--json").stdout)[0]
    assert (fields["valid"], fields["tree_size"]) == (False, 3)


def test_what_is_no_policy_or_no_checkpoint_of_it(shell: Shell, policy: Path) -> None:
    """Bad policies, and checkpoints that the log did not sign, are refused with their reasons."""
    bad = shell.tlog("policy", "check", shell.write("bad", "quorum x\n"))
    assert bad.exit_code == 2
    assert "policy line 1" in bad.stderr
    forged = replace(SIGNED, root_hash=bytes(32))
    assert shell.tlog("policy", "check", policy, "--checkpoint", shell.write("c", forged.raw)).exit_code == 1


def test_names_are_octets(shell: Shell) -> None:
    r"""A witness whose name is the octet 0xFF, and one whose name is a backslash, x, f and f: the right one counts."""
    one, other = WITNESS_VKEYS[1].encode(), WITNESS_VKEYS[2].encode()
    text = b"log %b\nwitness \xff %b\nwitness \\xff %b\nquorum \xff\n" % (LOG_VKEY.encode(), one, other)
    policy = shell.write("octets", text)
    for number, code in ((1, 0), (2, 5)):
        signed = cosigned(shell, number)
        checked = shell.tlog("policy", "check", policy, "--checkpoint", signed)
        assert checked.exit_code == code == shell.verify("--checkpoint", signed, "--policy", policy).exit_code
        assert f"{'met    ' if number == 1 else 'missing'}  witness \\xff (the quorum)" in checked.stdout
        fields = objects(shell.tlog("policy", "check", policy, "--checkpoint", signed, "--json").stdout)[0]
        assert fields["valid"] == (number == 1)
        assert [member["had"] for member in fields["members"]] == [2 - number, number - 1]


def test_a_policy_without_a_log(shell: Shell) -> None:
    """The policy that a log's operator has may name witnesses only; what is missing for a checkpoint is said."""
    policy = shell.write("witnesses", f"witness w {WITNESS_VKEYS[1]}\nquorum w\n")
    assert "no log is believed" in ok(shell.tlog("policy", "check", policy))
    checked = shell.tlog("policy", "check", policy, "--checkpoint", cosigned(shell, 1))
    assert checked.exit_code == 2
    assert "it names no log: add 'log <vkey>'" in checked.stderr


@given(st.sets(st.sampled_from(NAMES)))
def test_members_agree_with_the_quorum(names: set[str]) -> None:
    """For every set of witnesses, the quorum's member is met exactly where the policy says so."""
    policy = Policy.parse(POLICY_EXAMPLE)
    (quorum,) = [member for member in members(policy, names) if member.is_quorum]
    assert quorum.is_met == policy.is_quorum(names)
    assert LOG.verifier_key in [log.key for log in policy.logs]
