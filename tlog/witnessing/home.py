"""The directory of a witness or a mirror: its keys, the record beside them, and its state.

    witness.pem, witness.vkey                  the Ed25519 key; of a mirror: mirror.pem, mirror.vkey, and so on
    witness-ml-dsa-44.pem, ...vkey             the ML-DSA-44 key, where there is one
    witness.record                             how often the state was written, so that an old copy of it is noticed
    state.sqlite                               the logs, and the latest checkpoint of each

Never copy such a directory to run it twice, and never put `state.sqlite` back from a backup.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from tlog.errors import ConflictError, NotFoundError
from tlog.keys import ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE, SigningKey, VerifierKey, check_key_name
from tlog.storage.disk import Files
from tlog.storage.keyfiles import KeyFiles
from tlog.storage.layout import KeyPlace
from tlog.witnessing.state import WitnessState
from tlog.witnessing.witness import Witness

KEY_TYPES = {"": ED25519_COSIGNATURE, "-ml-dsa-44": ML_DSA_44_COSIGNATURE}
"""What stands behind the role in the names of key files, and the signature type of each."""


class Home:
    """The directory of one party."""

    def __init__(self, path: str | Path, role: Literal["witness", "mirror"]) -> None:
        """path: of the directory; nothing is read yet. role: what the files are named after."""
        self.path = Path(path)
        self._role = role

    def create(
        self, name: str, *, post_quantum: bool = False, passphrase: bytes | None = None
    ) -> tuple[VerifierKey, ...]:
        """Make the directory, with new keys and an empty state; return the verifier keys.

        name: of the party, a URL without scheme. post_quantum: add an ML-DSA-44 key, whose cosignatures are made
        beside those of Ed25519. passphrase: encrypts the private keys.
        Raises: FormatError; ConflictError where there is one, or what is left of one; StorageError.
        """
        check_key_name(name)
        files = Files()
        if files.exists(self._keys("").private_key):
            raise ConflictError(
                f"{self.path}: there is a {self._role}'s key already; a new {self._role} needs a new directory"
            )
        files.ensure_dir(self.path, 0o700)
        WitnessState.create(*self._places())
        for suffix, key_type in KEY_TYPES.items():
            if key_type == ED25519_COSIGNATURE or post_quantum:
                key = SigningKey.generate(name, key_type)
                KeyFiles(files, self._keys(suffix), key_type).create(key, passphrase)
        return self.vkeys()

    def vkeys(self) -> tuple[VerifierKey, ...]:
        """Return the verifier keys. Raises: NotFoundError where there is nobody; FormatError."""
        files = Files()
        keys = [self._keys(suffix) for suffix in KEY_TYPES]
        found = tuple(KeyFiles(files, paths).verifier_key() for paths in keys if files.exists(paths.verifier_key))
        if not found:
            raise NotFoundError(f"{self.path}: there is no {self._role}; 'tlog-{self._role} init' makes one")
        return found

    def signers(self, passphrase: bytes | None) -> list[SigningKey]:
        """Return the keys. Raises: FormatError for keys that others may read, or that the passphrase does not open."""
        files = Files()
        names = {key.key_type: key.name for key in self.vkeys()}
        return [
            KeyFiles(files, self._keys(suffix), key_type).load(names[key_type], passphrase)
            for suffix, key_type in KEY_TYPES.items()
            if key_type in names
        ]

    def state(self) -> WitnessState:
        """Return the state, held by this process.

        Raises: CorruptLedgerError where it is lost, or not the latest one; ConflictError where another process has it.
        """
        return WitnessState(*self._places())

    def _places(self) -> tuple[Path, Path]:
        return self.path / "state.sqlite", self.path / f"{self._role}.record"

    def _keys(self, suffix: str) -> KeyPlace:
        stem = f"{self._role}{suffix}"
        return KeyPlace(self.path, self.path / f"{stem}.pem", self.path / f"{stem}.vkey")


class WitnessHome(Home):
    """The directory of one witness."""

    def __init__(self, path: str | Path) -> None:
        """path: of the directory; nothing is read yet."""
        super().__init__(path, "witness")

    def open(self, *, passphrase: bytes | None = None, clock: Callable[[], float] = time.time) -> Witness:
        """Return the witness; close it with `Witness.close`. One process at a time has it.

        Raises: NotFoundError; as `signers` and `state`.
        """
        signers = self.signers(passphrase)
        return Witness(self.state(), signers, clock=clock)
