"""A log that signs with ML-DSA-44 too: its Ed25519 signature stays, and either key is enough to verify."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tlog
from tlog.keys import ED25519_NOTE, ML_DSA_44_COSIGNATURE
from tlog.policy import Policy


def keys(partition: tlog.Partition) -> tuple[tlog.VerifierKey, tlog.VerifierKey]:
    """Return both verifier keys."""
    post_quantum = partition.post_quantum_vkey
    assert post_quantum is not None
    return partition.vkey, post_quantum


def test_both_signatures(tmp_path: Path) -> None:
    """Every checkpoint carries both, proofs verify under either key, checks and exports go on as before."""
    ledger = tlog.Ledger.create(tmp_path / "ledger", origin="audit.example.com", post_quantum=True)
    users = ledger.partition("users")
    for count in (3, 297, 1):
        users.append_many({"n": n} for n in range(count))
        checkpoint = users.publish()
        assert users.publish() == checkpoint
        assert [len(line.signature) for line in checkpoint.signatures] == [64, 8 + 2420]
    for key in keys(users):
        for tree_size in (3, 300, 301):
            tlog.verify_proof(str(users.prove(2, tree_size)), policy=Policy.for_log(key))
    assert [key.key_type for key in keys(users)] == [ED25519_NOTE, ML_DSA_44_COSIGNATURE]
    users.verify(checkpoint=users.checkpoint(3).raw)
    assert users.fsck().findings == ()
    users.export(tmp_path / "site")
    assert (tmp_path / "site" / "checkpoint").read_bytes() == checkpoint.raw
    ledger.close()
    again = tlog.Ledger.open(tmp_path / "ledger").partition("users")
    again.append({"n": 301})
    assert len(again.publish().signatures) == 2


def test_switched_on_later_and_off(tmp_path: Path) -> None:
    """The setting counts from the next checkpoint on; those before, and after it is off again, have one signature."""
    tlog.Ledger.create(tmp_path / "ledger", origin="audit.example.com").close()
    config = tmp_path / "ledger" / "tlog.toml"
    plain = config.read_text()
    for round_, (text, count) in enumerate([(plain, 1), (plain + "\npost_quantum = true\n", 2), (plain, 1)], 1):
        config.write_text(text)
        with tlog.Ledger.open(tmp_path / "ledger") as ledger:
            users = ledger.partition("users")
            users.append({"round": round_})
            assert len(users.publish().signatures) == count
            assert (users.post_quantum_vkey is None) == (round_ == 1)
            assert users.fsck().findings == ()
            users.verify()
    config.write_text(plain + '\npost_quantum = "yes"\n')
    with pytest.raises(tlog.FormatError, match="post_quantum: 'yes' is neither true nor false"):
        tlog.Ledger.open(tmp_path / "ledger")


def test_keys_are_kept_like_the_others(tmp_path: Path) -> None:
    """The private key is the owner's alone, encrypted with the passphrase, and must be that of its verifier key."""
    ledger = tlog.Ledger.create(
        tmp_path / "ledger", origin="audit.example.com", post_quantum=True, passphrase=b"secret"
    )
    users = ledger.partition("users")
    users.append({"n": 0})
    users.publish()
    private = tmp_path / "ledger" / "keys" / "post-quantum" / "users.pem"
    assert private.stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in private.read_bytes()
    other = ledger.partition("other")
    other.append({"n": 0})
    other.publish()
    shutil.copy(private.with_name("other.vkey"), private.with_name("users.vkey"))
    users.append({"n": 1})
    with pytest.raises(tlog.CorruptLedgerError, match="not that of the verifier key"):
        users.publish()
    assert users.checkpoint().tree_size == 1
