"""Each kind of alert that docs/monitor.md names: not said of a log in order, said where its cause is there, and over.

One set of settings looks for everything at once, so that each cause must bring about its own kind and no other one.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask import Flask, Response, request

from tests.monitoring.parties import SEED, Clock, Log, Taken, Web, monitor_of, settings_file
from tests.statements import tree_hash, witness_key
from tests.witnessing.parties import served
from tlog.bundle import encode_bundle
from tlog.checkpoint import Checkpoint
from tlog.entry import ChainHead, encode_lines, encode_payload
from tlog.keys import SigningKey
from tlog.monitoring.deliver import deliver_to
from tlog.monitoring.monitor import FINE, MISBEHAVED, NO_QUORUM, REMARKABLE, TROUBLE, Monitor, Report
from tlog.monitoring.settings import read_settings
from tlog.monitoring.state import MonitorState
from tlog_tools.monitor import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "monitor.md"
ROW = re.compile(r"^\| `(\w+)` \| (critical|error|warning|as the rule says) \|", re.MULTILINE)
SEVERITIES = dict(ROW.findall(PAGE.read_text("utf-8")))
"""The table of kinds."""

WITNESSES = [witness_key(number) for number in range(3)]
INTERVAL_S, UNREACHABLE_S, UNRECONCILED_S, STALE_S = 100, 600, 3600, 7200
SETTINGS = f"""
unreachable_s = {UNREACHABLE_S}
unreconciled_s = {UNRECONCILED_S}
skew_s = 60
peers = ["http://peer"]
metrics_file = "metrics.prom"
"""
IN_LOG = f"""
stale_s = {STALE_S}
[log.growth]
interval_s = {INTERVAL_S}
least = 10
"""
RULE = '[[rule]]\nname = "mallory"\nquery = "actor=mallory"\nseverity = "error"\n'


class Scene:
    """A log with three witnesses, two of which are the quorum, a peer that has its checkpoint, and a monitor."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock, self.taken, self.web = Clock(), Taken(), Web()
        self.log = Log(directory / "log", self.clock)
        self.path = directory / "m" / "monitor.toml"
        for _ in range(14):
            self.clock.now_s += INTERVAL_S
            self.grow({"actor": "alice"}, {"actor": "bob"})
            if not self.path.exists():
                settings_file(directory / "m", [self.log], SETTINGS, IN_LOG)
                self.path.write_text(self.path.read_text() + RULE)
            with self.monitor() as monitor:
                monitor.round()

    def monitor(self) -> Monitor:
        """Return the monitor."""
        return monitor_of(self.path, self.clock, self.taken, self.web)

    def rounds(self) -> Report:
        """Make two rounds, the second one just now; return what it came to."""
        with self.monitor() as monitor:
            monitor.round()
            return monitor.round()

    def grow(self, *events: object) -> None:
        """Append, publish, have everybody cosign, and show it to all."""
        if events:
            self.log.grow(*events)
        lines = "\n".join(f"witness w{n} {key.verifier_key}" for n, key in enumerate(WITNESSES))
        self.log.policy.write_text(f"log {self.log.partition.vkey}\n{lines}\ngroup g 2 w0 w1 w2\nquorum g\n")
        self.cosign(*WITNESSES)
        shown = self.log.partition.checkpoint()
        self.web.sites["peer"] = lambda path: shown.raw if path.endswith("/checkpoint") else None

    def has_metric(self, kind: str) -> bool:
        """Whether the file of metrics says that a condition of this kind lasts."""
        sample = f'tlog_monitor_condition{{origin="{self.log.origin}",kind="{kind}'
        return sample in (self.path.parent / "metrics.prom").read_text()

    def cosign(self, *witnesses: SigningKey) -> None:
        """Show the log's checkpoint with the cosignatures of these."""
        signed = self.log.partition.checkpoint().sign(*witnesses, timestamp_s=int(self.clock.now_s))
        (self.log.site / "checkpoint").write_bytes(signed.raw)

    def show(self, lines: list[bytes]) -> None:
        """Show a tree of these entries, which log and witnesses have signed, whatever they say."""
        shutil.rmtree(self.log.site)
        (self.log.site / "tile" / "0").mkdir(parents=True)
        (self.log.site / "tile" / "entries").mkdir()
        hashes = b"".join(tree_hash([line]) for line in lines)
        for name, content in (("0", hashes), ("entries", encode_bundle(lines))):
            path = self.log.site / "tile" / name / "000.p" / str(len(lines))
            path.parent.mkdir()
            path.write_bytes(content)
        key = SigningKey.from_seed(self.log.origin, SEED)
        signed = Checkpoint(self.log.origin, len(lines), tree_hash(lines))
        signed = signed.sign(key, *WITNESSES, timestamp_s=int(self.clock.now_s))
        (self.log.site / "checkpoint").write_bytes(signed.raw)
        self.web.sites["peer"] = lambda path: signed.raw if path.endswith("/checkpoint") else None

    def entries(self) -> list[bytes]:
        """Return the lines of the log."""
        return [self.log.partition.entry(seq).raw for seq in range(self.log.partition.size)]

    def next_line(self, ts: str) -> bytes:
        """Return the line that continues the log, at this time."""
        last = self.log.partition.entry(self.log.partition.size - 1)
        head = ChainHead(self.log.partition.size, last.hash.hex().encode(), b"")
        return encode_lines(head, b"users", ts.encode(), [encode_payload("x")]).blocks[0].text[:-1]

    def last_ts(self) -> str:
        """Return the time of the last entry."""
        return self.log.partition.entry(self.log.partition.size - 1).ts

    def restore(self) -> None:
        """Have all in order again."""
        shutil.rmtree(self.log.site, ignore_errors=True)
        self.log.partition.export(self.log.site)
        self.grow()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A monitor that has followed a log for 14 intervals, and has learned what is usual."""
    made = Scene(tmp_path)
    yield made
    made.log.ledger.close()


def fork(scene: Scene) -> None:
    """The log shows another tree of the same size."""
    scene.show([line.replace(b"alice", b"trudy") for line in scene.entries()])
    del scene.web.sites["peer"]


def flip(scene: Scene) -> None:
    """The entries that came last are not those of the tree."""
    scene.grow({"actor": "carol"})
    file = scene.log.site / "tile" / "entries" / "000.p" / str(scene.log.partition.size)
    file.write_bytes(file.read_bytes().replace(b"carol", b"karol"))


def unlink(scene: Scene) -> None:
    """The log signed an entry that does not continue the one before."""
    scene.show([*scene.entries(), scene.entries()[-1]])


def turn_back(scene: Scene) -> None:
    """The log signed an entry that is older than the one before."""
    scene.show([*scene.entries(), scene.next_line(scene.log.partition.entry(0).ts)])


def run_ahead(scene: Scene) -> None:
    """The log's clock is ahead of the monitor's."""
    scene.show([*scene.entries(), scene.next_line(f"2999{scene.last_ts()[4:]}")])


def hide(scene: Scene) -> None:
    """The log's site is away."""
    shutil.rmtree(scene.log.site)


