"""What a run leaves as a data set and in a file: every kind of estimate, whole or not at all, back as it was."""

import inspect
import json
import pathlib
import re
import signal
import subprocess
import sys
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import sgdynamics as sgd
from sgdynamics import statistics
from sgdynamics.ensemble import Ensemble
from sgdynamics.ensemble._results import check_destination, save, to_xarray
from sgdynamics.statistics import Covariance, Estimate, Mean, Projection
from sgdynamics.statistics._estimate import from_pseudo_values

KEY = jax.random.key(9)
DATA = sgd.data.teacher_student(KEY, samples=20, inputs=3, label_noise_std=0.5)
PROBLEM = sgd.Problem(sgd.networks.Linear(3, 1), DATA)
DYNAMICS = sgd.SGD(PROBLEM, learning_rate=0.3, sampler=4, momentum=0.5)
TWO = Projection(np.eye(3)[:, :2])


def energy(state):
    return jnp.sum(state.position**2)


def table_of(state):
    return jnp.stack([state.position, state.velocity])


EVERY = {
    "Mean": Mean(of=table_of),
    "Covariance": Covariance(),
    "Variance": statistics.Variance(of=statistics.velocity),
    "Kurtosis": statistics.Kurtosis(of=TWO),
    "Loss": statistics.Loss(PROBLEM),
    "Autocovariance": statistics.Autocovariance((0, 2), of=statistics.Norm()),
    "Displacement": statistics.Displacement((2, 4)),
    "GlobalDisplacement": statistics.GlobalDisplacement((2, 4, 8), per_component=True),
    "PowerSpectrum": statistics.PowerSpectrum(4),
    "Histogram": statistics.Histogram(np.linspace(-2, 2, 5)),
    "Halves": statistics.Halves(statistics.Histogram(np.linspace(0, 9, 4), of=energy)),
    "Snapshots": statistics.Snapshots((0, 8)),
    "FirstPassage": statistics.FirstPassage(0.4, of=statistics.Norm()),
    "Extrema": statistics.Extrema(),
    "AngularVelocity": statistics.AngularVelocity(statistics.PhaseSpace(np.eye(3)[:, :2]), lag=2),
}


def simulate(asked, **options):
    return sgd.simulate(
        DYNAMICS, asked, **({"replicas": 12, "steps": 16, "every": 2, "groups": 4, "key": KEY} | options)
    )


@pytest.fixture(scope="module")
def everything() -> Ensemble:
    ensemble = simulate(EVERY)
    law = statistics.power_law(ensemble.estimates["GlobalDisplacement"], first=2, last=4)
    return eqx.tree_at(lambda e: e.estimates, ensemble, ensemble.estimates | {"power_law": law})


@pytest.fixture(scope="module")
def small() -> Ensemble:
    return simulate(Covariance())


# --- the data set ---------------------------------------------------------------------------------------------


def test_every_statistic_is_tried():
    public = [thing for thing in vars(statistics).values() if inspect.isclass(thing)]
    recipes = {c.__name__ for c in public if issubclass(c, statistics.AbstractStatistic) and not inspect.isabstract(c)}
    assert recipes == set(EVERY) - {"Loss"}


@pytest.mark.long
def test_every_estimate_has_its_value_and_its_error(everything):
    data = to_xarray(everything)
    for name, estimate in everything.estimates.items():
        np.testing.assert_array_equal(data[name], estimate.value)
        np.testing.assert_array_equal(data[f"{name}_standard_error"], estimate.standard_error)
        assert data[name].dtype == estimate.value.dtype


@pytest.mark.long
def test_every_array_of_every_estimate_is_there(everything):
    """No array of more than coordinates' size is lost, whatever kind of estimate it belongs to."""
    data = to_xarray(everything, state=True, groups=True)
    stored = {(v.shape, np.asarray(v).tobytes()) for v in data.variables.values()}
    # degrees of freedom and groups left out are attributes
    arrays = [x for x in jax.tree.leaves((everything.estimates, everything.state, everything.alive))]
    lost = [x.shape for x in arrays if np.ndim(x) and (np.shape(x), np.asarray(x).tobytes()) not in stored]
    assert lost == []


@pytest.mark.long
def test_every_variable_has_units_a_long_name_and_named_axes(everything):
    data = to_xarray(everything, state=True, groups=True)
    for name, variable in data.variables.items():
        assert variable.attrs["units"] and variable.attrs["long_name"], name
    assert not [dim for dim in data.dims if re.search(r"dim_\d", str(dim))]


