"""Stochastic differential equations on a quadratic loss with additive noise: the loop in the Hessian's eigenbasis.

Of a linear model with squared error L = ½ θᵀ H θ − bᵀ θ + const. In the modes of H = V diag(h) Vᵀ, x = Vᵀ θ and
u = Vᵀ v,

    ∇L  →  h x − Vᵀ b        B z  →  K z,   K = Vᵀ B        everything else the same

so that the drift takes O(modes) operations instead of two products with the data, and the noise one product with K,
or none where K is diagonal. `Langevin` and `UnderdampedLangevin` are stepped by their own schemes, on a problem that
is such a diagonal quadratic; the draws z are the reference step's: the same replica makes the same path, to rounding.
"""

from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from sgdynamics import _checks
from sgdynamics._problem import Problem
from sgdynamics._types import Step, Vector
from sgdynamics.data import Dataset, FreshLabels, Teacher
from sgdynamics.dynamics import AbstractDynamics, Langevin, State, UnderdampedLangevin
from sgdynamics.ensemble._core import Replicas, repeat
from sgdynamics.ensemble._normals import Pipeline, drawn_in, one_stream
from sgdynamics.ensemble._stacks import in_blocks
from sgdynamics.networks import Linear
from sgdynamics.noise import AbstractNoise, Constant, Frozen, Isotropic, Sum

# an eigenbasis of so many inputs takes a second; K may have so many entries
MOST_INPUTS, MOST_ENTRIES = 1024, 2**22
# what is left of zero where vectors are orthogonal, in 64 bits
ROUNDING = 1e-13
# going to modes and back costs two products with V, as much as this many steps
LEAST_STEPS = 2
DATA = (Dataset, FreshLabels, Teacher)

Equation: TypeAlias = Langevin | UnderdampedLangevin


class Quadratic(eqx.Module):
    """What the dynamics asks of a problem: the gradient, mode by mode."""

    curvatures: Float[Array, " modes"]
    force: Float[Array, " modes"]

    def gradient(self, x: Vector) -> Vector:
        """h x − Vᵀ b."""
        return self.curvatures * x - self.force


class Kick(AbstractNoise):
    """K z, with a matrix [modes, sources] for each independent part of z, or its diagonal."""

    shapes: PyTree[jax.ShapeDtypeStruct] = eqx.field(static=True)
    matrices: tuple[Float[Array, "modes _"] | Float[Array, " modes"], ...]

    def sources(self) -> PyTree[jax.ShapeDtypeStruct]:
        return self.shapes

    def apply(self, θ: Vector, z: PyTree[Float[Array, "..."]]) -> Vector:
        return sum(
            jnp.matmul(part.reshape(-1), K.T, precision="highest") if K.ndim == 2 else K * part.reshape(-1)
            for K, part in zip(self.matrices, jax.tree.leaves(z), strict=True)
        )


class QuadraticKernel(eqx.Module):
    """The kernel for one data set and noise (`build`); `vectors` None: the inputs are the modes."""

    problem: Quadratic
    noise: Kick
    vectors: Float[Array, "inputs inputs"] | None

    def __call__(self, dynamics: Equation, replicas: Replicas, steps: Int[Array, ""] | int) -> State:
        of_modes = eqx.tree_at(lambda d: (d.problem, d.noise), dynamics, (self.problem, self.noise))
        parts, structure = jax.tree.flatten(replicas.states)
        run = lambda keys, *parts: jax.tree.leaves(
            _run(of_modes, keys, jax.tree.unflatten(structure, parts), replicas.step, steps)
        )
        moved = in_blocks(run, replicas.keys, *(_times(part, self.vectors) for part in parts))
        back = None if self.vectors is None else self.vectors.T
        return jax.tree.unflatten(structure, [_times(part, back) for part in moved])


def _times(θ: Float[Array, "replicas parameters"], V: Array | None) -> Float[Array, "replicas parameters"]:
    """Every row of weights in θ times V."""
    return θ if V is None else jnp.matmul(θ.reshape(-1, V.shape[0]), V, precision="highest").reshape(θ.shape)


def _run(dynamics: Equation, keys: Array, states: State, step: Step, steps: Int[Array, ""] | int) -> State:
    """A block of replicas, all substeps on; replicas are in the last axis."""
    dtype, first = states.position.dtype, step * dynamics.substeps
    sources, structure = jax.tree.flatten(dynamics.sources())
    pipeline = Pipeline(one_stream(keys), tuple(leaf.shape for leaf in sources), len(sources), dtype)

    def substep(carry: tuple[State, PyTree], i: Array) -> tuple[State, PyTree]:
        states, drawn = carry
        n = first + i
        number = step + i // dynamics.substeps  # not n // substeps: n may wrap
        dt = dynamics.time_step(number).astype(dtype) / dynamics.substeps
        dW = jax.tree.unflatten(structure, [jnp.sqrt(dt) * z for z in pipeline.normals(drawn)])
        move = lambda state, dW: _moved(dynamics, number, n, state, dt, dW)
        return jax.vmap(move, in_axes=-1, out_axes=-1)(states, dW), pipeline.next(drawn, n)

    return repeat(steps * dynamics.substeps, substep, (states, pipeline.start(first)))[0]


