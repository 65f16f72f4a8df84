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
import hashlib
import json
import os
import pathlib
import tempfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics._linalg import LeadingEigenpairs, leading_eigenpairs
from sgdynamics._minimise import descent
from sgdynamics._types import Scalar, Vector
from sgdynamics.data import Dataset, digits
from sgdynamics.experiments._provenance import provenance

VERSION = 1  # of how they are made: another one makes every network again
TRAINING = 1437
TOLERANCE = 1e-8  # |gradient| left, of that at the start
ROUNDS, DESCENT_STEPS, NEWTON_STEPS, PRODUCTS = 10, 500, 30, 500
ENTER = 1e-3  # |gradient|, of that at the start, below which Newton's method takes over
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
        return _leading(self.problem, self.parameters, self.weight_decay, count, 1.0)

    def spectrum(self) -> Vector:
        """All eigenvalues of ∇²L(θ*) + λ, descending: as many products with the Hessian as there are parameters."""
        return _spectrum(self.problem, self.parameters, self.weight_decay)


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
    path = cache(folder) / f"{recipe.architecture}-{_digest(recipe.description.encode())[:16]}.npz"
    problem = sgd.Problem(recipe.network(), recipe.data()[0])
    kept = _load(path, recipe, problem)
    if kept is not None:
        return _trained(recipe, problem, *kept, from_cache=True)
    started, circumstances = time.perf_counter(), provenance()
    θ = minimum(problem, recipe.weight_decay)
    seconds = time.perf_counter() - started
    _store(path, recipe, θ, seconds, circumstances)
    return _trained(recipe, problem, θ, seconds, circumstances, from_cache=False)


def cache(folder: str | os.PathLike | None = None) -> pathlib.Path:
    """Where networks are kept."""
    if folder is not None:
        return pathlib.Path(folder)
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "sgdynamics" / "networks"


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


def _accuracy(problem: sgd.Problem, θ: Vector, data: Dataset) -> float:
    told, true = (np.asarray(scores).argmax(axis=1) for scores in (problem.predictions(θ, data), data.y))
    return float(np.mean(told == true))


def _gradient_norms(problem: sgd.Problem, θ: Vector, λ: float) -> tuple[float, float]:
    """|∇L + λ θ| at θ and at the start."""
    norm = jax.jit(lambda θ: jnp.linalg.norm(problem.gradient(θ) + λ * θ))
    return float(norm(θ)), float(norm(problem.parameters))


@eqx.filter_jit
def _leading(problem: sgd.Problem, θ: Vector, λ: float, count: int, sign: float) -> LeadingEigenpairs:
    return leading_eigenpairs(lambda v: sign * _product(problem, θ, λ, v), θ.shape[0], count)


@eqx.filter_jit
def _spectrum(problem: sgd.Problem, θ: Vector, λ: float) -> Vector:
    K = jax.lax.map(lambda v: _product(problem, θ, λ, v), jnp.eye(θ.shape[0]))
    return jnp.linalg.eigvalsh((K + K.T) / 2)[::-1]


def _product(problem: sgd.Problem, θ: Vector, λ: float, v: Vector) -> Vector:
    """(∇²L(θ) + λ) v."""
    arrays, rest = eqx.partition(problem, eqx.is_array)

    def product(arrays: sgd.Problem, θ: Vector, v: Vector) -> Vector:
        return eqx.combine(arrays, rest).hessian_product(θ, v)

    # convolutions with many kernels at once are far slower than one after the other, products of matrices faster
    is_convolutional = isinstance(problem.network, sgd.networks.ConvNet)
    product = jax.custom_batching.sequential_vmap(product) if is_convolutional else product
    return product(arrays, θ, v) + λ * v


# --- the minimum --------------------------------------------------------------------------------------------


def minimum(problem: sgd.Problem, weight_decay: float) -> Vector:
    """θ* from the problem's own start; without a matrix [parameters, parameters], of which convolutions are slow."""
    θ, left, first = _minimised(problem, jnp.asarray(weight_decay, jnp.float64))
    _checks.require(
        "|gradient| of a pretrained network", left, left <= TOLERANCE * first,
        allowed=f"below {TOLERANCE} × {first}", remedy="Give the recipe a larger weight_decay.",
    )  # fmt: skip
    return θ


