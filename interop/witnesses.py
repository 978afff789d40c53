"""The witness network: our log under others' witnesses, their log under ours, a mirror of it, ML-DSA-44 signatures."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tlog
from interop.parties import TOOLS, Party, fetch, run_litewitness, run_ours, run_program, run_sunlight, run_tlog
from interop.programs import DisagreementError, Programs, Refusal, accepted, require_none
from tlog._strict import format_base64
from tlog.witnessing.request import origin_hash

ORIGIN = "interop.example.com/witnessed"
SIZES = (1, 255, 256, 257, 700)
TESSERA_ORIGIN = "interop.example.com/tessera"
TESSERA_SIZES = (1, 3, 260)


def check_witnesses(programs: Programs, directory: Path, events: Sequence[Any]) -> Iterator[str]:
    """Have all parties watch each other, and yield what was shown, in words."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        yield f"skipped, there is no {', '.join(missing)} on this machine: the other witnesses need them"
        return
    directory.mkdir()
    seed = os.urandom(32)
    tessera = tlog.SigningKey.from_seed(TESSERA_ORIGIN, seed).verifier_key
    with tlog.Ledger.create(directory / "ledger", origin=ORIGIN, segment_entries=256, post_quantum=True) as ledger:
        partition = ledger.partition("events")
        partition.create()
        log = partition.vkey
    with (
        run_litewitness(programs, directory / "lite", log) as lite,
        run_sunlight(programs, directory / "sunlight", log) as sunlight,
        run_ours(directory / "ours", log, tessera) as ours,
    ):
        network = _Network(programs, directory, (lite, sunlight), ours)
        with network.witnessed() as partition:
            yield network.check_cosigned(partition, events)
            yield network.check_refusals(partition)
            yield network.check_post_quantum(partition)
        yield network.check_driven(tessera, seed)
    yield network.check_mirrored(tessera)


