"""Linear discrete processes, second pillar of the theory.

`LinearRecursion`: x ← T x + e with white or coloured noise of fixed covariance.
`MinibatchMoments`: the exact second-moment map of minibatch SGD on a model linear in its parameters, whose
noise depends on the state.
`LangevinMoments`, `UnderdampedMoments`: that of the stochastic differential equations, without and with momentum.
"""

from sgdynamics.theory.recursion._linear import LinearRecursion as LinearRecursion
from sgdynamics.theory.recursion._minibatch import LangevinMoments as LangevinMoments
from sgdynamics.theory.recursion._minibatch import MinibatchMoments as MinibatchMoments
from sgdynamics.theory.recursion._stability import (
    largest_stable_learning_rate as largest_stable_learning_rate,
)
from sgdynamics.theory.recursion._underdamped import UnderdampedMoments as UnderdampedMoments
