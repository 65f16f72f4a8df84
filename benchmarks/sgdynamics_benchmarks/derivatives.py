"""What a derivative costs: the run alone, with one derivative forwards, and with a gradient backwards, in float64.

All three are `ensemble.measure`, the pure run with the reference step, compiled. Backwards it remembers about √steps of
its states and computes the rest again, so that besides the run there is one more, and the way back. The temporary
memory of each compiled program stands in its details, at few steps and at sixteen times as many.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

import sgdynamics as sgd
from sgdynamics_benchmarks.throughput import Contender, Record, Round, measure

WAYS = ("simulate", "simulate, forwards", "simulate, backwards")
LONGER = 16
KEY = jax.random.key(0, impl="threefry2x32")


@dataclass(frozen=True)
class Case:
    """A dynamics of its learning rate, and how long it is run."""

    make: Callable[[Any], sgd.dynamics.AbstractDynamics]
    statistic: Any
    replicas: int
    steps: int


def run(quick: bool = False, rounds: int | None = None) -> Record:
    """Every case, three ways each."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        record = measure(contenders(quick), quick=quick, rounds=rounds)
    finally:
        jax.config.update("jax_enable_x64", before)
    base = {f"{way}, {name}": f"simulate, {name}" for name in cases(quick) for way in WAYS}
    return record | {"title": "a run, and with its derivative with respect to the learning rate, float64", "base": base}


def contenders(quick: bool = False) -> dict[str, Contender]:
    """Every case, three ways each."""
    return {
        f"{way}, {name}": Contender(partial(prepared, case, way), case.replicas * case.steps)
        for name, case in cases(quick).items()
        for way in WAYS
    }


def cases(quick: bool) -> dict[str, Case]:
    """Regression at few and at many steps, its covariance, a tanh network and its Langevin equation."""
    inputs, hidden, replicas, steps = (3, 2, 8, 20) if quick else (50, 20, 64, 400)
    data = sgd.data.teacher_student(KEY, samples=4 * inputs, inputs=inputs, label_noise_std=0.5)
    linear = sgd.Problem(sgd.networks.Linear(inputs, 1), data)
    network = sgd.Problem(sgd.networks.MLP((inputs, hidden, 1), jnp.tanh, key=KEY), data)
    batch = min(10, inputs)
    descent = lambda problem: lambda η: sgd.SGD(problem, learning_rate=η, sampler=batch, momentum=0.5)
    langevin = lambda η: sgd.Langevin(network, learning_rate=η, sampler=batch, substeps=2)
    loss, covariance = sgd.statistics.Loss(linear), sgd.statistics.Covariance()
    return {
        f"regression, {steps} steps": Case(descent(linear), loss, replicas, steps),
        f"regression, {LONGER * steps} steps": Case(descent(linear), loss, replicas, LONGER * steps),
        "regression, covariance": Case(descent(linear), covariance, replicas, steps),
        "tanh network": Case(descent(network), sgd.statistics.Loss(network), replicas // 2, steps),
        "Langevin equation of it": Case(langevin, sgd.statistics.Loss(network), replicas // 4, steps // 2),
    }


def prepared(case: Case, way: str) -> Round:
    """One way to go, compiled, and the memory that it takes beside its arguments."""
    η = jnp.asarray(0.05)
    value = lambda η: jnp.sum(measured(case, η))
    ways = (value, lambda η: jax.jvp(value, (η,), (jnp.ones_like(η),)), jax.value_and_grad(value))
    program = jax.jit(dict(zip(WAYS, ways, strict=True))[way]).lower(η).compile()
    return Round(lambda: program(η), {"temporary_bytes": program.memory_analysis().temp_size_in_bytes})


def measured(case: Case, η: jax.Array) -> jax.Array:
    """The estimate, of every step."""
    sizes = {"replicas": case.replicas, "steps": case.steps, "groups": min(32, case.replicas)}
    return sgd.ensemble.measure(case.make(η), case.statistic, key=KEY, **sizes).value


def table(record: Record) -> str:
    """How many times the run each way takes, and its memory."""
    lines = [f"{'':46}{'seconds':>10}{'× the run':>11}{'memory/MiB':>12}"]
    for name, contender in record["contenders"].items():
        times = record["contenders"][record["base"][name]]["rate"] / contender["rate"]
        memory = contender["details"]["temporary_bytes"] / 2**20
        lines.append(f"{name:46}{contender['work'] / contender['rate']:10.4f}{times:11.2f}{memory:12.2f}")
    return "\n".join(lines)
