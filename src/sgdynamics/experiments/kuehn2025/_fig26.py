"""Fig. 26, and the slides' "test accuracy is 0.7 % ± 0.2 % higher": training with epochs and with replacement.

A small convolutional network on the digits (or CIFAR-10), cross-entropy, momentum, and a learning rate that decays
as η_k = η_0 e^{−k/(decay × M)}, M batches to an epoch. Replica r starts from weights of its own, the same with either
sampling, so that differences are taken between pairs; what they share is the start alone. Loss and accuracy are those
at ends of epochs, where the weights' fluctuations are smallest with epochs: this is where networks are used. The
excess loss at a constant learning rate, averaged over the epoch, is in `_fig24`; here it dies with the learning rate.
Errors are those over networks, on one fixed set of test images: another set may have another difference.
"""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

import sgdynamics as sgd
from sgdynamics import _checks, samplers
from sgdynamics.data import Dataset, cifar10, digits
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import dataset, measurement, variable
from sgdynamics.experiments.kuehn2025._source import source
from sgdynamics.statistics import Estimate, Snapshots

SLIDES = 0.007  # difference in test accuracy
SAMPLINGS = {"epochs": samplers.Epochs, "replacement": samplers.WithReplacement}
QUANTITIES = {
    "train_loss": "training loss", "train_accuracy": "training accuracy",
    "test_loss": "test loss", "test_accuracy": "test accuracy",
}  # fmt: skip

Curves = dict[str, Float[np.ndarray, "records replicas"]]


