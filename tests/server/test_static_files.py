"""The files of the pages, and the builder of the self-contained checker."""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from tests.server.conftest import Served
from tlog_server.checker import build_checker, bundle
from tlog_server.static_files import ROOT, TYPES, files

PROJECT = Path(__file__).resolve().parents[2]


def test_every_file_is_served(served: Served) -> None:
    """Each with its type, an entity tag, and the order to ask whether it is still the same; in gzip where liked."""
    assert {"js/verify.js", "css/path.css", "checker.html"} <= set(files())
    for name, file in files().items():
        answer = served.client.get(f"/static/{name}")
        assert (answer.status_code, answer.data) == (200, file.body)
        assert answer.headers["Content-Type"] == file.content_type
        assert answer.headers["Cache-Control"] == "no-cache"
        known = {"If-None-Match": answer.headers["ETag"]}
        assert served.client.get(f"/static/{name}", headers=known).status_code == 304
        zipped = served.client.get(f"/static/{name}", headers={"Accept-Encoding": "gzip"})
        assert zipped.headers["Content-Encoding"] == "gzip"
    assert files()["js/verify.js"].content_type == TYPES[".js"]


@pytest.mark.parametrize(
    "name",
    ["", "js", "js/", "nothing.js", "../app.py", "js/../js/verify.js", "%2e%2e/app.py", "js//verify.js", "/etc/passwd",
     "js/package.json", "checker/checker.html", "js/verify.js/", "JS/verify.js", "js/verify.js\0", "js\\verify.js"],
)  # fmt: skip
def test_other_paths_are_no_files(served: Served, name: str) -> None:
    """A path is a name in a table, so nothing outside of it is reached."""
    assert served.client.get(f"/static/{name}").status_code == 404


def test_parameters(served: Served) -> None:
    """Only the checker takes one, in one spelling."""
    assert served.client.get("/static/js/verify.js?download=1").status_code == 400
    assert served.client.get("/static/checker.html?download=yes").status_code == 400
    kept = served.client.get("/static/checker.html?download=1")
    assert kept.headers["Content-Disposition"] == 'attachment; filename="tlog-checker.html"'
    assert kept.data == served.client.get("/static/checker.html").data


def test_the_checker_allows_itself_and_nothing_else(served: Served) -> None:
    """One script and one style, by hash, in the page and in the header; no other file, no address, no handler."""
    answer = served.client.get("/static/checker.html")
    page = answer.text
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert answer.headers["Content-Security-Policy"] == f"{policy}; frame-ancestors 'none'"
    assert policy.startswith("default-src 'none'; ")
    assert "connect-src" not in policy
    assert "unsafe" not in policy
    for element, directive in (("script", "script-src"), ("style", "style-src")):
        ((_, text),) = re.findall(rf"<{element}( [^>]*)?>(.*?)</{element}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert re.findall(r"\b(?:src|href|action|on\w+|style)=\"([^\"]*)\"", page) == ["data:,", "#main"]
    (script,) = re.findall(r'<script type="module">(.*?)</script>', page, re.DOTALL)
    code = re.sub(r"/\*.*?\*/|^ *//.*?$", "", script, flags=re.DOTALL | re.MULTILINE)
    assert re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|import\(", code) is None
    assert build_checker(ROOT) == build_checker(ROOT)


def write(root: Path, **modules: str) -> Path:
    """Write modules into a directory; return it."""
    for name, text in modules.items():
        (root / f"{name}.js").write_text(text)
    return root


def test_modules_become_one_script(tmp_path: Path) -> None:
    """Each once, behind what it needs, with names of its own."""
    write(
        tmp_path,
        a='import {\n  one,\n  two,\n} from "./b.js";\nimport { three } from "./c.js";\nlet own = [one, two, three];\n',
        b='import { three } from "./c.js";\nexport const one = 1;\nexport function two() {}\nconst own = three;\n',
        c='export { one } from "./d.js";\nexport class three {}\n',
        d="export const one = 1;\n",
    )
    script = bundle(tmp_path, "a.js")
    assert re.findall(r"^// (\w)\.js$", script, re.MULTILINE) == ["d", "c", "b", "a"]
    assert not re.search(r"^\s*(import|export)\b", script, re.MULTILINE)
    assert "return { three, one: module_d.one };" in script
    assert "const { three } = module_c;" in script


@pytest.mark.parametrize(
    "text",
    [
        'import all from "./b.js";\n', 'import * as all from "./b.js";\n', 'import { one as two } from "./b.js";\n',
        'import "./b.js";\n', 'const b = import("./b.js");\n', "export default 1;\n", "export { one };\n",
        'export * from "./b.js";\n', 'import { one } from "https://example.com/b.js";\n', "let at = import.meta;\n",
        'import { one } from "../b.js";\n', 'import { own } from "./a.js";\nexport const own = 1;\n',
    ],
)  # fmt: skip
def test_other_forms_are_refused(tmp_path: Path, text: str) -> None:
    """What the builder does not know, it does not pass over."""
    write(tmp_path, a=text, b="export const one = 1;\n")
    with pytest.raises(ValueError, match=r"does not know|another name|need"):
        bundle(tmp_path, "a.js")


def test_text_that_would_end_the_script(tmp_path: Path) -> None:
    """A script that holds the end of its own element, or a template without a slot, makes no page."""
    for name in ("js", "css", "checker"):
        (tmp_path / name).mkdir()
    for name in ("pages", "path", "checker"):
        (tmp_path / "css" / f"{name}.css").write_text("a {}\n")
    template = "<!--policy--><style><!--style--></style><script><!--script--></script>"
    (tmp_path / "checker" / "checker.html").write_text(template)
    write(tmp_path / "js", checker="const a = 1;\n")
    assert b"const a = 1;" in build_checker(tmp_path).page
    for text in ('const a = "</ScRiPt>";\n', 'const a = "<!--";\n'):
        write(tmp_path / "js", checker=text)
        with pytest.raises(ValueError, match="would end the element"):
            build_checker(tmp_path)
    write(tmp_path / "js", checker="const a = 1;\n")
    (tmp_path / "checker" / "checker.html").write_text(template.replace("<!--script-->", ""))
    with pytest.raises(ValueError, match="exactly once"):
        build_checker(tmp_path)


def test_the_wheel_has_them_all(tmp_path: Path) -> None:
    """Whoever installs the package has every file that is served, and what the checker is made of."""
    (wheel,) = WheelBuilder(str(PROJECT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    wanted = {path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file()}
    assert {f"tlog_server/static/{name}" for name in wanted} <= inside
    assert "tlog_server/static/checker/checker.html" in inside
