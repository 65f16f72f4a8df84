"""The main job, on real input: linear regression as SGD, as a stochastic differential equation, as exact theory.

Two data sets: the teacher-student data of Gross, Raulf and Räth (N = 100, P = 200), and the 1,797 handwritten
digits that scikit-learn ships, with the parity of the digit as target. For each

    SGD    replicas started from the exact stationary law, measured against that law
           (`theory.recursion`: discrete time, multiplicative noise)
    SDE    the Langevin equation with the finite-sample noise, at enough Euler-Maruyama substeps, against its own
           law (continuous time, multiplicative noise)

along the modes of the Hessian. A warm start proves nothing alone: one ensemble starts displaced, and its modes
must relax as (1 − ηh)^k, which is Eq. (2.27) up to the discretisation of time. And a negative control for each
theory: frozen noise (2.30) where it errs, and the SDE at one substep, which is SGD in disguise.
"""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._claims import LEVEL, Claim, table
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._regression import Regression, along
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.statistics import Covariance, Estimate, Loss, Projection, Snapshots, format_with_error
from sgdynamics.theory import recursion

GROSS = "Gross, Raulf and Räth (2024)"


@dataclass(frozen=True)
class EnsembleSizes:
    """One data set's learning parameters and the sizes of its ensembles."""

    learning_rate: float
    """Learning rate η; time t = η × step."""
    batch_size: int
    """Minibatch size S, drawn with replacement."""
    replicas: int
    """SGD replicas."""
    steps: int
    """SGD steps."""
    every: int
    """Steps between two records."""
    sde_replicas: int
    """Replicas of the SDE."""
    sde_steps: int
    """Steps of the SDE, each of one learning rate."""

    def __post_init__(self):
        _checks.positive("learning_rate", self.learning_rate)
        for name in ("batch_size", "replicas", "steps", "every", "sde_replicas", "sde_steps"):
            _checks.count(name, getattr(self, name))


@dataclass(frozen=True)
class DemoConfig:
    """The demonstration's parameters."""

    samples: int = 200
    """P of the teacher-student data."""
    inputs: int = 100
    """N of the teacher-student data."""
    label_noise_std: float = 0.5
    """Standard deviation of its label noise (the paper's variance is 0.25)."""
    gaussian: EnsembleSizes = field(default_factory=lambda: EnsembleSizes(0.1, 10, 1024, 2000, 20, 1024, 300))
    """The teacher-student ensembles."""
    digits: EnsembleSizes = field(default_factory=lambda: EnsembleSizes(1.0, 50, 1024, 1000, 20, 256, 800))
    """The ensembles on the digits."""
    substeps: int = 8
    """Euler-Maruyama substeps in one step of the SDE."""
    displacement: float = 10.0
    """Where the displaced run starts, in stationary standard deviations of each mode."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("samples", "inputs"):
            _checks.count(name, getattr(self, name))
        _checks.count("substeps", self.substeps, least=2, remedy="One substep is SGD in disguise.")
        _checks.not_negative("label_noise_std", self.label_noise_std)
        _checks.positive("displacement", self.displacement)


@dataclass(frozen=True)
class Case:
    """One data set with the sizes of its ensembles."""

    name: str
    sizes: EnsembleSizes
    regression: Regression
    key: jax.Array

    def law(self, form: str) -> jax.Array:
        """Variances along the modes of the Hessian, softest first, in one of theory's forms."""
        return self.regression.along_modes(self.regression.law(form))

    def euler_maruyama_law(self, substeps: int) -> jax.Array:
        """Variances of the Euler-Maruyama scheme itself: the second-moment map of SGD at η/n with noise n times
        as strong."""
        η, S, data = self.sizes.learning_rate, self.sizes.batch_size, self.regression.data
        moments = recursion.MinibatchMoments(
            data.x, data.y, learning_rate=η / substeps, sampling_factor=substeps / S
        )  # fmt: skip
        return self.regression.along_modes(moments.weight_covariance())


def run(config: DemoConfig, progress: Progress) -> Result:
    """Both data sets, then the displaced run."""
    cases = _cases(config)
    stationary = [_stationary(case, config, progress) for case in cases]
    converged = stationary[1].ensembles["sde"]
    parts = [part.result for part in stationary]
    parts += [_discretisation(cases[1], converged, config, progress), _relaxation(cases[1], config, progress)]
    data = xr.merge([part.data for part in parts], join="exact", compat="no_conflicts")
    claims = [claim for part in parts for claim in part.claims]
    ensembles = {name: value for part in parts for name, value in part.ensembles.items()}
    return Result(data, claims, ensembles)


