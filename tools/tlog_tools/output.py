"""What every command shares: where output goes, colours, progress, and what exit code an error means.

Values that were asked for go to standard output; what is said about the work goes to standard error. With `--json`
standard output carries one JSON object a line, and an error is one JSON object on standard error.
Source: README.md, "Exit codes"; no-color.org.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TextIO

import click

from tlog.errors import (
    CommitUnknownError,
    CorruptLedgerError,
    Error,
    FormatError,
    InconsistentLogError,
    NotFoundError,
    PolicyError,
    SignatureError,
    StorageError,
    UnknownOriginError,
    UntrustedNoteError,
    VerificationError,
)

DONE = 0
FAILED = 1
DEFECT = 70

EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (PolicyError, 5),
    (VerificationError, 1),
    (FormatError, 2),
    (click.ClickException, 2),
    (NotFoundError, 3),
    (FileNotFoundError, 3),
    (StorageError, 4),
    (CommitUnknownError, 4),
    (Error, 4),
    (BrokenPipeError, 141),
    (OSError, 4),
    (click.Abort, 130),
    (KeyboardInterrupt, 130),
    (Exception, DEFECT),
)
"""The exit code of each error; the first class that fits counts. It is the one place where codes are chosen."""

NEXT_STEPS: tuple[tuple[type[BaseException], str], ...] = (
    (
        InconsistentLogError,
        "keep both signed checkpoints and the proof: with the log's key they convict it before anybody",
    ),
    (CorruptLedgerError, "'tlog fsck' lists all that is wrong; restore bad entries from a backup or an export"),
    (PolicyError, "ask for a proof under a later checkpoint, which more witnesses may have cosigned"),
    (SignatureError, "the file was altered, or another key signed it; compare the key with its owner's"),
    (UntrustedNoteError, "compare the key with the one that the log's owner gives you; never take it from the file"),
    (UnknownOriginError, "the key's name must be the log's origin; is this the key of another log?"),
    (CommitUnknownError, "'tlog status' shows what is durable; the next append recovers what is on disk"),
)
"""What to do about an error whose message names no command."""

# Control characters and those that reorder text: an entry is written by strangers, and a terminal obeys them.
_UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_ERROR_FIELDS = ("place", "seq", "expected", "found", "what", "tile", "origin", "met", "missing")

Progress = Callable[[int], None]


def printable(text: str) -> str:
    r"""Return `text` with whatever could steer a terminal written as \uXXXX, which JSON reads back as the same."""
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun. plural: the noun with an s unless given."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def wants_colour(stream: TextIO) -> bool:
    """Whether to colour what goes to `stream`: a terminal that can, and NO_COLOR is not set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """Return `text` in a colour where the stream, standard output unless given, shows colours."""
    return click.style(text, fg=colour, bold=True) if wants_colour(stream or sys.stdout) else text


def emit(data: str | bytes) -> None:
    """Write what was asked for to standard output, as it is: text that is not ours comes through `printable`."""
    stream = _buffer_of(sys.stdout, "standard output")
    stream.write(data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data)


def emit_line(text: str) -> None:
    """Write one line of text to standard output."""
    emit(text + "\n")


def emit_entry(line: bytes) -> None:
    """Write an entry's line byte for byte; on a terminal with control characters as JSON escapes."""
    if sys.stdout is not None and sys.stdout.isatty():
        line = printable(line.decode("utf-8", "backslashreplace")).encode()
    emit(line + b"\n")


def emit_json(fields: dict[str, Any]) -> None:
    """Write one JSON object on a line to standard output."""
    emit(_json(fields))


def flush() -> None:
    """Hand over what was written to standard output, so that errors show while they can be reported."""
    if sys.stdout is not None:
        sys.stdout.flush()


def drop_unread() -> None:
    """Let go of a standard output that nobody reads, so that the interpreter's last flush does not fail."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        return
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def say(message: str) -> None:
    """Say something about the work on standard error."""
    click.echo(message, err=True)


def say_json(fields: dict[str, Any]) -> None:
    """Say something about the work, for a program, as one JSON object on a line of standard error."""
    click.echo(_json(fields), nl=False, err=True)


def standard_input() -> BinaryIO:
    """Return standard input, for bytes."""
    return _buffer_of(sys.stdin, "standard input")


def write_file(path: Path, data: bytes) -> None:
    """Write a file of the user's all at once: a reader sees the old file or the whole new one.

    What is no regular file, such as a pipe, is written to as it is.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path.resolve())
    finally:
        temporary.unlink(missing_ok=True)


