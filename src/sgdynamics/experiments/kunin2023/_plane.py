"""Figs. 3 and 4: ensembles of SGD with momentum along the leading eigenvectors q_1 … q_k of the Hessian.

    assumption 5   regression on the digits' pixels with labels of pure noise, drawn anew: C = σ² H/S to O(η), λ > 0
    digits         regression on the digits' parity: the noise of a finite data set, λ = 0
    network        a small network on the digits, at its minimum: C what it is, λ of its training

Both regressions begin in their exact law (multiplicative noise included). The network begins in the law of its harmonic
approximation in the leading modes, at rest at the minimum in the others, which spread during the run; the first
`burn_in` steps are left out. What that law leaves out is the noise that the spread M = Cov θ adds. In regression with
C = σ²H/S, where M ≤ ησ²/(2S(1 − β)), it multiplies C_ii by 1 + a_i, to first order in

    a_i ≤ εκ,     ε = η tr K/(2S(1 − β)),     κ = max_i E[x_i²|x|²]/(h_i tr H),     K = H + λ,

traces over all parameters. κ ≤ 3 for Gaussian features, and 13 for the digits' pixels. For a network a_i is
evaluated, ⟨C_ii(θ* ± δ)⟩/C_ii(θ*) − 1 over draws of the leading modes' law, and multiplied by tr K over its part in
these modes for the spread in the others. The loss's third and fourth derivatives count at the same order: they are
allowed as much again, for which there is no proof.

A network with centred one-hot targets has modes that no noise reaches: residuals sum to 0 over the outputs at the
minimum, for each image, so that SGD keeps the sum of the last layer's rows where it is, while the squared error has
curvature along it. Assumption 5 excludes them; they are left out, and the soft direction is the last of the others.
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._pretrained import RECIPES, Trained, pretrained
from sgdynamics.experiments._progress import Progress
from sgdynamics.statistics import Covariance, Estimate, PhaseSpace, Snapshots
from sgdynamics.theory.harmonic import HarmonicDescent

SILENT = 1e-9  # of the largest variance of the noise
EVERY, TRACK = 5, 200  # steps between records; points of the trajectory that is drawn

DRAWS = 8  # pairs ±δ at which a network's noise is evaluated

_predict = once(sgd.predict)
_noise_along = once(lambda noise, θ, V: noise.covariance_along(θ, V))


@dataclass(frozen=True)
class PlaneConfig:
    """Positions and velocities along the Hessian's leading eigenvectors, of two regressions and a network."""

    network: str = "residual"
    """Architecture of the network: one_hidden, two_hidden, convolutional or residual."""
    size: str = "full"
    """quick or full."""
    modes: int = 30
    """Leading eigenvectors of the Hessian; q_k is the last that noise reaches."""
    momentum: float = 0.9
    """Momentum β, in [0, 1)."""
    batch_size: int = 64
    """Minibatch size S, drawn with replacement."""
    learning_rate: float = 0.001
    """Learning rate η of the regressions; time t = η × step. Their top curvature is 7.3/t."""
    weight_decay: float = 0.3
    """λ of the regression on noise, in 1/t."""
    replicas: int = 1024
    """SGD replicas of each regression."""
    steps: int = 4000
    """SGD steps of each regression, at least 1,000."""
    network_learning_rate: float = 0.003
    """Learning rate of the network."""
    network_replicas: int = 256
    """SGD replicas of the network."""
    network_steps: int = 4000
    """SGD steps of the network, at least 1,000."""
    burn_in: int = 500
    """Steps of the network before the first record."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        allowed = tuple(name for name in RECIPES["full"] if name != "linear")
        for name, value, among in (("network", self.network, allowed), ("size", self.size, tuple(RECIPES))):
            if value not in among:
                raise ValueError(f"{name} = {value!r}, but it must be one of {', '.join(among)}.")
        _checks.count("modes", self.modes, least=2)
        _checks.require("modes", self.modes, self.modes <= 61, allowed="at most 61, the pixels")
        for name in ("batch_size", "replicas", "network_replicas"):
            _checks.count(name, getattr(self, name))
        for name in ("steps", "network_steps"):
            _checks.count(name, getattr(self, name), least=EVERY * TRACK)
        _checks.count("burn_in", self.burn_in, least=0)
        _checks.require("momentum", self.momentum, 0 <= self.momentum < 1, allowed="in [0, 1)")
        for name in ("learning_rate", "network_learning_rate", "weight_decay"):
            _checks.positive(name, getattr(self, name))


@dataclass(frozen=True)
class Case:
    """A minimum, the law about it in the modes that noise reaches, and an ensemble.

    - name, words; dynamics, minimum [parameters], vectors [parameters, modes], test: the data set of the test or None.
    - curvature: eigenvalues of K = H + λ, descending, [modes]; weight_decay λ, learning_rate η, momentum β.
    - law: covariance of (δ, v) in the modes, [2 modes, 2 modes]; measured: the same of the ensemble. exact: whether the
      law is; error: the largest a_i. proportional: whether C = σ²H/S to O(η), as Assumption 5 has it.
    - path: (δ_1, δ_k, v_1, v_k) of one replica, [TRACK, 4].
    - last: k of q_k, counted among all eigenvectors; silent: how many of the leading modes no noise reaches.
    - least: the smallest C_ii/h_i of the leading modes, over their median.
    """

    name: str
    words: str
    dynamics: sgd.SGD
    minimum: np.ndarray
    vectors: np.ndarray
    test: sgd.data.Dataset | None
    curvature: np.ndarray
    weight_decay: float
    learning_rate: float
    momentum: float
    law: np.ndarray
    exact: bool
    proportional: bool
    error: float
    last: int
    silent: int
    least: float
    measured: Estimate
    path: np.ndarray
    provenance: dict

    @property
    def hessian(self) -> np.ndarray:
        """Eigenvalues of H, without weight decay, [modes]."""
        return self.curvature - self.weight_decay

    @property
    def tolerance(self) -> float:
        """What the law of variances may be off by, relatively: the largest a_i, and as much for anharmonicity."""
        return 0.0 if self.exact else 2 * self.error

    @property
    def discrete(self) -> float:
        """What (10) and (46) may be off by under Assumption 5: εκ, and what steps of finite length change."""
        return self.error + self.learning_rate * float(self.curvature[0]) / (2 * (1 + self.momentum))

    def positions(self, M):
        """Variances along the modes, of a covariance in phase space."""
        return jnp.diagonal(M)[: len(self.curvature)]

    def velocities(self, M):
        """Variances of the velocity along the modes, of a covariance in phase space."""
        return jnp.diagonal(M)[len(self.curvature) :]


def ratio(variances):
    """Of the variance along q_1 and that along q_k."""
    return variances[0] / variances[-1]


def slope(curvature: np.ndarray, variances):
    """d ln variance / d ln h over the modes, by least squares."""
    x = np.log(curvature)
    x = (x - x.mean()) / np.sum((x - x.mean()) ** 2)
    return jnp.sum(x * jnp.log(variances))


def cases(config: PlaneConfig, progress: Progress) -> list[Case]:
    """The three ensembles."""
    return [_noise(config, progress), _digits(config, progress), _network(config, progress)]


# --- regressions --------------------------------------------------------------------------------------------


def _noise(config: PlaneConfig, progress: Progress) -> Case:
    x, y = _pixels()
    labels = sgd.data.FreshLabels(sgd.data.Dataset(x, 0 * y), 1.0)
    words = f"noise for labels, λ = {config.weight_decay:g}"
    return _regression("assumption 5", words, labels, config.weight_decay, config, progress)


def _digits(config: PlaneConfig, progress: Progress) -> Case:
    return _regression("digits", "regression on the parity, λ = 0", sgd.data.Dataset(*_pixels()), 0.0, config, progress)


def _pixels() -> tuple[jax.Array, jax.Array]:
    """Of variance 1, and the parity."""
    digits = sgd.data.digits("parity")
    return digits.x * np.sqrt(digits.x.shape[1]), digits.y


def _regression(name: str, words: str, data, λ: float, config: PlaneConfig, progress: Progress) -> Case:
    x = np.asarray(data.x)
    dynamics = sgd.SGD(
        sgd.Problem(sgd.networks.Linear(x.shape[1], 1), data), learning_rate=config.learning_rate,
        momentum=config.momentum, weight_decay=λ, sampler=config.batch_size,
    )  # fmt: skip
    prediction = _predict(dynamics)
    h, V = np.linalg.eigh(x.T @ x / len(x))
    ε = config.learning_rate * np.sum(h + λ) / (2 * config.batch_size * (1 - config.momentum))
    κ = np.max(np.sum(x**2, axis=1) @ (x @ V) ** 2 / len(x) / (h * h.sum()))
    h, V = h[::-1][: config.modes] + λ, V[:, ::-1][:, : config.modes]
    D = np.kron(np.eye(2), V)
    law = D.T @ np.asarray(prediction.phase_covariance) @ D
    return _case(
        config, progress, name, words, dynamics, np.asarray(prediction.mean), V, h, λ, law, error=float(ε * κ),
        initial=prediction, replicas=config.replicas, steps=config.steps,
        proportional=isinstance(data, sgd.data.FreshLabels),
    )  # fmt: skip


# --- the network --------------------------------------------------------------------------------------------


def _network(config: PlaneConfig, progress: Progress) -> Case:
    trained = pretrained(config.network, config.size)
    h, V, C, reached, least = _modes(trained, config)
    η, β = config.network_learning_rate, config.momentum
    law = np.asarray(HarmonicDescent(h, C, learning_rate=η, momentum=β).phase_covariance())
    λ, kind = trained.weight_decay, config.network.replace("_hidden", "-hidden-layer")
    dynamics = sgd.SGD(trained.problem, learning_rate=η, momentum=β, weight_decay=λ, sampler=config.batch_size)
    return _case(
        config, progress, "network", f"{kind} network, λ = {λ:g}", dynamics, np.asarray(trained.parameters), V, h, λ,
        law, initial=Start(trained.parameters, jnp.asarray(V), jnp.linalg.cholesky(_shifted(law))), test=trained.test,
        error=_growth(trained, config, V, C, law) * float(trained.spectrum().sum() / h.sum()),
        replicas=config.network_replicas, steps=config.network_steps, burn_in=config.burn_in, reached=reached,
        least=least,
    )  # fmt: skip


def _modes(trained: Trained, config: PlaneConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """Curvatures, eigenvectors and noise of the modes that noise reaches, which they are, the least C_ii/h_i of all."""
    found = trained.modes(config.modes)
    noise = sgd.noise.minibatch(trained.problem, sgd.samplers.WithReplacement(config.batch_size))
    C = np.asarray(_noise_along(noise, trained.parameters, found.vectors))
    reached = np.diag(C) > SILENT * np.diag(C).max()
    h, V = np.asarray(found.values), np.asarray(found.vectors)[:, reached]
    share = np.diag(C) / h
    least = float(share.min() / np.median(share))
    return h[reached], V, C[np.ix_(reached, reached)], reached, least


def _growth(trained: Trained, config: PlaneConfig, V: np.ndarray, C: np.ndarray, law: np.ndarray) -> float:
    """The largest a_i; θ* + δ and θ* − δ cancel what is linear in δ."""
    noise = sgd.noise.minibatch(trained.problem, sgd.samplers.WithReplacement(config.batch_size))
    root = np.linalg.cholesky(_shifted(law))[: V.shape[1]]
    δ = np.random.default_rng(config.seed).normal(size=(DRAWS, len(law))) @ root.T @ V.T
    at = [np.diag(_noise_along(noise, trained.parameters + d, jnp.asarray(V))) for d in (*δ, *-δ)]
    return float(np.abs(np.mean(at, axis=0) / np.diag(C) - 1).max())


def _shifted(M: np.ndarray) -> np.ndarray:
    """A covariance with a root, also where it is singular to rounding."""
    return M + 1e-14 * np.diag(np.diag(M))


class Start(eqx.Module):
    """A draw of (θ, v) from a covariance in modes, of which `root` is a root [2 modes, 2 modes]."""

    minimum: jax.Array
    vectors: jax.Array
    root: jax.Array

    def states(self, key: jax.Array, replicas: int) -> sgd.dynamics.State:
        z = jax.random.normal(key, (replicas, len(self.root)), self.root.dtype) @ self.root.T
        δ, v = (part @ self.vectors.T for part in jnp.split(z, 2, axis=1))
        return sgd.dynamics.State(self.minimum[None] + δ, v)


# --- either -------------------------------------------------------------------------------------------------


def _case(
    config, progress, name, words, dynamics, minimum, V, h, λ, law, *, error, initial, replicas, steps, burn_in=0,
    test=None, proportional=False, reached=None, least=1.0,
) -> Case:  # fmt: skip
    key = _ensembles.named(jax.random.key(config.seed), name)
    initial = initial.states(_ensembles.named(key, "start"), replicas) if isinstance(initial, Start) else initial
    # within the recorded steps: the statistics count from the end of the burn-in
    snapshots = Snapshots(tuple(range(0, EVERY * TRACK, EVERY)), PhaseSpace(V[:, [0, -1]], origin=minimum))
    ensemble = _ensembles.simulate(
        dynamics, {"covariance": Covariance(PhaseSpace(V, origin=minimum)), "path": snapshots}, progress, name, key=key,
        replicas=replicas, steps=steps, every=EVERY, burn_in=burn_in, initial=initial,
    )  # fmt: skip
    η, β = float(dynamics.learning_rate), config.momentum
    reached = np.ones(len(h), bool) if reached is None else reached
    path = np.asarray(ensemble.estimates["path"].values)[:, 0]
    return Case(
        name, words, dynamics, minimum, V, test, h, λ, η, β, law, test is None, proportional,
        error, int(np.flatnonzero(reached)[-1]) + 1, int(np.sum(~reached)), least,
        ensemble.estimates["covariance"], path, ensemble.provenance,
    )  # fmt: skip
