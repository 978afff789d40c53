"""The log's side: what is published needs the quorum, from witnesses that may be slow, wrong, down or lying."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.witnessing.parties import WSGI, honest, new_witness, policy_text, served, witnessed_ledger
from tlog.errors import CorruptLedgerError, FormatError, InconsistentLogError, NotFoundError, PolicyError
from tlog.keys import ED25519_COSIGNATURE, SigningKey, VerifierKey
from tlog.ledger import Ledger
from tlog.note import NoteSignature
from tlog.partition import Partition
from tlog.policy import Policy
from tlog.verify import verify_proof
from tlog.witnessing.collect import Collector


class Party:
    """Three witnesses on real ports, and a ledger that asks them."""

    def __init__(self, tmp_path: Path, stack: contextlib.ExitStack, quorum: str = "2") -> None:
        self.tmp_path = tmp_path
        self.witnesses = [new_witness(tmp_path / f"w{number}", f"w{number}.example") for number in range(3)]
        for witness in self.witnesses:
            stack.callback(witness.close)
        self.stack = stack
        self.apps: list[WSGI] = [honest(witness) for witness in self.witnesses]
        members = []
        for number, witness in enumerate(self.witnesses):
            url = stack.enter_context(served(self._relay(number)))
            members.append((f"w{number}", witness.vkeys[0], url))
        self.policy = policy_text(quorum, members)
        self.ledger, self.partition = witnessed_ledger(tmp_path / "ledger", self.policy)
        stack.callback(self.ledger.close)
        for witness in self.witnesses:
            witness.add_log(self.partition.vkey)

    def _relay(self, number: int) -> WSGI:
        """Return an application that is whatever `apps` has at each request."""

        def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
            return self.apps[number](environ, start)

        return app

    @property
    def trust(self) -> Policy:
        """The policy of somebody who verifies."""
        return Policy.parse(f"log {self.partition.vkey}\n{self.policy}")

    def reopened(self) -> Partition:
        """The partition in a new process, so to speak."""
        self.ledger.close()
        self.ledger = Ledger.open(self.ledger.path)
        self.stack.callback(self.ledger.close)
        self.partition = self.ledger.partition("users")
        return self.partition


@pytest.fixture
def party(tmp_path: Path) -> Iterator[Party]:
    """A ledger that needs two of three witnesses."""
    with contextlib.ExitStack() as stack:
        yield Party(tmp_path, stack)


def answering(status: int, body: bytes, content_type: str = "text/plain") -> WSGI:
    """Return an application that always answers so."""

    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start(f"{status} x", [("Content-Type", content_type), ("Content-Length", str(len(body)))])
        return [body]

    return app


def test_published_with_the_quorum(party: Party) -> None:
    """Checkpoints carry the cosignatures, proofs of all signed sizes verify under the policy."""
    for count in (3, 300, 301):
        party.partition.append_many({"n": n} for n in range(count - party.partition.size))
        checkpoint = party.partition.publish()
        assert party.trust.verify(checkpoint).witnesses_met == ("w0", "w1", "w2")
        assert party.partition.publish() == checkpoint == party.partition.checkpoint()
    for size in (3, 300, 301):
        verified = verify_proof(party.partition.prove(1, size), policy=party.trust)
        assert verified.checkpoint.tree_size == size
    assert party.partition.fsck().findings == ()
    party.partition.verify()
    assert [w.size for w in party.partition.witnesses()] == [301] * 3


def test_one_witness_down_is_enough_for_two_of_three(party: Party) -> None:
    """The quorum decides; the standing says who is missing, and why."""
    party.apps[1] = answering(500, b"broken\x1b[31m")
    checkpoint = party.partition.publish()
    assert party.trust.verify(checkpoint).witnesses_missing == ("w1",)
    standing = party.partition.witnesses()
    assert [w.size for w in standing] == [3, None, 3]
    assert standing[1].trouble == "it answered 500: broken\\u001b[31m"


def test_without_the_quorum_the_last_one_stays(party: Party) -> None:
    """Nothing is published without the quorum, the checkpoint before is served on; later it goes on by itself."""
    before = party.partition.publish()
    good = list(party.apps)
    party.apps[0] = party.apps[1] = answering(503, b"")
    for round_ in range(3):
        if round_ < 2:
            party.partition.append({"round": round_})
        with pytest.raises(PolicyError, match=r"missing w0: it answered 503: no words; w1") as caught:
            party.partition.publish()
        assert (caught.value.met, caught.value.missing) == (("w2",), ("w0", "w1"))
        assert party.partition.checkpoint() == before
        with pytest.raises(NotFoundError):
            party.partition.prove(3)
    assert party.partition.fsck().findings == ()
    party.partition.verify()
    party.apps[:] = good
    partition = party.reopened()
    checkpoint = partition.publish()
    assert party.trust.verify(checkpoint).tree_size == 5
    verify_proof(partition.prove(4), policy=party.trust)
    assert partition.fsck().findings == ()


BAD_ANSWERS: dict[str, Callable[[Party], bytes]] = {
    "a line that signs something else": lambda party: other_line(party.witnesses[0].vkeys[0]),
    "garbage": lambda _: b"garbage\n",
    "not UTF-8": lambda _: b"\xff\n",
    "nothing": lambda _: b"",
    "many lines": lambda _: "— a b\n".encode() * 200,
    "too long": lambda _: b"x" * (1 << 17),
}


def other_line(key: VerifierKey) -> bytes:
    """A line of the right name and ID that signs something else."""
    return f"{NoteSignature(key.name, key.key_id, b'12345678' + bytes(64))}\n".encode()


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_bad_answers_count_for_nothing(party: Party, name: str) -> None:
    """A 200 with anything but a verified cosignature is no cosignature, and nothing of it is published."""
    party.apps[0] = answering(200, BAD_ANSWERS[name](party))
    checkpoint = party.partition.publish()
    assert party.trust.verify(checkpoint).witnesses_met == ("w1", "w2")
    assert [line.name for line in checkpoint.signatures] == [party.partition.origin, "w1.example", "w2.example"]
    assert party.partition.witnesses()[0].trouble


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (409, b"0\n", "text/x.tlog.size"),
        (409, b"", "text/plain"),
        (409, b"01\n", "text/x.tlog.size"),
        (409, b"-1\n", "text/x.tlog.size"),
        (409, b"2", "text/x.tlog.size"),
        (409, b"99999999999999999999\n", "text/x.tlog.size"),
        (409, b"1000000\n", "text/x.tlog.size"),
        (302, b"", "text/plain"),
        (404, b"", "text/plain"),
        (429, b"", "text/plain"),
    ],
)
def test_other_answers_end(party: Party, status: int, body: bytes, kind: str) -> None:
    """Conflicts without end, sizes that nothing shows, and refusals end after a few tries, and block nobody."""
    party.apps[2] = answering(status, body, kind)
    checkpoint = party.partition.publish()
    assert party.trust.verify(checkpoint).witnesses_missing == ("w2",)


def test_a_witness_that_was_asked_by_somebody_else(party: Party) -> None:
    """Where another process has published meanwhile, the witness's own size is where the proof begins."""
    party.partition.publish()
    other = Ledger.open(party.ledger.path)
    party.stack.callback(other.close)
    party.partition.append_many({"n": n} for n in range(5))
    other.partition("users").publish()
    party.partition.append({"n": 9})
    assert party.trust.verify(party.partition.publish()).witnesses_met == ("w0", "w1", "w2")


