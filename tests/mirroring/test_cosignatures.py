"""What a mirror's checkpoint carries: the log's lines, its own, and those of witnesses that it verified; no others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

import tlog
from tests.mirroring.conftest import LINES, SECRET, SIGNER, body, opened, reading
from tests.mirroring.test_pull import Pair
from tests.statements import LOG, ORIGIN, checkpoint, consistency_path, signing_key, tree_hash, witness_key
from tests.witnessing.parties import honest, new_witness, policy_text, served, witnessed_ledger
from tlog.checkpoint import Checkpoint
from tlog.cosignature import Cosignature, cosign_subtree
from tlog.errors import FormatError, PolicyError, SignatureError
from tlog.keys import ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE
from tlog.mirroring.mirror import Mirror
from tlog.mirroring.pull import pull
from tlog.mirroring.push import push
from tlog.mirroring.restore import restore
from tlog.mirroring.source import DirectorySource, open_source
from tlog.note import MAX_NOTE_SIZE, NoteSignature
from tlog.policy import Policy, PolicyGroup, PolicyWitness
from tlog.tlogproof import ConsistencyProof
from tlog.witnessing.request import origin_hash
from tlog.witnessing.state import WitnessState
from tlog.witnessing.web import WebTransport
from tlog_server.mirroring import create_mirror_app
from tlog_tools.verify import main as tlog_verify

WITNESSES = [witness_key(number) for number in range(3)]
STRANGER = NoteSignature("stranger.example", b"abcd", b"nobody verified this")
SECOND = signing_key("mirror2.example.net", ED25519_COSIGNATURE)


def names(mirror: Mirror, origin: str = ORIGIN) -> list[str]:
    """Return whose lines the mirror checkpoint has."""
    found = mirror.store(origin).checkpoint()
    assert found is not None
    return [line.name for line in found.signatures]


def add(mirror: Mirror, signed: Checkpoint, old: int, *witnesses: int) -> None:
    """Bring a checkpoint, to a mirror that knows these witnesses."""
    hashes = consistency_path(old, LINES[: signed.tree_size]) if 0 < old < signed.tree_size else ()
    keys = [witness_key(number).verifier_key for number in witnesses]
    assert mirror.add_checkpoint(ConsistencyProof(old, hashes, signed).format(), keys) == b""


def test_lines_that_were_verified_are_kept(mirror: Mirror) -> None:
    """Of known witnesses, each once; unknown, forged, timeless ones are dropped; more may come, none is lost (S9)."""
    good = checkpoint(LINES[:300], LOG, WITNESSES[0], WITNESSES[1])
    forged = replace(good.signatures[1], name=WITNESSES[2].verifier_key.name, key_id=WITNESSES[2].verifier_key.key_id)
    timeless = signing_key("timeless.example", ML_DSA_44_COSIGNATURE)
    made = cosign_subtree(ORIGIN, 0, 300, good.root_hash, timeless)
    zero = NoteSignature(made.key_name, made.key_id, made.payload)
    lines = (STRANGER, good.signatures[1], forged, zero, *good.signatures, good.signatures[1])
    keys = [WITNESSES[0].verifier_key, WITNESSES[2].verifier_key, timeless.verifier_key]
    mirror.add_checkpoint(ConsistencyProof(0, (), replace(good, signatures=lines)).format(), keys)
    mirror.add_entries(reading(body(0, 300)))
    witness0, witness1, witness2 = (key.verifier_key.name for key in WITNESSES)
    own = SIGNER.verifier_key.name
    assert names(mirror) == [ORIGIN, witness0, own]
    add(mirror, good, 300)
    mirror.add_entries(reading(body(300, 300)))
    assert names(mirror) == [ORIGIN, witness0, own], "an answer without them takes none away"
    add(mirror, checkpoint(LINES[:300], LOG, WITNESSES[2]), 300, 0, 1, 2)
    add(mirror, good, 300, 0, 1, 2)
    mirror.finish(ORIGIN)
    assert sorted(names(mirror)) == sorted([ORIGIN, witness0, witness1, witness2, own])
    add(mirror, checkpoint(LINES[:700]), 300, 0, 1, 2)
    mirror.add_entries(reading(body(300, 700)))
    assert names(mirror) == [ORIGIN, own], "they were about the smaller tree"


def test_a_note_that_is_full(mirror: Mirror) -> None:
    """A hundred lines: the mirror's own has its place."""
    keys = [signing_key(f"w{number}.example", ED25519_COSIGNATURE) for number in range(99)]
    signed = checkpoint(LINES[:3], LOG, *keys)
    proof = ConsistencyProof(0, (), signed).format()
    mirror.add_checkpoint(proof, [key.verifier_key for key in keys])
    mirror.add_entries(reading(body(0, 3)))
    found = names(mirror)
    assert (len(found), found[0], found[-1]) == (100, ORIGIN, SIGNER.verifier_key.name)


