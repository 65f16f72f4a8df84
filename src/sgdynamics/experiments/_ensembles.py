"""An ensemble inside an experiment: with its own stage of the progress, and with draws of its own."""

import zlib
from typing import Any

import jax

import sgdynamics as sgd
from sgdynamics._types import PRNGKey
from sgdynamics.experiments._progress import Progress


def named(key: PRNGKey, label: str) -> PRNGKey:
    """`key` folded by a name: other names, independent draws."""
    return jax.random.fold_in(key, zlib.crc32(label.encode()))


def simulate(
    dynamics: Any, statistics: Any, progress: Progress, label: str, *, key: PRNGKey, **options: Any
) -> sgd.Ensemble:
    """`sgdynamics.simulate` as a stage called `label`, its key folded by the label."""
    progress.stage(label, options["steps"] + options.get("burn_in", 0))
    return sgd.simulate(dynamics, statistics, key=named(key, label), progress=progress.advance, **options)
