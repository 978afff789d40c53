"""The one accepted spelling of decimals and base64, for every parser of the package.

Python's own `int()` and `b64decode()` accept several spellings of one value ("+5", "1_0", "５", stray bytes, non-zero
trailing bits). Two spellings of one value are two different signed bytes, so a parser here takes one and refuses the
rest. Source: c2sp.org/signed-note, c2sp.org/tlog-checkpoint (decimals without leading zeros), RFC 4648 section 4.
"""

from __future__ import annotations

import base64
import binascii
import re

from tlog.errors import FormatError

MAX_UINT64 = 2**64 - 1
MAX_TREE_SIZE = 2**63 - 1

_DECIMAL = re.compile(r"(?:0|[1-9][0-9]{0,19})", re.ASCII)


def parse_decimal(text: str, what: str, maximum: int = MAX_UINT64) -> int:
    """Return the non-negative integer that `text` spells in canonical ASCII decimal.

    text: `0`, or digits without a leading zero, sign, space or separator. maximum: the largest value accepted.
    Raises: FormatError naming `what`.
    """
    if _DECIMAL.fullmatch(text) is None:
        raise FormatError(what, f"{text[:40]!r} is not a decimal number without sign, spaces or leading zeros")
    value = int(text)
    if value > maximum:
        raise FormatError(what, f"{value} is larger than {maximum}")
    return value


def parse_base64(text: str, what: str, length: int | None = None) -> bytes:
    """Return the bytes that `text` spells in canonical standard base64 with padding.

    length: the exact number of bytes expected, or None for any.
    Raises: FormatError naming `what`.
    """
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as err:
        raise FormatError(what, f"{text[:40]!r} is not standard base64") from err
    if format_base64(raw) != text:
        raise FormatError(what, f"{text[:40]!r} is not canonical base64")
    if length is not None and len(raw) != length:
        raise FormatError(what, f"holds {len(raw)} bytes, not {length}")
    return raw


def format_base64(raw: bytes) -> str:
    """Return standard base64 with padding, without line breaks."""
    return base64.b64encode(raw).decode("ascii")


def parse_hash(text: str, what: str) -> bytes:
    """Return the 32-byte SHA-256 hash that `text` spells in canonical base64. Raises: FormatError naming `what`."""
    return parse_base64(text, what, 32)


def require_int(value: object, what: str, minimum: int = 0, maximum: int = MAX_TREE_SIZE) -> int:
    """Return `value` if it is a plain int in [minimum, maximum].

    bool, float, str and their like are refused: an index that came from JSON must not be rounded into another one.
    Raises: FormatError naming `what`.
    """
    if type(value) is not int:
        raise FormatError(what, f"{type(value).__name__} given where a whole number is needed")
    if not minimum <= value <= maximum:
        shown = str(value) if value.bit_length() <= 128 else f"a number of {value.bit_length()} bits"
        raise FormatError(what, f"{shown} is outside {minimum} to {maximum}")
    return value
