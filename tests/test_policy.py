"""Trust policies: parsing, formatting, describing."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.statements import (
    LOG,
    LOG_VKEY,
    ORIGIN,
    POLICY_EXAMPLE,
    TIMESTAMP_S,
    checkpoint,
    colliding_keys,
    entry_lines,
    signing_key,
    witness_key,
)
from tests.statements import WITNESS_VKEYS as W
from tlog.errors import Error, FormatError, PolicyError
from tlog.keys import ED25519_COSIGNATURE, ED25519_NOTE, VerifierKey
from tlog.policy import (
    MAX_ITEMS,
    MAX_POLICY_SIZE,
    Policy,
    PolicyGroup,
    PolicyLog,
    PolicyWitness,
)

LEAVES = entry_lines(3)
CHECKPOINT = checkpoint(LEAVES)


def test_specification_example() -> None:
    """The example of c2sp.org/tlog-policy, with keys filled in, means what the specification says."""
    policy = Policy.parse(POLICY_EXAMPLE)
    assert [str(log.key) for log in policy.logs] == [LOG_VKEY]
    assert [(witness.name, str(witness.key), witness.url) for witness in policy.witnesses] == [
        ("X1", W[1], None),
        ("X2", W[2], None),
        ("X3", W[3], None),
        ("Y1", W[4], None),
        ("Y2", W[5], None),
        ("Y3", W[6], None),
    ]
    assert policy.groups == (
        PolicyGroup("X-witnesses", 2, ("X1", "X2", "X3")),
        PolicyGroup("Y-witnesses", 1, ("Y1", "Y2", "Y3")),
        PolicyGroup("X-and-Y", 2, ("X-witnesses", "Y-witnesses")),
    )
    assert policy.quorum == "X-and-Y"
    assert policy.is_quorum(["X1", "X3", "Y2"])
    assert not policy.is_quorum(["X1", "Y1", "Y2", "Y3"])
    assert not policy.is_quorum(["X1", "X2", "X3"])
    assert not policy.is_quorum(["X-witnesses", "Y-witnesses", "X-and-Y"])


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("quorum none\n", Policy(())),
        (f"log {LOG_VKEY}\nquorum none\n", Policy.for_log(LOG_VKEY)),
        (
            f"\n# one\n\t # two\n\twitness \t w1  {W[1]}   https://w1.example.com/  \n \t\n  quorum\tw1\n",
            Policy((), (PolicyWitness("w1", witness_key(1).verifier_key, "https://w1.example.com/"),), (), "w1"),
        ),
        (
            f"log {LOG_VKEY} https://log.example.com/#part\nwitness #w1 {W[1]}\nquorum #w1\n",
            Policy(
                (PolicyLog(LOG.verifier_key, "https://log.example.com/#part"),),
                (PolicyWitness("#w1", witness_key(1).verifier_key),),
                (),
                "#w1",
            ),
        ),
        (
            f"witness all {W[1]}\nwitness any {W[2]}\nwitness 2 {W[3]}\ngroup group 2 all any 2\nquorum group\n",
            Policy(
                (),
                tuple(
                    PolicyWitness(name, witness_key(n).verifier_key) for n, name in enumerate(["all", "any", "2"], 1)
                ),
                (PolicyGroup("group", 2, ("all", "any", "2")),),
                "group",
            ),
        ),
        (
            f"witness w {W[1]}\nlog {LOG_VKEY}\ngroup g all w\nquorum w\n",
            Policy(
                (PolicyLog(LOG.verifier_key),),
                (PolicyWitness("w", witness_key(1).verifier_key),),
                (PolicyGroup("g", 1, ("w",)),),
                "w",
            ),
        ),
        (
            f"witness w {W[1]}\nquorum w\nlog {LOG_VKEY}\n",
            Policy((PolicyLog(LOG.verifier_key),), (PolicyWitness("w", witness_key(1).verifier_key),), (), "w"),
        ),
    ],
    ids=["minimal", "one log", "white space", "number signs", "keywords as names", "any order", "log behind quorum"],
)
def test_good_policies(text: str, policy: Policy) -> None:
    """White space, comments, URLs, order and names of every allowed kind."""
    assert Policy.parse(text) == policy
    assert Policy.parse(text.encode()) == policy
    assert Policy.parse(policy.format()) == policy


def test_names_are_octets() -> None:
    """Names are compared octet by octet, and may be no UTF-8; messages stay printable."""
    text = b"log %b\nwitness K %b\nwitness \xe2\x84\xaa %b\nwitness \xff %b\ngroup g 2 \xff K\nquorum g\n" % (
        LOG_VKEY.encode(),
        W[1].encode(),
        W[2].encode(),
        W[3].encode(),
    )
    policy = Policy.parse(text)
    assert policy.format() == text
    assert [witness.name for witness in policy.witnesses] == ["K", "\u212a", "\udcff"]
    with pytest.raises(PolicyError) as caught:
        policy.verify(CHECKPOINT.sign(witness_key(3), timestamp_s=TIMESTAMP_S))
    assert caught.value.met == ("\\xff",)
    assert caught.value.missing == ("K", "\u212a")
    for shown in (str(caught.value), "\n".join(policy.describe())):
        assert b"\\xff" in shown.encode()


def _vkey_of_type(key_type: int) -> str:
    material = bytes([key_type]) + bytes(range(7)) * 8
    key_id = sha256(b"unknown.example\n" + material).hexdigest()[:8]
    return f"unknown.example+{key_id}+{base64.b64encode(material).decode()}"


RENAMED = VerifierKey("impostor.example", ED25519_COSIGNATURE, witness_key(1).verifier_key.public_key)
RENAMED_LOG = VerifierKey("impostor.example", ED25519_NOTE, LOG.verifier_key.public_key)
WITNESS1 = f"witness w1 {W[1]}\n"

BAD = {
    "empty": ("", "no quorum line"),
    "control octet": ("quorum none\n\x01\n", "line 2: the octet 0x01"),
    "carriage return": ("quorum none\r\n", "line 1: the octet 0x0d"),
    "delete": ("quorum none\x7f\n", "line 1: the octet 0x7f"),
    "vertical tab": ("quorum\vnone\n", "line 1: the octet 0x0b"),
    "no newline at the end": (f"{WITNESS1}quorum w1", "line 2: it does not end in a newline"),
    "unknown keyword": ("quibble w1\nquorum none\n", "line 1: 'quibble' is none of"),
    "keyword in capitals": ("Quorum none\n", "line 1: 'Quorum' is none of"),
    "comment behind": (f"{WITNESS1[:-1]} https://w1.example/ # comment\nquorum w1\n", "line 1: the form is"),
    "comment behind quorum": ("quorum none # comment\n", "line 1: the form is"),
    "log without vkey": ("log\nquorum none\n", "line 1: the form is"),
    "log with two urls": (f"log {LOG_VKEY} a b\nquorum none\n", "line 1: the form is"),
    "log with bad vkey": ("log garbage\nquorum none\n", "line 1: vkey: 'garbage' is not"),
    "log with unknown type": (f"log {_vkey_of_type(0x63)}\nquorum none\n", "0x63 .unassigned. is not supported"),
    "log with cosigner key": (f"log {W[1]}\nquorum none\n", "a log needs a key of signature type 0x01"),
    "log twice": (f"log {LOG_VKEY}\nlog {LOG_VKEY} https://log.example/\nquorum none\n", "belongs to a log already"),
    "log key twice": (f"log {LOG_VKEY}\nlog {RENAMED_LOG}\nquorum none\n", "line 2: .* belongs to a log already"),
    "witness without vkey": ("witness w1\nquorum none\n", "line 1: the form is"),
    "witness with log key": (f"witness w1 {LOG_VKEY}\nquorum w1\n", "a witness needs a key of signature type 0x04"),
    "witness with ML-DSA-44 key": (f"witness w1 {_vkey_of_type(6)}\nquorum w1\n", "an ML-DSA-44 public key is 1312"),
    "witness named none": (f"witness none {W[1]}\nquorum none\n", "'none' is reserved"),
    "witness key twice": (f"{WITNESS1}witness w2 {RENAMED}\nquorum w1\n", "line 2: .* belongs to a witness already"),
    "name twice": (f"{WITNESS1}witness w1 {W[2]}\nquorum w1\n", "line 2: the name 'w1' is defined already"),
    "group with witness's name": (f"{WITNESS1}group w1 any w1\nquorum w1\n", "line 2: the name 'w1' is defined"),
    "witness with group's name": (
        f"{WITNESS1}group g any w1\nwitness g {W[2]}\nquorum g\n",
        "line 3: the name 'g' is defined",
    ),
    "group without members": (f"{WITNESS1}group g 1\nquorum w1\n", "line 2: the form is"),
    "group named none": (f"{WITNESS1}group none any w1\nquorum none\n", "'none' is reserved"),
    "threshold 0": (f"{WITNESS1}group g 0 w1\nquorum g\n", "threshold: 0 is outside 1 to 1"),
    "threshold too large": (f"{WITNESS1}group g 2 w1\nquorum g\n", "threshold: 2 is outside 1 to 1"),
    **{
        f"threshold {word}": (f"{WITNESS1}group g {word} w1\nquorum g\n", "line 2: threshold: .* is not a decimal")
        for word in ("-1", "+1", "01", "1.0", "1_0", "ALL", "two", "\uff11")
    },
    "unknown member": (f"{WITNESS1}group g any w2\nquorum g\n", "line 2: member 'w2' is not defined"),
    "member defined later": (f"group g any w1\n{WITNESS1}quorum g\n", "line 1: member 'w1' is not defined"),
    "group as its own member": (f"{WITNESS1}group g any g w1\nquorum g\n", "member 'g' is not defined"),
    "none as member": (f"{WITNESS1}group g any none w1\nquorum g\n", "member 'none' is not defined"),
    "log as member": (f"log {LOG_VKEY}\ngroup g any {ORIGIN}\nquorum g\n", "is not defined"),
    "member twice in a group": (f"{WITNESS1}group g all w1 w1\nquorum g\n", "'w1' is a member already"),
    "member of two groups": (f"{WITNESS1}group g any w1\ngroup h any w1\nquorum g\n", "line 3: 'w1' is a member"),
    "no quorum": (WITNESS1, "no quorum line"),
    "two quorums": (f"{WITNESS1}quorum w1\nquorum w1\n", "line 3: this is a second quorum line"),
    "two quorums, none last": (f"{WITNESS1}quorum w1\nquorum none\n", "line 3: this is a second quorum line"),
    "quorum unknown": ("quorum unknown\n", "line 1: the quorum 'unknown' is not defined"),
    "quorum defined later": (f"quorum w1\n{WITNESS1}", "line 1: the quorum 'w1' is not defined"),
    "quorum without name": ("quorum\n", "line 1: the form is"),
    "quorum with two names": (f"{WITNESS1}quorum w1 w1\n", "line 2: the form is"),
    "too large": ("#" * MAX_POLICY_SIZE + "\nquorum none\n", "are more than"),
    "lone surrogate": ("# \ud800\nquorum none\n", "not valid Unicode"),
    "no-break space": (f"witness\u00a0w1 {W[1]}\nquorum none\n", "is none of"),
    "byte order mark": ("\ufeffquorum none\n", "is none of"),
}


@pytest.mark.parametrize(("text", "reason"), BAD.values(), ids=BAD)
def test_bad_policies(text: str, reason: str) -> None:
    """Each rule of the specification, broken once, is refused with line and reason."""
    with pytest.raises(FormatError, match=reason):
        Policy.parse(text)


def test_colliding_witnesses() -> None:
    """Two keys of the policy that a signature line could not tell apart are refused."""
    first, second = colliding_keys(ED25519_COSIGNATURE)
    with pytest.raises(FormatError, match="another key is"):
        Policy((), (PolicyWitness("w1", first), PolicyWitness("w2", second)), (), "w1")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Policy((), (), (), "w1"),
        lambda: Policy((), (PolicyWitness("w 1", witness_key(1).verifier_key),)),
        lambda: Policy((), (PolicyWitness("", witness_key(1).verifier_key),)),
        lambda: Policy((PolicyLog(LOG.verifier_key, "https://log.example/ here"),)),
        lambda: Policy((PolicyLog(LOG.verifier_key), PolicyLog(LOG.verifier_key))),
        lambda: Policy((), (), (PolicyGroup("g", 0, ()),)),
        lambda: Policy((), (PolicyWitness("w", witness_key(1).verifier_key),), (PolicyGroup("g", True, ("w",)),)),
    ],
)
def test_policies_made_in_code_obey_the_rules(make: Callable[[], Policy]) -> None:
    """A policy that no text could spell can't be made in code either."""
    with pytest.raises(FormatError, match="policy"):
        make()


