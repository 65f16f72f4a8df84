"""How far Hessian and gradient noise are from commuting and from proportional, and what SGD makes of it.

Kunin et al. take H Σ = Σ H (Assumption 3), and Σ = σ² H (Assumption 5), of which they say that regressions have it.
They have it where residuals do not depend on inputs: the control, normal data with the digits' H. The digits do not
have it, even less do networks at their minimum. One-hot classes add modes that have curvature and no noise at all:
residuals of the ten outputs sum to 0, so nothing drives the readout's sum.

What follows for SGD on the digits, over momentum at one η/(1 − β), is measured in ensembles that start from SGD's
exact law (`_commuting_laws` has the laws). Variances along modes of H need C_ii alone, so that (8), (9) give them and
what is made of them, loss and speed; correlations between modes, principal components and Cov(θ, v) are beyond it.
Errors: of H and Σ, jackknife over groups of images; of control data, over draws; of ensembles, over replicas.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._pretrained import RECIPES, pretrained
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments.beyond import _commuting_claims as claims
from sgdynamics.experiments.beyond import _commuting_measures as measures
from sgdynamics.experiments.beyond._commuting_data import Structure, stored
from sgdynamics.experiments.beyond._commuting_laws import case
from sgdynamics.experiments.beyond._commuting_measures import Matrices, jackknife
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.statistics import Covariance, PhaseSpace

TARGETS = ("parity", "value")
NETWORKS = ("one_hidden", "two_hidden")


@dataclass(frozen=True)
class CommutingConfig:
    """H and Σ of several data sets, and SGD with momentum on the first target."""

    targets: tuple[str, ...] = ("parity", "value")
    """Regressions on the digits: "parity" or "value"."""
    networks: tuple[str, ...] = ("one_hidden", "two_hidden")
    """Networks at their minimum, see `_pretrained`."""
    size: str = "quick"
    """Of the networks, "quick" or "full"."""
    inputs: int | None = None
    """Leading principal components of the images that the regressions see; all pixels that vary if None."""
    modes: int = 30
    """Leading modes over which Σ = σ² H is judged."""
    groups: int = 20
    """Groups of images for the jackknife of regressions."""
    few_groups: int = 10
    """The same of networks and of control data."""
    realisations: int = 12
    """Draws of control data."""
    momenta: tuple[float, ...] = (0.0, 0.9, 0.99)
    """Momenta β of the ensembles, in [0, 1), the last one the largest."""
    rate: float = 1.0
    """η/(1 − β) with the learning rate η; time t = η × step."""
    batch_size: int = 64
    """Minibatch size S, drawn with replacement."""
    replicas: int = 512
    """SGD replicas of each ensemble, a multiple of 32."""
    steps: int = 1500
    """SGD steps."""
    every: int = 25
    """Steps between two records."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("batch_size", "replicas", "steps", "every"):
            _checks.count(name, getattr(self, name))
        for name in ("groups", "few_groups", "realisations"):
            _checks.count(name, getattr(self, name), least=3)
        _checks.count("modes", self.modes, least=3)
        if self.inputs is not None:
            _checks.count("inputs", self.inputs, least=3)
        _checks.positive("rate", self.rate)
        _checks.require("replicas", self.replicas, self.replicas % 32 == 0, allowed="a multiple of 32")
        _among("targets", self.targets, TARGETS)
        _among("networks", self.networks, NETWORKS)
        _among("size", (self.size,), tuple(RECIPES))
        _checks.require("targets", len(self.targets), len(self.targets) > 0, allowed="at least one")
        several = len(self.momenta) > 0 and list(self.momenta) == sorted(set(self.momenta))
        _checks.require("momenta", self.momenta, several, allowed="ascending, and at least one")
        for β in self.momenta:
            _checks.require("momenta", β, 0 <= β < 1, allowed="in [0, 1)")


def _among(name: str, values: tuple[str, ...], known: tuple[str, ...]) -> None:
    if not set(values) <= set(known):
        raise ValueError(f"{name} = {values}, but all must be among {', '.join(map(repr, known))}.")


