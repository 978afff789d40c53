"""What the network costs at 10^5 logs and 10^3 witnesses: `python -m simulate.paper` prints the table in Markdown.

Sizes are those of requests that the library made, times those of its own calls, one after another in one thread.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tlog.checkpoint import Checkpoint
from tlog.earlier import EarlierRoot
from tlog.evidence import Evidence
from tlog.keys import ED25519_COSIGNATURE, SigningKey
from tlog.policy import Policy
from tlog.proof import plan_consistency
from tlog.tlogproof import ConsistencyProof
from tlog.witnessing.request import origin_hash
from tlog.witnessing.state import WitnessState
from tlog.witnessing.witness import Witness

LOGS = 10**5
WITNESSES = 10**3
ASKED = 9
"""Witnesses that one log asks."""
PEERS = 5
"""Peers of a monitor or a gossiping witness."""
FOLLOWED = 1000
"""Logs that one monitor follows."""
TREE_SIZE, GROWTH = 10**6 + 7, 100
REPEATS = 300
ORIGIN = "audit.example.com/users"


@dataclass(frozen=True, slots=True)
class Measured:
    """Bytes of bodies, and seconds of calls. state: bytes of a witness's database for each log."""

    request: int
    answer: int
    shown: int
    evidence: int
    earlier: int
    state: float
    take_s: float
    verify_s: float


def measure() -> Measured:
    """Measure everything, in a second or two."""
    log = SigningKey.generate(ORIGIN)
    with tempfile.TemporaryDirectory(prefix="tlog-paper-") as place:
        database = Path(place, "state.sqlite")
        WitnessState.create(database, Path(place, "record"))
        key = SigningKey.generate("witness.example.net", ED25519_COSIGNATURE)
        with Witness(WitnessState(database, Path(place, "record")), [key]) as witness:
            bodies = []
            for number in range(REPEATS):
                one = SigningKey.generate(f"{ORIGIN}{number:04d}")
                witness.add_log(one.verifier_key)
                first = Checkpoint(one.name, TREE_SIZE, bytes(32)).sign(one)
                bodies.append(ConsistencyProof(0, (), first).format())
            took = [_timed(lambda body=body: witness.add_checkpoint(body)) for body in bodies]  # type: ignore[misc]
            shown = witness.checkpoint(origin_hash(f"{ORIGIN}0000"))
        state = database.stat().st_size / REPEATS
    policy = Policy.for_log(log.verifier_key)
    hashes = tuple(bytes(32) for _ in plan_consistency(TREE_SIZE, TREE_SIZE + GROWTH))
    newer = Checkpoint(ORIGIN, TREE_SIZE + GROWTH, bytes(32)).sign(log)
    older = Checkpoint(ORIGIN, TREE_SIZE, bytes(32)).sign(log)
    line = shown.splitlines(keepends=True)[-1]
    return Measured(
        request=len(ConsistencyProof(TREE_SIZE, hashes, newer).format()),
        answer=len(line),
        shown=len(shown),
        evidence=len(Evidence(older, newer, hashes).format()),
        earlier=len(EarlierRoot(TREE_SIZE, bytes(32), hashes, newer).format()),
        state=state,
        take_s=median(took),
        verify_s=median(_timed(lambda: policy.authenticate(newer)) for _ in range(REPEATS)),
    )


def table(measured: Measured) -> str:
    """Return the costs for a checkpoint a log and minute, and one an hour."""
    m, per_witness = measured, LOGS * ASKED / WITNESSES
    rows: list[tuple[str, Callable[[int], str]]] = [
        ("a log: requests, verifications of cosignatures, a second", lambda t: f"{ASKED / t:,.3g}, {ASKED / t:,.3g}"),
        ("a client: signatures verified for a checkpoint", lambda _: f"{1 + ASKED}"),
        ("a log: bytes sent and received a day", lambda t: _bytes(86_400 / t * ASKED * (m.request + m.answer))),
        ("a witness: logs that ask it", lambda _: f"{per_witness:,.0f}"),
        ("a witness: requests, verifications, signatures a second, each", lambda t: f"{per_witness / t:,.3g}"),
        ("a witness: share of one core", lambda t: f"{per_witness / t * m.take_s:.2%}"),
        ("a witness: bytes in and out a second", lambda t: _bytes(per_witness / t * (m.request + m.answer))),
        ("a witness: bytes of its state", lambda _: _bytes(per_witness * m.state)),
        ("all logs and witnesses: requests a second", lambda t: f"{LOGS * ASKED / t:,.0f}"),
        ("all logs and witnesses: bytes a second", lambda t: _bytes(LOGS * ASKED / t * (m.request + m.answer))),
        ("a witness that every log asks: requests a second", lambda t: f"{LOGS / t:,.0f}"),
        ("a witness that every log asks: cores", lambda t: f"{LOGS / t * m.take_s:.2f}"),
        ("a monitor of 1,000 logs: gossip requests a second", lambda t: f"{FOLLOWED * PEERS / t:,.3g}"),
        ("a monitor of 1,000 logs: gossip bytes a second", lambda t: _bytes(FOLLOWED * PEERS / t * m.shown)),
        ("a monitor of all logs: gossip requests a second", lambda t: f"{LOGS * PEERS / t:,.0f}"),
        ("a monitor of all logs: cores for gossip's verifications", lambda t: f"{LOGS * PEERS / t * m.verify_s:.2f}"),
    ]
    lines = ["| cost | every minute | every hour |", "| --- | ---: | ---: |"]
    lines += [f"| {what} | {value(60)} | {value(3600)} |" for what, value in rows]
    return "\n".join(lines)


def _timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} GB"


if __name__ == "__main__":
    found = measure()
    print(found, table(found), sep="\n\n")
