"""Imports point only down the layers, and verifying needs neither storage nor the log nor HTTP."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tlog

ROOT = Path(__file__).resolve().parent.parent

# (layer, modules). A module may import from lower layers, and in its own layer what is listed before it.
# "name.*" stands for every module of a package: its inner order is free, cycles are still found.
LAYERS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (0, ("tlog.errors", "tlog._strict", "tlog._heap")),
    (1, ("tlog.hashing", "tlog.tree", "tlog.proof", "tlog.subtree")),
    (
        2,
        (
            "tlog.names",
            "tlog.accessrules",
            "tlog.report.shown",
            "tlog.report.sentence",
            "tlog.jsontext",
            "tlog.grant",
            "tlog.tile",
            "tlog.tilebuilder",
            "tlog.bundle",
            "tlog.entry",
            "tlog.index",
            "tlog.index.fields",
            "tlog.index.query",
            "tlog.vocabulary",
            "tlog.events",
            "tlog.mapping.*",
            "tlog.context",
            "tlog.recording",
            "tlog.report",
            "tlog.recording.lifecycle",
            "tlog.recording.capture",
        ),
    ),
    (3, ("tlog.keys", "tlog.cosignature", "tlog.note", "tlog.checkpoint", "tlog.policy", "tlog.standing")),
    (
        4,
        (
            "tlog.tlogproof",
            "tlog.reader",
            "tlog.verify",
            "tlog.evidence",
            "tlog.earlier",
            "tlog.report.proofs",
            "tlog.witnessing.request",
            "tlog.mirroring.upload",
        ),
    ),
    (5, ("tlog.storage.*",)),
    (
        6,
        (
            "tlog.stretch",
            "tlog.workers",
            "tlog.worker",
            "tlog.group",
            "tlog.sequencer",
            "tlog.receipt",
            "tlog.writer",
            "tlog.integrate",
            "tlog.publisher",
            "tlog.prover",
            "tlog.site",
            "tlog.linked",
            "tlog.audit",
            "tlog.seal",
            "tlog.export",
            "tlog.fsck",
            "tlog.partition",
        ),
    ),
    (
        7,
        (
            "tlog.report.vouching",
            "tlog.client.transport",
            "tlog.witnessing",
            "tlog.witnessing.state",
            "tlog.witnessing.observer",
            "tlog.witnessing.witness",
            "tlog.witnessing.home",
            "tlog.witnessing.transport",
            "tlog.witnessing.web",
            "tlog.mirroring",
            "tlog.mirroring.store",
            "tlog.mirroring.mirror",
            "tlog.mirroring.source",
            "tlog.mirroring.pull",
            "tlog.mirroring.push",
            "tlog.mirroring.home",
            "tlog.monitoring.*",
            "tlog.witnessing.collect",
            "tlog.ledger",
            "tlog.mirroring.restore",
            "tlog.intake.*",
            "tlog.system",
            "tlog.access",
            "tlog.jobs",
            "tlog.recording.steady",
            "tlog.recording.background",
            "tlog.recording.handler",
            "tlog.integrations.*",
            "tlog.index.*",
            "tlog.client.*",
            "tlog.keeping.*",
            "tlog.keeper",
            "tlog.status",
            "tlog.report.stats",
            "tlog.report.contents",
            "tlog.report.page",
            "tlog.report.checkpoints",
            "tlog.report.overview",
            "tlog.recording.anchor",
            "tlog.recording.questions",
            "tlog.recording.calls",
            "tlog.recording.auditlog",
        ),
    ),
    # The package itself only gives the public names of the modules above; nothing in tlog may import it.
    (8, ("tlog",)),
    (9, ("tlog_server.*", "tlog_tools.*")),
)
PACKAGES = {
    "tlog": ROOT / "tlog",
    "tlog_tools": ROOT / "tools" / "tlog_tools",
    "tlog_server": ROOT / "server/tlog_server",
}


def test_imports_point_down() -> None:
    """Every module is in the table, and imports lower layers, or earlier modules of its own layer, only."""
    modules = _modules()
    assert len(modules) > 5
    problems = [
        f"{name} imports {target}"
        for name, path in modules.items()
        for target in _imports(path.read_text(encoding="utf-8"), name, is_package=path.name == "__init__.py")
        if not _may_import(name, target)
    ]
    assert problems == []


def test_no_cycles() -> None:
    """No chain of imports, however long, leads back to its start."""
    graph = {
        name: set(_imports(path.read_text(encoding="utf-8"), name, is_package=path.name == "__init__.py")) - {name}
        for name, path in _modules().items()
    }
    while free := [name for name, targets in graph.items() if not targets & graph.keys()]:
        for name in free:
            del graph[name]
    assert graph == {}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import tlog.note", {"tlog.note"}),
        ("from tlog import note, tile as t", {"tlog.note", "tlog.tile"}),
        ("from . import note", {"tlog.note"}),
        ("from .note import parse", {"tlog.note"}),
        ("def f():\n    from tlog.log import Log", {"tlog.log"}),
        ("import json, tlog.errors as e", {"tlog.errors"}),
        ("from tlog import Ledger", {"tlog"}),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import tlog.verify", {"tlog.verify"}),
    ],
)
def test_every_kind_of_import_is_seen(source: str, expected: set[str]) -> None:
    """Absolute, relative, aliased, function-level and type-checking imports all count."""
    assert set(_imports(source, "tlog.reader", is_package=False)) == expected


def test_upward_and_unlisted_imports_are_refused() -> None:
    """The rule itself: down and earlier pass; up, later and unlisted modules do not."""
    assert _may_import("tlog.verify", "tlog.note")
    assert _may_import("tlog.proof", "tlog.tree")
    assert _may_import("tlog_tools.main", "tlog")
    assert not _may_import("tlog.tree", "tlog.proof")
    assert not _may_import("tlog.verify", "tlog.storage.durable")
    assert not _may_import("tlog.verify", "tlog")
    assert not _may_import("tlog.unlisted", "tlog.errors")


@pytest.mark.parametrize("module", ["tlog", "tlog.verify", "tlog_tools.verify"])
def test_importing_the_verifier_loads_no_storage(module: str) -> None:
    """A process that imports the verifier has loaded no storage, no log, no server, no HTTP."""
    loaded = _loaded_by(f"import {module}")
    assert module in loaded
    assert _forbidden(loaded) == []


def test_verifying_loads_no_storage(tmp_path: Path) -> None:
    """Nor has a process that has verified a proof, a consistency proof and a checkpoint from end to end."""
    with tlog.Ledger.create(tmp_path / "ledger", origin="log.example") as ledger:
        partition = ledger.partition("users")
        partition.append("first")
        old = partition.publish()
        partition.append("second")
        partition.publish()
        files = {
            "--proof": partition.prove(0).format(),
            "--consistency": partition.prove_consistency(1).format(),
            "--checkpoint": old.raw,
        }
        key = str(partition.vkey)
    (tmp_path / "old").write_bytes(old.raw)
    for option, content in files.items():
        file = tmp_path / option.removeprefix("--")
        file.write_bytes(content)
        arguments = [option, str(file), "--key", key, "-q"]
        arguments += ["--old", str(tmp_path / "old")] if option == "--consistency" else []
        loaded = _loaded_by(f"from tlog_tools.verify import main; main({arguments!r})")
        assert "tlog.verify" in loaded
        assert _forbidden(loaded) == []


@pytest.mark.parametrize("module", ["blocking", "nonblocking"])
def test_the_client_loads_no_storage(module: str) -> None:
    """Whoever verifies remotely needs neither storage nor the log: nothing of layers 5 and 6, and of 7 the client."""
    loaded = [name for name in _loaded_by(f"import tlog.client.{module}") if (_layer(name) or 0) in {5, 6, 7}]
    assert f"tlog.client.{module}" in loaded
    assert [name for name in loaded if not name.startswith("tlog.client")] == []


def test_the_client_imports_the_verifying_layers_only() -> None:
    """No module of the client imports, even inside a function, more than layers 0 to 4 and its own package."""
    modules = {name: path for name, path in _modules().items() if name.startswith("tlog.client.")}
    assert len(modules) > 5
    for name, path in modules.items():
        for target in _imports(path.read_text(encoding="utf-8"), name, is_package=False):
            assert target.startswith("tlog.client") or (_layer(target) or 0) <= 4, f"{name} imports {target}"


def test_writing_loads_storage() -> None:
    """The two tests above can fail: a process that asks for the ledger has loaded what they forbid."""
    assert {"tlog.ledger", "tlog.storage.disk"} <= set(_forbidden(_loaded_by("import tlog; tlog.Ledger")))


def _loaded_by(program: str) -> list[str]:
    """The modules that are loaded when a program ends, which must end well."""
    listing = "import atexit, sys; atexit.register(lambda: print('\\n'.join(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", f"{listing}; {program}"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def _forbidden(loaded: list[str]) -> list[str]:
    names = ("flask", "http", "urllib.request", "socketserver", "tlog_server")
    return [name for name in loaded if name in names or _layer(name) in {5, 6, 7}]


def _modules() -> dict[str, Path]:
    """The dotted name and file of every module of the distribution."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *parts)).removesuffix(".__init__")] = path
    return found


