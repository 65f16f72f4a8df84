"""Data: finite sets of examples, sets whose labels are drawn afresh, and endless streams from a teacher.

A minibatch is itself a `Dataset`, so that a loss or a gradient over a batch, a training set, a test set or
a population is one and the same call.

    Dataset        (x_μ, y_μ), μ = 1 … P
    FreshLabels    (x_μ, y_μ + σ ξ), the label noise ξ ~ N(0, I) drawn anew every time an example is used
    Teacher        y = M x + σ ξ, x ~ N(0, I), no end of examples (Corlouer et al., Sec. 2)
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Real, Shaped
from jaxtyping import ArrayLike as ArrayLike

from sgdynamics import _checks
from sgdynamics._linalg import orthonormal
from sgdynamics._types import PRNGKey, RealScalar, Scalar


class AbstractFiniteData(eqx.Module):
    """A finite number of examples, addressed by index."""

    x: eqx.AbstractVar[Shaped[Array, "samples ..."]]
    y: eqx.AbstractVar[Shaped[Array, "samples ..."]]

    @property
    def samples(self) -> int:
        return self.x.shape[0]

    @abstractmethod
    def take(self, indices: Int[Array, " batch"], key: PRNGKey) -> "Dataset":
        """The examples at `indices`, as a minibatch uses them; `key` serves data that draw something."""


class Dataset(AbstractFiniteData):
    """P examples: inputs x [samples, inputs] (or [samples, ...]) and targets y [samples] or [samples, outputs].

    Raises `ValueError` for non-finite entries and for unequal numbers of samples.
    """

    x: Shaped[Array, "samples ..."]
    y: Shaped[Array, "samples ..."]

    def __init__(self, x: Shaped[ArrayLike, "..."], y: Shaped[ArrayLike, "..."]):
        self.x, self.y = jnp.asarray(x), jnp.asarray(y)
        if self.x.ndim < 2:
            raise ValueError(f"x has shape {self.x.shape}, but it must be [samples, inputs]. Use x[:, None].")
        if self.y.ndim < 1 or self.y.shape[0] != self.x.shape[0]:
            raise ValueError(
                f"y has shape {self.y.shape}, but x has {self.x.shape[0]} samples: "
                "it must be [samples] or [samples, outputs]."
            )
        if self.x.shape[0] == 0:
            raise ValueError("x has 0 samples, but a data set must have at least 1.")
        for name, values in (("x", self.x), ("y", self.y)):
            if _checks.is_concrete(values):
                remedy = "Drop or impute the incomplete samples."
                _checks.require(name, values, jnp.isfinite(values), allowed="finite", remedy=remedy)

    def take(self, indices: Int[Array, " batch"], key: PRNGKey) -> "Dataset":
        return Dataset(self.x[indices], self.y[indices])

    def split(self, key: PRNGKey, samples: int) -> tuple["Dataset", "Dataset"]:
        """A random part of `samples` examples, and the rest (a training and a test set)."""
        samples = _checks.count("samples", samples)
        if samples >= self.samples:
            raise ValueError(f"samples = {samples}, but it must be less than the {self.samples} there are.")
        order = jax.random.permutation(key, self.samples)
        first, rest = order[:samples], order[samples:]
        return Dataset(self.x[first], self.y[first]), Dataset(self.x[rest], self.y[rest])


class FreshLabels(AbstractFiniteData):
    """A data set whose labels get new noise, of standard deviation `label_noise_std`, every time they are used."""

    x: Shaped[Array, "samples ..."]
    y: Shaped[Array, "samples ..."]
    label_noise_std: Scalar

    def __init__(self, dataset: Dataset, label_noise_std: RealScalar):
        if not jnp.issubdtype(dataset.y.dtype, jnp.floating):
            raise ValueError(f"y has dtype {dataset.y.dtype}, but labels with noise must be floats. Convert y.")
        self.x, self.y = dataset.x, dataset.y
        self.label_noise_std = jnp.asarray(_checks.not_negative("label_noise_std", label_noise_std), self.y.dtype)

    def take(self, indices: Int[Array, " batch"], key: PRNGKey) -> Dataset:
        y = self.y[indices]
        return Dataset(self.x[indices], y + self.label_noise_std * jax.random.normal(key, y.shape, y.dtype))

    def clean(self) -> Dataset:
        """The examples without label noise."""
        return Dataset(self.x, self.y)


class Teacher(eqx.Module):
    """The endless stream y = M x + σ ξ with x ~ N(0, I) and ξ ~ N(0, I).

    Arguments: `matrix` M [outputs, inputs]; `label_noise_std` σ, a standard deviation. A teacher of given singular
    values: `Teacher.of_singular_values`.
    """

    matrix: Real[Array, "outputs inputs"]
    label_noise_std: Scalar

    def __init__(self, matrix: Real[ArrayLike, "outputs inputs"], label_noise_std: RealScalar):
        self.matrix = _checks.finite("matrix", jnp.asarray(matrix, jnp.result_type(float)))
        if self.matrix.ndim != 2:
            raise ValueError(f"matrix has shape {self.matrix.shape}, but it must be [outputs, inputs].")
        noise = _checks.not_negative("label_noise_std", label_noise_std)
        self.label_noise_std = jnp.asarray(noise, self.matrix.dtype)

    @staticmethod
    def of_singular_values(
        singular_values: Sequence[float] | Real[ArrayLike, "..."] = (1.0, 0.7, 0.4),
        *,
        key: PRNGKey,
        inputs: int = 12,
        outputs: int = 12,
        label_noise_std: RealScalar = 0.0,
    ) -> "Teacher":
        """M = U diag(s) Vᵀ with singular vectors drawn uniformly; unless told, the one of Corlouer et al., App. H.1.

        Raises `ValueError` for negative singular values, or more of them than inputs or outputs.
        """
        s = _checks.not_negative("singular_values", jnp.asarray(singular_values, jnp.result_type(float)))
        inputs, outputs = _checks.count("inputs", inputs), _checks.count("outputs", outputs)
        if s.ndim != 1 or s.shape[0] > min(inputs, outputs):
            raise ValueError(
                f"singular_values has shape {s.shape}, but it must be [modes], with at most min(inputs, outputs) = "
                f"{min(inputs, outputs)} of them."
            )
        left, right = jax.random.split(key)
        U, V = orthonormal(left, outputs, s.shape[0]), orthonormal(right, inputs, s.shape[0])
        return Teacher((U * s[None, :]) @ V.T, label_noise_std)

    def population_loss(self, matrix: Real[Array, "outputs inputs"]) -> Scalar:
        """E ½ |y − W x|² = ½ |M − W|² + ½ σ² outputs of a student f(x) = W x with W = `matrix`."""
        difference = -self.population_gradient(matrix)
        label_noise = self.label_noise_std.astype(matrix.dtype) ** 2 * difference.shape[0]
        return (jnp.sum(difference**2) + label_noise) / 2

    def population_gradient(self, matrix: Real[Array, "outputs inputs"]) -> Real[Array, "outputs inputs"]:
        """∂/∂W = −(M − W); of a layer: −W_>lᵀ (M − W) W_<lᵀ (Corlouer et al., Prop. 3.1)."""
        if matrix.shape != self.matrix.shape:
            raise ValueError(f"matrix has shape {matrix.shape}, but the teacher's is {self.matrix.shape}.")
        return matrix - self.matrix.astype(matrix.dtype)

    def sample(self, key: PRNGKey, size: int) -> Dataset:
        """`size` independent examples."""
        x, ξ = self.draws(key, size)
        return Dataset(x, x @ self.matrix.T + self.label_noise_std * ξ)

    def draws(self, key: PRNGKey, size: int) -> tuple[Real[Array, "samples inputs"], Real[Array, "samples outputs"]]:
        """x and ξ of `size` independent examples."""
        outputs, inputs = self.matrix.shape
        input_key, label_key = jax.random.split(key)
        x = jax.random.normal(input_key, (size, inputs), self.matrix.dtype)
        return x, jax.random.normal(label_key, (size, outputs), self.matrix.dtype)


Data: TypeAlias = AbstractFiniteData | Teacher


def teacher_student(
    key: PRNGKey,
    *,
    samples: int,
    inputs: int,
    outputs: int = 1,
    label_noise_std: RealScalar,
    teacher: Real[ArrayLike, "..."] | None = None,
    input_covariance: Real[ArrayLike, "inputs inputs"] | None = None,
) -> Dataset:
    """Gaussian inputs and the noisy labels of a linear teacher: y = u·x + ε, ε ~ N(0, σ²).

    Gross, Raulf and Räth, Eq. (2.1).

    Arguments
    - key: decides inputs, teacher and label noise, each by a key of its own.
    - samples, inputs, outputs: P, N and the number of outputs.
    - label_noise_std: the standard deviation σ of the label noise.
    - teacher: u, of shape [inputs] or [outputs, inputs]; standard normal entries if None.
    - input_covariance: of x; I/inputs if None.

    Returns x [samples, inputs] and y [samples] (one output) or [samples, outputs].
    """
    samples, inputs = _checks.count("samples", samples), _checks.count("inputs", inputs)
    outputs = _checks.count("outputs", outputs)
    _checks.not_negative("label_noise_std", label_noise_std)
    input_key, teacher_key, label_key = jax.random.split(key, 3)
    x = jax.random.normal(input_key, (samples, inputs))
    x = x / np.sqrt(inputs) if input_covariance is None else x @ _root(input_covariance, inputs)
    u = _teacher_matrix(teacher_key, teacher, outputs, inputs, x.dtype)
    noise = jnp.asarray(label_noise_std, x.dtype) * jax.random.normal(label_key, (samples, outputs))
    y = x @ u.T + noise
    return Dataset(x, y[:, 0] if outputs == 1 else y)


def _teacher_matrix(key, teacher, outputs, inputs, dtype) -> Real[Array, "outputs inputs"]:
    if teacher is None:
        return jax.random.normal(key, (outputs, inputs), dtype)
    u = jnp.asarray(teacher, dtype)
    if u.shape != (outputs, inputs) and not (outputs == 1 and u.shape == (inputs,)):
        raise ValueError(f"teacher has shape {u.shape}, but it must be [outputs, inputs] = {(outputs, inputs)}.")
    return _checks.finite("teacher", u.reshape(outputs, inputs))


def _root(covariance, inputs) -> Real[Array, "inputs inputs"]:
    covariance = _checks.finite("input_covariance", jnp.asarray(covariance, jnp.result_type(float)))
    if covariance.shape != (inputs, inputs):
        raise ValueError(
            f"input_covariance has shape {covariance.shape}, but it must be [inputs, inputs] = {(inputs, inputs)}."
        )
    values, vectors = jnp.linalg.eigh(covariance)
    small = -1e-10 * jnp.abs(values).max()
    _checks.require("input_covariance", covariance, values >= small, allowed="positive semidefinite")
    return (vectors * jnp.sqrt(jnp.maximum(values, 0))[None, :]) @ vectors.T
