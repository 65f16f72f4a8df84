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
from sgdynamics.experiments._claims import Claim, table
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.statistics import Covariance, Estimate, Loss, Projection, Snapshots, format_with_error
from sgdynamics.theory import recursion, regression

GROSS = "Gross, Raulf and Räth (2024)"
LEVEL = 1e-4  # false-alarm rate of each claim


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
    """One data set with its problem, its modes and its laws."""

    name: str
    sizes: EnsembleSizes
    problem: sgd.Problem
    curvature: jax.Array
    modes: jax.Array
    key: jax.Array

    def sgd(self) -> sgd.SGD:
        return sgd.SGD(self.problem, learning_rate=self.sizes.learning_rate, sampler=self.sizes.batch_size)

    def langevin(self, substeps: int) -> sgd.Langevin:
        return sgd.Langevin(
            self.problem, learning_rate=self.sizes.learning_rate, sampler=self.sizes.batch_size, substeps=substeps
        )

    def along(self, covariance: Any) -> Any:
        """Variances along the modes of the Hessian, softest first."""
        return jnp.einsum("ik,ij,jk->k", self.modes, covariance, self.modes)

    def law(self, form: str) -> jax.Array:
        """Variances along the modes in one of theory's forms."""
        x, y, sizes = self.problem.data.x, self.problem.data.y, self.sizes
        covariance = regression.stationary_covariance(
            x, y, learning_rate=sizes.learning_rate, batch_size=sizes.batch_size, form=form
        )
        return self.along(covariance)

    def euler_maruyama_law(self, substeps: int) -> jax.Array:
        """Variances of the Euler-Maruyama scheme itself: the second-moment map of SGD at η/n with noise n times
        as strong."""
        η, S = self.sizes.learning_rate, self.sizes.batch_size
        moments = recursion.MinibatchMoments(
            self.problem.data.x, self.problem.data.y, learning_rate=η / substeps, sampling_factor=substeps / S
        )
        return self.along(moments.weight_covariance())


def run(config: DemoConfig, progress: Progress) -> Result:
    """Both data sets, then the displaced run."""
    cases = _cases(config)
    parts = [_stationary(case, config, progress) for case in cases]
    parts += [_discretisation(cases[1], config, progress), _relaxation(cases[1], config, progress)]
    data = xr.merge([data for data, _, _ in parts], join="exact", compat="no_conflicts")
    claims = [claim for _, claims, _ in parts for claim in claims]
    ensembles = {name: value for _, _, ensembles in parts for name, value in ensembles.items()}
    return Result(data, claims, ensembles)


def _cases(config: DemoConfig) -> list[Case]:
    data_key, *keys = jax.random.split(jax.random.key(config.seed), 3)
    gaussian = sgd.data.teacher_student(
        data_key, samples=config.samples, inputs=config.inputs, label_noise_std=config.label_noise_std
    )
    sets = (("gaussian", gaussian, config.gaussian), ("digits", sgd.data.digits("parity"), config.digits))
    return [_case(name, data, sizes, key) for (name, data, sizes), key in zip(sets, keys, strict=True)]


def _case(name: str, data: sgd.data.Dataset, sizes: EnsembleSizes, key: jax.Array) -> Case:
    problem = sgd.Problem(sgd.networks.Linear(data.x.shape[1], 1), data)
    curvature, modes = jnp.linalg.eigh(regression.hessian(data.x))
    return Case(name, sizes, problem, curvature, modes, key)


def _simulate(case: Case, dynamics: Any, statistics: Any, progress: Progress, label: str, **options: Any):
    """An ensemble, with its own stage of the progress and its own key."""
    steps = options["steps"] + options.get("burn_in", 0)
    progress.stage(f"{case.name}: {label}", steps)
    key = jax.random.fold_in(case.key, sum(map(ord, label)))
    return sgd.simulate(dynamics, statistics, key=key, progress=progress.advance, **options)


# --- the stationary state -------------------------------------------------------------------------------------


