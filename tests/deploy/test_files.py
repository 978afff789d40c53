"""The files of deploy/ that no server of this test runs, each read by the parser or linter of whoever will read it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml

from tests.deploy.conftest import BIN, DEPLOY, run
from tlog_tools.common import PASSPHRASE_FILE_VARIABLE, PASSPHRASE_VARIABLE
from tlog_tools.main import cli

KUBERNETES = DEPLOY / "kubernetes"
UNITS = ("tlog.service", "tlog-verify.service")
MAX_EXPOSURE = 2.0


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze on this machine")
@pytest.mark.parametrize("name", [*UNITS, "tlog-verify.timer"])
def test_units(name: str, tmp_path: Path) -> None:
    """Systemd has nothing to say about the units, with programs that exist here, and their exposure is low."""
    for unit in (DEPLOY / "systemd").iterdir():
        text = re.sub(r"^(Exec\w+)=/opt/\S+", r"\1=/bin/true", unit.read_text(), flags=re.MULTILINE)
        (tmp_path / unit.name).write_text(text)
    assert run("systemd-analyze", "verify", "--man=no", tmp_path / name) == ""
    if name.endswith(".service"):
        said = run("systemd-analyze", "security", "--offline=true", "--no-pager", tmp_path / name)
        exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
        assert exposure is not None
        assert float(exposure[1]) < MAX_EXPOSURE


def test_the_unit_does_what_the_server_does() -> None:
    """The service is told when the server is ready, reloads it by SIGHUP, and waits longer than the server does."""
    from tlog_server.running import GRACE_S

    text = (DEPLOY / "systemd" / "tlog.service").read_text()
    assert "\nType=notify\n" in text
    assert "\nExecReload=/bin/kill -HUP $MAINPID\n" in text
    stop = re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    assert stop is not None
    assert int(stop[1]) > GRACE_S
    assert "LoadCredential=key-passphrase:" in text
    assert f"Environment={PASSPHRASE_FILE_VARIABLE}=%d/key-passphrase" in text


def test_the_dockerfile() -> None:
    """Hadolint has nothing to say, the last stage runs as a user without rights, and nothing secret is built in."""
    path = DEPLOY / "docker" / "Dockerfile"
    if (BIN / "hadolint").exists():  # its package has no program for every processor
        assert run(BIN / "hadolint", path) == ""
    steps = [line.split(maxsplit=1) for line in path.read_text().splitlines() if re.match(r"[A-Z]+ ", line)]
    last = steps[[name for name, _ in steps].index("FROM", 1) :]
    assert dict(last)["USER"] == "10001:10001"
    assert {"HEALTHCHECK", "ENTRYPOINT", "STOPSIGNAL"} <= {name for name, _ in last}
    assert not re.search(r"(?i)(PASSPHRASE|TOKEN|SECRET)\S*=", path.read_text())


def test_the_dockerfile_copies_what_is_there() -> None:
    """Each source of a COPY is in the repository, and the ignore file lets it through."""
    path = DEPLOY / "docker" / "Dockerfile"
    ignored = (DEPLOY / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    sources = [
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", path.read_text(), re.MULTILINE)
        for word in line.split()[:-1]
        if not word.startswith("--")
    ]
    assert len(sources) >= 7
    for source in sources:
        assert (DEPLOY.parent / source).exists(), source
        assert f"!{source}" in ignored, source
    assert "*" in ignored


def _compose() -> list[str] | None:
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        return [docker, "compose"]
    return None


COMPOSE = DEPLOY / "docker" / "compose.yaml"


@pytest.mark.skipif(_compose() is None, reason="there is no docker compose on this machine")
def test_compose_reads_its_file() -> None:
    """`docker compose config` accepts the file."""
    assert "tlog" in run(*(_compose() or []), "-f", COMPOSE, "config")


def test_the_containers_are_closed() -> None:
    """No container may gain rights; the server's has no port, no writable root, no way out; mounted files exist."""
    compose = yaml.safe_load(COMPOSE.read_text())
    for service in compose["services"].values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        for mount in service["volumes"]:
            source = mount.partition(":")[0]
            if source.startswith(".") and source != "./tls":
                assert (COMPOSE.parent / source).exists(), source
    server = compose["services"]["tlog"]
    assert (server["read_only"], server["networks"], "ports" in server) == (True, ["inside"], False)
    assert compose["networks"]["inside"]["internal"] is True
    assert server["build"]["dockerfile"] == "deploy/docker/Dockerfile"


