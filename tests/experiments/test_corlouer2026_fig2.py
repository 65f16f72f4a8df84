"""Fig. 2 of Corlouer et al. in small."""

import numpy as np
import pytest

from sgdynamics import data, experiments, plotting
from sgdynamics.experiments._store import check_described
from sgdynamics.experiments._students import Paths, Student
from sgdynamics.experiments.corlouer2026 import _fig2
from sgdynamics.experiments.corlouer2026._fig2 import Fig2Config, run

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def result():
    config = Fig2Config(
        singular_values=(1.0, 0.5), width=3, depth=3, exponent=3.0, learning_rate=0.01, substeps=2, replicas=16,
        time=120.0, records=300,
    )  # fmt: skip
    return run(config, experiments.Silence())


def test_verdicts(result):
    claims = {claim.id: claim for claim in result.claims}
    # two modes in three dimensions are nearly always learned in order: what is denied takes more of them
    # and three layers wait less than six
    parts = ("not in every run", "from saddle to saddle")
    denied = {f"{name}/{part}" for name in ("gradient descent", "SGD", "anisotropic") for part in parts}
    assert {id for id, claim in claims.items() if not claim.as_expected} <= denied < set(claims)
    assert any(id.endswith("/control") for id in claims)


def test_the_data_are_described_and_draw(result):
    check_described(result.data)
    assert len(plotting.draw("corlouer2026/fig2", result.data).axes) == 4


def test_one_exponential_does_not_wait():
    times = np.linspace(0, 8, 1601)
    spectra = (1 - np.exp(-times))[:, None, None]
    paths = Paths(Student(data.Teacher(np.ones((1, 1)), 0.0), (1, 1), 0.1), times, np.zeros((1601, 1, 1)), {})
    assert np.allclose(_fig2.rise(paths, spectra), _fig2.ONE_LAYER, rtol=1e-4) and _fig2.ABRUPT < 3


@pytest.mark.parametrize("bad", [{"depth": 1}, {"substeps": 0}, {"isotropic_variance": -1.0}, {"time": 0.0}])
def test_bad_values_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Fig2Config(**bad)