def _cases(config: DemoConfig) -> list[Case]:
    data_key, *keys = jax.random.split(jax.random.key(config.seed), 3)
    gaussian = sgd.data.teacher_student(
        data_key, samples=config.samples, inputs=config.inputs, label_noise_std=config.label_noise_std
    )
    sets = (("gaussian", gaussian, config.gaussian), ("digits", sgd.data.digits("parity"), config.digits))
    return [_case(name, data, sizes, key) for (name, data, sizes), key in zip(sets, keys, strict=True)]


def _case(name: str, data: sgd.data.Dataset, sizes: EnsembleSizes, key: jax.Array) -> Case:
    return Case(name, sizes, Regression(data, sizes.learning_rate, sizes.batch_size), key)


def _simulate(case: Case, dynamics: Any, statistics: Any, progress: Progress, label: str, **options: Any):
    return _ensembles.simulate(dynamics, statistics, progress, f"{case.name}: {label}", key=case.key, **options)


# --- the stationary state -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stationary:
    """The stationary ensembles of one data set, "sgd" and "sde", and what follows from them."""

    ensembles: dict[str, sgd.Ensemble]
    result: Result


def _stationary(case: Case, config: DemoConfig, progress: Progress) -> Stationary:
    """SGD and the SDE, each from its own law and against it."""
    sizes, statistics = case.sizes, {"covariance": Covariance(), "loss": Loss(case.regression.problem)}
    langevin = case.regression.langevin(config.substeps)
    laws = {"sgd": case.regression.prediction, "sde": sgd.predict(langevin)}
    measured = {
        "sgd": _simulate(
            case, case.regression.descent(), statistics, progress, "SGD",
            replicas=sizes.replicas, steps=sizes.steps, every=sizes.every, initial=laws["sgd"],
        ),
        "sde": _simulate(
            case, langevin, statistics, progress, f"SDE, {config.substeps} substeps",
            replicas=sizes.sde_replicas, steps=sizes.sde_steps, every=sizes.every, initial=laws["sde"],
        ),
    }  # fmt: skip
    claims = [claim for kind in laws for claim in _claims(case, kind, measured[kind], laws[kind])]
    claims.append(_frozen_noise(case, measured["sgd"]))
    ensembles = {f"{case.name}/{kind}": ensemble.provenance for kind, ensemble in measured.items()}
    return Stationary(measured, Result(_stationary_data(case, measured, laws["sgd"]), claims, ensembles))


def _claims(case: Case, kind: str, measured: sgd.Ensemble, law: sgd.Prediction) -> list[Claim]:
    """The law's total variance, extreme modes and loss, and the law as a whole."""
    source = f"{GROSS}, Sec. II; " + ("exact discrete law" if kind == "sgd" else "law of the SDE (2.13)")
    modes, floor = case.regression.along_modes(law.covariance), float(case.regression.problem.loss(law.mean))
    variances = measured.estimates["covariance"].map(case.regression.along_modes)
    quantities: dict[str, tuple[Estimate, float]] = {
        "total variance": (variances.map(jnp.sum), float(modes.sum())),
        "softest mode": (variances.map(lambda v: v[0]), float(modes[0])),
        "stiffest mode": (variances.map(lambda v: v[-1]), float(modes[-1])),
        "excess loss": (
            measured.estimates["loss"].map(lambda x: x - floor),
            float(law.loss(case.regression.problem)) - floor,
        ),
    }
    claims = [
        Claim.equality(
            f"{case.name}/{name}/{kind}", source, f"{name} in the stationary state", estimate.value,
            estimate.standard_error, expected, resolution=expected / 2, level=LEVEL,
            degrees_of_freedom=estimate.degrees_of_freedom,
        )
        for name, (estimate, expected) in quantities.items()
    ]  # fmt: skip
    comparison = sgd.compare(measured.estimates["covariance"], law.covariance, level=LEVEL)
    statement = f"variances along all {law.mean.shape[0]} expected directions, and the whole matrix, agree (p-value)"
    whole = Claim.bound(
        f"{case.name}/whole covariance/{kind}", source, statement, comparison.p_value, 0.0, LEVEL,
        side="at least", level=LEVEL,
    )  # fmt: skip
    return [*claims, whole]


