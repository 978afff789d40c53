"""What witnesses answer a log: lines of strangers, answers that trickle, that lead elsewhere, that were lost."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.statements import signing_key, witness_key
from tests.witnessing.parties import WSGI, honest, new_witness, policy_text, served, witnessed_ledger
from tests.witnessing.test_collect import Party, answering
from tlog.checkpoint import Checkpoint
from tlog.cosignature import cosign_subtree
from tlog.errors import CorruptLedgerError, PolicyError
from tlog.keys import ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE, SigningKey
from tlog.ledger import Ledger
from tlog.note import NoteSignature
from tlog.policy import Policy
from tlog.witnessing.collect import MAX_TRIES, Collector


@pytest.fixture
def party(tmp_path: Path) -> Iterator[Party]:
    """A ledger that needs two of three witnesses."""
    with contextlib.ExitStack() as stack:
        yield Party(tmp_path, stack)


def body_of(environ: dict[str, Any]) -> bytes:
    """Return what was sent."""
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return body


def say(start: Any, status: str, body: bytes, *headers: tuple[str, str]) -> list[bytes]:
    """Answer."""
    start(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), *headers])
    return [body]


def test_lines_of_strangers_are_not_published(party: Party) -> None:
    """Of an answer only the witness's own line is taken, once; what is no line, or of another key, is passed over."""

    def talkative(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "GET":
            return honest(party.witnesses[0])(environ, start)
        body = body_of(environ)
        own = party.witnesses[0].add_checkpoint(body)
        signed = Checkpoint.parse(body.partition(b"\n\n")[2])
        other = signed.sign(witness_key(1), signing_key("x.example"), timestamp_s=1).signatures[-2:]
        renamed = NoteSignature(party.witnesses[0].name, b"abcd", bytes(72))
        lines = "".join(f"{line}\n" for line in (*other, renamed)).encode() + b"no line\n\n\xe2\x80\x94 x\n"
        return say(start, "200 OK", lines + own + own)

    party.apps[0] = talkative
    checkpoint = party.partition.publish()
    assert party.trust.verify(checkpoint).witnesses_met == ("w0", "w1", "w2")
    names = [line.name for line in checkpoint.signatures]
    assert names == [party.partition.origin, "w0.example", "w1.example", "w2.example"]


def test_a_cosignature_without_a_time(tmp_path: Path) -> None:
    """An ML-DSA-44 line without a time does not say that the tree is the largest: it counts for nothing."""
    key = SigningKey.generate("w.example", ML_DSA_44_COSIGNATURE)

    def untimed(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "GET":
            return say(start, "404 Not Found", b"")
        checkpoint = Checkpoint.parse(body_of(environ).partition(b"\n\n")[2])
        made = cosign_subtree(checkpoint.origin, 0, checkpoint.tree_size, checkpoint.root_hash, key)
        return say(start, "200 OK", f"{NoteSignature(made.key_name, made.key_id, made.payload)}\n".encode())

    with served(untimed) as url:
        _, partition = witnessed_ledger(tmp_path / "ledger", policy_text("all", [("w", key.verifier_key, url)]))
        with pytest.raises(PolicyError, match="w: answer: its cosignature has no time"):
            partition.publish()


def test_both_algorithms(tmp_path: Path) -> None:
    """A witness of two keys stands in a policy by either key, or by both."""
    witness = new_witness(tmp_path / "w", "w.example", post_quantum=True)
    with contextlib.closing(witness), served(honest(witness)) as url:
        members = [(f"w{number}", key, url) for number, key in enumerate(witness.vkeys)]
        text = policy_text("all", members)
        _, partition = witnessed_ledger(tmp_path / "ledger", text)
        witness.add_log(partition.vkey)
        verified = Policy.parse(f"log {partition.vkey}\n{text}").verify(partition.publish())
    assert verified.witnesses_met == ("w0", "w1")


def test_a_larger_tree_is_an_alarm(party: Party, tmp_path: Path) -> None:
    """A copy of the log, key and all, meets a larger tree that the key signed: nothing of it is published, and the
    error says that the data was rolled back; that the other witnesses would do does not matter.
    """
    party.partition.publish()
    party.ledger.close()
    copied = tmp_path / "copy"
    shutil.copytree(party.ledger.path, copied)
    partition = party.reopened()
    partition.append_many({"n": number} for number in range(9))
    partition.publish()
    for number in (1, 2):
        party.apps[number] = answering(503, b"")
    with Ledger.open(copied) as ledger:
        twin = ledger.partition("users")
        twin.append({"twin": 1})
        collector = Collector(Policy.parse(party.policy.replace("group g 2", "group g 1")))
        collector._has_looked = True  # as a process has that runs for a while
        twin._cosigning = collector
        with pytest.raises(
            CorruptLedgerError, match=r"w0 shows a checkpoint of 12 entries .* 4 are here: .*rolled back"
        ):
            twin.publish()
        assert twin.checkpoint().tree_size == 3


class Trickling:
    """A witness that sends its answer byte by byte, for half a minute. ended: the client hung up, or all was sent."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.is_whole = False

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        """Answer slowly."""
        body_of(environ)
        start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "600")])
        return self._bytes()

    def _bytes(self) -> Iterator[bytes]:
        try:
            for _ in range(600):
                time.sleep(0.05)
                yield b"x"
            self.is_whole = True
        finally:
            self.ended.set()


def test_answers_that_trickle_end_at_the_deadline(party: Party) -> None:
    """A byte now and then keeps nobody waiting, neither before the first signature nor after: the log hangs up."""
    slow = party.apps[0] = Trickling()
    party.partition._cosigning = Collector(Policy.parse(party.policy), deadline_s=3.0)
    assert party.trust.verify(party.partition.publish()).witnesses_met == ("w1", "w2")
    assert slow.ended.wait(60)
    assert not slow.is_whole
    slow = party.apps[0] = party.apps[1] = Trickling()
    party.partition.append({"n": 1})
    with pytest.raises(PolicyError, match=r"missing w0: .*; w1: "):
        party.partition.publish()
    assert slow.ended.wait(60)
    assert not slow.is_whole


def test_redirects_are_not_followed(party: Party) -> None:
    """A witness that has moved is missing, though its new place would answer well: URLs come from the policy only."""
    with served(honest(party.witnesses[2])) as elsewhere:

        def moved(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
            body_of(environ)
            return say(start, "307 Temporary Redirect", b"", ("Location", elsewhere + environ["PATH_INFO"]))

        party.apps[2] = moved
        assert party.trust.verify(party.partition.publish()).witnesses_missing == ("w2",)


@pytest.mark.parametrize("size", [b"0\n", b"1\n", b"3\n"])
def test_conflicts_are_answered_a_few_times(party: Party, size: bytes) -> None:
    """A witness that always names some size is asked so often, and no more."""
    asked: list[str] = []
    conflict = answering(409, size, "text/x.tlog.size")

    def counted(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        asked.append(environ["REQUEST_METHOD"])
        return conflict(environ, start)

    party.apps[2] = counted
    assert party.trust.verify(party.partition.publish()).witnesses_missing == ("w2",)
    assert asked.count("POST") == MAX_TRIES
    assert party.partition.witnesses()[2].trouble == "it named another size at each of 4 tries"


def test_answers_that_were_lost(party: Party) -> None:
    """Witnesses remembered the checkpoint and their answers were lost: the next try gets the cosignatures (S9)."""
    good = list(party.apps)

    def losing(app: WSGI) -> WSGI:
        def lose(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
            if environ["REQUEST_METHOD"] == "GET":
                return app(environ, start)
            b"".join(app(environ, lambda *_: None))
            return say(start, "502 Bad Gateway", b"")

        return lose

    party.apps[:] = [losing(app) for app in good]
    with pytest.raises(PolicyError, match="cosigned by nobody"):
        party.partition.publish()
    assert [tree.tree_size for witness in party.witnesses for _, tree in witness.latest() if tree] == [3, 3, 3]
    party.apps[:] = good
    for _ in range(2):
        assert party.trust.verify(party.partition.publish()).witnesses_met == ("w0", "w1", "w2")
        party.partition.append({"n": 1})


def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    """A policy's names are octets; who is missing can be said all the same, on terminals and in JSON."""
    key = SigningKey.generate("w.example", ED25519_COSIGNATURE).verifier_key
    policy = tmp_path / "policy"
    policy.write_bytes(b"witness \xff %b\nquorum \xff\n" % str(key).encode())
    _, partition = witnessed_ledger(tmp_path / "ledger", "quorum none\n")
    partition._cosigning = Collector(Policy.parse(policy.read_bytes()))
    with pytest.raises(PolicyError) as caught:
        partition.publish()
    for text in (str(caught.value), *caught.value.missing):
        assert text.isascii()


def test_connections_end_with_the_ledger(party: Party) -> None:
    """Connections to witnesses are kept between publications, closed with the ledger, and opened when needed again."""
    collector = party.partition._cosigning
    assert isinstance(collector, Collector)
    party.partition.publish()
    kept = collector._web
    assert kept is not None
    party.partition.append({"n": 1})
    party.partition.publish()
    assert collector._web is kept
    party.ledger.close()
    assert kept._http.is_closed
    party.partition.append({"n": 2})
    assert party.trust.verify(party.partition.publish()).tree_size == 5
    party.ledger.close()
