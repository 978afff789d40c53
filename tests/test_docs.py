"""What docs/ says is so: commands and programs run, examples are what the library writes, names and links exist."""

from __future__ import annotations

import hashlib
import importlib
import re
import stat
import time
import unicodedata
from pathlib import Path
from typing import Any

import click
import pytest

import tlog
from tests import naive, test_layers
from tests.docrunner import FENCE, file_of, run_page
from tlog.access import Tokens
from tlog.entry import GENESIS_HASH, ChainHead, check_chain, encode_lines, encode_payload, parse_entry
from tlog.intake.intake import Intake
from tlog.jobs import Job, VerifyJobs
from tlog.keeper import Keeper
from tlog.keys import SigningKey
from tlog.ledger import Config
from tlog.names import RESERVED_PARTITION_NAMES
from tlog.storage.checkpoints import format_record
from tlog.storage.keyfiles import KeyFiles
from tlog.storage.sealed import Manifest
from tlog.storage.tail import DurableMark
from tlog_tools.main import SECTIONS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
FORMATS = ROOT / "docs" / "formats.md"
START_NS = 1_795_251_600_000_000_000  # 2026-11-21T09:00:00Z

EVENTS: tuple[tuple[dict[str, str], dict[str, str] | None], ...] = (
    ({"actor": "alice", "action": "login", "outcome": "success"}, None),
    ({"actor": "bob", "action": "delete", "target": "report-7"}, {"writer": "web-1"}),
)


class QuarterSeconds:
    """A clock that moves a quarter of a second a look."""

    def __init__(self) -> None:
        self._now_ns = START_NS

    def __call__(self) -> int:
        """Return the time and move on."""
        now_ns, self._now_ns = self._now_ns, self._now_ns + 250_000_000
        return now_ns


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> tlog.Partition:
    """The partition of the page's examples: two entries, a checkpoint after each."""
    ledger = tlog.Ledger.create(
        tmp_path_factory.mktemp("docs") / "ledger",
        origin="audit.example.com",
        segment_entries=256,
        clock=QuarterSeconds(),
    )
    partition = ledger.partition("users")
    KeyFiles(partition.files, partition.paths).create(SigningKey.from_seed(partition.origin, bytes(range(32))))
    for data, meta in EVENTS:
        partition.append(data, meta=meta)
        partition.publish()
    return partition


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_everything_on_the_page_runs(page: Path, tmp_path: Path) -> None:
    """Each command and program of a page does what the page says."""
    run_page(page, tmp_path)


def test_programs_are_found() -> None:
    """The pages that promise programs have some, so that the test above tests something."""
    runnable = {
        page.name: len(re.findall(r"^```(?:console|python)\b", page.read_text(), re.MULTILINE)) for page in PAGES
    }
    assert runnable["formats.md"] >= 4
    assert runnable["threat-model.md"] >= 3
    assert all(runnable[page.name] >= 2 for page in PAGES if page.parent.name == "uses")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("example.jsonl", "segments/00000000000000000000.jsonl"),
        ("lock", "lock"),
        ("checkpoint", "checkpoint"),
        ("users.signed", "../../keys/users.signed"),
        ("users.vkey", "../../keys/users.vkey"),
    ],
)
def test_example_files(users: tlog.Partition, name: str, path: str) -> None:
    """The examples are, to the byte, the files of a ledger that the library made."""
    assert file_of(FORMATS, name) == (users.paths.root / path).read_bytes()


def test_example_record_line(users: tlog.Partition) -> None:
    """The example is the last line of the record of checkpoints, and follows from the checkpoint."""
    line = file_of(FORMATS, "record.jsonl")
    assert line == users.paths.checkpoints.read_bytes().splitlines(keepends=True)[-1]
    assert line == format_record(tlog.Checkpoint.parse(file_of(FORMATS, "checkpoint")))


def test_example_proofs(users: tlog.Partition) -> None:
    """The examples are the proofs that the library makes."""
    assert file_of(FORMATS, "entry-1.tlog-proof") == users.prove(1).format()
    assert file_of(FORMATS, "growth.proof") == users.prove_consistency(1).format()
    assert file_of(FORMATS, "policy") == tlog.Policy.for_log(users.vkey).format()


