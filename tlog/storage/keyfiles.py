"""Key files: PKCS#8 PEM with mode 0600, the verifier key beside it, and the lock under which one process signs."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tlog.errors import FormatError, NotFoundError
from tlog.keys import ED25519_NOTE, MAX_PEM_SIZE, MAX_VKEY_LENGTH, SigningKey, VerifierKey
from tlog.storage.disk import Files

PRIVATE_MODE = 0o600


class KeyPaths(Protocol):
    """Where the files of one key lie: `PartitionPaths` says it of a partition's first key, `KeyPlace` of any other."""

    @property
    def keys(self) -> Path:
        """The directory, made with mode 0700 if it is missing."""

    @property
    def private_key(self) -> Path:
        """The private key."""

    @property
    def verifier_key(self) -> Path:
        """The verifier key."""


class KeyFiles:
    """The files of one key."""

    def __init__(self, files: Files, paths: KeyPaths, key_type: int = ED25519_NOTE) -> None:
        self._files = files
        self._paths = paths
        self._key_type = key_type

    def exist(self) -> bool:
        """Whether there is a private key."""
        return self._files.exists(self._paths.private_key)

    def create(self, key: SigningKey, passphrase: bytes | None = None) -> None:
        """Store a new key durably. Raises: ConflictError where there is one already."""
        self._files.ensure_dir(self._paths.keys, 0o700)
        self._files.create(self._paths.private_key, key.to_pem(passphrase), PRIVATE_MODE)
        self.complete(key.name, passphrase)

    def complete(self, origin: str, passphrase: bytes | None = None) -> None:
        """Store the verifier key beside a private key, where whoever created that has not done so yet."""
        with self.locked():
            if not self._files.exists(self._paths.verifier_key):
                key = self.load(origin, passphrase)
                self._files.disk.sync_dir(self._paths.private_key.parent)  # no verifier key without its private key
                self._files.replace(self._paths.verifier_key, f"{key.verifier_key}\n".encode())

    def load(self, origin: str, passphrase: bytes | None = None) -> SigningKey:
        """Return the private key, named `origin`.

        Raises: NotFoundError; FormatError where others than the owner may read the file, or it is no such key, or the
        passphrase does not open it.
        """
        path = self._paths.private_key
        with self._files.opened(path) as fd:
            mode = stat.S_IMODE(os.fstat(fd).st_mode)
            if mode & 0o077:
                raise FormatError(str(path), f"its mode is {mode:04o}, so others may read the key; chmod 600 it")
            pem = self._files.disk.read_at(fd, MAX_PEM_SIZE + 1, 0, path)
        try:
            key = SigningKey.from_pem(origin, pem, passphrase, self._key_type)
        except FormatError as err:
            raise FormatError(str(path), err.reason) from err
        return key

    def verifier_key(self) -> VerifierKey:
        """Return the verifier key. Raises: NotFoundError, FormatError."""
        path = self._paths.verifier_key
        raw = self._files.read(path, MAX_VKEY_LENGTH + 1)
        try:
            return VerifierKey.parse(raw.decode("utf-8", "strict").removesuffix("\n"))
        except UnicodeDecodeError as err:
            raise FormatError(str(path), "is no verifier key") from err
        except FormatError as err:
            raise FormatError(str(path), str(err)) from err

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the key's lock for a `with` block: one process signs with a key at a time, whatever data it signs."""
        path = self._paths.private_key
        try:
            fd = self._files.disk.open(path, os.O_RDONLY)
        except NotFoundError as err:
            raise NotFoundError(f"{path}: the private key is not here, so nothing can be signed") from err
        try:
            self._files.disk.lock(fd, path)
            yield
        finally:
            self._files.disk.unlock(fd)  # a child forked meanwhile holds the file open, and with it the lock
            self._files.disk.close(fd)
