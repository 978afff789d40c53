"""What a monitor knows, as metrics.

Source: prometheus.io/docs/instrumenting/exposition_formats, "Text-based format".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from tlog.checkpoint import Checkpoint
from tlog.monitoring.state import MonitorState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(state: MonitorState, origins: Sequence[str], learning: Mapping[str, int], now_s: float) -> bytes:
    """Return the metrics. learning: intervals that are missing before growth is judged, by log."""
    lines: list[str] = []

    def add(name: str, text: str, samples: Sequence[tuple[dict[str, str], float]]) -> None:
        lines.append(f"# HELP tlog_monitor_{name} {text}")
        lines.append(f"# TYPE tlog_monitor_{name} gauge")
        lines.extend(f"tlog_monitor_{name}{_labels(labels)} {value:.15g}" for labels, value in samples)

    followed = {origin: state.followed(origin) for origin in origins}
    sizes = {
        origin: 0 if one.note is None else Checkpoint.parse(one.note).tree_size for origin, one in followed.items()
    }
    evidence = Counter(origin for _, origin, _ in state.evidence())
    add("verified_entries", "Entries of the latest verified checkpoint.", [(_log(o), sizes[o]) for o in origins])
    add("read_entries", "Entries that were read.", [(_log(o), followed[o].next) for o in origins])
    add("evidence", "Split views that are proven.", [(_log(o), evidence[o]) for o in origins])
    add(
        "condition",
        "1 for each thing that is not as it should be.",
        [({"origin": found.origin, "kind": found.kind}, 1) for found in state.conditions()],
    )
    add(
        "growth_learning",
        "Intervals to learn from, until growth is judged.",
        [(_log(o), learning[o]) for o in learning],
    )
    add("undelivered", "Alerts that a target did not take yet.", _by_target(state))
    add("round_end_seconds", "When the latest round ended, POSIX time.", [({}, now_s)])
    return ("\n".join(lines) + "\n").encode()


def _log(origin: str) -> dict[str, str]:
    return {"origin": origin}


def _by_target(state: MonitorState) -> list[tuple[dict[str, str], float]]:
    return [({"target": target}, count) for target, count in sorted(state.undelivered().items())]


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
