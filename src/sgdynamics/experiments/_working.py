"""What a run that is on its way has on the disk: `NAME.run` beside the folder for its result.

    NAME.run/lock      held while the experiment is computed: two runs of one result would undo each other
    NAME.run/…/        one folder for each of its ensembles that takes longer than a minute, with its checkpoints, its
                       heartbeat and its log (`ensemble.checkpointing`)

It goes when the result is stored. What is left by a run that was stopped or killed is never taken up or thrown away
without being asked: `resume` goes on from it, `force` begins anew.
"""

import contextlib
import pathlib
import shutil
from collections.abc import Callable, Iterator

import filelock
import jax

from sgdynamics import ensemble

LOCK = "lock"


def folder_of(result: pathlib.Path) -> pathlib.Path:
    return result.with_name(f"{result.name}.run")


def check(result: pathlib.Path, *, resume: bool, force: bool) -> None:
    """An error where a stopped run of this result lies there, and nobody has said what is to become of it."""
    folder = folder_of(result)
    if not (resume or force) and any(folder.glob("*/*.json")):
        raise ValueError(
            f"{folder} holds what a run of this result had come to when it was stopped. Go on from there with resume "
            "(--resume), or begin anew with force (--force)."
        )


@contextlib.contextmanager
def working(result: pathlib.Path, *, resume: bool) -> Iterator[None]:
    """While the result is computed: holds the lock, and gives every ensemble a folder of its own. What is there is
    thrown away first, unless the run resumes. Of several processes the first takes the lock."""
    folder = folder_of(result)
    with contextlib.ExitStack() as stack:
        _agreed(lambda: stack.enter_context(_locked(folder)))
        _agreed(lambda: None if resume else _empty(folder))
        with ensemble.checkpointing(folder):
            yield
        _agreed(lambda: _empty(folder))


def _agreed(act: Callable[[], object]) -> None:
    """`act()` in the first process, before any other goes on; where it is refused there, it is in all."""
    error = None
    if jax.process_index() == 0:
        try:
            act()
        except (ensemble.Refused, OSError) as failure:
            error = failure
    if ensemble.any_process(error is not None):
        raise ensemble.Refused(str(error) if error else "the first process was refused")


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[None]:
    above = [parent for parent in folder.parents if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise ensemble.Refused(f"{folder} is in use: this result is being computed by another process.") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # somebody may have removed it
            if not any(path.name != LOCK for path in folder.iterdir()):
                shutil.rmtree(folder, ignore_errors=True)
        lock.release()
        with contextlib.suppress(OSError):  # a run that fails leaves no empty folders
            for parent in above:
                parent.rmdir()


def _empty(folder: pathlib.Path) -> None:
    for path in folder.glob("*/"):
        shutil.rmtree(path, ignore_errors=True)
