"""Finding one line in a file of lines that carry ascending numbers, without an index and without reading the file.

Lines of one file are of similar length, so guessing where a number stands and looking there takes two or three reads of
16 KiB; where the guesses are bad, halving takes over, so the cost stays logarithmic whatever the lines look like.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tlog.errors import CorruptLedgerError
from tlog.storage.disk import Disk

WINDOW = 1 << 14
WIDE_WINDOW = 1 << 18
"""Wider than two of the longest lines, so that a whole line is always in it."""

_GUESSES = 4


class LineFile(NamedTuple):
    """An open file of lines. number_of: returns a line's number, or None where the line has none."""

    disk: Disk
    fd: int
    path: Path
    number_of: Callable[[bytes], int | None]


class Mark(NamedTuple):
    """A place in a file of lines. number: of the line that starts there. offset: in bytes."""

    number: int
    offset: int


class Line(NamedTuple):
    """A line found. number: its own, which may be larger than the one asked for where numbers have gaps."""

    number: int
    offset: int
    text: bytes


def find_line(file: LineFile, low: Mark, high: Mark, number: int) -> Line | None:
    """Return the first line whose number is at least `number`, low.number <= number < high.number; None if none is.

    low: where a line starts whose number is at most `number`. high: where the lines end, and a number beyond theirs.
    Raises: CorruptLedgerError where a line has no number or numbers are not in order.
    """
    window, step = WINDOW, 0
    nearest: Line | None = None
    while low.offset < high.offset:
        span = high.offset - low.offset
        if span <= window:
            start = low.offset
        elif step < _GUESSES:
            guess = low.offset + span * (number - low.number) // max(high.number - low.number, 1) - window // 2
            start = min(max(guess, low.offset), high.offset - window)
        else:
            start = low.offset + (span - window) // 2
        step += 1
        chunk = file.disk.read_at(file.fd, min(window, high.offset - start), start, file.path)
        cut = 0 if start == low.offset else chunk.find(b"\n") + 1
        stop = chunk.rfind(b"\n", cut) + 1
        if stop == 0 or (cut == 0 and start != low.offset):
            if window == WIDE_WINDOW or span <= window:
                raise CorruptLedgerError("no line ends here", place=f"{file.path}, byte {start}")
            window = WIDE_WINDOW
            continue
        offset, text = start + cut, chunk[cut : chunk.index(b"\n", cut)]
        first = _number(file, text, offset, high.number - 1)
        last = _number(file, chunk[chunk.rfind(b"\n", cut, stop - 1) + 1 or cut : stop - 1], offset, high.number - 1)
        if not low.number <= first <= last < high.number:
            raise CorruptLedgerError("the lines are not in order", place=f"{file.path}, byte {offset}")
        if number < first:
            nearest = Line(first, offset, text)
            high = Mark(first, offset)
            continue
        found = _within(file, chunk[cut : stop - 1], offset, (first, number)) if number <= last else None
        if found is not None:
            return found
        low = Mark(last + 1, start + stop)
    return nearest


def last_line(file: LineFile) -> Line | None:
    """Return the last line that ends with a newline; None where there is none.

    Bytes after the last newline are passed over: they are a line that is being written, or was never finished. So are
    lines with a hole of zeros: a power loss left them of a write that nobody waited for.
    Raises: CorruptLedgerError where that line has no number. Cost: one or two reads.
    """
    size = file.disk.size(file.fd)
    for window in (WINDOW, WIDE_WINDOW, 2 * WIDE_WINDOW):
        start = max(size - window, 0)
        chunk = file.disk.read_at(file.fd, window, start, file.path)
        end = chunk.rfind(b"\n")
        begin = chunk.rfind(b"\n", 0, max(end, 0)) + 1
        while b"\0" in chunk[begin : max(end, 0)]:
            end = begin - 1
            begin = chunk.rfind(b"\n", 0, max(end, 0)) + 1
        if end >= 0 and (begin > 0 or start == 0):
            text = chunk[begin:end]
            return Line(_number(file, text, start + begin), start + begin, text)
        if start == 0:
            return None
    raise CorruptLedgerError("no line ends here", place=f"{file.path}, byte {size}")


def _within(file: LineFile, chunk: bytes, offset: int, numbers: tuple[int, int]) -> Line | None:
    """Return the first line with at least the second of the numbers; the first is that of the first line in `chunk`."""
    number, skip = numbers[1], numbers[1] - numbers[0]
    lines = chunk.split(b"\n", skip + 1)
    if skip < len(lines) and _number(file, lines[skip], offset) == number:  # no gaps, as in segments
        return Line(number, offset + sum(map(len, lines[:skip])) + skip, lines[skip])
    for line in chunk.split(b"\n"):
        found = _number(file, line, offset)
        if found >= number:
            return Line(found, offset, line)
        offset += len(line) + 1
    return None


def _number(file: LineFile, line: bytes, offset: int, torn: int | None = None) -> int:
    """Return a line's number. torn: what counts as the number of a line with a hole of zeros."""
    number = file.number_of(line)
    if number is None and torn is not None and b"\0" in line:
        return torn
    if number is None:
        raise CorruptLedgerError("this line has no number", place=f"{file.path}, near byte {offset}")
    return number
