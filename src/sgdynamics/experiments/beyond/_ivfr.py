"""Linear networks of any depth at a minimum: which layer's fluctuations follow the loss's curvature, and why.

    f(x) = W_L … W_1 x,    δ(W_L … W_1) = Σ_l A_l δW_l B_l,    A_l = W_L … W_{l+1},    B_l = W_{l−1} … W_1,
    J = (J_1 … J_L),       J_l = A_l ⊗ B_lᵀ,                   H = Jᵀ (1 ⊗ Σ) J          at E[e xᵀ] = 0,  Σ = E[x xᵀ]

Residuals of one variance σ² in every direction, whatever x, make the minibatch noise C = (σ²/S) H, and then

    M = (ησ²/2S) P,        P = Jᵀ K⁺ J,    K = Σ_l K_l,        K_l = J_l J_lᵀ = A_l A_lᵀ ⊗ B_lᵀ B_l,

P the projector on the range of H: isotropic there, whatever Σ. A single layer sees the block P_ll, and that is not
isotropic. With K_l u = m K u its principal components are J_lᵀ u, with

    variance (ησ²/2S) m,   curvature κ = uᵀ K_l (1 ⊗ Σ) K_l u / uᵀ K_l u:

m is the layer's share of the (tangent) kernel in the direction u of the network's matrix; shares of all layers add up
to 1. Where the K_l commute and inputs are white, κ_l = σ_x² k_l and

    m_l = κ_l / Σ_j κ_j,                                   two layers: D₁/(D₁ + D₂), Eq. (3.34), κ = σ_x² D₁, (3.37).

One output, and layers 1 … L−1 of the same singular bases and squared singular values s: k_l = |A_l|² s^{l−1},

    ψ_l = 2 d ln m_l / d ln κ_l = 2 [1 − ⟨j − 1⟩/(l − 1)],    ⟨j − 1⟩ = Σ_j (j − 1) m_j,    κ_1 = const.

To make the residuals so, each input occurs 2 N_o times, with f(x) ± σ √N_o in one of the outputs: any weights are
then a minimum of their own data set, exactly. In discrete time each mode of H has the further factor 1/(1 − ηh/2).
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import numpy as np

import sgdynamics as sgd
from sgdynamics._types import PRNGKey
from sgdynamics.data import Dataset
from sgdynamics.dynamics import gradient_flow
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._flatness import along, mapped, steepness
from sgdynamics.experiments._noise_targets import compressed, noise_targets
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._two_layer_observables import local_covariance
from sgdynamics.networks import DeepLinear
from sgdynamics.statistics import Estimate, Snapshots

RANGE = 1e-9  # eigenvalues below this part of the largest are zero
OWN_NOISE = "tolerance: the noise that fluctuations add, of the order η tr H/S"
SOURCE = "Gross, Raulf and Räth (2024), Sec. III C 3 and outlook (open question 1)"


@dataclass(frozen=True)
class Layered:
    """SGD of a linear network at a minimum, on data with residuals of standard deviation `label_noise_std`."""

    weights: tuple[np.ndarray, ...]
    data: Dataset
    label_noise_std: float
    learning_rate: float
    batch_size: int

    @cached_property
    def inputs(self) -> np.ndarray:
        """Σ = E[x xᵀ]."""
        x = np.asarray(self.data.x)
        return x.T @ x / len(x)

    @property
    def unit(self) -> float:
        """ησ²/2S: the variance of every direction in the range of H."""
        return self.learning_rate * self.label_noise_std**2 / (2 * self.batch_size)

    def layer(self, l: int) -> slice:
        """Where in θ the layer l = 1 … L is."""
        ends = np.cumsum([0, *(W.size for W in self.weights)])
        return slice(int(ends[l - 1]), int(ends[l]))

    # --- closed form --------------------------------------------------------------------------------------

    @cached_property
    def jacobians(self) -> list[np.ndarray]:
        """J_l [outputs × inputs, weights of the layer l]."""
        inputs = self.weights[0].shape[1]
        after = [product([np.eye(len(self.weights[l - 1])), *self.weights[l:]]) for l in self._layers]
        before = [product([np.eye(inputs), *self.weights[: l - 1]]) for l in self._layers]
        return [np.kron(A, B.T) for A, B in zip(after, before, strict=True)]

    @cached_property
    def hessian(self) -> np.ndarray:
        """H."""
        J, Σ = np.concatenate(self.jacobians, axis=1), np.kron(np.eye(len(self.weights[-1])), self.inputs)
        return J.T @ Σ @ J

    @cached_property
    def projector(self) -> np.ndarray:
        """P = M/unit in continuous time."""
        J = np.concatenate(self.jacobians, axis=1)
        return J.T @ np.linalg.pinv(J @ J.T, rcond=RANGE, hermitian=True) @ J

    @cached_property
    def closed(self) -> np.ndarray:
        """M/unit of linear response in discrete time: 1/(1 − ηh/2) in the modes of H, 0 beyond its range."""
        h, V = np.linalg.eigh(self.hessian)
        kept = h > RANGE * h[-1]
        return (V[:, kept] / (1 - self.learning_rate * h[kept] / 2)) @ V[:, kept].T

    @property
    def own_noise(self) -> float:
        """3 η tr H/(2S): by so much at most, relative, fluctuations add to the noise that makes them.

        With w the network's matrix, E[(δw x)² x xᵀ] = tr(Σ W) Σ + 2 Σ W Σ for normal x, W = cov δw, and
        tr(Σ W) = (η σ²/2S) tr H. Linear response leaves it out.
        """
        return 3 * self.learning_rate * float(np.trace(self.hessian)) / (2 * self.batch_size)

    def shares(self, l: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """m of the layer l, descending, curvatures, components in columns; equal m are told apart by κ."""
        P, H = self.projector[self.layer(l), self.layer(l)], self.hessian[self.layer(l), self.layer(l)]
        values, vectors = np.linalg.eigh(P + 1e-7 * H / np.linalg.norm(H))
        kept = values > 1e-6
        V = vectors[:, kept][:, ::-1]
        return along(V, P), along(V, H), V

    # --- SGD ----------------------------------------------------------------------------------------------

    @cached_property
    def descent(self) -> sgd.SGD:
        """SGD, batches drawn with replacement."""
        problem = sgd.Problem(DeepLinear.of(self.weights), self.data)
        return sgd.SGD(problem, learning_rate=self.learning_rate, sampler=self.batch_size)

    @cached_property
    def prediction(self) -> Any:
        """Linear response of any network at its minimum."""
        return sgd.predict(self.descent, at=self.descent.problem.parameters, form="frozen")

    @property
    def _layers(self) -> range:
        return range(1, len(self.weights) + 1)


def product(layers: Sequence[np.ndarray]) -> np.ndarray:
    """W_n … W_1."""
    return functools.reduce(lambda before, W: W @ before, layers)


# --- minima ---------------------------------------------------------------------------------------------------


def resting(key: PRNGKey, widths: Sequence[int], *, samples: int, target_std: float) -> list[np.ndarray]:
    """Layers where the gradient flow on targets of pure noise ends, from entries of variance 1/d_{l−1}."""
    Σ = np.eye(widths[0]) / widths[0]
    noise = noise_targets(_ensembles.named(key, "data"), samples, widths[-1], target_std, Σ, whitened=True)
    start = DeepLinear(widths, key=_ensembles.named(key, "initialisation"))
    θ = np.asarray(gradient_flow(sgd.Problem(start, compressed(noise))))
    shapes = [(after, before) for before, after in pairwise(widths)]
    ends = np.cumsum([0, *(a * b for a, b in shapes)])
    return [θ[ends[l] : ends[l + 1]].reshape(shape) for l, shape in enumerate(shapes)]


def aligned(key: PRNGKey, depth: int, inputs: int, strengths: np.ndarray) -> list[np.ndarray]:
    """Layers 1 … L−1 of squared singular values `strengths` in shared bases, and a last one with random entries."""
    rotations = jax.random.split(_ensembles.named(key, "bases"), depth)
    hidden = len(strengths)
    Q = [_orthonormal(rotation, inputs if l == 0 else hidden, hidden) for l, rotation in enumerate(rotations)]
    layers = [after * np.sqrt(strengths)[None] @ before.T for before, after in pairwise(Q)]
    row = np.asarray(jax.random.normal(_ensembles.named(key, "last"), (1, hidden)))
    return [*layers, row / np.linalg.norm(row)]


def _orthonormal(key: PRNGKey, rows: int, columns: int) -> np.ndarray:
    return np.linalg.qr(np.asarray(jax.random.normal(key, (rows, columns))))[0]


def at(
    weights: Sequence[np.ndarray], key: PRNGKey, *, samples: int, label_noise_std: float, learning_rate: float,
    batch_size: int, input_variances: np.ndarray,
) -> Layered:  # fmt: skip
    """These layers, at the minimum of data made for them: inputs whose E[x xᵀ] is diagonal, exactly."""
    Σ = np.diag(np.asarray(input_variances, float))
    x = np.asarray(noise_targets(_ensembles.named(key, "inputs"), samples, 1, 1.0, Σ, whitened=True).x)
    outputs = len(weights[-1])
    errors = label_noise_std * np.sqrt(outputs) * np.concatenate([np.eye(outputs), -np.eye(outputs)])
    y = (x @ product(weights).T)[None] + errors[:, None, :]
    data = Dataset(np.tile(x, (2 * outputs, 1)), y.reshape(-1, outputs))
    return Layered(tuple(weights), data, label_noise_std, learning_rate, batch_size)


# --- measured -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """Local covariances of SGD, [parameters, parameters], of two halves of the replicas."""

    case: Layered
    first: Estimate
    second: Estimate
    provenance: dict

    def components(self, l: int, least: float) -> np.ndarray:
        """Principal components of δW_l in the first half, as many as have shares m ≥ `least` in closed form."""
        count = int(np.sum(self.case.shares(l)[0] >= least))
        part = self.case.layer(l)
        return np.linalg.eigh(np.asarray(self.first.value)[part, part])[1][:, ::-1][:, :count]

    def variances(self, l: int, V: np.ndarray) -> Estimate:
        """Along these directions of δW_l, in the second half, in units of ησ²/2S."""
        part, unit = self.case.layer(l), self.case.unit
        return mapped(self.second, lambda M: along(V, M[part, part]) / unit)

    def expected(self, l: int, V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Linear response's variances along these directions, in the same units, and the curvatures there."""
        part = self.case.layer(l)
        return along(V, self.case.closed[part, part]), along(V, self.case.hessian[part, part])