def hide_a_tile(scene: Scene) -> None:
    """The checkpoint is there, and tiles of its tree are not."""
    scene.grow({"actor": "carol"})
    shutil.rmtree(scene.log.site / "tile" / "0")


def show_to_others(scene: Scene) -> None:
    """The peer was shown a larger tree than the monitor is."""
    scene.log.partition.append({"actor": "dave"})
    shown = scene.log.partition.publish()
    scene.web.sites["peer"] = lambda path: shown.raw if path.endswith("/checkpoint") else None


def lie(scene: Scene) -> None:
    """The peer shows what no log has signed."""
    scene.web.sites["peer"] = lambda _: b"audit.example.com/users\n1\n"


@dataclass(frozen=True, slots=True)
class Cause:
    """What brings a kind about. lasts_s: how long it must last. code: of a round. can_end: whether it can be over."""

    kind: str
    act: Callable[[Scene], None]
    code: int
    lasts_s: int = 0
    can_end: bool = True


CAUSES = (
    Cause("fork", fork, MISBEHAVED, can_end=False),
    Cause("invalid", flip, MISBEHAVED),
    Cause("entry", unlink, MISBEHAVED, can_end=False),
    Cause("time", turn_back, MISBEHAVED, can_end=False),
    Cause("time", run_ahead, MISBEHAVED, can_end=False),
    Cause("quorum", lambda scene: scene.cosign(WITNESSES[1]), NO_QUORUM),
    Cause("unreachable", hide, TROUBLE, UNREACHABLE_S),
    Cause("unreachable", hide_a_tile, TROUBLE, UNREACHABLE_S),
    Cause("unreconciled", show_to_others, REMARKABLE, UNRECONCILED_S),
    Cause("witness", lambda scene: scene.cosign(*WITNESSES[1:]), REMARKABLE, UNREACHABLE_S),
    Cause("stale", lambda _: None, REMARKABLE, STALE_S + 1),
    Cause("growth", lambda scene: scene.grow(*[{"actor": "bob"}] * 100), REMARKABLE, 2 * INTERVAL_S, can_end=False),
    Cause("peer", lambda scene: scene.web.sites.clear(), TROUBLE, UNREACHABLE_S),
    Cause("peer", lie, TROUBLE, UNREACHABLE_S),
    Cause("rule", lambda scene: scene.grow({"actor": "mallory"}), REMARKABLE, can_end=False),
)


