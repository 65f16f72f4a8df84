"""Which examples can have been used after so many batches of an epoch, and which batch can have been the last.

After l batches of S examples the used ones are a uniformly random set of lS out of P; given the set, its last batch is
a uniformly random part of S, and what came before is a random order of the others. Sets of one size are numbered by
their colexicographic rank Σ_i (e_i choose i + 1) of their members e_0 < e_1 < ….
"""

import itertools
import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sgdynamics import _checks

LARGEST = 2_000_000  # transitions: a few hundred megabytes, a minute


class Level(NamedTuple):
    """For each set of used examples, the ways to have got there: numbers of the set before and of the last batch.

    Both [ways, sets].
    """

    before: np.ndarray
    last: np.ndarray


def transitions(samples: int, batch_size: int) -> int:
    """How many pairs of a set and a last batch there are in an epoch."""
    sizes = range(batch_size, samples + 1, batch_size)
    return sum(math.comb(samples, k) * math.comb(k, batch_size) for k in sizes)


@lru_cache(maxsize=8)
def levels(samples: int, batch_size: int) -> tuple[Level, ...]:
    """The levels l = 1 … M. **Raises** where there are more than `LARGEST` transitions."""
    count = transitions(samples, batch_size)
    if count > LARGEST:
        raise ValueError(
            f"x has {samples} samples: in batches of {batch_size} that makes {count} pairs of used examples and last "
            f"batch, but they must be at most {LARGEST}. Use fewer samples, or `regression_covariances`, "
            "`regression_corrections` and `regression_second_order`."
        )
    return tuple(_level(samples, batch_size, k) for k in range(batch_size, samples + 1, batch_size))


def batches(samples: int, batch_size: int) -> np.ndarray:
    """The examples of every batch, in the order of their numbers, [batches, batch_size]."""
    _checks.require("batch_size", batch_size, batch_size <= samples, allowed=f"at most {samples}")
    sets = _sets(samples, batch_size)
    return sets[np.argsort(_ranks(sets))]


def _level(samples: int, batch_size: int, size: int) -> Level:
    used = batches(samples, size)
    last = _sets(size, batch_size)
    others = np.array([np.setdiff1d(np.arange(size), part) for part in last], dtype=int).reshape(len(last), -1)
    pick = lambda parts: np.stack([_ranks(used[:, part]) for part in parts])
    return Level(pick(others), pick(last))


def _sets(samples: int, size: int) -> np.ndarray:
    flat = itertools.chain.from_iterable(itertools.combinations(range(samples), size))
    return np.fromiter(flat, dtype=np.int64).reshape(-1, size)


def _ranks(sets: np.ndarray) -> np.ndarray:
    """Ranks of sets of ascending members [sets, size]."""
    most = int(sets.max(initial=0)) + 1
    table = np.array([[math.comb(e, i + 1) for i in range(sets.shape[1])] for e in range(most)], dtype=np.int64)
    return table.reshape(most, -1)[sets, np.arange(sets.shape[1])[None, :]].sum(axis=1)
