"""Fig. 2(a): variance of the elements of the projector 𝒫 = X⁺X (samples × samples) on N of P dimensions, s = P/N.

For Gaussian data the N dimensions are uniformly random (Haar), and exactly

    off the diagonal   mean 0,     variance N(P−N)/(P(P−1)(P+2)) → (1 − 1/s) s⁻² / N      (`theory.regression`)
    on the diagonal    mean N/P,   variance 2N(P−N)/(P²(P+2)),   2(P−1)/P times as large

Printed: P^−1.8 N^−1 (text) and N^−1 s^−1.8 (caption), which contradict each other. The local exponent of s is
−2 + 1/(s−1), up to O(1/P): −1.8 at s = 6 only, and −2 at large s; that of N is −1 at fixed s but about +1 at fixed P.

Σ_ij 𝒫_ij² = tr 𝒫 = N, so that the leverages 𝒫_ii tell both variances: no P × P matrix is needed. A realisation is
one data set that grows: its first P examples, for each P.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from sgdynamics import _checks
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.gross2024._source import source
from sgdynamics.statistics import Estimate
from sgdynamics.theory import regression

PRINTED = -1.8
SLIGHTLY = 1.2  # up to which ratio we would call the diagonal's variance slightly larger
RESOLVED = {"off": 20, "on": 2}  # differences of 1/20, and of the factor of two between the kinds
_projector_variance = once(jax.vmap(regression.projector_variance))
KINDS = {"off": "off the diagonal", "on": "on the diagonal"}


@dataclass(frozen=True)
class Fig2aConfig:
    """The projector's elements for several numbers of inputs and samples."""

    inputs: tuple[int, ...] = (20, 50, 100)
    """N, ascending."""
    ratios: tuple[float, ...] = (1.1, 1.5, 2.0, 4.0, 9.0, 20.0, 45.0, 100.0)
    """s = P/N, ascending, each above 1."""
    samples: int = 2000
    """P at which the dependence on N is taken."""
    large: float = 20.0
    """s from which on the exponent of s is fitted."""
    realisations: int = 50
    """Data sets."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        _checks.count("realisations", self.realisations, least=2)
        for name in ("inputs", "ratios"):
            values = getattr(self, name)
            _checks.require(name, values, len(values) >= 3, allowed="at least three values")
            _checks.require(name, values, values == tuple(sorted(set(values))), allowed="ascending")
        _checks.count("inputs", self.inputs[0], least=2)
        least = 1 + 2 / self.inputs[0]
        _checks.require("ratios", self.ratios[0], self.ratios[0] >= least, allowed=f"at least {least:g}")
        most = round(self.ratios[-1] * self.inputs[0])
        within = 2 * self.inputs[-1] <= self.samples <= most
        _checks.require("samples", self.samples, within, allowed=f"2 × the largest N to {most} = largest s × least N")
        few = sum(s >= self.large for s in self.ratios) >= 3
        _checks.require("large", self.large, few, allowed="such that three ratios are not below it")

    def sizes(self, N: int) -> list[int]:
        """P of every ratio, and `samples`."""
        return [round(s * N) for s in self.ratios] + [self.samples]


def run(config: Fig2aConfig, progress: Progress) -> Result:
    """Variances of the elements of each data set, for every N and P."""
    measured = {N: _variances(config, N, progress) for N in config.inputs}
    claims = [claim for N in config.inputs for claim in _claims_at(config, N, measured[N])]
    claims += _claims_across(config, measured)
    fine = np.geomspace(config.ratios[0], config.ratios[-1], 200)
    coordinates = {
        "ratio": variable("ratio", config.ratios, "samples per input, s = P/N"),
        "between": variable("between", _between(config), "samples per input, s = P/N, between two measurements"),
        "fine": variable("fine", fine, "samples per input, s = P/N"),
        "inputs": variable("inputs", config.inputs, "number of inputs N"),
    }
    variables = {k: v for N in config.inputs for k, v in _stored(config, N, measured[N], fine).items()}
    variables |= _at_fixed_samples(config, measured)
    data = dataset(variables, coordinates).assign_attrs(printed=PRINTED, samples=config.samples)
    return Result(data, claims)


def leverages(x: np.ndarray) -> np.ndarray:
    """The diagonal of x (xᵀx)⁻¹ xᵀ."""
    L = np.linalg.cholesky(x.T @ x)
    return np.sum((x @ np.linalg.inv(L).T) ** 2, axis=1)


def variances(x: np.ndarray) -> tuple[float, float]:
    """Of the elements of the projector about their means 0 and N/P: (off the diagonal, on it)."""
    (P, N), squares = x.shape, np.sum(leverages(x) ** 2)
    return (N - squares) / (P * (P - 1)), squares / P - (N / P) ** 2


def exact(P: ArrayLike, N: ArrayLike) -> dict[str, np.ndarray]:
    """Haar."""
    P, N = np.broadcast_arrays(np.asarray(P, float), np.asarray(N, float))
    return {"off": np.asarray(_projector_variance(P, N)), "on": np.asarray(regression.leverage_variance(P, N))}


def _variances(config: Fig2aConfig, N: int, progress: Progress) -> Estimate:
    """[2, sizes]: off and on the diagonal, at every P."""
    progress.stage(f"N = {N}", config.realisations)
    key = _ensembles.named(jax.random.key(config.seed), f"N = {N}")
    sizes, values = config.sizes(N), []
    for r in range(config.realisations):
        x = np.asarray(jax.random.normal(jax.random.fold_in(key, r), (max(sizes), N)))
        values.append(np.transpose([variances(x[:P]) for P in sizes]))
        progress.advance(1)
    return over_realisations(np.stack(values), "variance")


def slope(x: np.ndarray, y: ArrayLike) -> jax.Array:
    """The exponent of y as a power of x, by least squares."""
    u = np.log(np.asarray(x, float))
    weights = (u - u.mean()) / np.sum((u - u.mean()) ** 2)
    return jnp.sum(weights * jnp.log(y))


def _between(config: Fig2aConfig) -> np.ndarray:
    s = np.array(config.ratios)
    return np.sqrt(s[1:] * s[:-1])


def _claims_at(config: Fig2aConfig, N: int, measured: Estimate) -> list[Claim]:
    sizes, claims = config.sizes(N), []
    law = exact(np.array(sizes), N)
    for row, (kind, words) in enumerate(KINDS.items()):
        for point in (0, len(config.ratios) // 2, len(config.ratios) - 1):
            expected, s = law[kind][point], config.ratios[point]
            claims.append(
                Claim.equality(
                    f"N = {N}/s = {s:g}/{kind} diagonal", "ours: Haar projector, `theory.regression`",
                    f"variance of the elements {words}", **evidence(measured.map(lambda v, i=row, p=point: v[i, p])),
                    expected=expected, resolution=expected / RESOLVED[kind],
                )
            )  # fmt: skip
    P = sizes[0]
    claims.append(
        Claim.rejection(
            f"N = {N}/s = {config.ratios[0]:g}/large samples/control", "N(P−N)/P³, its limit for many samples",
            "the exact law is told from its own limit, off the diagonal", **evidence(measured.map(lambda v: v[0, 0])),
            expected=law["off"][0], rejected=N * (P - N) / P**3,
        )
    )  # fmt: skip
    return claims + _exponent_of_ratio(config, N, measured, law["off"]) + _diagonal(config, N, measured)


def _exponent_of_ratio(config: Fig2aConfig, N: int, measured: Estimate, law: np.ndarray) -> list[Claim]:
    """At large s, off the diagonal."""
    at = [i for i, s in enumerate(config.ratios) if s >= config.large]
    P = np.array(config.sizes(N))[at]
    fitted = evidence(measured.map(lambda v: slope(P, v[0, np.array(at)])))
    words = f"exponent of s of the variance off the diagonal, s = {config.ratios[at[0]]:g} to {config.ratios[-1]:g}"
    return [
        Claim.equality(
            f"N = {N}/exponent of s", "ours: Haar projector; −2 + 1/(s−1)", words, **fitted,
            expected=slope(P, law[at]), resolution=0.02,
        ),
        Claim.equality(
            f"N = {N}/exponent of s/published", source("Fig. 2 caption and text after Eq. 2.18"), words, **fitted,
            expected=PRINTED, resolution=0.02,
        ),
    ]  # fmt: skip


def _diagonal(config: Fig2aConfig, N: int, measured: Estimate) -> list[Claim]:
    """At the most samples: how much larger the variance is on the diagonal."""
    last = len(config.ratios) - 1
    P, ratio = config.sizes(N)[last], evidence(measured.map(lambda v: v[1, last] / v[0, last]))
    words = f"variance on the diagonal over that off it, s = {config.ratios[-1]:g}"
    return [
        Claim.equality(
            f"N = {N}/diagonal", "ours: Haar projector; 2(P−1)/P", words, **ratio,
            expected=2 * (P - 1) / P, resolution=0.5,
        ),
        Claim.bound(
            f"N = {N}/diagonal/published", source("text after Eq. 2.18"),
            f"{words}: slightly larger, by at most {SLIGHTLY - 1:.0%}", **ratio, expected=SLIGHTLY, side="at most",
        ),
    ]  # fmt: skip


def _claims_across(config: Fig2aConfig, measured: dict[int, Estimate]) -> list[Claim]:
    """The exponent of N at fixed s and at fixed P, off the diagonal."""
    N, middle = np.array(config.inputs), len(config.ratios) // 2
    claims = []
    for where, point, printed, wrong in (
        (f"s = {config.ratios[middle]:g}", middle, "Fig. 2 caption", False),
        (f"P = {config.samples}", -1, "text after Eq. 2.18", True),
    ):
        P = np.array([config.sizes(n)[point] for n in config.inputs])
        off = over_realisations(np.stack([np.asarray(measured[n].groups)[:, 0, point] for n in config.inputs], axis=1))
        fitted = evidence(off.map(lambda v: slope(N, v)))
        expected, words = slope(N, exact(P, N)["off"]), "exponent of N of the variance off the diagonal"
        claims.append(
            Claim.equality(
                f"exponent of N at {where}", "ours: Haar projector", f"{words}, at fixed {where}", **fitted,
                expected=expected, resolution=0.02, published=-1,
            )
        )  # fmt: skip
        claims.append(
            Claim.equality(
                f"exponent of N at {where} is −1" + "/published" * wrong, source(printed),
                f"{words}, at fixed {where}, is −1", **fitted, expected=-1.0,
                resolution=0.02, tolerance=0 if wrong else 1 / min(P),
                note="" if wrong else "The tolerance is the exact law's own O(1/P).",
            )
        )  # fmt: skip
    return claims


def _stored(config: Fig2aConfig, N: int, measured: Estimate, fine: np.ndarray) -> dict[str, Variable]:
    count, variables = len(config.ratios), {}
    law = exact(np.maximum(fine * N, N + 1e-9), N)
    for row, (kind, words) in enumerate(KINDS.items()):
        scaled = measured.map(lambda v, i=row: N * v[i, :count])
        long = f"N × variance of the elements {words}, N = {N}"
        variables |= measurement(f"{kind}_{N}", "ratio", scaled, long)
        variables[f"{kind}_{N}_exact"] = variable("fine", N * law[kind], f"{long}, Haar")
    P, long = np.log(config.sizes(N)[:count]), f"local exponent of s off the diagonal, N = {N}"
    local = measured.map(lambda v: jnp.diff(jnp.log(v[0, :count])) / np.diff(P))
    variables |= measurement(f"exponent_{N}", "between", local, long)
    exponent = np.gradient(np.log(law["off"]), np.log(fine))
    return variables | {f"exponent_{N}_exact": variable("fine", exponent, f"{long}, Haar")}


def _at_fixed_samples(config: Fig2aConfig, measured: dict[int, Estimate]) -> dict[str, Variable]:
    values = np.stack([np.asarray(measured[N].groups)[:, 0, -1] for N in config.inputs], axis=1)
    words = f"variance of the elements off the diagonal, P = {config.samples}"
    law = exact(config.samples, np.array(config.inputs))["off"]
    return measurement("fixed", "inputs", over_realisations(values), words) | {
        "fixed_exact": variable("inputs", law, f"{words}, Haar")
    }


FIG2A = register(
    Experiment(
        name="gross2024/fig2a",
        summary="variance of the elements of the projector X⁺X against the number of samples",
        source=source("Fig. 2(a)"),
        config=Fig2aConfig,
        presets={"quick": Fig2aConfig(realisations=32), "paper": Fig2aConfig(realisations=400)},
        run=run,
        figure="gross2024/fig2a",
    )
)