@eqx.filter_jit
def _minimised(problem: sgd.Problem, λ: Scalar) -> tuple[Vector, Scalar, Scalar]:
    objective = lambda θ: problem.loss(θ) + λ * jnp.sum(θ**2) / 2
    gradient = lambda θ: problem.gradient(θ) + λ * θ
    product = lambda θ, v: problem.hessian_product(θ, v) + λ * v
    start = problem.parameters
    first = jnp.linalg.norm(gradient(start))
    target = TOLERANCE * first

    def attempt(carry):
        θ, _, k = carry
        θ, _ = descent(objective, θ, ENTER * first * 0.1**k, DESCENT_STEPS)
        θ, left = _newton(gradient, product, θ, target)
        return θ, left, k + 1

    unfinished = lambda carry: (carry[1] > target) & (carry[2] < ROUNDS)
    θ, left, _ = jax.lax.while_loop(unfinished, attempt, (start, jnp.asarray(jnp.inf), 0))
    return θ, left, first


def _newton(
    gradient: Callable[[Vector], Vector], product: Callable[[Vector, Vector], Vector], θ: Vector, target: Scalar
) -> tuple[Vector, Scalar]:
    """θ ← θ − K⁻¹ g by conjugate gradients while |g| halves; gives up where it does not, as far from a minimum."""

    def step(carry):
        θ, left, _, k = carry
        g = gradient(θ)
        Δ = jax.scipy.sparse.linalg.cg(lambda v: product(θ, v), -g, tol=1e-3, maxiter=PRODUCTS)[0]
        norm = jnp.linalg.norm(gradient(θ + Δ))
        # a saddle attracts Newton's method: what CG solves must be a descent along positive curvature
        better = (norm < left / 2) & (Δ @ product(θ, Δ) > 0)
        return jnp.where(better, θ + Δ, θ), jnp.where(better, norm, left), better, k + 1

    going = lambda carry: (carry[1] > target) & carry[2] & (carry[3] < NEWTON_STEPS)
    start = (θ, jnp.linalg.norm(gradient(θ)), jnp.asarray(True), 0)
    θ, left, *_ = jax.lax.while_loop(going, step, start)
    return θ, left


# --- the cache ----------------------------------------------------------------------------------------------


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _store(path: pathlib.Path, recipe: Recipe, θ: Vector, seconds: float, circumstances: dict) -> None:
    """All at once: a file that is half written is never seen under its name."""
    values = np.asarray(θ)
    content = {
        "parameters": values, "recipe": recipe.description, "seconds": seconds,
        "digest": _digest(values.tobytes() + recipe.description.encode()), "provenance": json.dumps(circumstances),
    }  # fmt: skip
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".partial", delete=False) as file:
            np.savez(file, **content)
        os.replace(file.name, path)
    except OSError as error:
        warnings.warn(f"{path} could not be written, so that the network is not kept: {error}", stacklevel=3)


def _load(path: pathlib.Path, recipe: Recipe, problem: sgd.Problem) -> tuple[Vector, float, dict] | None:
    """Parameters, seconds and provenance; None where there is nothing, or nothing that can be trusted."""
    try:
        with np.load(path, allow_pickle=False) as file:
            values, seconds = file["parameters"], float(file["seconds"])
            text, digest, circumstances = (str(file[name]) for name in ("recipe", "digest", "provenance"))
        circumstances = json.loads(circumstances)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    whole = digest == _digest(values.tobytes() + recipe.description.encode()) and text == recipe.description
    if not whole or values.dtype != np.float64 or values.shape != problem.parameters.shape:
        return None
    left, start = _gradient_norms(problem, jnp.asarray(values), recipe.weight_decay)
    # twice: another processor rounds otherwise
    return (jnp.asarray(values), seconds, circumstances) if left <= 2 * TOLERANCE * start else None


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


if __name__ == "__main__":
    main()