def read_input(name: str, limit: int, what: str) -> bytes:
    """Return the bytes of a file, or of standard input where `name` is "-".

    limit: bytes at most. what: names the input in errors. Raises: FormatError where there are more; OSError.
    """
    if name == "-":
        raw = _read_upto(standard_input(), limit + 1)
        name = "standard input"
    else:
        with Path(name).open("rb") as file:
            raw = _read_upto(file, limit + 1)
    if len(raw) > limit:
        raise FormatError(f"{what} {name}", f"it is larger than {limit:,} bytes, so it is no {what}")
    return raw


@contextlib.contextmanager
def progress(label: str, total: int | None) -> Iterator[Progress | None]:
    """Show a bar on standard error where that is a terminal. It yields what must be told the number of entries done."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    from tlog_tools.bar import show_bar

    with show_bar(label, total) as update:
        yield update


def exit_code_of(error: BaseException) -> int:
    """Return the exit code that an error means."""
    return next(code for kind, code in EXIT_CODES if isinstance(error, kind))


def report_error(error: BaseException, *, program: str, as_json: bool, partition: str | None = None) -> int:
    """Say on standard error what went wrong, where, and what to do next; return the exit code."""
    code = exit_code_of(error)
    message, step = printable(_message_of(error)), _next_step(error)
    if as_json:
        fields = {"error": type(error).__name__, "exit_code": code, "message": message}
        if partition is not None:
            fields["partition"] = partition
        fields |= {name: getattr(error, name) for name in _ERROR_FIELDS if getattr(error, name, None) is not None}
        if isinstance(error, InconsistentLogError):
            fields |= {"old_note": error.old_note.decode(), "new_note": error.new_note.decode()}
        if step is not None:
            fields["next"] = step
        say_json(fields)
    elif isinstance(error, click.ClickException):
        error.show()
    else:
        where = f"{program}: " if partition is None else f"{program}: {partition}: "
        say(where + paint("error: ", "red", sys.stderr) + message)
        for name in ("expected", "found"):
            if getattr(error, name, None) is not None:
                say(f"{program}:   {name:8} {printable(getattr(error, name))}")
        if isinstance(error, InconsistentLogError):
            say(f"the checkpoint kept:\n{printable(error.old_note.decode())}")
            say(f"the checkpoint shown now:\n{printable(error.new_note.decode())}")
        if step is not None:
            say(f"{program}: next: {step}")
    return code


class Program(click.Command):
    """A command, or a group of them, whose every error ends in its exit code and never in a traceback."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> NoReturn:  # type: ignore[override]
        """Run the command and exit. Commands return their exit code, None for 0. args: `sys.argv` unless given."""
        words = list(sys.argv[1:] if args is None else args)
        program = prog_name or self.name or "tlog"
        as_json = "--json" in words
        extra.pop("standalone_mode", None)
        try:
            code = super().main(words, program, standalone_mode=False, **extra)
            flush()
        except (SystemExit, BrokenPipeError):  # click exits by itself in one case only: nobody reads the output
            drop_unread()
            code = exit_code_of(BrokenPipeError())
        except (click.Abort, KeyboardInterrupt) as err:
            code = exit_code_of(err)
            say(f"{program}: interrupted" + (f"; {err}" if str(err) else ""))
        except (Error, OSError, click.ClickException) as err:
            code = _report_last(err, program, as_json)
        except Exception:  # noqa: BLE001 - the outermost frame: a defect must not look like a failed verification
            import traceback

            traceback.print_exc()
            code = DEFECT
        sys.exit(code or DONE)


def _report_last(error: Exception, program: str, as_json: bool) -> int:
    """Report an error after what was written so far; where nobody reads any more, only the exit code says it."""
    try:
        with contextlib.suppress(OSError):
            flush()
        code = report_error(error, program=program, as_json=as_json)
    except OSError:
        code = exit_code_of(error)
    drop_unread()
    return code


def _message_of(error: BaseException) -> str:
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{os.fsdecode(error.filename)}: {error.strerror}"
    if isinstance(error, VerificationError):  # what was expected and found comes on lines of its own
        return error.message if error.place is None else f"{error.place}: {error.message}"
    return str(error)


def _next_step(error: BaseException) -> str | None:
    if re.search(r"'tlog[ -]", str(error)):
        return None
    return next((step for kind, step in NEXT_STEPS if isinstance(error, kind)), None)


def _buffer_of(stream: TextIO | None, name: str) -> BinaryIO:
    """Return the binary side of a standard stream, which is None where the caller closed it."""
    if stream is None:
        raise OSError(errno.EBADF, "it is closed", name)
    return stream.buffer


def _read_upto(file: BinaryIO, size: int) -> bytes:
    """Read up to `size` bytes; a pipe gives them in pieces."""
    parts = []
    while size > 0 and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _json(fields: dict[str, Any]) -> bytes:
    import orjson

    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
