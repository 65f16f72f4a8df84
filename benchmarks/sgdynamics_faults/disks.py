"""Folders that fail: `python -m sgdynamics_faults.disks FOLDER CACHE` makes every scenario, and prints each as JSON.

    full          the disk is full in midrun; later there is room again
    read-only     the folder is read-only from the start
    turned read-only    in midrun, and empty; later it is as it was
    vanished      the folder is removed in midrun
    vanished arrays     those of the last checkpoint are removed between two runs

A full disk is a file system of one megabyte in memory, a read-only folder is mounted on itself; both need a superuser
and a mount namespace of their own (`unshare -m`, so that nothing is left behind). Elsewhere a limit on the size of
files takes the place of the full disk, and the read-only ones are skipped, and said to be.
"""

import faulthandler
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import jax

from sgdynamics.ensemble import Checkpoint, Ensemble, _run
from sgdynamics_faults.cases import BURN_IN, CASES
from sgdynamics_faults.processes import LONGEST, confirmed, difference, environment, events
from sgdynamics_faults.worker import Stopped, write

NAME, STEPS = "regression", 2_800
TOTAL = BURN_IN + STEPS
SIZE = "1m"


def outcomes(folder: pathlib.Path, cache: pathlib.Path) -> list[dict[str, Any]]:
    """Every scenario, in a process with a mount namespace of its own where there can be one."""
    command = [sys.executable, "-m", "sgdynamics_faults.disks", str(folder)]
    if os.geteuid() == 0 and shutil.which("unshare") and subprocess.run(["unshare", "-m", "true"]).returncode == 0:
        command = ["unshare", "-m", *command, "mounts"]
    made = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, env=environment(cache))
    if made.returncode != 0:
        raise RuntimeError(f"the scenarios ended with {made.returncode}: {made.stderr[-3000:]}")
    return [json.loads(line) for line in made.stdout.splitlines() if line.startswith("{")]


def main(base: str, mounts: bool) -> None:
    faulthandler.dump_traceback_later(LONGEST, exit=True)
    jax.config.update("jax_enable_x64", True)
    _run.CHUNK_SECONDS = 0.02
    folder = pathlib.Path(base)
    folder.mkdir(parents=True, exist_ok=True)
    write(str(folder / "reference.npz"), simulated(None))
    scenarios: list[Callable[[pathlib.Path], str]] = [full if mounts else limited, vanished, vanished_arrays]
    scenarios += [read_only, turned_read_only] if mounts else []
    for scenario in scenarios:
        try:
            found, passes = scenario(folder / scenario.__name__), True
        except Exception as error:
            traceback.print_exc()
            found, passes = f"{type(error).__name__}: {error}", False
        print(json.dumps({"scenario": scenario.__name__.replace("_", " "), "found": found, "passes": passes}))
    for scenario in () if mounts else (read_only, turned_read_only):
        name = scenario.__name__.replace("_", " ")
        print(json.dumps({"scenario": name, "found": "skipped: needs a superuser and unshare", "passes": True}))


def simulated(folder: pathlib.Path | None, at: int = TOTAL + 1, then: Callable[[], None] = lambda: None) -> Ensemble:
    """The run, with `then` done once, after `at` steps."""
    done, over = 0, False

    def progress(more: int) -> None:
        nonlocal done, over
        done += more
        if done >= at and not over:
            over = True
            then()

    return CASES[NAME].simulate(STEPS, checkpoint=folder and Checkpoint(folder, seconds=0), progress=progress)