def run(config: CommutingConfig, progress: Progress) -> Result:
    """Structure of all data sets; then ensembles over momentum, on the first target."""
    key = jax.random.key(config.seed)
    structures = _structures(config, key)
    data = digits(config, config.targets[0])
    runs, ensembles = {}, {}
    for β in config.momenta:
        setting = case(data, rate=config.rate, momentum=β, batch_size=config.batch_size)
        label = f"momentum = {β:g}"
        ensemble = _ensembles.simulate(
            setting.descent, Covariance(of=PhaseSpace(jnp.asarray(setting.V), setting.prediction.mean)), progress,
            label, key=key, replicas=config.replicas, steps=config.steps, every=config.every,
            initial=setting.prediction,
        )  # fmt: skip
        runs[label], ensembles[label] = (setting, ensemble.estimates), ensemble.provenance
    found = claims.of_structures(structures) + claims.of_printed(runs[label][0])
    found += [claim for label, pair in runs.items() for claim in claims.of_run(label, *pair)]
    return Result(stored(config.momenta, structures, list(runs.values())), found, ensembles)


def digits(config: CommutingConfig, target: Any) -> sgd.data.Dataset:
    """In random order, so that groups of images are alike."""
    whole = sgd.data.digits(target)
    order = np.random.default_rng(config.seed).permutation(len(whole.x))
    x = np.asarray(whole.x)
    if config.inputs is not None:
        x = x @ np.linalg.eigh(x.T @ x)[1][:, -config.inputs :]
    return sgd.data.Dataset(jnp.asarray(x[order]), whole.y[order])


# --- H and Σ ------------------------------------------------------------------------------------------------


def _structures(config: CommutingConfig, key: jax.Array) -> dict[str, Structure]:
    """Of digits, of the two controls, and of networks."""
    structures = {}
    for target in config.targets:
        x, y = _arrays(digits(config, target))
        structures[target] = _structure(
            f"digits, {target}", measures.of_regression(x, y, config.groups), config.groups, config.modes
        )
    x, y = _arrays(digits(config, config.targets[0]))
    rng = np.random.default_rng(np.asarray(jax.random.key_data(_ensembles.named(key, "control"))))
    root = np.linalg.cholesky(x.T @ x / len(x)).T
    r, groups = measures.residuals(x, y), config.few_groups
    normal = lambda: measures.of_regression(rng.normal(size=x.shape) @ root, rng.normal(size=len(x)), groups)
    shuffled = lambda: measures.of_residuals(x, rng.permutation(r), groups)
    structures["normal"] = _control("normal data of the same H", normal, config)
    structures["shuffled"] = _control(f"digits, {config.targets[0]}, residuals shuffled", shuffled, config)
    return structures | {name: _network(config, name) for name in config.networks}


def _arrays(data: sgd.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(data.x), np.asarray(data.y)


def _structure(words: str, matrices: Matrices, groups: int, modes: int, readout: int = 0) -> Structure:
    h, _, C = measures.in_modes(*matrices(None))
    c, curved = np.diagonal(C), measures.curved(h)
    noiseless = int(np.sum(curved & measures.noiseless(c)))
    measured = jackknife(matrices, groups, modes)
    return Structure(words, measured, h[curved], c[curved], noiseless, readout)


def _control(words: str, draw: Callable[[], Matrices], config: CommutingConfig) -> Structure:
    """The mean over draws; curvatures and noise of the last one."""
    draws = [_structure(words, draw(), config.few_groups, config.modes) for _ in range(config.realisations)]
    return Structure(words, over_realisations(np.stack([d.measured.value for d in draws])), draws[-1].h, draws[-1].c)


def _network(config: CommutingConfig, name: str) -> Structure:
    trained = pretrained(name, config.size)
    order = np.random.default_rng(config.seed).permutation(len(trained.problem.data.x))
    groups, words = config.few_groups, name.replace("_", " ")
    parts = measures.of_network(trained.problem, trained.parameters, groups, order)
    return _structure(words, parts.matrices, groups, config.modes, trained.recipe.widths[-1] + 1)


COMMUTING = register(
    Experiment(
        name="beyond/commuting",
        summary="how far Hessian and gradient noise are from commuting, and what the general stationary law changes",
        source=source("Assumptions 3 and 5, Sec. 5-7"),
        config=CommutingConfig,
        presets={
            "quick": CommutingConfig(networks=("two_hidden",)),
            "paper": CommutingConfig(
                size="full", realisations=100, momenta=(0.0, 0.5, 0.9, 0.97, 0.99), replicas=2048, steps=5000
            ),
        },
        run=run,
        figure="beyond/commuting",
    )
)
"""How far from commuting."""
