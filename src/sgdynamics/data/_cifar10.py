"""CIFAR-10 (60,000 photographs in ten classes, 32 × 32 pixels), from the binary files of its makers.

A file is a row of records of 3,073 bytes: the class (0 … 9), then 1,024 red, 1,024 green and 1,024 blue pixels, each
row by row (Krizhevsky 2009; https://www.cs.toronto.edu/~kriz/cifar.html). Pixels are prepared as `digits` prepares
them: centred and scaled to variance 1/(their number), so that the trace of the Hessian (1/P) Σ x xᵀ is 1.

Bytes are all that is read: nothing is unpickled, and an archive is read in place, never unpacked.
"""

import contextlib
import gzip
import io
import lzma
import os
import pathlib
import posixpath
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias

import jax.numpy as jnp
import numpy as np

from sgdynamics import _checks
from sgdynamics.data._dataset import Dataset

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
# of the archive whose MD5, c32a1d4ab5d03f1284b67883e8d87530, the page of its makers gives
HASH = "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
FOLDER, ARCHIVE = "cifar-10-batches-bin", "cifar-10-binary.tar.gz"
FILES = {"train": [f"data_batch_{k}.bin" for k in range(1, 6)], "test": ["test_batch.bin"]}
CLASSES, PIXELS = 10, 3 * 32 * 32
RECORD = 1 + PIXELS
ANIMALS = np.array([2, 3, 4, 5, 6, 7])  # bird, cat, deer, dog, frog, horse
CHUNK = 1_000  # images that are turned into floats at once
REMEDY = f"Get the binary version from {URL}, or use download=True."

Source: TypeAlias = Callable[[str], tuple[io.BufferedReader, int]]
"""From a file's name to its bytes and how many there are."""


def cifar10(
    path: str | os.PathLike | None = None,
    *,
    target: Literal["class", "label", "animal"] = "class",
    split: Literal["train", "test"] = "train",
    samples: int | None = None,
    pixels: Literal["varying", "all", "raw"] = "varying",
    standardised_on: int | None = None,
    download: bool = False,
) -> Dataset:
    """CIFAR-10 photographs, from the binary files.

    Arguments
    - path: a folder with the .bin files, or with `cifar-10-batches-bin` in it; the archive of them (.tar.gz); or one
      .bin file, which is then all there is.
    - target: "class": one-hot, minus the mean; y [samples, 10]. "label": the class as an integer, for
      `cross_entropy`; y [samples]. "animal": +1 for animals and −1 for vehicles, minus the mean; y [samples].
    - split, samples: the training or the test images, and how many, the first ones; all if None. Only these are read.
    - pixels: "varying": standardised, without constant ones. "all": standardised, constant ones zeros in their places;
      x [samples, 3072], as `networks.ConvNet(..., image=(3, 32, 32))` takes it. "raw": all, in [0, 1], as they are.
    - standardised_on: the means and variances are those of so many training images, the first. None: of those that are
      taken, and for the test images of all. To test what was trained on `samples=n`, ask for n.
    - download: fetch the archive (162 MB) and check its hash; then `path` is the folder to keep it in (None: the
      user's cache). What is there already is not fetched again. Needs pooch (`pip install "sgdynamics[download]"`).

    All training images are 1.2 GB in 64 bits, 0.6 GB in 32. Raises `FileNotFoundError` and `ValueError` where files
    are missing, broken or too few, naming them.
    """
    _one_of("target", target, ("class", "label", "animal"))
    _one_of("split", split, tuple(FILES))
    _one_of("pixels", pixels, ("varying", "all", "raw"))
    samples = None if samples is None else _checks.count("samples", samples)
    standardised_on = None if standardised_on is None else _checks.count("standardised_on", standardised_on)
    archive = _downloaded(path) if download else _given(path)
    with _opened(archive) as (source, files):
        if split not in files:
            raise ValueError(f"split = {split!r}, but path is one file, which has no split. Give the folder.")
        records = _records(source, files[split], "samples", samples)
        if standardised_on is None and split == "train":
            reference = records
        else:
            reference = _records(source, files["train"], "standardised_on", standardised_on)
    return Dataset(_inputs(records, reference, pixels), jnp.asarray(_targets(records[:, 0], reference[:, 0], target)))