OF_NORM = ("Autocovariance_components", "Autocovariance_components_2")
OF_STEPS = ("GlobalDisplacement_steps",)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "dims", "units", "long_name"),
    [
        ("Covariance", ("parameters", "parameters_2"), "w²", "covariance of the parameters"),
        ("Mean", ("Mean_components", "Mean_components_2"), "[table_of]", "mean of table_of"),
        ("Variance", ("parameters",), "(w/t)²", "variance of velocity"),
        ("Kurtosis", ("directions",), "1", "kurtosis of projection"),
        ("Loss", (), "loss", "loss"),
        ("Autocovariance", ("lags", *OF_NORM), "w²", "autocovariance of norm"),
        ("Displacement", ("Displacement_steps",), "w²", "displacement of the parameters"),
        ("GlobalDisplacement", (*OF_STEPS, "parameters"), "w²", "global displacement of the parameters"),
        ("PowerSpectrum", ("frequencies", "parameters"), "w² step/rad", "power spectrum of the parameters"),
        ("Histogram", ("parameters", "Histogram_bins"), "1/w", "density of the parameters"),
        ("Histogram_underflow", ("parameters",), "1", "share below the first edge of the parameters"),
        ("Halves", ("Halves_bins",), "1/[energy]", "density of energy"),
        ("Snapshots", ("Snapshots_steps", "parameters"), "w", "mean of the parameters"),
        ("Snapshots_values", ("Snapshots_steps", "replicas", "parameters"), "w", "the parameters of each replica"),
        ("FirstPassage", (), "step", "first passage of norm"),
        ("FirstPassage_fraction", (), "1", "fraction passed of norm"),
        ("Extrema", ("extremes", "parameters"), "w", "mean minimum and maximum of the parameters"),
        ("AngularVelocity", ("modes",), "rad/step", "angular velocity of phase space"),
        ("power_law", ("parameters",), "1", "exponent of global displacement of the parameters"),
        ("power_law_residuals", ("power_law_steps", "parameters"), "1", None),
    ],
)  # fmt: skip
def test_axes_units_and_names(everything, name, dims, units, long_name):
    variable = to_xarray(everything)[name]
    assert variable.dims == dims
    assert variable.attrs["units"] == units
    assert long_name is None or variable.attrs["long_name"] == long_name


@pytest.mark.long
def test_coordinates_have_values_and_units(everything):
    data = to_xarray(everything)
    assert data.lags.values.tolist() == [0, 2] and data.lags.units == "step"
    assert data.GlobalDisplacement_steps.values.tolist() == [2, 4, 8]
    assert data.power_law_steps.values.tolist() == [2, 4]
    assert data.frequencies.units == "rad/step" and data.frequencies[-1] == pytest.approx(np.pi / 2)
    assert data.Histogram_edges.values.tolist() == [-2, -1, 0, 1, 2] and data.Histogram_edges.units == "w"
    assert data.Histogram_bins.values.tolist() == [-1.5, -0.5, 0.5, 1.5]
    assert data.Halves_edges.values.tolist() == [0, 3, 6, 9]


def made(shape, quantity="mean", of=None, **coordinates) -> Estimate:
    """An estimate by hand."""
    groups = jax.random.normal(KEY, (4, *shape))
    return from_pseudo_values(groups, jnp.full(4, 0.25), quantity=quantity, of=of, **coordinates)


def of(tree, state=False, groups=False) -> xr.Dataset:
    """The data set of an ensemble that has these estimates."""
    replicas = jnp.ones((5, 3))
    ensemble = Ensemble(tree, sgd.dynamics.State(replicas, replicas), jnp.ones(5, bool), {"replicas": 5})
    return to_xarray(ensemble, state=state, groups=groups)


def test_axes_that_agree_are_shared_and_those_that_differ_are_not():
    lagged = lambda *lags: made((2, 4, 4), "autocovariance", "energy", lags=jnp.array(lags))
    same = of([lagged(0, 2), lagged(0, 2)])
    assert set(same.dims) == {"lags", "components", "components_2"}
    other = of([lagged(0, 2), lagged(0, 4)])
    assert other.autocovariance_0.dims == ("autocovariance_0_lags", "components", "components_2")
    assert other.autocovariance_1_lags.values.tolist() == [0, 4] and "lags" not in other.dims


def test_an_axis_that_no_longer_has_a_component_for_each_parameter():
    """What `Estimate.map` makes of the parameters."""
    data = of({"covariance": made((3, 3), "covariance"), "pair": made((2,), "covariance")})
    assert data.covariance.dims == ("parameters", "parameters_2") and data.pair.dims == ("components",)


