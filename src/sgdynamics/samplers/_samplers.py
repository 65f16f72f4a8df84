"""How minibatches are drawn, and what that does to the size of the gradient noise.

The covariance of a minibatch mean is c times the covariance of one example, with the factor
(Gross, Raulf and Räth, App. C; P samples, batch size S)

    WithReplacement      c = 1/S                       independent draws
    WithoutReplacement   c = (P − S)/(S (P − 1))       distinct inside a batch, batches independent
    Epochs               the same c, but batches of one epoch never share an example: successive noises are
                         anti-correlated (Kühn and Rosenow, Eq. 2), which no white noise describes
    Online               c = 1/S                       fresh examples from a teacher
    FullBatch            c = 0                         gradient descent

A draw is addressed: it depends on the replica's key, the step, and nothing else (epochs: on the key and the
first step of the epoch).
"""

from abc import abstractmethod
from numbers import Integral
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, UInt32

from sgdynamics import _checks
from sgdynamics._types import PRNGKey, Scalar, Step
from sgdynamics.data import AbstractFiniteData, Data, Dataset, FreshLabels, Teacher
from sgdynamics.samplers import _indices

Memory: TypeAlias = Any


class AbstractSampler(eqx.Module):
    """Draws minibatches. `memory` is what a replica has to remember between steps (None for most)."""

    def init(self, data: Data) -> Memory:
        """A replica's memory before its first step."""
        return None

    @abstractmethod
    def draw(self, data: Data, memory: Memory, step: Step, key: PRNGKey) -> tuple[Data, Memory]:
        """The minibatch of `step`, for the replica whose key is `key`."""

    @abstractmethod
    def covariance_factor(self, data: Data) -> Scalar:
        """c: the covariance of a minibatch mean, in units of the covariance of one example."""

    def period(self, data: Data) -> int:
        """After how many steps the law of the noise comes round again: 1 for most. `simulate` warns by it."""
        return 1

    @abstractmethod
    def check(self, data: Data) -> None:
        """Raises `ValueError` where this sampler cannot draw from `data`."""


class AbstractIndexSampler(AbstractSampler):
    """Draws from a finite data set, by index."""

    batch_size: eqx.AbstractVar[int]

    @abstractmethod
    def indices(self, samples: int, memory: Memory, step: Step, key: PRNGKey) -> tuple[Int[Array, " batch"], Memory]:
        """The indices of the minibatch of `step`; `key` is the replica's, folded by the step."""

    def draw(self, data: AbstractFiniteData, memory: Memory, step: Step, key: PRNGKey) -> tuple[Dataset, Memory]:
        index_key, label_key = _keys(data, jax.random.fold_in(key, step))
        indices, memory = self.indices(data.samples, memory, step, index_key)
        return data.take(indices, label_key), memory


class WithReplacement(AbstractIndexSampler):
    """`batch_size` examples drawn independently: one may come twice. c = 1/S."""

    batch_size: int = eqx.field(static=True, converter=lambda size: _checks.count("batch_size", size))

    def indices(self, samples: int, memory: None, step: Step, key: PRNGKey):
        return _indices.uniform(key, self.batch_size, samples), memory

    def indices_of(self, words: UInt32[Array, "*n"], samples: int) -> Int[Array, "*n"]:
        """The index that each uniform 32-bit word stands for: `indices`, of words drawn elsewhere."""
        return _indices.below(words, samples)

    def covariance_factor(self, data: Data) -> Scalar:
        return _factor(1 / self.batch_size)

    def check(self, data: Data) -> None:
        _finite_only(self, data)


class WithoutReplacement(AbstractIndexSampler):
    """`batch_size` different examples, every batch drawn anew. c = (P − S)/(S (P − 1))."""

    batch_size: int = eqx.field(static=True, converter=lambda size: _checks.count("batch_size", size))

    def indices(self, samples: int, memory: None, step: Step, key: PRNGKey):
        return _indices.distinct(key, self.batch_size, samples), memory

    def covariance_factor(self, data: AbstractFiniteData) -> Scalar:
        return _finite_population(self.batch_size, data.samples)

    def check(self, data: Data) -> None:
        _finite_only(self, data)
        _fits(self.batch_size, data)