class _Network:
    """A log, witnesses that others wrote and ours, and tessera's log."""

    def __init__(self, programs: Programs, directory: Path, others: Sequence[Party], ours: Party) -> None:
        self._programs = programs
        self._directory = directory
        self._others = tuple(party.vkeys[0] for party in others)
        self._parties = (*others, ours)
        self._ours = ours
        self._tessera = directory / "tessera"

    @contextlib.contextmanager
    def witnessed(self) -> Iterator[tlog.Partition]:
        """Have the ledger ask for a cosignature by every key of every witness, and open it."""
        asked = [(party.url, vkey) for party in self._parties for vkey in party.vkeys]
        lines = [f"witness w{number} {vkey} {url}" for number, (url, vkey) in enumerate(asked)]
        lines += [f"group g all {' '.join(f'w{number}' for number in range(len(asked)))}", "quorum g"]
        path = self._directory / "ledger"
        (path / "witnesses").write_text("\n".join(lines) + "\n", encoding="utf-8")
        with (path / "tlog.toml").open("a", encoding="utf-8") as settings:
            settings.write('witnesses = "witnesses"\n')
        with tlog.Ledger.open(path) as ledger:
            yield ledger.partition("events")

    def check_cosigned(self, partition: tlog.Partition, events: Sequence[Any]) -> str:
        """Publish with all cosignatures at each size; have torchwood read it all under a policy of all witnesses."""
        policy = self._policy(partition.vkey, *self._others, self._ours.vkeys[0])
        site, files = self._directory / "site", []
        for size in SIZES:
            partition.append_many(events[partition.size : size])
            checkpoint = partition.publish()
            keys = {(line.name, line.key_id) for line in checkpoint.signatures}
            if not {(key.name, key.key_id) for key in (*self._others, *self._ours.vkeys)} <= keys:
                raise DisagreementError(f"not all witnesses have cosigned size {size}: {checkpoint}")
            partition.export(site)
            for index in sorted({0, size // 2, size - 1}):
                files.append(self._directory / f"{index}-{size}.tlog-proof")
                files[-1].write_bytes(partition.prove(index).format())
            report = accepted(self._programs.torchwood(policy, site=site, proof_files=files), "interop/go-torchwood")
            if report["entries"] != size or report["proof_files"] != len(files):
                raise DisagreementError(f"torchwood has not checked everything: {report}")
        sizes = ", ".join(f"{size:,}" for size in SIZES)
        return (
            f"our log, published at {sizes} entries, cosigned by litewitness, sunlight and tlog-witness; torchwood "
            f"read all entries, and verified {len(files)} proofs, under a policy of all three"
        )

    def check_refusals(self, partition: tlog.Partition) -> str:
        """A rolled back log and a forked one get nothing; a policy with another witness is not met."""
        other = tlog.SigningKey.generate("w.example.com", self._others[0].key_type).verifier_key
        policy = self._policy(partition.vkey, self._others[0], other)
        proof = self._directory / f"0-{SIZES[-1]}.tlog-proof"
        verdicts = {
            "torchwood": not isinstance(self._programs.torchwood(policy, proof_files=[proof]), Refusal),
            "tlog": _verifies(proof.read_bytes(), tlog.Policy.parse(policy.read_bytes())),
        }
        require_none(verdicts, "a proof without the cosignature of a witness that the policy asks for")
        fork = self._directory / "fork"
        shutil.copytree(self._directory / "ledger", fork)
        partition.append_many([{"n": "here"}] * 2)
        partition.publish()
        for expected in (tlog.CorruptLedgerError, tlog.InconsistentLogError):  # at 701 and at 702 entries
            with tlog.Ledger.open(fork) as ledger:
                forked = ledger.partition("events")
                forked.append({"n": "there"})
                try:
                    forked.publish()
                except expected:
                    continue
                raise DisagreementError(f"a copy of the log that went another way was published at {forked.size}")
        return (
            "a policy with another witness is not met, torchwood and tlog say; a copy of the log that went another way "
            "is stopped by what the witnesses show"
        )

    def check_post_quantum(self, partition: tlog.Partition) -> str:
        """Have formats verify all signatures of a checkpoint, and verify its ML-DSA-44 cosignature here."""
        quantum = partition.post_quantum_vkey
        if quantum is None:
            raise AssertionError("the ledger was made with post_quantum")
        keys = (partition.vkey, quantum, *self._others, *self._ours.vkeys)
        file = self._directory / "signed.checkpoint"
        file.write_bytes(partition.checkpoint().raw)
        report = accepted(self._programs.formats(file, keys, "formats.example.com"), "interop/go-witness")
        if report["verified"] != len(keys):
            raise DisagreementError(f"not all {len(keys)} signatures were verified: {report}")
        policy = f"log {partition.vkey}\nwitness theirs {report['witness']}\nquorum theirs\n".encode()
        cosigned = report["cosigned"].encode()
        tlog.Policy.parse(policy).verify(cosigned)
        at = cosigned.rindex(b" ") + 100
        flipped = cosigned[:at] + (b"A" if cosigned[at : at + 1] != b"A" else b"B") + cosigned[at + 1 :]
        raw = file.read_bytes()
        at = raw.index(b" ", raw.rindex("— ".encode()) + len("— ".encode())) + 100
        file.write_bytes(raw[:at] + (b"A" if raw[at : at + 1] != b"A" else b"B") + raw[at + 1 :])
        with contextlib.suppress(tlog.SignatureError):
            tlog.Policy.parse(policy).verify(flipped)
            raise DisagreementError("tlog takes an ML-DSA-44 signature with another letter")
        require_none(
            {"formats": not isinstance(self._programs.formats(file, keys, "x.example.com"), Refusal)},
            "an ML-DSA-44 signature with another letter",
        )
        return f"formats verified {len(keys)} signatures, two of them ML-DSA-44; tlog verified one that formats made"

    def check_driven(self, tessera: tlog.VerifierKey, seed: bytes) -> str:
        """Have tessera's posix-oneshot build a log that is published with our witness's cosignature."""
        key, policy = self._directory / "tessera.key", self._directory / "tessera.policy"
        private = format_base64(bytes([tessera.key_type]) + seed)
        key.write_text(f"PRIVATE+KEY+{tessera.name}+{tessera.key_id.hex()}+{private}", encoding="utf-8")
        key.chmod(0o600)
        policy.write_text(f"witness ours {self._ours.vkeys[0]} {self._ours.url}\nquorum ours\n", encoding="utf-8")
        trusted = tlog.Policy.parse(f"log {tessera}\n".encode() + policy.read_bytes())
        done = 0
        for size in TESSERA_SIZES:
            entries = self._directory / f"entries-{size}"
            entries.mkdir()
            for number in range(done, size):
                (entries / f"{number:04}").write_text(f"entry {number}\n", encoding="utf-8")
            done = size
            options = (f"--storage_dir={self._tessera}", f"--entries={entries}/*", f"--private_key={key}")
            run_program(self._programs.oneshot, *options, f"--witness_policy_file={policy}")
            verified = trusted.verify((self._tessera / "checkpoint").read_bytes())
            if verified.tree_size != size:
                raise DisagreementError(f"tessera published {verified.tree_size} entries, not {size}")
        shown = tlog.Checkpoint.parse(fetch(f"{self._ours.url}/{origin_hash(tessera.name)}/checkpoint"))
        if shown.tree_size != done:
            raise DisagreementError(f"our witness shows a checkpoint of {shown.tree_size} entries, not {done}")
        return f"tessera's posix-oneshot published at {', '.join(map(str, TESSERA_SIZES))} entries with our cosignature"

    def check_mirrored(self, tessera: tlog.VerifierKey) -> str:
        """Pull tessera's log into a mirror, and have x/mod, fsck and torchwood check the copy."""
        policy, home = self._policy(tessera, self._ours.vkeys[0]), self._directory / "mirror"
        vkey = run_tlog("tlog-mirror", home, "init", "--name", "mirror.example.com").strip()
        run_tlog("tlog-mirror", home, "add-log", str(tessera))
        run_tlog("tlog-mirror", home, "pull", str(self._tessera), "--policy", str(policy))
        copy = self._directory / "copy"
        shutil.copytree(home / "logs" / origin_hash(tessera.name), copy)
        (copy / "vkey").write_text(f"{tessera}\n", encoding="utf-8")
        strict = self._policy(tessera, tlog.VerifierKey.parse(vkey))
        checkpoint = tlog.Policy.parse(strict.read_bytes()).verify((copy / "checkpoint").read_bytes()).checkpoint
        accepted(self._programs.fsck(copy, checkpoint), "tessera's fsck, of the mirror")
        report = accepted(self._programs.xmod(copy, is_ours=False), "interop/go, of the mirror")
        theirs = accepted(self._programs.torchwood(strict, site=copy), "interop/go-torchwood, of the mirror")
        if {report["entries"], theirs["entries"]} != {TESSERA_SIZES[-1]}:
            raise DisagreementError(f"not every entry of the mirror was read: {report}, {theirs}")
        bundle = copy / "tile" / "entries" / "000"
        bundle.chmod(0o644)
        bundle.write_bytes(bundle.read_bytes().replace(b"entry 7\n", b"entry 8\n"))
        verdicts = {"interop/go": not isinstance(self._programs.xmod(copy, is_ours=False), Refusal)}
        require_none(verdicts, "a mirrored entry that was altered")
        return f"tessera's log, in our mirror: x/mod, fsck and torchwood accept all {report['entries']} entries"

    def _policy(self, log: tlog.VerifierKey, *witnesses: tlog.VerifierKey) -> Path:
        """Write the policy of a log and all of these witnesses; return the file."""
        lines = [f"log {log}", *(f"witness w{number} {key}" for number, key in enumerate(witnesses))]
        members = " ".join(f"w{number}" for number in range(len(witnesses)))
        path = self._directory / "reader.policy"
        path.write_text("\n".join([*lines, f"group g all {members}", "quorum g"]) + "\n", encoding="utf-8")
        return path


def _verifies(proof: bytes, policy: tlog.Policy) -> bool:
    try:
        tlog.verify_proof(proof, policy=policy)
    except tlog.Error:
        return False
    return True
