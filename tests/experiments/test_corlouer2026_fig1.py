"""Fig. 1 of Corlouer et al. in small, and the pieces that its figures share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics import data, experiments, networks, plotting
from sgdynamics.experiments import _students
from sgdynamics.experiments._store import check_described
from sgdynamics.experiments.corlouer2026._fig1 import Fig1Config, run

pytestmark = pytest.mark.long

KEY = jax.random.key(2)


@pytest.fixture(scope="module")
def result():
    config = Fig1Config(
        singular_values=(1.0, 0.6), width=3, depth=3, exponent=4.0, replicas=16, time=25.0, records=100, amplitude=0.05
    )
    return run(config, experiments.Silence())


def test_order_lead_and_heights(result):
    claims = {claim.id: claim for claim in result.claims}
    assert {id for id in claims if id.endswith("/published")} == {"small weights/height of the peak/published"}
    # three wide, the weights align themselves well enough: only wider networks contradict the statement
    assert all(claim.as_expected for claim in claims.values() if not claim.id.endswith("/published"))
    assert sum(id.endswith("/control") for id in claims) == 2


def test_the_data_are_described_and_draw(result):
    check_described(result.data)
    axes = plotting.draw("corlouer2026/fig1", result.data).axes
    assert [ax.get_ylabel() for ax in axes] == ["amplitude of the mode  [w]", "diffusion along the mode  [w²/t]"]


@pytest.mark.parametrize(
    "bad", [{"depth": 1}, {"replicas": 1}, {"time": 0.0}, {"singular_values": (1.0, -1.0)}, {"amplitude": 0.0}]
)
def test_bad_values_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Fig1Config(**bad)


def test_crossings_are_interpolated_and_those_that_never_come_are_nan():
    times = np.array([0.0, 1.0, 2.0, 3.0])
    values = np.array([[0.0, 5.0, 0.0], [1.0, 5.0, 0.0], [3.0, 5.0, 0.0], [2.0, 5.0, 1.0]])
    crossed = _students.crossing_times(times, values, np.array([2.0, 4.0, 1.5]))
    assert np.array_equal(crossed, [1.5, 0.0, np.nan], equal_nan=True)


def test_a_peak_is_found_between_records():
    times = np.linspace(0, 4, 9)
    values = np.stack([1 - (times - 1.3) ** 2, times, -times], axis=1)
    assert np.allclose(_students.peak_times(times, values), [1.3, 4.0, 0.0])


def test_paths_keep_the_weights_of_every_replica():
    student = _students.Student(data.Teacher.of_singular_values([1.0], key=KEY, inputs=3, outputs=2), (3, 3, 2), 0.05)
    start = student.starts(lambda key: networks.DeepLinear.small(student.widths, key=key), KEY, 4)
    paths = _students.run(
        student, student.descent(), experiments.Silence(), "x", key=KEY, replicas=4, time=1.0, records=5, initial=start
    )
    assert np.allclose(paths.times, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert np.allclose(paths.positions[0], start, rtol=1e-6)
    last = student.problem.unflatten(jnp.asarray(paths.positions[-1, 3], float)).matrix()
    U, _, Vt = np.linalg.svd(student.teacher.matrix, full_matrices=False)
    assert np.allclose(paths.amplitudes[-1, 3], U[:, 0] @ last @ Vt[0], rtol=1e-6)
    assert np.allclose(paths.loss[-1, 3], student.teacher.population_loss(last), rtol=1e-6)
