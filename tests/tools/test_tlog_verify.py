"""`tlog-verify`: what it proves, and everything that it must not believe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import tlog
from tests.tools.conftest import ENTRIES, Shell, objects, ok
from tlog.evidence import Evidence
from tlog.keys import ED25519_COSIGNATURE

SEQ = 123


class Auditor(Shell):
    """A directory with the log's key, a proof, two checkpoints and a consistency proof, and the log's private key."""

    def __init__(self, shell: Shell) -> None:
        super().__init__(shell.directory)
        with tlog.Ledger.open(shell.ledger) as ledger:
            users = ledger.partition("users")
            self.vkey = users.vkey
            self.proof = users.prove(SEQ)
            self.old, self.new = users.checkpoint(100), users.checkpoint()
            self.growth = users.prove_consistency(100)
            self.raw = users.entry(SEQ).raw
        pem = (shell.ledger / "keys" / "users.pem").read_bytes()
        self.log_key = tlog.SigningKey.from_pem(self.vkey.name, pem)
        self.key_file = self.write("users.vkey", f"{self.vkey}\n")
        self.proof_file = self.write("entry.tlog-proof", self.proof.format())
        self.old_file = self.write("old", self.old.raw)
        self.new_file = self.write("new", self.new.raw)
        self.growth_file = self.write("growth", self.growth.format())
        self.witnesses = [tlog.SigningKey.generate(f"w{number}.example", ED25519_COSIGNATURE) for number in range(3)]

    def policy(self, quorum: str) -> Path:
        """A policy of the log and three witnesses."""
        lines = [f"log {self.vkey}"]
        lines += [f"witness w{number} {key.verifier_key}" for number, key in enumerate(self.witnesses)]
        lines += ["group both 2 w0 w1", f"quorum {quorum}", ""]
        return self.write("policy", "\n".join(lines))

    def cosigned(self, count: int) -> Path:
        """The proof under a checkpoint that the first `count` witnesses have cosigned."""
        checkpoint = self.proof.checkpoint.sign(*self.witnesses[:count], timestamp_s=1_700_000_000)
        return self.write("cosigned.tlog-proof", replace(self.proof, checkpoint=checkpoint).format())


@pytest.fixture
def auditor(users: Shell) -> Auditor:
    """An auditor of the partition users."""
    return Auditor(users)


def test_proof(auditor: Auditor) -> None:
    """A proof is believed under the pinned key; the result says what is proved and what is not."""
    shown = ok(auditor.verify("--proof", auditor.proof_file, "--key", auditor.key_file))
    proved, _, not_proved = shown.partition("not proved:\n")
    assert proved.startswith(f"proved: entry {SEQ} is in the log audit.example.com/users\n")
    for part in (
        f"{ENTRIES} entries, root hash {str(auditor.new).splitlines()[2]}",
        f"signed by  audit.example.com/users+{auditor.vkey.key_id.hex()}",
        f"seq {SEQ} in partition users, at 2",
        'data       {"user":"u123","action":"login"}\n',
    ):
        assert part in proved
    assert "that what the entry says is true" in not_proved
    assert "anything about other entries" in not_proved
    assert "the log's latest checkpoint" in not_proved
    assert "no witness was asked for" in not_proved
    assert ok(auditor.verify("--proof", auditor.proof_file, "--key", str(auditor.vkey))) == shown
    assert ok(auditor.verify("--proof", "-", "--key", str(auditor.vkey), stdin=auditor.proof.format())) == shown
    assert ok(auditor.verify("--proof", auditor.proof_file, "--key", "-", stdin=f"{auditor.vkey}\n")) == shown


def test_json(auditor: Auditor) -> None:
    """--json says the same to a program."""
    fields = objects(ok(auditor.verify("--proof", auditor.proof_file, "--key", auditor.key_file, "--json")))[0]
    assert (fields["proved"], fields["seq"], fields["entry"]) == (True, SEQ, auditor.raw.decode())
    assert (fields["checkpoint"]["tree_size"], fields["checkpoint"]["witnesses"]) == (ENTRIES, [])
    assert len(fields["not_proved"]) == 2


def test_the_entry_besides_the_proof(auditor: Auditor) -> None:
    """--entry gives the line that the proof must be about, and is needed where the proof carries none."""
    entry, other = (
        auditor.write("entry", auditor.raw + b"\n"),
        auditor.write("other", auditor.raw.replace(b"u123", b"u124")),
    )
    bare = auditor.write("bare.tlog-proof", replace(auditor.proof, extra=None).format())
    for proof, line, exit_code in (
        (auditor.proof_file, entry, 0),
        (auditor.proof_file, other, 1),
        (bare, entry, 0),
        (bare, other, 1),
    ):
        assert auditor.verify("--proof", proof, "--key", auditor.key_file, "--entry", line).exit_code == exit_code
    assert auditor.verify("--proof", bare, "--key", auditor.key_file).exit_code == 1


def test_consistency(auditor: Auditor) -> None:
    """A consistency proof shows that the log only grew since the checkpoint that was kept."""
    words = ("--consistency", auditor.growth_file, "--key", auditor.key_file)
    shown = ok(auditor.verify(*words, "--old", auditor.old_file))
    assert shown.startswith(f"proved: the log audit.example.com/users only grew, from 100 to {ENTRIES} entries\n")
    fields = objects(ok(auditor.verify(*words, "--old", auditor.old_file, "--json")))[0]
    assert (fields["old"]["tree_size"], fields["checkpoint"]["tree_size"]) == (100, ENTRIES)
    assert auditor.verify(*words, "--old", auditor.new_file).exit_code == 1
    assert auditor.verify(*words).exit_code == 2


def test_a_fork_is_convicted(auditor: Auditor) -> None:
    """Where the log signed two trees, both signed notes are printed as evidence."""
    fork = replace(auditor.old, root_hash=bytes(31) + b"\1", signatures=()).sign(auditor.log_key)
    kept = auditor.write("kept", fork.raw)
    words = ("--consistency", auditor.growth_file, "--key", auditor.key_file, "--old", kept)
    result = auditor.verify(*words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert str(fork) in result.stderr
    assert str(auditor.new) in result.stderr
    error = objects(auditor.verify(*words, "--json").stderr)[0]
    assert (error["error"], error["old_note"], error["new_note"]) == (
        "InconsistentLogError",
        str(fork),
        str(auditor.new),
    )


def test_checkpoint(auditor: Auditor) -> None:
    """A checkpoint alone shows who signed which tree, and nothing about its entries."""
    shown = ok(auditor.verify("--checkpoint", auditor.old_file, "--key", auditor.key_file))
    assert shown.startswith("proved: the log audit.example.com/users signed a tree of 100 entries\n")
    assert "not proved:\n  anything about the entries" in shown


def test_policy(auditor: Auditor) -> None:
    """With a policy the quorum is asked for: met it is told by whom, not met it ends with 5 and who is missing."""
    policy = auditor.policy("both")
    met = ok(auditor.verify("--proof", auditor.cosigned(2), "--policy", policy))
    assert "witnesses  cosigned by w0, w1; missing w2\n  quorum     both, 2 of 2: w0, w1\n" in met
    assert "no witness was asked for" not in met
    words = ("--proof", auditor.cosigned(1), "--policy", policy)
    result = auditor.verify(*words)
    assert (result.exit_code, result.stdout) == (5, "")
    error = objects(auditor.verify(*words, "--json").stderr)[0]
    assert (error["exit_code"], error["met"], error["missing"]) == (5, ["w0"], ["w1", "w2"])
    assert auditor.verify("--proof", auditor.proof_file, "--policy", policy).exit_code == 5
    assert auditor.verify("--checkpoint", auditor.new_file, "--policy", policy).exit_code == 5
    none = auditor.policy("none")
    assert "though some have cosigned" in ok(auditor.verify("--proof", auditor.cosigned(1), "--policy", none))


def test_a_bad_cosignature_is_no_missing_one(auditor: Auditor) -> None:
    """A cosignature of a known witness that does not verify fails the proof, whatever the quorum."""
    proof = tlog.Proof.parse(auditor.cosigned(1).read_bytes())
    log_line, line = proof.checkpoint.signatures
    bad = replace(line, signature=line.signature[:-1] + bytes([line.signature[-1] ^ 1]))
    checkpoint = replace(proof.checkpoint, signatures=(log_line, bad))
    broken = auditor.write("broken", replace(proof, checkpoint=checkpoint).format())
    assert auditor.verify("--proof", broken, "--policy", auditor.policy("none")).exit_code == 1


def test_another_key_is_not_believed(auditor: Auditor) -> None:
    """A key of another name or another key of the same name proves nothing, though the proof names its signer."""
    namesake = tlog.SigningKey.generate(auditor.vkey.name).verifier_key
    stranger = tlog.SigningKey.generate("audit.example.com/orders").verifier_key
    for key in (namesake, stranger):
        result = auditor.verify("--proof", auditor.proof_file, "--key", str(key))
        assert (result.exit_code, result.stdout) == (1, "")


def test_a_key_inside_the_file_is_never_believed(auditor: Auditor) -> None:
    """A forger's own log, proof and key, all in one bundle, do not verify under the pinned key."""
    forger = tlog.SigningKey.generate(auditor.vkey.name)
    checkpoint = replace(auditor.new, signatures=()).sign(forger)
    extensions = replace(auditor.new, extensions=(str(forger.verifier_key),), signatures=()).sign(forger)
    for forged in (checkpoint, extensions, auditor.new.sign(forger)):
        proof = auditor.write("forged", replace(auditor.proof, checkpoint=forged).format())
        expected = 0 if forged.signatures[0] == auditor.new.signatures[0] else 1
        assert auditor.verify("--proof", proof, "--key", auditor.key_file).exit_code == expected
    # The key option wants a key alone: a file that holds more, such as the proof itself, is none.
    assert auditor.verify("--proof", auditor.proof_file, "--key", auditor.proof_file).exit_code == 2
    two = auditor.write("two", f"{forger.verifier_key}\n{auditor.vkey}\n")
    assert auditor.verify("--proof", auditor.proof_file, "--key", two).exit_code == 2


