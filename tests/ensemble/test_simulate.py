"""The driver: same key, same result; what dies is counted; nothing grows or is compiled anew."""

import logging
import resource
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sgdynamics as sgd
from sgdynamics.data import Dataset, teacher_student
from sgdynamics.ensemble import _regression_residual, _run, reference_kernel
from sgdynamics.samplers import Epochs
from sgdynamics.statistics import Autocovariance, Covariance, Loss, Mean

KEY = jax.random.key(10)
DATA = teacher_student(KEY, samples=20, inputs=3, label_noise_std=0.5)
PROBLEM = sgd.Problem(sgd.networks.Linear(3, 1), DATA)
SMALL = {"replicas": 8, "steps": 6, "key": KEY}


def residual_kernel(dynamics):
    return _regression_residual.build(dynamics, 10, jnp.float64)


def descent(learning_rate=0.5, **options):
    return sgd.SGD(PROBLEM, **{"learning_rate": learning_rate, "sampler": 4, **options})


def arrays(ensemble):
    return jax.tree.leaves((ensemble.estimates, ensemble.state, ensemble.alive))


def equal(a, b):
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(arrays(a), arrays(b), strict=True))


# --- results --------------------------------------------------------------------------------------------------


def test_estimates_have_the_structure_of_the_statistics():
    asked = {"mean": Mean(), "rest": [Covariance(), Loss(PROBLEM)]}
    run = sgd.simulate(descent(), asked, **SMALL)
    assert run.estimates["mean"].value.shape == (3,)
    assert run.estimates["rest"][0].value.shape == (3, 3) and run.estimates["rest"][1].value.shape == ()
    assert jnp.allclose(
        sgd.simulate(descent(), Mean(), **SMALL).estimates.value, run.estimates["mean"].value, atol=1e-7
    )


def test_records_are_made_after_every_every_steps():
    run = sgd.simulate(descent(), Mean(), replicas=8, steps=9, burn_in=3, every=4, key=KEY, dtype=jnp.float64)
    starts = [sgd.simulate(descent(), Mean(), replicas=8, steps=k, key=KEY, dtype=jnp.float64) for k in (7, 11)]
    expected = np.mean([s.state.position.mean(0) for s in starts], axis=0)
    assert jnp.abs(run.estimates.value - expected).max() < 1e-13
    last = sgd.simulate(descent(), Mean(), replicas=8, steps=12, key=KEY, dtype=jnp.float64)
    assert jnp.abs(run.state.position - last.state.position).max() < 1e-13  # the odd step is made too
    assert run.provenance["steps_done"] == 12


def test_the_same_key_gives_the_same_result_and_another_another():
    one, same, other = (sgd.simulate(descent(), Covariance(), **SMALL | {"key": jax.random.key(k)}) for k in (1, 1, 2))
    assert equal(one, same) and not equal(one, other)


@pytest.mark.parametrize("sampler, kernel", [(Epochs(4), residual_kernel), (4, None), (4, reference_kernel)])
def test_a_result_does_not_depend_on_the_chunks(monkeypatch, sampler, kernel):
    """Bit by bit, with burn-in, recorded and left-over steps, in the kernel's own variables."""
    dynamics = descent(sampler=sampler, momentum=0.5)
    kernel = kernel(dynamics) if kernel is residual_kernel else kernel

    def run(seconds):
        monkeypatch.setattr(_run, "CHUNK_SECONDS", seconds)
        lengths = []
        result = sgd.simulate(
            dynamics, Covariance(), replicas=8, steps=200, burn_in=301, every=9, key=KEY, kernel=kernel,
            progress=lengths.append,
        )  # fmt: skip
        assert sum(lengths) == 501
        return result, lengths

    (short, many), (long, few) = run(0.0), run(1e9)
    assert len(many) > len(few) and equal(short, long)


def test_a_replicas_path_does_not_depend_on_the_number_of_replicas():
    double = [sgd.simulate(descent(), Mean(), replicas=r, steps=50, key=KEY, dtype=jnp.float64) for r in (3, 64)]
    assert jnp.abs(double[0].state.position - double[1].state.position[:3]).max() < 1e-13


def test_a_run_is_in_float32_unless_told():
    for dtype, expected in ((None, jnp.float32), (jnp.float64, jnp.float64)):
        for dynamics in (descent(), sgd.Langevin(PROBLEM, learning_rate=0.1, sampler=4, substeps=2)):
            run = sgd.simulate(dynamics, Mean(), dtype=dtype, **SMALL)
            assert run.state.position.dtype == expected and run.provenance["dtype"] == jnp.dtype(expected).name


