"""Is a sample of z Student's t? Four p-values, and a verdict corrected for the number of tests.

The distance of Kolmogorov and Smirnov sees a shift or a shape in the middle; how often |z| is below the quantiles of
the nominal coverages, a binomial count, sees a scale and the tails. With 200 seeds and 51 rows, measured on draws of t,
one row alone is rejected with a probability of 0.5, 0.9, 0.99 where the estimate is off by 0.4, 0.5, 0.6 standard
errors, and of 0.5, 0.9, 1.0 where errors are too small by a factor of 1.3, 1.4, 1.5; what is wrong with all rows, so
much the surer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

LEVEL = 1e-3
"""The probability that all rows together raise a false alarm."""
NOMINAL = (0.683, 0.95, 0.99)
TESTS = 1 + len(NOMINAL)
"""Of each row."""


@dataclass(frozen=True)
class Judged:
    """p-values of one row: of the distance to Student's t, and of each coverage; with the coverages themselves."""

    seeds: int
    distance_p: float
    coverage: tuple[float, ...]
    coverage_p: tuple[float, ...]

    @property
    def p_value(self) -> float:
        """The smallest, not corrected."""
        return min(self.distance_p, *self.coverage_p)

    def passes(self, rows: int, level: float = LEVEL) -> bool:
        """Whether nothing speaks against this row, one of `rows`, which share `level`."""
        return self.p_value >= level / (TESTS * rows)


def judged(z: np.ndarray, degrees_of_freedom: int) -> Judged:
    """The verdict on z [seeds], independent of each other. A z that is not finite is outside every interval."""
    z = np.where(np.isfinite(z), z, np.inf)
    law = stats.t(degrees_of_freedom)
    inside = [int(np.sum(np.abs(z) <= law.ppf((1 + share) / 2))) for share in NOMINAL]
    p = [float(stats.binomtest(k, len(z), share).pvalue) for k, share in zip(inside, NOMINAL, strict=True)]
    distance = float(stats.kstest(z, law.cdf).pvalue)
    return Judged(len(z), distance, tuple(k / len(z) for k in inside), tuple(p))


def rejected(
    samples: Mapping[Any, np.ndarray], degrees_of_freedom: int | Mapping[Any, int], level: float = LEVEL
) -> list:
    """The rows that are not Student's t, at `level` for all of them together."""
    of = degrees_of_freedom
    df = of if isinstance(of, Mapping) else dict.fromkeys(samples, of)
    return [name for name, z in samples.items() if not judged(z, df[name]).passes(len(samples), level)]