def _one_of(argument: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{argument} = {value!r}, but it must be one of {', '.join(map(repr, allowed))}.")


# --- pixels and targets -------------------------------------------------------------------------------------


def _inputs(records: np.ndarray, reference: np.ndarray, pixels: str):
    """x, in JAX's own precision, made in chunks so that there is no second copy of it in floats."""
    mean, std = (np.zeros(PIXELS), np.full(PIXELS, 255.0)) if pixels == "raw" else _moments(reference)
    varies = std > 0
    if not varies.any():
        raise ValueError(f"all pixels are constant over {len(reference)} images: ask for more, or for pixels='raw'.")
    scale = 1 / np.where(varies, std, np.inf) / (1.0 if pixels == "raw" else np.sqrt(varies.sum()))
    kept = varies if pixels == "varying" else np.ones_like(varies)
    x = np.empty((len(records), kept.sum()), jnp.result_type(float))
    for k in range(0, len(records), CHUNK):
        x[k : k + CHUNK] = ((records[k : k + CHUNK, 1:] - mean) * scale)[:, kept]
    return jnp.asarray(x)


def _moments(records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every pixel; sums are of whole numbers, so that a constant one has exactly 0."""
    first, second = np.zeros(PIXELS, np.int64), np.zeros(PIXELS, np.int64)
    for k in range(0, len(records), CHUNK):
        images = records[k : k + CHUNK, 1:].astype(np.int64)
        first, second = first + images.sum(axis=0), second + (images**2).sum(axis=0)
    n = len(records)
    return first / n, np.sqrt(n * second - first**2) / n


def _targets(labels: np.ndarray, reference: np.ndarray, target: str) -> np.ndarray:
    if target == "label":
        return labels.astype(np.int32)
    values = np.eye(CLASSES) if target == "class" else 2.0 * np.isin(np.arange(CLASSES), ANIMALS) - 1.0
    return values[labels] - values[reference].mean(axis=0)


# --- files --------------------------------------------------------------------------------------------------


def _records(source: Source, names: list[str], argument: str, most: int | None) -> np.ndarray:
    """The first `most` records [records, 3073] of the files, in order; no more than these are read."""
    parts: list[np.ndarray] = []
    left = sys.maxsize if most is None else most
    for name in names:
        if left > 0:
            parts.append(_part(name, *source(name), left))
            left -= len(parts[-1])
    if most is not None and left > 0:
        raise ValueError(f"{argument} = {most}, but there are {most - left} images. Ask for fewer.")
    return np.concatenate(parts)


def _part(name: str, file: io.BufferedReader, size: int, most: int) -> np.ndarray:
    """The first `most` records of one file, checked."""
    if size == 0 or size % RECORD:
        raise ValueError(f"{name} has {size} bytes, but images of {RECORD} bytes each: it is broken. {REMEDY}")
    wanted = min(size // RECORD, most) * RECORD
    with file:
        content = file.read(wanted)
    if len(content) < wanted:
        raise ValueError(f"{name} ends after {len(content)} of {wanted} bytes: it is broken. {REMEDY}")
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    if (highest := records[:, 0].max()) >= CLASSES:
        raise ValueError(f"{name} has class {highest}, but classes are 0 to 9: it is no file of CIFAR-10. {REMEDY}")
    return records


def _given(path: Any) -> pathlib.Path:
    if path is None:
        raise ValueError(f"path = None, but cifar10() needs the folder of the .bin files. {REMEDY}")
    if not pathlib.Path(path).exists():
        raise FileNotFoundError(f"path = {path} does not exist. {REMEDY}")
    return pathlib.Path(path)


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[tuple[Source, dict[str, list[str]]]]:
    """The files at `path`, and which of them are for training and for the test."""
    if path.is_dir():
        yield _in_folder(path if (path / FILES["train"][0]).exists() else path / FOLDER, path), FILES
    elif path.suffix == ".bin":
        yield _in_folder(path.parent, path.parent), {"train": [path.name]}
    else:
        try:
            with tarfile.open(path) as archive:
                yield _in_archive(archive, path), FILES
        except (tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"path = {path} is neither a .bin file nor a whole archive: {reason}. {REMEDY}") from error


def _in_folder(folder: pathlib.Path, path: pathlib.Path) -> Source:
    def source(name: str) -> tuple[io.BufferedReader, int]:
        file = folder / name
        if not file.is_file():
            raise FileNotFoundError(f"path = {path} has no {name}, nor has a folder {FOLDER} in it. {REMEDY}")
        return file.open("rb"), file.stat().st_size

    return source


def _in_archive(archive: tarfile.TarFile, path: pathlib.Path) -> Source:
    members = _members(archive)

    def source(name: str) -> tuple[io.BufferedReader, int]:
        member = members.get(f"{FOLDER}/{name}", members.get(name))
        file = None if member is None else archive.extractfile(member)
        if member is None or file is None:
            raise FileNotFoundError(f"path = {path} has no {FOLDER}/{name} in it. {REMEDY}")
        return file, member.size

    return source


def _members(archive: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    """Whole files alone: no links, and nothing sparse, which may be larger than any memory."""
    try:
        whole = [member for member in archive if member.isreg() and not member.issparse()]
    except (OSError, ValueError) as error:  # a broken stream, or a size that no file has
        raise tarfile.ReadError(str(error)) from error
    return {posixpath.normpath(member.name): member for member in whole}


def _downloaded(path: Any) -> pathlib.Path:
    """The archive, fetched unless it is there; its hash is checked in either case."""
    try:
        import pooch
    except ImportError as error:
        raise ImportError('cifar10(download=True) needs pooch: pip install "sgdynamics[download]"') from error
    folder = pooch.os_cache("sgdynamics") if path is None else path
    try:
        return pathlib.Path(pooch.retrieve(URL, HASH, fname=ARCHIVE, path=folder))
    except OSError as error:
        raise OSError(f"{URL} could not be fetched: {error}. Get it by other means and give its `path`.") from error
