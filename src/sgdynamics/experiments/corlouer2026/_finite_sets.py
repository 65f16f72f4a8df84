"""Gradient descent on many finite data sets of one teacher, and what a set of N examples changes: App. G.2.

Gradient descent of a linear network sees a data set through its second moments alone,

    L = ½ tr W X̂ Wᵀ − tr Ŷ Wᵀ + const,      X̂ = 1/N Σ x xᵀ,   Ŷ = 1/N Σ y xᵀ = M X̂ + σ/N Σ ξ xᵀ,

with fluctuations of order 1/√N. From balanced, aligned weights a mode's times are those of the population, divided
by q_α = v_αᵀ X̂ v_α, to first order. The diffusion by the data's own noise,

    D_α = η c(N, b) Var_i(a_α·g_i),     a_α·g_i = −(y_i − W x_i)ᵀ B_α x_i,     B_α = Σ_l (W_>l W_>lᵀ u)(W_<lᵀ W_<l v)ᵀ,

is that of the population within √((κ + 2)/N), κ the excess kurtosis of the quadratic form a_α·g_i, which is 12 where
M − W and B_α are aligned. With label noise a network of r modes ends at the least-squares map of rank r.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgdynamics.data import Dataset, Teacher
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._realisations import each
from sgdynamics.experiments._students import Student, Weights, crossing_times
from sgdynamics.networks import DeepLinear
from sgdynamics.theory import deep_linear


class Moments(NamedTuple):
    """X̂ and Ŷ."""

    inputs: Float[Array, "inputs inputs"]
    labels: Float[Array, "outputs inputs"]

    @staticmethod
    def of(data: Dataset) -> "Moments":
        return Moments(data.x.T @ data.x / data.samples, data.y.T @ data.x / data.samples)


def matrix(weights: Weights) -> Array:
    """W = W_L … W_1."""
    return DeepLinear.of(weights).matrix()


def descent(moments: Moments, start: Weights, rate: float, records: int, every: int) -> Weights:
    """Gradient descent, kept every few steps; layers [records + 1, ...]."""

    def loss(weights):
        W = matrix(weights)
        return jnp.sum((W @ moments.inputs / 2 - moments.labels) * W)

    step = lambda _, weights: jax.tree.map(lambda W, g: W - rate * g, weights, jax.grad(loss)(weights))
    advance = lambda weights, _: (jax.lax.fori_loop(0, every, step, weights), weights)
    last, path = jax.lax.scan(advance, start, length=records)
    return jax.tree.map(lambda W, end: jnp.concatenate([W, end[None]]), path, last)


@once
def path_amplitudes(
    moments: Moments, start: Weights, teacher: Teacher, rate: float, records: int, every: int
) -> Float[Array, "records modes"]:
    """Of all modes along `descent`; compiled once for all moments and starts."""
    path = descent(moments, start, rate, records, every)
    return jax.vmap(lambda weights: deep_linear.mode_amplitudes(weights, teacher.matrix))(path)


def tangents(weights: Weights, teacher: Teacher, modes: int) -> Float[Array, "modes outputs inputs"]:
    """B_α = ∂W/∂θ · a_α: how W changes along each a_α."""

    def one(α):
        a = jax.grad(lambda weights: deep_linear.mode_amplitudes(weights, teacher.matrix)[α])(weights)
        return jax.jvp(matrix, (weights,), (a,))[1]

    return jnp.stack([one(α) for α in range(modes)])


def example_variance(
    W: Float[Array, "outputs inputs"], B: Float[Array, "modes outputs inputs"], data: Dataset
) -> Float[Array, " modes"]:
    """Var_i(a_α·g_i) over the examples, with the `tangents` B: N × modes numbers, no covariance of gradients."""
    return jnp.var(jnp.einsum("no,aoi,ni->na", data.y - data.x @ W.T, B, data.x), axis=0)


def excess_kurtosis(weights: Weights, teacher: Teacher, modes: int) -> Float[Array, " modes"]:
    """κ of a_α·g without label noise, 12 tr S⁴/(tr S²)² with S the symmetric part of (M − W)ᵀ B_α."""
    S = jnp.einsum("oi,aoj->aij", teacher.matrix - matrix(weights), tangents(weights, teacher, modes))
    squares = (S + S.mT) @ (S + S.mT)
    return 12 * jnp.sum(squares**2, axis=(1, 2)) / jnp.trace(squares, axis1=1, axis2=2) ** 2


def least_squares(moments: Moments, rank: int) -> Float[Array, "outputs inputs"]:
    """The map of at most that rank with the least loss on the data: U Uᵀ W_ls, with U the first left singular
    vectors of W_ls X̂^{1/2}."""
    full = jnp.linalg.solve(moments.inputs, moments.labels.T).T
    U = jnp.linalg.svd(full @ jnp.linalg.cholesky(moments.inputs))[0][:, :rank]
    return U @ U.T @ full


def amplitudes_of(W: Array, teacher: Teacher, modes: int) -> Float[Array, " modes"]:
    """u_αᵀ W v_α of one matrix."""
    return deep_linear.mode_amplitudes((W,), teacher.matrix)[:modes]


@dataclass(frozen=True)
class Sets:
    """Gradient descent on `realisations` data sets of N examples, in units of the population's where it says so.

    - `speed`: q_α [realisations, modes]
    - `times`: learning times from small and from aligned weights, of each set and of the population [2, ..., modes]
    - `diffusion`: Var_i(a_α·g_i) over the population's, where the mode's diffusion peaks; small weights
    - `kurtosis`: κ there, mean [modes]
    - with label noise, at the end: `shift` of the amplitudes from the teacher's, `missed`: their distance from the
      least-squares map of that rank; `excess` population loss, and `full_excess` that of all ranks;
      `residual`: Var_i(a_α·g_i) over the population's at the teacher's weights
    """

    size: int
    speed: np.ndarray
    times: np.ndarray
    online: np.ndarray
    diffusion: np.ndarray
    kurtosis: np.ndarray
    shift: np.ndarray
    missed: np.ndarray
    excess: np.ndarray
    full_excess: np.ndarray
    residual: np.ndarray

    @property
    def deviations(self) -> np.ndarray:
        """Learning times over the population's, −1 [2, realisations, modes]."""
        return self.times / self.online[:, None] - 1