def unharmed(folder: pathlib.Path, fault: Callable[[], None]) -> tuple[list[str], int]:
    """A run with a fault in the middle goes on to the right result; what it warned of, and the step of the last
    checkpoint before."""
    before = 0

    def after_a_checkpoint() -> None:
        nonlocal before
        before = confirmed(folder)[1]
        fault()

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        right(folder, simulated(folder, TOTAL // 2, after_a_checkpoint))
    expect(before > 0, "there was no checkpoint before the fault")
    return [str(warning.message) for warning in told], before


def right(folder: pathlib.Path, result: Ensemble) -> None:
    found = folder.parent / "found.npz"
    write(str(found), result)
    apart = difference(folder.parent / "reference.npz", found)
    expect(apart.equal, f"the result is another: {apart}")


def resumes(folder: pathlib.Path, at_least: int) -> int:
    """The same run again goes on from the last checkpoint that counts; its step."""
    number, step = confirmed(folder)
    expect(number >= 1 and step >= at_least, f"the last checkpoint is {number}, of step {step}")
    right(folder, simulated(folder))
    begun = events(folder, "resumed", "started")[-1]
    expect(begun.get("step") == step, f"it began at {begun}, not at step {step}")
    return step


def full(folder: pathlib.Path) -> str:
    folder.mkdir()
    mounted("-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder)
    filler = folder / "filler"
    told, before = unharmed(folder, lambda: fill(filler))
    expect(any("could not be written" in text for text in told), f"no warning of it: {told}")
    filler.unlink()
    return f"{len(told)} warnings, right result; later resumed at step {resumes(folder, before)}"


def limited(folder: pathlib.Path) -> str:
    """In place of a full disk: no file may grow."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    told, before = unharmed(folder, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (16, unlimited[1])))
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    expect(any("could not be written" in text for text in told), f"no warning of it: {told}")
    return f"{len(told)} warnings, right result; later resumed at step {resumes(folder, before)}"


def vanished(folder: pathlib.Path) -> str:
    told, _ = unharmed(folder, lambda: shutil.rmtree(folder, ignore_errors=True))
    expect(confirmed(folder)[1] == TOTAL, "no checkpoint of the end")
    return (
        f"{len(told)} warnings, right result; checkpoints were made again, of the end at step {resumes(folder, TOTAL)}"
    )


def vanished_arrays(folder: pathlib.Path) -> str:
    stopped(folder)
    (number, step) = confirmed(folder)
    shutil.rmtree(folder / f"{number:06d}")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        right(folder, simulated(folder))
    expect(any(f"{number:06d}.json is broken" in str(warning.message) for warning in told), "no warning of it")
    begun = events(folder, "resumed")[-1]
    expect(begun["checkpoint"] < number and 0 < begun["step"] < step, f"it began at {begun}")
    return f"told, resumed from the one before, at step {begun['step']} of {step}, right result"


def read_only(folder: pathlib.Path) -> str:
    stopped(folder)
    turn(folder, "ro")
    try:
        simulated(folder)
    except ValueError as error:
        said = str(error)
    else:
        raise AssertionError("it was not refused")
    expect(str(folder) in said and "cannot be written to" in said, said)
    turn(folder, "rw")
    return f"refused by name before anything runs; later resumed at step {resumes(folder, 1)}"


def turned_read_only(folder: pathlib.Path) -> str:
    folder.mkdir()
    # an empty read-only file system in its place: what is open for writing, such as the lock, cannot be turned
    told, before = unharmed(folder, lambda: mounted("-t", "tmpfs", "-o", "ro", "tmpfs", folder))
    subprocess.run(["umount", str(folder)], check=True)
    expect(any("could not be written" in text for text in told), f"no warning of it: {told}")
    return f"{len(told)} warnings, right result; later resumed at step {resumes(folder, before)}"


def stopped(folder: pathlib.Path) -> None:
    """A run that has been left in the middle."""

    def stop() -> None:
        raise Stopped

    try:
        simulated(folder, TOTAL // 2, stop)
    except Stopped:
        return


def fill(path: pathlib.Path) -> None:
    """A file that takes all the room there is."""
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 512)
        except OSError:
            return


def turn(folder: pathlib.Path, way: str) -> None:
    if not os.path.ismount(folder):
        mounted("--bind", folder, folder)
    mounted("-o", f"remount,bind,{way}", folder)


def mounted(*arguments: Any) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


if __name__ == "__main__":
    main(sys.argv[1], "mounts" in sys.argv[2:])
