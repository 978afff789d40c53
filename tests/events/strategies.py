"""Events and documents for hypothesis."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import strategies as st

from tests.test_jsontext import characters, values
from tlog.events import OUTCOMES, SEVERITIES, Event

texts = st.text(characters, max_size=20)
actions = st.sampled_from(["login", "user.logout", "document.delete", "read", "config_changed", "tools/call", "×"])
names = (
    st.text(characters, min_size=1, max_size=20) | st.just("a\nb") | st.just("￿") | st.just("%0A") | st.just("tlog.")
)
digits = st.text("0123456789", max_size=9)
days = st.sampled_from(["0001-01-01", "1969-12-31", "1970-01-01", "2026-11-21", "2554-07-21", "9999-12-31"])
clocks = st.sampled_from(["00:00:00", "09:00:00", "23:34:33", "23:59:59"])
times = st.builds(lambda day, clock, part: f"{day}T{clock}{'.' + part if part else ''}Z", days, clocks, digits)
numbers = st.integers(0, 2**64 - 1) | st.floats(0, allow_nan=False, allow_infinity=False) | st.just(12.345)
ids = st.text(characters, min_size=1, max_size=40)
groups = names | st.sampled_from(["0" * 32, "5b8efff798038103d269b633813fc60c", "5B8EFFF798038103D269B633813FC60C"])

_REQUIRED = {"actor": names, "action": actions | names, "outcome": st.sampled_from(OUTCOMES)}
_OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "id": ids,
    "time": times,
    "category": st.sampled_from(["user", "config", "security"]) | names,
    "target": names,
    "severity": st.sampled_from(SEVERITIES),
    "correlation_id": groups,
    "message": texts,
    "data": values,
    "error": st.fixed_dictionaries({"type": texts, "message": texts}, optional={"stack": texts}),
    "started": times,
    "ended": times,
    "latency_ms": numbers,
    "method": names,
    "input": values,
    "output": values,
    "provider": names,
    "model": names,
    "usage": st.dictionaries(texts, numbers, max_size=3),
    "policy_decisions": st.lists(
        st.fixed_dictionaries({"policy": texts, "decision": texts}, optional={"reason": texts}), max_size=3
    ),
    "labels": st.dictionaries(texts, texts, max_size=3),
}
fields = st.fixed_dictionaries(_REQUIRED, optional=_OPTIONAL)
events = fields.map(lambda given: cast("Any", Event)(**given))