def test_keys_that_draw_otherwise_when_mapped_over_are_refused():
    key = jax.random.key(0, impl="rbg")
    with pytest.raises(ValueError, match=r"key is one of rbg.*threefry2x32"):
        sgd.simulate(descent(), Mean(), replicas=8, steps=10, key=key)


@pytest.mark.parametrize("key", [0, np.zeros(2), None], ids=["seed", "array", "none"])
def test_a_seed_is_no_key(key, without_type_checks):
    for run in (sgd.simulate, sgd.ensemble.measure):
        with pytest.raises(ValueError, match=r"key = .*but it must be a key: jax.random.key\(0\)"):
            run(descent(), Mean(), replicas=8, steps=10, key=key)


def test_a_network_is_no_start():
    network = descent().problem.network
    ensemble = sgd.simulate(descent(), Mean(), **SMALL)
    for initial in (network, ensemble, descent()):
        with pytest.raises(ValueError, match=r"initial is a \w+, .*Problem\(network, data\).parameters.*`.state`"):
            sgd.simulate(descent(), Mean(), initial=initial, **SMALL)

    # a module of one's own that draws a start is none
    class Law(eqx.Module):
        def __call__(self, key):
            return jnp.ones(3)

    assert sgd.simulate(descent(), Mean(), initial=Law(), **SMALL).diverged == 0


def test_kernels_can_be_named():
    run = sgd.simulate(descent(), Mean(), replicas=8, steps=100, every=50, key=KEY, kernel=reference_kernel)
    chosen = sgd.simulate(descent(), Mean(), replicas=8, steps=100, every=50, key=KEY)
    assert (run.provenance["kernel"], chosen.provenance["kernel"]) == ("reference_kernel", "ResidualKernel")
    assert jnp.abs(run.state.position - chosen.state.position).max() < 1e-5


def test_progress_is_told_every_step():
    told = []
    sgd.simulate(descent(), Mean(), replicas=8, steps=203, burn_in=130, every=10, key=KEY, progress=told.append)
    assert sum(told) == 333 and min(told) > 0


def test_provenance_says_how_a_run_was_made():
    schedule = optax.exponential_decay(0.5, transition_steps=1, decay_rate=0.5)
    run = sgd.simulate(descent(schedule, momentum=0.25), Mean(), burn_in=3, **SMALL)
    record = run.provenance
    assert record["hyperparameters"]["momentum"] == 0.25 and record["hyperparameters"]["batch_size"] == 4
    assert (record["replicas"], record["steps"], record["burn_in"]) == (8, 6, 3)
    assert record["burn_in_time"] == 0.5 + 0.25 + 0.125


# --- starts ---------------------------------------------------------------------------------------------------


class Law:
    def draw(self, key):
        return jax.random.normal(key, (3,))


def still(initial, **options):
    """Where replicas start: nothing moves at learning rate 0."""
    dynamics = descent(0.0, momentum=0.5)
    return sgd.simulate(dynamics, Mean(), initial=initial, dtype=jnp.float64, **SMALL | options).state


def test_replicas_start_where_they_are_told():
    point, matrix = np.arange(3.0), np.arange(24.0).reshape(8, 3)
    State = sgd.State
    assert not still(None).position.any()
    for initial in (point, jnp.asarray(point), point.astype(int), point.tolist(), State(jnp.asarray(point))):
        assert jnp.array_equal(still(initial).position, np.tile(point, (8, 1)))
    for initial in (matrix, State(jnp.asarray(matrix))):
        assert jnp.array_equal(still(initial).position, matrix)


@pytest.mark.parametrize("initial", [lambda key: jax.random.normal(key, (3,)), Law()], ids=["function", "law"])
def test_replicas_start_from_draws_of_their_own(initial):
    few, many = still(initial).position, still(initial, replicas=20).position
    assert jnp.array_equal(few, many[:8])  # replica r's draw is its own
    assert len(set(np.asarray(many[:, 0]).tolist())) == 20


def test_a_state_brings_its_velocity():
    v = jnp.ones(3)
    run = sgd.simulate(
        descent(1.0, momentum=0.5, weight_decay=0.0), Mean(), replicas=2, steps=1, key=KEY, dtype=jnp.float64,
        initial=sgd.State(jnp.zeros(3), v),
    )  # fmt: skip
    without = sgd.simulate(
        descent(1.0, momentum=0.5), Mean(), replicas=2, steps=1, key=KEY, dtype=jnp.float64, initial=jnp.zeros(3)
    )
    assert jnp.abs(run.state.position - without.state.position - 0.5).max() < 1e-14


