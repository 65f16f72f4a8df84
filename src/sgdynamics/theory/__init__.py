"""Exact theory: pure functions of arrays that know nothing of problems, dynamics or simulations.

Three pillars, `ou` (linear, continuous), `recursion` (linear, discrete) and `fokker_planck` (one-dimensional,
nonlinear), and the formulas of the papers above them. Everything is in 64-bit floats, takes NumPy arrays and Python
scalars, and is differentiable in both modes.
"""

from sgdynamics.theory import bayesian as bayesian
from sgdynamics.theory import deep_linear as deep_linear
from sgdynamics.theory import epochs as epochs
from sgdynamics.theory import fokker_planck as fokker_planck
from sgdynamics.theory import harmonic as harmonic
from sgdynamics.theory import momentum as momentum
from sgdynamics.theory import ou as ou
from sgdynamics.theory import recursion as recursion
from sgdynamics.theory import regression as regression
from sgdynamics.theory import two_layer as two_layer
