"""The account of a command that judges: tables whose last column is a verdict, printed, and kept as JSON."""

import json
import pathlib
from typing import Any

OK, FAILS = "ok", "FAILS"


def verdict(passes: bool) -> str:
    return OK if passes else FAILS


def part(title: str, about: str, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> dict[str, Any]:
    """Prints a table, and gives it as plain values; it passes where the last cell of every row does."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    line = lambda row: "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    print(f"\n{title}: {about}\n", *map(line, [header]), rule, *map(line, rows), "", sep="\n", flush=True)
    passes = all(row[-1] == OK for row in rows)
    return {"title": title, "about": about, "passes": passes, "header": header, "rows": rows}


def write(record: dict[str, Any], path: pathlib.Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