@dataclass(frozen=True)
class Descent:
    """How gradient descent is run: from which `starts` (layers, "small" and "aligned"), how long, how finely."""

    student: Student
    noisy: Teacher
    starts: dict[str, Weights]
    rate: float
    every: int
    records: int
    learned: float

    def sets(self, keys: jax.Array, size: int) -> Sets:
        """`size` examples for each key, and with label noise as many others.

        The examples are drawn twice, for their moments and for the noise of gradients, so that all sizes share the
        program in between.
        """
        moments = each(lambda key: jax.tree.map(Moments.of, self._draw(key, size), is_leaf=_is_data), keys, batch=8)
        raw = self._follow(*moments)
        peak, end = raw.pop("at peak"), raw.pop("at end")

        def variances(arguments):
            key, peak, end = arguments
            clean, noisy = self._draw(key, size)
            at_peak = jax.vmap(lambda W, B: example_variance(W, B, clean))(*peak)
            return jnp.diagonal(at_peak), example_variance(end[0], end[1], noisy)

        measured = once(lambda *arguments: jax.lax.map(variances, arguments, batch_size=8))(keys, peak, end)
        for name, variance in zip(("diffusion", "residual"), measured, strict=True):
            raw[name] = variance / raw[name]
        raw = {name: np.asarray(value) for name, value in raw.items()}
        times = np.stack([self._times(np.moveaxis(raw.pop(f"{start} path"), 0, 1)) for start in self.starts])
        raw["kurtosis"] = raw["kurtosis"].mean(axis=0)
        return Sets(size=size, times=times, online=self.online, **raw)

    def _draw(self, key: jax.Array, size: int) -> tuple[Dataset, Dataset]:
        clean, noisy = jax.random.split(key)
        return self.student.teacher.sample(clean, size), self.noisy.sample(noisy, size)

    @property
    def population(self) -> Moments:
        """Of endless data: X̂ = 1, Ŷ = M."""
        M = self.student.teacher.matrix
        return Moments(jnp.eye(M.shape[1]), M)

    @cached_property
    def online(self) -> np.ndarray:
        """Learning times on the population loss from small and from aligned weights [2, modes]."""
        return np.stack([self.times_on(self.population, name) for name in self.starts])

    def times_on(self, moments: Moments, start: str = "small") -> np.ndarray:
        """Learning times on the loss of these moments [modes]."""
        return self._times(self.amplitudes_on(moments, start)[:, None])[0]

    def amplitudes_on(self, moments: Moments, start: str = "small") -> np.ndarray:
        """Along gradient descent on the loss of these moments [records, modes]."""
        path = path_amplitudes(moments, self.starts[start], self.student.teacher, self.rate, self.records, self.every)
        return np.asarray(path)[:, : self.student.modes]

    def population_path(self, start: str) -> np.ndarray:
        """Var(a_α·g) of the population along gradient descent on its loss [records, modes]."""
        one = lambda weights: population_variance(weights, self.student.teacher, self.student.modes)
        along = once(lambda moments, weights: jax.vmap(one)(self.descend(moments, weights)))
        return np.asarray(along(self.population, self.starts[start]))

    @property
    def times(self) -> np.ndarray:
        """At which gradient descent is looked at."""
        return self.rate * self.every * np.arange(self.records + 1)

    def descend(self, moments: Moments, start: Weights) -> Weights:
        return descent(moments, start, self.rate, self.records, self.every)

    def _times(self, amplitudes: np.ndarray) -> np.ndarray:
        return crossing_times(self.times, amplitudes, self.learned * self.student.singular_values)

    def amplitudes(self, path: Weights) -> Array:
        one = lambda weights: deep_linear.mode_amplitudes(weights, self.student.teacher.matrix)
        return jax.vmap(one)(path)[:, : self.student.modes]

    @cached_property
    def _follow(self) -> Callable[[Moments, Moments], dict[str, Any]]:
        """Of the moments without and with label noise [realisations, ...]."""
        return once(lambda *moments: jax.lax.map(lambda pair: self._one(*pair), moments, batch_size=8))

    def _one(self, clean: Moments, noisy: Moments) -> dict[str, Any]:
        small, aligned = self.starts.values()
        stack = lambda *trees: jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
        path = jax.vmap(self.descend)(stack(clean, clean, noisy), stack(small, aligned, aligned))
        case = [jax.tree.map(lambda W, i=i: W[i], path) for i in range(3)]
        paths = {f"{start} path": self.amplitudes(case[i]) for i, start in enumerate(self.starts)}
        v = deep_linear.singular_triplets(self.student.teacher.matrix).inputs[:, : self.student.modes]
        return (
            paths | {"speed": jnp.sum(v * (clean.inputs @ v), axis=0)} | self._peak(case[0]) | self._end(case[2], noisy)
        )

    def _peak(self, path: Weights) -> dict[str, Any]:
        """Each mode where its amplitude is nearest to that of (9); `diffusion` is the population's."""
        student, modes = self.student, self.student.modes
        peak = deep_linear.diffusion_peak(student.singular_values, depth=student.depth, label_noise_std=0.0)
        nearest = jnp.argmin(jnp.abs(self.amplitudes(path) - peak[None]), axis=0)
        at = jax.tree.map(lambda W: W[nearest], path)
        own = lambda function: jnp.diagonal(jax.vmap(lambda weights: function(weights, student.teacher, modes))(at))
        moved = jax.vmap(lambda weights: (matrix(weights), tangents(weights, student.teacher, modes)))(at)
        return {"at peak": moved, "diffusion": own(population_variance), "kurtosis": own(excess_kurtosis)}

    def _end(self, path: Weights, moments: Moments) -> dict[str, Any]:
        """`residual` is the population's, at the teacher."""
        M, modes, L = self.noisy.matrix, self.student.modes, self.student.depth
        end = jax.tree.map(lambda W: W[-1], path)
        limit, full = least_squares(moments, modes), least_squares(moments, min(M.shape))
        W, s = matrix(end), jnp.asarray(self.student.singular_values)
        w = amplitudes_of(W, self.noisy, modes)
        return {
            "at end": (W, tangents(end, self.noisy, modes)),
            "shift": w - s,
            "missed": w - amplitudes_of(limit, self.noisy, modes),
            "excess": jnp.sum((W - M) ** 2) / 2,
            "full_excess": jnp.sum((full - M) ** 2) / 2,
            "residual": self.noisy.label_noise_std**2 * L**2 * s ** (4 * (L - 1) / L),
        }


def _is_data(leaf: object) -> bool:
    return isinstance(leaf, Dataset)


def population_variance(weights: Weights, teacher: Teacher, modes: int) -> Float[Array, " modes"]:
    """Var(a_α·g) of Prop. 3.3: the diffusion with learning rate and batch size 1."""
    noise = teacher.label_noise_std
    D = deep_linear.mode_diffusion(weights, teacher.matrix, learning_rate=1.0, batch_size=1, label_noise_std=noise)
    return jnp.diagonal(D)[:modes]
