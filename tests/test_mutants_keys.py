"""What mutation testing found untested in keys, cosignatures and the limits of policies."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from tests.statements import LOG, signing_key, witness_key
from tlog.cosignature import Cosignature, cosign, subtree_message
from tlog.errors import FormatError
from tlog.keys import ED25519_COSIGNATURE, ED25519_NOTE, ML_DSA_44_COSIGNATURE, SigningKey, VerifierKey
from tlog.policy import Policy, PolicyGroup, PolicyLog, PolicyWitness

WITNESS = witness_key(1)
POST_QUANTUM = signing_key("witness.example.net/pq", ML_DSA_44_COSIGNATURE)
ROOT = b"A" * 43 + b"="
PLAIN = LOG.to_pem()
LIMIT = 1000


def public_key(number: int, key_type: int) -> VerifierKey:
    """Return one of many keys, whose private key nobody knows."""
    return VerifierKey(f"key{number}", key_type, (number + 2).to_bytes(32, "little"))


def many_logs(count: int) -> Policy:
    """Return a policy of many logs."""
    return Policy(tuple(PolicyLog(public_key(number, ED25519_NOTE)) for number in range(count)))


def many_witnesses(count: int) -> Policy:
    """Return a policy of many witnesses."""
    keys = [public_key(number, ED25519_COSIGNATURE) for number in range(count)]
    return Policy((), tuple(PolicyWitness(key.name, key) for key in keys))


def many_groups(count: int) -> Policy:
    """Return a policy of many groups, each the only member of the next one."""
    names = ["w", *(f"g{number}" for number in range(count))]
    groups = [PolicyGroup(name, 1, (member,)) for member, name in itertools.pairwise(names)]
    return Policy((), (PolicyWitness("w", WITNESS.verifier_key),), tuple(groups), names[-1])


@pytest.mark.parametrize("make", [many_logs, many_witnesses, many_groups])
def test_limits_of_a_policy(make: Callable[[int], Policy]) -> None:
    """1,000 logs, witnesses and groups are taken, and of each kind one more is refused by its name."""
    assert Policy.parse(make(LIMIT).format()) == make(LIMIT)
    with pytest.raises(FormatError) as caught:
        make(LIMIT + 1)
    assert caught.value.what == "policy"
    assert caught.value.reason == f"more than {LIMIT} {make.__name__.removeprefix('many_')} are not supported"


@pytest.mark.parametrize("url", ["", "a b", "a\nb", "a\x7f"], ids=["empty", "blank", "newline", "delete"])
def test_urls_are_single_words(url: str) -> None:
    """A URL that would not read back as one word is refused, of a log and of a witness."""
    with pytest.raises(FormatError, match="is empty, or holds white space"):
        Policy((PolicyLog(LOG.verifier_key, url),))
    with pytest.raises(FormatError, match="is empty, or holds white space"):
        Policy((), (PolicyWitness("w", WITNESS.verifier_key, url),))


LONG = "n" * 70
MESSAGE = f"cosigned message of {LONG[:60]}"
COSIGNATURES: dict[str, tuple[Callable[[], object], str]] = {
    "time 0": (lambda: Cosignature(LONG, bytes(4), 0, bytes(64)), f"cosignature of {LONG[:60]}: timestamp"),
    "time 2^63": (lambda: Cosignature("n", bytes(4), 2**63, bytes(64)), "cosignature of n: timestamp"),
    "key ID": (lambda: Cosignature("n", bytes(5), 1, bytes(64)), "cosignature of n"),
    "signature": (lambda: Cosignature("n", bytes(4), 1, bytes(63)), "cosignature of n"),
    "made at 0": (lambda: cosign(b"text\n", WITNESS, 0), "cosignature timestamp"),
    "made at 2^63": (lambda: cosign(b"text\n", WITNESS, 2**63), "cosignature timestamp"),
    "subtree": (lambda: subtree_message("o", 3, 2, bytes(32), key_name=LONG, timestamp_s=0), f"{MESSAGE}: start"),
    "origin": (lambda: subtree_message("", 0, 2, bytes(32), key_name=LONG, timestamp_s=0), MESSAGE),
    "public key": (lambda: VerifierKey("n", ED25519_NOTE, bytes(31)), "verifier key n"),
    "public key of ML-DSA-44": (lambda: VerifierKey("n", ML_DSA_44_COSIGNATURE, bytes(32)), "verifier key n"),
    "no root to cosign": (lambda: cosign(b"o\n01\n", POST_QUANTUM, 1), "checkpoint"),
    "size of two zeros": (lambda: cosign(b"o\n00\n%b\n" % ROOT, POST_QUANTUM, 1), "checkpoint tree size"),
    "size 2^63": (lambda: cosign(b"o\n%d\n%b\n" % (2**63, ROOT), POST_QUANTUM, 1), "checkpoint tree size"),
    "root to cosign": (lambda: cosign(b"o\n1\n%b\n" % ROOT[1:], POST_QUANTUM, 1), "checkpoint root hash"),
    "vkey": (lambda: VerifierKey.parse("name+00000000+="), "vkey"),
}


@pytest.mark.parametrize(("call", "what"), COSIGNATURES.values(), ids=COSIGNATURES)
def test_fields_are_named(call: Callable[[], object], what: str) -> None:
    """The error names the field that is wrong, be it the only one."""
    with pytest.raises(FormatError) as caught:
        call()
    assert caught.value.what == what


@pytest.mark.parametrize("length", [1, 1023])
def test_passphrases_at_their_limits(length: int) -> None:
    """Passphrases of 1 to 1,023 bytes encrypt a key and open it again."""
    passphrase = b"x" * length
    assert SigningKey.from_pem(LOG.name, LOG.to_pem(passphrase), passphrase).verifier_key == LOG.verifier_key


@pytest.mark.parametrize("length", [0, 1024])
def test_passphrases_beyond_their_limits(length: int) -> None:
    """No passphrase, and one that is too long, are refused with their length."""
    with pytest.raises(FormatError, match=f"1 to 1023 bytes are possible, not {length}"):
        LOG.to_pem(b"x" * length)


def test_why_a_key_file_does_not_open() -> None:
    """A damaged file and a wrong passphrase are told apart as far as that is possible."""
    with pytest.raises(FormatError) as damaged:
        SigningKey.from_pem("n", PLAIN.replace(b"MC4C", b"MC5C"))
    assert damaged.value.reason == "the PEM block does not hold a PKCS#8 private key"
    with pytest.raises(FormatError) as wrong:
        SigningKey.from_pem("n", LOG.to_pem(b"one"), b"another")
    assert wrong.value.reason == "the passphrase is wrong, or the PEM block is damaged"