def test_limits() -> None:
    """Many more than 32 logs, witnesses and nested groups are possible, and their number is bounded."""
    text = "".join(f"log {signing_key(f'log{n}.example').verifier_key}\n" for n in range(40))
    text += "".join(f"witness w{n} {witness_key(n).verifier_key}\n" for n in range(200))
    text += "group g0 any w0\n" + "".join(f"group g{n} all g{n - 1} w{n}\n" for n in range(1, 200)) + "quorum g199\n"
    policy = Policy.parse(text)
    assert policy.is_quorum([f"w{n}" for n in range(200)])
    assert not policy.is_quorum([f"w{n}" for n in range(200) if n != 77])
    keys = [VerifierKey(f"w{n}", ED25519_COSIGNATURE, (n + 2).to_bytes(32, "little")) for n in range(MAX_ITEMS + 1)]
    witnesses = tuple(PolicyWitness(key.name, key) for key in keys)
    assert len(Policy((), witnesses[:MAX_ITEMS]).witnesses) == MAX_ITEMS
    with pytest.raises(FormatError, match="more than 1000 witnesses"):
        Policy((), witnesses)


def test_a_policy_of_the_largest_size() -> None:
    """A policy of exactly 1 MiB is read."""
    end = "\nquorum none\n"
    assert Policy.parse("#" * (MAX_POLICY_SIZE - len(end)) + end) == Policy(())


