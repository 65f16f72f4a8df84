"""Epoch-based SGD: the anti-correlated noise of shuffled epochs, and what it does to the fluctuations (Kühn and
Rosenow; catalogue of corrections in each module).

Here the velocity is u_k = θ_k − θ_{k−1}, the slides' v, η times that of the other packages.
"""

from sgdynamics.theory.epochs._autocovariance import left_out as left_out
from sgdynamics.theory.epochs._autocovariance import noise_autocovariance as noise_autocovariance
from sgdynamics.theory.epochs._correlation_time import correlation_time as correlation_time
from sgdynamics.theory.epochs._correlation_time import crossover_curvature as crossover_curvature
from sgdynamics.theory.epochs._correlation_time import crossover_function as crossover_function
from sgdynamics.theory.epochs._correlation_time import flat_correlation_time as flat_correlation_time
from sgdynamics.theory.epochs._covariance import phase_covariance as phase_covariance
from sgdynamics.theory.epochs._covariance import position_covariances as position_covariances
from sgdynamics.theory.epochs._covariance import stationary_covariance as stationary_covariance
from sgdynamics.theory.epochs._excess_loss import excess_loss as excess_loss
from sgdynamics.theory.epochs._harmonic import HarmonicEpochs as HarmonicEpochs
from sgdynamics.theory.epochs._regression import regression_covariances as regression_covariances
from sgdynamics.theory.epochs._regression import regression_gradient_covariances as regression_gradient_covariances
from sgdynamics.theory.epochs._regression import regression_means as regression_means
from sgdynamics.theory.epochs._regression import regression_multiplicative_scale as regression_multiplicative_scale
from sgdynamics.theory.epochs._regression_corrections import regression_corrections as regression_corrections
from sgdynamics.theory.epochs._regression_floor import flat_floor as flat_floor
from sgdynamics.theory.epochs._regression_floor import regression_flat_floor as regression_flat_floor
from sgdynamics.theory.epochs._regression_floor import regression_flat_mean as regression_flat_mean
from sgdynamics.theory.epochs._regression_floor import regression_floor as regression_floor
from sgdynamics.theory.epochs._regression_floor import regression_second_order as regression_second_order
from sgdynamics.theory.epochs._regression_moments import regression_moments as regression_moments
from sgdynamics.theory.epochs._variances import flat_variances as flat_variances
from sgdynamics.theory.epochs._variances import position_variances as position_variances
from sgdynamics.theory.epochs._variances import stationary_variances as stationary_variances
from sgdynamics.theory.epochs._variances import white_variances as white_variances
