"""The command `tlog-verify`: an auditor's, for proofs and checkpoints, with no ledger and no network.

It imports the verifying layers only. Keys come from the command line: what stands inside a file is never believed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

import tlog
from tlog._strict import format_base64
from tlog.bundle import MAX_ENTRY_SIZE
from tlog.evidence import MAX_EVIDENCE_SIZE, verify_evidence
from tlog.keys import MAX_VKEY_LENGTH
from tlog.note import MAX_NOTE_SIZE
from tlog.policy import MAX_POLICY_SIZE, NO_QUORUM, LogSignedCheckpoint
from tlog.report.proofs import MAX_REPORT_SIZE, verify_report
from tlog.tlogproof import MAX_PROOF_SIZE
from tlog_tools import output

Inputs = dict[str, str | None]
"""The options that name files, or hold a key, by their names."""

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was proved. claim: in one sentence. facts: label and value of each. limits: what was not proved."""

    claim: str
    facts: tuple[tuple[str, str], ...]
    limits: tuple[str, ...]
    fields: Fields


@click.command(
    "tlog-verify",
    cls=output.Program,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 proved, 1 not proved, 2 usage or malformed input, 3 file not found, 4 input/output, "
    "5 the policy's quorum is not met.",
)
@click.option("--proof", metavar="FILE", help="A .tlog-proof: is its entry in the log?")
@click.option("--consistency", metavar="FILE", help="A consistency proof: did the log only grow?")
@click.option("--checkpoint", metavar="FILE", help="A signed checkpoint: did log and witnesses sign it?")
@click.option("--report", metavar="FILE", help="An audit report: does each proof in it prove what is shown beside it?")
@click.option("--evidence", metavar="FILE", help="Evidence of a split view: did the log sign two trees?")
@click.option("--key", metavar="VKEY|FILE", help="The log's verifier key, or a file that holds it.")
@click.option("--policy", metavar="FILE", help="A tlog-policy: logs, witnesses, and the quorum to ask for.")
@click.option("--entry", metavar="FILE", help="With --proof: the entry's line, which the proof must be about.")
@click.option("--old", metavar="FILE", help="With --consistency: the checkpoint that you kept from before.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing; the exit code is the answer.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output; errors on standard error.")
@click.version_option(tlog.__version__, message="%(prog)s %(version)s")
def main(*, quiet: bool, as_json: bool, **inputs: str | None) -> int:
    """Verify a proof or a checkpoint of a transparency log, offline.

    Give one of --proof, --consistency, --checkpoint, --report and --evidence, and what you trust: --key or --policy,
    which you have from elsewhere. A FILE may be '-', standard input. A key inside a file is never believed.
    """
    task = _check_usage(inputs)
    try:
        verdict = _TASKS[task](inputs, _policy(inputs))
    except (tlog.Error, OSError) as err:
        if quiet:
            return output.exit_code_of(err)
        raise
    if as_json and not quiet:
        output.emit_json({"proved": True, **verdict.fields, "not_proved": list(verdict.limits)})
    elif not quiet:
        _print(verdict)
    return output.DONE


def _check_usage(inputs: Inputs) -> str:
    """Return what is to be verified. Raises: click.UsageError for options that do not go together."""
    tasks = [name for name in _TASKS if inputs[name] is not None]
    if len(tasks) != 1:
        raise click.UsageError("give one of --proof, --consistency, --checkpoint, --report and --evidence")
    if (inputs["key"] is None) == (inputs["policy"] is None):
        raise click.UsageError("give either --key or --policy: it says whom you trust")
    if inputs["entry"] is not None and tasks != ["proof"]:
        raise click.UsageError("--entry goes with --proof")
    if (inputs["old"] is not None) != (tasks == ["consistency"]):
        raise click.UsageError("--old FILE, the checkpoint that you kept, goes with --consistency, which needs it")
    if list(inputs.values()).count("-") > 1:
        raise click.UsageError("standard input, '-', can be one file only")
    return tasks[0]


def _read(inputs: Inputs, name: str, limit: int, what: str) -> bytes:
    """Return the content of the file that an option names."""
    file = inputs[name]
    if file is None:
        raise AssertionError(f"--{name} was checked to be there")
    return output.read_input(file, limit, what)