@pytest.mark.parametrize(
    "dynamics",
    [
        descent(momentum=0.9, sampler=20),
        sgd.Descent(PROBLEM, optax.adam(0.1), 4),
        sgd.Langevin(PROBLEM, learning_rate=0.1, sampler=4, substeps=2),
    ],
    ids=["SGD", "Adam", "Langevin"],
)
def test_a_run_goes_on_from_its_state(dynamics):
    with jax.numpy_dtype_promotion("standard"):  # Adam mixes floats and integers
        first = sgd.simulate(dynamics, Mean(), dtype=jnp.float64, **SMALL)
        on = sgd.simulate(dynamics, Mean(), initial=first.state, dtype=jnp.float64, **SMALL)
    assert jnp.isfinite(on.estimates.value).all() and on.diverged == 0
    if isinstance(dynamics, sgd.Descent):  # Adam's count of steps is part of its memory
        assert on.state.memory[1][0].count.tolist() == [12] * 8


def test_full_batches_in_two_runs_are_one_run():
    dynamics = descent(momentum=0.9, sampler=sgd.samplers.FullBatch())
    options = {"replicas": 2, "key": KEY, "dtype": jnp.float64}
    half = sgd.simulate(dynamics, Mean(), steps=10, **options)
    on = sgd.simulate(dynamics, Mean(), steps=10, initial=half.state, **options)
    whole = sgd.simulate(dynamics, Mean(), steps=20, **options)
    assert jnp.abs(on.state.position - whole.state.position).max() < 1e-13


# --- records and epochs ---------------------------------------------------------------------------------------

EPOCHS = Epochs(3)  # of 20 samples: 6 batches, two samples left out


def langevin(sampler):
    return sgd.Langevin(PROBLEM, learning_rate=0.1, sampler=sampler)


def warned(dynamics, every, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sgd.simulate(dynamics, Mean(), **{"replicas": 4, "steps": 24, "key": KEY, "every": every, **options})
    return [str(w.message) for w in caught if issubclass(w.category, UserWarning)]


@pytest.mark.parametrize("every, shared, positions", [(2, 2, 3), (9, 3, 2), (6, 6, 1), (12, 6, 1)])
def test_records_that_miss_positions_in_the_epoch_are_warned_of(every, shared, positions):
    (message,) = warned(descent(sampler=EPOCHS), every, burn_in=1)
    assert f"every = {every} shares the factor {shared} with the 6 batches per epoch" in message
    assert f"{positions} of the 6 positions" in message and "shares no factor with 6" in message


UNWARNED = {
    "every step": (lambda: descent(sampler=EPOCHS), 1),
    "no common factor": (lambda: descent(sampler=EPOCHS), 5),
    "more than an epoch": (lambda: descent(sampler=EPOCHS), 7),
    "one record": (lambda: descent(sampler=EPOCHS), 24),
    "white noise": (lambda: descent(sampler=3), 6),
    "one batch per epoch": (lambda: descent(sampler=Epochs(20)), 6),
    "an SDE": (lambda: langevin(EPOCHS), 6),
}


@pytest.mark.parametrize("case", UNWARNED)
def test_other_records_are_not_warned_of(case):
    make, every = UNWARNED[case]
    assert warned(make(), every) == []


def test_a_descent_by_optax_is_warned_as_well():
    (message,) = warned(sgd.Descent(PROBLEM, optax.sgd(0.1), EPOCHS), 4)
    assert "every = 4 shares the factor 2" in message


# --- divergence -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [residual_kernel, None, reference_kernel])
@pytest.mark.parametrize("dead", [jnp.nan, 1e80])
def test_a_replica_that_is_dead_from_the_start_is_counted_and_not_averaged(dead, kernel):
    kernel = kernel(descent()) if kernel is residual_kernel else kernel
    start = np.ones((16, 3))
    start[5, 1] = dead
    options = {"steps": 20, "every": 10, "key": KEY, "groups": 16, "dtype": jnp.float64, "kernel": kernel}
    with pytest.warns(UserWarning, match="1 of 16 replicas diverged.*Lower the learning rate"):
        run = sgd.simulate(descent(), Mean(), replicas=16, initial=start, **options)
    assert run.diverged == 1 and run.provenance["diverged"] == 1 and not run.alive[5]
    others = np.asarray(run.state.position)[np.arange(16) != 5]
    clean = sgd.simulate(descent(), Mean(), replicas=16, initial=np.ones(3), **options)
    assert np.array_equal(others, np.asarray(clean.state.position)[np.arange(16) != 5])
    assert jnp.isfinite(run.estimates.value).all() and jnp.isfinite(run.estimates.standard_error).all()
    assert jnp.abs(run.estimates.value - clean.estimates.value).max() < 1


def test_a_replica_that_diverges_on_the_way_is_counted_and_not_averaged():
    """dx = x³ − x: from beyond 1 a path runs away, from inside it does not."""
    process = sgd.ItoProcess(lambda t, x: x**3 - x, lambda t, x: 0 * x, initial=np.zeros(1), time_step=0.1, substeps=1)
    start = np.full((16, 1), 0.5)
    start[3] = 1.2
    options = {"steps": 60, "key": KEY, "groups": 16, "dtype": jnp.float64}
    with pytest.warns(UserWarning, match="1 of 16 replicas diverged"):
        run = sgd.simulate(process, Mean(), replicas=16, initial=start, **options)
    clean = sgd.simulate(process, Mean(), replicas=16, initial=np.full(1, 0.5), **options)
    assert run.diverged == 1 and not run.alive[3]
    assert jnp.abs(run.estimates.value - clean.estimates.value).max() < 1e-14


def test_a_run_in_which_all_diverge_ends_early():
    with pytest.warns(UserWarning) as warned:
        run = sgd.simulate(descent(1e3), Mean(), replicas=4, steps=100_000, initial=np.ones(3), key=KEY)
    assert any("4 of 4 replicas diverged" in str(w.message) for w in warned)
    assert jnp.isnan(run.estimates.value).all() and run.provenance["steps_done"] < 100_000


# --- errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        ({"replicas": 0}, "replicas = 0"),
        ({"replicas": -2}, "replicas = -2"),
        ({"steps": 0}, "steps = 0"),
        ({"every": 0}, "every = 0"),
        ({"every": 7}, "every = 7.*steps = 6"),
        ({"burn_in": -1}, "burn_in = -1"),
        ({"groups": 0}, "groups = 0"),
        ({"initial": np.zeros(4)}, r"initial has a position of shape \(4,\).*\(3,\).*\(8, 3\)"),
        ({"initial": np.zeros((7, 3))}, r"initial has a position of shape \(7, 3\)"),
        ({"initial": lambda key: jnp.zeros(2)}, r"initial has a position of shape \(8, 2\)"),
        ({"initial": sgd.State(jnp.zeros(2))}, r"initial has a position of shape \(2,\)"),
        ({"dtype": int}, "dtype = int64.*floating"),
        ({"statistics": [Mean(), "mean"]}, "statistics.*'mean'"),
        ({"statistics": Autocovariance(lags=(3,)), "every": 2}, "lags"),
    ],
)
def test_bad_arguments_are_refused_by_name_before_anything_runs(options, message):
    told = []
    with pytest.raises((ValueError, TypeError), match=message):
        sgd.simulate(descent(), **{"statistics": Mean(), **SMALL, "progress": told.append, **options})
    assert not told


