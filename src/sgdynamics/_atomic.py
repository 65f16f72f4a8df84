"""Files and folders that are whole under their name, or not there.

What is written is made under another name in the same folder, brought to the disk (a power cut must not leave a name
with nothing behind it), and renamed. A process that is killed on the way leaves `.partial-…` beside the old result,
which is as it was.
"""

import contextlib
import ctypes
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterator

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux


@contextlib.contextmanager
def written(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A path on which to make a file or a folder, with the ending of `path`.

    When the block ends well it takes the place of `path`, and of what was there; otherwise it vanishes. Folders on the
    way are made. Raises what the block raises, and `OSError`.
    """
    path = pathlib.Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        yield partial
        _sync(partial)
        _put(partial, path)
        _sync_one(path.parent)
    finally:
        _remove(partial)


def _put(partial: pathlib.Path, path: pathlib.Path) -> None:
    """Gives what lies at `partial` the name `path`."""
    if not path.exists() or not (partial.is_dir() or path.is_dir()):
        os.replace(partial, path)
    elif not _exchanged(partial, path):
        _swap(partial, path)


def _exchanged(a: pathlib.Path, b: pathlib.Path) -> bool:
    """Whether the two names were exchanged in one step, which not every system can."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
        return rename(_HERE, os.fsencode(a), _HERE, os.fsencode(b), _EXCHANGE) == 0
    except (AttributeError, OSError, TypeError):
        return False


def _swap(partial: pathlib.Path, path: pathlib.Path) -> None:
    """In two steps: what was there is set aside first, and put back where the second fails."""
    aside = partial.with_name(partial.name.replace(".partial-", ".replaced-", 1))
    path.rename(aside)
    try:
        partial.rename(path)
    except BaseException:
        aside.rename(path)
        raise
    _remove(aside)


def _remove(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync(path: pathlib.Path) -> None:
    """Brings a file, or a folder with all that is in it, to the disk."""
    for inside in path.rglob("*") if path.is_dir() else ():
        _sync_one(inside)
    _sync_one(path)


def _sync_one(path: pathlib.Path) -> None:
    if os.name == "nt":
        return  # files that are open for reading only cannot be synchronised there
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # some file systems have nothing to synchronise in a folder, and say so by an error
        with contextlib.suppress(OSError) if path.is_dir() else contextlib.nullcontext():
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