def _frozen_noise(case: Case, measured: sgd.Ensemble) -> Claim:
    """The continuous theory with frozen noise, (2.30), against SGD's stiffest mode: good to less than the error
    at the paper's parameters, and the negative control where it is not."""
    stiffest = measured.estimates["covariance"].map(case.regression.along_modes).map(lambda v: v[-1])
    exact, frozen = float(case.law("exact")[-1]), float(case.law("lyapunov")[-1])
    id, source = f"{case.name}/frozen noise", f"{GROSS}, Eq. 2.30"
    numbers = (stiffest.value, stiffest.standard_error)
    about = {"level": LEVEL, "degrees_of_freedom": stiffest.degrees_of_freedom}
    statement = f"the stiffest mode's variance has the value for frozen noise ({frozen / exact - 1:+.1%} of exact)"
    if abs(frozen / exact - 1) < 0.02:
        return Claim.equality(id, source, statement, *numbers, frozen, resolution=frozen / 2, **about)
    return Claim.rejection(id, source, f"not: {statement}", *numbers, exact, rejected=frozen, **about)


def _stationary_data(case: Case, measured: dict[str, sgd.Ensemble], law: sgd.Prediction) -> xr.Dataset:
    """Variances along the modes of the Hessian, and along the eigenvectors of the exact law."""
    eigenvalues, U = jnp.linalg.eigh(law.covariance)
    mode, principal = f"{case.name}_mode", f"{case.name}_principal"
    variables: dict[str, Variable] = {}
    for dim, V in ((mode, case.regression.modes), (principal, U)):
        for kind, ensemble in measured.items():
            variances = ensemble.estimates["covariance"].map(lambda M, V=V: along(V, M))
            variables |= measurement(f"{dim}_{kind}", dim, variances, "variance", "weight²")
    words = {"exact": "SGD's exact law", "multiplicative": "law of the SDE", "lyapunov": "SDE with frozen noise (2.30)"}
    for form, of in words.items():
        variables[f"{mode}_{form}"] = variable(mode, case.law(form), f"variance, {of}", "weight²")
    long_name = "eigenvalue of the covariance, SGD's exact law"
    variables[f"{principal}_exact"] = variable(principal, eigenvalues, long_name, "weight²")
    curvature = variable(mode, case.regression.curvature, "eigenvalue of the Hessian", "1/t")
    return dataset(variables, {f"{case.name}_curvature": curvature})


# --- how many substeps make the SDE ---------------------------------------------------------------------------


def _discretisation(case: Case, converged: sgd.Ensemble, config: DemoConfig, progress: Progress) -> Result:
    """The stiffest mode's variance against the number of substeps, and what that says of one substep."""
    counts = (1, 2, config.substeps)
    ensembles = {n: _at_substeps(case, n, progress) for n in counts[:2]}
    covariances = {n: e.estimates for n, e in ensembles.items()} | {counts[2]: converged.estimates["covariance"]}
    stiffest = {n: covariances[n].map(case.regression.along_modes).map(lambda v: v[-1]) for n in counts}
    exact, sde = float(case.law("exact")[-1]), float(case.law("multiplicative")[-1])
    one, many = stiffest[1], stiffest[config.substeps]
    source = "ours: Euler-Maruyama at dt = learning rate shares SGD's first two moments"
    about = {"level": LEVEL, "degrees_of_freedom": one.degrees_of_freedom}
    fine = np.unique(np.round(np.geomspace(1, 2 * config.substeps, 9)).astype(int))
    theory = np.array([float(case.euler_maruyama_law(int(n))[-1]) for n in fine])
    bias = abs(
        float(case.euler_maruyama_law(config.substeps)[-1]) - sde
    )  # of the scheme: no disagreement with the SDE's law
    claims = [
        Claim.equality("digits/one substep/is SGD", source, "at 1 substep the SDE has SGD's variance (stiffest mode)",
                       one.value, one.standard_error, exact, resolution=exact / 2, **about),
        Claim.rejection("digits/one substep/is not the SDE", source, "and not the variance of the SDE's own law",
                        one.value, one.standard_error, exact, rejected=sde, **about),
        Claim.equality(f"digits/{config.substeps} substeps/is the SDE", source,
                       f"at {config.substeps} substeps it has the SDE's variance (stiffest mode)", many.value,
                       many.standard_error, sde, resolution=sde / 2, tolerance=bias, **about),
    ]  # fmt: skip
    name = "variance of the digits' stiffest mode"
    data = dataset(
        {
            "substeps_measured": variable("substeps", _floats(stiffest, "value"), f"{name}, measured", "weight²"),
            "substeps_error": variable("substeps", _floats(stiffest, "standard_error"), "its error", "weight²"),
            "substeps_theory": variable("substeps_fine", theory, f"{name}, law of the scheme", "weight²"),
        },
        {
            "substeps": variable("substeps", counts, "Euler-Maruyama substeps in a step"),
            "substeps_fine": variable("substeps_fine", fine, "Euler-Maruyama substeps in a step"),
        },
    )
    return Result(data, claims, {f"digits/sde at {n} substeps": e.provenance for n, e in ensembles.items()})


