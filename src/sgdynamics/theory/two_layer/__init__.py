"""Two-layer linear networks near their minima: Gross, Raulf and Räth (2024), Sec. III, corrected.

first = W₁ [hidden, inputs], second = W₂ [outputs, hidden], w = W₂ W₁, residuals e = y − w x, loss ½ E|e|².
Parameters are flattened layer by layer, row by row; time is learning_rate × step.
"""

from sgdynamics.theory.two_layer._arguments import equilibrium_variance as equilibrium_variance
from sgdynamics.theory.two_layer._balance import balance as balance
from sgdynamics.theory.two_layer._balance import balance_drift as balance_drift
from sgdynamics.theory.two_layer._balance import balance_time as balance_time
from sgdynamics.theory.two_layer._balance import balanced_minimum as balanced_minimum
from sgdynamics.theory.two_layer._balance import white_balance_drift as white_balance_drift
from sgdynamics.theory.two_layer._bases import directions as directions
from sgdynamics.theory.two_layer._bases import singular_values as singular_values
from sgdynamics.theory.two_layer._flatness import local_exponent as local_exponent
from sgdynamics.theory.two_layer._flatness import loss_along as loss_along
from sgdynamics.theory.two_layer._flatness import loss_along_mode as loss_along_mode
from sgdynamics.theory.two_layer._flatness import loss_along_second as loss_along_second
from sgdynamics.theory.two_layer._flatness import loss_from_variance as loss_from_variance
from sgdynamics.theory.two_layer._fluctuations import Spectrum as Spectrum
from sgdynamics.theory.two_layer._fluctuations import fluctuations as fluctuations
from sgdynamics.theory.two_layer._fluctuations import reduced as reduced
from sgdynamics.theory.two_layer._fluctuations import relaxation_rates as relaxation_rates
from sgdynamics.theory.two_layer._fluctuations import second_layer_variances as second_layer_variances
from sgdynamics.theory.two_layer._fluctuations import spectrum as spectrum
from sgdynamics.theory.two_layer._fluctuations import stationary_covariance as stationary_covariance
from sgdynamics.theory.two_layer._linear_response import linear_response as linear_response
from sgdynamics.theory.two_layer._linear_response import linear_response_recursion as linear_response_recursion
from sgdynamics.theory.two_layer._noise import hessian as hessian
from sgdynamics.theory.two_layer._noise import noise_covariance as noise_covariance
from sgdynamics.theory.two_layer._noise import residual_variance as residual_variance
from sgdynamics.theory.two_layer._relaxation import mode_autocovariance as mode_autocovariance
from sgdynamics.theory.two_layer._relaxation import mode_variance as mode_variance
from sgdynamics.theory.two_layer._slow_drift import SlowDrift as SlowDrift
from sgdynamics.theory.two_layer._slow_drift import slow_drift as slow_drift
