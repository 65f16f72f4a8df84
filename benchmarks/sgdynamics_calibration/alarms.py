"""How often `compare` calls the right law wrong: at most as often as its level says.

The level bounds the rate: Bonferroni's correction for tests that share their data is cautious, so the rate is below it.
Seeds are independent, so alarms are binomial. None at all at the higher level would mean that nothing is tested.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVELS = (0.05, 0.01)
CHANCE = 1e-4
"""The probability that one count is above its limit although the rate is the level."""


@dataclass(frozen=True)
class Alarms:
    """Of `seeds` comparisons with the right law at `level`, `count` raised an alarm; up to `limit` may."""

    level: float
    seeds: int
    count: int
    limit: int

    @property
    def passes(self) -> bool:
        return self.count <= self.limit


def counted(p_values: np.ndarray) -> list[Alarms]:
    """At each of `LEVELS`."""
    seeds = len(p_values)
    return [
        Alarms(level, seeds, int(np.sum(p_values < level)), int(stats.binom.isf(CHANCE, seeds, level)))
        for level in LEVELS
    ]


def silent(p_values: Mapping[str, np.ndarray]) -> bool:
    """Whether no comparison of any case raised an alarm at the higher level: then nothing is tested."""
    return not any(np.any(p < LEVELS[0]) for p in p_values.values())