def _imports(source: str, importer: str, *, is_package: bool) -> Iterator[str]:
    """The modules of the distribution that `source` imports anywhere, also inside functions."""
    package = importer if is_package else importer.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base]) if base else ".".join(above)
            # `from package import name` imports the module package.name where there is one.
            names = [f"{base}.{alias.name}" if _is_module(f"{base}.{alias.name}") else base for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.partition(".")[0] in PACKAGES)


def _is_module(name: str) -> bool:
    package, _, rest = name.partition(".")
    if package not in PACKAGES or not rest:
        return package in PACKAGES
    place = PACKAGES[package] / rest.replace(".", "/")
    return place.with_suffix(".py").exists() or place.is_dir()


def _may_import(importer: str, target: str) -> bool:
    here, there = _rank(importer), _rank(target)
    if here is None or there is None:
        return False
    inside_one_package = here == there and LAYERS[here[0]][1][here[1]].endswith(".*")
    return there < here or inside_one_package


def _rank(module: str) -> tuple[int, int] | None:
    """The module's layer and place in it, or None where the table does not list it."""
    for layer, (_, patterns) in enumerate(LAYERS):
        for place, pattern in enumerate(patterns):
            package = pattern.removesuffix(".*")
            if module == package or (pattern != package and module.startswith(f"{package}.")):
                return layer, place
    return None


def _layer(module: str) -> int | None:
    rank = _rank(module)
    return None if rank is None else LAYERS[rank[0]][0]
