"""Batches drawn without replacement from a small population, all of them counted: App. G.1.

For N examples with gradients g_i, whose mean is ḡ, the mean over a batch of B different ones has the covariance

    Σ_B = (B − 1)/(B N (N − 1)) Σ_{i≠j} g_i g_jᵀ + 1/(B N) Σ_i g_i g_iᵀ − ḡ ḡᵀ
        = (N − B)/(B (N − 1)) [1/N Σ_i g_i g_iᵀ − ḡ ḡᵀ],

as two examples share a batch with probability B (B − 1)/(N (N − 1)). The last line is the paper's; its line between
has (N − B)/(B (N − 1)) before the first sum and 1/B² before the second, and its binomials, upside down, stand for
the inverse of the probability.
"""

from itertools import combinations

import jax
import numpy as np

from sgdynamics import Problem
from sgdynamics.data import Teacher
from sgdynamics.experiments._claims import Claim
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments.corlouer2026._source import source
from sgdynamics.networks import DeepLinear

ROUNDING = 1e-10


def example_gradients(key: jax.Array, population: int, widths: tuple[int, ...]) -> np.ndarray:
    """Of a small random network, for examples of a random teacher [population, parameters]."""
    teacher, examples, network = jax.random.split(key, 3)
    M = Teacher.of_singular_values((1.0,), key=teacher, inputs=widths[0], outputs=widths[-1], label_noise_std=0.5)
    problem = Problem(DeepLinear(widths, key=network), M.sample(examples, population))
    return np.asarray(once(lambda problem: problem.example_gradients(problem.parameters))(problem), float)


def counted_covariance(g: np.ndarray, batch: int) -> np.ndarray:
    """Of the mean over a batch, from all batches there are [parameters, parameters]."""
    means = np.stack([g[list(members)].mean(axis=0) for members in combinations(range(len(g)), batch)])
    return np.cov(means.T, bias=True)


def counted_pairs(population: int, batch: int) -> float:
    """The share of all batches that hold two given examples."""
    return float(np.mean([{0, 1} <= set(members) for members in combinations(range(population), batch)]))


def population_covariance(g: np.ndarray, batch: int) -> np.ndarray:
    """The last line of App. G.1."""
    N = len(g)
    return (N - batch) / (batch * (N - 1)) * np.cov(g.T, bias=True)


def sums_covariance(g: np.ndarray, different: float, same: float) -> np.ndarray:
    """`different` Σ_{i≠j} g_i g_jᵀ + `same` Σ_i g_i g_iᵀ − ḡ ḡᵀ."""
    total, squares = g.sum(axis=0), g.T @ g
    mean = total / len(g)
    return different * (np.outer(total, total) - squares) + same * squares - np.outer(mean, mean)


def repaired_line(g: np.ndarray, batch: int) -> np.ndarray:
    """The line between, with the coefficients that follow from (32)."""
    N = len(g)
    return sums_covariance(g, (batch - 1) / (batch * N * (N - 1)), 1 / (batch * N))


def printed_line(g: np.ndarray, batch: int) -> np.ndarray:
    """The line between, as printed."""
    N = len(g)
    return sums_covariance(g, (N - batch) / (batch * (N - 1)), 1 / batch**2)


def printed_pairs(population: int, batch: int) -> float:
    """The printed quotient of binomials, reduced by C(n−1, k−1)/C(n, k) = k/n with n the batch and k the population."""
    return population * (population - 1) / (batch * (batch - 1))


def claims(g: np.ndarray, batch: int) -> list[Claim]:
    """All formulas against the count; exact, so that no errors are attached."""
    N, counted = len(g), counted_covariance(g, batch)
    scale, trace = np.abs(counted).max(), np.trace(counted)
    pairs, words = counted_pairs(N, batch), f"N = {N}, B = {batch}, all batches counted: "
    exact = {"standard_error": 0.0, "resolution": ROUNDING, "tolerance": ROUNDING}
    farthest = lambda formula: np.abs(formula(g, batch) - counted).max() / scale
    return [
        Claim.equality(
            "population/covariance", source("App. G.1, last line"),
            words + "(N − B)/(B (N − 1)) Σ, farthest entry in units of the largest", farthest(population_covariance),
            expected=0.0, **exact,
        ),
        Claim.equality(
            "population/line between", source("App. G.1, repaired"),
            words + "(B − 1)/(BN(N − 1)) Σ_{i≠j} + 1/(BN) Σ_i − ḡḡᵀ, farthest entry in units of the largest",
            farthest(repaired_line), expected=0.0, **exact,
        ),
        Claim.equality(
            "population/line between/published", source("App. G.1, line between"),
            words + "(N − B)/(B(N − 1)) Σ_{i≠j} + 1/B² Σ_i − ḡḡᵀ, trace", trace,
            expected=np.trace(printed_line(g, batch)), **exact,
        ),
        Claim.equality(
            "population/pairs", source("App. G.1"), words + "two examples share a batch with B(B − 1)/(N(N − 1))",
            pairs, expected=batch * (batch - 1) / (N * (N - 1)), **exact,
        ),
        Claim.equality(
            "population/pairs/published", source("App. G.1"),
            words + "with the printed quotient of binomials, upside down and above 1", pairs,
            expected=printed_pairs(N, batch), **exact,
        ),
        Claim.rejection(
            "population/with replacement/control", source("App. G.1"), words + "not Σ/B, trace", trace, 0.0,
            expected=np.trace(population_covariance(g, batch)), rejected=np.trace(np.cov(g.T, bias=True)) / batch,
            tolerance=ROUNDING,
        ),
    ]  # fmt: skip
