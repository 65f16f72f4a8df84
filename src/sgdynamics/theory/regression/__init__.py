"""Single-layer linear regression under minibatch SGD: Gross, Raulf & Räth (2024), Sec. II.

Examples `x` are [samples, inputs] (P × N: the paper's X transposed), targets `y` are [samples];
L(w) = (1/2P) Σ_μ (x_μ·w − y_μ)², H = xᵀx/P. Time t = learning_rate × step; the noise covariance C is that of
the minibatch gradient. Published formulas that are wrong or approximate say so where they are.
"""

from sgdynamics.theory.regression._average import mean_final_loss as mean_final_loss
from sgdynamics.theory.regression._average import mean_population_loss as mean_population_loss
from sgdynamics.theory.regression._average import mean_square_weight as mean_square_weight
from sgdynamics.theory.regression._average import mean_total_variance as mean_total_variance
from sgdynamics.theory.regression._average_noise import leverage_variance as leverage_variance
from sgdynamics.theory.regression._average_noise import mean_noise_variance as mean_noise_variance
from sgdynamics.theory.regression._average_noise import mean_residual_weight as mean_residual_weight
from sgdynamics.theory.regression._average_noise import (
    mean_square_residual_weight as mean_square_residual_weight,
)
from sgdynamics.theory.regression._continuum import continuum_corrections as continuum_corrections
from sgdynamics.theory.regression._kurtosis import excess_kurtosis as excess_kurtosis
from sgdynamics.theory.regression._least_squares import excess_loss as excess_loss
from sgdynamics.theory.regression._least_squares import final_loss as final_loss
from sgdynamics.theory.regression._least_squares import hessian as hessian
from sgdynamics.theory.regression._least_squares import loss as loss
from sgdynamics.theory.regression._least_squares import loss_perturbation as loss_perturbation
from sgdynamics.theory.regression._least_squares import minimum as minimum
from sgdynamics.theory.regression._least_squares import stationary_loss as stationary_loss
from sgdynamics.theory.regression._multiplicative import geometric_moments as geometric_moments
from sgdynamics.theory.regression._multiplicative import geometric_moments_after as geometric_moments_after
from sgdynamics.theory.regression._multiplicative import (
    largest_stable_geometric_rate as largest_stable_geometric_rate,
)
from sgdynamics.theory.regression._noise import large_sample_noise_covariance as large_sample_noise_covariance
from sgdynamics.theory.regression._noise import noise_covariance as noise_covariance
from sgdynamics.theory.regression._noise import residual_weights as residual_weights
from sgdynamics.theory.regression._noise import sampling_factor as sampling_factor
from sgdynamics.theory.regression._relaxation import mode_relaxation as mode_relaxation
from sgdynamics.theory.regression._relaxation import mode_relaxation_after as mode_relaxation_after
from sgdynamics.theory.regression._relaxation import mode_variance as mode_variance
from sgdynamics.theory.regression._relaxation import modes as modes
from sgdynamics.theory.regression._relaxation import relaxation as relaxation
from sgdynamics.theory.regression._relaxation import relaxation_after as relaxation_after
from sgdynamics.theory.regression._rotation import Rotation as Rotation
from sgdynamics.theory.regression._rotation import entropy_production as entropy_production
from sgdynamics.theory.regression._rotation import (
    large_sample_entropy_production as large_sample_entropy_production,
)
from sgdynamics.theory.regression._rotation import rotation as rotation
from sgdynamics.theory.regression._scalar_moments import scalar_distribution as scalar_distribution
from sgdynamics.theory.regression._scalar_moments import scalar_joint_moments as scalar_joint_moments
from sgdynamics.theory.regression._scalar_moments import scalar_moments as scalar_moments
from sgdynamics.theory.regression._scalar_moments import tail_exponent as tail_exponent
from sgdynamics.theory.regression._spectrum import projector_variance as projector_variance
from sgdynamics.theory.regression._spectrum import spectral_density as spectral_density
from sgdynamics.theory.regression._spectrum import spectral_edges as spectral_edges
from sgdynamics.theory.regression._stationary import FORMS as FORMS
from sgdynamics.theory.regression._stationary import (
    largest_stable_learning_rate as largest_stable_learning_rate,
)
from sgdynamics.theory.regression._stationary import ornstein_uhlenbeck as ornstein_uhlenbeck
from sgdynamics.theory.regression._stationary import stationary_covariance as stationary_covariance
from sgdynamics.theory.regression._transient import mode_moments_after as mode_moments_after
