"""Rate limits: how often one may ask."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.access.conftest import PRIVATE, PUBLIC, Guarded, bearing
from tlog_server.app import create_app
from tlog_server.limits import BURST_S, Limiter, network_of
from tlog_server.settings import Settings

Make = Callable[[Settings], FlaskClient]
URL = f"/{PUBLIC}/checkpoint"


class Clock:
    """A clock that stands still unless it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_the_algorithm() -> None:
    """A burst, then one request each interval; who is refused is told when to come, and may come then."""
    clock = Clock()
    limiter = Limiter(10, clock=clock)
    taken = 0
    while not limiter.take("a"):
        taken += 1
    assert taken == 10 * BURST_S
    assert limiter.take("a") == pytest.approx(0.1)
    assert limiter.take("b") == 0.0
    clock.now += 0.1
    assert limiter.take("a") == 0.0
    assert limiter.take("a") > 0
    clock.now += 3600
    assert [limiter.take("a") for _ in range(taken)] == [0.0] * taken
    assert limiter.take("a") > 0


def test_slow_rates() -> None:
    """A rate of less than one in the burst's time still allows one at a time."""
    clock = Clock()
    limiter = Limiter(0.01, clock=clock)
    assert limiter.take("a") == 0.0
    assert limiter.take("a") == pytest.approx(100)
    clock.now += 100
    assert limiter.take("a") == 0.0


@settings(max_examples=50)
@given(steps=st.lists(st.floats(0, 2), max_size=100), rate=st.sampled_from([0.5, 1, 7, 100]))
def test_no_more_than_the_rate(steps: list[float], rate: float) -> None:
    """In any stretch of time no key gets more than its rate and one burst."""
    clock = Clock()
    limiter = Limiter(rate, clock=clock)
    times: list[float] = []
    for step in steps:
        clock.now += step
        times += [clock.now for _ in range(5) if not limiter.take("a")]
    for first in range(len(times)):
        for last in range(first, len(times)):
            assert last - first + 1 <= (times[last] - times[first] + max(BURST_S, 1 / rate)) * rate + 1e-6


def test_keys_are_bounded() -> None:
    """The keys that asked longest ago are forgotten; memory does not grow with the number of addresses."""
    limiter = Limiter(1, max_keys=100, clock=Clock())
    while not limiter.take("busy"):
        pass
    for number in range(1000):
        limiter.take(f"key-{number}")
        if number % 50 == 0:
            limiter.give_back("busy")
            assert limiter.take("busy") == 0.0
            assert limiter.take("busy") > 0
    assert limiter.remembered == 100


def test_threads_share_a_limit() -> None:
    """Requests of one key that come in many threads at once are counted once each."""
    limiter = Limiter(1000, clock=Clock())
    taken: list[int] = []

    def work() -> None:
        taken.append(sum(not limiter.take("a") for _ in range(1000)))

    threads = [threading.Thread(target=work) for _ in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # a switch at nearly every step
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert sum(taken) == 1000 * BURST_S


def test_by_address(asking_with: Make, guarded: Guarded) -> None:
    """An address without token that asks too often gets 429 with Retry-After, others do not; health is always told."""
    client = asking_with(Settings(address_rate=1))
    assert [client.get(URL).status_code for _ in range(3)] == [200, 200, 429]
    answer = client.get(URL)
    assert 1 <= int(answer.headers["Retry-After"]) <= 2
    assert answer.content_type == "application/problem+json"
    assert client.get("/nothing/here").status_code == 429
    assert client.get(URL, headers=bearing(guarded.reader[:-1])).status_code == 429, "trying tokens is not free"
    assert client.get(URL, headers=bearing(guarded.reader)).status_code == 200
    assert client.get(URL, environ_overrides={"REMOTE_ADDR": "192.0.2.1"}).status_code == 200
    assert client.get(URL, headers={"X-Forwarded-For": "198.51.100.1"}).status_code == 200, "the proxy is trusted"
    other = {"REMOTE_ADDR": "192.0.2.9"}
    for number in range(3):
        made_up = {"X-Forwarded-For": f"198.51.100.{number}"}
        status = client.get(URL, headers=made_up, environ_overrides=other).status_code
    assert status == 429
    for path in ("/healthz", "/readyz"):
        assert client.get(path).status_code != 429


def test_by_token(asking_with: Make, guarded: Guarded) -> None:
    """A token that is used too often is refused, whatever address it comes from; other tokens are not."""
    client = asking_with(Settings(token_rate=1))
    answers = [
        client.get(
            f"/{PRIVATE}/vkey", headers=bearing(guarded.reader), environ_overrides={"REMOTE_ADDR": f"192.0.2.{n}"}
        )
        for n in range(3)
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert client.get(f"/{PRIVATE}/vkey", headers=bearing(guarded.every)).status_code == 200
    assert [client.get(URL).status_code for _ in range(5)] == [200] * 5


def test_answers_of_all_kinds_count(asking_with: Make) -> None:
    """A 404 costs what a 200 costs."""
    client = asking_with(Settings(address_rate=1))
    assert [client.get(f"/{PUBLIC}/entry/99999").status_code for _ in range(3)] == [404, 404, 429]
    client = asking_with(Settings(address_rate=1))
    assert [client.get(URL).status_code for _ in range(3)] == [200, 200, 429]


def test_a_damaged_log_uses_up_nobodys_quota(guarded: Guarded, tmp_path: Path) -> None:
    """Whoever asks again and again while the log cannot answer is served as soon as it can."""
    shutil.copytree(guarded.path, tmp_path / "ledger")
    client = create_app(tmp_path / "ledger", Settings(address_rate=1)).test_client()
    checkpoint = tmp_path / "ledger" / "partitions" / PUBLIC / "checkpoint"
    raw = checkpoint.read_bytes()
    checkpoint.write_bytes(raw.replace(b"\n300\n", b"\n301\n"))
    assert [client.get(URL).status_code for _ in range(20)] == [500] * 20
    checkpoint.write_bytes(raw)
    assert [client.get(URL).status_code for _ in range(3)] == [200, 200, 429]


def test_no_limit_unless_set(asking_with: Make) -> None:
    """Without settings nobody is counted."""
    client = asking_with(Settings())
    assert {client.get(f"/{PUBLIC}/vkey").status_code for _ in range(100)} == {200}


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"), ("::1", "::/64"), ("", ""), ("unix", "unix"),
    ],
)  # fmt: skip
def test_what_counts_as_one_address(address: str, key: str) -> None:
    """A host has a whole /64 of IPv6 to choose addresses from."""
    assert network_of(address) == key
