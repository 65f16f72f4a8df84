"""Fig. 4: velocities in the plane of a stiff and a soft eigenvector of the Hessian.

    Ψ_v ∝ vᵀ H⁻¹ v                                                         Sec. 7, (46)
    Cov(q_i·v) ∝ h_i                                                       for C = σ² H/S (Assumption 5)
    Cov(q_i·v) = C_ii/{(1 − β²)[1 − η(h_i + λ)/(2(1 + β))]}                SGD with the noise of the minimum

h_i: eigenvalues of H, without weight decay, which drops out here. Velocities are as anisotropic as the noise, whatever
the loss: with β = 0 they would be minus the noise of the gradient. H⁻¹ stands for C⁻¹, as far as Assumption 5 holds:
on average over many modes it nearly does, the exponent of the variance over curvature is 0.8 to 1.3; single modes
scatter about it as C_ii/h_i does. The control is an isotropic law. The last factor of the law, of discrete time,
differs from 1 by less than these ensembles resolve: η is small, so that the noise is that of the minimum.
"""

from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import dataset
from sgdynamics.experiments.kunin2023._fig3 import FIG3
from sgdynamics.experiments.kunin2023._plane import PlaneConfig, cases
from sgdynamics.experiments.kunin2023._plane_claims import Scaling, claims, plane, scatter, slug
from sgdynamics.experiments.kunin2023._source import source

VELOCITIES = Scaling(
    word="velocity", power=1.0, place="Sec. 7, Fig. 4, Eq. 46", formula="H",
    control_id="isotropic", control_words="isotropic",
    of=lambda case, M: case.velocities(M), printed=lambda case: case.hessian,
    control=lambda case: case.hessian**0,
)  # fmt: skip


def run(config: PlaneConfig, progress: Progress) -> Result:
    """Three ensembles."""
    found = cases(config, progress)
    variables = {}
    for case in found:
        variables |= scatter(case, VELOCITIES, "(w/t)²") | plane(case, 2, "w/t")
    words = {slug(case): case.words for case in found}
    data = dataset(variables).assign_attrs(cases=list(words), words=list(words.values()), last=[c.last for c in found])
    checked = [claim for case in found for claim in claims(case, VELOCITIES)]
    return Result(data, checked, {case.name: case.provenance for case in found})


FIG4 = register(
    Experiment(
        name="kunin2023/fig4",
        summary="velocities in the plane of a stiff and a soft Hessian eigenvector, and the inverse Hessian",
        source=source("Fig. 4, Sec. 7, Eq. 46, H.5"),
        config=PlaneConfig,
        presets=FIG3.presets,
        run=run,
        figure="kunin2023/fig4",
    )
)
"""Fig. 4: velocities regularised by the inverse of the noise, which the inverse Hessian stands for."""