def _moved(dynamics: Equation, step: Step, n: Step, state: State, dt: Array, dW: PyTree) -> State:
    if isinstance(dynamics, UnderdampedLangevin):
        return State(*dynamics.substep(step, (state.position, state.velocity), dt, dW))
    return State(state.position + dynamics.displacement(step, n.astype(dt.dtype) * dt, state.position, dt, dW))


def build(dynamics: AbstractDynamics, every: int, dtype) -> QuadraticKernel | None:
    """The kernel, where loss and noise are of that kind and it is worth while; else None."""
    if every < LEAST_STEPS or not drawn_in(dtype) or type(dynamics) not in (Langevin, UnderdampedLangevin):
        return None
    if not _is_quadratic(dynamics.problem):
        return None
    noise, size = dynamics.noise, dynamics.problem.parameters.size
    outputs, inputs = dynamics.problem.network.weight.shape
    entries = size * sum(leaf.size for leaf in jax.tree.leaves(noise.sources()))
    arrays = jax.tree.leaves(eqx.filter((dynamics.problem, noise), eqx.is_array))
    if not _is_additive(noise) or inputs > MOST_INPUTS or entries > MOST_ENTRIES:
        return None
    if not all(_checks.is_concrete(array) for array in arrays):
        return None
    H, b = _quadratic(dynamics.problem)
    h, V = _modes(H)
    force = (b if V is None else b @ V).reshape(-1)
    problem = Quadratic(jnp.asarray(np.tile(h, outputs)), jnp.asarray(force))
    return QuadraticKernel(problem, _kick(noise, V, size), None if V is None else jnp.asarray(V))


def _is_quadratic(problem: Problem) -> bool:
    """Whether the loss is; a subclass of these classes may do anything else."""
    kinds = (type(problem), type(problem.network))
    return kinds == (Problem, Linear) and type(problem.data) in DATA and problem.is_linear_regression


def _is_additive(noise: AbstractNoise) -> bool:
    """Whether it is of a kind that does not depend on θ."""
    if type(noise) is Sum:
        return all(_is_additive(part) for part in noise.noises)
    return type(noise) in (Constant, Frozen, Isotropic)


def _quadratic(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """H [inputs, inputs] of one output, the same for all, and b [outputs, inputs]."""
    data, (outputs, inputs) = problem.data, problem.network.weight.shape
    if isinstance(data, Teacher):
        return np.eye(inputs), np.asarray(data.matrix, np.float64)
    x, y = np.asarray(data.x, np.float64), np.asarray(data.y, np.float64).reshape(data.samples, outputs)
    return x.T @ x / data.samples, y.T @ x / data.samples


def _modes(H: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Curvatures and eigenvectors; None where H is diagonal."""
    if np.array_equal(H, np.diag(np.diag(H))):
        return np.diag(H), None
    return np.linalg.eigh(H)


def _kick(noise: AbstractNoise, V: np.ndarray | None, parameters: int) -> Kick:
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, jnp.result_type(float)), noise.sources())
    θ = jnp.zeros(parameters, jnp.result_type(float))
    pull_back = jax.vjp(lambda z: noise.apply(θ, z), zero)[1]
    roots = jax.lax.map(lambda v: pull_back(v)[0], jnp.eye(parameters, dtype=θ.dtype), batch_size=128)
    roots = [np.asarray(root, np.float64).reshape(parameters, -1) for root in jax.tree.leaves(roots)]
    return Kick(noise.sources(), tuple(jnp.asarray(_diagonal(_rows_times(V, B))) for B in roots))


def _rows_times(V: np.ndarray | None, B: np.ndarray) -> np.ndarray:
    """Vᵀ B, output by output."""
    return B if V is None else np.einsum("im,ois->oms", V, B.reshape(-1, len(V), B.shape[1])).reshape(B.shape)


def _diagonal(K: np.ndarray) -> np.ndarray:
    """The diagonal of a matrix that has nothing else, but for the rounding of eigenvectors."""
    if K.shape[0] != K.shape[1]:
        return K
    rest = np.abs(K - np.diag(np.diag(K))).max()
    return np.diag(K) if rest <= ROUNDING * np.abs(K).max() else K
