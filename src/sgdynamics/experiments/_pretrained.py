"""Small networks on the digits, each at a minimum of L + ½λ|θ|², found once and kept.

Ten outputs, one for each digit, with the squared error to the one-hot class minus its mean. Its minimum is at finite
θ and its gradient noise stays bounded away from zero, whereas the cross-entropy of images that can be separated has
its infimum at infinity, where noise and curvature die. Weight decay λ lifts what symmetries and spare units leave flat.
It does not make the lowest eigenvalue of ∇²L + λ equal λ: ∇²L of these networks has negative eigenvalues at the minimum
of L + ½λ|θ|², so that some modes are far softer than λ. tanh has no kinks, so that the gradient reaches zero.
No batch norm: θ is all there is.

    linear           f(x) = W x
    one_hidden       61 → tanh → 10
    two_hidden       61 → tanh → tanh → 10
    convolutional    two strided 3 × 3 convolutions, a linear layer
    residual         the same with a residual block in each stage: Kunin et al.'s ResNet-18, for two cores

Pixels have variance 1 (not 1/61 as in `data.digits`: biases and weights then learn alike), and 1,437 images at random
are for training, 360 for the test. L-BFGS leads into a basin, and Newton's method with conjugate gradients, which sees
gradients and never differences of losses, to its bottom.

Parameters are kept as .npz beside what they were made with, under $XDG_CACHE_HOME/sgdynamics/networks (unless told:
~/.cache); what is broken, made otherwise, or no minimum is made again. `make networks` fills the cache.
"""

import dataclasses
import json
import logging
import os
import time
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics._linalg import LeadingEigenpairs
from sgdynamics._types import Vector
from sgdynamics.data import Dataset, digits
from sgdynamics.experiments._pretrained_cache import cache, digest, load, store
from sgdynamics.experiments._pretrained_minimum import TOLERANCE, leading, minimum, spectrum
from sgdynamics.experiments._provenance import provenance

_log = logging.getLogger(__name__)