def _policy(inputs: Inputs) -> tlog.Policy:
    """Return what the caller trusts."""
    key = inputs["key"]
    if key is not None:
        return tlog.Policy.for_log(_key(key))
    return tlog.Policy.parse(_read(inputs, "policy", MAX_POLICY_SIZE, "policy"))


def _key(key_or_file: str) -> tlog.VerifierKey:
    """Return the key that is written out, otherwise that in the file."""
    try:
        return tlog.VerifierKey.parse(key_or_file)
    except tlog.FormatError as err:
        if key_or_file.count("+") >= 2 and not Path(key_or_file).exists():
            raise tlog.FormatError("--key", str(err)) from err
    raw = output.read_input(key_or_file, MAX_VKEY_LENGTH + 1, "verifier key")
    try:
        return tlog.VerifierKey.parse(raw.decode().removesuffix("\n"))
    except (UnicodeDecodeError, tlog.FormatError) as err:
        raise tlog.FormatError(f"--key {key_or_file}", f"the file is not one verifier key on one line ({err})") from err


def _verify_proof(inputs: Inputs, policy: tlog.Policy) -> Verdict:
    proof = _read(inputs, "proof", MAX_PROOF_SIZE, "proof")
    line = None if inputs["entry"] is None else _read(inputs, "entry", MAX_ENTRY_SIZE + 1, "entry")
    proved = tlog.verify_proof(proof, policy=policy, entry=line)
    entry, checkpoint = proved.entry, proved.checkpoint
    text = entry.raw.decode("utf-8", "backslashreplace")
    return Verdict(
        f"entry {entry.seq} is in the log {checkpoint.origin}",
        (
            *_facts(checkpoint),
            ("entry", f"seq {entry.seq} in partition {entry.partition}, at {entry.ts} by the log's clock"),
            ("hash", entry.hash.hex()),
            *_content(entry),
        ),
        (
            "that what the entry says is true; anything about other entries",
            *_limits(checkpoint, policy),
        ),
        {
            "seq": entry.seq,
            "ts": entry.ts,
            "partition": entry.partition,
            "hash": entry.hash.hex(),
            "entry": text,
            "checkpoint": _fields(checkpoint),
        },
    )


def _content(entry: tlog.Entry) -> tuple[tuple[str, str], ...]:
    """Return what the log and the writer say in an entry; the whole line where it cannot be told which is whose."""
    try:
        meta, data = entry.meta, entry.raw_data
    except tlog.FormatError:
        return (("line", entry.raw.decode("utf-8", "backslashreplace")),)
    shown = (("data", data.decode("utf-8", "backslashreplace")),)
    return (("meta", str(meta)), *shown) if meta else shown


def _verify_consistency(inputs: Inputs, policy: tlog.Policy) -> Verdict:
    proof = _read(inputs, "consistency", MAX_PROOF_SIZE, "consistency proof")
    kept = _read(inputs, "old", MAX_NOTE_SIZE, "checkpoint")
    proved = tlog.verify_consistency(proof, old=kept, policy=policy)
    old, new = proved.old, proved.new
    return Verdict(
        f"the log {new.origin} only grew, from {old.tree_size:,} to {new.tree_size:,} entries",
        (("old tree", _tree(old)), *_facts(new)),
        ("anything about what the entries say", *_limits(new, policy)),
        {"old": _fields(old), "checkpoint": _fields(new)},
    )


def _verify_checkpoint(inputs: Inputs, policy: tlog.Policy) -> Verdict:
    checkpoint = tlog.verify_checkpoint(_read(inputs, "checkpoint", MAX_NOTE_SIZE, "checkpoint"), policy)
    return Verdict(
        f"the log {checkpoint.origin} signed a tree of {checkpoint.tree_size:,} entries",
        _facts(checkpoint),
        (
            "anything about the entries of that tree",
            "that the tree extends those signed before; --consistency shows it",
            *_limits(checkpoint, policy),
        ),
        {"checkpoint": _fields(checkpoint)},
    )


