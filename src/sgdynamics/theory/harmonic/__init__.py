"""Linear processes in a quadratic loss, mode by mode in the eigenbasis of the Hessian.

`HarmonicDescent`: SGD with momentum, whose noise is frozen at the minimum.
`HarmonicLangevin`: its stochastic differential equation.
`HarmonicUnderdamped`: the stochastic differential equation with momentum, over positions and velocities.

The two coordinates of a pair of modes (i, j) obey equations of their own, which have closed solutions: thousands of
modes take seconds, and the block that belongs to some of the eigenmodes is exact without the others.
"""

from sgdynamics.theory.harmonic._descent import HarmonicDescent as HarmonicDescent
from sgdynamics.theory.harmonic._langevin import HarmonicLangevin as HarmonicLangevin
from sgdynamics.theory.harmonic._underdamped import HarmonicUnderdamped as HarmonicUnderdamped
