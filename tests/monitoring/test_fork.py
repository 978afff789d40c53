"""A log that forks on purpose: found by every honest party within one interval of gossip, and proven to anybody."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.monitoring.parties import Clock, Log, Taken, Web, monitor_of, settings_file
from tests.witnessing.parties import new_witness, served
from tlog.checkpoint import Checkpoint
from tlog.errors import InconsistentLogError, UnknownOriginError
from tlog.evidence import verify_evidence
from tlog.keys import SigningKey
from tlog.monitoring.gossip import Peer, proven
from tlog.monitoring.monitor import MISBEHAVED, Monitor
from tlog.monitoring.settings import read_settings
from tlog.monitoring.witness import WitnessGossip
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
    """A log with two views, three witnesses and two monitors, in memory. `a` is shown to some, `b` to the others."""

    def __init__(self, directory: Path, sizes: tuple[int, int]) -> None:
        self.clock, self.web, self.taken = Clock(), Web(), Taken()
        self.views = [Log(directory / name, self.clock) for name in "ab"]
        for log, size, word in zip(self.views, sizes, "ab", strict=True):
            log.grow(*({"n": number, "word": word} for number in range(size)))
        self.directory = directory
        self.policy = Policy.for_log(self.views[0].partition.vkey)
        self.witnesses = {f"w{number}": self._witness(f"w{number}") for number in range(3)}
        self.monitors: dict[str, Monitor] = {}
        self.gossips: dict[str, WitnessGossip] = {}

    def show(self, views: dict[str, int], silent: set[str]) -> None:
        """Let each party have seen the view of that number, and know all the others as peers."""
        names = ["w0", "w1", "w2", "m0", "m1"]
        for name in ("m0", "m1"):
            peers = [f"http://{other}" for other in names if other != name]
            path = settings_file(self.directory / name, [self.views[views[name]]], f"peers = {peers}")
            self.monitors[name] = monitor_of(path, self.clock, self.taken, self.web)
            self.web.sites[name] = self._of_monitor(self.monitors[name])
            for follower in self.monitors[name]._followers:
                follower.look()
        for name, witness in self.witnesses.items():
            checkpoint = self.views[views[name]].partition.checkpoint()
            witness.add_checkpoint(ConsistencyProof(0, (), checkpoint).format())
            peers = [f"http://{other}" for other in names if other != name]
            sites = {checkpoint.origin: str(self.views[views[name]].site)}
            self.gossips[name] = WitnessGossip(witness, peers, self.web, sites)
            self.web.sites[name] = self._of_witness(witness)
        for number, name in enumerate(sorted(silent)):
            if number % 2:
                self.web.sites[name] = lambda path: b"lies\n\nlies" if "evidence" not in path else b"0" * 64 + b"\n"
            else:
                del self.web.sites[name]

    def interval(self, order: tuple[str, ...]) -> None:
        """Let every party make its round, in this order."""
        for name in order:
            if name in self.monitors:
                self.monitors[name].round()
            else:
                self.gossips[name].round()

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

    def _witness(self, name: str) -> Witness:
        return new_witness(self.directory / name, f"{name}.example.net", self.views[0].partition.vkey)

    @staticmethod
    def _of_monitor(monitor: Monitor) -> Callable[[str], bytes | None]:
        client = create_monitor_app(monitor).test_client()
        return lambda path: reply.data if (reply := client.get(f"/{path}")).status_code == 200 else None

    @staticmethod
    def _of_witness(witness: Witness) -> Callable[[str], bytes | None]:
        client = create_witness_app(witness).test_client()
        return lambda path: reply.data if (reply := client.get(f"/{path}")).status_code == 200 else None


ALL = ("w0", "w1", "w2", "m0", "m1")
SPLITS = [
    {"w0": 0, "w1": 0, "w2": 1, "m0": 0, "m1": 1},
    {"w0": 0, "w1": 1, "w2": 1, "m0": 0, "m1": 0},
    {"w0": 1, "w1": 1, "w2": 1, "m0": 1, "m1": 0},
]


@pytest.mark.parametrize("silent", ["", "w0", "w2", "w1 m0"], ids=["none", "w0", "w2", "w1-m0"])
@pytest.mark.parametrize("split", SPLITS, ids=["both", "mixed", "alone"])
@pytest.mark.parametrize("sizes", [(5, 5), (4, 9), (300, 6)], ids=str)
def test_a_fork_is_found_by_everybody(
    tmp_path: Path, sizes: tuple[int, int], split: dict[str, int], silent: str
) -> None:
    """Whoever was shown what, and with a third of the parties lying or down, everybody honest knows after an interval.

    Where the trees differ in size, those who were shown the larger one find it in their first round; the others cannot
    compare, and get the evidence in their first round after that.
    """
    honest = [name for name in ALL if name not in silent.split()]
    if len({split[name] for name in honest}) == 1:
        split = {**split, honest[0]: 1 - split[honest[0]]}
    fork = Fork(tmp_path, sizes)
    try:
        fork.show(split, set(silent.split()))
        order = tuple(honest)
        fork.interval(order)
        if sizes[0] != sizes[1]:
            larger = sizes.index(max(sizes))
            assert all(fork.proofs(name) for name in honest if split[name] == larger)
            fork.interval(order)
        for name in honest:
            files = fork.proofs(name)
            assert files, name
            for file in files:
                assert verify_evidence(file, fork.policy).origin == fork.views[0].origin
        assert {body["kind"] for body in fork.taken.bodies} >= {"fork"}
        assert [fork.monitors[name].round().code for name in honest if name in fork.monitors].count(MISBEHAVED) >= 1
    finally:
        fork.close()


def test_an_honest_log_is_not_accused(tmp_path: Path) -> None:
    """Parties that saw the same log at different sizes find nothing, and what was ahead is reconciled."""
    fork = Fork(tmp_path, (3, 3))
    try:
        log = fork.views[0]
        fork.show(dict.fromkeys(ALL, 0), set())
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
    """A tree that a peer has seen and that the log does not show here, is an alert after a time."""
    fork = Fork(tmp_path, (3, 9))
    try:
        fork.show({**dict.fromkeys(ALL, 1), "m0": 0}, {"m1", "w1"})
        fork.monitors["m0"].round()
        fork.clock.now_s += 3600
        fork.monitors["m0"].round()
        assert "unreconciled" in fork.taken.kinds()
    finally:
        fork.close()


def test_peers_cannot_accuse_an_honest_log(tmp_path: Path) -> None:
    """Evidence of another log, checkpoints by another key, and noise, are nothing."""
    fork, web = Fork(tmp_path, (5, 5)), Web()
    try:
        log = fork.views[0]
        impostor = Log(tmp_path / "impostor", fork.clock, seed=bytes(range(1, 33)))
        impostor.grow(*range(5))
        fork.show(dict.fromkeys(ALL, 0), set())
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


def test_a_witness_that_knows_of_a_fork_cosigns_nothing_more(tmp_path: Path) -> None:
    """Evidence that came by gossip, also after a restart: no cosignature for that log, and the error carries it."""
    fork = Fork(tmp_path, (5, 5))
    try:
        log = fork.views[0]
        fork.show({**dict.fromkeys(ALL, 0), "w2": 1}, set())
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
                        WitnessGossip(witness, [url], WebTransport()).round()
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
