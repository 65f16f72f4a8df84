"""Two linear layers on targets of pure noise: the problem, its minimum, its laws and its dynamics (Gross et al., III).

    y = W₂ W₁ x,      x ~ N(0, Σ),  Σ = σ_x² 1,  σ_x² = 1/N_i unless told,      targets y ~ N(0, σ_y²)
    θ⁰                where the gradient flow from an initialisation comes to rest: it decides W₁, W₂ (3.17)
    z = directionsᵀ (θ − θ⁰)            singular bases (3.24): the rest, all but the outputs of W₂, is frozen
    z_{k+1} = (1 − η H) z_k + e_k,      cov e = η² C           linear response to the noise at θ⁰

H is the Hessian at θ⁰ for the inputs as they are, and C the minibatch noise there: "exact", of this data set, or
"wick", as if residuals did not depend on the inputs, C = (σ_e²/S) H for residuals of one variance. For white inputs
that is Eq. (3.21), and the law of continuous time is (3.30), (η σ_e²/2S) on the range of H.

None of it is stationary for ever: noise moves θ along the minima, which shows in the balance W₂ᵀ W₂ − W₁ W₁ᵀ,

    W₂ᵀ W₂ − W₁ W₁ᵀ  grows at the rate  (η/S) [⟨|e|² W₁ x xᵀ W₁ᵀ⟩ − ⟨|x|² W₂ᵀ e eᵀ W₂⟩],

and W₂ decays within S/(η σ_e² σ_x² N_i), the balance time: windows must be short against it.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

import sgdynamics as sgd
from sgdynamics._types import PRNGKey, Vector
from sgdynamics.dynamics import gradient_flow
from sgdynamics.experiments import _ensembles, _noise_targets
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._noise_targets import noise_targets
from sgdynamics.networks import DeepLinear
from sgdynamics.samplers import WithReplacement
from sgdynamics.statistics import Projection
from sgdynamics.theory import two_layer
from sgdynamics.theory.ou import OrnsteinUhlenbeck
from sgdynamics.theory.recursion import LinearRecursion

NOISES = ("exact", "wick")
RANGE = 1e-9  # eigenvalues of the Hessian below this part of the largest are zero


@dataclass(frozen=True)
class TwoLayer:
    """SGD on `data` at one learning rate and batch size, about the minimum θ⁰ = `origin`."""

    data: sgd.data.Dataset
    hidden: int
    origin: Vector
    learning_rate: float
    batch_size: int

    @property
    def samples(self) -> int:
        """P."""
        return self.data.x.shape[0]

    @property
    def widths(self) -> tuple[int, int, int]:
        """N_i, N_h, N_o."""
        return self.data.x.shape[1], self.hidden, self.data.y.shape[1]

    @cached_property
    def problem(self) -> sgd.Problem:
        """The network at θ⁰, on the data."""
        return sgd.Problem(_network(self.widths, self.origin), self.data)

    # --- the minimum --------------------------------------------------------------------------------------

    @property
    def layers(self) -> tuple[Float[Array, "hidden inputs"], Float[Array, "outputs hidden"]]:
        """W₁⁰ and W₂⁰."""
        first, second = self.problem.network.weights
        return first, second

    @cached_property
    def first_strengths(self) -> np.ndarray:
        """D₁, squared singular values of W₁⁰, descending [hidden] (with zeros where inputs < hidden)."""
        return _strengths(self.layers[0], self.hidden)

    @cached_property
    def second_strengths(self) -> np.ndarray:
        """D₂, squared singular values of W₂⁰, descending [outputs] (with zeros where hidden < outputs)."""
        return _strengths(self.layers[1], self.widths[2])

    @cached_property
    def input_variance(self) -> float:
        """σ_x²: of the sample, mean over components."""
        return float(jnp.mean(self.data.x**2))

    @cached_property
    def residual_variance(self) -> float:
        """σ_e² = |Y − w* X|²/(P N_o)."""
        return 2 * float(_loss(self.problem, self.origin)) / self.widths[2]

    @cached_property
    def gradient_norm(self) -> float:
        """|∇L(θ⁰)|: what the flow has left."""
        return float(jnp.linalg.norm(_gradient(self.problem, self.origin)))

    # --- linear response ----------------------------------------------------------------------------------

    @cached_property
    def directions(self) -> Float[Array, "parameters reduced"]:
        """Orthonormal columns, z = directionsᵀ (θ − θ⁰): the first layer's, then the second's."""
        return once(two_layer.directions)(*self.layers)

    @property
    def second_layer(self) -> slice:
        """Which of the directions are the second layer's."""
        return slice(self.directions.shape[1] - self.widths[1] * self.widths[2], None)

    @cached_property
    def _moments(self) -> tuple[np.ndarray, ...]:
        """H, and the noise of one example, exact and by Wick's theorem."""
        return tuple(np.asarray(M) for M in _moments(*self.layers, self.data.x, self.data.y))

    @cached_property
    def _spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Of H on its range, ascending; what the flow has left of the gradient makes zeros ± a little."""
        values, vectors = np.linalg.eigh(self._moments[0])
        kept = values > RANGE * values[-1]
        return values[kept], vectors[:, kept]

    @cached_property
    def hessian(self) -> Float[Array, "reduced reduced"]:
        """H along the directions."""
        values, vectors = self._spectrum
        return jnp.asarray(vectors * values[None, :] @ vectors.T)

    def noise_covariance(self, noise: str = "exact") -> Float[Array, "reduced reduced"]:
        """C along the directions, minibatch."""
        V, C = self._spectrum[1], self._moments[1 + NOISES.index(_known(noise))] / self.batch_size
        return jnp.asarray(V @ (V.T @ C @ V) @ V.T)

    def law(self, noise: str = "exact") -> LinearRecursion:
        """Linear response in discrete time, one step each."""
        η = self.learning_rate
        return LinearRecursion(np.eye(len(self.hessian)) - η * self.hessian, η**2 * self.noise_covariance(noise))

    def process(self, noise: str = "exact") -> OrnsteinUhlenbeck:
        """Linear response in continuous time."""
        return OrnsteinUhlenbeck(self.hessian, self.learning_rate * self.noise_covariance(noise))

    def covariance(self, noise: str = "exact", *, discrete: bool = True) -> Float[Array, "reduced reduced"]:
        """M of linear response, on the range of H: nothing fluctuates beyond.

        (h_i + h_j − η h_i h_j) M_ij = η C_ij in the modes of H; without the term in η in continuous time.
        """
        h, V = self._spectrum
        η, C = self.learning_rate, V.T @ np.asarray(self.noise_covariance(noise)) @ V
        sums = h[:, None] + h[None, :] - discrete * η * h[:, None] * h[None, :]
        return jnp.asarray(V @ (η * C / sums) @ V.T)

    @property
    def unit(self) -> float:
        """η σ_e²/2S: the variance of every direction that fluctuates, by (3.30)."""
        return self.learning_rate * self.residual_variance / (2 * self.batch_size)

    @property
    def rates(self) -> np.ndarray:
        """Relaxation rates that are not 0, per unit of t, descending."""
        return self._spectrum[0][::-1]

    def modes(self, noise: str = "exact") -> tuple[np.ndarray, np.ndarray]:
        """Variances that linear response expects, descending, and their directions in columns [reduced, modes]."""
        variances, vectors = np.linalg.eigh(self.covariance(noise))
        fluctuate = slice(None, -len(self.rates) - 1, -1)
        return variances[fluctuate], vectors[:, fluctuate]

    # --- the balance --------------------------------------------------------------------------------------

    def balance_drift(self, noise: str = "exact") -> Float[Array, "hidden hidden"]:
        """d/dt (W₂ᵀ W₂ − W₁ W₁ᵀ) at θ⁰, of SGD and its SDE alike: the mean gradient is 0."""
        exact, wick = _balance_drifts(*self.layers, self.data.x, self.data.y)
        return (exact, wick)[NOISES.index(_known(noise))] * self.learning_rate / self.batch_size

    @property
    def balance_time(self) -> float:
        """S/(η σ_e² σ_x² N_i): |W₂|² decays within it, in units of t."""
        time = two_layer.balance_time(
            self.widths[0], learning_rate=self.learning_rate, batch_size=self.batch_size,
            input_variance=self.input_variance, residual_variance=self.residual_variance,
        )  # fmt: skip
        return float(time)

    # --- dynamics -----------------------------------------------------------------------------------------

    def descent(self) -> sgd.SGD:
        """SGD, batches drawn with replacement."""
        return sgd.SGD(self.problem, learning_rate=self.learning_rate, sampler=WithReplacement(self.batch_size))

    def langevin(self, substeps: int, noise: Any = None) -> sgd.Langevin:
        """The SDE (3.15), with the finite-sample noise unless told."""
        return sgd.Langevin(
            self.problem, learning_rate=self.learning_rate, sampler=self.batch_size, substeps=substeps, noise=noise
        )

    @property
    def coordinates(self) -> Projection:
        """The observable z.

        Its mean drifts along the minima, away from `modes()` but not from single weights: of those take `Snapshots` of
        this and `_two_layer_observables.local_covariance`.
        """
        return Projection(self.directions, origin=self.origin)

    def starts(
        self, key: PRNGKey, replicas: int, covariance: Float[ArrayLike, "reduced reduced"]
    ) -> Float[Array, "replicas parameters"]:
        """θ⁰ + directions · z with z drawn from the normal law of this covariance."""
        return _starts(key, replicas, self.origin, self.directions, jnp.asarray(covariance))


# --- from a configuration -------------------------------------------------------------------------------------


def pure_noise(
    key: PRNGKey,
    *,
    samples: int,
    inputs: int,
    hidden: int,
    outputs: int = 1,
    label_noise_std: float,
    learning_rate: float,
    batch_size: int,
    initialisation: str = "large",
    input_variance: float | None = None,
    input_covariance: Any = None,
    whitened: bool = False,
) -> TwoLayer:
    """The paper's problem (Sec. III A) at the minimum that `initialisation` leads to.

    - initialisation: "large", entries of variance 1/N_i and 1/N_h (3.35); "small", 10⁻⁴ of that; "balanced",
      W₂ᵀ W₂ = W₁ W₁ᵀ exactly, at the product W₂ W₁ of a large one.
    - input_variance σ_x² (None: 1/N_i), or input_covariance Σ (nested sequences); whitened: X Xᵀ/P is exactly that.
    Data and initialisation are drawn by keys of their own.
    """
    Σ = _noise_targets.input_covariance(inputs, input_variance, input_covariance)
    data = noise_targets(_ensembles.named(key, "data"), samples, outputs, label_noise_std, Σ, whitened=whitened)
    start = _noise_targets.initial(_ensembles.named(key, "initialisation"), (inputs, hidden, outputs), initialisation)
    origin = gradient_flow(sgd.Problem(start, _noise_targets.compressed(data)))
    return TwoLayer(data, hidden, origin, learning_rate, batch_size)


def _network(widths: tuple[int, int, int], θ: Vector) -> DeepLinear:
    inputs, hidden, outputs = widths
    return DeepLinear.of([θ[: hidden * inputs].reshape(hidden, inputs), θ[hidden * inputs :].reshape(outputs, hidden)])


def _strengths(matrix: Array, size: int) -> np.ndarray:
    squares = np.linalg.svd(matrix, compute_uv=False) ** 2
    return np.pad(squares, (0, size - len(squares)))


_gradient = once(lambda problem, θ: problem.gradient(θ))
_loss = once(lambda problem, θ: problem.loss(θ))


@once
def _moments(W1: Array, W2: Array, x: Array, y: Array) -> tuple[Array, Array, Array]:
    laws = [two_layer.linear_response(W1, W2, x, y, learning_rate=1.0, batch_size=1, noise=noise) for noise in NOISES]
    return laws[0].drift, laws[0].noise, laws[1].noise


@once
def _balance_drifts(W1: Array, W2: Array, x: Array, y: Array) -> tuple[Array, Array]:
    drift = lambda form: two_layer.balance_drift(W1, W2, x, y, learning_rate=1.0, batch_size=1, form=form)
    return drift("sde"), drift("wick")


def _known(noise: str) -> str:
    if noise not in NOISES:
        raise ValueError(f"noise = {noise!r}, but it must be one of {', '.join(NOISES)}.")
    return noise


def _starts(key: PRNGKey, replicas: int, θ: Vector, V: Array, M: Array) -> Array:
    variances, vectors = np.linalg.eigh(M)
    root = np.asarray(V) @ (vectors * np.sqrt(np.maximum(variances, 0)))
    draws = np.asarray(jax.random.normal(key, (replicas, len(variances))))
    return jnp.asarray(np.asarray(θ) + draws @ root.T)
