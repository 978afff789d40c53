"""When a client asks again, and how long it waits: by the flow alone, with no network and no clock of its own."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tlog
from tests.client.lying import refused
from tlog.client.exchange import LONGEST_PAUSE_S, RETRIED, Pacing, exchange
from tlog.client.steps import Answer, Failure, Reply, Request, Send, Sleep
from tlog.errors import UnavailableError

REQUEST = Request("POST", "https://log.example/api/v1/events?x=1", (("Idempotency-Key", "k"),), b"1", 100)


@dataclass
class World:
    """A clock that moves when a step takes time, and a server that answers as told, with the last answer for ever."""

    replies: list[tuple[Reply, float]]
    chance: float = 0.5
    now: float = 1000.0
    sent: list[Send] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def run(self, timeout_s: float = 60.0, attempt_timeout_s: float = 20.0) -> Answer:
        """Run the flow to its end."""
        pacing = Pacing(
            timeout_s=timeout_s,
            attempt_timeout_s=attempt_timeout_s,
            monotonic=lambda: self.now,
            chance=lambda: self.chance,
        )
        flow = exchange(REQUEST, pacing)
        reply: Reply | None = None
        try:
            while True:
                step = flow.send(reply)
                reply = None
                if isinstance(step, Sleep):
                    self.slept.append(step.seconds)
                    self.now += step.seconds
                    continue
                assert isinstance(step, Send)
                number = min(len(self.sent), len(self.replies) - 1)
                reply, took_s = self.replies[number]
                self.sent.append(step)
                self.now += min(took_s, step.timeout_s)
        except StopIteration as end:
            answer: Answer = end.value
            return answer


def said(status: int, **headers: str) -> Answer:
    """Return an answer."""
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


GOOD = said(200)
BROKEN = Failure("the connection broke", was_sent=True)
NO_WAY = Failure("cannot connect", was_sent=False)

replies = st.one_of(
    st.builds(
        lambda status, seconds: said(status, retry_after=seconds),
        st.sampled_from(sorted(RETRIED)),
        st.sampled_from(["0", "1", "7", "3600", "-1", "1.5", "x", "9" * 30, "Fri, 31 Dec 1999 23:59:59 GMT"]),
    ),
    st.sampled_from([BROKEN, NO_WAY]),
)


@given(
    failures=st.lists(st.tuples(replies, st.floats(0, 30)), max_size=12),
    chance=st.floats(0, 0.999),
    timeout_s=st.floats(0.5, 100),
)
def test_what_always_holds(failures: list[tuple[Reply, float]], chance: float, timeout_s: float) -> None:
    """The same request at every attempt; never past the deadline; never sooner than was asked; an end in any case."""
    world = World([*failures, (GOOD, 0.0)], chance)
    seen = failures
    is_unknown = None
    try:
        assert world.run(timeout_s).status == 200
    except UnavailableError as err:
        seen, is_unknown = failures[: len(world.sent)], err.is_unknown
    may_be_done = [isinstance(reply, Answer) and reply.status != 429 for reply, _ in seen]
    may_be_done += [isinstance(reply, Failure) and reply.was_sent for reply, _ in seen]
    assert is_unknown in (None, any(may_be_done))
    assert {send.request for send in world.sent} == {REQUEST}
    assert all(0 < send.timeout_s <= 20 for send in world.sent)
    assert world.now <= 1000 + timeout_s + 0.002
    for (reply, _), pause in zip(failures, world.slept, strict=False):
        asked = reply.headers.get("retry-after", "") if isinstance(reply, Answer) else ""
        wanted = float(asked) if asked in ("0", "1", "7", "3600") else 0.0
        assert wanted < pause <= wanted + LONGEST_PAUSE_S


@pytest.mark.parametrize("status", [200, 201, 204, 301, 400, 401, 403, 404, 408, 409, 413, 415, 422, 500, 501])
def test_what_is_not_asked_again(status: int) -> None:
    """Every answer but overload and trouble on the way is the answer, at the first attempt."""
    world = World([(said(status), 0.1)])
    assert world.run().status == status
    assert (len(world.sent), world.slept) == (1, [])


def test_pauses_grow_and_are_cut_by_chance() -> None:
    """Pauses double up to the longest one, and chance takes up to half away, so that clients do not come together."""
    most, least = World([(BROKEN, 0.0)], 1.0), World([(BROKEN, 0.0)], 0.0)
    for world in (most, least):
        refused(world.run, UnavailableError)
    assert most.slept[:7] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]
    assert least.slept[:7] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.5]
    assert len(most.sent) < 20


def test_a_long_wait_is_told() -> None:
    """Where the server asks for more patience than there is, the client gives up at once, and says what was asked."""
    world = World([(said(503, retry_after="3600"), 0.1)])
    assert "asked to wait 3600 s" in str(refused(world.run, UnavailableError))
    assert (len(world.sent), world.slept) == (1, [])


def test_settings_in_range() -> None:
    """Times that are none are refused."""
    for value in (0, -1, float("nan"), float("inf"), 1e9):
        for name in ("timeout_s", "attempt_timeout_s", "poll_s"):
            refused(lambda name=name, value=value: Pacing(**{name: value}), tlog.FormatError)  # type: ignore[misc]
