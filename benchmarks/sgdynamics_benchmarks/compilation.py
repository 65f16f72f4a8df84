"""What compiling costs: seconds and programs of a first run, and programs of runs after it with other numbers.

Counted are the compilations that JAX reports, of small operations outside the loop, too. A run with another learning
rate and another number of steps must compile nothing, and so must a sweep over learning rates.
"""

import pathlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax

import sgdynamics as sgd
from sgdynamics.samplers import Online
from sgdynamics_benchmarks import deep_linear, oscillators, picture, regression, tanh_network
from sgdynamics_benchmarks.throughput import Record

PHASES = {
    "trace": "/jax/core/compile/jaxpr_trace_duration",
    "lower": "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "compile": "/jax/core/compile/backend_compile_duration",
}
REPLICAS, STEPS, EVERY, SWEEP = 64, 100, 20, 5


def run(quick: bool = False, rounds: int | None = None) -> Record:
    """Every dynamics from cold caches; `rounds` does not apply."""
    return {"rows": {name: one(make) for name, make in dynamics(quick).items()}}


def dynamics(quick: bool) -> dict[str, Callable]:
    """Functions of the learning rate."""
    plain = regression.descent(regression.QUICK if quick else regression.Size()).problem
    deep = deep_linear.problem(*((3, 2) if quick else (12, 4)))
    network = tanh_network.problem(tanh_network.QUICK if quick else tanh_network.Size())
    noise = sgd.noise.frozen(plain, 2)
    found = {
        "SGD, regression": lambda η: sgd.SGD(plain, learning_rate=η, sampler=2),
        "SGD, deep linear network": lambda η: sgd.SGD(deep, learning_rate=η, sampler=Online(1)),
        "SGD, tanh network": lambda η: sgd.SGD(network, learning_rate=η, sampler=2),
        "Langevin, deep linear network": lambda η: sgd.Langevin(deep, learning_rate=η, sampler=Online(1)),
        "underdamped Langevin, regression": lambda η: sgd.UnderdampedLangevin(
            plain, learning_rate=η, momentum=oscillators.MOMENTUM, sampler=2, noise=noise
        ),
    }
    return dict(list(found.items())[:2]) if quick else found


def one(make: Callable) -> Record:
    """A first run from cold, one with other numbers, and a sweep."""
    make(0.001)
    jax.clear_caches()
    with counted() as first:
        started = time.perf_counter()
        simulate(make(0.001), STEPS)
        seconds = time.perf_counter() - started
    with counted() as second:
        simulate(make(0.002), 3 * STEPS)
    with counted() as sweep:
        for i in range(SWEEP):
            simulate(make(0.001 * (i + 3)), STEPS)
    return {
        "first_run_seconds": seconds,
        "seconds": {phase: sum(first[event]) for phase, event in PHASES.items()},
        "compilations": {
            "first run": len(first[PHASES["compile"]]),
            "other learning rate and steps": len(second[PHASES["compile"]]),
            f"sweep of {SWEEP} learning rates": len(sweep[PHASES["compile"]]),
        },
    }


def simulate(dynamics, steps: int) -> None:
    ensemble = sgd.simulate(
        dynamics, sgd.statistics.Mean(), replicas=REPLICAS, steps=steps, every=EVERY, key=jax.random.key(0)
    )
    jax.block_until_ready(ensemble.state)


_listening: list[dict[str, list[float]]] = []


@contextmanager
def counted() -> Iterator[dict[str, list[float]]]:
    """The durations of every phase that JAX reports inside, by the event's name."""
    durations: dict[str, list[float]] = {event: [] for event in PHASES.values()}
    _listening.append(durations)
    try:
        yield durations
    finally:
        _listening.remove(durations)


def _heard(event: str, duration: float, **_: object) -> None:
    for durations in _listening:
        if event in durations:
            durations[event].append(duration)


jax.monitoring.register_event_duration_secs_listener(_heard)


def table(record: Record) -> str:
    """Seconds and programs, a dynamics a line."""
    lines = [f"{'':34}{'first run':>10}{'trace':>8}{'lower':>8}{'compile':>9}   programs: first, other numbers, sweep"]
    for name, row in record["rows"].items():
        seconds = "".join(f"{row['seconds'][phase]:{width}.2f}" for phase, width in zip(PHASES, (8, 8, 9), strict=True))
        programs = ", ".join(str(count) for count in row["compilations"].values())
        lines.append(f"{name:34}{row['first_run_seconds']:10.2f}{seconds}   {programs}")
    return "\n".join([*lines, "(seconds; the phases of nested functions are counted in each)"])


def draw(record: Record, path: pathlib.Path) -> None:
    """Seconds of each phase, and the numbers of programs beside them."""
    rows = record["rows"]
    figure, (axes,) = picture.panels(1, width=6.8, height=1.2 + 0.36 * len(rows))
    places = list(range(len(rows)))
    left = [0.0] * len(rows)
    for phase, colour in zip(PHASES, picture.COLOURS, strict=False):
        widths = [row["seconds"][phase] for row in rows.values()]
        axes.barh(places, widths, left=left, color=colour, height=0.6, label=phase)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for place, end, row in zip(places, left, rows.values(), strict=True):
        first, *later = row["compilations"].values()
        axes.annotate(
            f"{first} programs, then {' and '.join(map(str, later))}", (end, place), (4, 0),
            textcoords="offset points", va="center",
        )  # fmt: skip
    axes.set_yticks(places, list(rows))
    axes.invert_yaxis()
    axes.set_xlim(0, 1.6 * max(left))
    axes.set_xlabel("time before the first step (s)")
    title = f"a first run, one with another learning rate and other steps, a sweep of {SWEEP} learning rates"
    figure.suptitle(title, fontsize=9)
    figure.legend(loc="outside lower center", ncols=len(PHASES))
    figure.savefig(path)