def simulate(case: Layered, progress: Progress, label: str, *, key: PRNGKey, config: Any) -> Measured:
    """An ensemble from the predicted law, recorded at every config.every steps."""
    records = tuple(range(config.every, config.steps + 1, config.every))
    ensemble = _ensembles.simulate(
        case.descent, Snapshots(records), progress, label, key=key, replicas=config.replicas,
        steps=config.steps, every=config.every, initial=case.prediction,
    )  # fmt: skip
    snapshots, half = ensemble.estimates, config.replicas // 2
    of = lambda part: local_covariance(eqx.tree_at(lambda s: s.values, snapshots, snapshots.values[:, part]))
    return Measured(case, of(slice(half)), of(slice(half, None)), ensemble.provenance)


# --- claims ---------------------------------------------------------------------------------------------------


def closed_form(prefix: str, case: Layered) -> Claim:
    """The same law from Hessian-vector products and per-example gradients."""
    error = np.abs(np.asarray(case.prediction.covariance) / case.unit - case.closed).max()
    return Claim.bound(
        f"{prefix}/closed form", SOURCE, "linear response by `predict` is the projector, 1/(1 − ηh/2) in each mode",
        error, 0.0, 1e-8, side="at most",
    )  # fmt: skip


def block(measured: Measured, l: int, least: float) -> tuple[Estimate, float]:
    """Where the covariance of the layer lies on the line from the isotropic one (0) to the projector's block (1), as in
    `_between` but in NumPy; and how far fluctuations move it that make noise themselves (`own_noise`)."""
    part, (m, _, V) = measured.case.layer(l), measured.case.shares(l)
    V, unit = V[:, m >= least], measured.case.unit
    right = V.T @ measured.case.closed[part, part] @ V
    wrong = np.eye(len(right)) * np.trace(right) / len(right)
    weight = np.linalg.solve(right, np.linalg.solve(right, right - wrong).T)
    scale = np.sum(weight * (right - wrong))
    found = mapped(measured.second, lambda M: np.sum(weight * (V.T @ M[part, part] @ V / unit - wrong)) / scale)
    return found, measured.case.own_noise * abs(float(np.sum(weight * right) / scale))


def anisotropy(case: Layered, l: int, least: float) -> float:
    """How far the block of the projector is from isotropic, relative: the scatter of the shares."""
    m = case.shares(l)[0]
    m = m[m >= least]
    return float(np.std(m) / np.sqrt(np.mean(m**2)))


def no_relation(prefix: str, l: int, measured: Measured, V: np.ndarray) -> Claim:
    """A layer whose directions fluctuate unequally, but whose loss is equally steep along all of them."""
    κ = measured.expected(l, V)[1]
    return Claim.bound(
        f"{prefix}/no relation", SOURCE, "variances differ, but the loss is equally steep: |d ln κ/d ln Var| below",
        **evidence(mapped(measured.variances(l, V), lambda v: abs(steepness(v, κ)))),
        expected=0.01, side="at most",
    )  # fmt: skip