def test_a_velocity_for_a_process_without_one_is_refused():
    process = sgd.Langevin(PROBLEM, learning_rate=0.1, sampler=4)
    with pytest.raises(ValueError, match="velocity was given"):
        sgd.simulate(process, Mean(), initial=sgd.State(jnp.zeros(3), jnp.zeros(3)), **SMALL)


# --- compilation and memory -----------------------------------------------------------------------------------


class Compilations(logging.Handler):
    """Counts what XLA is given to compile."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.names = []

    def emit(self, record):
        message = record.getMessage()
        if message.startswith("Compiling"):
            self.names.append(message.split(" with")[0])


@pytest.fixture
def compilations():
    handler, logger = Compilations(), logging.getLogger("jax")
    logger.addHandler(handler)
    with jax.log_compiles():
        yield handler.names
    logger.removeHandler(handler)


@pytest.mark.parametrize(
    "make",
    [
        lambda η, s: descent(η, momentum=s / 1e4),
        lambda η, s: sgd.Langevin(PROBLEM, learning_rate=η, sampler=4, substeps=2),
    ],
    ids=["SGD", "Langevin"],
)
def test_new_numbers_compile_nothing_anew(compilations, make):
    run = lambda η, steps, burn_in: sgd.simulate(
        make(η, steps), [Mean(), Covariance()], replicas=8, steps=steps, burn_in=burn_in, every=10, key=KEY
    )
    run(0.1, 100, 70)
    assert any("_evolve" in name for name in compilations)
    compilations.clear()
    run(0.2, 1000, 333)
    assert compilations == []


def test_memory_does_not_grow_with_steps():
    run = lambda steps: sgd.simulate(descent(), Covariance(), replicas=64, steps=steps, key=KEY)
    run(2_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run(20_000)
    # a path of 64 replicas in float32 would be 15 MB: half of it; the largest memory ever used is in KiB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8_000


def test_a_user_data_set_is_not_a_constant_of_the_program(compilations):
    other = Dataset(DATA.x, DATA.y + 1)
    run = lambda data: sgd.simulate(
        sgd.SGD(sgd.Problem(sgd.networks.Linear(3, 1), data), learning_rate=0.1, sampler=4), Mean(), **SMALL
    )
    run(DATA)
    compilations.clear()
    run(other)
    assert not any("_evolve" in name for name in compilations)
