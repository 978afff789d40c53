"""Check exported partitions and proofs with programs in Go that share no code with tlog.

Partitions are filled, published at several sizes, and exported at each. Then

* interop/go, on golang.org/x/mod's sumdb/note and sumdb/tlog, authenticates every tile and entry, verifies our proofs,
  and makes the same ones itself, which must equal ours and verify here;
* transparency-dev/tessera's fsck (pinned in interop/go-fsck) rebuilds every tile from the entries and compares;
* interop/go-torchwood, on filippo.io/torchwood, reads every entry, makes the proof files from the export, byte for byte
  ours, and judges policies with cosignatures as we do;
* all refuse the export after one bit was flipped, and proof files with a flipped bit;
* all read a partition over HTTP from the running server, while it grows, and refuse what a proxy alters on the way;
* torchwood's litewitness cosigns our log, our witness cosigns a log of tessera's, which our mirror copies, and
  transparency-dev/formats and we verify each other's ML-DSA-44 signatures.

Exit status 0: all agree, or go is too old, which is said. 1: the first disagreement is named.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tlog
from interop.over_http import check_server
from interop.programs import DisagreementError, Programs, Refusal, accepted, missing_go, require_none, versions
from interop.witnesses import check_witnesses
from tlog._strict import parse_hash
from tlog.bundle import MAX_ENTRY_SIZE
from tlog.hashing import leaf_hash
from tlog.keys import ED25519_COSIGNATURE
from tlog.policy import PolicyGroup, PolicyLog, PolicyWitness
from tlog.proof import verify_consistency, verify_inclusion
from tlog.tile import TILE_WIDTH, Bundle, edge_tiles

EVENTS = Path(__file__).resolve().parent.parent / "testdata" / "events" / "flask-history.jsonl"
ORIGIN = "interop.example.com/log"

# Sizes to publish at: a full tile and its neighbours; two of one partial tile; 66,311, where the subtrees of the right
# edge share tiles at three levels, the shape in which a tile reader has left tiles unchecked (CVE-2026-56865).
HISTORY_SIZES = (1, 2, 255, 256, 257, 4096, 5531)
MANY_SIZES = (23, 65_535, 65_536, 66_305, 66_311)

# JSON that another language's parser might read otherwise than we do.
PECULIAR: tuple[Any, ...] = (
    None,
    False,
    -1,
    0.1,
    1e300,
    2**63 - 1,
    -(2**63),
    "",
    [],
    {},
    '\u2028\x7f\\"\n\t/<é😀',
    {"seq": 1, "": [{}]},
)

# Of larger trees this many entries are proved, besides those at the edges of tiles.
SAMPLE = 40


class Case:
    """One partition, published at `sizes` (ascending), its export, and its proof files."""

    def __init__(self, programs: Programs, partition: tlog.Partition, directory: Path, sizes: Sequence[int]) -> None:
        self.programs = programs
        self.partition = partition
        self.directory = directory
        self.sizes = sizes
        self.site = directory / "site"
        self.policy = directory / "policy"
        self.checkpoints: dict[int, tlog.Checkpoint] = {}
        self.inclusion: dict[tuple[int, int], tuple[bytes, ...]] = {}
        self.files: list[Path] = []
        directory.mkdir()

    def grow(self, events: Sequence[Any]) -> str:
        """Append, publish, export and have everything checked, size by size; return what was shown, in words."""
        report: dict[str, Any] = {}
        for size in self.sizes:
            self.partition.append_many(events[self.partition.size if self.partition.exists else 0 : size])
            self.checkpoints[size] = self.partition.publish()
            self.policy.write_bytes(tlog.Policy.for_log(self.partition.vkey).format())
            self.partition.export(self.site)
            self._write_proofs(size)
            report = self._check(size)
            self._check_elsewhere(self.site, self.files)
        return (
            f"published at {', '.join(f'{size:,}' for size in self.sizes)}; "
            f"{report['entries']:,} entries, {report['hash_tiles']} tiles, {report['bundles']} bundles authenticated; "
            f"{report['proof_files']} proofs equal x/mod's, and verify there and here"
        )

    def _write_proofs(self, size: int) -> None:
        for proof in self.partition.prove_many(_indexes(size)):
            self.inclusion[proof.leaf_index, size] = proof.hashes
            self._write(f"{proof.leaf_index}-{size}.tlog-proof", proof.format())
        for old in self.checkpoints:
            self._write(f"{old}-{size}.consistency", self.partition.prove_consistency(old).format())
            self._write(f"{old}-{size}.old", self.checkpoints[old].raw)

    def _write(self, name: str, content: bytes) -> None:
        path = self.directory / name
        path.write_bytes(content)
        if path.suffix != ".old":
            self.files.append(path)

    def _check(self, size: int) -> dict[str, Any]:
        """Have interop/go check all files written so far, and compare the proofs that it makes with all of ours."""
        consistency = {
            (old, new): self.partition.prove_consistency(old, new).hashes
            for new in self.checkpoints
            for old in self.checkpoints
            if old <= new
        }
        requests = self.directory / "requests.json"
        requests.write_text(
            json.dumps({"inclusion": [*self.inclusion], "consistency": [*consistency]}), encoding="utf-8"
        )
        report = accepted(self.programs.xmod(self.site, proof_files=self.files, requests=requests), "interop/go")
        if report["entries"] != size or report["proof_files"] != len(self.files):
            raise DisagreementError(f"interop/go has not checked everything: {report}")
        theirs = _proofs(report["inclusion"])
        for ((index, at), ours), hashes in zip(self.inclusion.items(), theirs, strict=True):
            _require_equal(hashes, ours, f"inclusion of {index} in {at}")
            leaf = leaf_hash(self.partition.entry(index).raw)
            verify_inclusion(leaf, index, at, self.checkpoints[at].root_hash, hashes)
        theirs = _proofs(report["consistency"])
        for ((old, new), ours), hashes in zip(consistency.items(), theirs, strict=True):
            _require_equal(hashes, ours, f"consistency of {old} and {new}")
            verify_consistency(old, new, self.checkpoints[old].root_hash, self.checkpoints[new].root_hash, hashes)
        return report

    def _check_elsewhere(self, site: Path, files: Sequence[Path]) -> None:
        """Have tessera's fsck and torchwood check a site, and torchwood the .tlog-proof files too."""
        checkpoint = self.partition.checkpoint()
        accepted(self.programs.fsck(site, checkpoint), "tessera's fsck")
        proofs = [path for path in files if path.suffix == ".tlog-proof"]
        report = accepted(self.programs.torchwood(self.policy, site=site, proof_files=proofs), "interop/go-torchwood")
        if report["entries"] != checkpoint.tree_size or report["proof_files"] != len(proofs):
            raise DisagreementError(f"interop/go-torchwood has not checked everything: {report}")

    def check_sealed(self, segments: int) -> str:
        """Compress the complete segments, export once more, and compare; return what was shown, in words."""
        sealed = self.partition.seal().segments
        if sealed != segments:
            raise DisagreementError(f"{sealed} segments were sealed, not {segments}")
        fresh = self.directory / "fresh"
        self.partition.export(fresh)
        for path in _files(fresh):
            if path.read_bytes() != (self.site / path.relative_to(fresh)).read_bytes():
                raise DisagreementError(f"{path.relative_to(fresh)}: exported otherwise after sealing")
        size = self.sizes[-1]
        files = [path for path in self.files if path.stem.endswith(f"-{size}")]
        for proof in self.partition.prove_many([index for index, at in self.inclusion if at == size]):
            _require_equal(proof.hashes, self.inclusion[proof.leaf_index, size], f"proof of {proof.leaf_index}, sealed")
        accepted(self.programs.xmod(fresh, proof_files=files), "interop/go")
        self._check_elsewhere(fresh, files)
        self.site = fresh
        return f"segments sealed: {sealed}; exported from them, the same {len(_files(fresh))} files are accepted"

    def check_refusals(self) -> str:
        """Flip one bit at a time, in files of each kind and in proof files; return what was shown, in words."""
        checkpoint = self.checkpoints[self.sizes[-1]]
        sample = _sample(self.site, self.sizes[-1])
        for file in sample:
            for _ in _flipped(file):
                verdicts = {
                    "interop/go": not isinstance(self.programs.xmod(self.site), Refusal),
                    "tessera's fsck": not isinstance(self.programs.fsck(self.site, checkpoint), Refusal),
                    # Torchwood's key comes from the policy: it does not read the exported one.
                    "torchwood": file.name != "vkey"
                    and not isinstance(self.programs.torchwood(self.policy, site=self.site), Refusal),
                }
                require_none(verdicts, f"a flipped bit in {file.relative_to(self.site)}")
        size = self.sizes[-1]
        lines = self._refuse_proof(self.directory / f"{size - 1}-{size}.tlog-proof")
        lines += self._refuse_consistency(self.directory / f"{self.sizes[-2]}-{size}.consistency")
        accepted(self.programs.xmod(self.site, proof_files=self.files[-1:]), "interop/go")
        return f"a flipped bit is refused in each of {len(sample)} exported files and {lines} lines of proof files"

    def _refuse_proof(self, path: Path) -> int:
        """Flip one bit in each line of a .tlog-proof file; return how many lines there are."""
        policy = tlog.Policy.for_log(self.partition.vkey)
        positions = _line_middles(path)
        for position in positions:
            for raw in _flipped(path, position):
                verdicts = {
                    "tlog": _verifies(raw, policy),
                    "interop/go": not isinstance(self.programs.xmod(self.site, proof_files=[path]), Refusal),
                    "torchwood": not isinstance(self.programs.torchwood(self.policy, proof_files=[path]), Refusal),
                }
                require_none(verdicts, f"a flipped bit at byte {position} of {path.name}")
        return len(positions)

    def _refuse_consistency(self, path: Path) -> int:
        """Flip one bit in each line of a .consistency file; return how many lines there are."""
        policy = tlog.Policy.for_log(self.partition.vkey)
        old = path.with_suffix(".old").read_bytes()
        positions = _line_middles(path)
        for position in positions:
            for raw in _flipped(path, position):
                verdicts = {"interop/go": not isinstance(self.programs.xmod(self.site, proof_files=[path]), Refusal)}
                try:
                    tlog.verify_consistency(raw, old=old, policy=policy)
                    verdicts["tlog"] = True
                except tlog.Error:
                    verdicts["tlog"] = False
                require_none(verdicts, f"a flipped bit at byte {position} of {path.name}")
        return len(positions)

    def check_policies(self) -> str:
        """Have a proof cosigned by torchwood and by us, and judged under several policies; return what was shown."""
        name = "torchwood.example.com"
        report = accepted(self.programs.torchwood(self.policy, site=self.site, cosigner=name), "interop/go-torchwood")
        keys = [tlog.SigningKey.generate(f"w{number}.example.com", ED25519_COSIGNATURE) for number in (1, 2)]
        theirs = PolicyWitness("theirs", tlog.VerifierKey.parse(report["witness"]))
        ours, absent = (PolicyWitness(f"ours-{key.name[:2]}", key.verifier_key) for key in keys)
        cosigned = tlog.Checkpoint.parse(report["cosigned"].encode()).sign(keys[0], timestamp_s=int(time.time()))
        path = self.directory / "cosigned.tlog-proof"
        path.write_bytes(replace(self.partition.prove(0), checkpoint=cosigned).format())
        log = PolicyLog(self.partition.vkey, "https://interop.example.com/log")
        other = PolicyLog(tlog.SigningKey.generate(self.partition.origin).verifier_key)
        witnesses = (theirs, ours, absent)
        names = tuple(witness.name for witness in witnesses)
        nested = (PolicyGroup("pair", 2, names[:2]), PolicyGroup("either", 1, ("pair", absent.name)))
        policies = (
            (True, tlog.Policy((log,), witnesses)),
            (True, tlog.Policy((log,), witnesses, quorum=theirs.name)),
            (True, tlog.Policy((log,), witnesses, (PolicyGroup("two", 2, names),), "two")),
            (True, tlog.Policy((log,), witnesses, nested, "either")),
            (False, tlog.Policy((log,), witnesses, quorum=absent.name)),
            (False, tlog.Policy((log,), witnesses, (PolicyGroup("three", 3, names),), "three")),
            (False, tlog.Policy((other,), witnesses)),
        )
        for expected, policy in policies:
            text = self.directory / "judged.policy"
            text.write_bytes(policy.format())
            verdicts = {
                "tlog": _verifies(path.read_bytes(), tlog.Policy.parse(text.read_bytes())),
                "torchwood": not isinstance(self.programs.torchwood(text, proof_files=[path]), Refusal),
            }
            if set(verdicts.values()) != {expected}:
                raise DisagreementError(
                    f"{verdicts} instead of {expected} under the policy\n{policy.format().decode()}"
                )
        met = sum(expected for expected, _ in policies)
        return f"cosigned by torchwood and here; {met} policies are met and {len(policies) - met} are not, both say"


