"""A log that forks on purpose: found by every honest party within one interval of gossip, and proven to anybody."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import pytest
from click.testing import CliRunner
from flask import Flask
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.monitoring.liars import TWISTS, Answer, lies
from tests.monitoring.parties import SEED, Clock, Log, Taken, Web, monitor_of, settings_file
from tests.witnessing.parties import new_witness, served
from tlog.checkpoint import Checkpoint
from tlog.earlier import prove_earlier_root
from tlog.errors import InconsistentLogError, UnknownOriginError
from tlog.evidence import verify_evidence
from tlog.keys import SigningKey
from tlog.monitoring.gossip import Peer, proven
from tlog.monitoring.monitor import MISBEHAVED, Monitor
from tlog.monitoring.proving import EarlierRoots
from tlog.monitoring.settings import read_settings
from tlog.monitoring.witness import WitnessGossip, WitnessTrees
from tlog.note import MAX_NOTE_SIZE
from tlog.policy import Policy, PolicyLog
from tlog.tlogproof import ConsistencyProof
from tlog.witnessing.home import WitnessHome
from tlog.witnessing.request import origin_hash
from tlog.witnessing.web import WebTransport
from tlog.witnessing.witness import Witness
from tlog_server.monitoring import create_monitor_app
from tlog_server.witnessing import create_witness_app
from tlog_tools.verify import main as verify_main


class Fork:
    """A log with several views, three witnesses and two monitors, in memory."""

    def __init__(self, directory: Path, sizes: tuple[int, ...], common: int = 0) -> None:
        """sizes: of each view. common: entries that they share."""
        self.clock, self.web, self.taken = Clock(), Web(), Taken()
        self.views = [Log(directory / name, self.clock) for name in "abc"[: len(sizes)]]
        for log, size, word in zip(self.views, sizes, "abc", strict=False):
            log.grow(*({"n": number, "word": word if number >= common else ""} for number in range(size)))
        self.directory = directory
        self.policy = Policy.for_log(self.views[0].partition.vkey)
        self.witnesses = {f"w{number}": self._witness(f"w{number}") for number in range(3)}
        self.monitors: dict[str, Monitor] = {}
        self.gossips: dict[str, WitnessGossip] = {}

    def show(self, views: dict[str, int], without_site: str = "") -> None:
        """Let each party have seen the view of that number, and know all the others as peers.

        without_site: the witnesses that do not know where the log's site is.
        """
        for name, number in views.items():
            peers = [f"http://{other}" for other in views if other != name]
            if name.startswith("m"):
                path = settings_file(self.directory / name, [self.views[number]], f"peers = {peers}")
                self.monitors[name] = monitor_of(path, self.clock, self.taken, self.web)
                self.monitors[name]._followers[0].look()
                self.web.sites[name] = _answers(create_monitor_app(self.monitors[name]))
                continue
            witness, checkpoint = self.witnesses[name], self.views[number].partition.checkpoint()
            witness.add_checkpoint(ConsistencyProof(0, (), checkpoint).format())
            sites = {} if name in without_site else {checkpoint.origin: str(self.views[number].site)}
            trees = WitnessTrees(witness, sites)
            self.gossips[name] = WitnessGossip(witness, peers, self.web, trees)
            self.web.sites[name] = _answers(create_witness_app(witness, EarlierRoots(trees.latest) if sites else None))

    def interval(self, order: Iterable[str]) -> None:
        """Let every party make its round, in this order."""
        for name in order:
            if name in self.monitors:
                self.monitors[name].round()
            else:
                self.gossips[name].round()

    def keep_evidence_back(self) -> None:
        """Let nobody pass on evidence: then no party's round depends on those before it, whatever their order."""
        for name, answer in self.web.sites.items():
            self.web.sites[name] = lambda path, answer=answer: None if "evidence" in path else answer(path)  # type: ignore[misc]

    def require_found(self, names: Iterable[str]) -> None:
        """Check that each of these parties can prove the fork."""
        for name in names:
            files = self.proofs(name)
            assert files, name
            for file in files:
                assert verify_evidence(file, self.policy).origin == self.views[0].origin

    def proofs(self, name: str) -> list[bytes]:
        """Return the evidence that a party holds."""
        if name in self.monitors:
            state = self.monitors[name].state
            return [state.evidence_file(found) for found, _, _ in state.evidence()]
        return [kept.evidence.format() for kept in self.witnesses[name].evidence()]

    def close(self) -> None:
        """Close all parties."""
        for monitor in self.monitors.values():
            monitor.close()
        for witness in self.witnesses.values():
            witness.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _witness(self, name: str) -> Witness:
        return new_witness(self.directory / name, f"{name}.example.net", self.views[0].partition.vkey)