def test_a_note_without_room(mirror: Mirror) -> None:
    """A checkpoint that is so long that it could not be read any more once it is cosigned is not signed (400)."""
    plain = Checkpoint(ORIGIN, 3, tree_hash(LINES[:3])).sign(LOG)
    room = MAX_NOTE_SIZE - len(plain.raw) - 1
    for extension in ("x" * room, "x" * (room - 200)):
        full = Checkpoint(ORIGIN, 3, tree_hash(LINES[:3]), (extension,)).sign(LOG)
        pending = mirror.pending(ORIGIN)
        add(mirror, full, 0 if pending is None else 3)
        if extension == "x" * room:
            with pytest.raises(FormatError, match="cosignatures it has more than"):
                mirror.add_entries(reading(body(0, 3)))
            assert mirror.store(ORIGIN).checkpoint() is None
        else:
            assert mirror.add_entries(reading(body(3, 3)))
            assert mirror.store(ORIGIN).checkpoint() is not None


def test_the_time_does_not_go_back(tmp_path: Path) -> None:
    """A clock that steps back does not take the time of a cosignature back, and is never zero; nor after a restart."""
    times = iter([0.0, 0.0, 2000.0, 2000.0])
    sizes = iter([(0, 3), (3, 256), (256, 300), (300, 512), (512, 700)])
    found = []
    for clock in (lambda: next(times), lambda: 1000.0):
        with opened(tmp_path / "m", clock=clock) as mirror:
            for old, size in (next(sizes), next(sizes)):
                add(mirror, checkpoint(LINES[:size]), old)
                (line,) = mirror.add_entries(reading(body(old, size)))
                found.append(Cosignature.decode(line.name, line.key_id, line.signature).timestamp_s)
    assert found == [1, 2000, 2000, 2000]


class Witnessed(NamedTuple):
    """A ledger whose quorum is two of two witnesses, its site, and the policy of its readers."""

    directory: Path
    ledger: tlog.Ledger
    log: tlog.Partition
    policy: Policy

    def mirror(self, name: str, signer: tlog.SigningKey) -> Mirror:
        """Return a new mirror of the log."""
        home = self.directory / name
        home.mkdir()
        WitnessState.create(home / "state", home / "record")
        mirror = Mirror(home / "logs", WitnessState(home / "state", home / "record"), [signer], SECRET)
        mirror.add_log(self.log.vkey)
        return mirror


@pytest.fixture
def witnessed(tmp_path: Path) -> Iterator[Witnessed]:
    """700 entries, published with the quorum's cosignatures."""
    log_key = None
    with new_witness(tmp_path / "w1", "w1.example") as first, new_witness(tmp_path / "w2", "w2.example") as second:
        with served(honest(first)) as one, served(honest(second)) as two:
            members = [("W1", first.vkeys[0], one), ("W2", second.vkeys[0], two)]
            ledger, log = witnessed_ledger(tmp_path / "ledger", policy_text("all", members))
            log_key = log.vkey
            first.add_log(log_key)
            second.add_log(log_key)
            log.append_many({"n": number} for number in range(3, 700))
            log.publish()
        log.export(tmp_path / "site")
        policy = Policy.parse(f"log {log_key}\n{policy_text('all', members)}")
        yield Witnessed(tmp_path, ledger, log, policy)
        ledger.close()


