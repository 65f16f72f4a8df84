"""Speed, memory and accuracy as ratios measured in one run: `sgdynamics bench [NAME ...]`, or `make bench`.

A benchmark is a module of this package, listed in `BENCHMARKS`, with

    run(quick, rounds) -> record        measures; a dict of what JSON can hold. `quick`: tiny sizes, for tests;
                                        `rounds`: of timings (None: its own number)
    table(record) -> str                what is printed (without it: that of rates, where the record has some)
    draw(record, path)                  the picture, a PNG (without it: that of rates)

The machine and the versions are added to every record.
"""

import importlib
from types import ModuleType

BENCHMARKS = {
    "regression": "SGD on one-layer regression, against NumPy, JAX, PyTorch and C",
    "deep_linear": "online SGD of a deep linear network, against NumPy, JAX, PyTorch and C",
    "langevin": "the Langevin SDE of a deep linear network, against diffrax and torchsde",
    "oscillators": "an underdamped linear SDE, against diffrax",
    "tanh_network": "a network that no kernel knows, against PyTorch and JAX",
    "epochs": "what it costs to draw the order of an epoch",
    "scaling": "replicas, inputs, samples, batch size, devices; memory against steps",
    "weak_error": "how far differential equations and SVAG are from SGD, and what accuracy costs",
    "derivatives": "what derivatives of a whole run cost, in time and memory",
    "compilation": "seconds before the first step, and how many programs",
}


def load(name: str) -> ModuleType:
    """The module of a benchmark."""
    if name not in BENCHMARKS:
        raise ValueError(f"there is no benchmark {name!r}. There are {', '.join(BENCHMARKS)}.")
    return importlib.import_module(f"sgdynamics_benchmarks.{name}")