def _documents() -> Iterator[dict[str, Any]]:
    for path in sorted(KUBERNETES.glob("*.yaml")):
        if path.name != "kustomization.yaml":
            yield from yaml.safe_load_all(path.read_text())


def test_kubernetes_accepts_the_manifests() -> None:
    """Each is valid under the schema of its kind, strictly, and kustomization.yaml lists all files."""
    found = list(_documents())
    for document in found:
        kubernetes_validate.validate(document, "1.33", strict=True)
    kinds = {document["kind"] for document in found}
    assert {"StatefulSet", "Service", "NetworkPolicy", "PodDisruptionBudget", "ServiceAccount"} <= kinds
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    files = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == files
    (stateful,) = (document for document in found if document["kind"] == "StatefulSet")
    pod = stateful["spec"]["template"]["spec"]
    used = {container["image"] for container in pod["initContainers"] + pod["containers"]}
    assert used == {image["name"] for image in kustomization["images"]}


def test_the_pod_is_closed() -> None:
    """One replica, no rights, no credentials, a root that is read-only; all selectors are of its labels."""
    documents = {(document["kind"], document["metadata"]["name"]): document for document in _documents()}
    stateful = documents["StatefulSet", "tlog"]["spec"]
    pod = stateful["template"]["spec"]
    assert stateful["replicas"] == 1
    assert stateful["volumeClaimTemplates"][0]["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert pod["automountServiceAccountToken"] is False
    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 10001)
    assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
    for container in pod["initContainers"] + pod["containers"]:
        context = container["securityContext"]
        assert (context["readOnlyRootFilesystem"], context["allowPrivilegeEscalation"]) == (True, False)
        assert context["capabilities"] == {"drop": ["ALL"]}
    (server,) = pod["containers"]
    probes = {name: server[name]["httpGet"]["path"] for name in server if name.endswith("Probe")}
    assert probes == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    labels = stateful["template"]["metadata"]["labels"]
    selectors = [
        stateful["selector"]["matchLabels"],
        documents["Service", "tlog"]["spec"]["selector"],
        documents["Service", "tlog-headless"]["spec"]["selector"],
        documents["PodDisruptionBudget", "tlog"]["spec"]["selector"]["matchLabels"],
        documents["NetworkPolicy", "tlog"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert selectors == [labels] * 5
    assert stateful["serviceName"] == documents["Service", "tlog-headless"]["metadata"]["name"]
    assert documents["NetworkPolicy", "tlog"]["spec"]["egress"] == []
    assert "kind: Secret" not in "".join(path.read_text() for path in KUBERNETES.glob("*.yaml"))


def _variables() -> set[str]:
    """Return the variables TLOG_* that the programs read."""
    serve = cli.get_command(click.Context(cli), "serve")
    assert serve is not None
    named = {str(option.envvar) for option in serve.params if isinstance(option, click.Option) and option.envvar}
    script = (DEPLOY / "cron" / "tlog-verify-ledger").read_text()
    own = set(re.findall(r"^#   (TLOG_\w+) ", script, re.MULTILINE))
    return named | own | {"TLOG_LEDGER", PASSPHRASE_VARIABLE, PASSPHRASE_FILE_VARIABLE}


def test_variables_are_ones_that_are_read() -> None:
    """Each TLOG_* in deploy/ and its page is one that a program reads."""
    known = _variables()
    files = [path for path in DEPLOY.rglob("*") if path.is_file()] + [DEPLOY.parent / "docs" / "deploy.md"]
    used = {name: path for path in files for name in re.findall(r"\bTLOG_[A-Z_]+\b", path.read_text())}
    assert len(used) >= 8
    assert {name: path.name for name, path in used.items() if name not in known} == {}


def test_nothing_is_ambiguous() -> None:
    """Each YAML file is read whole by a strict reader, without double keys."""

    class Strict(yaml.SafeLoader):
        """Refuses double keys."""

    def mapping(loader: Strict, node: yaml.MappingNode) -> dict[Any, Any]:
        keys = [loader.construct_object(key) for key, _ in node.value]
        assert len(set(map(str, keys))) == len(keys), keys
        return loader.construct_mapping(node, deep=True)

    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    paths = [path for path in DEPLOY.rglob("*") if path.suffix in {".yml", ".yaml"}]
    assert len(paths) >= 10
    for path in paths:
        assert all(isinstance(found, dict) for found in yaml.load_all(path.read_text(), Strict)), path
