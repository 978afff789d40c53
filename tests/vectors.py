"""Where the test data lies, and how it is read. testdata/vectors/README.md says where each folder comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TESTDATA = Path(__file__).resolve().parent.parent / "testdata"

VECTORS = TESTDATA / "vectors"
MERKLE = VECTORS / "transparency-dev+merkle" / "testdata"
TESSERA_LOG = VECTORS / "transparency-dev+tessera" / "testdata" / "log"
SUNLIGHT = VECTORS / "FiloSottile+sunlight" / "cmd" / "skylight" / "testdata"
WYCHEPROOF_ED25519 = VECTORS / "C2SP+wycheproof" / "testvectors_v1" / "ed25519_test.json"
SIGNED_NOTE = VECTORS / "transcribed" / "signed_note.json"
TILE_PATHS = VECTORS / "transcribed" / "tile_paths.json"

EVENTS = TESTDATA / "events" / "flask-history.jsonl"


def load_json(path: Path) -> Any:
    """Return the value that a JSON file holds."""
    return json.loads(path.read_bytes())


def merkle_probes(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (name, probe) of transparency-dev/merkle, in a stable order.

    kind: inclusion, consistency, subtreeinclusion or subtreeconsistency.
    The file names hold '[', ']' and '@', so `glob` patterns must not be made of them.
    """
    root = MERKLE / kind
    for path in sorted(root.rglob("*.json")):
        yield str(path.relative_to(root)), load_json(path)


def event_lines() -> list[bytes]:
    """Return the 5,531 events of flask-history.jsonl, one JSON text each, without the line end."""
    return EVENTS.read_bytes().removesuffix(b"\n").split(b"\n")