def main() -> None:
    """Check the partitions and print a line for each thing that was shown."""
    reason = missing_go()
    if reason is not None:
        print(f"interop: skipped, {reason}")
        return
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tlog-interop-") as name:
        scratch = Path(name)
        programs = Programs(scratch)
        print(f"interop: {versions()}")
        history = [json.loads(line) for line in EVENTS.read_bytes().splitlines()]
        with tlog.Ledger.create(scratch / "small-segments", origin=ORIGIN, segment_entries=256) as ledger:
            case = Case(programs, ledger.partition("flask"), scratch / "flask", HISTORY_SIZES)
            for text in (case.grow(history), case.check_sealed(21), case.check_refusals(), case.check_policies()):
                print(f"flask: {text}")
            print(f"empty: {_check_empty(programs, ledger.partition('empty'), scratch / 'empty')}")
        with tlog.Ledger.create(scratch / "default-segments", origin=ORIGIN) as ledger:
            partition = ledger.partition("many")
            events = _peculiar_events(partition)
            case = Case(programs, partition, scratch / "many", MANY_SIZES)
            for text in (case.grow(events), case.check_sealed(1), case.check_refusals()):
                print(f"many: {text}")
        for text in check_server(programs, scratch / "served", history):
            print(f"served: {text}")
        for text in check_witnesses(programs, scratch / "witnesses", history):
            print(f"witnesses: {text}")
    print(f"interop: all agree, in {time.monotonic() - start:.0f} s")


