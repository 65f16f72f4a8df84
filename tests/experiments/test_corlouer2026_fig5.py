"""Fig. 5 of Corlouer et al. in small: what is claimed, what must come out, what is stored and drawn."""

import jax
import numpy as np
import pytest

from sgdynamics import experiments, networks, plotting
from sgdynamics.experiments._store import check_described
from sgdynamics.experiments.corlouer2026._fig5 import Fig5Config, run
from sgdynamics.experiments.corlouer2026._fig5_ending import coupling_rates
from sgdynamics.theory import deep_linear

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def result():
    config = Fig5Config(
        singular_values=(1.0, 0.5), width=4, depths=(2,), label_noise_variance=0.2, learning_rate=0.02, settling=8.0,
        time=56.0, records=56, replicas=768, silent_replicas=768,
    )  # fmt: skip
    return run(config, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    assert all(claim.as_expected for claim in result.claims), [c.id for c in result.claims if not c.as_expected]
    ids = {claim.id for claim in result.claims}
    assert {id for id in ids if id.endswith("/published")} == {"L = 2/mean/published", "L = 2/mean above s/published"}
    assert {id for id in ids if id.endswith("/control")} == {
        "L = 2/mean of one mode alone/control", "L = 2/variance, σ_q the variance/control"
    }  # fmt: skip


def test_densities_are_normalised(result):
    data = result.data
    assert np.isclose(data["density_L2"].sum() * 0.25, 1.0, atol=1e-3)
    for law in ("normal", "published", "one_mode"):
        assert np.isclose(np.trapezoid(data[f"{law}_L2"], data["z"]), 1.0, atol=1e-3)


def test_the_data_are_described_and_draw(result):
    check_described(result.data)
    axes = plotting.draw("corlouer2026/fig5", result.data).axes
    assert [ax.get_xlabel() for ax in axes] == ["(w − s) / √V"]


def test_rates_of_the_first_mode_and_its_neighbours_are_those_of_the_tangent_kernel():
    s, teacher = np.array([1.2, 0.5]), np.diag([1.2, 0.5, 0.0])
    W = networks.DeepLinear.aligned(teacher, s, (3, 3, 3, 3), key=jax.random.key(1)).weights
    kernel = np.asarray(deep_linear.neural_tangents(W).sum(axis=0))
    # inputs and outputs are the modes here, flattened row by row: the first row belongs to u_1
    assert np.allclose(coupling_rates(s, 3, 3), np.diag(kernel)[:3])


@pytest.mark.parametrize(
    "bad", [{"depths": (1,)}, {"replicas": 1}, {"settling": 36.0}, {"label_noise_variance": 0.0}, {"records": 3}]
)
def test_bad_values_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Fig5Config(**bad)
