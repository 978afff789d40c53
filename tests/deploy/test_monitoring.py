"""Alerts and the dashboard ask for what the server exports, and their own programs accept them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import prometheus_client.parser
import pytest
import yaml

import tlog
from tests.deploy.conftest import DEPLOY, Deployed, run
from tlog_server.metrics import BUCKETS_S, Metrics

COMPOSE = DEPLOY / "docker" / "compose.yaml"
RULES = DEPLOY / "prometheus" / "rules.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "tlog.json"

OF_OTHERS = {"up"}
OF_OTHERS_PREFIXES = ("node_", "kubelet_")
"""Metrics that Prometheus, node_exporter and the kubelet make."""

FUNCTIONS = frozenset(
    {"count", "sum", "min", "max", "rate", "increase", "topk", "histogram_quantile", "predict_linear"}
)
OPERATORS = frozenset({"and", "or", "unless"})


@pytest.fixture(scope="module")
def exported(deployed: Deployed) -> set[str]:
    """The names of all samples that a server can export, of every kind."""
    with tlog.Ledger.open(deployed.ledger) as ledger:
        metrics = Metrics(ledger)
        partition = ledger.partition(ledger.partitions()[0])
        metrics.answered("/x", "GET", 200, BUCKETS_S[0])
        metrics.refused("overload")
        metrics.appended(partition, 1, 1)
        text = metrics.render().decode()
    samples = {
        sample.name
        for family in prometheus_client.parser.text_string_to_metric_families(text)
        for sample in family.samples
    }
    described = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    return samples | described


def _asked(expression: str) -> set[str]:
    """Return the names of metrics in an expression: words that are no label, text, duration or word of PromQL."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", bare)
    bare = re.sub(r"\b(by|on|without|ignoring)\s*\([^)]*\)", "", bare)
    return set(re.findall(r"\b[a-z_][a-z0-9_]*\b", bare)) - FUNCTIONS - OPERATORS


def test_words_of_expressions() -> None:
    """Names of metrics are told from labels and functions."""
    expression = 'sum by (le, x) (rate(a_b{c=~"d_e"}[5m])) / on (job) f > 1 or predict_linear(g[1h], 2) < 0'
    assert _asked(expression) == {"a_b", "f", "g"}


def _rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_alerts_ask_for_what_is_exported(exported: set[str]) -> None:
    """Each metric of each rule is one that the server exports, or a known one of another program."""
    rules = _rules()
    assert len(rules) >= 12
    for rule in rules:
        for name in _asked(rule["expr"]):
            assert name in exported | OF_OTHERS or name.startswith(OF_OTHERS_PREFIXES), f"{rule['alert']}: {name}"
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert set(rule["annotations"]) == {"summary", "description"}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool on this machine")
def test_prometheus_accepts_its_files(tmp_path: Path) -> None:
    """Promtool checks the rules and the configuration, and each rule fires when it should and not otherwise."""
    for name in ("rules.yml", "prometheus.yml"):
        text = (DEPLOY / "prometheus" / name).read_text()
        (tmp_path / name).write_text(text.replace("/run/secrets/metrics-token", "/dev/null"))
    shutil.copy(Path(__file__).with_name("rules_test.yml"), tmp_path)
    run("promtool", "check", "rules", tmp_path / "rules.yml")
    run("promtool", "check", "config", tmp_path / "prometheus.yml")
    run("promtool", "test", "rules", tmp_path / "rules_test.yml")
    tested = (tmp_path / "rules_test.yml").read_text()
    assert all(tested.count(rule["alert"]) >= 2 for rule in _rules())


def test_the_dashboard(exported: set[str]) -> None:
    """Each panel asks for what is exported, has a description, and overlaps no other; ids are single."""
    dashboard = json.loads(DASHBOARD.read_text())
    assert dashboard["schemaVersion"] >= 39
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) >= 12
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["title"]
        assert panel["description"]
        at = panel["gridPos"]
        covered = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not covered & cells
        assert at["x"] + at["w"] <= 24
        cells |= covered
        for target in panel["targets"]:
            asked = _asked(target["expr"].replace("$__rate_interval", "5m"))
            assert asked, panel["title"]
            assert asked <= exported, (panel["title"], asked - exported)
            used = set(re.findall(r"\$\{?([a-z_]+)", target["expr"])) - {"__rate_interval"}
            assert used <= variables
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
            assert found is not None
            assert (found[1] in exported, found[2]) == (True, variable["name"])


def test_grafana_and_prometheus_are_wired_together() -> None:
    """What is provisioned names the files where compose mounts them, and the data source of the panels."""
    compose = yaml.safe_load(COMPOSE.read_text())["services"]
    (provider,) = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/tlog.yaml").read_text())["providers"]
    assert any(mount.split(":")[1] == provider["options"]["path"] for mount in compose["grafana"]["volumes"])
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (job,) = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    token = Path(job["authorization"]["credentials_file"])
    assert token.name in compose["prometheus"]["secrets"]
    assert job["static_configs"][0]["targets"] == ["tlog:8000"]