@dataclass(frozen=True)
class Fig26Config:
    """Training from the start, with both samplings."""

    channels: tuple[int, ...] = (4, 6)
    """Of the convolutions."""
    samples: int = 400
    """Training images P."""
    test_samples: int = 360
    """Test images."""
    batch_size: int = 20
    """Minibatch size S."""
    learning_rate: float = 0.02
    """At the start."""
    decay: float = 10.0
    """Epochs in which the learning rate falls by e."""
    momentum: float = 0.9
    """β."""
    epochs: int = 30
    """Length of the training."""
    records: int = 12
    """At the ends of about so many epochs, more of them early."""
    early: int = 5
    """An epoch of the early phase, for which there are claims."""
    replicas: int = 256
    """Pairs of networks."""
    cifar10: str | None = None
    """Folder or archive of CIFAR-10's binary files, which are then used in place of the digits; null: the digits."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("samples", "test_samples", "batch_size", "epochs", "early"):
            _checks.count(name, getattr(self, name))
        for name, least in (("records", 3), ("replicas", 2)):
            _checks.count(name, getattr(self, name), least=least)
        for name in ("learning_rate", "decay", "channels"):
            _checks.positive(name, np.asarray(getattr(self, name)))
        _checks.require("momentum", self.momentum, 0 <= self.momentum < 1, allowed="in [0, 1)")
        _checks.require("early", self.early, self.early < self.epochs, allowed=f"below the {self.epochs} epochs")
        fits = self.batch_size <= self.samples
        _checks.require("batch_size", self.batch_size, fits, allowed=f"at most the {self.samples} samples")
        most = 1797 - self.test_samples
        few = self.cifar10 is not None or self.samples <= most
        _checks.require("samples", self.samples, few, allowed=f"at most {most} digits beside those of the test")

    @property
    def batches(self) -> int:
        """M."""
        return self.samples // self.batch_size

    @property
    def ends(self) -> Int[np.ndarray, " records"]:
        """The epochs after which networks are looked at."""
        times = np.geomspace(1, self.epochs, self.records).round().astype(int)
        return np.unique(np.concatenate([[0, self.early, self.epochs], times]))


class Decaying(eqx.Module):
    """η_0 e^{−k/steps}."""

    start: float = eqx.field(static=True)
    steps: float = eqx.field(static=True)

    def __call__(self, step: Any) -> Float[Array, ""]:
        return self.start * jnp.exp(-jnp.asarray(step, jnp.float32) / self.steps)


def run(config: Fig26Config, progress: Progress) -> Result:
    """The same starts, trained with either sampling."""
    train, test, image = _images(config)
    key = jax.random.key(config.seed)
    network = lambda key: sgd.networks.ConvNet(config.channels, 10, key=key, image=image)
    problem = sgd.Problem(network(key), train, sgd.cross_entropy)
    keys = jax.random.split(_ensembles.named(key, "starts"), config.replicas)
    starts = jax.vmap(lambda key: sgd.Problem(network(key), train, sgd.cross_entropy).parameters)(keys)
    curves, runs = {}, {}
    for name in SAMPLINGS:
        curves[name], runs[name] = _trained(problem, test, name, starts, config, progress)
    return Result(_data(curves, config), _claims(curves, config), runs)


def _images(config: Fig26Config) -> tuple[Dataset, Dataset, tuple[int, int, int]]:
    """Training and test images, pixels of variance 1, with classes; the shape of an image."""
    if config.cifar10 is None:
        whole = digits("class", pixels="all")
        labels = np.argmax(np.asarray(whole.y), axis=1).astype(np.int32)
        train, rest = Dataset(whole.x * np.sqrt(61.0), labels).split(jax.random.key(0), 1797 - config.test_samples)
        return Dataset(train.x[: config.samples], train.y[: config.samples]), rest, (1, 8, 8)
    setting = {"target": "label", "pixels": "all", "standardised_on": config.samples}
    train = cifar10(config.cifar10, samples=config.samples, **setting)
    test = cifar10(config.cifar10, samples=config.test_samples, split="test", **setting)
    scaled = lambda data: Dataset(data.x * np.sqrt(3072.0), data.y)
    return scaled(train), scaled(test), (3, 32, 32)


def _trained(
    problem: sgd.Problem, test: Dataset, sampling: str, starts: Array, config: Fig26Config, progress: Progress
) -> tuple[Curves, dict]:
    M = config.batches
    descent = sgd.SGD(
        problem, sampler=SAMPLINGS[sampling](config.batch_size), momentum=config.momentum,
        learning_rate=Decaying(config.learning_rate, config.decay * M),
    )  # fmt: skip
    ensemble = _ensembles.simulate(
        descent, Snapshots(tuple(int(M * end) for end in config.ends)), progress, sampling,
        key=jax.random.key(config.seed), replicas=config.replicas, steps=config.epochs * M, initial=starts,
    )  # fmt: skip
    θ = jnp.asarray(ensemble.estimates.values, problem.parameters.dtype)
    curves = {}
    for which, data in (("train", problem.data), ("test", test)):
        loss, accuracy = _performance(problem, θ, data)
        curves |= {f"{which}_loss": np.asarray(loss), f"{which}_accuracy": np.asarray(accuracy)}
    return curves, ensemble.provenance


@eqx.filter_jit
def _performance(problem: sgd.Problem, θ: Float[Array, "records replicas parameters"], data: Dataset):
    """Mean loss, and share of images told right, [records, replicas] each."""

    def of(θ: Array) -> tuple[Array, Array]:
        scores = problem.predictions(θ, data)
        right = jnp.argmax(scores, axis=1).astype(data.y.dtype) == data.y
        return jnp.mean(jax.vmap(sgd.cross_entropy)(scores, data.y)), jnp.mean(right.astype(scores.dtype))

    return jax.lax.map(jax.vmap(of), θ)


# --- what is claimed ----------------------------------------------------------------------------------------


def difference(curves: dict[str, Curves], quantity: str, record: int) -> Estimate:
    """Epochs minus replacement, between networks of one start."""
    return over_realisations(curves["epochs"][quantity][record] - curves["replacement"][quantity][record])


def _claims(curves: dict[str, Curves], config: Fig26Config) -> list[Claim]:
    """The signs that are decided, and how large the difference in test accuracy is at most."""
    early, last = (int(np.searchsorted(config.ends, epoch)) for epoch in (config.early, config.epochs))
    cite, data = source("Fig. 26"), "digits" if config.cifar10 is None else "CIFAR-10"
    accuracy = evidence(difference(curves, "test_accuracy", last))
    note = f"error over {config.replicas} pairs of networks, on one fixed set of {config.test_samples} test images"
    return [
        Claim.bound(
            f"epoch {config.early}/training loss", cite, "training loss with epochs minus that with replacement: lower",
            **evidence(difference(curves, "train_loss", early)), expected=0.0, side="at most",
        ),
        Claim.bound(
            "training loss/the lead shrinks with the learning rate", cite, "training loss, epochs minus replacement, "
            f"after {config.epochs} epochs less that after {config.early}", **evidence(_change(curves, early, last)),
            expected=0.0, side="at least",
        ),
        Claim.bound(
            f"epoch {config.early}/test accuracy", cite, f"test accuracy with epochs minus that with replacement, "
            f"{data}: higher", **evidence(difference(curves, "test_accuracy", early)), expected=0.0, side="at least",
            note=note,
        ),
        Claim.bound(
            "test accuracy/not lower with epochs", source("slide after Fig. 24"), f"test accuracy with epochs minus "
            f"that with replacement, {data}: lower by one test image at most", **accuracy,
            expected=-1 / config.test_samples, side="at least", note=note,
        ),
        Claim.bound(
            "test accuracy/below the slides' 0.7 %", source("slide after Fig. 24"), f"the same on {data}: smaller than "
            "0.7 %, which is a network's and a data set's", **accuracy, expected=SLIDES, side="at most", note=note,
        ),
        Claim.rejection(
            "sampling does not matter/control", cite, f"training loss after {config.early} epochs, difference "
            "over that with replacement: not 0", **evidence(_relative(curves, early)), rejected=0.0, resolution=0.01,
        ),
    ]  # fmt: skip


def _change(curves: dict[str, Curves], early: int, last: int) -> Estimate:
    paired = curves["epochs"]["train_loss"] - curves["replacement"]["train_loss"]
    return over_realisations(paired[last] - paired[early])


def _relative(curves: dict[str, Curves], record: int) -> Estimate:
    scale = float(np.mean(curves["replacement"]["train_loss"][record]))
    return difference(curves, "train_loss", record).map(lambda value: value / scale)


def _data(curves: dict[str, Curves], config: Fig26Config):
    variables = {}
    for quantity, words in QUANTITIES.items():
        for name in SAMPLINGS:
            mean = over_realisations(curves[name][quantity].T)
            variables |= measurement(f"{quantity}_{name}", "epoch", mean, f"{words}, {name}")
        paired = over_realisations((curves["epochs"][quantity] - curves["replacement"][quantity]).T)
        variables |= measurement(f"{quantity}_difference", "epoch", paired, f"{words}, epochs minus replacement")
    return dataset(variables, {"epoch": variable("epoch", config.ends, "epochs done")})


FIG26 = register(
    Experiment(
        name="kuehn2025/fig26",
        summary="loss and accuracy during training, with epochs and with replacement",
        source=source("Fig. 26"),
        config=Fig26Config,
        presets={
            "quick": Fig26Config(replicas=96, records=8),
            "paper": Fig26Config(channels=(8, 12), samples=1437, records=20, replicas=512),
        },
        run=run,
        figure="kuehn2025/fig26",
    )
)