def _floats(estimates: dict[int, Estimate], name: str) -> np.ndarray:
    return np.array([float(getattr(estimate, name)) for estimate in estimates.values()])


def _at_substeps(case: Case, substeps: int, progress: Progress) -> sgd.Ensemble:
    """The SDE from SGD's law, long enough for the stiffest mode to become its own."""
    dynamics = case.regression.langevin(substeps)
    steps = 4 * case.sizes.sde_steps // substeps  # fewer substeps cost less: spend them on precision
    burn_in = int(np.ceil(5 / (case.sizes.learning_rate * float(case.regression.curvature[-1]))))
    return _simulate(
        case, dynamics, Covariance(), progress, f"SDE, {substeps} substep{'s' * (substeps > 1)} (control)",
        replicas=case.sizes.sde_replicas, steps=steps, burn_in=burn_in, every=5, initial=case.regression.prediction,
    )  # fmt: skip


# --- a displaced start ----------------------------------------------------------------------------------------

RELAXING = (0, 0.5, 0.9, 1)  # softest … stiffest mode, as fractions of their number


def _relaxation(case: Case, config: DemoConfig, progress: Progress) -> Result:
    """The mean along four modes after a displaced start, against the exact recursion and (2.27)."""
    modes, law = case.regression.modes, case.regression.prediction
    chosen = np.array([round(q * (case.regression.inputs - 1)) for q in RELAXING])
    h, V = case.regression.curvature[chosen], modes[:, chosen]
    start = config.displacement * jnp.sqrt(case.regression.along_modes(law.covariance))
    steps = np.unique(np.round(np.geomspace(1, 400, 12)).astype(int))
    ensemble = _simulate(
        case, case.regression.descent(), Snapshots(steps.tolist(), of=Projection(V, law.mean)), progress,
        "SGD, displaced", replicas=case.sizes.replicas, steps=int(steps[-1]), initial=law.mean + modes @ start,
    )  # fmt: skip
    z0, η = start[chosen], case.sizes.learning_rate
    exact = z0[None, :] * (1 - η * h)[None, :] ** steps[:, None]
    continuous = z0[None, :] * jnp.exp(-η * h[None, :] * steps[:, None])
    mean = ensemble.estimates.mean
    claims = [_relaxes(mean, exact, continuous, steps, np.asarray(η * h), i) for i in range(len(chosen))]
    claims.append(_leaves_continuum(mean, exact, continuous, steps, float(η * h[-1])))
    dims, words = ("relaxation_step", "relaxation_mode"), "mean displacement of a mode from the minimum"
    data = dataset(
        {
            "relaxation_measured": variable(dims, mean.value, f"{words}, SGD measured", "weight"),
            "relaxation_error": variable(dims, mean.standard_error, f"{words}, standard error", "weight"),
            "relaxation_exact": variable(dims, exact, f"{words}, (1 − ηh)^k", "weight"),
            "relaxation_start": variable(dims[1:], z0, f"{words}, at step 0", "weight"),
        },
        {
            "relaxation_step": variable(dims[:1], steps, "SGD step", "step"),
            "relaxation_rate": variable(dims[1:], η * h, "ηh, rate of Eq. 2.27", "1/step"),
        },
    )
    return Result(data, claims, {"digits/displaced": ensemble.provenance})


