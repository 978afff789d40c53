"""The requests that torchwood's litewitness gets in its own tests, sent to our witness."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.test_verify_consistency import (
    FROM_1_TO_3,
    FROM_3_TO_5,
    SIGSUM_VKEY,
    SIZE_1,
    SIZE_3,
    SIZE_5,
    WRONG_HASH,
)
from tests.witnessing.parties import new_witness, served
from tlog.keys import VerifierKey
from tlog_server.witnessing import create_witness_app

# A consistency proof that does not belong here; the old size is looked at first.
OTHER = FROM_1_TO_3.rstrip("\n") + "\nKgQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n"

# filippo.io/torchwood v0.9.0, cmd/litewitness/testdata/litewitness.txt: the sequence, and the statuses that it expects.
SEQUENCE = (
    (f"old 0\n\n{SIZE_1}", 200),
    (FROM_1_TO_3 + SIZE_3.replace("Vrx6go=", "Vrx6gw="), 403),
    (FROM_1_TO_3 + SIZE_3.replace("e562", "e563"), 404),
    (f"old 1\n\n{SIZE_3}", 422),
    (FROM_1_TO_3[: FROM_1_TO_3.index("KgI")] + f"{WRONG_HASH}\n\n{SIZE_3}", 422),
    (FROM_1_TO_3 + SIZE_3, 200),
    (OTHER + SIZE_5, 409),
    (FROM_3_TO_5 + SIZE_5, 200),
    (f"old 0\n\n{SIZE_5}", 409),
)
SIZES = {6: "3\n", 8: "5\n"}


def test_the_sequence(tmp_path: Path) -> None:
    """Each request has the status that torchwood's witness gives it; the cosignature, or the size, is in the body."""
    with (
        new_witness(tmp_path / "witness", "example.com/witness", VerifierKey.parse(SIGSUM_VKEY)) as witness,
        served(create_witness_app(witness)) as url,
    ):
        for number, (body, status) in enumerate(SEQUENCE):
            answer = httpx.post(f"{url}/add-checkpoint", content=body.encode())
            assert answer.status_code == status, number
            if status == 200:
                assert answer.text.startswith("— example.com/witness ")
            if status == 409:
                assert (answer.text, answer.headers["content-type"]) == (SIZES[number], "text/x.tlog.size")


def test_a_signature_that_is_no_canonical_base64(tmp_path: Path) -> None:
    """Torchwood's own bad signature is 403 there; here the note is not in its one form, which is 400."""
    bad = FROM_1_TO_3 + SIZE_3.replace("Vrx6go=", "Vrx6gx=")
    with (
        new_witness(tmp_path / "witness", "example.com/witness", VerifierKey.parse(SIGSUM_VKEY)) as witness,
        served(create_witness_app(witness)) as url,
    ):
        assert httpx.post(f"{url}/add-checkpoint", content=f"old 0\n\n{SIZE_1}".encode()).status_code == 200
        answer = httpx.post(f"{url}/add-checkpoint", content=bad.encode())
    assert answer.status_code == 400
    assert "canonical base64" in answer.text
