"""Epoch-based SGD: the anti-correlated noise of shuffled epochs, and what it does to the fluctuations (Kühn and
Rosenow; catalogue of corrections in each module).

Here the velocity is u_k = θ_k − θ_{k−1}, the slides' v, η times that of the other packages.
"""

from sgdynamics.theory.epochs._regression import regression_covariances as regression_covariances
from sgdynamics.theory.epochs._regression import regression_gradient_covariances as regression_gradient_covariances
from sgdynamics.theory.epochs._regression import regression_means as regression_means
from sgdynamics.theory.epochs._regression import regression_multiplicative_scale as regression_multiplicative_scale
from sgdynamics.theory.epochs._regression_corrections import regression_corrections as regression_corrections
