"""One layer, one data set: the problem, its modes, its laws and its dynamics, as the experiments use them.

H = V diag(h) Vᵀ,      z = Vᵀ w        modes of the Hessian, softest first
M                                      stationary covariance of w, in the forms of `theory.regression`
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

import sgdynamics as sgd
from sgdynamics._types import RealScalar
from sgdynamics.experiments._compiled import once
from sgdynamics.samplers import AbstractSampler, WithReplacement
from sgdynamics.theory import ou, regression

_teacher_student = once(sgd.data.teacher_student)
_eigh = once(lambda matrix: tuple(jnp.linalg.eigh(matrix)))
_minimum = once(regression.minimum)
_noise_covariance = once(regression.noise_covariance)
_stationary_covariance = once(regression.stationary_covariance)
_ornstein_uhlenbeck = once(regression.ornstein_uhlenbeck)
_predict = once(sgd.predict)


@dataclass(frozen=True)
class Regression:
    """Linear regression on `data` by SGD at one learning rate and batch size."""

    data: sgd.data.Dataset
    learning_rate: RealScalar
    batch_size: int

    @property
    def samples(self) -> int:
        """P."""
        return self.data.x.shape[0]

    @property
    def inputs(self) -> int:
        """N."""
        return self.data.x.shape[1]

    @cached_property
    def problem(self) -> sgd.Problem:
        return sgd.Problem(sgd.networks.Linear(self.inputs, 1), self.data)

    @cached_property
    def minimum(self) -> Float[Array, " inputs"]:
        """w* of (2.7)."""
        return _minimum(self.data.x, self.data.y)

    @cached_property
    def _spectrum(self) -> tuple[Array, Array]:
        return _eigh(regression.hessian(self.data.x))

    @property
    def curvature(self) -> Float[Array, " modes"]:
        """h, ascending."""
        return self._spectrum[0]

    @property
    def modes(self) -> Float[Array, "inputs modes"]:
        """V: eigenvectors of the Hessian in columns, softest first."""
        return self._spectrum[1]

    def along_modes(self, covariance: ArrayLike) -> Float[Array, " modes"]:
        """Variances along the modes of the Hessian."""
        return along(self.modes, covariance)

    def law(self, form: str = "exact", *, replacement: bool = True) -> Float[Array, "inputs inputs"]:
        """M in one of theory's forms."""
        return _stationary_covariance(
            self.data.x, self.data.y, learning_rate=self.learning_rate, batch_size=self.batch_size,
            form=form, replacement=replacement,
        )  # fmt: skip

    def noise_covariance(self) -> Float[Array, "inputs inputs"]:
        """C(w*) of (2.17)."""
        return _noise_covariance(self.data.x, self.data.y, self.minimum, batch_size=self.batch_size)

    @cached_property
    def process(self) -> ou.OrnsteinUhlenbeck:
        """The SDE with frozen noise, in time t."""
        return _ornstein_uhlenbeck(
            self.data.x, self.data.y, learning_rate=self.learning_rate, batch_size=self.batch_size
        )

    def descent(self, sampler: AbstractSampler | None = None) -> sgd.SGD:
        """SGD, with replacement unless told."""
        sampler = WithReplacement(self.batch_size) if sampler is None else sampler
        return sgd.SGD(self.problem, learning_rate=self.learning_rate, sampler=sampler)

    def langevin(self, substeps: int, noise: Any = None) -> sgd.Langevin:
        """The SDE, with the finite-sample noise unless told."""
        return sgd.Langevin(
            self.problem, learning_rate=self.learning_rate, sampler=self.batch_size, substeps=substeps, noise=noise
        )

    @cached_property
    def prediction(self) -> sgd.Prediction:
        """SGD's exact law."""
        return _predict(self.descent())


def along(directions: ArrayLike, covariance: ArrayLike) -> Float[Array, " directions"]:
    """Variances along directions, given as columns."""
    return jnp.einsum("ik,ij,jk->k", jnp.asarray(directions), jnp.asarray(covariance), jnp.asarray(directions))


def teacher_student(
    key: jax.Array, *, samples: int, inputs: int, label_noise_std: float, learning_rate: RealScalar, batch_size: int
) -> Regression:
    """The paper's data (2.1): x ~ N(0, I/N), y = u·x + ε."""
    data = _teacher_student(key, samples=samples, inputs=inputs, label_noise_std=label_noise_std)
    return Regression(data, learning_rate, batch_size)