def test_example_entries() -> None:
    """Hashes, sizes and the expression on the page are right, by the library and by the words of the RFC."""
    text, raw = FORMATS.read_text(encoding="utf-8"), file_of(FORMATS, "example.jsonl")
    lines = raw.split(b"\n")[:-1]
    assert check_chain(ChainHead(), b"users", lines).seq == 2
    leaf_hashes = [naive.leaf_hash(line) for line in lines]
    root_hash = naive.node_hash(*leaf_hashes).hex()
    assert all(found in text for found in [root_hash, *(value.hex() for value in leaf_hashes)])
    assert f"| bytes without `\\n` | {len(lines[0])} | {len(lines[1])} |" in text
    assert f"| `hash` is SHA-256 over the first | {len(lines[0]) - 75} | {len(lines[1]) - 75} |" in text
    (expression,) = re.findall(r"^\\\{\"seq.*$", text, re.MULTILINE)
    for line in lines:
        match, entry = re.fullmatch(expression.encode(), line), parse_entry(line)
        assert match is not None
        assert match[1] == b"%d" % entry.seq
        assert (match[2].decode(), match[3].decode()) == (entry.ts, entry.partition)
        assert (match[4].decode(), match[6].decode()) == (entry.prev_hash.hex(), entry.hash.hex())
        assert match[5].endswith(b'"data":' + entry.raw_data)
        assert re.fullmatch(expression.encode(), line.replace(b'"ts":', b'"ts": ')) is None


def test_example_mark() -> None:
    """The durable mark is laid out as the page says."""
    mark = file_of(FORMATS, "lock")
    assert len(mark) == 80
    assert mark == DurableMark(2, 0, len(file_of(FORMATS, "example.jsonl"))).encode()
    assert (int(mark[0:20]), int(mark[21:41]), int(mark[42:62])) == (2, 0, len(file_of(FORMATS, "example.jsonl")))
    assert mark[63:79] == hashlib.sha256(mark[0:62]).hexdigest()[:16].encode()
    assert DurableMark.decode(mark[:63] + b"0" * 16 + b"\n") is None


def test_example_manifest() -> None:
    """The manifest's bytes spell the fields of the table, and the entries that the page describes make these."""
    raw = bytes.fromhex(file_of(FORMATS, "manifest.hex").decode())
    manifest = Manifest.decode(raw, "docs/formats.md")
    assert manifest.encode() == raw
    examples = {
        row[0].strip("`"): row[3].strip("`")
        for row in _rows(FORMATS.read_text(encoding="utf-8"), "| key | type | meaning | example |")
    }
    shown = {name: getattr(manifest, name) for name in Manifest.__slots__}
    shown |= {"version": 1, "frames": list(manifest.frames)}
    assert list(examples) == ["version", *Manifest.__slots__]
    for name, value in shown.items():
        assert examples[name] == (
            "64 zeros" if value == bytes(32) else value.hex() if isinstance(value, bytes) else str(value)
        )
    first = file_of(FORMATS, "example.jsonl").split(b"\n")[:-1]
    last = parse_entry(first[-1])
    head = ChainHead(2, last.hash.hex().encode(), last.ts.encode())
    group = encode_lines(head, b"users", manifest.last_ts.encode(), [encode_payload({"n": n}) for n in range(2, 256)])
    lines = [*first, *b"".join(block.text for block in group.blocks).split(b"\n")[:-1]]
    assert (manifest.count, manifest.last_hash.hex().encode()) == (len(lines), group.head.hash)
    assert (manifest.prev_hash.hex().encode(), manifest.first_ts) == (GENESIS_HASH, parse_entry(first[0]).ts)
    assert manifest.root_hash == naive.NaiveTree(lambda index: naive.leaf_hash(lines[index])).root(256)