@pytest.mark.parametrize("field", ["extra", "index", "hash", "tree size", "root", "signature"])
def test_tampered_proofs(auditor: Auditor, field: str) -> None:
    """One changed field of a proof, spelt as it should be, fails the verification."""
    proof = auditor.proof
    other = auditor.raw.replace(b'"u123"', b'"u124"')
    checkpoint = proof.checkpoint
    signature = checkpoint.signatures[0]
    flipped = replace(signature, signature=signature.signature[:-1] + bytes([signature.signature[-1] ^ 1]))
    tampered = {
        "extra": replace(proof, extra=other),
        "index": replace(proof, leaf_index=SEQ ^ 1),
        "hash": replace(proof, hashes=(bytes(32), *proof.hashes[1:])),
        "tree size": replace(proof, checkpoint=replace(checkpoint, tree_size=ENTRIES + 1)),
        "root": replace(proof, checkpoint=replace(checkpoint, root_hash=bytes(32))),
        "signature": replace(proof, checkpoint=replace(checkpoint, signatures=(flipped,))),
    }[field]
    result = auditor.verify("--proof", auditor.write("tampered", tampered.format()), "--key", auditor.key_file)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Traceback" not in result.stderr


def test_every_flipped_byte_is_noticed(auditor: Auditor) -> None:
    """No single flipped bit in proof, consistency proof or checkpoint leaves it proved."""
    for option, file in (
        ("--proof", auditor.proof_file),
        ("--consistency", auditor.growth_file),
        ("--checkpoint", auditor.new_file),
    ):
        content = file.read_bytes()
        more = ("--old", auditor.old_file) if option == "--consistency" else ()
        for place in range(0, len(content), 17):
            broken = auditor.write("broken", content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            result = auditor.verify(option, broken, "--key", auditor.key_file, *more)
            assert result.exit_code in {1, 2}, (option, place)
            assert result.stdout == ""


def test_missing_and_malformed_files(auditor: Auditor) -> None:
    """A missing file ends with 3, a directory with 4, and what is no proof, key or policy with 2."""
    key = ("--key", auditor.key_file)
    nothing, huge = auditor.write("nothing", b""), auditor.write("huge", bytes(3 << 20))
    for words, exit_code in (
        (("--proof", "nosuch", *key), 3),
        (("--proof", auditor.proof_file, "--key", "nosuch"), 3),
        (("--proof", auditor.proof_file, "--policy", "nosuch"), 3),
        (("--consistency", auditor.growth_file, "--old", "nosuch", *key), 3),
        (("--proof", auditor.proof_file, "--entry", "nosuch", *key), 3),
        (("--proof", auditor.directory, *key), 4),
        (("--proof", nothing, *key), 2),
        (("--proof", auditor.new_file, *key), 2),
        (("--proof", auditor.proof_file, "--key", nothing), 2),
        (("--proof", auditor.proof_file, "--key", str(auditor.vkey)[:-1]), 2),
        (("--proof", auditor.proof_file, "--policy", auditor.key_file), 2),
        (("--proof", huge, *key), 2),
        (("--proof", auditor.proof_file, "--entry", huge, *key), 2),
        (("--proof", auditor.proof_file, "--key", huge), 2),
        (("--proof", auditor.proof_file, "--policy", huge), 2),
        (("--checkpoint", huge, *key), 2),
        (("--consistency", auditor.growth_file, "--old", huge, *key), 2),
    ):
        result = auditor.verify(*words)
        assert (result.exit_code, result.stdout) == (exit_code, ""), words
        assert objects(auditor.verify(*words, "--json").stderr)[0]["exit_code"] == exit_code


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--proof", "a"],
        ["--key", "a"],
        ["--proof", "a", "--key", "b", "--policy", "c"],
        ["--proof", "a", "--checkpoint", "b", "--key", "c"],
        ["--checkpoint", "a", "--entry", "b", "--key", "c"],
        ["--proof", "a", "--old", "b", "--key", "c"],
        ["--consistency", "a", "--key", "c"],
        ["--proof", "-", "--key", "-"],
        ["a"],
    ],
)
def test_usage(auditor: Auditor, words: list[str]) -> None:
    """Options that do not go together are a usage error, also for -q."""
    for quiet in ([], ["-q"]):
        result = auditor.verify(*words, *quiet)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "Error: " in result.stderr


