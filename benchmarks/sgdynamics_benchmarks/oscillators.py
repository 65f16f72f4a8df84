"""Small steps per second of SGD with momentum as a linear SDE: 100 damped oscillators, 64 paths in float32.

    dθ = v dt,      dv = −c₀ [H (θ − m) + (1 − β) v] dt + c₀ √η √C dW,      c₀ = 2/(η (1 + β)),   C ∝ H

Euler-Maruyama's steps last η. Modes are the eigenvectors of H:

    diffrax Euler       two products with dense matrices a step; with the Brownian tree, and with increments keyed by
                        the step (the cheap path); mapped and shared out to devices
    simulate, Euler     `UnderdampedLangevin(scheme="euler")` on the regression with this H and C
    simulate, exact     `LinearModes`: transitions exact at any size, here 100 small steps long and counted as such
"""

from dataclasses import asdict, dataclass

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics.dynamics import DiffusionOperator, LinearModes, UnderdampedLangevin
from sgdynamics_benchmarks import peers
from sgdynamics_benchmarks.throughput import Contender, Record, measure

LEARNING_RATE, MOMENTUM, EVERY, STRIDE = 0.5, 0.9, 20, 100
FORCE = 2 / (LEARNING_RATE * (1 + MOMENTUM))


@dataclass(frozen=True)
class Size:
    """Of the equation, and steps of a round: of `simulate`, exact ones, of diffrax, and with the tree."""

    inputs: int = 100
    replicas: int = 64
    steps: int = 40_000
    exact_steps: int = 20_000
    peer_steps: int = 3000
    tree_steps: int = 200


QUICK = Size(inputs=4, replicas=8, steps=40, exact_steps=20, peer_steps=5, tree_steps=5)


def run(quick: bool = False, rounds: int | None = None) -> Record:
    """The rates of all contenders."""
    size = QUICK if quick else Size()
    record = measure(contenders(size), quick=quick, rounds=rounds, unit="small path-steps/s")
    title = f"underdamped linear SDE, d = {size.inputs}, R = {size.replicas}, float32"
    return record | {"title": title, "base": "diffrax Euler, cheap path", "size": asdict(size)}


def langevin(size: Size) -> UnderdampedLangevin:
    """Momentum SGD's equation on a regression, with noise proportional to the Hessian."""
    data = sgd.data.teacher_student(jax.random.key(0), samples=2 * size.inputs, inputs=size.inputs, label_noise_std=0.5)
    problem = sgd.Problem(sgd.networks.Linear(size.inputs, 1), data)
    # C ∝ H with a root in H's modes, which anyone may choose who gives the equation its noise
    h, V = np.linalg.eigh(np.asarray(data.x).T @ np.asarray(data.x) / data.samples)
    scale = np.trace(sgd.noise.minibatch(problem, 10).covariance(problem.minimum())) / h.sum()
    noise = sgd.noise.Constant(root=V * np.sqrt(scale * np.maximum(h, 0)))
    return UnderdampedLangevin(
        problem, learning_rate=LEARNING_RATE, momentum=MOMENTUM, sampler=10, noise=noise, substeps=1, scheme="euler"
    )


def modes(process: UnderdampedLangevin, stride: int = STRIDE) -> LinearModes:
    """The same equation, mode by mode, with transitions `stride` small steps long."""
    h, V = jnp.linalg.eigh(process.problem.hessian(process.problem.minimum()))
    C = jnp.einsum("im,ij,jm->m", V, process.noise.covariance(process.problem.minimum()), V)
    zero, one = jnp.zeros_like(h), jnp.ones_like(h)
    blocks = lambda a, b, c, d: jnp.stack([jnp.stack([a, b], -1), jnp.stack([c, d], -1)], -2)
    drift = blocks(zero, -one, FORCE * h, FORCE * (1 - MOMENTUM) * one)
    noise = blocks(zero, zero, zero, FORCE**2 * LEARNING_RATE * C)
    return LinearModes(drift, noise, process.problem.minimum(), V, time_step=stride * LEARNING_RATE)


def contenders(size: Size) -> dict[str, Contender]:
    """In the order of the table."""
    process, R = langevin(size), size.replicas
    equation = Equation.of(process)
    return {
        "diffrax Euler, Brownian tree": peers.keyed(
            lambda key: equation.tree_path(size.tree_steps, key), R, R * size.tree_steps
        ),
        "diffrax Euler, cheap path": peers.keyed(
            lambda key: equation.cheap_path(size.peer_steps, key), R, R * size.peer_steps
        ),
        "simulate, Euler, mean every 20": peers.simulated(process, replicas=R, steps=size.steps, every=EVERY),
        "simulate, Euler": peers.simulated(process, replicas=R, steps=size.steps, every=size.steps),
        "simulate, exact at stride 100": peers.simulated(
            modes(process), replicas=R, steps=size.exact_steps, every=size.exact_steps, stride=STRIDE
        ),
    }


@dataclass(frozen=True)
class Equation:
    """The equation as a careful user of diffrax writes it, on (θ, v)."""

    H: jax.Array
    mean: jax.Array
    root: jax.Array

    @staticmethod
    def of(process: UnderdampedLangevin) -> "Equation":
        minimum = process.problem.minimum()
        parts = (process.problem.hessian(minimum), minimum, process.noise.root)
        return Equation(*(part.astype(jnp.float32) for part in parts))

    def drift(self, t, y, args):
        θ, v = y
        return v, -FORCE * (self.H @ (θ - self.mean) + (1 - MOMENTUM) * v)

    def diffusion(self, t, y, args):
        kick = lambda z: (jnp.zeros_like(z), FORCE * LEARNING_RATE**0.5 * (self.root @ z))
        return DiffusionOperator(kick, self.sources())

    def sources(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(self.mean.shape, self.mean.dtype)

    def cheap_path(self, steps: int, key: jax.Array) -> jax.Array:
        path = peers.StepPath(jnp.float32(LEARNING_RATE), self.sources(), key)  # pyright: ignore[reportCallIssue]
        return self.solved(path, steps)

    def tree_path(self, steps: int, key: jax.Array) -> jax.Array:
        end, tolerance = jnp.float32(steps * LEARNING_RATE), jnp.float32(LEARNING_RATE / 2)
        return self.solved(diffrax.VirtualBrownianTree(jnp.float32(0), end, tolerance, self.sources(), key), steps)

    def solved(self, path: diffrax.AbstractBrownianPath, steps: int) -> jax.Array:
        terms = diffrax.MultiTerm(diffrax.ODETerm(self.drift), diffrax.ControlTerm(self.diffusion, path))
        dt, start = jnp.float32(LEARNING_RATE), (self.mean, jnp.zeros_like(self.mean))
        span = (jnp.float32(0), steps * dt, dt)
        return peers.end(diffrax.diffeqsolve(terms, diffrax.Euler(), *span, start, max_steps=steps + 1))
