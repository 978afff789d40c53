"""Pages about checkpoints and proofs: the history, growth since the last visit, comparing two, checking a proof."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from flask import Response, request

from tlog.checkpoint import Checkpoint
from tlog.errors import Error, FormatError, NotFoundError, VerificationError
from tlog.partition import Partition
from tlog.policy import Policy
from tlog.report.checkpoints import compare, history, partition_of_origin
from tlog.report.sentence import sentence
from tlog.tlogproof import Proof
from tlog.verify import verify_proof
from tlog_server.asking import ledger, number, parameters, partition, reads_body
from tlog_server.bodies import read_body
from tlog_server.pages import asked_partition, choice, published
from tlog_server.problems import RefusedError
from tlog_server.rendering import page, page_blueprint

LISTED = 50
"""Checkpoints of one page of the history."""

MAX_FORM = 1 << 19
"""Bytes of a form: a proof of the largest entry in base64, each sign of it percent-encoded where that is needed."""

check_pages = page_blueprint("check_pages")


@check_pages.get("/history")
def history_page() -> Response:
    """The checkpoints that were signed, the latest first, each held against the published tree."""
    asked = parameters("partition", "before")
    found = asked_partition(asked)
    if found is None:
        return choice("history", "Checkpoints")
    before = number(asked["before"], "before") if "before" in asked else None
    try:
        listed = history(found, before=before, limit=LISTED)
    except NotFoundError:
        listed = None
    return page("history.html", partition=found, here="history", listed=listed, published=published(found))


@check_pages.get("/consistency")
def consistency_page() -> Response:
    """Whether the log only grew since the reader's last visit: the browser remembers, and checks."""
    found = asked_partition(parameters("partition"))
    if found is None:
        return choice("consistency", "Since your last visit")
    return page("consistency.html", partition=found, here="consistency", published=published(found))


@check_pages.get("/compare")
def compare_form() -> Response:
    """The form for two checkpoints."""
    parameters()
    return page("compare.html", here="compare", first="", second="", result=None, trouble=None)


@check_pages.post("/compare")
@reads_body
def compare_page() -> Response:
    """What two checkpoints say together."""
    parameters()
    form = _form("first", "second")
    result, trouble = None, None
    try:
        result = compare(_note(form["first"]), _note(form["second"]), _signer(form.values()))
    except (FormatError, VerificationError, NotFoundError) as err:
        trouble = _in_words(err)
    return page(
        "compare.html", here="compare", first=form["first"], second=form["second"], result=result, trouble=trouble
    )


@check_pages.get("/verify")
def verify_form() -> Response:
    """The form for a proof."""
    parameters()
    return page("verify.html", here="verify", proof="", verified=None, trouble=None)


@check_pages.post("/verify")
@reads_body
def verify_page() -> Response:
    """What a proof proves, under the key that this server has for the log."""
    parameters()
    text = _form("proof")["proof"]
    verified, trouble = None, None
    try:
        proof = Proof.parse(_note(text))
        log = partition(partition_of_origin(ledger(), proof.checkpoint.origin))
        verified = verify_proof(proof, policy=Policy.for_log(log.vkey))
    except (FormatError, VerificationError, NotFoundError) as err:
        trouble = _in_words(err)
    said = None if verified is None else sentence(verified.entry.data)
    return page("verify.html", here="verify", proof=text, verified=verified, sentence=said, trouble=trouble)


def _signer(notes: Any) -> Partition:
    """Return the partition whose log both checkpoints name. Raises: FormatError, NotFoundError, RefusedError."""
    origins = {Checkpoint.parse(_note(text)).origin for text in notes}
    if len(origins) > 1:
        raise FormatError("checkpoints", f"they are of two logs, {' and '.join(sorted(origins))}; compare two of one")
    return partition(partition_of_origin(ledger(), origins.pop()))


def _note(text: str) -> bytes:
    """Return pasted text as a file has it: browsers end lines with CR LF, and people lose the last line break."""
    return (text.replace("\r\n", "\n").strip("\n") + "\n").encode()


def _form(*names: str) -> Mapping[str, str]:
    """Return the fields of the form that was sent. Raises: RefusedError."""
    if request.mimetype != "application/x-www-form-urlencoded":
        raise RefusedError(415, "Send a form: application/x-www-form-urlencoded.", field="Content-Type")
    try:
        text = read_body(MAX_FORM).decode("ascii")
        fields = dict(parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=8))
    except ValueError as err:
        raise RefusedError(400, "The form cannot be read; send the page's own.", field="form") from err
    if set(fields) != set(names):
        raise RefusedError(400, f"The form has the fields {', '.join(names)} only.", field="form")
    return fields


def _in_words(error: Error) -> dict[str, str | None]:
    """Return an error's parts: what is wrong, and what was expected and found instead."""
    message = error.message if isinstance(error, VerificationError) else str(error)
    return {"message": message, **{name: getattr(error, name, None) for name in ("place", "expected", "found")}}
