"""How far the differential equations that model SGD are from SGD: weak errors, their orders, and what accuracy costs.

    regression           exact: moments and learning curves obey closed linear equations (`regression`)
    cost                 exact errors there against measured seconds (`cost`)
    two-layer, deep linear, tanh     sampled, every equation converged in dt first (`study`)

Against learning rate: every model on every problem. Against batch size: every model on the regression and on the
two-layer network. Against SVAG's l: every network. Models: `models`. Weak errors are differences of expectations at the
same time t = η k, from a common start.

What is exact says, on the regression: order 1 and order 2 have their proven orders in moments and learning curves at a
fixed time, but order 1 is no more than gradient flow has, because the noise itself is O(η). In units of the
fluctuations the stationary covariance tells the models apart: order 1 misses it by O(η), order 2 by twice as much (its
drift is stronger and its noise is not), frozen noise by another part O(η/S), isotropic noise by O(1).
"""

from typing import Any

from sgdynamics_benchmarks.weak_error import cost, regression, study
from sgdynamics_benchmarks.weak_error.picture import draw as draw
from sgdynamics_benchmarks.weak_error.table import table as table


def run(quick: bool = False, rounds: int | None = None) -> dict[str, Any]:
    """The record of all parts, as plain values. `quick`: few learning rates, few replicas, one network."""
    return {
        "regression": regression.run(quick),
        "cost": cost.run(quick, rounds),
        "networks": study.run(quick),
    }
