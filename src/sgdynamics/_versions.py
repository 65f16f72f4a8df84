"""Which code a result comes from: versions of the packages, the source's commit and its digest."""

import functools
import hashlib
import pathlib
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import version

_PACKAGES = ("sgdynamics", "jax", "jaxlib", "equinox", "diffrax", "optax", "lineax", "numpy")
_SOURCE = pathlib.Path(__file__).parent


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that results depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}


def commit() -> str | None:
    """The commit of the source, "+changes" where files differ from it; None where it is no git checkout."""
    # An installed copy may lie inside a foreign checkout: only a tracked source has a commit.
    if _git("ls-files", "--error-unmatch", __file__) is None:
        return None
    name = _git("rev-parse", "HEAD")
    return f"{name}+changes" if _git("status", "--porcelain", "--untracked-files=no") else name


def digest(others: Iterable[pathlib.Path] = ()) -> str:
    """SHA-256 of the library's source as it lies on the disk, and of `others`, files of the user's own.

    Unlike the commit it tells changes from each other, and an installed copy that was edited from one that was not.
    """
    inside = [path for path in others if not path.is_relative_to(_SOURCE)]
    mine = "".join(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in sorted(set(inside)))
    return hashlib.sha256((_library() + mine).encode()).hexdigest()


@functools.cache
def _library() -> str:
    # of the first call: what is edited later is not what this process has imported
    files = sorted(_SOURCE.rglob("*.py"))
    return "".join(f"{path.relative_to(_SOURCE)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in files)


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(_SOURCE), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
