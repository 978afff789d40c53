"""Proving: `tlog vkey`, `tlog checkpoint`, `tlog prove` and `tlog consistency`."""

from __future__ import annotations

from pathlib import Path

import click

from tlog.errors import NotFoundError
from tlog_tools import common, output


@click.command("vkey")
@click.argument("partition", required=False)
@click.option("--post-quantum", is_flag=True, help="The ML-DSA-44 keys instead, of partitions that signed with one.")
@common.with_ledger
@common.with_json
def vkey_command(partition: str | None, post_quantum: bool, ledger_path: Path, as_json: bool) -> None:
    """Print verifier keys, for whoever is to verify.

    Without PARTITION, of every partition. Hand them over by a way that the log's operator can't change later.

    With --json: {"partition", "vkey"} of each.
    """
    with common.open_ledger(ledger_path) as ledger:
        names = ledger.partitions() if partition is None else common.chosen(ledger, partition)
        for name in names:
            found = ledger.partition(name)
            key = found.post_quantum_vkey if post_quantum else found.vkey
            if key is None:
                if partition is None:
                    continue
                raise NotFoundError(f"partition {name}: nothing was signed with an ML-DSA-44 key")
            vkey = str(key)
            if as_json:
                output.emit_json({"partition": name, "vkey": vkey})
            else:
                output.emit_line(vkey)


@click.command("checkpoint")
@click.argument("partition")
@click.option("--size", type=common.Number(), metavar="N", help="An earlier checkpoint, that of this tree size.")
@common.with_ledger
@common.with_json
def checkpoint_command(partition: str, size: int | None, ledger_path: Path, as_json: bool) -> None:
    """Print a signed checkpoint, for auditors to keep.

    It is the published one unless --size asks for an earlier one. Whoever keeps it can show later whether anything up
    to it was changed or cut off: 'tlog verify --checkpoint FILE', 'tlog-verify --consistency'.

    With --json: {"partition", "origin", "tree_size", "root_hash", "note"}.
    """
    with common.open_ledger(ledger_path) as ledger:
        checkpoint = common.existing(ledger, partition).checkpoint(size)
    if as_json:
        fields = {"partition": partition, **common.checkpoint_fields(checkpoint), "note": str(checkpoint)}
        output.emit_json(fields)
    else:
        output.emit(checkpoint.raw)


@click.command("prove")
@click.argument("partition")
@click.argument("seq", type=common.Number())
@click.option("-o", "--output", "target", metavar="FILE", help="Write the proof here instead of standard output.")
@common.with_ledger
@common.with_json
def prove_command(partition: str, seq: int, target: str | None, ledger_path: Path, as_json: bool) -> None:
    """Write the proof that an entry is in the log.

    The .tlog-proof file carries the entry and a signed checkpoint; with the verifier key it is all that
    'tlog-verify --proof FILE --key VKEY' needs.

    With --json: {"partition", "seq", "tree_size", "proof"}, where "proof" is the file's text unless -o is given.
    """
    with common.open_ledger(ledger_path) as ledger:
        proof = common.existing(ledger, partition).prove(seq)
    text = proof.format()
    if target not in (None, "-"):
        output.write_file(Path(target), text)
    if as_json:
        shown = target if target not in (None, "-") else text.decode()
        size = proof.checkpoint.tree_size
        output.emit_json({"partition": partition, "seq": seq, "tree_size": size, "proof": shown})
    elif target in (None, "-"):
        output.emit(text)
    else:
        output.say(f"wrote {target}: entry {seq} of {partition} in the tree of size {proof.checkpoint.tree_size:,}")


@click.command("consistency")
@click.argument("partition")
@click.argument("old", type=common.Number())
@click.argument("new", type=common.Number(), required=False)
@common.with_ledger
@common.with_json
def consistency_command(partition: str, old: int, new: int | None, ledger_path: Path, as_json: bool) -> None:
    """Print the proof that the log only grew.

    It shows that the tree of NEW entries, a size that was published, the latest one unless given, begins with the tree
    of OLD entries. The text is also the body of a witness's add-checkpoint request; 'tlog-verify --consistency FILE
    --old CHECKPOINT' checks it.

    With --json: {"partition", "old_size", "tree_size", "proof"}.
    """
    with common.open_ledger(ledger_path) as ledger:
        proof = common.existing(ledger, partition).prove_consistency(old, new)
    if as_json:
        size = proof.checkpoint.tree_size
        output.emit_json({"partition": partition, "old_size": old, "tree_size": size, "proof": str(proof)})
    else:
        output.emit(proof.format())