def test_whoever_asks_for_the_quorum_can_use_the_mirror(witnessed: Witnessed) -> None:
    """Pulled under the policy, served, mirrored again over HTTP, verified by tlog-verify, restored to its origin."""
    mirror, again = witnessed.mirror("m1", SIGNER), witnessed.mirror("m2", SECOND)
    pull(mirror, witnessed.policy, DirectorySource(witnessed.directory / "site"))
    name = origin_hash(witnessed.log.origin)
    logs, witnesses = witnessed.policy.logs, (*witnessed.policy.witnesses, PolicyWitness("M", SIGNER.verifier_key))
    strict = Policy(logs, witnesses, (PolicyGroup("all", 3, ("W1", "W2", "M")),), "all")
    with served(create_mirror_app(mirror)) as url:
        assert pull(again, strict, open_source(f"{url}/{name}")).tree_size == 700
        client = tlog.Client(f"{url}/audit.example.com", policy=strict)
        assert [entry.seq for entry in client.entries()] == list(range(700))
        client.close()
    found = (witnessed.directory / "m2" / "logs" / name / "checkpoint").read_bytes()
    assert strict.verify(found).witnesses_missing == ()
    (witnessed.directory / "policy").write_bytes(strict.format())
    (witnessed.directory / "copy").write_bytes(found)
    words = ["--checkpoint", str(witnessed.directory / "copy"), "--policy", str(witnessed.directory / "policy")]
    assert CliRunner().invoke(tlog_verify, words).exit_code == 0
    witnessed.log.paths.root.rename(witnessed.directory / "lost")
    witnessed.ledger.close()
    with tlog.Ledger.open(witnessed.directory / "ledger") as ledger:
        restore(ledger, "users", DirectorySource(witnessed.directory / "m2" / "logs" / name))
    with tlog.Ledger.open(witnessed.directory / "ledger") as ledger:
        restored = ledger.partition("users")
        assert witnessed.policy.verify(restored.site.checkpoint().raw).tree_size == 700
        assert [line.name for line in restored.site.checkpoint().signatures] == [
            restored.origin,
            "w1.example",
            "w2.example",
        ]


def test_a_pull_without_the_quorum(witnessed: Witnessed) -> None:
    """A site whose checkpoint lacks a cosignature that the policy asks for, or has a wrong one, is not pulled from."""
    site = witnessed.directory / "site" / "checkpoint"
    signed = Checkpoint.parse(site.read_bytes())
    mirror = witnessed.mirror("m1", SIGNER)
    wrong = replace(signed.signatures[2], signature=signed.signatures[1].signature)
    for last, kind in ((STRANGER, PolicyError), (wrong, SignatureError)):
        site.chmod(0o644)
        site.write_bytes(replace(signed, signatures=(*signed.signatures[:2], last)).raw)
        with pytest.raises(kind):
            pull(mirror, witnessed.policy, DirectorySource(site.parent))
        assert mirror.pending(signed.origin) is None


def test_pushed_with_cosignatures(witnessed: Witnessed) -> None:
    """A mirror that knows the policy's witnesses keeps their lines of what is pushed; another one has its own only."""
    for name, keys in (("m1", [witness.key for witness in witnessed.policy.witnesses]), ("m2", [])):
        mirror = witnessed.mirror(name, SIGNER)
        with served(create_mirror_app(mirror, keys)) as url, WebTransport() as transport:
            push(witnessed.log, url, transport)
        found = mirror.store(witnessed.log.origin).checkpoint()
        assert found is not None
        assert len(witnessed.policy.authenticate(found).cosignatures) == len(keys)
        assert len(found.signatures) == 2 + len(keys)


def test_restoring_publishes_no_unverified_line(tmp_path: Path) -> None:
    """Lines of strangers in a copy are not published again, not even under the log's own name."""
    pair = Pair(tmp_path)
    file = pair.site / "checkpoint"
    signed = Checkpoint.parse(file.read_bytes())
    file.chmod(0o644)
    file.write_bytes(
        replace(signed, signatures=(STRANGER, replace(STRANGER, name=signed.origin), *signed.signatures)).raw
    )
    pair.log.paths.root.rename(tmp_path / "lost")
    pair.ledger.close()
    with tlog.Ledger.open(tmp_path / "ledger") as ledger:
        restore(ledger, "users", DirectorySource(pair.site))
        assert ledger.partition("users").site.checkpoint().raw == signed.raw
