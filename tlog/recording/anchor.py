"""The last checkpoint that was verified, kept so that the next verification starts from what is known to be good.

A log whose end was cut off, or that was made anew, agrees with itself; it does not agree with a checkpoint that was
kept before. Source: docs/threat-model.md, "What an auditor keeps, and why".
"""

from __future__ import annotations

import os
from pathlib import Path

from tlog.checkpoint import Checkpoint
from tlog.errors import FormatError, NotFoundError
from tlog.note import MAX_NOTE_SIZE
from tlog.storage.disk import Files


class Anchor:
    """A file that holds one signed checkpoint. It never goes back to a smaller tree, whoever verifies meanwhile."""

    def __init__(self, files: Files, path: Path) -> None:
        """path: of the file; made, with its directory, by the first `advance`."""
        self._files = files
        self.path = path

    def read(self) -> Checkpoint | None:
        """Return the checkpoint that is kept, its signature unchecked; None where none was kept yet.

        Raises: FormatError where the file holds something else, StorageError.
        """
        try:
            return Checkpoint.parse(self._files.read(self.path, MAX_NOTE_SIZE))
        except NotFoundError:
            return None
        except FormatError as err:
            raise FormatError(
                str(self.path),
                f"holds no checkpoint ({err}); it was altered: put back a copy that was kept elsewhere, or remove it "
                "to begin anew, and what was changed up to now will not show",
            ) from err

    def advance(self, checkpoint: Checkpoint) -> Checkpoint:
        """Keep a verified checkpoint unless that of a larger tree is kept; durable on return. Return what is kept.

        Raises: FormatError, StorageError.
        """
        self._files.ensure_dir(self.path.parent)
        lock = self.path.with_name(f"{self.path.name}.lock")
        with self._files.opened(lock, os.O_RDWR | os.O_CREAT) as fd:
            self._files.disk.lock(fd, lock)
            kept = self.read()
            if kept is not None and kept.tree_size >= checkpoint.tree_size:
                return kept
            self._files.replace(self.path, checkpoint.raw)
        return checkpoint
