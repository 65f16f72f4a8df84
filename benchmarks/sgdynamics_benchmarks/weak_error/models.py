"""The models of SGD that are compared with it, each a dynamics of the library.

    order 1        dθ = −∇L dt + √(η C(θ)) dW
    order 2        dθ = −∇(L + (η/4)|∇L|²) dt + √(η C(θ)) dW        (Li, Tai and E, 2017, Thm. 2)
    frozen         order 1 with C at the minimum
    isotropic      order 1 with C = tr C(minimum)/parameters · 1
    no noise       gradient flow, the control: what an order in η is worth that it has too
    SVAG, l        a walk whose limit l → ∞ is order 1              (Li, Malladi and Arora, 2021)

All at the same learning rate η, batch size and start, over the same time.
"""

from typing import Any

import sgdynamics as sgd
from sgdynamics import noise
from sgdynamics.dynamics import SVAG
from sgdynamics.samplers import FullBatch, as_sampler

EQUATIONS = ("order 1", "order 2", "frozen", "isotropic")
CONTROL = "no noise"
# what is proven, or follows: of the last four, the O(η) that order 1 leaves, and no more at fixed time
STATED_ORDERS = {"order 1": 1, "order 2": 2, "frozen": 1, "isotropic": 1, CONTROL: 1, "SVAG, l = 4": 1}


class Models:
    """The models of SGD on one problem with one sampler."""

    def __init__(self, problem: sgd.Problem, sampler: Any):
        self.problem, self.sampler = problem, as_sampler(sampler)
        minimum = problem.minimum()
        self.noises = {
            "frozen": noise.frozen(problem, self.sampler, minimum),
            "isotropic": noise.isotropic(problem, self.sampler, at=minimum),
        }

    def descent(self, learning_rate: float) -> sgd.SGD:
        return sgd.SGD(self.problem, learning_rate=learning_rate, sampler=self.sampler)

    def equation(self, name: str, learning_rate: float, substeps: int = 1) -> sgd.Langevin:
        """One of the differential equations."""
        sampler = FullBatch() if name == CONTROL else self.sampler
        order = 2 if name == "order 2" else 1
        return sgd.Langevin(self.problem, learning_rate=learning_rate, sampler=sampler, order=order,
                            noise=self.noises.get(name), substeps=substeps)  # fmt: skip

    def svag(self, learning_rate: float, stretch: int) -> SVAG:
        """SVAG with l = `stretch`."""
        return SVAG(self.problem, learning_rate=learning_rate, sampler=self.sampler, stretch=stretch)
