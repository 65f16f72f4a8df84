"""Linear algebra of linear stochastic processes: Lyapunov equations, transitions, roots, powers.

Everything here is a function of arrays in any floating-point type, differentiable in both modes,
and checked: an equation without a solution is an error, never a NaN.
"""

from sgdynamics._linalg._leading import LeadingEigenpairs as LeadingEigenpairs
from sgdynamics._linalg._leading import leading_eigenpairs as leading_eigenpairs
from sgdynamics._linalg._least_squares import least_squares as least_squares
from sgdynamics._linalg._lyapunov import discrete_lyapunov as discrete_lyapunov
from sgdynamics._linalg._lyapunov import lyapunov as lyapunov
from sgdynamics._linalg._lyapunov import symmetric_lyapunov as symmetric_lyapunov
from sgdynamics._linalg._orthonormal import orthonormal as orthonormal
from sgdynamics._linalg._pairs import left as left
from sgdynamics._linalg._pairs import pair_transition as pair_transition
from sgdynamics._linalg._pairs import right as right
from sgdynamics._linalg._powers import accumulated as accumulated
from sgdynamics._linalg._powers import matrix_power as matrix_power
from sgdynamics._linalg._projector import null_projector as null_projector
from sgdynamics._linalg._root import scaled_root as scaled_root
from sgdynamics._linalg._root import symmetric_root as symmetric_root
from sgdynamics._linalg._transition import propagator as propagator
from sgdynamics._linalg._transition import transition as transition