def test_modes(users: tlog.Partition) -> None:
    """The files of a ledger have the modes of the table, or fewer permissions."""
    ledger = users.paths.ledger
    log = tlog.AuditLog(users)
    log.verify()
    log.search("nothing")
    Intake(users).accept({"id": "4711"}, writer="web-1")
    with tlog.Ledger.open(ledger) as opened:
        Tokens(opened).create("web-1", ("append",), ("users",))
    found = {
        "keys/": ledger / "keys",
        "tlog.toml": ledger / "tlog.toml",
        "keys/<partition>.pem": users.paths.private_key,
        "keys/<partition>.vkey": users.paths.verifier_key,
        "keys/<partition>.signed": users.paths.signed,
        "lock": users.paths.lock,
        "segments/*.jsonl": users.paths.plain(0),
        "checkpoints.jsonl": users.paths.checkpoints,
        "checkpoint": users.paths.checkpoint,
        "tile/...": users.paths.root / "tile/0/000.p/2",
        "index/<partition>.sqlite": ledger / f"index/{users.name}.sqlite",
        "index/<partition>.ids": ledger / f"index/{users.name}.ids",
        "intake.lock": users.paths.root / "intake.lock",
        "access/": ledger / "access",
        "access/lock": ledger / "access/lock",
        "access/tokens.json": ledger / "access/tokens.json",
        "verified/*.checkpoint": ledger / f"verified/{users.name}.checkpoint",
        "keeper.lock": ledger / "keeper.lock",
        "keeper.json": _kept(ledger) / "keeper.json",
        "jobs/": ledger / "jobs",
        "jobs/lock": ledger / "jobs/lock",
        "jobs/*.json": ledger / f"jobs/{_verified(ledger).id}.json",
    }
    table = {
        row[0].strip("`"): row[1]
        for row in _rows(FORMATS.read_text(), "| file | mode | content | original or derived |")
    }
    assert set(found) | {"segments/*.jsonl.zst", "segments/*.manifest", "cosigned.jsonl"} == set(table)
    for name, path in found.items():
        allowed = int(table[name][:4], 8)
        assert stat.S_IMODE(path.stat().st_mode) & ~allowed == 0, name


def _kept(ledger: Path) -> Path:
    """The ledger, after a keeper has led it."""
    with tlog.Ledger.open(ledger) as opened:
        keeper = Keeper(opened)
        keeper.start()
        while not keeper.is_leader:
            time.sleep(0.02)
        keeper.stop()
        return ledger


def _verified(ledger: Path) -> Job:
    """A verification that is over."""
    with tlog.Ledger.open(ledger) as opened:
        jobs = VerifyJobs(opened)
        job = jobs.start("users", asked_by="alice")
        while (found := jobs.get(job.id)).state == "running":
            time.sleep(0.02)
        return found


def test_settings_and_names() -> None:
    """The settings of tlog.toml and the reserved names are those of the library."""
    text = FORMATS.read_text(encoding="utf-8")
    assert [row[0].strip("`") for row in _rows(text, "| setting | type | meaning |")] == list(Config.__slots__)
    (names,) = re.findall(r"\| the partition names ([^|]+) \|", text)
    assert names.split(", ") == sorted(RESERVED_PARTITION_NAMES)