def _check_empty(programs: Programs, partition: tlog.Partition, directory: Path) -> str:
    """Export the tree without entries and have it checked; return what was shown, in words."""
    partition.create()
    checkpoint = partition.publish()
    site, policy = directory / "site", directory / "policy"
    partition.export(site)
    policy.write_bytes(tlog.Policy.for_log(partition.vkey).format())
    accepted(programs.xmod(site), "interop/go")
    accepted(programs.torchwood(policy, site=site), "interop/go-torchwood")
    accepted(programs.fsck(site, checkpoint), "tessera's fsck")
    return "a published tree without entries is accepted"


def _peculiar_events(partition: tlog.Partition) -> list[Any]:
    """Append two entries and return all that belong there: peculiar JSON, an entry of the largest size, small ones."""
    partition.append("")
    partition.append({"n": 1}, meta={"writer": "interop"})
    largest = "x" * (MAX_ENTRY_SIZE - len(partition.entry(0).raw))
    events: list[Any] = ["", {"n": 1}, largest, *PECULIAR]
    return events + [{"n": n} for n in range(len(events), MANY_SIZES[-1])]


def _indexes(size: int) -> list[int]:
    """Return which entries of a tree to prove: all of a small one, else those at the edges of tiles and a sample."""
    if size <= 257:
        return list(range(size))
    edges = {0, 1, 255, 256, 65_535, 65_536, size // 256 * 256 - 1, size // 256 * 256, size - 1}
    sample = random.Random(size).sample(range(size), SAMPLE)
    return sorted({index for index in (*edges, *sample) if index < size})


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def _sample(site: Path, size: int) -> list[Path]:
    """Return the first and the last file of each kind: checkpoint, vkey, each level's tiles, bundles.

    Partial tiles of earlier sizes are left out: whoever checks the tree of `size` has no use for them.
    """
    used = {tile.path for tile in edge_tiles(size)} | {Bundle(size // TILE_WIDTH, size % TILE_WIDTH).path}
    kinds: dict[tuple[str, ...], list[Path]] = {}
    for file in _files(site):
        path = file.relative_to(site).as_posix()
        if ".p/" in path and path not in used:
            continue
        kinds.setdefault(file.relative_to(site).parts[:2], []).append(file)
    return sorted({file for group in kinds.values() for file in (group[0], group[-1])})


def _line_middles(path: Path) -> list[int]:
    """Return the position of one byte of each line; of an empty line, its newline."""
    positions, start = [], 0
    for line in path.read_bytes().split(b"\n")[:-1]:
        positions.append(start + len(line) // 2)
        start += len(line) + 1
    return positions


def _flipped(path: Path, position: int | None = None) -> Iterator[bytes]:
    """Flip the lowest bit of one byte of a file, the middle one unless given, for one turn of a loop."""
    good = path.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2 if position is None else position] ^= 1
    path.write_bytes(flipped)
    yield bytes(flipped)
    path.write_bytes(good)


def _verifies(raw: bytes, policy: tlog.Policy) -> bool:
    try:
        tlog.verify_proof(raw, policy=policy)
    except tlog.Error:
        return False
    return True


def _require_equal(theirs: Sequence[bytes], ours: Sequence[bytes], what: str) -> None:
    if tuple(theirs) != tuple(ours):
        raise DisagreementError(f"{what}: {[h.hex() for h in theirs]} is their proof, {[h.hex() for h in ours]} ours")


def _proofs(report: list[list[str] | None]) -> list[tuple[bytes, ...]]:
    """Return the proofs of a report; Go writes an empty one as null."""
    return [tuple(parse_hash(text, "x/mod's proof") for text in hashes or ()) for hashes in report]


if __name__ == "__main__":
    try:
        main()
    except (DisagreementError, tlog.Error) as err:
        sys.exit(f"interop: FAILED: {err}")
