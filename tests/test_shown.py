from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from tlog.report.shown import cut, visible

INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@given(st.text(st.characters(codec=None, exclude_categories=[])))
def test_nothing_invisible_is_left(text: str) -> None:
    """Whatever was given, the result has no control, no format character, no space but the plain one."""
    shown = visible(text)
    assert not [c for c in shown if unicodedata.category(c) in INVISIBLE]
    assert {c for c in shown if unicodedata.category(c) == "Zs"} <= {" "}
    assert visible(shown) == shown


def test_what_can_be_seen_stays() -> None:
    """Letters of any script stay as they are; the rest is spelled so that it can be told apart."""
    assert visible("Ärger, 日本, عرب, 😀 <b>\\n") == "Ärger, 日本, عرب, 😀 <b>\\n"
    assert visible("a\u202eb\tc\nd\u00a0e\u200b\U000e0041\ud800\ufe0f\u3164") == (
        "a\\u202eb\\u0009c\\nd\\u00a0e\\u200b\\U000e0041\\ud800\\ufe0f\\u3164"
    )


def test_cut_says_so() -> None:
    """A text that is cut says how long it was."""
    assert cut("abc", 3) == "abc"
    assert cut("x" * 60_000, 2) == "xx… [cut: 60,000 characters]"
