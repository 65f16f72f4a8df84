"""App. E: the free energy along the Fokker-Planck flow, of the modified loss and of the original one.

    ∂ₜp = ∇·[A (x − μ) p + κ⁻¹ ∇·(D p)]                                                 (30)
    F(p) = E_p Ψ − κ⁻¹ H(p) = κ⁻¹ KL(p ‖ p_ss) − κ⁻¹ log Z,      p_ss = e^{−κΨ}/Z         (34), Theorems 1-3

Two linear processes: H.4's (`kunin2023/potentials`), and SGD with momentum in phase space (42), where the noise
drives the velocity alone and H C ≠ C H. Both keep a normal law normal: F follows from mean and covariance, which are
measured (their jackknife takes the bias of F away to first order) and known in closed form. Two starts each:

    far         displaced and narrow
    tempered    the Gibbs law of the original loss, colder or hotter: e^{−κΦ/T}; in phase space
                e^{−κ(c₀L + v²/2)/(σ² T)}, σ² = tr C/d, right at T = 1 for isotropic noise

From the second, F with the original loss in place of Ψ first falls, passes a minimum and rises again: no functional
of Theorem 2. With Ψ, F falls all the way, at the rate κ dF/dt = −κ E[gᵀ D g], g = ∇Ψ + κ⁻¹ ∇ log p.

Theorem 2 asks for a "conservative" force, ∇·j = 0 (free of sources is meant, not a gradient). It needs neither that
nor D = 1 nor an invertible D: κ (F + κ⁻¹ log Z) is the relative entropy to the stationary law, which no Markov
process increases. What ∇·j = 0 does say, with 0 = ∇·(j p_ss), is j ⊥ ∇Ψ: that the levels of Ψ are kept.
(31) lacks κ⁻¹ before ∇·(D p), which (7), (30) and (37) have (perhaps lost in reading the print): without it the
stationary covariance is U⁻¹, not κ⁻¹ U⁻¹.
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import t as student

import sgdynamics as sgd
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.kunin2023._free_energy_flows import FINE, Flow, FreeEnergyConfig, flows, free_energy
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.statistics import Estimate, Snapshots

GROUPS = 32

_process = once(sgd.LinearProcess)


def run(config: FreeEnergyConfig, progress: Progress) -> Result:
    """Four flows: two processes from two starts."""
    variables, coordinates, claims, ensembles = {}, {}, [], {}
    for flow in flows(config):
        moments, ensembles[flow.name] = _moments(config, flow, progress)
        variables |= _variables(flow, moments)
        coordinates |= _coordinates(flow)
        claims += _claims(flow, moments)
    return Result(dataset(variables, coordinates), claims, ensembles)


def _moments(config: FreeEnergyConfig, flow: Flow, progress: Progress) -> tuple[Estimate, dict]:
    """First and second moments about μ at each of `flow.steps`, [steps, d + d²]: linear, as the jackknife wants."""
    process, key = flow.process, jax.random.key(config.seed)
    z = jax.random.normal(_ensembles.named(key, f"start of {flow.name}"), (config.replicas, len(flow.start)))
    start = flow.start[None, :] + np.asarray(z, float) @ np.linalg.cholesky(flow.spread).T
    ensemble = _ensembles.simulate(
        _process(process.drift, process.noise, process.mean, time_step=flow.time_step), Snapshots(flow.steps),
        progress, flow.name, key=key, replicas=config.replicas, steps=flow.steps[-1], initial=jnp.asarray(start),
    )  # fmt: skip
    x = np.asarray(ensemble.estimates.values, float) - np.asarray(process.mean)[None, None, :]
    x = x.reshape(len(flow.steps), GROUPS, -1, x.shape[-1])
    second = np.einsum("tgri,tgrj->gtij", x, x) / x.shape[2]
    first = np.swapaxes(x.mean(axis=2), 0, 1)
    return over_realisations(np.concatenate([first, second.reshape(*first.shape[:2], -1)], axis=2)), ensemble.provenance


def _measured(flow: Flow, moments: Estimate, loss: np.ndarray, reference: float) -> Estimate:
    """κ (F − reference) of the ensemble at each of `flow.steps`, with the quadratic form `loss` for Ψ."""
    d = len(loss)

    def excess(raw):
        m = raw[:, :d]
        P = raw[:, d:].reshape(-1, d, d) - m[:, :, None] * m[:, None, :]
        return flow.inverse_temperature * free_energy(loss, m, P, flow.inverse_temperature) - reference

    return moments.map(excess, "free energy")


def _claims(flow: Flow, moments: Estimate) -> list[Claim]:
    modified = _measured(flow, moments, flow.modified, flow.equilibrium)
    claims = [*_theorem(flow, modified), *_agreement(flow, modified)]
    if flow.tempered:
        claims += _original(flow, _measured(flow, moments, flow.original, 0.0))
    else:
        claims += _current(flow, moments)
    return claims


def _theorem(flow: Flow, measured: Estimate) -> list[Claim]:
    """Of the ensemble: that κF falls between any two snapshots, and as fast as it should."""
    steps = measured.map(lambda f: f[1:] - f[:-1], "increase of the free energy")
    z = np.asarray(steps.value) / np.asarray(steps.standard_error)
    p = len(z) * student.sf(z, float(np.asarray(steps.degrees_of_freedom))).min()
    half = int(np.argmax(flow.closed_form[::FINE] < flow.closed_form[0] / 2))
    expected, tolerance = flow.fall(half)
    return [
        Claim.bound(
            f"{flow.name}/monotone", source("Theorem 2"),
            f"κF of the ensemble rises between none of {len(z) + 1} successive snapshots (p-value of the largest "
            "increase, times their number)",
            min(1.0, float(p)), 0.0, LEVEL, side="at least",
        ),
        Claim.equality(
            f"{flow.name}/rate", source("Theorem 2"),
            f"fall of κF of the ensemble up to t = {half * flow.time_step:g} is ∫ κ E[gᵀ D g] dt, g = ∇Ψ + κ⁻¹ ∇ log p",
            **evidence(measured.map(lambda f: f[0] - f[half])), expected=expected,
            resolution=0.02 + 0.05 * expected, tolerance=tolerance, note="tolerance: Simpson's rule",
        ),
    ]  # fmt: skip


def _agreement(flow: Flow, measured: Estimate) -> list[Claim]:
    """At the start, where a tenth and a hundredth of the excess are left, and at the end."""
    expected = np.interp(np.asarray(flow.steps) * flow.time_step, flow.times, flow.closed_form)
    marks = [int(np.argmin(np.abs(np.log(expected / (share * expected[0]))))) for share in (1, 0.1, 0.01)]
    claims = [
        Claim.equality(
            f"{flow.name}/κ(F + κ⁻¹ log Z) at t = {flow.steps[i] * flow.time_step:g}", source("Eq. 34, Theorem 2"),
            "free energy of the ensemble above its least value, in units of κ⁻¹ (nats)",
            **evidence(measured.map(lambda f, i=i: f[i])), expected=expected[i], resolution=0.02 + 0.2 * expected[i],
        )
        for i in sorted(set(marks))
    ]  # fmt: skip
    return [
        *claims,
        Claim.equality(
            f"{flow.name}/minimum", source("Theorem 3"),
            "the flow ends in the Gibbs law of Ψ: κ(F + κ⁻¹ log Z) at the last time",
            **evidence(measured.map(lambda f: f[-1])), expected=expected[-1], resolution=0.02,
        ),
    ]  # fmt: skip


def _original(flow: Flow, measured: Estimate) -> list[Claim]:
    """The original loss in place of Ψ: not monotone."""
    turn = flow.turn
    found = evidence(measured.map(lambda f: f[-1] - f[turn]))
    fall = float(flow.with_original[FINE * turn] - flow.with_original[0])
    return [
        Claim.equality(
            f"{flow.name}/original loss falls", source("Theorem 2"),
            f"with the original loss in place of Ψ, κF falls too, up to t = {turn * flow.time_step:g}",
            **evidence(measured.map(lambda f: f[turn] - f[0])), expected=fall, resolution=abs(fall) / 10,
        ),
        Claim.rejection(
            f"{flow.name}/original loss/control", source("Theorem 2"),
            "and rises from there to the end: with the original loss it is not monotone",
            **found, expected=flow.rise, rejected=0.0,
        ),
    ]  # fmt: skip


def _current(flow: Flow, moments: Estimate) -> list[Claim]:
    """tr(U Cov)/d at the end, when the start is forgotten."""
    d, κ = len(flow.modified), flow.inverse_temperature

    def variance(raw):
        m = raw[-1, :d]
        return jnp.sum(flow.modified * (raw[-1, d:].reshape(d, d) - jnp.outer(m, m))) / d

    measured = moments.map(variance, "variance")
    statement = "stationary covariance: tr(U Cov)/d"
    claims = [
        Claim.equality(
            f"{flow.name}/current with κ⁻¹", source("Eqs. 30, 37"), f"{statement} = κ⁻¹, with κ⁻¹ before ∇·(D p)",
            **evidence(measured), expected=1 / κ, resolution=0.1 / κ, published=1.0,
        )
    ]  # fmt: skip
    if flow.key != "h4_far":  # once is enough
        return claims
    return [
        *claims,
        Claim.equality(
            f"{flow.name}/current without κ⁻¹/published", source("Eq. 31"), f"{statement} = 1, from (31) as printed",
            **evidence(measured), expected=1.0, resolution=0.1 / κ,
            note="perhaps lost in reading the print: (7), (30) and (37) have κ⁻¹",
        ),
    ]  # fmt: skip


def _variables(flow: Flow, moments: Estimate) -> dict[str, Variable]:
    """Free energies above their least values, in units of κ⁻¹."""
    words = f"free energy of {flow.name}, above its least value"
    modified = _measured(flow, moments, flow.modified, flow.equilibrium)
    variables = {
        **measurement(f"{flow.key}_modified", f"{flow.key}_time", modified, f"{words}, with Ψ", "κ⁻¹"),
        f"{flow.key}_modified_theory": variable(f"{flow.key}_any_time", flow.closed_form, f"{words}, theory", "κ⁻¹"),
    }
    if flow.tempered:
        original = _measured(flow, moments, flow.original, flow.original_minimum)
        name, theory = f"{flow.key}_original", f"{words}, with the original loss"
        variables |= measurement(name, f"{flow.key}_time", original, theory, "κ⁻¹")
        variables[f"{name}_theory"] = variable(f"{flow.key}_any_time", flow.with_original, f"{theory}, theory", "κ⁻¹")
    return variables


def _coordinates(flow: Flow) -> dict[str, Variable]:
    measured, fine = f"{flow.key}_time", f"{flow.key}_any_time"
    return {
        measured: variable(measured, np.asarray(flow.steps) * flow.time_step, "time", "t"),
        fine: variable(fine, flow.times, "time", "t"),
    }


FREE_ENERGY = register(
    Experiment(
        name="kunin2023/free_energy",
        summary="the free energy falls along the Fokker-Planck flow, with the modified loss and not with the original",
        source=source("App. E"),
        config=FreeEnergyConfig,
        presets={"quick": FreeEnergyConfig(), "paper": FreeEnergyConfig(replicas=131_072)},
        run=run,
        figure="kunin2023/free_energy",
    )
)