def test_an_estimate_of_a_kind_that_is_not_known():
    class Other(NamedTuple):
        value: jax.Array
        standard_error: jax.Array

    data = of({"a": Other(jnp.ones((2, 3)), jnp.zeros((2, 3)))})
    assert data.a.dims == ("components", "components_2") and data.a.units == "[estimate]"


def test_names_are_places_in_the_tree():
    one = made((3, 3), "covariance")
    values = lambda data: {str(name) for name in data.data_vars if not str(name).endswith("standard_error")}
    assert values(of(one)) == {"covariance"}
    assert values(of([one, one])) == {"covariance_0", "covariance_1"}
    assert values(of({"sgd": {"cov λ/2": one}, "b": (one, one)})) == {"sgd_cov_λ_2", "b_0", "b_1"}
    # two of one name, one of the name of another's error, those of the state's names
    assert values(of({"a": {"b": one}, "a_b": one})) == {"a_b", "a_b_2"}
    assert {"x", "x_standard_error", "x_standard_error_2"} <= set(
        of({"x": one, "x_standard": {"error": one}}).data_vars
    )
    alive = of({"alive": one}, state=True)
    assert alive.alive.dims == ("replicas",) and alive.alive_2.dims == ("parameters", "parameters_2")
    # those of the names of their own axes
    named = of({"parameters": one, "parameters_2": one})
    assert named.parameters.dims == ("parameters_parameters", "parameters_parameters_2")
    assert of({"a_parameters": one, "a": one, "parameters": one}).a.dims == ("a_parameters_axis", "parameters_2")
    assert of({"groups": one}, groups=True).groups_groups.dims[0] not in ("groups", "groups_groups")


def test_what_is_no_estimate_is_named(small):
    wrong = eqx.tree_at(lambda e: e.estimates, small, {"a": [jnp.ones(3)]})
    with pytest.raises(ValueError, match=r"estimates\['a'\]\[0\] is of type"):
        to_xarray(wrong)


def test_the_state_is_added_where_it_is_asked_for(small):
    assert {"positions", "velocities", "alive"}.isdisjoint(to_xarray(small).data_vars)
    data = to_xarray(small, state=True)
    np.testing.assert_array_equal(data.positions, small.state.position)
    np.testing.assert_array_equal(data.velocities, small.state.velocity)
    assert data.positions.dims == ("replicas", "parameters") and data.alive.values.all()
    none = eqx.tree_at(lambda e: e.state.velocity, small, None)
    assert "velocities" not in to_xarray(none, state=True)


def test_pseudo_values_make_the_value_and_the_error_again(small):
    data = to_xarray(small, groups=True)
    np.testing.assert_allclose((data.covariance_weights * data.covariance_groups).sum("groups"), data.covariance)
    assert data.covariance.attrs["degrees_of_freedom"] == data.sizes["groups"] - 1 == 3


def test_provenance_says_how_and_with_what(small):
    stored = json.loads(to_xarray(small).attrs["provenance"])
    assert small.provenance.items() <= stored.items() and stored["replicas"] == 12
    assert {"python", "jax", "sgdynamics"} <= set(stored["versions"]) and "commit" in stored