def test_slow_witnesses_are_not_waited_for(party: Party) -> None:
    """A witness that answers late is left out where the quorum is met; else the deadline ends the wait."""

    def slow(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        time.sleep(3)
        return honest(party.witnesses[0])(environ, start)

    party.apps[0] = slow
    party.partition._cosigning = Collector(Policy.parse(party.policy), deadline_s=1.0)
    assert party.trust.verify(party.partition.publish()).witnesses_met == ("w1", "w2")
    party.apps[1] = slow
    party.partition.append({"n": 1})
    with pytest.raises(PolicyError, match=r"did not answer within 1 s"):
        party.partition.publish()


def test_a_log_that_was_rolled_back_with_its_key(party: Party, tmp_path: Path) -> None:
    """Data and the key's record put back from a backup together: the witnesses remember, and nothing is signed (R3)."""
    party.partition.publish()
    party.ledger.close()
    shutil.copytree(party.ledger.path, tmp_path / "backup")
    partition = party.reopened()
    partition.append_many({"n": n} for n in range(4))
    partition.publish()
    party.ledger.close()
    shutil.rmtree(party.ledger.path)
    shutil.copytree(tmp_path / "backup", party.ledger.path)
    partition = party.reopened()
    partition.append({"other": "history"})
    record = partition.paths.signed.read_bytes()
    with pytest.raises(CorruptLedgerError, match=r"w0 shows a checkpoint of 7 entries .* 4 are here: .*rolled back"):
        partition.publish()
    assert partition.paths.signed.read_bytes() == record, "nothing was signed"


def test_a_key_that_is_used_twice(party: Party, tmp_path: Path) -> None:
    """Two copies of a ledger: the second one meets what the first one published, at a larger and at the same size."""
    party.partition.publish()
    party.ledger.close()
    shutil.copytree(party.ledger.path, tmp_path / "copy")
    copy = Ledger.open(tmp_path / "copy")
    party.stack.callback(copy.close)
    twin = copy.partition("users")
    twin.append({"twin": 1})
    partition = party.reopened()
    partition.append({"first": 1})
    collector = Collector(Policy.parse(party.policy))
    collector._has_looked = True  # as a process has that runs for a while
    twin._cosigning = collector
    partition.publish()
    with pytest.raises(InconsistentLogError, match="signed two trees of size 4") as caught:
        twin.publish()
    for note in (caught.value.old_note, caught.value.new_note):
        assert Policy.for_log(twin.vkey).authenticate(note).tree_size == 4
    assert twin.checkpoint().tree_size == 3


def test_settings_are_checked(tmp_path: Path) -> None:
    """A missing policy file, and a damaged one, are named; members without a URL cannot be asked, and are named too."""
    key = SigningKey.generate("w.example", ED25519_COSIGNATURE).verifier_key
    _, partition = witnessed_ledger(tmp_path / "ledger", policy_text("all", [("w", key, None)]))
    with pytest.raises(PolicyError, match="missing w: it has no URL"):
        partition.publish()
    policy = tmp_path / "ledger" / "witnesses.policy"
    policy.write_text("quorum w\n")
    with pytest.raises(FormatError, match=r"witnesses.policy, policy line 1"):
        Ledger.open(tmp_path / "ledger").partition("users")
    policy.unlink()
    with pytest.raises(NotFoundError, match=r"witnesses\.policy"):
        Ledger.open(tmp_path / "ledger").partition("users")