def _answers(app: Flask) -> Answer:
    client = app.test_client()
    return lambda path: reply.data if (reply := client.get(f"/{path}")).status_code == 200 else None


ALL = ("w0", "w1", "w2", "m0", "m1")
SPLITS = {
    "both": {"w0": 0, "w1": 0, "w2": 1, "m0": 0, "m1": 1},
    "mixed": {"w0": 0, "w1": 1, "w2": 1, "m0": 0, "m1": 0},
    "alone": {"w0": 1, "w1": 1, "w2": 1, "m0": 1, "m1": 0},
}
SIZES = [(5, 5), (4, 9), (9, 4), (300, 6), (6, 300), (1, 2), (256, 512), (513, 257)]


@pytest.mark.parametrize("silent", ["", "w0", "w2", "w1 m0"], ids=["none", "w0", "w2", "w1-m0"])
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_a_fork_is_found_by_everybody(tmp_path: Path, sizes: tuple[int, int], split: str, silent: str) -> None:
    """Whoever was shown what, and with a third of the parties lying or down, each honest one knows after its own round.

    Nobody passes on what was found, so it is the same in every order of the rounds.
    """
    honest = [name for name in ALL if name not in silent.split()]
    views = SPLITS[split]
    if len({views[name] for name in honest}) == 1:
        views = {**views, honest[0]: 1 - views[honest[0]]}
    with Fork(tmp_path, sizes) as fork:
        fork.show(views)
        fork.keep_evidence_back()
        for number, name in enumerate(silent.split()):
            if number % 2:
                fork.web.sites[name] = lies("another root", fork.web.sites[name])
            else:
                del fork.web.sites[name]
        fork.interval(honest)
        fork.require_found(honest)
        assert {body["kind"] for body in fork.taken.bodies} >= {"fork"}
        assert all(fork.monitors[name].round().code == MISBEHAVED for name in honest if name in fork.monitors)


@settings(deadline=None, max_examples=12, phases=(Phase.generate,))
@given(st.permutations(ALL), st.sampled_from(SIZES), st.sampled_from(sorted(SPLITS)))
def test_in_any_order(order: list[str], sizes: tuple[int, int], split: str) -> None:
    """One interval is enough in any order of the rounds, with evidence being passed on."""
    with tempfile.TemporaryDirectory() as directory, Fork(Path(directory), sizes) as fork:
        fork.show(SPLITS[split])
        fork.interval(order)
        fork.require_found(ALL)


@pytest.mark.parametrize("liar", ["m1", "w2"])
@pytest.mark.parametrize("twist", TWISTS)
def test_lies_about_proofs(tmp_path: Path, twist: str, liar: str) -> None:
    """Whatever one party answers where it is asked for proofs: the fork is found, and an honest log is not accused."""
    honest = [name for name in ALL if name != liar]
    with Fork(tmp_path / "forked", (4, 9)) as fork:
        fork.show(SPLITS["both"])
        fork.keep_evidence_back()
        fork.web.sites[liar] = lies(twist, fork.web.sites[liar])
        fork.interval(honest)
        fork.require_found(honest)
    with Fork(tmp_path / "honest", (4, 9), common=4) as fork:
        fork.show(SPLITS["both"])
        fork.web.sites[liar] = lies(twist, fork.web.sites[liar])
        fork.interval(honest)
        fork.interval(honest)
        assert not any(fork.proofs(name) for name in ALL)


def test_a_lie_that_pleases(tmp_path: Path) -> None:
    """A peer that answers each with a proof out of the tree that the asker knows hides nothing but itself."""
    with Fork(tmp_path, (4, 9, 12), common=2) as fork:
        fork.show({"w0": 0, "w1": 1, "w2": 1, "m0": 0, "m1": 2}, without_site="w0 w1 w2")
        pleasing = fork.views[0].partition.checkpoint()
        tree = fork.monitors["m0"]._followers[0].tree(pleasing)
        truth = fork.web.sites["m1"]

        def please(path: str) -> bytes | None:
            if "/consistency/" in path:
                return prove_earlier_root(pleasing, tree, 4).format()
            return truth(path)

        fork.web.sites["m1"] = please
        fork.keep_evidence_back()
        fork.interval(ALL)
        assert fork.proofs("m0") == fork.proofs("w1") == []
        fork.web.sites["m1"] = truth
        fork.interval(ALL)
        fork.require_found(ALL)


