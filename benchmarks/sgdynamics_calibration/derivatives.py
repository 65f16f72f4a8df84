"""Derivatives of known laws, and fits of planted parameters: do their errors cover?

sensitivity     With E_p v = v̄(p) for every p, E ∂v/∂p = ∂v̄/∂p: so the runs start from the law that belongs to p, and
                its derivative counts. ∂v̄/∂p is `jax.jacfwd` of what `predict` says. z = (derivative − ∂v̄/∂p)/standard
                error of one fixed linear combination of all entries is Student's t, of 31 degrees of freedom forwards,
                between groups, and of 15 in reverse, between shares of two groups each.
fit             A process is measured at planted parameters p, and a model of it fitted from elsewhere, p̂. Its error
                is of the scatter of two independent ensembles that are equally large, measured and model: to leading
                order z = (p̂ − p)/standard error is Student's t of 2 · 31 degrees of freedom, for each parameter, and
                with their covariance for the logarithm of temperature/friction. Every fit must converge.

Controls: derivatives from a start that does not move with p, and parameters that are planted one error beside p.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics import statistics
from sgdynamics_calibration import cases
from sgdynamics_calibration.cases import GROUPS, REPLICAS, STEPS

MODES = ("forward", "reverse")
RUN = {"replicas": REPLICAS, "groups": GROUPS, "steps": STEPS}
START = {"friction": 0.0, "temperature": 0.0}
PLANTED = {"friction": np.log(1.4), "temperature": np.log(0.6)}
FITTED = {"covariance": statistics.Covariance(), "autocovariance": statistics.Autocovariance((2, 8))}


@dataclass(frozen=True)
class Derived:
    """z [seeds] by (case, row) and its degrees of freedom; how many of the fits converged; and z of what is wrong."""

    z: dict[tuple[str, str], np.ndarray]
    degrees_of_freedom: dict[tuple[str, str], int]
    converged: int
    fits: int
    controls: dict[str, tuple[np.ndarray, int]]
    """By what is wrong: z [seeds] and its degrees of freedom, to be rejected."""


@dataclass(frozen=True)
class Response:
    """A law that depends on parameters: p -> (dynamics, initial), and p -> its statistics, exactly."""

    number: int
    make: Callable[[Any], tuple]
    law: Callable[[Any], dict[str, jax.Array]]
    at: Any
    of: str
    statistics: dict[str, Any]

    def z(self, seeds: int, mode: str, make: Callable | None = None) -> tuple[dict[str, np.ndarray], int]:
        """Of each statistic z [seeds], and their degrees of freedom; of the runs of another `make`, if given."""
        exact = jax.jit(jax.jacfwd(self.law))(self.at)
        rng = np.random.default_rng((self.number, 1))
        weights = {name: rng.normal(size=x.shape) for name, x in exact.items()}
        of_law = {name: jnp.vdot(weights[name], x) for name, x in exact.items()}
        seed = lambda s: _derivative_z(make or self.make, self.at, self.statistics, weights, of_law, mode, key(self, s))
        z, df = zip(*map(seed, range(seeds)), strict=True)
        return {name: np.array([one[name] for one in z]) for name in exact}, int(df[0])


def key(of: Response, seed: int) -> jax.Array:
    """Of one seed, other than of any case."""
    return jax.random.fold_in(jax.random.fold_in(cases.KEY, of.number), seed)


@eqx.filter_jit
def _derivative_z(make, at, made: dict, weights: dict, of_law: dict, mode: str, key: jax.Array) -> tuple:
    found = sgd.sensitivity(make, at, made, key=key, mode=mode, **RUN).derivatives
    one = {name: cases.combined(found[name], weights[name]) for name in made}
    return {name: e.z(of_law[name]) for name, e in one.items()}, next(iter(one.values())).degrees_of_freedom


def process_of_drift(drift: jax.Array) -> tuple:
    """The process of the cases with another drift, [3, 3], from its law."""
    dynamics = sgd.LinearProcess(drift, cases.NOISE, cases.MEAN, time_step=cases.TIME_STEP)
    return dynamics, sgd.predict(dynamics)


def descent_of_rate(learning_rate: jax.Array) -> tuple:
    """Minibatch descent as of the cases at another learning rate, from its law."""
    dynamics = sgd.SGD(cases.problem(), learning_rate=learning_rate, sampler=cases.BATCH_SIZE)
    return dynamics, sgd.predict(dynamics)


def descent_from_a_fixed_start(learning_rate: jax.Array) -> tuple:
    """Wrong: the law at the start is what it is, but does not move with the learning rate."""
    return descent_of_rate(learning_rate)[0], descent_of_rate(jax.lax.stop_gradient(learning_rate))[1]


@cache
def responses() -> dict[str, Response]:
    """By name of the case."""

    def covariance(drift):
        return {"Covariance": process_of_drift(drift)[1].covariance}

    def descent(learning_rate):
        law = descent_of_rate(learning_rate)[1]
        return {"Covariance": law.covariance, "Loss": cases.mean_loss(cases.problem(), law.mean, law.covariance)}

    of_process = {"Covariance": statistics.Covariance()}
    of_descent = of_process | {"Loss": statistics.Loss(cases.problem())}
    rate = jnp.asarray(cases.LEARNING_RATE)
    return {
        "process": Response(10, process_of_drift, covariance, jnp.asarray(cases.DRIFT), "drift", of_process),
        "sgd": Response(11, descent_of_rate, descent, rate, "learning rate", of_descent),
    }


def process_of_friction(p: dict) -> tuple:
    """The process of the cases with a friction that all its drift shares and a temperature, from its law."""
    drift, noise = jnp.exp(p["friction"]) * cases.DRIFT, jnp.exp(p["temperature"]) * cases.NOISE
    dynamics = sgd.LinearProcess(drift, noise, cases.MEAN, time_step=cases.TIME_STEP)
    return dynamics, sgd.predict(dynamics)


def fitted(seed: int) -> sgd.Fit:
    """The fit of one seed, from a measurement of its own."""
    measured, model = jax.random.split(jax.random.fold_in(jax.random.fold_in(cases.KEY, 12), seed))
    dynamics, initial = process_of_friction(PLANTED)
    seen = sgd.simulate(dynamics, FITTED, initial=initial, key=measured, dtype=jnp.float64, **RUN).estimates
    return sgd.fit(process_of_friction, START, FITTED, seen, key=model, **RUN)


def fit_z(fits: list[sgd.Fit]) -> dict[str, np.ndarray]:
    """z [seeds] of each parameter, and of the difference of both, which are logarithms."""
    row = lambda p: np.array([float(p[name]) for name in ("friction", "temperature")])
    difference = np.array([row(fit.parameters) - row(PLANTED) for fit in fits])
    friction, temperature = (difference / np.array([row(fit.standard_error) for fit in fits])).T
    apart = np.array([-1.0, 1.0])
    errors = np.sqrt([apart @ np.asarray(fit.covariance) @ apart for fit in fits])
    return {"friction": friction, "temperature": temperature, "temperature/friction": difference @ apart / errors}


def beside(fits: list[sgd.Fit]) -> np.ndarray:
    """Wrong: z [seeds] of the friction, were the planted one larger by the error that it has on average."""
    errors = np.array([float(fit.standard_error["friction"]) for fit in fits])
    return fit_z(fits)["friction"] - errors.mean() / errors


def derived(seeds: int, told: Callable[[str], None] = lambda _: None) -> Derived:
    """Runs `seeds` seeds of each response, in both modes, and as many fits."""
    z: dict[tuple[str, str], np.ndarray] = {}
    df: dict[tuple[str, str], int] = {}
    for case, response in responses().items():
        for mode in MODES:
            found, degrees = response.z(seeds, mode)
            rows = {(case, f"{name} by {response.of}, {mode}"): one for name, one in found.items()}
            z, df = z | rows, df | dict.fromkeys(rows, degrees)
            told(f"{case}, derivatives, {mode}: {seeds} seeds")
    still, degrees = responses()["sgd"].z(seeds, "forward", descent_from_a_fixed_start)
    fits = [fitted(seed) for seed in range(seeds)]
    told(f"fits: {seeds} seeds")
    rows = {("process", f"fit, {name}"): one for name, one in fit_z(fits).items()}
    of_fit = 2 * (GROUPS - 1)
    controls = {
        "sgd Covariance by learning rate, start held": (still["Covariance"], degrees),
        "fit, friction planted one error beside": (beside(fits), of_fit),
    }
    converged = sum(fit.converged for fit in fits)
    return Derived(z | rows, df | dict.fromkeys(rows, of_fit), converged, seeds, controls)
