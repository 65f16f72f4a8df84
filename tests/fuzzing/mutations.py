"""Broken files and strange values, for the tests of everything that reads."""

import contextlib
import math
import signal
import string
from collections.abc import Iterator

from hypothesis import strategies as st

SECONDS = 10  # for one case: what takes longer hangs

KINDS = ("cut", "flip", "insert", "repeat", "drop", "overwrite", "replace")


@contextlib.contextmanager
def no_hang() -> Iterator[None]:
    """An error that no reader catches where the block takes longer than `SECONDS`."""

    def hangs(*_):
        raise Hang(f"more than {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Hang(BaseException):
    """No `Exception`, or a reader could take it for a broken file."""


@st.composite
def broken(draw, content: bytes) -> bytes:
    """`content` after one to four changes of bytes."""
    for kind in draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4)):
        content = _changed(draw, kind, content)
    return content


def _changed(draw, kind: str, content: bytes) -> bytes:
    if kind == "replace":
        return draw(st.binary(max_size=64) | st.just(b""))
    at = draw(st.integers(0, len(content)))
    more = content[at : at + draw(st.integers(1, 64))]
    return {
        "cut": lambda: content[:at],
        "flip": lambda: content[:at] + bytes([byte ^ 1 << draw(st.integers(0, 7)) for byte in more[:1]])
        + content[at + 1 :],
        "insert": lambda: content[:at] + draw(st.binary(min_size=1, max_size=16)) + content[at:],
        "repeat": lambda: content[:at] + more + content[at:],
        "drop": lambda: content[:at] + content[at + len(more) :],
        "overwrite": lambda: content[:at] + draw(st.binary(min_size=len(more), max_size=len(more)))
        + content[at + len(more) :],
    }[kind]()  # fmt: skip


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.integers(-3, 3) | st.floats() | st.sampled_from([10**30, -(10**30)])
    | st.sampled_from([math.nan, math.inf, -0.0]) | st.text(max_size=8) | st.text(string.printable, max_size=8)
)  # fmt: skip

JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
"""What `json.loads` can return, tokens for NaN and infinities included."""

TEXTS = (
    b"", b"null", b"NaN", b"[]", b"{}", b'"\\ud800"', b"\xff\xfe{}", b"9" * 5_000, b"1e999", b"{" + b" " * 1_000_000,
    b"\x00" * 1_000, b'{"a": 1, "a": 2}', b"3", b'"config"',
)  # fmt: skip
"""Texts that readers of JSON stumble over: too long, of no encoding, of no meaning."""
