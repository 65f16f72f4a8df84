"""Deep linear networks under online SGD: Corlouer et al. (2026).

The teacher is y = M x + ξ, x ~ N(0, 1), ξ ~ N(0, σ²), with M = Σ_α s_α u_α v_αᵀ; the network W_L … W_1.
Time t = learning_rate × step; diffusion coefficients are covariances per unit of t.
"""

from sgdynamics.theory.deep_linear._balance import BALANCE_FORMS as BALANCE_FORMS
from sgdynamics.theory.deep_linear._balance import balance_drift as balance_drift
from sgdynamics.theory.deep_linear._balance import balances as balances
from sgdynamics.theory.deep_linear._balance import imbalance as imbalance
from sgdynamics.theory.deep_linear._drift import DRIFT_FORMS as DRIFT_FORMS
from sgdynamics.theory.deep_linear._drift import discretisation_drift as discretisation_drift
from sgdynamics.theory.deep_linear._drift import mode_drift as mode_drift
from sgdynamics.theory.deep_linear._flow import gradient_flow as gradient_flow
from sgdynamics.theory.deep_linear._flow import learning_time as learning_time
from sgdynamics.theory.deep_linear._mean_shift import mean_shift as mean_shift
from sgdynamics.theory.deep_linear._modes import cross_amplitude_diffusion as cross_amplitude_diffusion
from sgdynamics.theory.deep_linear._modes import cross_mode_amplitudes as cross_mode_amplitudes
from sgdynamics.theory.deep_linear._modes import isotropic_mode_diffusion as isotropic_mode_diffusion
from sgdynamics.theory.deep_linear._modes import mode_amplitudes as mode_amplitudes
from sgdynamics.theory.deep_linear._modes import mode_diffusion as mode_diffusion
from sgdynamics.theory.deep_linear._modes import mode_sensitivities as mode_sensitivities
from sgdynamics.theory.deep_linear._modes import neural_tangent_mode_diffusion as neural_tangent_mode_diffusion
from sgdynamics.theory.deep_linear._modewise import MODEWISE_FORMS as MODEWISE_FORMS
from sgdynamics.theory.deep_linear._modewise import modewise_cross_diffusion as modewise_cross_diffusion
from sgdynamics.theory.deep_linear._modewise import modewise_diffusion as modewise_diffusion
from sgdynamics.theory.deep_linear._modewise import (
    modewise_discretisation_drift as modewise_discretisation_drift,
)
from sgdynamics.theory.deep_linear._modewise import modewise_drift as modewise_drift
from sgdynamics.theory.deep_linear._modewise import modewise_gradient_drift as modewise_gradient_drift
from sgdynamics.theory.deep_linear._modewise import modewise_ito_drift as modewise_ito_drift
from sgdynamics.theory.deep_linear._network import SingularTriplets as SingularTriplets
from sgdynamics.theory.deep_linear._network import jacobians as jacobians
from sgdynamics.theory.deep_linear._network import neural_tangents as neural_tangents
from sgdynamics.theory.deep_linear._network import population_gradient as population_gradient
from sgdynamics.theory.deep_linear._network import population_loss as population_loss
from sgdynamics.theory.deep_linear._network import singular_triplets as singular_triplets
from sgdynamics.theory.deep_linear._noise import apply_noise_covariance as apply_noise_covariance
from sgdynamics.theory.deep_linear._noise import noise_covariance as noise_covariance
from sgdynamics.theory.deep_linear._noise import noise_quadratic_form as noise_quadratic_form
from sgdynamics.theory.deep_linear._peak import diffusion_peak as diffusion_peak
from sgdynamics.theory.deep_linear._peak import dominant_peak_fraction as dominant_peak_fraction
from sgdynamics.theory.deep_linear._peak import largest_peaked_noise as largest_peaked_noise
from sgdynamics.theory.deep_linear._stationary import StationaryExpansion as StationaryExpansion
from sgdynamics.theory.deep_linear._stationary import stationary_expansion as stationary_expansion
from sgdynamics.theory.deep_linear._stationary import stationary_moments as stationary_moments
