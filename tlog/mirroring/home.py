"""A mirror's directory: what `tlog.witnessing.home` has, the copies in `logs/`, and the secret of its tickets."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path

from tlog.errors import FormatError
from tlog.keys import VerifierKey
from tlog.mirroring.mirror import TAG_SIZE, Mirror
from tlog.storage.disk import Files
from tlog.storage.keyfiles import PRIVATE_MODE
from tlog.witnessing.home import Home


class MirrorHome(Home):
    """The directory of one mirror."""

    def __init__(self, path: str | Path) -> None:
        """path: of the directory; nothing is read yet."""
        super().__init__(path, "mirror")

    def create(
        self, name: str, *, post_quantum: bool = False, passphrase: bytes | None = None
    ) -> tuple[VerifierKey, ...]:
        """See `Home.create`. A mirror has a name and keys of its own, also where its operator runs a witness."""
        vkeys = super().create(name, post_quantum=post_quantum, passphrase=passphrase)
        Files().create(self.path / "tickets", secrets.token_bytes(TAG_SIZE), PRIVATE_MODE)
        return vkeys

    def open(self, *, passphrase: bytes | None = None, clock: Callable[[], float] = time.time) -> Mirror:
        """Return the mirror; close it with `Mirror.close`. One process at a time has it.

        Raises: NotFoundError; as `Home.signers` and `Home.state`; FormatError where the secret is damaged.
        """
        signers = self.signers(passphrase)
        secret = Files().read(self.path / "tickets", TAG_SIZE + 1)
        if len(secret) != TAG_SIZE:
            raise FormatError(str(self.path / "tickets"), f"has {len(secret)} bytes, not {TAG_SIZE}")
        return Mirror(self.path / "logs", self.state(), signers, secret, clock=clock)