def _relaxes(mean: Estimate, exact, continuous, steps: np.ndarray, rates: np.ndarray, mode: int) -> Claim:
    """The exact mean where the mode has fallen to about 1/e; (2.27) stands beside it."""
    at = _fallen(steps, rates[mode])
    here, expected = mean.map(lambda x: x[at, mode]), float(exact[at, mode])
    return Claim.equality(
        f"digits/relaxation/ηh = {rates[mode]:.2g}", f"{GROSS}, Eq. 2.27 in discrete time",
        f"the mode's mean relaxes as (1 − ηh)^k: step {steps[at]}; (2.27) has {float(continuous[at, mode]):.4g}",
        here.value, here.standard_error, expected, resolution=expected / 2, level=LEVEL,
        degrees_of_freedom=here.degrees_of_freedom,
    )  # fmt: skip


def _leaves_continuum(mean: Estimate, exact, continuous, steps: np.ndarray, rate: float) -> Claim:
    """The negative control: the stiffest mode does not relax as e^(−ηhk), whose error is about k (ηh)²/2."""
    at = _fallen(steps, rate)
    here = mean.map(lambda x: x[at, -1])
    return Claim.rejection(
        "digits/relaxation/not continuous", f"{GROSS}, Eq. 2.27",
        f"at ηh = {rate:.2g} the mean does not relax as e^(−ηhk): step {steps[at]}",
        here.value, here.standard_error, float(exact[at, -1]), rejected=float(continuous[at, -1]), level=LEVEL,
        degrees_of_freedom=here.degrees_of_freedom,
    )  # fmt: skip


def _fallen(steps: np.ndarray, rate: float) -> int:
    return int(np.argmin(np.abs(rate * steps - 1)))


# --- the table ------------------------------------------------------------------------------------------------


def _table(result: Result) -> str:
    """SGD and SDE side by side, then the controls and the relaxation."""
    claims = {claim.id: claim for claim in result.claims}
    pairs = [id.removesuffix("/sgd") for id in claims if id.endswith("/sgd")]
    rows = [_row(pair, claims[f"{pair}/sgd"], claims[f"{pair}/sde"]) for pair in pairs]
    header = ("quantity", "SGD", "theory", "z", "SDE", "theory", "z", "verdict")
    others = [c for c in result.claims if c.id.rsplit("/", 1)[0] not in pairs]
    controls = [
        (
            c.id,
            _measured(c),
            _number(c.expected),
            "" if c.rejected is None else _number(c.rejected),
            _z(c),
            c.verdict,
        )
        for c in others
    ]
    columns = ("controls and relaxation", "measured", "expected", "must be excluded", "z", "verdict")
    return table(header, rows, align="lrrrrrrl") + "\n\n" + table(columns, controls, align="lrrrrl")


def _row(name: str, of_sgd: Claim, of_sde: Claim) -> tuple[str, ...]:
    verdicts = {of_sgd.verdict, of_sde.verdict}
    worst = next(v for v in ("not reproduced", "undecided", "reproduced") if v in verdicts)
    if of_sgd.kind == "at least":
        name += " (p)"
    sign = "≥ " if of_sgd.kind == "at least" else ""
    cells = [cell for c in (of_sgd, of_sde) for cell in (_measured(c), sign + _number(c.expected), _z(c))]
    return (name, *cells, worst)


def _measured(claim: Claim) -> str:
    if claim.standard_error == 0:
        return f"{claim.measured:.2g}"
    return format_with_error(claim.measured, claim.standard_error)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def _z(claim: Claim) -> str:
    return "" if claim.z is None else f"{claim.z:+.1f}"


DEMO = register(
    Experiment(
        name="demo",
        summary="linear regression on teacher-student data and on digits: SGD, its SDE, exact theory",
        source=f"{GROSS}, Sec. II",
        config=DemoConfig,
        presets={
            "quick": DemoConfig(),
            "paper": DemoConfig(
                gaussian=EnsembleSizes(0.1, 10, 4096, 20_000, 20, 1024, 2000),
                digits=EnsembleSizes(1.0, 50, 4096, 4000, 20, 1024, 2000),
            ),
        },
        run=run,
        figure="demo",
        table=_table,
    )
)
