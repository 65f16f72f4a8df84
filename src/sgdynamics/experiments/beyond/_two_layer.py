"""A network of one hidden layer on a linear teacher: its modes, and their diffusion from per-example gradients.

    f(x) = W_2 φ(W_1 x),  x ~ N(0, 1);   the teacher's singular triplets are s_α, u_α, v_α

The amplitude of a mode is the projection of the function, which for φ(z) = z is u_αᵀ W_2 W_1 v_α; with c_j the
columns of W_2 and a_j the rows of W_1, Stein's lemma E[φ(a·x) x] = a E[φ'(a·x)] makes it

    w_α = E[u_αᵀ f(x) v_αᵀ x] = Σ_j (u_α·c_j)(a_j·v_α) E[φ'(|a_j| z)],   z ~ N(0, 1).

Its diffusion, with a_α = ∇w_α and Σ the covariance of the gradients of single examples, needs no matrix:

    D_α = (η/b) a_αᵀ Σ a_α = (η/b) Var_x[a_α·∇ℓ(x)],     ℓ = ½ |M x − f(x)|²,

and a_α·∇ℓ(x) is the change of ℓ(x) in the direction a_α, one forward pass for all examples. With the residual
r(x) = M x − f(x) and the change j(x) of f(x) in that direction, it is −r·j; residuals of the same covariance that
did not depend on the inputs, as label noise does not, would make it

    D_α = (η/b) tr(E[r rᵀ] E[j jᵀ]).

Pairs of relu units, aligned and balanced, c (relu(a·x) − relu(−a·x)) = c a·x, have w = c a and j = w v·x where a linear
network has 2 w v·x: a quarter of the diffusion (7) at the same amplitude. Units on the two sides need not be equal:
where they have made p x₊ − q x₋ of s x, x = v·x, w = (p + q)/2, one unit of each side has j = p x₊ − q x₋, so that

    D = (η/b) Var[((s − p) x₊ − (s − q) x₋)(p x₊ − q x₋)] = (η/b) [3 (h_p² + h_q²)/2 − (h_p + h_q)²/4]

with h_p = (s − p) p. At w = s/2, p = w + δ and q = w − δ it is (η/b) s⁴/8 (1 − 4 δ²/s²)², a quarter of (7) at most.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import sgdynamics as sgd
from sgdynamics._types import PRNGKey, Vector
from sgdynamics.data import Dataset, Teacher
from sgdynamics.experiments._compiled import once
from sgdynamics.networks import DeepLinear
from sgdynamics.theory import deep_linear

ACTIVATIONS: dict[str, Callable] = {"identity": lambda z: z, "tanh": jnp.tanh, "relu": jax.nn.relu}
NODES = 64  # an even number: none at 0, where the derivative of relu jumps


class TwoLayer(eqx.Module):
    """f(x) = W_2 φ(W_1 x), without biases: `first` W_1 [hidden, inputs], `second` W_2 [outputs, hidden]."""

    first: Float[Array, "hidden inputs"]
    second: Float[Array, "outputs hidden"]
    activation: Callable = eqx.field(static=True)

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        return self.second @ self.activation(self.first @ x)

    def correlation(self) -> Float[Array, "outputs inputs"]:
        """E[f(x) xᵀ] over x ~ N(0, 1)."""
        return (self.second * self.mean_slopes()[None, :]) @ self.first

    def mean_slopes(self) -> Float[Array, " hidden"]:
        """E[φ'(|a_j| z)] by Gauss-Hermite quadrature: exactly 1 for the identity, ½ for relu."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        norms = jnp.sqrt(jnp.sum(self.first**2, axis=1))
        slopes = jax.vmap(jax.vmap(jax.grad(self.activation)))(norms[:, None] * jnp.asarray(nodes)[None, :])
        return slopes @ jnp.asarray(weights / weights.sum())


@dataclass(frozen=True)
class Student:
    """A two-layer network that learns a teacher online, with learning rate η and batch size b."""

    teacher: Teacher
    hidden: int
    activation: str
    learning_rate: float
    batch_size: int

    @cached_property
    def problem(self) -> sgd.Problem:
        outputs, inputs = self.teacher.matrix.shape
        zeros = jnp.zeros((self.hidden, inputs)), jnp.zeros((outputs, self.hidden))
        return sgd.Problem(TwoLayer(*zeros, ACTIVATIONS[self.activation]), self.teacher)

    @cached_property
    def singular_values(self) -> np.ndarray:
        """Of the modes there are to learn, descending [modes]."""
        s = np.linalg.svd(np.asarray(self.teacher.matrix), compute_uv=False)
        return s[s > 1e-9 * s[0]]

    @property
    def temperature(self) -> float:
        """β = η/b."""
        return self.learning_rate / self.batch_size

    def amplitudes(self, θ: Vector) -> Float[Array, " modes"]:
        """w_α of the modes there are to learn."""
        triplets, modes = deep_linear.singular_triplets(self.teacher.matrix), len(self.singular_values)
        all_pairs = triplets.outputs.T @ self.problem.unflatten(θ).correlation() @ triplets.inputs
        return jnp.diagonal(all_pairs)[:modes]

    def diffusion(self, θ: Vector, examples: Dataset) -> Float[Array, " modes"]:
        """D_α, the variance taken over these examples."""
        losses = lambda θ: self.problem.example_losses(θ, examples)
        along = lambda a: jax.jvp(losses, (θ,), (a,))[1]
        return self.temperature * jnp.var(jax.vmap(along)(jax.jacrev(self.amplitudes)(θ)), axis=1, ddof=1)

    def independent_diffusion(self, θ: Vector, examples: Dataset) -> Float[Array, " modes"]:
        """(η/b) tr(E[r rᵀ] E[j jᵀ]): were the residuals of these examples independent of their inputs."""
        predictions = lambda θ: self.problem.predictions(θ, examples)
        j = jax.vmap(lambda a: jax.jvp(predictions, (θ,), (a,))[1])(jax.jacrev(self.amplitudes)(θ))
        r = examples.y - predictions(θ)
        return self.temperature * jnp.mean((j @ (r.T @ r / len(r))) * j, axis=1).sum(axis=-1)

    def linear_diffusion(self, θ: Vector) -> Float[Array, " modes"]:
        """D_α in closed form (Prop. 3.3), of the linear network with these weights."""
        network, noise = self.problem.unflatten(θ), self.teacher.label_noise_std
        matrix = deep_linear.mode_diffusion(
            (network.first, network.second), self.teacher.matrix, learning_rate=self.learning_rate,
            batch_size=self.batch_size, label_noise_std=noise,
        )  # fmt: skip
        return jnp.diagonal(matrix)[: len(self.singular_values)]


def small_weights(
    teacher: Teacher, hidden: int, exponent: float, key: PRNGKey, replicas: int
) -> Float[Array, "replicas parameters"]:
    """Normal weights as `DeepLinear.small` draws them, others for every replica."""
    outputs, inputs = teacher.matrix.shape
    small = lambda key: DeepLinear.small((inputs, hidden, outputs), key=key, exponent=exponent).weights
    one = lambda key: jnp.concatenate([W.reshape(-1) for W in small(key)])
    return once(jax.vmap(one))(jax.random.split(key, replicas))
