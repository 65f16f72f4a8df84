"""What a result needs besides its parameters to be run again: versions, device, platform, commit."""

import datetime
import pathlib
import platform
import subprocess
from importlib.metadata import version
from typing import Any

import jax

_PACKAGES = ("sgdynamics", "jax", "jaxlib", "equinox", "diffrax", "optax", "lineax", "numpy")
_SOURCE = pathlib.Path(__file__).parent


def provenance() -> dict[str, Any]:
    """The circumstances of a run that starts now, as JSON values."""
    devices = jax.devices()
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "devices": {"backend": jax.default_backend(), "kind": devices[0].device_kind, "count": len(devices)},
        "processes": jax.process_count(),
        "x64": jax.config.read("jax_enable_x64"),
        "commit": commit(),
    }


def commit() -> str | None:
    """The commit of the source, "+changes" where files differ from it; None where it is no git checkout."""
    # An installed copy may lie inside a foreign checkout: only a tracked source has a commit.
    if _git("ls-files", "--error-unmatch", __file__) is None:
        return None
    name = _git("rev-parse", "HEAD")
    return f"{name}+changes" if _git("status", "--porcelain", "--untracked-files=no") else name


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(_SOURCE), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
