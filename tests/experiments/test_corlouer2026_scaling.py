"""Figs. 9, 10 and 11 of Corlouer et al. in small: what the highest diffusion depends on."""

import numpy as np
import pytest

from sgdynamics import data, experiments, plotting
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._store import check_described
from sgdynamics.experiments._students import Paths, Student
from sgdynamics.experiments.corlouer2026 import _fig11, _scaling
from sgdynamics.experiments.corlouer2026._fig1 import Fig1Config
from sgdynamics.experiments.corlouer2026._scaling import ScalingConfig

pytestmark = pytest.mark.long

SMALL = {"singular_values": (1.0,), "width": 3, "depth": 2, "exponent": 4.0, "time": 16.0, "records": 60}


@pytest.mark.parametrize("name", ["fig9", "fig10"])
def test_the_highest_diffusion_is_proportional_to_the_temperature(name):
    varied = {"fig9": {"learning_rates": (0.0025, 0.01)}, "fig10": {"learning_rates": (0.01,), "batch_sizes": (1, 4)}}
    experiment = experiments.get(f"corlouer2026/{name}")
    result = experiment.run(ScalingConfig(**SMALL, replicas=32, **varied[name]), experiments.Silence())
    assert all(claim.as_expected for claim in result.claims)
    assert sum(claim.id.endswith("/control") for claim in result.claims) == 1
    check_described(result.data)
    assert plotting.draw(experiment.figure, result.data).axes


def test_the_exponent_is_that_of_least_squares_and_its_error_is_carried():
    rng, β = np.random.default_rng(0), np.array([1.0, 2.0, 4.0, 8.0])
    draws = [b**0.7 * (1 + 0.02 * rng.normal(size=(400, 1))) for b in β]
    slope, error = _scaling.exponent(β, [over_realisations(d) for d in draws], 0)
    assert abs(slope - np.polyfit(np.log(β), np.log([d.mean() for d in draws]), 1)[0]) < 1e-12
    # each draw has relative error 0.02/√400 = 0.001; Σ c² = 1/Σ(x − x̄)²
    assert np.isclose(error, 0.001 / np.sqrt(np.sum((np.log(β) - np.log(β).mean()) ** 2)), rtol=0.1)


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({}, "batch_sizes"),
        ({"learning_rates": (0.1, 0.2), "batch_sizes": (1, 2, 3)}, "batch_sizes"),
        ({"learning_rates": (0.1, -0.2)}, "learning_rates"),
        ({"learning_rates": (0.1, 0.2), "depth": 1}, "depth"),
    ],
)
def test_bad_values_are_refused(bad, named):
    with pytest.raises(ValueError, match=named):
        ScalingConfig(**bad)


def test_wider_hidden_layers_change_nothing_on_the_manifold():
    config = Fig1Config(**SMALL | {"exponent": 2.0}, hidden=6, replicas=16, amplitude=0.05)
    result = _fig11.run(config, experiments.Silence())
    assert all(claim.as_expected for claim in result.claims)
    assert [claim.id for claim in result.claims if claim.id.endswith("/control")] == [
        "aligned weights/s = 1/grows with the width/control"
    ]
    check_described(result.data)


def test_the_shift_of_a_peak_is_in_the_modes_own_time():
    times = np.linspace(0, 10, 101)
    teacher = data.Teacher(np.array([[0.5]]), 0.0)
    paths = Paths(Student(teacher, (1, 1, 1), 0.1), times, np.zeros((101, 1, 2)), {})
    # (7) is highest where w = s/2, at t = 5; this diffusion at t = 6
    paths.__dict__["amplitudes"] = (0.5 / (1 + np.exp(-(times - 5))))[:, None, None]
    paths.__dict__["diffusion"] = np.exp(-((times - 6) ** 2))[:, None, None]
    assert np.allclose(_fig11.shift(paths, 0), (6 - 5) * 2 * 0.5, atol=1e-3)
