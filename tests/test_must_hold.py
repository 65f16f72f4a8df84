"""The main job, by statistics: what SGD and its SDE do, against exact theory.

Every agreement is a `compare` at level 10⁻³: a right law is called wrong by 1 in 1,000 seeds (they are fixed).
Every rejection is of a law whose distance, known from theory, is at least 8 standard errors.
"""

import jax
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics import samplers, statistics
from sgdynamics.theory import regression
from sgdynamics.theory.recursion import MinibatchMoments

pytestmark = pytest.mark.long

KEY = jax.random.key(20)
LEVEL = 1e-3


def paper(samples, inputs, seed=0):
    """Gaussian inputs of variance 1/inputs, label noise of variance 0.25."""
    key = jax.random.key(seed)
    return sgd.data.teacher_student(key, samples=samples, inputs=inputs, label_noise_std=0.5)


def regression_on(data):
    return sgd.Problem(sgd.networks.Linear(data.x.shape[1], 1), data)


def covariance(data, form, **settings):
    return np.asarray(regression.stationary_covariance(data.x, data.y, form=form, **settings))


def curvatures(data):
    return np.linalg.eigvalsh(np.asarray(data.x.T @ data.x) / data.samples)


def accepts(measured, law):
    comparison = sgd.compare(measured, law, level=LEVEL)
    return comparison.verdict == "agrees"


def rejects(measured, law):
    comparison = sgd.compare(measured, law, level=LEVEL)
    return comparison.verdict == "differs"


def smallest_distance(estimate, a, b):
    """Between two covariances along the eigenvectors of `a`, in standard errors of the estimate: min and max."""
    U = np.linalg.eigh(a)[1]
    along = estimate.map(lambda C: jax.numpy.einsum("ik,ij,jk->k", U, C, U))
    distance = np.abs(np.einsum("ik,ij,jk->k", U, b - a, U)) / np.asarray(along.standard_error)
    return distance.min(), distance.max()


def test_sgd_at_the_papers_parameters_has_the_exact_law():
    """100 directions and the whole matrix of N = 100, P = 200, S = 10, 4,096 replicas.

    The run is long enough for most modes to forget 90 % of the covariance that they started from."""
    data = paper(200, 100)
    descent = sgd.SGD(regression_on(data), learning_rate=0.1, sampler=10)
    steps = 1_500
    assert np.median((1 - 0.1 * curvatures(data)) ** (2 * steps)) < 0.1
    law = sgd.predict(descent)
    run = dict(replicas=4096, burn_in=500, steps=steps - 500, every=100, key=KEY, initial=law)
    measured = sgd.simulate(descent, statistics.Covariance(), **run)
    comparison = sgd.compare(measured, law, level=LEVEL)
    assert [test.t.size for test in comparison.tests] == [100, 1]
    assert comparison.verdict == "agrees", str(comparison)


@pytest.fixture(scope="module")
def strongly_driven():
    """N = 10, P = 30, learning rate 1, S = 3, where the multiplicative noise matters."""
    data = paper(30, 10)
    descent = sgd.SGD(regression_on(data), learning_rate=1.0, sampler=3)
    law = sgd.predict(descent)
    run = dict(replicas=4096, burn_in=100, steps=400, every=20, key=KEY, initial=law)
    return data, law, sgd.simulate(descent, statistics.Covariance(), **run)


def test_exact_is_accepted_where_lyapunov_is_rejected(strongly_driven):
    data, law, measured = strongly_driven
    frozen = covariance(data, "lyapunov", learning_rate=1.0, batch_size=3)
    assert np.trace(frozen) / np.trace(law.covariance) < 0.95  # errs by over 5 %
    assert smallest_distance(measured.estimates, np.asarray(law.covariance), frozen)[0] > 8
    assert accepts(measured, law)
    assert rejects(measured, frozen)


def test_neither_the_additive_law_nor_the_sde_is_that_of_sgd(strongly_driven):
    data, law, measured = strongly_driven
    for form in ("additive", "multiplicative"):
        wrong = covariance(data, form, learning_rate=1.0, batch_size=3)
        assert smallest_distance(measured.estimates, np.asarray(law.covariance), wrong)[1] > 8
        assert rejects(measured, wrong), form


