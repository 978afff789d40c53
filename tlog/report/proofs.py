"""The proofs inside an audit report: found in the page and all verified, offline.

The page is not trusted, and its words are not read: what is taken from it is the text of the elements with the classes
below, which hold text only. What is shown beside a proof must be what the proof proves.
Source: docs/report.md, "What is checked".
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tlog.entry import Entry
from tlog.errors import FormatError, VerificationError
from tlog.note import MAX_NOTE_SIZE
from tlog.policy import Policy, VerifiedCheckpoint
from tlog.report.shown import cut, visible
from tlog.tlogproof import MAX_PROOF_SIZE, Proof
from tlog.verify import VerifiedEntry, verify_proof

MAX_REPORT_SIZE = 64 << 20
"""Bytes of a report whose proofs are checked."""

MAX_PROOFS = 1000
MAX_SHOWN = 4000
"""Characters of an entry's data that a report shows; the proof has all of it."""

CHECKPOINT, LISTED, SHOWN, PROOF = "tlog-checkpoint", "tlog-listed", "tlog-shown", "tlog-proof"
"""Classes of the elements: the latest checkpoint; a number in the list of entries; a shown value; a proof."""

MAX_ELEMENTS = 8 * MAX_PROOFS

_LIMITS = {CHECKPOINT: MAX_NOTE_SIZE, LISTED: 20, SHOWN: 40 * MAX_SHOWN, PROOF: MAX_PROOF_SIZE}
_BEGIN = 'class="tlog-'
_ELEMENT = re.compile(r'<(a|code|pre) class="(tlog-[a-z]+)"(?: href="#entry-[0-9]+")?>([^<]*+)</\1>')


@dataclass(frozen=True, slots=True)
class VerifiedReport:
    """What a report's proofs prove. checkpoint: the one that it shows. entries: those with a proof, as listed.

    Everything else on the page (counts, charts, findings, which entries were chosen) is the word of whoever made it.
    """

    checkpoint: VerifiedCheckpoint
    entries: tuple[VerifiedEntry, ...]


def shown_values(entry: Entry) -> tuple[tuple[str, str], ...]:
    """Return label and text of what a report shows of an entry beside its proof."""
    try:
        raw = entry.raw_data
    except FormatError:  # it cannot be told whose words are where
        raw = entry.raw
    data = visible(raw.decode("utf-8", "backslashreplace"))
    return (
        ("entry", str(entry.seq)),
        ("logged at", entry.ts),
        ("hash", entry.hash.hex()),
        ("data", cut(data, MAX_SHOWN)),
    )


def verify_report(page: str | bytes, *, policy: Policy) -> VerifiedReport:
    """Check every proof that is embedded in a report, and what is shown beside each.

    1. The checkpoint that the report shows is valid under the policy.
    2. There is a proof for each entry of the report's list of entries, in its order, and no other proof.
    3. Each proof is valid under the policy (`tlog.verify.verify_proof`), and under that same checkpoint.
    4. The values shown beside a proof are those of the entry that it proves.

    page: the HTML file, at most 64 MiB. Raises: FormatError where it is no report with proofs; VerificationError naming
    the first proof that is wrong, and as `verify_proof`. Cost: a signature verification
    a proof, and one pass over the page.
    """
    elements = _elements(page)
    notes = [text for kind, text in elements if kind == CHECKPOINT]
    if len(notes) != 1:
        raise FormatError("report", f"it shows {len(notes)} latest checkpoints, not one; there is nothing to check")
    checkpoint = policy.verify(notes[0].encode())
    listed = [text for kind, text in elements if kind == LISTED]
    entries = []
    for number, (text, shown) in enumerate(_proofs(elements)):
        place = f"proof {number + 1} of the report"
        parsed = Proof.parse(text)
        if number >= len(listed) or str(parsed.leaf_index) != listed[number]:
            wanted = listed[number] if number < len(listed) else "none"
            raise VerificationError(
                "the proofs are not those of the entries that the report lists",
                place=place,
                expected=wanted[:20],
                found=str(parsed.leaf_index),
            )
        if parsed.checkpoint != checkpoint.checkpoint:
            raise VerificationError("it is under another checkpoint than the one that the report shows", place=place)
        proved = verify_proof(parsed, policy=policy)
        _require_shown(proved.entry, shown, place)
        entries.append(proved)
    if len(entries) < len(listed):
        raise VerificationError(
            "proofs are missing",
            place=f"entry {listed[len(entries)][:20]}",
            expected=str(len(listed)),
            found=str(len(entries)),
        )
    if not entries:
        raise FormatError("report", "it lists no entry and has no proof; there is nothing to check")
    return VerifiedReport(checkpoint, tuple(entries))


def _require_shown(entry: Entry, shown: list[str], place: str) -> None:
    expected = [value for _, value in shown_values(entry)]
    if shown == expected:
        return
    for (label, value), text in zip(shown_values(entry), shown, strict=False):
        if value != text:
            raise VerificationError(
                f"what the report shows as {label} of entry {entry.seq} is not what the proof proves",
                place=place,
                seq=entry.seq,
                expected=cut(value, 80),
                found=cut(visible(text), 80),
            )
    raise VerificationError(
        f"the report does not show of entry {entry.seq} what belongs beside a proof",
        place=place,
        seq=entry.seq,
        expected=f"{len(expected)} values",
        found=str(len(shown)),
    )


def _elements(page: str | bytes) -> list[tuple[str, str]]:
    """Return class and text of the elements that matter, in the order of the page. Raises: FormatError.

    No parser of HTML is needed to find what a report has in one form only, and none of them is sure to be done with a
    hostile page in linear time. In a report every quote that strangers wrote is escaped, so `class="tlog-` is ours.
    """
    if len(page) > MAX_REPORT_SIZE:
        raise FormatError("report", f"it is larger than {MAX_REPORT_SIZE:,} bytes")
    try:
        text = page.decode() if isinstance(page, bytes) else page
    except UnicodeDecodeError as err:
        raise FormatError("report", f"it is not UTF-8 at byte {err.start}") from err
    count = text.count(_BEGIN)
    if count > MAX_ELEMENTS:
        raise FormatError("report", f"it has more than {MAX_PROOFS:,} proofs")
    found = []
    for match in _ELEMENT.finditer(text):
        kind = match[2]
        if kind not in _LIMITS or len(match[3]) > _LIMITS[kind]:
            raise FormatError("report", f"an element of class {kind[:40]} is unknown or too long")
        found.append((kind, html.unescape(match[3])))
    if len(found) != count:
        raise FormatError(
            "report", f"of its elements with a proof, or beside one, {count - len(found)} are not text only"
        )
    return found


def _proofs(elements: list[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Yield the text of each proof, with the values that are shown between the proof before it and this one."""
    shown: list[str] = []
    for kind, text in elements:
        if kind == PROOF:
            yield text, shown
            shown = []
        elif kind == SHOWN:
            shown.append(text)
