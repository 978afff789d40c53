"""Whatever is asked, the answer is one that the description of the interface has (schemathesis)."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.config._checks import (
    NEGATIVE_DATA_REJECTION_EXPECTED_STATUSES,
    POSITIVE_DATA_ACCEPTANCE_EXPECTED_STATUSES,
)
from schemathesis.schemas import BaseSchema

import tlog
from tests.ledgers import NAME, QuickDisk, create
from tests.server.conftest import granted
from tests.server.events_out.test_openapi import OPERATIONS
from tlog_server.app import create_app
from tlog_server.asking import STOPPING

ENTRIES = 300
EXAMPLES = 10
"""Requests of each operation and mode; more by hand."""

QUERIES = ("", "actor=alice", "action=log* outcome!=success", 'text="failed password"', "data.n=3|4 seq!=17")
FORMATS = {
    "tlog-partition": (NAME, NAME, NAME, "none", "tlog-system"),
    "tlog-query": QUERIES,
    "tlog-value": ("alice", "log*", '"a b"', "alice|bob", "*", '""', "x/y"),
    "tlog-time": ("2026-01-31", "2026-01-31T09:30:00Z", "2026-01-31T09:30:00.5+01:00"),
    "tlog-words": ("failed password", "pass*", "10.0.0.1"),
}
"""What the formats of the description stand for, which no schema can say."""

CONFIG = {
    "checks": {
        # What is too long is refused as such, whatever else is wrong with it.
        "negative_data_rejection": {"expected-statuses": [*NEGATIVE_DATA_REJECTION_EXPECTED_STATUSES, "413", "414"]},
        # A key that was used for another event, as two of the events that are made up may have.
        "positive_data_acceptance": {"expected-statuses": [*POSITIVE_DATA_ACCEPTANCE_EXPECTED_STATUSES, "422"]},
    }
}

CASES = [
    pytest.param(path, method, mode, id=f"{operation['operationId']}-{mode.value}")
    for path, method, operation in OPERATIONS
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or "parameters" in operation  # what takes nothing cannot be asked wrongly
]


class Api(NamedTuple):
    """The description that an application serves, and the headers that let everything be asked."""

    schema: BaseSchema
    headers: dict[str, str]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Api:
    """An application that is told to end: so streams end, and nobody waits for a checkpoint."""
    for name, values in FORMATS.items():
        schemathesis.openapi.format(name, st.sampled_from(values))
    partition = create(tmp_path_factory.mktemp("fuzz") / "ledger", disk=QuickDisk())
    partition.append_many({"id": f"id-{n}", "actor": "alice", "data": {"n": n}} for n in range(ENTRIES))
    partition.publish()
    with tlog.Index(partition) as index:
        index.catch_up()
    partition.close()
    app = create_app(partition.paths.ledger)
    app.config[STOPPING].set()
    config = schemathesis.Config.from_dict(CONFIG)
    return Api(
        schemathesis.openapi.from_wsgi("/openapi.json", app, config=config),
        {"Authorization": f"Bearer {granted(partition.paths.ledger)}", "Accept-Encoding": "identity"},
    )


@pytest.mark.parametrize(("path", "method", "mode"), CASES)
def test_every_operation(api: Api, path: str, method: str, mode: GenerationMode) -> None:
    """All checks of schemathesis, on good requests and on bad ones."""
    strategy = api.schema[path][method.upper()].as_strategy(generation_mode=mode)

    @given(case=strategy)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    def ask(case: Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE:
            _heed_words(case)
        case.call_and_validate(headers=api.headers)

    ask()


def _heed_words(case: Case[Any]) -> None:
    """Make a good request of one that is good by its schemas: what the description has in words, no schema says."""
    query = case.query or {}
    if case.path.endswith("/inclusion"):
        query.pop("leaf_hash", None)  # of no entry, when it is made up
        query.pop("id" if "index" in query else "", None)
        if "id" not in query:
            query.setdefault("index", 5)
    if case.path.endswith("/consistency"):
        query["old"] = int(query["old"]) % (ENTRIES + 1)
    query.pop("after", None)  # the cursor of a page before
    case.query = query
