"""The blocks of Python on a page, and a program that runs them: `python tests/docs/code_blocks.py PAGE`.

Blocks of one page share a namespace, in order. Names that a page does not define, because it shows a part of a longer
program, come from `preambles.py`. A page is run in an interpreter of its own, as its reader would: what it needs to
switch on it must say itself.
"""

import os
import pathlib
import re
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```[ ]*$", re.MULTILINE | re.DOTALL
)
HEADING = re.compile(r"^#{1,6} +(?P<heading>.+?) *$", re.MULTILINE)
PYTHON = ("python", "py", "python3", "pycon")


@dataclass(frozen=True)
class Block:
    """A fenced block: its text, the language that it names, its first line's number, and the heading above it."""

    text: str
    language: str
    line: int
    heading: str

    @property
    def is_python(self) -> bool:
        return self.language in PYTHON


Preamble = Callable[[dict[str, Any]], None]


def pages() -> list[pathlib.Path]:
    """Every page of the documentation, and the README."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name_of(page: pathlib.Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(text: str) -> Iterator[Block]:
    """All fenced blocks of a page."""
    fences = list(FENCE.finditer(text))
    inside = lambda place: any(fence.start() <= place < fence.end() for fence in fences)
    headings = [match for match in HEADING.finditer(text) if not inside(match.start())]
    for fence in fences:
        above = [match["heading"] for match in headings if match.start() < fence.start()]
        line = text.count("\n", 0, fence.start("text")) + 1
        words = (fence["language"].split() or [""])[0].strip("{.}")
        yield Block(textwrap.dedent(fence["text"]), words, line, above[-1] if above else "")


def run(
    text: str, filename: str, preambles: dict[str, Preamble], tell: Callable[[str], None] = print
) -> dict[str, Any]:
    """Runs the page's Python, and returns its names; an error names the page's own line.

    `preambles`: by the heading before whose first block each is run, "" before everything.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    waiting = dict(preambles)
    for block in (block for block in blocks(text) if block.is_python):
        for heading in ("", block.heading):
            waiting.pop(heading, lambda names: None)(names)
        started = time.perf_counter()
        # so many empty lines that a traceback has the page's numbers
        exec(compile("\n" * (block.line - 1) + block.text, filename, "exec"), names)
        tell(f"{filename}:{block.line}: {time.perf_counter() - started:.1f} s")
    if waiting:
        raise ValueError(f"{filename} has no Python under the headings {sorted(waiting)}: mend preambles.py.")
    return names


def main(page: pathlib.Path) -> None:
    import preambles

    text = page.read_text(encoding="utf-8")
    run(text, name_of(page), preambles.PREAMBLES.get(name_of(page), {}))


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main(pathlib.Path(sys.argv[1]).resolve())