def test_provenance_that_json_has_no_word_for_is_text(small):
    odd = {"rate": float("inf"), "size": np.float32(1.5), "law": {"of": (len, float("nan"))}}
    known = to_xarray(Ensemble(small.estimates, small.state, small.alive, odd)).attrs["provenance"]
    stored = json.loads(known, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert stored["rate"] == "inf" and stored["size"] == 1.5 and stored["law"]["of"][1] == "nan"


# --- files ----------------------------------------------------------------------------------------------------


def opened(path):
    return (xr.open_dataset if path.suffix == ".nc" else xr.open_zarr)(path).load()


@pytest.fixture(params=[".nc", ".zarr"])
def ending(request) -> str:
    if request.param == ".zarr":
        pytest.importorskip("zarr")
    return request.param


@pytest.mark.long
@pytest.mark.filterwarnings("error")
def test_round_trip_of_everything(everything, tmp_path, ending):
    path = save(everything, tmp_path / "new" / f"all{ending}", state=True, groups=True)
    expected, found = to_xarray(everything, state=True, groups=True), opened(path)
    xr.testing.assert_identical(found, expected)
    assert {n: v.dtype for n, v in found.variables.items()} == {n: v.dtype for n, v in expected.variables.items()}


def test_round_trip_of_nothing_recorded_right(tmp_path, ending):
    """One group, a diverged ensemble: nan and inf; float32 and bfloat16; names that are no ASCII."""
    run = simulate({"λ": Mean(), "days since": Mean(of=Days())}, groups=1)
    spoiled = eqx.tree_at(lambda e: e.state.position, run, run.state.position.at[0, 0].set(jnp.nan))
    assert spoiled.state.position.dtype == jnp.float32
    spoiled = eqx.tree_at(lambda e: e.state.velocity, spoiled, run.state.velocity.astype(jnp.bfloat16))
    found = opened(save(spoiled, tmp_path / f"a{ending}", state=True))
    assert np.isinf(found.λ_standard_error).all() and np.isnan(found.positions[0, 0])
    np.testing.assert_array_equal(found.velocities, spoiled.state.velocity.astype(jnp.float32))
    np.testing.assert_array_equal(found.days_since, run.estimates["days since"].value)


class Days(eqx.Module):
    """An observable whose name readers of files might take for a date."""

    name: str = eqx.field(static=True, default="days since 2000-01-01")

    def __call__(self, state):
        return state.position


def test_axes_of_no_length(small, tmp_path, ending):
    none = eqx.tree_at(lambda e: (e.state.position, e.state.velocity), small, (jnp.zeros((0, 3)), jnp.zeros((0, 3))))
    empty = eqx.tree_at(lambda e: e.alive, none, jnp.zeros(0, bool))
    path = save(empty, tmp_path / f"empty{ending}", state=True)
    xr.testing.assert_identical(opened(path), to_xarray(empty, state=True))


def test_an_earlier_result_is_replaced_only_where_told(small, tmp_path, ending):
    path = tmp_path / f"a{ending}"
    save(small, path)
    with pytest.raises(ValueError, match=rf"path = .*a{ending} exists.*overwrite=True"):
        save(small, path, state=True)
    assert "positions" not in opened(path)
    save(small, path, state=True, overwrite=True)
    assert "positions" in opened(path) and [p.name for p in tmp_path.iterdir()] == [path.name]


def test_what_is_no_result_is_never_replaced(small, tmp_path):
    (tmp_path / "a.nc").mkdir()
    (tmp_path / "b.zarr").mkdir()
    (tmp_path / "b.zarr" / "mine.txt").write_text("")
    for name in ("a.nc", "b.zarr"):
        with pytest.raises(ValueError, match="no earlier result"):
            save(small, tmp_path / name, overwrite=True)
    assert (tmp_path / "b.zarr" / "mine.txt").exists()


@pytest.mark.parametrize("name", ["a", "a.h5", "a.nc.gz", "a.NC"])
def test_other_endings_are_refused(small, tmp_path, name):
    with pytest.raises(ValueError, match=r'must end in "\.nc" \(netCDF\) or "\.zarr"'):
        save(small, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_without_zarr_the_package_is_named_before_anything_runs(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ImportError, match="pip install zarr"):
        check_destination(tmp_path / "a.zarr")


def test_a_failure_leaves_what_was_there(small, tmp_path, ending, monkeypatch):
    path = save(small, tmp_path / f"a{ending}")
    before = opened(path)

    def fails(data, target, **options):
        pathlib.Path(target).write_bytes(b"half")
        raise OSError("no space left on device")

    for method in ("to_netcdf", "to_zarr"):
        monkeypatch.setattr(xr.Dataset, method, fails)
    with pytest.raises(OSError, match="no space"):
        save(small, path, state=True, overwrite=True)
    with pytest.raises(OSError, match="no space"):
        save(small, tmp_path / f"new{ending}")
    xr.testing.assert_identical(opened(path), before)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


KILLED = """
import os, pathlib, signal, sys, xarray as xr
from sgdynamics import _atomic
data = xr.Dataset({{"a": ("x", [1.0] * {size})}})
write = {{".nc": lambda p: data.to_netcdf(p, engine="h5netcdf"), ".zarr": data.to_zarr}}
path = pathlib.Path(sys.argv[1])
with _atomic.written(path) as partial:
    write[path.suffix](partial)
    if {killed}:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.long
def test_a_killed_process_leaves_what_was_there(tmp_path, ending):
    def write(path, size, killed):
        program = KILLED.format(size=size, killed=killed)
        return subprocess.run([sys.executable, "-c", program, str(path)], timeout=120).returncode

    path, new = tmp_path / f"a{ending}", tmp_path / f"new{ending}"
    assert write(path, 2, False) == 0
    assert write(path, 3, True) == write(new, 3, True) == -signal.SIGKILL
    assert opened(path).sizes == {"x": 2} and not new.exists()
