"""SGD with momentum as underdamped Langevin dynamics in phase space (θ, v): Kunin et al. (2023).

Per step of Eq. (2), with g the minibatch gradient, of covariance C (batch size included), and weight decay λ:

    v ← β v − g − λ θ,      θ ← θ + η v,

and in time t = η × step, with c₀ = 2/(η(1 + β)), the SDE (3)

    dθ = v dt,      dv = −c₀ [g + λ θ + (1 − β) v] dt + c₀ √η C^{1/2} dW.

Phase space is (θ, v), all of θ first. `curvature` and `hessian` never include weight decay.
"""

from sgdynamics.theory.momentum._phase_space import inverse_temperature as inverse_temperature
from sgdynamics.theory.momentum._phase_space import phase_space as phase_space
from sgdynamics.theory.momentum._phase_space import recursion as recursion
