"""A witness's directory: its keys, the record beside them, and its state.

    witness.pem, witness.vkey                  the Ed25519 key
    witness-ml-dsa-44.pem, ...vkey             the ML-DSA-44 key, where there is one
    witness.record                             how often the state was written, so that an old copy of it is noticed
    state.sqlite                               the logs, and the latest checkpoint of each

Never copy a witness's directory to run it twice, and never put `state.sqlite` back from a backup.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tlog.errors import ConflictError, NotFoundError
from tlog.keys import ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE, SigningKey, VerifierKey, check_key_name
from tlog.storage.disk import Files
from tlog.storage.keyfiles import KeyFiles
from tlog.storage.layout import KeyPlace
from tlog.witnessing.state import WitnessState
from tlog.witnessing.witness import Witness

KEY_TYPES = {"witness": ED25519_COSIGNATURE, "witness-ml-dsa-44": ML_DSA_44_COSIGNATURE}
"""The key files of a witness, without their endings, and the signature type of each."""


class WitnessHome:
    """The directory of one witness."""

    def __init__(self, path: str | Path) -> None:
        """path: of the directory; nothing is read yet."""
        self.path = Path(path)

    def create(
        self, name: str, *, post_quantum: bool = False, passphrase: bytes | None = None
    ) -> tuple[VerifierKey, ...]:
        """Make the directory, with new keys and an empty state; return the verifier keys.

        name: of the witness, a URL without scheme. post_quantum: add an ML-DSA-44 key, whose cosignatures are made
        beside those of Ed25519. passphrase: encrypts the private keys.
        Raises: FormatError; ConflictError where there is a witness, or what is left of one; StorageError.
        """
        check_key_name(name)
        files = Files()
        if files.exists(self._keys("witness").private_key):
            raise ConflictError(f"{self.path}: there is a witness's key already; a new witness needs a new directory")
        files.ensure_dir(self.path, 0o700)
        WitnessState.create(self._state, self._record)
        for stem, key_type in KEY_TYPES.items():
            if key_type == ED25519_COSIGNATURE or post_quantum:
                key = SigningKey.generate(name, key_type)
                KeyFiles(files, self._keys(stem), key_type).create(key, passphrase)
        return self.vkeys()

    def vkeys(self) -> tuple[VerifierKey, ...]:
        """Return the verifier keys. Raises: NotFoundError where there is no witness; FormatError."""
        files = Files()
        keys = [self._keys(stem) for stem in KEY_TYPES]
        found = tuple(KeyFiles(files, paths).verifier_key() for paths in keys if files.exists(paths.verifier_key))
        if not found:
            raise NotFoundError(f"{self.path}: there is no witness; 'tlog-witness init' makes one")
        return found

    def open(self, *, passphrase: bytes | None = None, clock: Callable[[], float] = time.time) -> Witness:
        """Return the witness; close it with `Witness.close`. One process at a time has it.

        Raises: NotFoundError; FormatError for keys that others may read, or that the passphrase does not open;
        CorruptLedgerError where the state is lost, or is not the latest one; ConflictError where it runs already.
        """
        files = Files()
        names = {key.key_type: key.name for key in self.vkeys()}
        signers = [
            KeyFiles(files, self._keys(stem), key_type).load(names[key_type], passphrase)
            for stem, key_type in KEY_TYPES.items()
            if key_type in names
        ]
        return Witness(WitnessState(self._state, self._record), signers, clock=clock)

    @property
    def _state(self) -> Path:
        return self.path / "state.sqlite"

    @property
    def _record(self) -> Path:
        return self.path / "witness.record"

    def _keys(self, stem: str) -> KeyPlace:
        return KeyPlace(self.path, self.path / f"{stem}.pem", self.path / f"{stem}.vkey")
