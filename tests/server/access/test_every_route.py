"""Every route of the application, with what is needed to ask it: a route that is not in the tables fails the test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlencode

import pytest
from flask import Flask
from werkzeug.test import TestResponse

import tlog
from tests.server.access.conftest import ABSENT, PRIVATE, PUBLIC, Guarded, bearing
from tlog.access import VERBS, Tokens, Verb
from tlog.names import SYSTEM_PARTITION
from tlog_server.app import create_app

JSON = "application/json"


class Question(NamedTuple):
    """A good request. path: with {name} where the partition goes."""

    path: str
    method: str = "GET"
    body: bytes | None = None
    content_type: str | None = None


GUARDED: dict[str, tuple[Verb, Question]] = {
    "static_log.checkpoint": ("read", Question("/{name}/checkpoint")),
    "static_log.vkey": ("read", Question("/{name}/vkey")),
    "static_log.tile": ("read", Question("/{name}/tile/0/000")),
    "proofs.inclusion": ("read", Question("/{name}/proof/inclusion?index=1")),
    "proofs.consistency": ("read", Question("/{name}/proof/consistency?old=1")),
    "proofs.entry": ("read", Question("/{name}/entry/1")),
    "pages.moved": ("read", Question("/{name}")),
    "pages.partition_page": ("read", Question("/{name}/")),
    "pages.entry_page": ("read", Question("/{name}/events/1")),
    "pages.live_page": ("read", Question("/live?partition={name}")),
    "pages.witnesses_page": ("read", Question("/witnesses?partition={name}")),
    "search_pages.search_page": ("read", Question("/search?partition={name}")),
    "search_pages.export": ("read", Question("/search/export?partition={name}")),
    "check_pages.history_page": ("read", Question("/history?partition={name}")),
    "check_pages.consistency_page": ("read", Question("/consistency?partition={name}")),
    "events_out.search": ("read", Question("/api/v1/events?partition={name}")),
    "events_out.event": ("read", Question("/api/v1/events/event-1?partition={name}")),
    "events_out.facets": ("read", Question("/api/v1/facets?partition={name}&field=actor")),
    "events_out.counts": ("read", Question("/api/v1/counts?partition={name}")),
    "events_stream.stream": ("read", Question("/api/v1/events/stream?partition={name}")),
    "events_in.append_one": ("append", Question("/api/v1/events?partition={name}", "POST", b"1", JSON)),
    "events_in.append_batch": ("append", Question("/api/v1/events:batch?partition={name}", "POST", b"[1]", JSON)),
    "otlp.logs": ("append", Question("/v1/logs?partition={name}", "POST", b"{}", JSON)),
    "verifying.start": ("admin", Question("/api/v1/verify?partition={name}", "POST")),
}
"""Routes that concern one partition, by endpoint: the verb that is needed where it is private, and a question."""

OPEN = {
    "health.healthz": Question("/healthz"),
    "health.readyz": Question("/readyz"),
    "health.status": Question("/api/v1/status"),
    "metrics.show": Question("/metrics"),
    "events_out.partitions": Question("/api/v1/partitions"),
    "pages.ledger_page": Question("/"),
    "pages.live_page": Question("/live"),
    "pages.witnesses_page": Question("/witnesses"),
    "search_pages.search_page": Question("/search"),
    "check_pages.history_page": Question("/history"),
    "check_pages.consistency_page": Question("/consistency"),
    "check_pages.compare_form": Question("/compare"),
    "check_pages.verify_form": Question("/verify"),
    "openapi.document": Question("/openapi.json"),
    "static_files.static_file": Question("/static/checker.html"),
}
"""Routes that everybody may ask; what they say must not name a private partition."""

FORMS = {"check_pages.compare_page", "check_pages.verify_page"}
"""Routes that look at what they are sent; they have a test of their own."""

JOBS = {"verifying.show"}
"""Routes about what a caller has started; they have a test of their own."""


@pytest.fixture(scope="module")
def app(guarded: Guarded) -> Flask:
    """The application, of which only the routes are looked at."""
    return create_app(guarded.path)


@pytest.fixture(scope="module")
def holders(guarded: Guarded) -> dict[str, str]:
    """A token for each verb in the private and in the absent partition, and one that may do all elsewhere."""
    with tlog.Ledger.open(guarded.path) as ledger:
        tokens = Tokens(ledger)
        made = {verb: tokens.create(verb, [verb], [PRIVATE, ABSENT])[0] for verb in VERBS}
    return {**made, "stranger": guarded.stranger}


@pytest.fixture(scope="module")
def every(guarded: Guarded) -> str:
    """A token for everything everywhere."""
    return guarded.every


def ask(app: Flask, question: Question, name: str, token: str | None = None, peer: str = "192.0.2.1") -> TestResponse:
    """Ask about a partition, with a token where one is given, from an address that is not this machine."""
    headers = {} if token is None else bearing(token)
    return app.test_client().open(
        question.path.format(name=name),
        method=question.method,
        data=question.body,
        content_type=question.content_type,
        headers=headers,
        environ_overrides={"REMOTE_ADDR": peer},
        buffered=False,
    )


def test_every_route_has_a_decision(app: Flask) -> None:
    """Who may ask a route is said in this file; a new route that is not here needs a decision first."""
    endpoints = {rule.endpoint for rule in app.url_map.iter_rules()}
    decided = set(GUARDED) | set(OPEN) | FORMS | JOBS
    assert endpoints - decided == set(), "add them to a table of this file, and see that they ask access.require"
    assert decided - endpoints == set()


def test_the_questions_reach_their_routes(app: Flask) -> None:
    """Each question of the tables is answered by the route that it stands for."""
    adapter = app.url_map.bind("localhost")
    for endpoint, question in [(name, asked) for name, (_, asked) in GUARDED.items()] + list(OPEN.items()):
        path = question.path.format(name=PUBLIC).partition("?")[0]
        assert adapter.match(path, method=question.method)[0] == endpoint


@pytest.mark.parametrize("endpoint", GUARDED)
def test_a_private_partition_is_guarded(app: Flask, holders: dict[str, str], endpoint: str) -> None:
    """Without a token 401, with one of another verb or another partition 403, with the right one an answer."""
    verb, question = GUARDED[endpoint]
    anonymous = ask(app, question, PRIVATE)
    assert anonymous.status_code == 401
    assert len(anonymous.headers.getlist("WWW-Authenticate")) == 2
    for holder, token in holders.items():
        answer = ask(app, question, PRIVATE, token)
        if holder == verb:
            assert answer.status_code < 400, answer.get_data(as_text=True)
            assert "public" not in answer.headers["Cache-Control"]
        else:
            assert answer.status_code == 403
            assert b"alice" not in answer.get_data()
        answer.close()


@pytest.mark.parametrize("endpoint", [name for name, (verb, _) in GUARDED.items() if verb != "read"])
def test_only_reading_is_public(app: Flask, holders: dict[str, str], every: str, endpoint: str) -> None:
    """To change something takes a token in public partitions too, and nobody appends to the system partition."""
    verb, question = GUARDED[endpoint]
    for name in (PUBLIC, SYSTEM_PARTITION):
        assert ask(app, question, name).status_code in {401, 403}
        for token in holders.values():
            assert ask(app, question, name, token).status_code == 403
    if verb == "append":
        assert ask(app, question, SYSTEM_PARTITION, every).status_code == 403


@pytest.mark.parametrize("endpoint", GUARDED)
def test_an_absent_partition_looks_like_a_private_one(app: Flask, holders: dict[str, str], endpoint: str) -> None:
    """Whoever may not read a partition is told the same whether there is one or not."""
    verb, question = GUARDED[endpoint]
    for token in (None, holders["stranger"]):
        answers = [ask(app, question, name, token) for name in (PRIVATE, ABSENT)]
        seen = {
            answer.get_data(as_text=True)
            .replace(answer.headers["X-Request-ID"], "")
            .replace(PRIVATE, "?")
            .replace(ABSENT, "?")
            for answer in answers
        }
        assert len(seen) == 1
        assert len({answer.status_code for answer in answers}) == 1
    if verb != "append":  # which would create it
        assert ask(app, question, ABSENT, holders[verb]).status_code == 404


@pytest.mark.parametrize("endpoint", OPEN)
def test_what_everybody_may_ask_names_nothing_private(app: Flask, holders: dict[str, str], endpoint: str) -> None:
    """Lists leave out what the caller may not read; whoever may read it finds it there."""
    for token in (None, holders["stranger"]):
        answer = ask(app, OPEN[endpoint], "", token)
        assert answer.status_code in {200, 401, 403}
        assert PRIVATE not in answer.get_data(as_text=True)
        assert (answer.status_code == 200) == (endpoint != "metrics.show")
    lists = {"health.status", "events_out.partitions", "pages.ledger_page"} | (GUARDED.keys() & OPEN.keys())
    seen = ask(app, OPEN[endpoint], "", holders["read"])
    assert (PRIVATE in seen.get_data(as_text=True)) == (endpoint in lists), endpoint
    if endpoint in lists:
        assert "public" not in seen.headers.get("Cache-Control", "no-store")
        assert "Authorization" in seen.headers.get("Vary", "")


def forms(raw: str, proof: str) -> Iterator[Question]:
    """What a stranger may send to the pages that look at checkpoints and proofs."""
    for path, fields in (("/compare", {"first": raw, "second": raw}), ("/verify", {"proof": proof})):
        yield Question(path, "POST", urlencode(fields).encode(), "application/x-www-form-urlencoded")


def test_forms_tell_nothing_of_private_partitions(app: Flask, guarded: Guarded) -> None:
    """A checkpoint or a proof that names a private partition is treated as one of a log that is not here."""
    with tlog.Ledger.open(guarded.path) as ledger:
        checkpoint, proof = ledger.partition(PRIVATE).checkpoint().raw.decode(), str(ledger.partition(PRIVATE).prove(1))
    for good in forms(checkpoint, proof):
        for question in (good, Question(good.path, "POST", (good.body or b"").replace(b"A", b"B"), good.content_type)):
            seen = set()
            for name in (PRIVATE, ABSENT):
                named = question._replace(
                    body=(question.body or b"").replace(f"%2F{PRIVATE}".encode(), f"%2F{name}".encode())
                )
                answer = ask(app, named, name)
                text = answer.get_data(as_text=True).replace(answer.headers["X-Request-ID"], "")
                seen.add((answer.status_code, text.replace(PRIVATE, "?").replace(ABSENT, "?")))
            assert len(seen) == 1, question.path


def test_jobs_are_for_those_who_may_start_them(app: Flask, holders: dict[str, str]) -> None:
    """A verification of a private partition is shown to whom may administer that partition, to nobody else."""
    started = ask(app, GUARDED["verifying.start"][1], PRIVATE, holders["admin"])
    place = started.headers.get("Location") or json.loads(started.get_data())["location"]
    assert ask(app, Question(place), "").status_code == 401
    assert ask(app, Question("/api/v1/verify/0"), "").status_code == 401
    for holder, status in (("admin", 200), ("read", 403), ("append", 403), ("stranger", 403)):
        assert ask(app, Question(place), "", holders[holder]).status_code == status
