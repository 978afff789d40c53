"""What processes were told, put together and compared with the ledger entry by entry."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path

import tlog
from tests.torture.examine import NAME, Roots, checkpoints_on_disk, require_sound


@dataclass
class Statements:
    """What all processes were told so far."""

    entries: dict[int, str] = field(default_factory=dict)
    checkpoints: list[tlog.Checkpoint] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    finished: int = 0
    proofs: int = 0
    roots: Roots = field(default_factory=Roots)

    def add(self, output: bytes) -> None:
        """Take note of a process's output; a last line without its end was never said."""
        for line in output.decode().split("\n")[:-1]:
            kind, _, rest = line.partition(" ")
            if kind == "entry":
                seq, _, hash_ = rest.partition(" ")
                assert self.entries.setdefault(int(seq), hash_) == hash_, f"two entries {seq} were acknowledged"
            elif kind == "checkpoint":
                checkpoint = tlog.Checkpoint.parse(base64.b64decode(rest))
                self.checkpoints.append(checkpoint)
                self.roots.see([checkpoint])
            elif kind == "proof":
                seq, hash_, size = rest.split(" ")
                assert self.entries.setdefault(int(seq), hash_) == hash_, f"the proof of {seq} is of another entry"
                assert int(seq) < int(size), f"the proof of {seq} is of a tree of {size}"
                self.proofs += 1
            elif kind == "error":
                self.errors.append(rest)
            elif kind == "done":
                self.finished += 1
            else:
                raise AssertionError(f"a process says {line!r}")

    def audit(self, path: Path) -> int:
        """Compare a ledger at rest with what was told of it, after recovery; return its number of entries."""
        with tlog.Ledger.open(path) as ledger:
            partition = ledger.partition(NAME)
            size = partition.append({"writer": "auditor"}).seq + 1
            published = partition.publish()
            self.roots.see([published, *checkpoints_on_disk(partition)])
            seen: set[tuple[object, object]] = set()
            count = 0
            for entry in partition.entries():
                count += 1
                expected = self.entries.get(entry.seq)
                assert expected in (None, entry.hash.hex()), f"entry {entry.seq} was acknowledged and is another now"
                if entry.data["writer"] != "auditor":
                    key = entry.data["writer"], entry.data["n"]
                    assert key not in seen, f"{key} is in the log twice"
                    seen.add(key)
            assert count == size, f"{count} entries can be read, {size} were appended"
            missing = [seq for seq in self.entries if seq >= count]
            assert not missing, f"entry {missing[:1]} was acknowledged and is gone"
            require_sound(partition, [*self.checkpoints[-20:], published])
            return size
