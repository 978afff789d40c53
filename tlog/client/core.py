"""The parts of a client put together, and its settings checked."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tlog.client.address import Address, parse_address
from tlog.client.exchange import Pacing
from tlog.client.identity import Identity, identify
from tlog.client.memory import FileMemory, OwnMemory
from tlog.client.reading import Reading
from tlog.client.searching import Searching
from tlog.client.trees import Trees
from tlog.client.writing import Writing
from tlog.keys import VerifierKey
from tlog.policy import Policy

NO_HTTPX = "the client needs httpx: pip install 'tlog[client]' brings it"


class Core(NamedTuple):
    """What a client does, as flows, without input and output."""

    identity: Identity
    address: Address
    reading: Reading
    searching: Searching
    writing: Writing


def make_core(
    url: str,
    *,
    vkey: str | VerifierKey | None,
    policy: Policy | str | bytes | None,
    origin: str | None,
    partition: str | None,
    token: str | None,
    state: str | Path | None,
    pacing: Pacing,
) -> Core:
    """Return the core of a client; see `tlog.client.blocking.Client`. Raises: FormatError."""
    identity = identify(vkey, policy, origin, partition)
    address = parse_address(url, identity.partition, token)
    memory = OwnMemory() if state is None else FileMemory(Path(state), identity.origin)
    trees = Trees(identity, address, memory, pacing)
    reading = Reading(trees, address, pacing)
    return Core(
        identity,
        address,
        reading,
        Searching(trees, reading, address, pacing),
        Writing(trees, reading, address, pacing),
    )