def test_witnesses_without_tiles(tmp_path: Path) -> None:
    """Two witnesses alone cannot tell trees of two sizes apart; with one that can read the larger tree, all can."""
    views = {"w0": 0, "w1": 1}
    with Fork(tmp_path / "alone", (4, 9)) as fork:
        fork.show(views, without_site="w0 w1")
        fork.interval(views)
        fork.interval(views)
        assert not any(fork.proofs(name) for name in views)
    for number, more in enumerate(({"m1": 1}, {"w2": 1})):
        with Fork(tmp_path / str(number), (4, 9)) as fork:
            fork.show(views | more, without_site="w0 w1")
            fork.keep_evidence_back()
            fork.interval(views | more)
            fork.require_found(views | more)


@pytest.mark.parametrize("sizes", [(2, 7, 12), (2, 12, 7), (2, 8, 8)], ids=str)
def test_whoever_is_behind_both_sides(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    """Who knows no more than what both sides share, or nothing at all, still finds in one round that they differ."""
    views = {"w0": 0, "w1": 1, "w2": 2, "m0": 0, "m1": 2}
    with Fork(tmp_path, sizes, common=2) as fork:
        fork.show(views)
        fork.keep_evidence_back()
        path = settings_file(tmp_path / "m2", [fork.views[0]], f"peers = {[f'http://{name}' for name in ALL]}")
        with monitor_of(path, fork.clock, fork.taken, fork.web) as newcomer:
            shutil.move(fork.views[0].site, tmp_path / "away")
            newcomer.round()
            assert newcomer.state.evidence()
        shutil.move(tmp_path / "away", fork.views[0].site)
        fork.interval(ALL)
        fork.require_found(ALL)


def test_a_tree_that_holds_ones_own_is_still_missed(tmp_path: Path) -> None:
    """A larger tree that is proven to hold one's own accuses nobody; that the log does not show it here is said."""
    with Fork(tmp_path, (3, 9), common=3) as fork:
        fork.show({**dict.fromkeys(ALL, 1), "m0": 0})
        monitor = fork.monitors["m0"]
        monitor.round()
        assert (monitor.state.evidence(), fork.taken.kinds()) == ([], [])
        fork.clock.now_s += 3600
        monitor.round()
        assert fork.taken.kinds() == ["unreconciled"]


def test_an_honest_log_is_not_accused(tmp_path: Path) -> None:
    """Parties that saw the same log at different sizes find nothing, and what was ahead is reconciled."""
    fork = Fork(tmp_path, (3, 3))
    try:
        log = fork.views[0]
        fork.show(dict.fromkeys(ALL, 0))
        fork.monitors["m0"].round()
        log.grow(*range(300))
        fork.witnesses["w0"].add_checkpoint(log.partition.prove_consistency(3).format())
        shutil.move(log.site, tmp_path / "away")
        fork.monitors["m0"].round()
        assert len(fork.monitors["m0"].state.ahead(log.origin)) == 1
        shutil.move(tmp_path / "away", log.site)
        fork.interval(ALL)
        fork.interval(ALL)
        assert not any(fork.proofs(name) for name in ALL)
        assert fork.monitors["m0"].state.ahead(log.origin) == []
        assert fork.taken.kinds() == []
    finally:
        fork.close()


def test_what_is_shown_to_others_only_is_said_after_a_time(tmp_path: Path) -> None:
    """A tree that a peer has seen and that the log does not show here, is an alert after a time, proven or not."""
    with Fork(tmp_path, (3, 9)) as fork:
        fork.show({**dict.fromkeys(ALL, 1), "m0": 0}, without_site="w0 w1 w2")
        for name in ("m1", "w1"):
            del fork.web.sites[name]
        fork.monitors["m0"].round()
        assert fork.proofs("m0") == []
        fork.clock.now_s += 3600
        fork.monitors["m0"].round()
        assert "unreconciled" in fork.taken.kinds()


def test_peers_cannot_accuse_an_honest_log(tmp_path: Path) -> None:
    """Evidence of another log, checkpoints by another key, and noise, are nothing."""
    fork, web = Fork(tmp_path, (5, 5)), Web()
    try:
        log = fork.views[0]
        impostor = Log(tmp_path / "impostor", fork.clock, seed=bytes(range(1, 33)))
        impostor.grow(*range(5))
        fork.show(dict.fromkeys(ALL, 0))
        for raw in (impostor.partition.checkpoint().raw, b"", b"\xff" * 1000, b"x" * 100_000):
            web.sites["liar"] = lambda _, raw=raw: raw  # type: ignore[misc]
            with pytest.raises((Exception,)) as caught:
                Peer("http://liar", web).checkpoint(fork.policy, log.origin)
            assert type(caught.value).__module__ == "tlog.errors"
            assert proven([raw], fork.policy, log.origin) == []
        key = SigningKey.generate("other.example/log")
        both = Policy((PolicyLog(log.partition.vkey), PolicyLog(key.verifier_key)))
        other = Checkpoint("other.example/log", 5, bytes(32)).sign(key).raw
        web.sites["liar"] = lambda _: other
        with pytest.raises(UnknownOriginError):
            Peer("http://liar", web).checkpoint(both, log.origin)
    finally:
        fork.close()


def test_a_long_checkpoint_hides_no_fork(tmp_path: Path) -> None:
    """A log cannot keep its other tree out of gossip by extension lines as long as a witness takes."""
    with Fork(tmp_path, (5,)) as fork:
        origin = fork.views[0].origin
        filled = Checkpoint(origin, 5, bytes(32), ("x" * (MAX_NOTE_SIZE - 2000),))
        body = ConsistencyProof(0, (), filled.sign(SigningKey.from_seed(origin, SEED))).format()
        fork.witnesses["w0"].add_checkpoint(body)
        fork.web.sites["w0"] = _answers(create_witness_app(fork.witnesses["w0"]))
        path = settings_file(tmp_path / "m2", [fork.views[0]], 'peers = ["http://w0"]')
        with monitor_of(path, fork.clock, fork.taken, fork.web) as monitor:
            assert monitor.round().code == MISBEHAVED


def test_a_witness_that_knows_of_a_fork_cosigns_nothing_more(tmp_path: Path) -> None:
    """Evidence that came by gossip, also after a restart: no cosignature for that log, and the error carries it."""
    fork = Fork(tmp_path, (5, 5))
    try:
        log = fork.views[0]
        fork.show({**dict.fromkeys(ALL, 0), "w2": 1})
        fork.gossips["w0"].round()
        log.grow("more")
        body = log.partition.prove_consistency(5).format()
        with pytest.raises(InconsistentLogError, match="nothing of it is cosigned"):
            fork.witnesses["w0"].add_checkpoint(body)
        fork.witnesses["w0"].close()
        fork.witnesses["w0"] = WitnessHome(tmp_path / "w0").open()
        with pytest.raises(InconsistentLogError, match="nothing of it is cosigned"):
            fork.witnesses["w0"].add_checkpoint(body)
        assert fork.witnesses["w1"].add_checkpoint(body)
    finally:
        fork.close()


def test_end_to_end(tmp_path: Path) -> None:
    """Over HTTP: a monitor finds the fork by a witness, serves it, a second one takes it up, `tlog-verify` judges."""
    clock, taken = Clock(), Taken()
    views = [Log(tmp_path / name, clock) for name in "ab"]
    for log, word in zip(views, "ab", strict=True):
        log.grow(*({"n": number, "word": word} for number in range(5)))
    log = views[0]
    with new_witness(tmp_path / "w", "w.example.net", log.partition.vkey) as witness:
        witness.add_checkpoint(ConsistencyProof(0, (), views[1].partition.checkpoint()).format())
        with served(create_witness_app(witness)) as witness_url:
            first = settings_file(tmp_path / "m0", [log], f'peers = ["{witness_url}"]\ninterval_s = 0.2')
            with monitor_of(first, clock, taken) as monitor:
                monitor.start()
                app = create_monitor_app(monitor)
                with served(app) as url:
                    second = settings_file(tmp_path / "m1", [log], f'peers = ["{url}"]')
                    with monitor_of(second, clock, Taken()) as other:
                        for _ in itertools.repeat(None, 200):
                            if monitor.state.evidence():
                                break
                            monitor._stop.wait(0.05)
                        assert other.round().code == MISBEHAVED
                        WitnessGossip(witness, [url], WebTransport(), WitnessTrees(witness, {})).round()
                        assert len(witness.evidence()) == 1
                        ((name, _, _),) = other.state.evidence()
                        file = tmp_path / "fork.evidence"
                        file.write_bytes(other.state.evidence_file(name))
                        client = app.test_client()
                        assert client.get(f"/{origin_hash(log.origin)}/checkpoint").status_code == 200
                        assert client.get("/evidence").data == f"{name}\n".encode()
                        assert client.get(f"/evidence/{'0' * 64}").status_code == 404
                        assert client.get(f"/{'0' * 64}/checkpoint").status_code == 404
                        assert client.get("/healthz").status_code == 200
                        assert (
                            b'tlog_monitor_evidence{origin="audit.example.com/users"} 1' in client.get("/metrics").data
                        )
    shown = CliRunner().invoke(verify_main, ["--evidence", str(file), "--key", str(log.partition.vkey)])
    assert shown.exit_code == 0, shown.output
    assert read_settings(first).peers == (witness_url,)
