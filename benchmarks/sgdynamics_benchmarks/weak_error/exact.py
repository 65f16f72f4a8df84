"""Linear regression, where nothing has to be sampled: first and second moments obey closed linear equations.

A process with affine drift f(θ) = a + F θ and a noise rate D(θ) quadratic in θ (read off the library's own drift and
diffusion) has m = E θ, M = E θθᵀ with

    dm/dt = a + F m,      dM/dt = E[f θᵀ + θ fᵀ] + E D(θ),

so that (1, m, M) moves by a matrix exponential; a numerical step θ ← A θ + b + G √dt σ(A' θ + b') z moves it by a
matrix. Those of SGD and of SVAG are the library's theory, `theory.recursion.MinibatchMoments`: SVAG's first two
moments are SGD's at learning rate η/l with l times the noise, and so are those of Euler-Maruyama in l substeps.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float

import sgdynamics as sgd
from sgdynamics.dynamics import AbstractItoProcess
from sgdynamics.samplers import AbstractSampler
from sgdynamics.theory.recursion import MinibatchMoments


class Law(NamedTuple):
    """E θ [parameters] and E θθᵀ [parameters, parameters]."""

    mean: Float[np.ndarray, " parameters"]
    second: Float[np.ndarray, "parameters parameters"]

    @property
    def covariance(self) -> Float[np.ndarray, "parameters parameters"]:
        return self.second - np.outer(self.mean, self.mean)


class Coefficients(NamedTuple):
    """f = a + F θ, and D = D₀ + D₁ θ + ½ θᵀ D₂ θ."""

    a: Array
    F: Array
    D0: Array
    D1: Array
    D2: Array

    def noise_rate(self, one: Array, m: Array, M: Array) -> Array:
        """E D."""
        return self.D0 * one + self.D1 @ m + jnp.einsum("ijkl,kl->ij", self.D2, M) / 2


@eqx.filter_jit
def coefficients(process: AbstractItoProcess) -> Coefficients:
    """Those of a process on a linear regression, by differentiating it at θ = 0."""
    zero, t = jnp.zeros_like(process.initial_position()), jnp.zeros(())

    def rate(θ: Array) -> Array:
        root = process.diffusion(t, θ).as_matrix()
        return root @ root.T

    drift = lambda θ: process.drift(t, θ)
    derivatives = (f(zero) for f in (rate, jax.jacfwd(rate), jax.jacfwd(jax.jacfwd(rate))))
    return Coefficients(drift(zero), jax.jacfwd(drift)(zero), *derivatives)


def evolved(process: AbstractItoProcess, start: Law, times: Float[np.ndarray, " times"]) -> list[Law]:
    """The law of the process itself at each time."""
    generator = np.asarray(_generator(coefficients(process)))
    return [_law(scipy.linalg.expm(generator * t) @ _vector(start)) for t in times]


@jax.jit
def _generator(c: Coefficients) -> Array:
    def rates(one: Array, m: Array, M: Array) -> tuple[Array, Array, Array]:
        crossed = jnp.outer(c.a, m) + c.F @ M
        return 0 * one, c.a * one + c.F @ m, crossed + crossed.T + c.noise_rate(one, m, M)

    return _matrix(rates, len(c.a))


def stepped(
    process: AbstractItoProcess, scheme: str, start: Law, *, dt: float, steps: int, every: int = 1
) -> list[Law]:
    """The law after every `every`-th of `steps` steps of length dt of "euler" or of "heun" (`SmallNoiseHeun`)."""
    one_step = np.asarray(_step(coefficients(process), jnp.asarray(dt), scheme))
    block = np.linalg.matrix_power(one_step, every)
    laws, z = [], _vector(start)
    for _ in range(steps // every):
        z = block @ z
        laws.append(_law(z))
    return laws


@partial(jax.jit, static_argnames="scheme")
def _step(c: Coefficients, dt: Array, scheme: str) -> Array:
    one = jnp.eye(len(c.a))
    if scheme == "euler":
        A, b, G, A_noise, b_noise = one + dt * c.F, dt * c.a, one, one, 0 * c.a
    else:
        A, b = one + dt * c.F + dt**2 / 2 * c.F @ c.F, dt * c.a + dt**2 / 2 * c.F @ c.a
        G, A_noise, b_noise = one + dt / 2 * c.F, one + dt / 2 * c.F, dt / 2 * c.a

    def step(one: Array, m: Array, M: Array) -> tuple[Array, Array, Array]:
        D = c.noise_rate(one, *_moved(A_noise, b_noise, one, m, M))
        m, M = _moved(A, b, one, m, M)
        return one, m, M + dt * G @ D @ G.T

    return _matrix(step, len(c.a))


def recursion(
    problem: sgd.Problem, sampler: AbstractSampler, learning_rate: float, stretch: int = 1
) -> MinibatchMoments:
    """The theory of SGD, or of SVAG with l = `stretch`."""
    factor = stretch * sampler.covariance_factor(problem.data)
    x, y = problem.data.x, problem.data.y
    return MinibatchMoments(x, y, learning_rate=learning_rate / stretch, sampling_factor=factor)


def descended(theory: MinibatchMoments, start: Law, times: Float[np.ndarray, " times"]) -> list[Law]:
    """The law of a `recursion` at each time."""
    # the theory's moments are of (θ − μ, v), 2d numbers: without momentum v has no memory, and may start at 0
    μ, step = np.asarray(theory.mean), np.asarray(_descent_matrix(theory))
    d = len(μ)
    δ, phase = start.mean - μ, np.zeros((2 * d, 2 * d))
    phase[:d, :d] = start.second - np.outer(start.mean, μ) - np.outer(μ, start.mean) + np.outer(μ, μ)
    z, done, laws = np.concatenate([[1.0], δ, np.zeros(d), phase.ravel()]), 0, []
    for k in np.rint(np.asarray(times) / float(theory.learning_rate)).astype(int):
        z, done = np.linalg.matrix_power(step, k - done) @ z, k
        m, M = z[1 : d + 1], z[1 + 2 * d :].reshape(2 * d, 2 * d)[:d, :d]
        laws.append(Law(m + μ, M + np.outer(m, μ) + np.outer(μ, m) + np.outer(μ, μ)))
    return laws


def losses(problem: sgd.Problem, laws: list[Law]) -> Float[np.ndarray, " times"]:
    """E L under each law."""
    H, g, L = (np.asarray(part) for part in _quadratic(problem))
    return np.array([np.sum(H * law.second) / 2 + g @ law.mean + L for law in laws])


@eqx.filter_jit
def _quadratic(problem: sgd.Problem) -> tuple[Array, Array, Array]:
    """L = ½ θᵀ H θ + g·θ + L₀."""
    zero = jnp.zeros_like(problem.parameters)
    return problem.hessian(zero), problem.gradient(zero), problem.loss(zero)


@eqx.filter_jit
def _descent_matrix(theory: MinibatchMoments) -> Array:
    phase = 2 * theory.x.shape[1]
    still = theory.step(jnp.zeros(phase), jnp.zeros((phase, phase)))

    def step(one: Array, m: Array, M: Array) -> tuple[Array, ...]:
        return one, *(x + (one - 1) * x0 for x, x0 in zip(theory.step(m, M), still, strict=True))

    return _matrix(step, phase)


def _moved(A: Array, b: Array, one: Array, m: Array, M: Array) -> tuple[Array, Array]:
    """The moments of A θ + b."""
    Am = A @ m
    return Am + b * one, A @ M @ A.T + jnp.outer(Am, b) + jnp.outer(b, Am) + jnp.outer(b, b) * one


def _matrix(function: Callable, d: int) -> Array:
    """The matrix of a map that is linear in (1, m, M)."""

    def flat(z: Array) -> Array:
        one, m, M = function(z[0], z[1 : d + 1], z[d + 1 :].reshape(d, d))
        return jnp.concatenate([one[None], m, M.ravel()])

    # a linear map is its own derivative, at any point: column j of the Jacobian is the image of the j-th unit vector
    return jax.jacfwd(flat)(jnp.zeros(1 + d + d * d))


def _vector(law: Law) -> Float[np.ndarray, " moments"]:
    return np.concatenate([[1.0], law.mean, law.second.ravel()])


def _law(z: Float[np.ndarray, " moments"]) -> Law:
    d = round(np.sqrt(len(z) - 0.75) - 0.5)
    return Law(z[1 : d + 1], z[d + 1 :].reshape(d, d))
