"""Fig. 2's regression: its configuration, the mode that is looked at, and what theory says about it.

With x̄ = x q along the top eigenvector q of H_x = XᵀX/P and u a unit vector over the outputs, q ⊗ u is an eigenvector
of the Hessian H_x ⊗ 1, of the same curvature h for every u. Taken is the u along which the start is furthest from the
minimum. The residuals r u drive it alone: it moves as the regression on the one target y u does.
"""

from dataclasses import dataclass

import numpy as np

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.theory import momentum
from sgdynamics.theory.recursion import MinibatchMoments

LARGEST = 256  # inputs up to which second moments are followed step by step
STRIDE = 5  # steps between two covariances
NULL = 1e-10  # of the largest curvature


@dataclass(frozen=True)
class Fig2Config:
    """Position and velocity along the top eigenvector of a regression, from the start on."""

    momenta: tuple[float, ...] = (0.0, 0.9, 0.99)
    """Momenta β, in [0, 1)."""
    learning_rate: float = 0.12
    """Learning rate η; time t = η × step. The digits' top curvature is 0.12/t."""
    batch_size: int = 512
    """Minibatch size S, drawn with replacement."""
    replicas: int = 2048
    """SGD replicas of each ensemble, a multiple of 32."""
    steps: int = 300
    """SGD steps, a multiple of 5."""
    samples: int | None = None
    """How many images, the first ones; all if None."""
    cifar10: str | None = None
    """Folder or archive of CIFAR-10's binary files; the handwritten digits if None."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("batch_size", "replicas"):
            _checks.count(name, getattr(self, name))
        _checks.count("steps", self.steps, least=10)
        _checks.require("steps", self.steps, self.steps % STRIDE == 0, allowed=f"a multiple of {STRIDE}")
        if self.samples is not None:
            _checks.count("samples", self.samples, least=10)
        _checks.require("replicas", self.replicas, self.replicas % 32 == 0, allowed="a multiple of 32")
        _checks.positive("learning_rate", self.learning_rate)
        several = len(self.momenta) > 0 and list(self.momenta) == sorted(set(self.momenta))
        _checks.require("momenta", self.momenta, several, allowed="ascending, and at least one")
        for β in self.momenta:
            _checks.require("momenta", β, 0 <= β < 1, allowed="in [0, 1)")


@dataclass(frozen=True)
class Mode:
    """One direction q ⊗ u: curvature h, noise C of the minibatch gradient at the minimum, and where the minimum is."""

    x: np.ndarray
    y: np.ndarray
    direction: np.ndarray
    outputs: np.ndarray
    curvature: float
    noise: float
    minimum: float

    @property
    def theta(self) -> np.ndarray:
        """q ⊗ u as parameters of `networks.Linear`: row by row."""
        return np.kron(self.outputs, self.direction)


def data_of(config: Fig2Config) -> sgd.data.Dataset:
    """Images and one-hot classes."""
    if config.cifar10 is not None:
        return sgd.data.cifar10(config.cifar10, samples=config.samples)
    whole = sgd.data.digits("class")
    return sgd.data.Dataset(whole.x[: config.samples], whole.y[: config.samples])


def mode_of(data: sgd.data.Dataset, batch_size: int) -> Mode:
    """The top eigenvector, with the outputs in whose direction the minimum is furthest from θ = 0, at a δ(0) > 0."""
    x, y = np.asarray(data.x, float), np.asarray(data.y, float)
    h, V = np.linalg.eigh(x.T @ x / len(x))
    q, reached = V[:, -1], h > NULL * h[-1]
    b = V[:, reached].T @ (x.T @ y / len(x)) / h[reached, None]
    along = b[-1]  # of the minimum, on q
    u = -along / np.linalg.norm(along)
    residual = (y - x @ (V[:, reached] @ b)) @ u
    noise = np.mean((residual * (x @ q)) ** 2) / batch_size
    return Mode(x, y @ u, q, u, float(h[-1]), float(noise), float(along @ u))


@dataclass(frozen=True)
class Curves:
    """Means [steps + 1, 2] of (δ, v) along the mode, and covariances [records, 2, 2] at every fifth step.

    - exact: SGD step by step, with the noise that it has at every θ (None where there are too many inputs);
      frozen: with the noise of the minimum.
    - sde: (5) and App. F.2; later: the same half a step later. first_order: (5) without inertia.
    """

    mean: np.ndarray
    covariance: np.ndarray | None
    sde_mean: np.ndarray
    later_mean: np.ndarray
    sde_covariance: np.ndarray
    first_order: np.ndarray


def curves(mode: Mode, config: Fig2Config, β: float) -> Curves:
    """From δ(0) = −minimum, at rest."""
    n, η, h, a = np.arange(config.steps + 1), config.learning_rate, mode.curvature, -mode.minimum
    setting = {"learning_rate": η, "momentum": β}
    stacked = lambda pair: np.stack([np.asarray(part) for part in pair], axis=-1)
    return Curves(
        stacked(momentum.mean_after(n, a, 0.0, h, **setting)),
        second_moments(mode, config, β) if mode.x.shape[1] <= LARGEST else None,
        stacked(momentum.mean_at(n * η, a, 0.0, h, **setting)),
        stacked(momentum.mean_at((n + 0.5) * η, a, 0.0, h, **setting)),
        np.asarray(momentum.covariance_at(n[::STRIDE] * η, h, mode.noise, **setting)),
        a * np.exp(-h * η * n / (1 - β)),
    )


def second_moments(mode: Mode, config: Fig2Config, β: float) -> np.ndarray:
    """Covariance of (δ, v) along q at every fifth step, [records, 2, 2], from a definite start."""
    moments = MinibatchMoments(
        mode.x, mode.y, learning_rate=config.learning_rate, sampling_factor=1 / config.batch_size, momentum=β
    )
    d = mode.x.shape[1]
    m = np.concatenate([-np.asarray(moments.mean), np.zeros(d)])
    M = np.outer(m, m)
    plane = np.kron(np.eye(2), mode.direction[:, None])
    out = [np.zeros((2, 2))]
    for _ in range(config.steps // STRIDE):
        m, M = moments.after(STRIDE, m, M)
        out.append(np.asarray(plane.T @ (M - np.outer(m, m)) @ plane))
    return np.stack(out)
