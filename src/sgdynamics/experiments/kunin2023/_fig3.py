"""Fig. 3: positions in the plane of a stiff and a soft eigenvector of the Hessian, in three landscapes.

    Ψ_θ ∝ (θ − μ)ᵀ H⁻¹(H + λ) (θ − μ)/(η (1 + β))                                  (10), (45)
    Cov(q_i·θ) ∝ h_i/(h_i + λ): isotropic for λ ≈ 0                                 for C = σ² H/S (Assumption 5)
    Cov(q_i·θ) = η C_ii/{2S(1 − β)(h_i + λ)[1 − η(h_i + λ)/(2(1 + β))]}             SGD with the noise of the minimum

(10) is right where Assumption 5 is made to hold. On data isotropy is a statement on average over many modes: the
exponent of the variance over curvature is within 0.3 of 0, as C_ii ∝ h_i roughly, while single modes scatter about
it, as C_ii/h_i does. Along modes without noise (`_plane`) nothing moves, whatever their curvature. The control is the
Gibbs law of the training loss, variance ∝ 1/(h + λ). Losses in the plane: of the training set with λ, at whose
minimum the network is, of the test set, and Ψ_θ, each from its value at the minimum.
"""

import jax
import jax.numpy as jnp
import numpy as np

from sgdynamics.experiments._claims import Claim
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, variable
from sgdynamics.experiments.kunin2023._plane import Case, PlaneConfig, cases
from sgdynamics.experiments.kunin2023._plane_claims import Scaling, claims, evidence, plane, ratio, scatter, slug
from sgdynamics.experiments.kunin2023._source import source

GRID, REACH = 61, 3.5  # points along an axis, and its half-length in standard deviations

POSITIONS = Scaling(
    word="position", power=0.5, place="Sec. 7, Eq. 10", formula="(10)",
    control_id="Gibbs", control_words="the Gibbs law of the training loss",
    of=lambda case, M: case.positions(M), printed=lambda case: case.hessian / case.curvature,
    control=lambda case: 1 / case.curvature,
)  # fmt: skip


def run(config: PlaneConfig, progress: Progress) -> Result:
    """Three ensembles, and the losses about the network's minimum."""
    found = cases(config, progress)
    noise, _, network = found
    checked = [claim for case in found for claim in claims(case, POSITIONS)] + [_weight_decay(noise)]
    variables, curvatures = _losses(network)
    for case in found:
        variables |= scatter(case, POSITIONS, "w²") | plane(case, 0, "w")
    words = {slug(case): case.words for case in found}
    attributes = {"cases": list(words), "words": list(words.values()), "last": [c.last for c in found]}
    data = dataset(variables).assign_attrs(attributes)
    ensembles = {case.name: case.provenance for case in found}
    return Result(data, [*checked, *_landscapes(network, curvatures)], ensembles)


def _weight_decay(case: Case) -> Claim:
    """The λ of (10): without it the law would be isotropic."""
    measured = case.measured.map(lambda M: jnp.sqrt(ratio(case.positions(M))))
    expected = float(np.sqrt(ratio(case.hessian / case.curvature)))
    return Claim.rejection(
        f"{case.name}/without weight decay/control", source("Sec. 7, text after Eq. 10"),
        f"{case.words}: standard deviations along q_1 and q_k, not equal, as they would be for λ ≈ 0",
        **evidence(measured), expected=expected, rejected=1.0, resolution=abs(expected - 1) / 2,
    )  # fmt: skip


def _landscapes(case: Case, curvatures: tuple[float, float]) -> list[Claim]:
    """Exact evaluations: training and test loss are anisotropic, Ψ_θ is not; and modes that no noise reaches."""
    modified = float(ratio(case.curvature / case.hessian))
    words = "curvature along q_1 over that along q_k"
    return [
        Claim.bound(
            "network/training loss", source("Fig. 3"), f"training loss: {words}", curvatures[0], 0.0, 2.0,
            side="at least",
        ),
        Claim.bound(
            "network/test loss", source("Fig. 3"), f"test loss: {words}", curvatures[1], 0.0, 1.5, side="at least",
        ),
        Claim.equality(
            "network/modified loss", source("Eq. 10"), f"Ψ_θ: {words}", modified, 0.0, 1.0, resolution=0.05,
            tolerance=0.05,
        ),
        Claim.bound(
            "network/noise in every mode" + "/published" * (case.silent > 0), source("Assumption 5, App. C"),
            f"H and C share their null space: the least C_ii/h_i of the {len(case.curvature) + case.silent} leading"
            f" modes over their median is no rounding ({case.silent} modes have no noise)",
            case.least, 0.0, 1e-6, side="at least",
        ),
    ]  # fmt: skip


def _losses(case: Case) -> tuple[dict[str, Variable], tuple[float, float]]:
    """Excess losses in the plane, and the ratio of curvatures of the training and the test loss."""
    V = case.vectors[:, [0, -1]]
    reach = REACH * np.sqrt(np.asarray(case.positions(case.law))[[0, -1]].max())
    axis = np.linspace(-reach, reach, GRID)
    a, b = np.meshgrid(axis, axis, indexing="ij")
    points = case.minimum + np.stack([a.ravel(), b.ravel()], axis=1) @ V.T
    train, test = (np.asarray(v).reshape(a.shape) for v in _evaluated(case.dynamics.problem, case.test, points))
    train = train + case.weight_decay * np.sum(points**2, axis=1).reshape(a.shape) / 2
    h, K = case.hessian[[0, -1]], case.curvature[[0, -1]]
    modified = (K[0] / h[0] * a**2 + K[1] / h[1] * b**2) / (case.learning_rate * (1 + case.momentum))
    grid = lambda values, words, units: variable(("q_1", "q_k"), values - values[GRID // 2, GRID // 2], words, units)
    variables = {
        "q_1": variable("q_1", axis, "position along q_1", "w"),
        "q_k": variable("q_k", axis, f"position along q_{case.last}", "w"),
        "training_loss": grid(train, "training loss with weight decay, from the minimum", "loss"),
        "test_loss": grid(test, "test loss, from that at the minimum", "loss"),
        "modified_loss": grid(modified, "modified loss Ψ_θ (10)", "σ²"),
    }
    return variables, (_anisotropy(axis, train), _anisotropy(axis, test))


def _anisotropy(axis: np.ndarray, values: np.ndarray) -> float:
    """Curvature along q_1 over that along q_k, of the parabolas through the minimum that fit best."""
    stiff, soft = (np.polyfit(axis, v, 2)[0] for v in (values[:, GRID // 2], values[GRID // 2]))
    return float(stiff / soft)


@once
def _evaluated(problem, test, points):
    """Losses at points [points, parameters] on the training and the test set, [points] each."""
    on = lambda data: jax.lax.map(lambda θ: problem.loss(θ, data), points)
    return on(None), on(test)


FIG3 = register(
    Experiment(
        name="kunin2023/fig3",
        summary="positions in the plane of a stiff and a soft Hessian eigenvector, beside three losses",
        source=source("Fig. 3, Sec. 7, Eq. 10, H.5"),
        config=PlaneConfig,
        presets={
            "quick": PlaneConfig(
                network="convolutional", size="quick", replicas=512, steps=1000, network_replicas=64,
                network_steps=1000, burn_in=150,
            ),
            "paper": PlaneConfig(),
        },
        run=run,
        figure="kunin2023/fig3",
    )
)  # fmt: skip
"""Fig. 3: isotropic positions in anisotropic losses."""