def _verify_report(inputs: Inputs, policy: tlog.Policy) -> Verdict:
    proved = verify_report(_read(inputs, "report", MAX_REPORT_SIZE, "report"), policy=policy)
    checkpoint, entries = proved.checkpoint, [verified.entry for verified in proved.entries]
    return Verdict(
        f"{output.counted(len(entries), 'entry', 'entries')} of the report {'is' if len(entries) == 1 else 'are'} in "
        f"the log {checkpoint.origin}, as shown beside their proofs",
        (*_facts(checkpoint), *((f"entry {entry.seq}", f"at {entry.ts}: {_data(entry)}") for entry in entries)),
        (
            "the report's counts, charts and findings, and that its lists leave nothing out",
            "that the page, or what a browser shows of it, says nothing else: what is proved stands above",
            "that what the entries say is true",
            *_limits(checkpoint, policy),
        ),
        {
            "entries": [
                {"seq": entry.seq, "ts": entry.ts, "hash": entry.hash.hex(), "entry": _text(entry.raw)}
                for entry in entries
            ],
            "checkpoint": _fields(checkpoint),
        },
    )


def _verify_evidence(inputs: Inputs, policy: tlog.Policy) -> Verdict:
    proved = verify_evidence(_read(inputs, "evidence", MAX_EVIDENCE_SIZE, "evidence"), policy)
    return Verdict(
        f"the log {proved.origin} forked: it signed two trees of which only one can be true",
        (
            ("one", _tree(proved.against)),
            ("other", _tree(proved.shown)),
            ("its first", f"{proved.against.tree_size:,} entries have the root hash {format_base64(proved.root_hash)}"),
            ("signed by", _key_name(proved.shown)),
        ),
        ("which of the two trees is the true one", "who was shown which of them, and whether on purpose"),
        {"against": _fields(proved.against), "shown": _fields(proved.shown), "root_hash": proved.root_hash.hex()},
    )


def _data(entry: tlog.Entry) -> str:
    """Return what the writer of an entry says, the whole line where it cannot be told which words are whose."""
    try:
        return _text(entry.raw_data)
    except tlog.FormatError:
        return _text(entry.raw)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


_TASKS: dict[str, Callable[[Inputs, tlog.Policy], Verdict]] = {
    "proof": _verify_proof,
    "consistency": _verify_consistency,
    "checkpoint": _verify_checkpoint,
    "report": _verify_report,
    "evidence": _verify_evidence,
}


def _facts(checkpoint: LogSignedCheckpoint) -> tuple[tuple[str, str], ...]:
    facts = (("tree", _tree(checkpoint)), ("signed by", _key_name(checkpoint)))
    if not checkpoint.witnesses_met and not checkpoint.witnesses_missing:
        return facts
    return (*facts, ("witnesses", _witnesses(checkpoint)), ("quorum", checkpoint.quorum))


def _limits(checkpoint: LogSignedCheckpoint, policy: tlog.Policy) -> tuple[str, ...]:
    """Say what is not proved about the checkpoint itself."""
    latest = "that this is the log's latest checkpoint"
    if policy.quorum != NO_QUORUM:
        return (latest,)
    seen = ", though some have cosigned" if checkpoint.witnesses_met else ""
    return (f"{latest}, or what others are shown: no witness was asked for{seen}",)


def _tree(checkpoint: LogSignedCheckpoint) -> str:
    return f"{checkpoint.tree_size:,} entries, root hash {format_base64(checkpoint.root_hash)}"


def _witnesses(checkpoint: LogSignedCheckpoint) -> str:
    met = ", ".join(checkpoint.witnesses_met) or "none"
    missing = ", ".join(checkpoint.witnesses_missing) or "none"
    return f"cosigned by {met}; missing {missing}"


def _key_name(checkpoint: LogSignedCheckpoint) -> str:
    return f"{checkpoint.log_key.name}+{checkpoint.log_key.key_id.hex()}"


def _fields(checkpoint: LogSignedCheckpoint) -> Fields:
    return {
        "origin": checkpoint.origin,
        "tree_size": checkpoint.tree_size,
        "root_hash": format_base64(checkpoint.root_hash),
        "signed_by": _key_name(checkpoint),
        "witnesses": list(checkpoint.witnesses_met),
        "witnesses_missing": list(checkpoint.witnesses_missing),
        "quorum": checkpoint.quorum,
    }


def _print(verdict: Verdict) -> None:
    """Print what was proved and what was not; the words of the files through `printable`."""
    output.emit_line(f"{output.paint('proved', 'green')}: {output.printable(verdict.claim)}")
    for label, value in verdict.facts:
        output.emit_line(f"  {label:10} {output.printable(value)}")
    output.emit_line(f"{output.paint('not proved', 'yellow')}:")
    for limit in verdict.limits:
        output.emit_line(f"  {limit}")
