"""Figs. 17, 18, 22 and 23 share their ensembles: one tiny run of each sampling, and the laws against oracles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from sgdynamics import experiments, plotting
from sgdynamics.data import Dataset
from sgdynamics.experiments import _pretrained, _store
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.kuehn2025 import _fig17, _fig18, _fig22_23, _late_claims, _late_components, _late_noise
from sgdynamics.experiments.kuehn2025 import _late_gradients as gradients
from sgdynamics.experiments.kuehn2025 import _late_phase as late
from sgdynamics.experiments.kuehn2025._late_phase import Setting
from sgdynamics.theory.epochs import HarmonicEpochs

pytestmark = pytest.mark.long

TINY = _fig17.Fig17Config(
    crossover=1.0, momentum=0.5, modes=24, replicas=64, burn_in=20, epochs=20, draws=16, windows=(5, 20), decomposed=8
)
RUNS = {"fig17": _fig17.run, "fig18": _fig18.run, "fig22_23": _fig22_23.run}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("networks")))
        recipe = _pretrained.Recipe("convolutional", (2, 2), samples=200)
        patch.setitem(_pretrained.RECIPES["quick"], "convolutional", recipe)
        steps = lambda M: _fig17.union(_fig17.steps(TINY.windows, TINY.epochs, M))
        found = _fig17.study(TINY, experiments.Silence(), steps)
        for module in (_fig17, _fig18, _fig22_23):
            patch.setattr(module, "study", lambda *_: found)
        yield found, {name: run(TINY, experiments.Silence()) for name, run in RUNS.items()}


@pytest.mark.parametrize("name", RUNS)
def test_what_the_numbers_decide(results, name):
    claims = {claim.id: claim for claim in results[1][name].claims}
    # few epochs are too coarse for the softest modes, and for exponents of one window
    undecided = [id for id, claim in claims.items() if claim.verdict == "undecided"]
    coarse = [id for id in undecided if "/far below/" in id or id.startswith("Hessian's modes")]
    assert [id for id, claim in claims.items() if not claim.as_expected and id not in coarse] == []
    assert not any(id.endswith("/control") for id in coarse)
    quantities = {"fig17": ("weights",), "fig18": ("times",)}.get(name, ("weights", "times"))
    for quantity in quantities:
        assert {f"{sampling}/above/{quantity}" for sampling in ("epochs", "with replacement")} <= claims.keys()
    # the slides write ≈: nothing printed is wrong here, asymptotes are far
    assert not any(id.endswith("/published") for id in claims)
    assert sum(id.endswith("asymptote not yet reached") for id in claims) == {"fig22_23": 4}.get(name, 2)
    assert sum(id.endswith("/control") for id in claims) >= 3


@pytest.mark.parametrize("name", RUNS)
def test_the_data_are_described_and_can_be_drawn(results, name):
    data = results[1][name].data
    assert isinstance(data, xr.Dataset)
    _store.check_described(data)
    assert plotting.draw(f"kuehn2025/{name}", data).axes


def test_modes_are_the_hessians_and_noise_is_that_of_single_examples(results):
    minimum = results[0].minimum
    problem, θ, V = minimum.problem, minimum.parameters, minimum.vectors
    v, i = V[:, 7], 7
    product = np.asarray(problem.hessian_product(θ, jnp.asarray(v))) + minimum.weight_decay * v
    np.testing.assert_allclose(product, minimum.curvatures[i] * v, atol=1e-9)
    x, y, g = problem.data.x, problem.data.y, np.asarray(gradients.gradients(problem, θ))
    one = problem.gradient(θ, Dataset(x[5:6], y[5:6]))
    np.testing.assert_allclose(g[5], one, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(np.var(g @ v), minimum.noise[i], rtol=1e-8)


def test_hessians_of_single_examples_are_differences_of_their_gradients(results):
    minimum = results[0].minimum
    problem, θ, V = minimum.problem, minimum.parameters, jnp.asarray(minimum.vectors[:, :5])
    δ = 1e-5 * jnp.ones((1, len(θ)))
    found = gradients.of_hessians(problem, θ, δ, V)
    differences = (gradients.gradients(problem, θ + δ[0]) - gradients.gradients(problem, θ - δ[0])) @ V / 2
    np.testing.assert_allclose(found[0], np.var(differences, axis=0), rtol=1e-4)


def test_noise_of_the_next_batch_is_that_of_the_examples_left(results):
    """Over random halves, at the minimum plus a shift, of which all batches of 2 are enumerated."""
    minimum = results[0].minimum
    θ, V = minimum.parameters[None] + 0.01, jnp.asarray(minimum.vectors[:, :3])
    rest = np.array([3, 10, 11, 40, 77])
    left = jnp.zeros((1, minimum.samples)).at[0, rest].set(1.0)
    found = gradients.excesses(minimum.problem, θ, minimum.parameters, V, left, 2)[0]

    def enumerated(θ):
        g = np.asarray(gradients.gradients(minimum.problem, θ)) @ np.asarray(V)
        pairs = [(g[a] + g[b]) / 2 - g.mean(axis=0) for a in rest for b in rest if a < b]
        return np.mean(np.square(pairs), axis=0)

    np.testing.assert_allclose(found, enumerated(θ[0]) - enumerated(minimum.parameters), rtol=1e-7)


def test_spread_of_the_weights_within_an_epoch():
    """Against the covariances of all pairs of positions, from the transition and the noise of one epoch."""
    h, C, η, β, M = np.array([2.0, 0.05]), np.array([1.0, 0.3]), 0.1, 0.6, 6
    found = _late_noise.within_epoch(h, C, Setting(η, β, 2, 12))
    for mode in range(2):
        law = HarmonicEpochs(
            h[mode : mode + 1], C[mode : mode + 1, None], learning_rate=η, momentum=β, batches_per_epoch=M
        )
        T, b = np.array([[1 - η * h[mode], β], [-η * h[mode], β]]), np.array([-η, -η])
        noise = C[mode] * (np.eye(M) * M - 1) / (M - 1)
        # θ before step k: start (2 numbers), then the noises of the epoch
        rows = [np.concatenate([np.linalg.matrix_power(T, k)[0], [(np.linalg.matrix_power(T, k - 1 - j) @ b)[0]
                if j < k else 0.0 for j in range(M)]]) for k in range(M)]  # fmt: skip
        joint = np.zeros((M + 2, M + 2))
        joint[:2, :2], joint[2:, 2:] = np.asarray(law.start_covariance()), noise
        covariance = np.array(rows) @ joint @ np.array(rows).T
        expected = (np.trace(covariance) - covariance.sum() / M) / (M - 1)
        np.testing.assert_allclose(found[mode], expected, rtol=1e-8)


def test_law_of_partly_white_noise_is_between_the_two():
    setting = Setting(0.05, 0.9, 4, 400)
    h, C = np.array([3.0, 0.1]), np.array([0.2, 0.01])
    epochs, white = late.law(h, C, setting, "epochs"), late.law(h, C, setting, "replacement")
    mixed = late.law(h, C, setting, "epochs", C / 4)
    for part, both, all_white in zip(mixed, epochs, white, strict=True):
        np.testing.assert_allclose(part, 0.75 * both + 0.25 * all_white, rtol=1e-12)


def test_principal_components_of_many_independent_samples_are_the_truth(results):
    """Without correlations in time and with many samples, the exponent is that of the variances."""
    minimum = results[0].minimum
    h = minimum.curvatures
    x = np.asarray(jax.random.normal(jax.random.key(0), (4_000, len(h)))) * h**0.75
    F, s = _late_components.components(h, x - x.mean(axis=0))
    assert _late_components.slope(F, s, 4.0) == pytest.approx(1.5, abs=0.1)


def test_principal_components_are_the_same_from_either_gram_matrix():
    """Few samples of many directions, against the singular value decomposition."""
    draw = np.random.default_rng(0)
    h, x = np.geomspace(10, 0.1, 9), draw.standard_normal((6, 9))
    _, root, q = np.linalg.svd(x, full_matrices=False)
    F, s = _late_components.components(h, x)
    np.testing.assert_allclose(s, root**2 / 6, rtol=1e-10)
    np.testing.assert_allclose(F, q**2 @ h, rtol=1e-8)


@pytest.mark.parametrize("sampling", late.SAMPLINGS)
def test_the_laws_paths_have_the_laws_variances(results, sampling):
    study = results[0]
    found = _late_components.paths(
        study.minimum,
        study.setting,
        sampling,
        0,
        replicas=64,
        burn_in=20,
        steps=range(0, 40 * study.setting.batches, 7),
    )
    h, C = study.curvatures, late.frozen_noise(study.minimum, study.setting, sampling)[study.modes]
    law = late.law(h, C, study.setting, sampling)[0]
    fast = h > 0.3 * study.setting.crossover
    ratio = np.mean(found[:, :, study.modes] ** 2, axis=(0, 1)) / law
    assert np.mean(ratio[fast]) == pytest.approx(1.0, abs=0.04)


@pytest.mark.parametrize(("S", "P"), [(4, 40), (4, 43)])
def test_the_paths_noise_is_anticorrelated_within_an_epoch(S, P):
    ξ = _late_components.epoch_noise(np.random.default_rng(0), Setting(0.1, 0.5, S, P), "epochs", (200_000,))
    covariance = ξ @ ξ.T / ξ.shape[1]
    expected = (1 + S / (P - S)) * np.eye(len(ξ)) - S / (P - S)
    np.testing.assert_allclose(covariance, expected, atol=0.015)


def test_examples_to_come_are_those_after_the_steps_done():
    order = np.array([[4, 2, 0, 1, 3], [0, 1, 2, 3, 4]])
    left = late.to_come(order, np.array([1, 2]), Setting(0.1, 0.5, 2, 5))
    np.testing.assert_array_equal(left, [[1, 1, 0, 1, 0], [0, 0, 0, 0, 1]])


def test_independent_errors_add_in_squares_with_welchs_degrees_of_freedom():
    a, b = over_realisations(np.array([1.0, 2.0, 4.0])), over_realisations(np.array([0.0, 0.3, 0.1, 0.9]))
    found, (s, t) = _late_claims.combined([a, b]), (float(part.standard_error) ** 2 for part in (a, b))
    assert found["standard_error"] == pytest.approx((s + t) ** 0.5)
    assert found["degrees_of_freedom"] == pytest.approx((s + t) ** 2 / (s**2 / 2 + t**2 / 3))


def test_modes_that_have_not_relaxed_or_have_no_noise_are_not_watched(results):
    study = results[0]
    softest = (
        late.RELAXATIONS * (1 - TINY.momentum) / (study.setting.learning_rate * TINY.burn_in * study.setting.batches)
    )
    assert study.curvatures.min() >= softest and (study.noise > 0).all()
    assert len(set(study.modes)) == len(study.modes) <= TINY.modes


@pytest.mark.parametrize(
    ("wrong", "argument"),
    [
        ({"network": "LeNet"}, "network"), ({"size": "large"}, "size"), ({"crossover": 0.0}, "crossover"),
        ({"momentum": 1.0}, "momentum"), ({"batch_size": 0}, "batch_size"), ({"windows": (5, 26)}, "windows"),
        ({"decomposed": 65}, "decomposed"), ({"burn_in": 0}, "burn_in"),
    ],
)  # fmt: skip
def test_bad_values_are_refused(wrong, argument):
    with pytest.raises(ValueError, match=argument):
        _fig17.Fig17Config(**wrong)