VERSION = 1  # of how they are made: another one makes every network again
TRAINING = 1437
SMALL = 1e-3  # of the largest curvature: modes above it are counted


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What decides a network's parameters, and nothing else.

    - architecture: one of the five; widths: its hidden units or channels; blocks: residual blocks in each stage.
    - samples: training images, the first of the 1,437; weight_decay λ; seed: of the start and of the split.
    """

    architecture: str
    widths: tuple[int, ...] = ()
    samples: int = TRAINING
    blocks: int = 0
    weight_decay: float = 0.01
    seed: int = 0

    def network(self) -> eqx.Module:
        """At its start."""
        key = jax.random.fold_in(jax.random.key(self.seed), 1)
        if self.architecture == "linear":
            return sgd.networks.Linear(61, 10)
        if self._sees_images:
            return sgd.networks.ConvNet(self.widths, 10, key=key, blocks=self.blocks)
        return sgd.networks.MLP((61, *self.widths, 10), key=key)

    def data(self) -> tuple[Dataset, Dataset]:
        """Training and test images."""
        whole = digits("class", pixels="all" if self._sees_images else "varying")
        whole = Dataset(whole.x * np.sqrt(61.0), whole.y)
        train, test = whole.split(jax.random.key(self.seed), TRAINING)
        return Dataset(train.x[: self.samples], train.y[: self.samples]), test

    @property
    def _sees_images(self) -> bool:
        return self.architecture in ("convolutional", "residual")

    @property
    def description(self) -> str:
        """In one line of JSON, by which a kept network is known again."""
        return json.dumps({"version": VERSION, "tolerance": TOLERANCE} | dataclasses.asdict(self), sort_keys=True)


RECIPES = {
    "full": {
        "linear": Recipe("linear"),
        "one_hidden": Recipe("one_hidden", (20,)),
        "two_hidden": Recipe("two_hidden", (16, 16)),
        "convolutional": Recipe("convolutional", (8, 12)),
        "residual": Recipe("residual", (4, 8), blocks=1),
    },
    "quick": {
        "linear": Recipe("linear", samples=400),
        "one_hidden": Recipe("one_hidden", (8,), samples=400),
        "two_hidden": Recipe("two_hidden", (7, 7), samples=400),
        "convolutional": Recipe("convolutional", (4, 6), samples=400),
        "residual": Recipe("residual", (2, 4), samples=400, blocks=1),
    },
}


class Trained(eqx.Module):
    """A network at a minimum.

    - problem: network, training images and squared error; test: the test images, for `problem.loss(θ, data=test)`.
    - parameters θ* [parameters], weight_decay λ: ∇L(θ*) + λ θ* = 0 to `gradient_norm`, of `start_gradient_norm` at the
      start.
    - loss, test_loss: without weight decay. accuracy, test_accuracy: the share of images told right.
    - seconds: what finding it took; from_cache: whether it took that this time.
    """

    recipe: Recipe = eqx.field(static=True)
    problem: sgd.Problem
    test: Dataset
    parameters: Vector
    weight_decay: float = eqx.field(static=True)
    loss: float = eqx.field(static=True)
    test_loss: float = eqx.field(static=True)
    accuracy: float = eqx.field(static=True)
    test_accuracy: float = eqx.field(static=True)
    gradient_norm: float = eqx.field(static=True)
    start_gradient_norm: float = eqx.field(static=True)
    seconds: float = eqx.field(static=True)
    from_cache: bool = eqx.field(static=True)
    provenance: dict[str, Any] = eqx.field(static=True)

    def modes(self, count: int) -> LeadingEigenpairs:
        """The `count` leading eigenpairs of ∇²L(θ*) + λ, with residuals."""
        return leading(self.problem, self.parameters, self.weight_decay, count)

    def spectrum(self) -> Vector:
        """All eigenvalues of ∇²L(θ*) + λ, descending: as many products with the Hessian as there are parameters."""
        return spectrum(self.problem, self.parameters, self.weight_decay)


def pretrained(network: str | Recipe, size: str = "quick", *, folder: str | os.PathLike | None = None) -> Trained:
    """A network at its minimum, from the cache where it is there.

    Arguments
    - network: "linear", "one_hidden", "two_hidden", "convolutional", "residual", or a `Recipe`.
    - size: "quick" (about 600 parameters, 400 images, seconds) or "full" (up to 2,130 parameters, 1,437 images,
      minutes; `make networks` does it beforehand). Of no meaning with a `Recipe`.
    - folder: of the cache.

    Raises `ValueError` for other names, and where no minimum is found.
    """
    _checks.x64()
    recipe = network if isinstance(network, Recipe) else _recipe(network, size)
    path = cache(folder) / f"{recipe.architecture}-{digest(recipe.description.encode())[:16]}.npz"
    problem = sgd.Problem(recipe.network(), recipe.data()[0])
    kept = load(path, recipe.description)
    if kept is not None and _is_minimum(recipe, problem, kept[0]):
        _log.info("network %s at its minimum: found in %s", recipe.architecture, path)
        θ, seconds, circumstances = kept
        return _trained(recipe, problem, jnp.asarray(θ), seconds, circumstances, from_cache=True)
    _log.info("network %s at its minimum: not in %s, made now", recipe.architecture, path)
    started, circumstances = time.perf_counter(), provenance()
    θ = minimum(problem, recipe.weight_decay)
    seconds = time.perf_counter() - started
    store(path, recipe.description, np.asarray(θ), seconds, circumstances)
    return _trained(recipe, problem, θ, seconds, circumstances, from_cache=False)


def _recipe(name: str, size: str) -> Recipe:
    if size not in RECIPES:
        raise ValueError(f"size = {size!r}, but it must be one of {', '.join(map(repr, RECIPES))}.")
    if name not in RECIPES[size]:
        raise ValueError(f"network = {name!r}, but it must be one of {', '.join(map(repr, RECIPES[size]))}.")
    return RECIPES[size][name]


def _trained(
    recipe: Recipe, problem: sgd.Problem, θ: Vector, seconds: float, circumstances: dict, *, from_cache: bool
) -> Trained:
    test = recipe.data()[1]
    at = lambda data: (float(problem.loss(θ, data)), _accuracy(problem, θ, data))
    (loss, accuracy), (test_loss, test_accuracy) = at(problem.data), at(test)
    left, start = _gradient_norms(problem, θ, recipe.weight_decay)
    return Trained(
        recipe, problem, test, θ, recipe.weight_decay, loss, test_loss, accuracy, test_accuracy,
        left, start, seconds, from_cache, circumstances,
    )  # fmt: skip


def _is_minimum(recipe: Recipe, problem: sgd.Problem, θ: np.ndarray) -> bool:
    if θ.shape != problem.parameters.shape:
        return False
    left, start = _gradient_norms(problem, jnp.asarray(θ), recipe.weight_decay)
    return left <= 2 * TOLERANCE * start  # twice: another processor rounds otherwise


def _accuracy(problem: sgd.Problem, θ: Vector, data: Dataset) -> float:
    told, true = (np.asarray(scores).argmax(axis=1) for scores in (problem.predictions(θ, data), data.y))
    return float(np.mean(told == true))


def _gradient_norms(problem: sgd.Problem, θ: Vector, λ: float) -> tuple[float, float]:
    """|∇L + λ θ| at θ and at the start."""
    norm = jax.jit(lambda θ: jnp.linalg.norm(problem.gradient(θ) + λ * θ))
    return float(norm(θ)), float(norm(problem.parameters))


# --- `make networks` ----------------------------------------------------------------------------------------


def report(trained: Trained) -> str:
    """One line on a network."""
    h = np.asarray(trained.spectrum())
    return (
        f"{trained.recipe.architecture:14} {len(h):5} parameters {trained.seconds:6.1f} s  "
        f"right {trained.accuracy:.4f} / {trained.test_accuracy:.4f}  "
        f"loss {trained.loss:.5f} / {trained.test_loss:.5f}  "
        f"h {h[0]:.3f}, {(h > SMALL * h[0]).sum()} above {SMALL:g} of it, lowest {h[-1]:.6f}  "
        f"|gradient| {trained.gradient_norm:.1e} of {trained.start_gradient_norm:.2f}"
    )


def main(sizes: Sequence[str] = tuple(RECIPES)) -> None:
    """Every network that is not in the cache."""
    jax.config.update("jax_enable_x64", True)
    for size in sizes:
        for name in RECIPES[size]:
            print(f"{size:6}", report(pretrained(name, size)), flush=True)