def test_the_sde_at_1_substep_is_sgd_in_disguise_and_at_16_is_itself():
    """Euler-Maruyama in n substeps has the law of SGD with learning rate η/n and the factor n c.

    Each run starts from the *other* law and forgets it. The two laws are 8 errors or more apart in some
    direction, and at n = 16 about 1/16 of that remains, below one error in all: so the errors of this ensemble
    tell SGD from its SDE, and do not tell 16 substeps from infinitely many."""
    data = paper(20, 4)
    settings = dict(learning_rate=1.0, batch_size=10)
    sgd_law, sde_law = (covariance(data, form, **settings) for form in ("exact", "multiplicative"))
    burn_in = 40
    assert (1 - curvatures(data)[0]) ** (2 * burn_in) < 1e-3
    laws = {1: sgd_law, 16: sde_law}
    for substeps, right in laws.items():
        wrong = sde_law if right is sgd_law else sgd_law
        process = sgd.Langevin(regression_on(data), learning_rate=1.0, sampler=10, substeps=substeps)
        descent = sgd.SGD(regression_on(data), learning_rate=1.0, sampler=10)
        other = sgd.predict(process if substeps == 1 else descent)
        run = dict(replicas=8192, burn_in=burn_in, steps=1, key=KEY, initial=other)
        measured = sgd.simulate(process, statistics.Covariance(), **run)
        discretised = MinibatchMoments(
            data.x, data.y, learning_rate=1.0 / substeps, sampling_factor=substeps / 10
        ).weight_covariance()
        left = smallest_distance(measured.estimates, right, np.asarray(discretised))[1]
        assert left < (1e-8 if substeps == 1 else 1)
        assert smallest_distance(measured.estimates, right, wrong)[1] > 8
        assert accepts(measured, right), substeps
        assert rejects(measured, wrong), substeps


def test_relaxation_is_that_of_the_exact_recursion_in_every_mode():
    """(1 − ηh)^k for each mode and k; the SDE's e^{−ηhk} is over 8 errors off for the stiffest."""
    data = paper(20, 4)
    descent = sgd.SGD(regression_on(data), learning_rate=1.0, sampler=10)
    h, V = np.linalg.eigh(np.asarray(data.x.T @ data.x) / 20)
    assert h[-1] > 0.3
    minimum = np.asarray(regression.minimum(data.x, data.y))
    k = np.array([1, 2, 4, 8, 16])
    run = dict(replicas=4096, steps=16, key=KEY, initial=minimum + V.sum(axis=1))
    measured = sgd.simulate(descent, statistics.Snapshots(tuple(k.tolist())), **run).estimates.mean
    modes = measured.map(lambda θ: (θ - minimum[None]) @ V)
    recursion, decay = (1 - h) ** k[:, None], np.exp(-h * k[:, None])
    assert accepts(modes, recursion)
    assert rejects(modes, decay)
    stiffest = modes.map(lambda z: z[:, -1])
    assert np.max(np.abs(recursion - decay)[:, -1] / np.asarray(stiffest.standard_error)) > 8
    assert accepts(stiffest, recursion[:, -1]) and rejects(stiffest, decay[:, -1])


def test_the_law_depends_on_the_sampling_method():
    """Against Table I: without replacement, S = 16 of P = 20, fluctuations are (P − S)/(P − 1) = 0.21 as large."""
    data = paper(20, 4)
    descent = sgd.SGD(regression_on(data), learning_rate=0.5, sampler=samplers.WithoutReplacement(16))
    run = dict(replicas=4096, burn_in=60, steps=100, every=20, key=KEY, initial=sgd.predict(descent))
    measured = sgd.simulate(descent, statistics.Covariance(), **run)
    settings = dict(learning_rate=0.5, batch_size=16)
    without, with_replacement = (covariance(data, "exact", replacement=r, **settings) for r in (False, True))
    assert accepts(measured, without)
    assert smallest_distance(measured.estimates, without, with_replacement)[0] > 8
    assert rejects(measured, with_replacement)


def test_momentum_and_weight_decay_have_the_exact_law_of_phase_space():
    """Neither the law without momentum, nor that of the effective learning rate η/(1 − β), will do."""
    data = paper(20, 4)
    settings = dict(sampler=4, weight_decay=0.1)
    descent = sgd.SGD(regression_on(data), learning_rate=0.1, momentum=0.9, **settings)
    law = sgd.predict(descent)
    observed = {"θ": statistics.Covariance(), "v": statistics.Covariance(of=statistics.velocity)}
    run = dict(replicas=4096, burn_in=50, steps=200, every=10, key=KEY, initial=law)
    measured = sgd.simulate(descent, observed, **run)
    assert accepts(measured, law)
    assert {test.t.size for test in sgd.compare(measured, law).tests} == {4, 1}
    for learning_rate in (0.1, 1.0):
        wrong = sgd.predict(sgd.SGD(regression_on(data), learning_rate=learning_rate, **settings)).covariance
        weights = measured.estimates["θ"]
        assert smallest_distance(weights, np.asarray(law.covariance), np.asarray(wrong))[1] > 8
        assert rejects(weights, wrong), learning_rate
