"""How far the differential equations that model SGD are from SGD: weak errors, their orders, and what accuracy costs.

    regression           exact: moments and learning curves obey closed linear equations (`regression`)
    cost                 exact errors there against measured seconds (`cost`)
    two-layer, deep linear, tanh     sampled, every equation converged in dt first (`study`)

Models: `models`. Weak errors are differences of expectations at the same time t = η k, from a common start.
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