def _stationary(case: Case, config: DemoConfig, progress: Progress):
    """SGD and the SDE from the exact law, against the law of each."""
    sizes, statistics = case.sizes, {"covariance": Covariance(), "loss": Loss(case.problem)}
    langevin = case.langevin(config.substeps)
    laws = {"sgd": sgd.predict(case.sgd()), "sde": sgd.predict(langevin)}
    common = {"initial": laws["sgd"], "every": sizes.every}
    measured = {
        "sgd": _simulate(case, case.sgd(), statistics, progress, "SGD",
                         replicas=sizes.replicas, steps=sizes.steps, **common),
        "sde": _simulate(case, langevin, statistics, progress, f"SDE, {config.substeps} substeps",
                         replicas=sizes.sde_replicas, steps=sizes.sde_steps, **common | {"initial": laws["sde"]}),
    }  # fmt: skip
    claims = [claim for kind in laws for claim in _claims(case, kind, measured[kind], laws[kind])]
    claims.append(_frozen_noise(case, measured["sgd"]))
    ensembles = {f"{case.name}/{kind}": ensemble.provenance for kind, ensemble in measured.items()}
    return _stationary_data(case, measured), claims, ensembles


def _claims(case: Case, kind: str, measured: sgd.Ensemble, law: sgd.Prediction) -> list[Claim]:
    """The law's total variance, extreme modes and loss, and the law as a whole."""
    source = f"{GROSS}, Sec. II; " + ("exact discrete law" if kind == "sgd" else "law of the SDE (2.13)")
    modes, floor = case.along(law.covariance), float(case.problem.loss(law.mean))
    variances = measured.estimates["covariance"].map(case.along)
    quantities: dict[str, tuple[Estimate, float]] = {
        "total variance": (variances.map(jnp.sum), float(modes.sum())),
        "softest mode": (variances.map(lambda v: v[0]), float(modes[0])),
        "stiffest mode": (variances.map(lambda v: v[-1]), float(modes[-1])),
        "excess loss": (measured.estimates["loss"].map(lambda x: x - floor), float(law.loss(case.problem)) - floor),
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
    """The negative control: the continuous theory with frozen noise, (2.30), against SGD's stiffest mode."""
    stiffest = measured.estimates["covariance"].map(case.along).map(lambda v: v[-1])
    exact, frozen = float(case.law("exact")[-1]), float(case.law("lyapunov")[-1])
    return Claim.rejection(
        f"{case.name}/frozen noise", f"{GROSS}, Eq. 2.30",
        f"the stiffest mode's variance is not that of frozen noise in continuous time ({frozen / exact - 1:+.1%})",
        stiffest.value, stiffest.standard_error, exact, rejected=frozen, level=LEVEL,
        degrees_of_freedom=stiffest.degrees_of_freedom,
        note="the theory's error is small at the paper's parameters, and seen where this is reproduced",
    )  # fmt: skip


def _stationary_data(case: Case, measured: dict[str, sgd.Ensemble]) -> xr.Dataset:
    dim, unit = f"{case.name}_mode", "weight²"
    variables = {}
    for kind, ensemble in measured.items():
        variances = ensemble.estimates["covariance"].map(case.along)
        variables[f"{kind}"] = (variances.value, f"variance along a mode, {kind.upper()} measured")
        variables[f"{kind}_error"] = (variances.standard_error, f"standard error of it, {kind.upper()}")
    forms = {"exact": "SGD's exact law", "multiplicative": "law of the SDE", "lyapunov": "SDE with frozen noise (2.30)"}
    variables |= {form: (case.law(form), f"variance along a mode, {name}") for form, name in forms.items()}
    entries = {
        f"{case.name}_{name}": (dim, np.asarray(values), {"units": unit, "long_name": long_name})
        for name, (values, long_name) in variables.items()
    }
    curvature = (dim, np.asarray(case.curvature), {"units": "1/t", "long_name": "eigenvalue of the Hessian"})
    return xr.Dataset(entries, {f"{case.name}_curvature": curvature})


# --- how many substeps make the SDE ---------------------------------------------------------------------------


def _discretisation(case: Case, config: DemoConfig, progress: Progress):
    """The stiffest mode's variance against the number of substeps, and two verdicts at one substep."""
    counts = (1, 2, config.substeps)
    ensembles = {n: _at_substeps(case, n, progress) for n in counts}
    stiffest = {n: e.estimates.map(case.along).map(lambda v: v[-1]) for n, e in ensembles.items()}
    theory = np.array([float(case.euler_maruyama_law(n)[-1]) for n in counts])
    exact, sde = float(case.law("exact")[-1]), float(case.law("multiplicative")[-1])
    one, many = stiffest[1], stiffest[config.substeps]
    source = "DESIGN: Euler-Maruyama at dt = learning rate shares SGD's first two moments"
    about = {"level": LEVEL, "degrees_of_freedom": one.degrees_of_freedom}
    claims = [
        Claim.equality("digits/one substep/is SGD", source, "at 1 substep the SDE has SGD's variance (stiffest mode)",
                       one.value, one.standard_error, exact, resolution=exact / 2, **about),
        Claim.rejection("digits/one substep/is not the SDE", source, "and not the variance of the SDE's own law",
                        one.value, one.standard_error, exact, rejected=sde, **about),
        Claim.equality(f"digits/{config.substeps} substeps/is the SDE", source,
                       f"at {config.substeps} substeps it has the SDE's variance (stiffest mode)", many.value,
                       many.standard_error, sde, resolution=sde / 2, tolerance=abs(theory[-1] - sde), **about),
    ]  # fmt: skip
    measured = np.array([float(stiffest[n].value) for n in counts])
    errors = np.array([float(stiffest[n].standard_error) for n in counts])
    name = "variance of the digits' stiffest mode"
    variables = {
        "substeps_measured": (measured, f"{name}, Euler-Maruyama measured"),
        "substeps_error": (errors, "standard error of it"),
        "substeps_theory": (theory, f"{name}, law of the Euler-Maruyama scheme"),
    }
    coordinate = ("substeps", np.array(counts), {"units": "1", "long_name": "Euler-Maruyama substeps in a step"})
    data = xr.Dataset(
        {k: ("substeps", v, {"units": "weight²", "long_name": text}) for k, (v, text) in variables.items()},
        {"substeps": coordinate},
    )
    return data, claims, {f"digits/sde at {n} substeps": e.provenance for n, e in ensembles.items()}


def _at_substeps(case: Case, substeps: int, progress: Progress) -> sgd.Ensemble:
    """The SDE from SGD's law, long enough for the stiffest mode to become its own."""
    dynamics = case.langevin(substeps)
    # fewer substeps cost less: spend them on precision
    steps = case.sizes.sde_steps * (4 if substeps == 1 else 2 if substeps == 2 else 1)
    burn_in = int(np.ceil(5 / (case.sizes.learning_rate * float(case.curvature[-1]))))
    return _simulate(
        case, dynamics, Covariance(), progress, f"SDE, {substeps} substep{'s' * (substeps > 1)} (control)",
        replicas=case.sizes.sde_replicas, steps=steps, burn_in=burn_in, every=5, initial=sgd.predict(case.sgd()),
    )  # fmt: skip


# --- a displaced start ----------------------------------------------------------------------------------------

RELAXING = (0, 0.5, 0.9, 1)  # softest … stiffest mode, as fractions of their number


def _relaxation(case: Case, config: DemoConfig, progress: Progress):
    """The mean along four modes after a displaced start, against the exact recursion and (2.27)."""
    chosen = np.array([round(q * (len(case.curvature) - 1)) for q in RELAXING])
    h, V = case.curvature[chosen], case.modes[:, chosen]
    law = sgd.predict(case.sgd())
    start = config.displacement * jnp.sqrt(case.along(law.covariance))
    steps = np.unique(np.round(np.geomspace(1, 400, 12)).astype(int))
    ensemble = _simulate(
        case, case.sgd(), Snapshots(steps.tolist(), of=Projection(V, law.mean)), progress, "SGD, displaced",
        replicas=case.sizes.replicas, steps=int(steps[-1]), initial=law.mean + case.modes @ start,
    )  # fmt: skip
    z0, η = start[chosen], case.sizes.learning_rate
    exact = z0[None, :] * (1 - η * h)[None, :] ** steps[:, None]
    continuous = z0[None, :] * jnp.exp(-η * h[None, :] * steps[:, None])
    mean = ensemble.estimates.mean
    claims = [_relaxes(mean, exact, continuous, steps, np.asarray(η * h), i) for i in range(len(chosen))]
    attributes = {"units": "weight", "long_name": "mean of a mode's displacement from the minimum"}
    variables = {
        "relaxation_measured": np.asarray(mean.value),
        "relaxation_error": np.asarray(mean.standard_error),
        "relaxation_exact": np.asarray(exact),
        "relaxation_continuous": np.asarray(continuous),
    }
    names = {"measured": "SGD measured", "error": "standard error", "exact": "(1 − ηh)^k", "continuous": "Eq. 2.27"}
    data = xr.Dataset(
        {k: (("relaxation_step", "relaxation_mode"), v,
             attributes | {"long_name": f"{attributes['long_name']}, {names[k.split('_')[1]]}"})
         for k, v in variables.items()},
        {"relaxation_step": ("relaxation_step", steps, {"units": "step", "long_name": "SGD step"}),
         "relaxation_curvature": ("relaxation_mode", np.asarray(h),
                                  {"units": "1/t", "long_name": "eigenvalue of the Hessian"})},
    )  # fmt: skip
    return data, claims, {"digits/displaced": ensemble.provenance}


def _relaxes(mean: Estimate, exact, continuous, steps: np.ndarray, rates: np.ndarray, mode: int) -> Claim:
    """The step at which the mode is nearest to 1/e: the displacement there. (2.27) errs by what
    (1 − ηh)^k and e^{−ηhk} differ, about k (ηh)²/2 of it: that is no disagreement."""
    at = int(np.argmin(np.abs(rates[mode] * steps - 1)))
    here = mean.map(lambda x: x[at, mode])
    expected = float(continuous[at, mode])
    return Claim.equality(
        f"digits/relaxation/mode {mode + 1}", f"{GROSS}, Eq. 2.27",
        f"a mode with ηh = {rates[mode]:.2g} relaxes as e^(−ηhk): its mean at step {steps[at]}",
        here.value, here.standard_error, expected, resolution=expected / 2, level=LEVEL,
        degrees_of_freedom=here.degrees_of_freedom, tolerance=abs(float(exact[at, mode]) - expected),
    )  # fmt: skip


# --- the table ------------------------------------------------------------------------------------------------


def _table(result: Result) -> str:
    """SGD and SDE side by side, then the controls and the relaxation."""
    claims = {claim.id: claim for claim in result.claims}
    pairs = [id.removesuffix("/sgd") for id in claims if id.endswith("/sgd")]
    rows = [_row(pair, claims[f"{pair}/sgd"], claims[f"{pair}/sde"]) for pair in pairs]
    header = ("quantity", "SGD", "theory", "z", "SDE", "theory", "z", "verdict")
    others = [c for c in result.claims if c.id.rsplit("/", 1)[0] not in pairs]
    controls = [
        (c.id, _measured(c), _number(c.expected), "" if c.rejected is None else _number(c.rejected), _z(c), c.verdict)
        for c in others
    ]
    columns = ("controls and relaxation", "measured", "expected", "must be excluded", "z", "verdict")
    return table(header, rows, align="lrrrrrrl") + "\n\n" + table(columns, controls, align="lrrrrl")


def _row(name: str, of_sgd: Claim, of_sde: Claim) -> tuple[str, ...]:
    verdicts = {of_sgd.verdict, of_sde.verdict}
    worst = next(v for v in ("not reproduced", "undecided", "reproduced") if v in verdicts)
    if of_sgd.kind == "at least":
        name += " (p)"
    cells = [cell for c in (of_sgd, of_sde) for cell in (_measured(c), _number(c.expected), _z(c))]
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