def test_long_lists_are_cut_in_messages() -> None:
    """Ten members are named in words, and of eleven the last one is counted only."""
    for count, end in ((10, "w8, w9"), (11, "w9 and 1 more")):
        witnesses = tuple(PolicyWitness(f"w{n}", witness_key(n).verifier_key) for n in range(count))
        group = PolicyGroup("g", 1, tuple(witness.name for witness in witnesses))
        assert Policy((), witnesses, (group,), "g").describe()[-1].endswith(end)


def test_format() -> None:
    """The text of a policy is canonical: parsing and formatting it again changes nothing."""
    policy = Policy.parse(f"# A policy.\nlog  {LOG_VKEY}\thttps://log.example/\n{WITNESS1}group g any w1\nquorum g\n")
    canonical = f"log {LOG_VKEY} https://log.example/\n{WITNESS1}group g 1 w1\nquorum g\n"
    assert policy.format() == canonical.encode()
    assert Policy.parse(policy.format()) == policy


def test_describe() -> None:
    """A policy in words names every member."""
    key_ids = [vkey.split("+")[1] for vkey in (LOG_VKEY, W[1], W[2])]
    text = f"log {LOG_VKEY}\n{WITNESS1}witness w2 {W[2]}\ngroup both all w1 w2\nquorum both\n"
    assert Policy.parse(text).describe() == (
        f"log {ORIGIN}, key {key_ids[0]}, is believed",
        f"witness w1 is witness1.example.net, key {key_ids[1]}",
        f"witness w2 is witness2.example.net, key {key_ids[2]}",
        "group both is 2 of 2: w1, w2",
        "quorum: both, 2 of 2: w1, w2",
    )
    assert Policy(()).describe() == ("no log is believed", "quorum: none, no cosignature is asked for")
    assert Policy.parse(f"{WITNESS1}quorum w1\n").describe()[-1] == "quorum: w1"


KEYWORDS = ("log", "witness", "group", "quorum", "none", "any", "all")
WORDS = st.sampled_from(
    [*KEYWORDS, "1", "2", "w", "g", "#", "\xff", "\n", "\n", "\t", LOG_VKEY, W[1], W[2], "https://w.example/"]
)


@given(st.binary() | st.lists(WORDS).map(lambda words: " ".join(words).encode("latin-1")))
def test_arbitrary_policies(text: bytes) -> None:
    """Arbitrary bytes and arbitrary sequences of words give an error of tlog or a policy that round-trips."""
    for candidate in (text, text + b"\nquorum none\n"):
        try:
            policy = Policy.parse(candidate)
        except Error:
            continue
        assert Policy.parse(policy.format()) == policy
        assert policy.describe()


@given(st.text())
def test_arbitrary_policy_text(text: str) -> None:
    """Arbitrary text, lone surrogates included, gives an error of tlog or a policy."""
    with contextlib.suppress(Error):
        Policy.parse(text)