def test_layer_table() -> None:
    """The table of layers has every module of the package, in the layer in which the layer test has it."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = {row[1].strip("`"): int(row[0].split()[0]) for row in _rows(text, "| layer | module | what it is |")}
    packages = {
        "tlog.mapping", "tlog.storage", "tlog.integrations", "tlog.index", "tlog.recording", "tlog.report",
        "tlog.intake", "tlog.keeping", "tlog.client", "tlog.witnessing", "tlog.mirroring",
        "tlog.monitoring",
    }  # fmt: skip
    expected = {
        module: test_layers._layer(module)
        for module in test_layers._modules()
        if module.startswith("tlog.") and module not in packages
    }
    faces = {"tlog_server.app": 9, "tlog_tools.main": 9, "tlog_tools.verify": 9}
    assert table == {**expected, "tlog": 8, **faces}


def test_code_that_is_named_exists() -> None:
    """A module, class or function that a page names in backquotes exists."""
    named = {
        name
        for page in PAGES
        for name in re.findall(
            r"`((?:tlog\.)?[a-z_]+(?:\.[A-Za-z_]+)+)`", FENCE.sub("", page.read_text(encoding="utf-8"))
        )
        if _is_code(name)
    }
    assert len(named) > 5
    for name in named:
        _resolve(name)


def test_commands_that_are_named_exist() -> None:
    """A command that a page names in backquotes exists, with the options that stand behind it."""
    commands = {name: module for section in SECTIONS.values() for name, (module, _) in section.items()}
    used = [
        (name, rest)
        for page in PAGES
        for name, rest in re.findall(r"`tlog ([a-z]+)([^`]*)`", FENCE.sub("", page.read_text(encoding="utf-8")))
    ]
    assert len(used) > 5
    for name, rest in used:
        command = getattr(importlib.import_module(f"tlog_tools.{commands[name]}"), f"{name}_command")
        if isinstance(command, click.Group) and rest.split():
            command = command.commands[rest.split()[0]]
        options = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--?[a-z]+", rest)) <= options, f"tlog {name}{rest}"


def test_links_and_references_lead_somewhere() -> None:
    """Relative links, and what docstrings cite of these pages, are pages and headings that exist."""
    cited = [(page.parent / (target or page.name), anchor) for page in PAGES for target, anchor in _links(page)]
    for path in sorted((ROOT / "tlog").rglob("*.py")):
        for name, headings in re.findall(
            r"docs/(\w+\.md)((?:,? (?:and )?\"[^\"]+\")*)", path.read_text(encoding="utf-8")
        ):
            cited += [(ROOT / "docs" / name, "")]
            cited += [(ROOT / "docs" / name, _anchor(heading)) for heading in re.findall(r"\"([^\"]+)\"", headings)]
    assert len(cited) > 15
    for target, anchor in cited:
        assert target.exists(), target
        assert not anchor or anchor in _anchors(target), f"{target.name}#{anchor}"


def _rows(text: str, header: str) -> list[list[str]]:
    """The rows of the table with this header, cell by cell."""
    _, found, rest = text.partition(header + "\n")
    assert found, header
    rows = re.match(r"\|[- |]+\|\n((?:\|.*\|\n)+)", rest)
    assert rows is not None, header
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[1].splitlines()]


def _is_code(name: str) -> bool:
    """Whether a dotted name means code, and not a file or a JSON field."""
    if name.endswith((".js", ".json", ".lock")):
        return False
    first, _, rest = name.removeprefix("tlog.").partition(".")
    package = ROOT / "tlog" / first
    # `client.user.name` is a field of other people's events, although there is a package of that name.
    is_in_package = package.is_dir() and (
        name.startswith("tlog.") or (package / f"{rest.partition('.')[0]}.py").exists()
    )
    return package.with_suffix(".py").exists() or is_in_package


def _resolve(name: str) -> Any:
    """The thing that a dotted name below the package means. Raises: AttributeError, ImportError."""
    parts = name.removeprefix("tlog.").split(".")
    found: Any = importlib.import_module("tlog")
    path = "tlog"
    for part in parts:
        path = f"{path}.{part}"
        is_module = (ROOT / f"{path.replace('.', '/')}.py").exists() or (ROOT / path.replace(".", "/")).is_dir()
        found = importlib.import_module(path) if is_module else getattr(found, part)
    return found


def _links(page: Path) -> list[tuple[str, str]]:
    """The relative links of a page: target and anchor."""
    return re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", FENCE.sub("", page.read_text(encoding="utf-8")))


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {_anchor(heading) for heading in headings}


def _anchor(heading: str) -> str:
    """The anchor that web pages make of a heading."""
    kept = [c for c in heading.lower() if c in " -_" or unicodedata.category(c)[0] in "LN"]
    return "".join(kept).replace(" ", "-")


@pytest.mark.parametrize(
    "block",
    [
        "```console\n$ echo one\ntwo\n```\n",
        "```console\n$ echo one\n```\n",
        "```console\n$ true\none\n```\n",
        "```console\n$ exit 1\n```\n",
        "```console\none\n```\n",
        "```python\nprint(1)  # 2\n```\n",
        "```python\nraise SystemExit(1)\n```\n",
        "```ruby\nputs 1\n```\n",
    ],
)
def test_a_page_that_is_wrong_is_found_out(block: str, tmp_path: Path) -> None:
    """Other output, less or more output, a shell that ends, and programs that fail are errors."""
    page = tmp_path / "page.md"
    page.write_text(block, encoding="utf-8")
    with pytest.raises(AssertionError, match=r"line 1"):
        run_page(page, tmp_path)


def test_a_page_that_is_right_passes(tmp_path: Path) -> None:
    """What varies is compared by its kind, `...` stands for any lines, and named blocks are files."""
    page = tmp_path / "page.md"
    page.write_text(
        "```text name.txt\none\n```\n```console\n$ cat name.txt\none\n$ printf 'a\\nb\\n0.25 s, 3/s\\n'\n...\n"
        "9.00 s, 1/s\n$ true\n...\n```\n```python\nprint(open)  # <built-in function open>\n```\n"
        "<!-- not run here: it would fail -->\n```console\n$ false\nmore\n```\n",
        encoding="utf-8",
    )
    assert run_page(page, tmp_path) == 4
