"""Pictures of stored results: files beside the data, and what a page shows of them.

All of it is drawn from the data alone. Plotting is imported where it is used: without the extra `plot`, everything else
works, and a page shows the `figure.png` that lies there.
"""

import os
import pathlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from sgdynamics import _atomic
from sgdynamics.experiments import _store
from sgdynamics.experiments._store import Record

FORMATS = ("png", "svg", "pdf")

PNG, SVG = b"\x89PNG\r\n\x1a\n", b"<svg"  # what such files begin with, or hold


@dataclass(frozen=True)
class Picture:
    """A picture that a page takes in: "png" or "svg+xml", its bytes, and in words what is seen."""

    kind: str
    content: bytes
    words: str


def draw(record: Record, folder: str | os.PathLike, *, format: str = "png") -> pathlib.Path:
    """Draws a result into `folder`, in place of an earlier figure, and returns the path: `figure.png`, or with another
    `format` `figure.svg` or `figure.pdf`. **Raises** `ValueError` where there is no such format or figure."""
    if format not in FORMATS:
        raise ValueError(f"format = {format}, but it must be one of {', '.join(FORMATS)}.")
    path = (pathlib.Path(folder) / _store.FIGURE).with_suffix(f".{format}")
    with _atomic.written(path) as partial:
        write(record, partial)
    return path


def write(record: Record, path: pathlib.Path) -> None:
    """Draws a result to a path, in the format of its ending."""
    from sgdynamics import plotting

    plotting.write(plotting.draw(record.figure, record.data), path)


def redraw(folder: str | os.PathLike, *, format: str = "png") -> pathlib.Path:
    """Draws a stored result anew, from `folder` alone, and returns the path of its figure."""
    return draw(_store.load(folder), folder, format=format)


def picture(record: Record, folder: pathlib.Path, *, drawn: bool = True) -> Picture | str:
    """The picture for a page: that of `figure.png` and of `figure.svg` in `folder` which is smaller, drawn anew where
    neither is there; or why there is none.

    Unless `drawn`, nothing is drawn, and matplotlib is not needed: the words then say less. A drawing function that
    fails, as for a result of another version, or a file that is no picture, is no reason to show no page.
    """
    words, why, figure = "", "", None
    if drawn:
        try:
            from sgdynamics import plotting

            figure = plotting.draw(record.figure, record.data)
            words = plotting.described(figure)
        except ImportError:
            pass  # without matplotlib as if nothing was to be drawn
        except Exception as error:  # whatever a drawing function makes of data that it does not know
            why = f"{type(error).__name__}: {error}"
    stored = [Picture(kind, content, words) for kind, content in _stored(folder)]
    if stored:
        return min(stored, key=lambda picture: len(picture.content))
    if figure is None and not why:
        return f"No picture was drawn: sgdynamics plot {shlex.quote(str(folder))}"
    if figure is None:
        return f"There is no picture in the folder, and none was drawn here: {why}"
    try:
        return Picture("png", plotting.compact(figure), words)
    except Exception as error:  # what shows only when a figure is laid out
        return f"There is no picture in the folder, and none could be drawn here: {type(error).__name__}: {error}"


def _stored(folder: pathlib.Path) -> Iterator[tuple[str, bytes]]:
    """The pictures that lie in `folder`, by kind, as small as they can be made."""
    png, svg = _read(folder / _store.FIGURE), _read((folder / _store.FIGURE).with_suffix(".svg"))
    if png.startswith(PNG):
        try:
            from sgdynamics import plotting

            yield "png", plotting.compact(png)
        except ImportError:
            yield "png", png
        except Exception:  # a damaged file: its reader raises whatever it likes
            pass
    if SVG in svg:
        yield "svg+xml", svg


def _read(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
