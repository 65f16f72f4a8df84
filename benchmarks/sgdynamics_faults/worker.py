"""A process that makes runs: `python -m sgdynamics_faults.worker JOB`, JOB a `processes.Job` in JSON.

On its standard output it says what it is at, a line each: `phase simulating`, `phase running` (after the first chunk),
`at 0.1234` (the share of the steps that are made), `phase ending` (the last steps), `done NAME` with how the run was
made. A result's arrays go to a file.
"""

import faulthandler
import json
import os
import sys
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import numpy as np

from sgdynamics.ensemble import Checkpoint, Interrupted, _run
from sgdynamics_faults.cases import BURN_IN, CASES, FORMS
from sgdynamics_faults.processes import INTERRUPTED, LONGEST, Job

ENDING = 0.97
"""The share of its steps after which a run is said to end."""


class Stopped(Exception):
    """A run was to stop here."""


def main(text: str) -> int:
    """0 where all runs have ended, INTERRUPTED where a signal has ended one."""
    job = Job(**json.loads(text))
    faulthandler.dump_traceback_later(LONGEST - 5, exit=True)
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_num_cpu_devices", job.devices)
    if job.processes > 1:
        jax.distributed.initialize(f"127.0.0.1:{job.port}", job.processes, job.process)
    _run.CHUNK_SECONDS = job.chunk_seconds
    try:
        for name in job.names:
            made(name, job)
    except Interrupted as interrupted:
        say(f"interrupted {interrupted}")
        return INTERRUPTED
    return 0


def made(name: str, job: Job) -> None:
    """One run, as far as it is to go; its result in a file."""
    case = {**CASES, **FORMS}[name]
    steps = job.steps or case.steps
    checkpoint = job.folder and Checkpoint(os.path.join(job.folder, name.replace(" ", "-")), seconds=0)
    say("phase simulating")
    sizes = {"replicas": job.replicas, "groups": job.groups}
    try:
        result = case.simulate(steps, checkpoint=checkpoint, progress=_progress(job, steps), **sizes)
    except Stopped:
        return
    if job.process == 0 and job.results:
        write(os.path.join(job.results, name.replace(" ", "-") + ".npz"), result)
    provenance = {key: result.provenance[key] for key in ("kernel", "devices", "processes", "steps_done")}
    say(f"done {json.dumps({'name': name} | provenance)}")


def _progress(job: Job, steps: int):
    done, total = 0, BURN_IN + steps

    def progress(more: int) -> None:
        nonlocal done
        say("phase running") if done == 0 else None
        done += more
        say(f"at {done / total:.4f}")
        if done >= ENDING * total:
            say("phase ending")
        if job.stop_at is not None and done >= job.stop_at * total:
            raise Stopped
        time.sleep(job.pause)

    return progress


def write(path: str, result) -> None:
    """All that is compared: every estimate, every replica's state."""
    named, _ = jax.tree_util.tree_flatten_with_path((result.estimates, result.state, result.alive))
    arrays = {f"{i:03d} {jax.tree_util.keystr(place)}": np.asarray(x) for i, (place, x) in enumerate(named)}
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
