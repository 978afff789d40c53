"""The self-contained checker: one HTML file that checks proofs with no server and no network.

The modules of `static/js` are put into one script, each as a function that returns what it exports, in the order in
which they need each other. The page allows this one script and this one style by their hashes, and nothing else: no
network, no other file. So it works from a disk, and can be kept, compared and read.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import NamedTuple

ENTRY_MODULE = "checker.js"
STYLES = ("pages.css", "path.css", "checker.css")
TEMPLATE = "checker.html"
STYLE_SLOT, SCRIPT_SLOT, POLICY_SLOT = "<!--style-->", "<!--script-->", "<!--policy-->"

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([a-z-]+\.js)";$', re.MULTILINE)
_EXPORT_FROM = re.compile(r'^export \{([^}]*)\} from "\./([a-z-]+\.js)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const|let) +(\w+))", re.MULTILINE)
_LEFT_OVER = re.compile(r"^\s*(?:import|export)\b.*|\bimport\s*\(.*|\bimport\.meta\b.*", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z_]\w*")


class Checker(NamedTuple):
    """The page, and the Content-Security-Policy for servers that send it."""

    page: bytes
    policy: str


def build_checker(root: Path) -> Checker:
    """Return the page made of the modules, styles and template below `root`; the same files give the same bytes.

    Raises: ValueError where a file holds what this builder does not know.
    """
    script = bundle(root / "js", ENTRY_MODULE)
    style = "".join((root / "css" / name).read_text("utf-8") for name in STYLES)
    for text, end in ((script, "</script"), (style, "</style")):
        if end in text.lower() or "<!--" in text:
            raise ValueError(f"the page's own text holds {end} or a comment's begin, which would end the element")
    policy = (
        f"default-src 'none'; script-src '{_source(script)}'; style-src '{_source(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    page = (root / "checker" / TEMPLATE).read_text("utf-8")
    for slot, text in ((POLICY_SLOT, policy), (STYLE_SLOT, style), (SCRIPT_SLOT, script)):
        if page.count(slot) != 1:
            raise ValueError(f"the template needs {slot} exactly once")
        page = page.replace(slot, text)
    return Checker(page.encode(), f"{policy}; frame-ancestors 'none'")


def bundle(directory: Path, entry_module: str) -> str:
    """Return one script that does what the entry module does with all that it imports.

    Known are static imports and exports by name; a module's names stay its own. Raises: ValueError for other forms,
    and for modules that need each other in a circle.
    """
    parts: dict[str, str] = {}
    _add(directory, entry_module, parts, ())
    return "\n".join(parts.values())


def _add(directory: Path, name: str, parts: dict[str, str], above: tuple[str, ...]) -> None:
    """Add a module behind all that it needs."""
    if name in parts:
        return
    if name in above:
        raise ValueError(f"{' needs '.join((*above, name))}: modules must not need each other")
    text = (directory / name).read_text("utf-8")
    exported = _EXPORT.findall(text)
    for names, needed in _IMPORT.findall(text) + _EXPORT_FROM.findall(text):
        _add(directory, needed, parts, (*above, name))
        _names(names, name)
    for names, needed in _EXPORT_FROM.findall(text):
        exported += [f"{each}: {_variable(needed)}.{each}" for each in _names(names, name)]
    text = _IMPORT.sub(lambda match: f"const {{{match[1]}}} = {_variable(match[2])};", text)
    text = _EXPORT.sub("", _EXPORT_FROM.sub("", text))
    left_over = _LEFT_OVER.search(_without_comments(text))
    if left_over is not None:
        raise ValueError(f"{name}: {left_over[0].strip()[:80]!r} is an import or export that the builder does not know")
    body = f'"use strict";\n{text}return {{ {", ".join(exported)} }};'
    parts[name] = f"// {name}\nconst {_variable(name)} = (() => {{\n{body}\n}})();\n"


def _names(text: str, module: str) -> list[str]:
    """Return the names between the braces of an import or export. Raises: ValueError for renamed ones."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    strange = next((name for name in names if _NAME.fullmatch(name) is None), None)
    if strange is not None:
        raise ValueError(f"{module}: {strange!r} is imported or exported under another name, which is not supported")
    return names


def _without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/|^\s*//.*?$", "", text, flags=re.DOTALL | re.MULTILINE)


def _variable(module: str) -> str:
    return "module_" + module.removesuffix(".js").replace("-", "_")


def _source(text: str) -> str:
    """Return how a Content-Security-Policy allows exactly this text. Source: W3C CSP Level 3, section 2.3.1."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
