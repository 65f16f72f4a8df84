"""SGD with momentum as underdamped Langevin dynamics in phase space (θ, v): Kunin et al. (2023).

Per step of Eq. (2), with g the minibatch gradient, of covariance C (batch size included), and weight decay λ:

    v ← β v − g − λ θ,      θ ← θ + η v,

and in time t = η × step, with c₀ = 2/(η(1 + β)), the SDE (3)

    dθ = v dt,      dv = −c₀ [g + λ θ + (1 − β) v] dt + c₀ √η C^{1/2} dW.

Phase space is (θ, v), all of θ first. `curvature` and `hessian` never include weight decay.
"""

from sgdynamics.theory.momentum._commuting import commuting_covariance as commuting_covariance
from sgdynamics.theory.momentum._commuting import commuting_decomposition as commuting_decomposition
from sgdynamics.theory.momentum._commuting import position_loss as position_loss
from sgdynamics.theory.momentum._commuting import velocity_loss as velocity_loss
from sgdynamics.theory.momentum._decomposition import DECOMPOSITION_FORMS as DECOMPOSITION_FORMS
from sgdynamics.theory.momentum._decomposition import Decomposition as Decomposition
from sgdynamics.theory.momentum._decomposition import decomposition as decomposition
from sgdynamics.theory.momentum._decomposition import process_decomposition as process_decomposition
from sgdynamics.theory.momentum._discrete_oscillator import covariance_after as covariance_after
from sgdynamics.theory.momentum._discrete_oscillator import mean_after as mean_after
from sgdynamics.theory.momentum._discrete_oscillator import propagator_after as propagator_after
from sgdynamics.theory.momentum._discrete_oscillator import velocity_correlation_after as velocity_correlation_after
from sgdynamics.theory.momentum._displacement import displacement as displacement
from sgdynamics.theory.momentum._displacement import local_exponent as local_exponent
from sgdynamics.theory.momentum._equipartition import EQUIPARTITION_FORMS as EQUIPARTITION_FORMS
from sgdynamics.theory.momentum._equipartition import MINIMUM_FORMS as MINIMUM_FORMS
from sgdynamics.theory.momentum._equipartition import Energies as Energies
from sgdynamics.theory.momentum._equipartition import energies as energies
from sgdynamics.theory.momentum._equipartition import equipartition as equipartition
from sgdynamics.theory.momentum._equipartition import kinetic_energy as kinetic_energy
from sgdynamics.theory.momentum._equipartition import minimum_loss as minimum_loss
from sgdynamics.theory.momentum._equipartition import regularised_minimum as regularised_minimum
from sgdynamics.theory.momentum._free_energy import equilibrium_free_energy as equilibrium_free_energy
from sgdynamics.theory.momentum._free_energy import free_energy as free_energy
from sgdynamics.theory.momentum._free_energy import free_energy_rate as free_energy_rate
from sgdynamics.theory.momentum._free_energy import relative_entropy as relative_entropy
from sgdynamics.theory.momentum._oscillator import covariance_at as covariance_at
from sgdynamics.theory.momentum._oscillator import damping as damping
from sgdynamics.theory.momentum._oscillator import damping_ratio as damping_ratio
from sgdynamics.theory.momentum._oscillator import decay_rate as decay_rate
from sgdynamics.theory.momentum._oscillator import mean_at as mean_at
from sgdynamics.theory.momentum._oscillator import natural_frequency as natural_frequency
from sgdynamics.theory.momentum._oscillator import oscillation_frequency as oscillation_frequency
from sgdynamics.theory.momentum._oscillator import propagator as propagator
from sgdynamics.theory.momentum._oscillator import velocity_correlation as velocity_correlation
from sgdynamics.theory.momentum._phase_space import inverse_temperature as inverse_temperature
from sgdynamics.theory.momentum._phase_space import phase_space as phase_space
from sgdynamics.theory.momentum._phase_space import recursion as recursion
from sgdynamics.theory.momentum._recipe import RECIPE_FORMS as RECIPE_FORMS
from sgdynamics.theory.momentum._recipe import identity_residual as identity_residual
from sgdynamics.theory.momentum._recipe import symmetric_decomposition as symmetric_decomposition
from sgdynamics.theory.momentum._roots import critical_curvature as critical_curvature
from sgdynamics.theory.momentum._roots import decay_per_step as decay_per_step
from sgdynamics.theory.momentum._roots import oscillation_frequency_per_step as oscillation_frequency_per_step
from sgdynamics.theory.momentum._spectrum import peak_frequency as peak_frequency
from sgdynamics.theory.momentum._spectrum import power_spectrum as power_spectrum
from sgdynamics.theory.momentum._speed import speed as speed