def test_every_kind_has_a_cause() -> None:
    """The kinds of the page are those that are tried here."""
    assert {cause.kind for cause in CAUSES} == set(SEVERITIES)


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: f"{cause.kind}-{cause.act.__name__}")
def test_a_kind_is_said_where_its_cause_is(scene: Scene, cause: Cause) -> None:
    """Nothing is said of a log in order; the cause brings about its kind, once it has lasted, and none but that."""
    scene.clock.now_s += cause.lasts_s
    scene.grow()
    assert scene.rounds().code == FINE
    assert scene.taken.bodies == []
    assert not scene.has_metric(cause.kind)
    cause.act(scene)
    with scene.monitor() as monitor:
        code = monitor.round().code
    if cause.lasts_s:
        assert scene.taken.bodies == []
        scene.clock.now_s += cause.lasts_s
        with scene.monitor() as monitor:
            code = monitor.round().code
    assert code == cause.code
    (said,) = [body for body in scene.taken.bodies if body["kind"] != "peer" or cause.kind == "peer"]
    assert (said["kind"], said["origin"]) == (cause.kind, scene.log.origin)
    assert said["severity"] == SEVERITIES[cause.kind].replace("as the rule says", "error")
    scene.rounds()
    assert len(scene.taken.bodies) == 1, "it is said once"
    assert scene.has_metric(cause.kind) == (cause.can_end or cause.kind == "fork")
    if cause.can_end:
        scene.restore()
        assert scene.rounds().code == FINE
        assert [(body["kind"], body["severity"], body.get("state")) for body in scene.taken.bodies[1:]] == [
            (cause.kind, "info", "over")
        ]
        assert not scene.has_metric(cause.kind)


def test_stale_without_witnesses(scene: Scene) -> None:
    """Where no witness states a time, the age counts from when the monitor first saw the checkpoint."""
    scene.log.policy.write_text(f"log {scene.log.partition.vkey}\nquorum none\n")
    (scene.log.site / "checkpoint").write_bytes(scene.log.partition.checkpoint().raw)
    scene.clock.now_s += STALE_S - INTERVAL_S
    assert scene.rounds().code == FINE
    scene.clock.now_s += 2 * INTERVAL_S
    scene.rounds()
    assert scene.taken.kinds() == ["stale"]


def test_a_webhook_is_tried_until_it_takes(scene: Scene) -> None:
    """Whatever it answers but success, it gets the same alert under the same id again, after 10 s to an hour."""
    seen: list[tuple[str, str]] = []
    statuses = [500, 503, 404, 400, 302, 308, 401, 429, 500, 500, 500, 204]
    app = Flask("hook")

    @app.post("/<path:name>")
    def hook(name: str) -> Response:
        seen.append((name, request.headers["Idempotency-Key"]))
        return Response("", statuses[len(seen) - 1], {"Location": "/elsewhere"})

    scene.grow({"actor": "mallory"})
    text = scene.path.read_text()
    with served(app) as url:
        target = f'[[webhook]]\nname = "hook"\nurl = "{url}/alerts"\n'
        scene.path.write_text(text[: text.index("[[command]]")] + RULE + target)
        with Monitor(read_settings(scene.path), clock=scene.clock, deliver=deliver_to, transport=scene.web) as monitor:
            monitor.round()
            pause_s = 10.0
            for tries in range(1, len(statuses)):
                assert len(seen) == tries
                scene.clock.now_s += pause_s - 1
                scene.cosign(*WITNESSES)
                assert monitor.round().code == FINE
                assert len(seen) == tries, "not before its time"
                scene.clock.now_s += 1
                report = monitor.round()
                assert (report.code == TROUBLE) == (tries < len(statuses) - 1)
                pause_s = min(2 * pause_s, 3600.0)
            assert monitor.state.undelivered() == {}
    assert pause_s == 3600.0
    assert {name for name, _ in seen} == {"alerts"}
    assert len({key for _, key in seen}) == 1
    assert len(seen) == len(statuses)


def test_exit_codes_of_cron(log: Log, tmp_path: Path) -> None:
    """`run --once` ends with 5 where the quorum is missing, and with 4 where a target did not take its alert."""
    path = settings_file(tmp_path / "m", [log], "skew_s = 31536000")
    MonitorState.create(read_settings(path).directory)

    def once() -> int:
        return CliRunner().invoke(main, ["--config", str(path), "run", "--once"]).exit_code

    good = log.policy.read_text()
    log.policy.write_text(f"log {log.partition.vkey}\nwitness w {WITNESSES[0].verifier_key}\nquorum w\n")
    assert [once(), once()] == [5, 5]
    log.policy.write_text(good)
    assert [once(), once()] == [0, 0]
    path.write_text(path.read_text().replace('run = ["cat"]', 'run = ["false"]') + RULE)
    log.grow({"actor": "mallory"})
    assert once() == 4
