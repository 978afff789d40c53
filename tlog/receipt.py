"""What a writer gets back: receipts of durable entries, at once or later."""

from __future__ import annotations

from binascii import unhexlify
from dataclasses import dataclass

from tlog.errors import FormatError
from tlog.group import Committed, Group, GroupCommit


@dataclass(frozen=True, slots=True)
class Receipt:
    """A durable entry. seq: its position, the leaf index. hash: its 32-byte chain hash, the next entry's prev_hash."""

    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class BulkReceipt:
    """Durable entries [start, stop) of one `append_many`; where other writers were at work, theirs lie between.

    count: how many were appended. start: seq of the first. stop: seq of the last plus one. hash: 32-byte chain hash of
    the last. For count 0, start and stop are 0 and the hash is empty.
    """

    count: int
    start: int
    stop: int
    hash: bytes


class PendingReceipt:
    """The future of one submitted entry."""

    __slots__ = ("_group", "_groups", "_index")

    def __init__(self, groups: GroupCommit, group: Group, index: int) -> None:
        self._groups = groups
        self._group = group
        self._index = index

    def done(self) -> bool:
        """Whether the entry is durable or was refused."""
        return self._group.done

    def result(self, timeout: float | None = None) -> Receipt:
        """Return the receipt when the entry is durable.

        timeout: seconds to wait, for ever unless given. Raises: TimeoutError; otherwise what `append` raises.
        """
        group = self._group
        if (not group.done or group.error is not None) and not self._groups.wait(
            group, -1 if timeout is None else max(timeout, 0)
        ):
            raise TimeoutError(f"the entry is not durable after {timeout} seconds")
        return receipt_of(group, self._index)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what `result` would raise, None where the entry is durable. Raises: TimeoutError."""
        try:
            self.result(timeout)
        except TimeoutError:
            raise
        except Exception as err:  # noqa: BLE001 - a future returns what it would raise
            return err
        return None


def receipt_of(group: Group, index: int) -> Receipt:
    """Return the receipt of one entry of a group that is done. Raises: FormatError where the entry was refused."""
    result = group.results[0]
    if len(group.results) > 1:
        result, index = group.results[index], 0
    if isinstance(result, FormatError):
        raise result
    return Receipt(result.first_seq + index, unhexlify(result.hashes[index]))


def committed_part(result: Committed | FormatError, index: int, count: int) -> Committed:
    """Return what became of `count` entries from `index` on in a commit. Raises: FormatError where it was refused."""
    if isinstance(result, FormatError):
        raise result
    return Committed(result.first_seq + index, result.hashes[index : index + count])