class Epochs(AbstractIndexSampler):
    """Every epoch is one random order of the examples, cut into M = ⌊P/S⌋ batches of S = `batch_size`.

    Every batch has S examples: where S does not divide P, the last P mod S examples of the order are left out of
    that epoch, whichever they are. Two batches of one epoch are then correlated by −S/(P − S), not −1/(M − 1), and
    the noise of an epoch does not sum to zero: what remains is the part κ = (P mod S)/(P − S) of white noise
    (`left_out` of `theory.epochs`). The memory is the order (`_indices.order`: uniform but for P²/2³² relatively);
    it is drawn in the first step of each epoch, in a `cond` on the step that all replicas share. Every run begins
    with a new epoch, also one that goes on from the `.state` of another.
    """

    batch_size: int = eqx.field(static=True, converter=lambda size: _checks.count("batch_size", size))

    def batches_per_epoch(self, samples: int) -> int:
        """M = ⌊P/S⌋."""
        return samples // self.batch_size

    def period(self, data: AbstractFiniteData) -> int:
        return self.batches_per_epoch(data.samples)

    def init(self, data: AbstractFiniteData) -> Int[Array, " samples"]:
        return jnp.arange(data.samples, dtype=jnp.int32)

    def indices(self, samples: int, memory: Int[Array, " samples"], step: Step, key: PRNGKey):
        batch = step % self.batches_per_epoch(samples)
        order = jax.lax.cond(batch == 0, lambda order: _indices.order(key, samples), lambda order: order, memory)
        return jax.lax.dynamic_slice_in_dim(order, batch * self.batch_size, self.batch_size), order

    def covariance_factor(self, data: AbstractFiniteData) -> Scalar:
        return _finite_population(self.batch_size, data.samples)

    def check(self, data: Data) -> None:
        _finite_only(self, data)
        _fits(self.batch_size, data)


class Online(AbstractSampler):
    """`batch_size` fresh examples from a `Teacher` in every step. c = 1/S."""

    batch_size: int = eqx.field(static=True, converter=lambda size: _checks.count("batch_size", size))

    def draw(self, data: Teacher, memory: None, step: Step, key: PRNGKey) -> tuple[Dataset, None]:
        return data.sample(jax.random.fold_in(key, step), self.batch_size), memory

    def covariance_factor(self, data: Data) -> Scalar:
        return _factor(1 / self.batch_size)

    def check(self, data: Data) -> None:
        if not isinstance(data, Teacher):
            raise ValueError(
                f"sampler = Online({self.batch_size}) needs an endless stream, but data is a {type(data).__name__} "
                "of finite size. Use WithReplacement, WithoutReplacement or Epochs, or a data.Teacher."
            )


class FullBatch(AbstractSampler):
    """All the data in every step (of a teacher: its population): no sampling noise. c = 0.

    Of `FreshLabels`, the label noise is what remains.
    """

    def draw(self, data: Data, memory: None, step: Step, key: PRNGKey) -> tuple[Data, None]:
        if isinstance(data, FreshLabels):
            return data.take(jnp.arange(data.samples), jax.random.fold_in(key, step)), memory
        return data, memory

    def covariance_factor(self, data: Data) -> Scalar:
        return _factor(0.0)

    def check(self, data: Data) -> None:
        pass


def as_sampler(sampler: AbstractSampler | int) -> AbstractSampler:
    """An integer means that batch size, with replacement."""
    if isinstance(sampler, AbstractSampler):
        return sampler
    if isinstance(sampler, Integral):
        return WithReplacement(sampler)
    raise ValueError(f"sampler = {sampler!r}, but it must be one of sgdynamics.samplers or a batch size.")


def _keys(data: AbstractFiniteData, step_key: PRNGKey) -> tuple[PRNGKey, PRNGKey]:
    """Keys for the indices and for whatever else the data draw. A plain data set draws nothing else."""
    if isinstance(data, Dataset):
        return step_key, step_key
    index_key, label_key = jax.random.split(step_key)
    return index_key, label_key


def _factor(factor: float) -> Scalar:
    return jnp.asarray(factor, jnp.result_type(float))


def _finite_population(batch_size: int, samples: int) -> Scalar:
    return _factor((samples - batch_size) / (batch_size * max(samples - 1, 1)))


def _finite_only(sampler: AbstractSampler, data: Data) -> None:
    if isinstance(data, Teacher):
        raise ValueError(
            f"sampler = {type(sampler).__name__} draws from a finite data set, but data is an endless Teacher. "
            "Use Online(batch_size), or draw a data set from it with teacher.sample(key, size)."
        )


def _fits(batch_size: int, data: AbstractFiniteData) -> None:
    if batch_size > data.samples:
        raise ValueError(
            f"batch_size = {batch_size}, but without replacement it must be at most the {data.samples} samples. "
            "Use a smaller batch, or WithReplacement."
        )
