"""How a checkpoint stands under a policy, member by member."""

from __future__ import annotations

from tests.statements import WITNESS_VKEYS
from tlog.policy import Policy
from tlog.standing import Member, members

NESTED = Policy.parse(
    f"witness a {WITNESS_VKEYS[0]}\n"
    f"witness b {WITNESS_VKEYS[1]}\n"
    f"witness c {WITNESS_VKEYS[2]}\n"
    "group both all a b\n"
    "group top any both c\n"
    "quorum top\n"
)


def test_each_member_in_its_order() -> None:
    """Witnesses and groups are told with what they need and what they have, and one of them is the quorum."""
    assert members(NESTED, ["b", "nobody"]) == (
        Member("a", False, 1, 0, False),
        Member("b", False, 1, 1, False),
        Member("c", False, 1, 0, False),
        Member("both", True, 2, 1, False, ("a", "b")),
        Member("top", True, 1, 0, True, ("both", "c")),
    )
    assert [member.had for member in members(NESTED, {"a", "b", "c"})] == [1, 1, 1, 2, 2]


def test_a_witness_alone_is_the_quorum() -> None:
    """Where the policy asks for one witness, that one is the quorum; where it asks for nobody, none is."""
    lines = f"witness a {WITNESS_VKEYS[0]}\nwitness b {WITNESS_VKEYS[1]}\n"
    for quorum, expected in (("b", [False, True]), ("none", [False, False])):
        policy = Policy.parse(f"{lines}quorum {quorum}\n")
        assert [member.is_quorum for member in members(policy, ())] == expected