def test_silence(auditor: Auditor) -> None:
    """-q prints nothing, whatever the verdict; the exit code is the answer."""
    key, other = ("--key", auditor.key_file), tlog.SigningKey.generate(auditor.vkey.name).verifier_key
    for words, exit_code in (
        (("--proof", auditor.proof_file, *key), 0),
        (("--proof", auditor.proof_file, *key, "--json"), 0),
        (("--proof", auditor.proof_file, "--key", str(other)), 1),
        (("--proof", auditor.key_file, *key), 2),
        (("--proof", "nosuch", *key), 3),
        (("--proof", auditor.proof_file, "--policy", auditor.policy("both")), 5),
    ):
        result = auditor.verify(*words, "-q")
        assert (result.exit_code, result.stdout, result.stderr) == (exit_code, "", "")


def test_an_entry_cannot_steer_the_auditor(users: Shell) -> None:
    """What a stranger wrote into an entry is shown escaped."""
    users.tlog("append", "users", '"\x9b2J\u202e"')
    users.tlog("publish")
    auditor = Auditor(users)
    proof = auditor.write("proof", ok(users.tlog("prove", "users", ENTRIES)))
    shown = ok(auditor.verify("--proof", proof, "--key", auditor.key_file))
    assert 'data       "\\u009b2J\\u202e"\n' in shown
    fields = objects(ok(auditor.verify("--proof", proof, "--key", auditor.key_file, "--json")))[0]
    assert "\x9b2J\u202e" in fields["entry"]


def test_evidence(auditor: Auditor) -> None:
    """Two signed trees of one size are a fork, shown with the log's key alone; one tree twice is none (exit 1)."""
    other = tlog.Checkpoint(auditor.new.origin, auditor.new.tree_size, b"f" * 32).sign(auditor.log_key)
    forked = auditor.write("fork.evidence", Evidence(auditor.new, other).format())
    shown = ok(auditor.verify("--evidence", forked, "--key", auditor.key_file))
    assert shown.startswith(f"proved: the log {auditor.vkey.name} forked: it signed two trees")
    fields = objects(ok(auditor.verify("--evidence", forked, "--key", auditor.key_file, "--json")))[0]
    assert fields["root_hash"] == (b"f" * 32).hex()
    same = auditor.write("same.evidence", Evidence(auditor.new, auditor.new).format())
    assert auditor.verify("--evidence", same, "--key", auditor.key_file).exit_code == 1
    stranger = tlog.SigningKey.generate(auditor.vkey.name).verifier_key
    assert auditor.verify("--evidence", forked, "--key", str(stranger)).exit_code == 1
