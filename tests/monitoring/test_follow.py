"""Following a log: entries found once, everything verified, and what is said when something is wrong."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

import tlog
from tests.monitoring.parties import START_S, Clock, Log, Taken, monitor_of, settings_file
from tlog.entry import encode_lines, encode_payload
from tlog.errors import ConflictError, NotFoundError, StorageError
from tlog.evidence import verify_evidence
from tlog.keys import SigningKey
from tlog.monitoring import follow
from tlog.monitoring.monitor import FINE, MISBEHAVED, NO_QUORUM, REMARKABLE, TROUBLE, Monitor
from tlog.monitoring.settings import read_settings
from tlog.monitoring.state import MonitorState
from tlog.policy import Policy

RULES = """
[[rule]]
name = "bob"
query = "actor=bob"
severity = "error"
with_data = true
[[rule]]
name = "deletions"
query = "action=delete*"
"""


def test_rules_match_verified_entries_once(log: Log, tmp_path: Path, clock: Clock, taken: Taken) -> None:
    """Each entry that a rule looks for is said once, with its index, over bundles, restarts and growth."""
    path = settings_file(tmp_path / "m", [log])
    path.write_text(path.read_text() + RULES)
    with monitor_of(path, clock, taken) as monitor:
        assert monitor.round().code == REMARKABLE
        assert monitor.round().code == FINE
    log.grow(*({"actor": "bob" if n % 100 == 0 else "eve", "action": "read"} for n in range(600)), {"action": "delete"})
    with monitor_of(path, clock, taken) as monitor:
        monitor.round()
        monitor.round()
        assert monitor.state.followed(log.origin).next == 604
    found = [(body["rule"], body["index"]) for body in taken.bodies]
    assert found == [("bob", 1), *(("bob", 3 + n) for n in range(0, 600, 100)), ("deletions", 603)]
    assert taken.bodies[0]["data"]["actor"] == "bob"
    assert "data" not in taken.bodies[-1]
    assert [body["number"] for body in taken.bodies] == list(range(1, 9))


@pytest.mark.parametrize("place", ["tile/0/000.p/3", "tile/entries/000.p/3", "checkpoint"])
def test_a_flipped_bit_is_misbehaviour(log: Log, tmp_path: Path, clock: Clock, taken: Taken, place: str) -> None:
    """Nothing of a site that is not what the checkpoint says is looked at; it is said once when it begins and ends."""
    path = settings_file(tmp_path / "m", [log])
    path.write_text(path.read_text() + RULES)
    file = log.site / place
    good = file.read_bytes()
    file.write_bytes(good[:40] + bytes([good[40] ^ 1]) + good[41:])
    with monitor_of(path, clock, taken) as monitor:
        assert [monitor.round().code, monitor.round().code] == [MISBEHAVED, MISBEHAVED]
        assert taken.kinds() == ["invalid"]
        assert monitor.state.followed(log.origin).next == 0
        file.write_bytes(good)
        monitor.round()
        assert taken.kinds() == ["invalid", "rule", "invalid"]
        assert taken.bodies[-1]["state"] == "over"
        assert monitor.round().code == FINE


def test_killed_between_reading_and_remembering(
    log: Log, tmp_path: Path, clock: Clock, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found in a bundle and that it was read are one step: killed within it, both happen again or neither."""
    log.grow(*({"actor": "bob"} for _ in range(600)))
    path = settings_file(tmp_path / "m", [log])
    path.write_text(path.read_text() + RULES)
    say, left = MonitorState.say, [300]

    def failing(self: MonitorState, *args: object) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return say(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(MonitorState, "say", failing)
    monitor = monitor_of(path, clock, taken)
    with pytest.raises(KeyboardInterrupt):
        monitor.round()
    monitor.close()
    left[0] = 10_000
    with monitor_of(path, clock, taken) as monitor:
        for _ in range(10):
            monitor.round()
    assert [body["index"] for body in taken.bodies] == [1, *range(3, 603)]


def test_a_killed_process_leaves_a_whole_state(log: Log, tmp_path: Path, clock: Clock, taken: Taken) -> None:
    """One process holds the state; a state that is gone is said, and not made anew."""
    path = settings_file(tmp_path / "m", [log])
    with monitor_of(path, clock, taken) as monitor:
        monitor.round()
        with pytest.raises(ConflictError):
            Monitor(read_settings(path))
    (read_settings(path).directory / "state.sqlite").unlink()
    with pytest.raises(NotFoundError, match="tlog-monitor init"):
        Monitor(read_settings(path))


def test_a_target_that_is_down_gets_everything_later(log: Log, tmp_path: Path, clock: Clock, taken: Taken) -> None:
    """Alerts wait in the outbox, over restarts, in order, with growing pauses, under the same id."""
    path = settings_file(tmp_path / "m", [log])
    path.write_text(path.read_text() + RULES)
    taken.fails = {"program"}
    with monitor_of(path, clock, taken) as monitor:
        report = monitor.round()
        assert (report.failed, report.code) == ({"program": "is down"}, TROUBLE)
        assert monitor.state.undelivered() == {"program": 1}
        assert b'tlog_monitor_undelivered{target="program"} 1' in monitor.metrics()
    taken.fails = set()
    with monitor_of(path, clock, taken) as monitor:
        monitor.round()
        assert taken.bodies == []
        clock.now_s += 10
        monitor.round()
        monitor.round()
        assert [body["id"] for body in taken.bodies] == [f"{monitor.state.id}-1"]


def test_a_target_that_is_down_holds_up_no_other(log: Log, tmp_path: Path, clock: Clock, taken: Taken) -> None:
    """Hundreds of alerts wait for one target; the other has got them all, and the first one gets them in order."""
    log.grow(*({"actor": "bob"} for _ in range(300)))
    path = settings_file(tmp_path / "m", [log])
    path.write_text(path.read_text() + RULES + '[[command]]\nname = "second"\nrun = ["cat"]\n')
    taken.fails = {"program"}
    with monitor_of(path, clock, taken) as monitor:
        monitor.round()
        monitor.round()
        assert [body["to"] for body in taken.bodies] == ["second"] * 301
        assert monitor.state.undelivered() == {"program": 301}
        taken.fails, taken.bodies = set(), []
        clock.now_s += 10
        monitor.round()
        assert [body["number"] for body in taken.bodies] == list(range(1, 302))
    path.write_text(path.read_text().replace('name = "program"', 'name = "renamed"'))
    taken.fails = {"second"}
    with monitor_of(path, clock, taken) as monitor:
        assert monitor.round().code == FINE


def test_another_log_of_the_same_policy(log: Log, tmp_path: Path, clock: Clock, taken: Taken) -> None:
    """S2: a log that is believed too, served in the place of the one that is followed, is not that one."""
    path = settings_file(tmp_path / "m", [log], in_log=f'origin = "{log.origin}"')
    key = SigningKey.generate("other.example/log")
    log.policy.write_text(f"log {log.partition.vkey}\nlog {key.verifier_key}\nquorum none\n")
    (log.site / "checkpoint").write_bytes(tlog.Checkpoint("other.example/log", 3, bytes(32)).sign(key).raw)
    with monitor_of(path, clock, taken) as monitor:
        assert monitor.round().code == MISBEHAVED
        assert "another log is served here" in taken.bodies[0]["message"]


def test_unreachable_after_a_while(log: Log, tmp_path: Path, clock: Clock, taken: Taken) -> None:
    """A log that is away for a moment is no alert; one that stays away is, until it is back."""
    path = settings_file(tmp_path / "m", [log], "unreachable_s = 600")
    with monitor_of(path, clock, taken) as monitor:
        monitor.round()
        log.site.rename(tmp_path / "away")
        assert monitor.round().code == TROUBLE
        clock.now_s += 599
        monitor.round()
        assert taken.kinds() == []
        clock.now_s += 1
        monitor.round()
        assert taken.kinds() == ["unreachable"]
        (tmp_path / "away").rename(log.site)
        assert monitor.round().alerts[0].details == {"state": "over"}
        assert monitor.round().code == FINE


def test_quorum_and_missing_witnesses(log: Log, tmp_path: Path, clock: Clock, taken: Taken) -> None:
    """A missing quorum is said at once, a missing witness after a while, and an old checkpoint."""
    keys = [SigningKey.generate(f"w{number}.example.net", 4) for number in range(2)]
    lines = [f"witness w{number} {key.verifier_key}" for number, key in enumerate(keys)]
    path = settings_file(tmp_path / "m", [log], "unreachable_s = 60", "stale_s = 3600")
    log.policy.write_text("\n".join([f"log {log.partition.vkey}", *lines, "group g 1 w0 w1", "quorum g", ""]))
    with monitor_of(path, clock, taken) as monitor:
        assert monitor.round().code == NO_QUORUM
        assert taken.kinds() == ["quorum"]
        signed = log.partition.checkpoint().sign(keys[0], timestamp_s=int(START_S))
        (log.site / "checkpoint").write_bytes(signed.raw)
        assert monitor.round().code == REMARKABLE
        clock.now_s += 60
        monitor.round()
        assert taken.kinds() == ["quorum", "quorum", "witness"]
        clock.now_s = START_S + 3601
        assert [alert.kind for alert in monitor.round().alerts] == ["stale"]


def test_rollback_and_fork(log: Log, tmp_path: Path, clock: Clock, taken: Taken) -> None:
    """R14: a log that shows an older tree, or another one, is caught with what the monitor remembers."""
    old = tmp_path / "old"
    shutil.copytree(log.site, old)
    log.grow("more", "and more")
    path = settings_file(tmp_path / "m", [log])
    with monitor_of(path, clock, taken) as monitor:
        monitor.round()
        shutil.rmtree(log.site)
        old.rename(log.site)
        assert monitor.round().code == MISBEHAVED
        assert taken.kinds() == ["invalid"]
    other = Log(tmp_path / "other", clock)
    other.grow(*({"n": number} for number in range(9)))
    shutil.rmtree(log.site)
    other.site.rename(log.site)
    with monitor_of(path, clock, taken) as monitor:
        assert monitor.round().code == MISBEHAVED
        assert monitor.round().code == MISBEHAVED
        assert taken.kinds().count("fork") == 1
        ((name, origin, _),) = monitor.state.evidence()
        assert origin == log.origin
        verify_evidence(monitor.state.evidence_file(name), Policy.for_log(log.partition.vkey))


def test_s02_another_identity(log: Log, tmp_path: Path, clock: Clock, taken: Taken) -> None:
    """S2, S12: another key for the same name, or another log at the same place, is never trusted on first use."""
    path = settings_file(tmp_path / "m", [log])
    impostor = Log(tmp_path / "impostor", clock, seed=bytes(range(1, 33)))
    impostor.grow(*({"n": number} for number in range(9)))
    log.site.rename(tmp_path / "kept")
    impostor.site.rename(log.site)
    for already in (False, True):
        with monitor_of(path, clock, taken) as monitor:
            assert monitor.round().code == MISBEHAVED
            assert (monitor.state.followed(log.origin).note is not None) == already
            log.site.rename(impostor.site)
            (tmp_path / "kept").rename(log.site)
            monitor.round()
            assert monitor.state.followed(log.origin).next == 3
            log.site.rename(tmp_path / "kept")
            impostor.site.rename(log.site)


def test_s10_checkpoints_that_are_almost_right(log: Log, tmp_path: Path, clock: Clock, taken: Taken) -> None:
    """S10: no spelling but the one is accepted."""
    path, good = settings_file(tmp_path / "m", [log]), (log.site / "checkpoint").read_bytes()
    changed = [
        good.replace(b"\n3\n", b"\n03\n"),
        good.replace(b"\n3\n", b"\n+3\n"),
        good.replace(b"\n", b"\r\n"),
        good[:-1],
        good + b"\n",
        good.replace(b"audit", b"Audit", 1),
        b"",
    ]
    with monitor_of(path, clock, taken) as monitor:
        for raw in changed:
            assert raw != good
            (log.site / "checkpoint").write_bytes(raw)
            assert monitor.round().code == MISBEHAVED
            assert monitor.state.followed(log.origin).note is None


def test_r13_an_old_bundle_is_not_needed_again(log: Log, tmp_path: Path, clock: Clock, taken: Taken) -> None:
    """R13: what was read may be taken away at the log; following goes on without an alert."""
    log.grow(*range(600))
    path = settings_file(tmp_path / "m", [log])
    with monitor_of(path, clock, taken) as monitor:
        monitor.round()
        log.grow("more")
        for name in ("000", "001"):
            (log.site / "tile" / "entries" / name).unlink()
        assert monitor.round().code == FINE
        assert monitor.state.followed(log.origin).next == 604


def test_time_and_chain_of_entries(log: Log, tmp_path: Path, clock: Clock, taken: Taken) -> None:
    """Entries that a log signed and that contradict each other, or the clock, are said."""
    path = settings_file(tmp_path / "m", [log])
    with monitor_of(path, clock, taken) as monitor:
        monitor.round()
        (follower,) = monitor._followers
        before = monitor.state.followed(log.origin)
        head = tlog.entry.ChainHead(3, before.hash.hex().encode(), b"")
        for ts, expected in ((b"2026-11-21T08:00:00.000000Z", ["time"]), (b"2027-11-21T08:00:00.000000Z", ["time"])):
            line = encode_lines(head, b"users", ts, [encode_payload("x")]).blocks[0].text[:-1]
            reading = follow._Reading(before)
            follower._take(line, reading)
            assert [alert.kind for alert in reading.alerts] == expected
        line = encode_lines(head, b"users", before.ts.encode(), [encode_payload("x")]).blocks[0].text[:-1]
        good, unlinked = follow._Reading(before), follow._Reading(before._replace(hash=bytes(32)))
        for reading, raw in ((good, line), (unlinked, line)):
            follower._take(raw, reading)
        damaged = follow._Reading(before)
        follower._take(line.replace(b'"x"', b'"y"'), damaged)
        assert [[alert.kind for alert in one.alerts] for one in (good, unlinked, damaged)] == [[], ["entry"], ["entry"]]


def test_entries_of_other_logs(log: Log, tmp_path: Path, clock: Clock, taken: Taken) -> None:
    """Rules see the JSON of entries that are not of tlog, or their text."""
    path = settings_file(tmp_path / "m", [log])
    path.write_text(path.read_text() + RULES + '[[rule]]\nname = "text"\nquery = "text=secret"\n')
    with monitor_of(path, clock, taken) as monitor:
        (follower,) = monitor._followers
        reading = follow._Reading(monitor.state.followed(log.origin))
        for raw in (b'{"actor":"bob"}', b"a secret \xff thing", b"NaN", b"[" * 100_000, b""):
            follower._take(raw, reading)
        assert [(alert.details["rule"], alert.details["index"]) for alert in reading.alerts] == [
            ("bob", 0),
            ("text", 1),
        ]


def test_a_state_that_fails_is_an_outage(log: Log, tmp_path: Path, clock: Clock, taken: Taken) -> None:
    """Where the monitor's own state cannot be read, nobody says that the log is at fault."""
    path = settings_file(tmp_path / "m", [log])
    monitor = monitor_of(path, clock, taken)
    with sqlite3.connect(read_settings(path).directory / "state.sqlite") as db:
        db.execute("DROP TABLE condition")
    with pytest.raises(StorageError):
        monitor.round()
    monitor.close()
    assert taken.bodies == []
    assert replace(read_settings(path), interval_s=1.0).interval_s == 1.0
