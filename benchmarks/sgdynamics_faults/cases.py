"""The runs: dynamics of every kind, with statistics of every kind shared out between them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics import statistics as S
from sgdynamics._types import PRNGKey, Scalar, Step, Vector
from sgdynamics.dynamics import AbstractDynamics, LinearModes, LinearProcess, State
from sgdynamics.ensemble import GenericKernel, _regression_counts, _regression_parameters, _regression_residual
from sgdynamics.ensemble import reference_kernel as reference
from sgdynamics.samplers import Epochs, Online

EVERY, BURN_IN = 7, 200  # every: no factor in common with the ten batches of an epoch


@dataclass(frozen=True)
class Case:
    """A run: what `simulate` is given, but for the number of steps where it is told. `build` gives the dynamics."""

    build: Callable[[], AbstractDynamics]
    statistics: tuple[str, ...]
    steps: int
    dtype: Any = jnp.float64
    kernel: Callable[[AbstractDynamics], Any] | None = None

    def simulate(self, steps: int | None = None, **options: Any) -> sgd.Ensemble:
        dynamics = self.build()
        statistics = {name: KINDS[name](dynamics) for name in self.statistics}
        sizes = {"replicas": 26, "groups": 8, "burn_in": BURN_IN, "every": EVERY, "steps": steps or self.steps}
        told = {"dtype": self.dtype, "kernel": self.kernel and self.kernel(dynamics), "key": jax.random.key(3)}
        return sgd.simulate(dynamics, statistics, **sizes | told | options)


class Draws(AbstractDynamics):
    """All the draws that a replica has made, and nothing else: two hashes that every bit of every draw has changed,

        h ← (31 h + draw) mod 2²⁰

    of minibatch indices and of standard normals (the bits of their float32). Integers: no rounding anywhere.
    """

    takes_velocity = False

    def initial_position(self) -> Vector:
        return jnp.zeros(2)

    def init(self, position: Vector, velocity: Vector | None = None) -> State:
        return State(position)

    def step(self, state: State, step: Step, key: PRNGKey) -> State:
        key = jax.random.fold_in(key, step)
        index = jax.random.bits(key, dtype=jnp.uint32) >> 12
        normal = jax.lax.bitcast_convert_type(jax.random.normal(key, dtype=jnp.float32), jnp.uint32) & 0xFFFFF
        draws = jnp.stack([index, normal]).astype(state.position.dtype)
        return State(jnp.mod(31.0 * state.position + draws, 2.0**20))

    def time_step(self, step: Step) -> Scalar:
        return jnp.ones(())


def _regression(inputs: int = 6, outputs: int = 1) -> sgd.Problem:
    key = jax.random.key(7)
    data = sgd.data.teacher_student(key, samples=40, inputs=inputs, outputs=outputs, label_noise_std=0.5)
    return sgd.Problem(sgd.networks.Linear(inputs, outputs), data)


def _network() -> sgd.Problem:
    key = jax.random.key(7)
    data = sgd.data.teacher_student(key, samples=40, inputs=6, label_noise_std=0.5)
    return sgd.Problem(sgd.networks.MLP((6, 4, 1), jnp.tanh, key=key), data)


def _deep_linear() -> sgd.Problem:
    return sgd.Problem(sgd.networks.DeepLinear((3, 3, 3), key=jax.random.key(7)), sgd.data.Teacher(np.eye(3), 0.3))


def _descent(problem: sgd.Problem, sampler: Any, momentum: float = 0.0) -> sgd.SGD:
    return sgd.SGD(problem, learning_rate=0.05, sampler=sampler, momentum=momentum)


def _langevin(problem: sgd.Problem) -> sgd.Langevin:
    return sgd.Langevin(problem, learning_rate=0.05, sampler=4, substeps=1)


def _underdamped(problem: sgd.Problem) -> sgd.UnderdampedLangevin:
    return sgd.UnderdampedLangevin(problem, learning_rate=0.05, momentum=0.5, sampler=4, substeps=1)


def _plane(dynamics: AbstractDynamics) -> S.PhaseSpace:
    return S.PhaseSpace(jnp.eye(dynamics.initial_position().size)[:, :1])


KINDS: dict[str, Callable[[AbstractDynamics], S.AbstractStatistic]] = {
    "mean": lambda dynamics: S.Mean(),
    "loss": lambda dynamics: S.Loss(dynamics.problem),
    "variance": lambda dynamics: S.Variance(),
    "kurtosis": lambda dynamics: S.Kurtosis(),
    "covariance": lambda dynamics: S.Covariance(),
    "halves": lambda dynamics: S.Halves(S.Covariance()),
    "histogram": lambda dynamics: S.Histogram(jnp.linspace(-2.0, 2.0, 6)),
    "autocovariance": lambda dynamics: S.Autocovariance((0, 7, 28)),
    "displacement": lambda dynamics: S.Displacement((7, 21)),
    "global displacement": lambda dynamics: S.GlobalDisplacement((7, 21, 56)),
    "snapshots": lambda dynamics: S.Snapshots((7, 70)),
    "first passage": lambda dynamics: S.FirstPassage(0.3),
    "extrema": lambda dynamics: S.Extrema(),
    "spectrum": lambda dynamics: S.PowerSpectrum(4),
    "phase space": lambda dynamics: S.Covariance(_plane(dynamics)),
    "angular velocity": lambda dynamics: S.AngularVelocity(_plane(dynamics), lag=7),
}

CASES = {
    "regression": Case(lambda: _descent(_regression(), 4, 0.5), ("covariance", "autocovariance", "spectrum"), 30_000,
                       jnp.float32),
    "epochs": Case(lambda: _descent(_regression(), Epochs(4)), ("halves", "displacement", "kurtosis"), 25_000),
    "Langevin": Case(lambda: _langevin(_network()), ("loss", "histogram", "extrema"), 6_000),
    "underdamped": Case(lambda: _underdamped(_regression()), ("phase space", "angular velocity", "first passage"),
                        7_000),
    "deep linear": Case(lambda: _descent(_deep_linear(), Online(1)), ("variance", "global displacement"), 40_000),
    "network": Case(lambda: _descent(_network(), 4), ("mean", "covariance", "snapshots"), 20_000, jnp.float32),
    "draws": Case(Draws, ("mean", "snapshots", "extrema"), 40_000),
}  # fmt: skip
"""What is killed."""

_OF_ALL = ("mean", "covariance", "autocovariance")


def _of(build: Callable[[], AbstractDynamics], kernel: Callable[[AbstractDynamics], Any] | None = None) -> Case:
    return Case(build, _OF_ALL, 140, kernel=kernel)


def _form(build: Callable) -> Callable[[AbstractDynamics], Any]:
    """A form of regression, whichever is the cheapest."""
    return lambda dynamics: build(dynamics, EVERY, jnp.float64)


A, N = np.array([[1.0, 0.3], [-0.2, 0.5]]), np.eye(2)

FORMS = {
    "draws alone, reference step": Case(Draws, ("mean", "extrema"), 140),
    "network, reference step": _of(lambda: _descent(_network(), Epochs(4)), lambda dynamics: reference),
    "regression, residuals": _of(lambda: _descent(_regression(), 4), _form(_regression_residual.build)),
    "regression, counts": _of(lambda: _descent(_regression(), 4), _form(_regression_counts.build)),
    "regression, parameters": _of(lambda: _descent(_regression(), 4), _form(_regression_parameters.build)),
    "deep linear SGD": _of(lambda: _descent(_deep_linear(), Online(1))),
    "deep linear Langevin": _of(
        lambda: sgd.Langevin(_deep_linear(), learning_rate=0.05, sampler=Online(1), substeps=1)
    ),
    "Langevin, regression": _of(lambda: _langevin(_regression())),
    "underdamped, regression": _of(lambda: _underdamped(_regression())),
    "linear process": _of(lambda: LinearProcess(A, N, time_step=0.1)),
    "linear modes": _of(lambda: LinearModes(np.tile(A, (3, 1, 1)), np.tile(N, (3, 1, 1)), time_step=0.1)),
    "network, generic": _of(lambda: _descent(_network(), 4), lambda dynamics: GenericKernel()),
    "network SGD": _of(lambda: _descent(_network(), 4)),
    "Langevin, network": _of(lambda: _langevin(_network())),
}
"""What is run on several devices: every kernel there is on CPUs."""
