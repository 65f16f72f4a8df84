"""What one step does to the mode amplitudes, of many replicas at the same weights.

Of a displacement v and its mirror image, w the amplitudes,

    [w(θ + h v) + w(θ − h v) − 2 w(θ)] / (2h²) = ½ vᵀ (Hess w) v + O(h²),

the first order cancels. With v = ξ, noise of covariance Σ(θ), that is an Euler-Maruyama step of length h²/β: its mean
is the Itô drift ½ tr(Σ Hess w) in units of β. With v = g, the gradient of one fresh example, it is a step of SGD, of
mean ½ tr(Σ Hess w) + ½ ∇Lᵀ (Hess w) ∇L: SGD's steps have a mean, too. What is left out, O(h²), is 0 up to three layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgdynamics import noise
from sgdynamics._types import PRNGKey
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._realisations import each
from sgdynamics.experiments._students import Student
from sgdynamics.networks import DeepLinear
from sgdynamics.samplers import Online
from sgdynamics.theory import deep_linear

STEP = 1e-3  # h: (h |v|)² is 1e-5 and less, rounding 1e-16/h² is 1e-10


class Steps(NamedTuple):
    """Of every replica [cases, replicas, modes], in units of β and of t: second differences of the SDE's and of SGD's
    steps, SGD's step itself, −aᵀg, and the squares of the first-order changes of u_0ᵀ W v_γ along ξ."""

    sde: np.ndarray
    sgd: np.ndarray
    linear: np.ndarray
    crossed: np.ndarray


@dataclass(frozen=True)
class Case:
    """A student whose weights are balanced and aligned, with these amplitudes."""

    student: Student
    amplitudes: tuple[float, ...]
    key: PRNGKey

    @cached_property
    def θ(self) -> jax.Array:
        student = self.student
        network = DeepLinear.aligned(student.teacher.matrix, self.amplitudes, student.widths, key=self.key)
        return jnp.concatenate([W.reshape(-1) for W in network.weights])

    @property
    def settings(self) -> dict:
        """Of theory, with β = 1: drifts come out in units of β, for a learning rate and a batch size of 1."""
        σ = self.student.hyperparameters["label_noise_std"]
        return {"depth": self.student.depth, "learning_rate": 1.0, "batch_size": 1, "label_noise_std": σ}

    def ito(self, form: str = "exact") -> np.ndarray:
        """μ_Itô / β of Prop. 3.5 [modes]."""
        s = self.student.singular_values
        return np.asarray(deep_linear.modewise_ito_drift(np.asarray(self.amplitudes), s, form=form, **self.settings))

    def uncoupled(self) -> np.ndarray:
        """`ito` of each mode as if it were alone [modes]."""
        pairs = zip(self.amplitudes, self.student.singular_values, strict=True)
        alone = [deep_linear.modewise_ito_drift(np.array([w]), np.array([s]), **self.settings) for w, s in pairs]
        return np.concatenate([np.asarray(drift) for drift in alone])

    def finite_steps(self) -> np.ndarray:
        """½ ∇Lᵀ (Hess w) ∇L [modes]."""
        w, s = np.asarray(self.amplitudes), self.student.singular_values
        return np.asarray(deep_linear.modewise_discretisation_drift(w, s, depth=self.student.depth, learning_rate=1.0))


def amplitudes(student: Student, θ: jax.Array) -> Float[Array, " modes"]:
    """w_α of the modes there are to learn."""
    return deep_linear.mode_amplitudes(student.weights(θ), student.teacher.matrix)[: student.modes]


def definition(cases: Sequence[Case]) -> np.ndarray:
    """½ tr(Σ Hess w_α), by automatic derivatives and the dense Σ [cases, modes]. All cases are of the same widths."""
    first = cases[0].student

    def one(θ, σ):
        Σ = deep_linear.noise_covariance(first.weights(θ), first.teacher.matrix, label_noise_std=σ)
        hessian = jax.hessian(lambda θ: amplitudes(first, θ))(θ)
        return jnp.einsum("pq,mpq->m", Σ, hessian) / 2

    σ = jnp.stack([jnp.asarray(case.settings["label_noise_std"]) for case in cases])
    mapped = once(lambda θ, σ: jax.lax.map(lambda pair: one(*pair), (θ, σ)))
    return np.asarray(mapped(jnp.stack([case.θ for case in cases]), σ))


def steps(cases: Sequence[Case], key: PRNGKey, replicas: int) -> Steps:
    """One step of every replica; its draws are the same in all cases, so that they can be compared in pairs."""
    student = cases[0].student
    modes = deep_linear.singular_triplets(student.teacher.matrix)
    u, v = modes.outputs[:, : student.modes], modes.inputs[:, : student.modes]
    noises = [noise.OnlineLinear(case.student.problem, Online(1)) for case in cases]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *noises)
    θs = jnp.stack([case.θ for case in cases])

    def one(noise, θ, key):
        source, data = jax.random.split(key)
        problem = noise.problem
        along = lambda θ: u.T @ problem.unflatten(θ).matrix() @ v
        ξ, g = noise.sample(θ, source), problem.example_gradients(θ, problem.data.sample(data, 1))[0]
        second = lambda v: jnp.diagonal(along(θ + STEP * v) + along(θ - STEP * v) - 2 * along(θ)) / (2 * STEP**2)
        first = lambda v: jax.jvp(along, (θ,), (v,))[1]
        return second(ξ), second(g), -jnp.diagonal(first(g)), first(ξ)[0] ** 2

    replica = lambda key: eqx.filter_vmap(one, in_axes=(eqx.if_array(0), 0, None))(stacked, θs, key)
    kept = each(replica, jax.random.split(key, replicas), batch=256)
    return Steps(*(np.moveaxis(np.asarray(values), 0, 1) for values in kept))
