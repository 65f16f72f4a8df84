"""Parameters on disk as .npz, beside a description of what they are and a digest of both. Nothing is unpickled."""

import hashlib
import json
import os
import pathlib
import tempfile
import warnings

import numpy as np

Kept = tuple[np.ndarray, float, dict]
"""Parameters, the seconds that finding them took, and the circumstances (`provenance`)."""


def cache(folder: str | os.PathLike | None = None) -> pathlib.Path:
    """Where networks are kept."""
    if folder is not None:
        return pathlib.Path(folder)
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "sgdynamics" / "networks"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def store(path: pathlib.Path, description: str, values: np.ndarray, seconds: float, circumstances: dict) -> None:
    """All at once: a file that is half written is never seen under its name."""
    content = {
        "parameters": values, "recipe": description, "seconds": seconds,
        "digest": digest(values.tobytes() + description.encode()), "provenance": json.dumps(circumstances),
    }  # fmt: skip
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            partial = pathlib.Path(folder) / path.name
            np.savez(partial, **content)
            os.replace(partial, path)
    except OSError as error:
        warnings.warn(f"{path} could not be written, so that the network is not kept: {error}", stacklevel=3)


def load(path: pathlib.Path, description: str) -> Kept | None:
    """What is kept; None where there is nothing, or nothing that can be trusted."""
    try:
        with np.load(path, allow_pickle=False) as file:
            values, seconds = file["parameters"], float(file["seconds"])
            text, digest_, circumstances = (str(file[name]) for name in ("recipe", "digest", "provenance"))
        circumstances = json.loads(circumstances)
    except Exception:  # of a broken archive NumPy raises nearly anything, and a network can always be made again
        return None
    if digest_ != digest(values.tobytes() + description.encode()) or text != description:
        return None
    return (values, seconds, circumstances) if values.dtype == np.float64 else None
