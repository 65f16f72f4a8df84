"""The benchmarks: contenders do the same work, records are complete, missing peers are named, floors are held."""

import importlib.util
import json
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
import sgdynamics_benchmarks
from sgdynamics import cli
from sgdynamics.ensemble import reference_kernel
from sgdynamics_benchmarks import (
    deep_linear,
    floors,
    langevin,
    limits,
    oscillators,
    peers,
    regression,
    tanh_network,
    throughput,
)
from sgdynamics_benchmarks.throughput import Contender, Missing

KEY = jax.random.key(3)
NOW = jnp.zeros(())
REPLICAS, STEPS = 2048, 5


def prepared(contender):
    """What a round of it calls, skipped where this machine has not what it needs."""
    try:
        return contender()
    except Missing as missing:
        pytest.skip(str(missing))


def reference(dynamics, replicas, steps):
    """Where the replicas are after so many steps of the definition in float32, from keys folded from KEY."""
    dynamics = sgd.ensemble.cast(dynamics, jnp.float32)
    θ = jnp.broadcast_to(dynamics.initial_position()[None], (replicas, dynamics.initial_position().size))
    start = sgd.ensemble.replicate(dynamics, θ, None, KEY)
    return np.asarray(jax.jit(lambda: reference_kernel(dynamics, start, jnp.int32(steps)).position)())


# --- the limits in C ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("samples", "batch_size"), [(200, 10), pytest.param(37, 3, marks=pytest.mark.long)])
def test_the_c_limit_of_regression_makes_the_paths_of_the_library(samples, batch_size):
    descent = regression.descent(regression.Size(inputs=20, samples=samples, batch_size=batch_size))
    data, keys = descent.problem.data, limits.keys(KEY, 21)
    run = prepared(lambda: limits.regression(data, keys, regression.LEARNING_RATE, batch_size, 30))
    w = reference(descent, 21, 30)
    np.testing.assert_allclose(run(), w @ np.asarray(data.x).T - np.asarray(data.y), rtol=5e-6, atol=5e-6)
    assert np.abs(w).max() > 0.01


@pytest.mark.parametrize(("width", "depth"), [(12, 4), pytest.param(5, 2, marks=pytest.mark.long)])
def test_the_c_limit_of_the_deep_network_makes_the_paths_of_the_library(width, depth):
    problem, replicas = deep_linear.problem(width, depth), 21
    start = np.asarray(problem.parameters, np.float32).reshape(depth, width, width)
    weights, keys = np.broadcast_to(start, (replicas, *start.shape)), limits.keys(KEY, replicas)
    run = prepared(lambda: limits.deep_linear(weights, problem.data, keys, deep_linear.LEARNING_RATE, 30))
    expected = reference(deep_linear.descent(problem), replicas, 30).reshape(weights.shape)
    np.testing.assert_allclose(run(), expected, rtol=5e-6, atol=5e-6)
    assert np.abs(expected - start).max() > 0.01


def test_without_a_compiler_the_limit_is_skipped_by_name(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(Missing, match="no C compiler"):
        limits.library("regression", "-DANEW")


# --- peers make the same steps --------------------------------------------------------------------------------

REGRESSION = regression.Size(
    inputs=3, samples=6, batch_size=2, replicas=REPLICAS, jax_steps=STEPS, other_steps=STEPS, slow_steps=STEPS
)
DEEP = deep_linear.Size(width=3, depth=2, peers_work=REPLICAS * STEPS, torch_work=REPLICAS * STEPS)
TANH = tanh_network.Size(widths=(2, 3, 1), samples=6, batch_size=2, replicas=REPLICAS, steps=STEPS, torch_steps=STEPS)
SAME = {
    "regression": lambda: (regression.contenders(REGRESSION), regression.descent(REGRESSION), ""),
    "deep_linear": lambda: (
        deep_linear.contenders(DEEP, REPLICAS),
        deep_linear.descent(deep_linear.problem(3, 2)),
        f", R = {REPLICAS}",
    ),
    "tanh_network": lambda: (tanh_network.contenders(TANH), tanh_network.descent(tanh_network.problem(TANH), TANH), ""),
}


@pytest.mark.long
@pytest.mark.parametrize(
    ("benchmark", "name"),
    [
        ("regression", "NumPy"),
        ("regression", "vmap(scan), all cores"),
        ("regression", "PyTorch bmm"),
        ("regression", "PyTorch torch.func vmap(grad)"),
        ("deep_linear", "NumPy"),
        ("deep_linear", "vmap(scan(grad)), all cores"),
        ("deep_linear", "PyTorch bmm"),
        ("tanh_network", "PyTorch torch.func vmap(grad)"),
        ("tanh_network", "vmap(scan(grad)), all cores"),
    ],
)
def test_a_peer_has_the_moments_of_the_library(benchmark, name):
    contenders, descent, of = SAME[benchmark]()
    expected, found = reference(descent, REPLICAS, STEPS), prepared(contenders[name + of].prepare)()
    found = np.concatenate([np.asarray(leaf).reshape(*shape) for leaf, shape in parts(found, benchmark)], axis=1)
    spread = expected.std(axis=0)
    np.testing.assert_array_less(np.abs(found.mean(axis=0) - expected.mean(axis=0)), 8 * spread / REPLICAS**0.5 + 1e-6)
    np.testing.assert_allclose(found.std(axis=0), spread, rtol=0.25, atol=1e-6)


def parts(found, benchmark):
    """The leaves of what a peer leaves, and their shapes as [replicas, …]."""
    leaves = jax.tree.leaves(found)
    if benchmark == "deep_linear" and leaves[0].shape[0] == 2:  # layers first
        leaves = [layer for leaf in leaves for layer in leaf]
    return [(leaf, (REPLICAS, -1)) for leaf in leaves]


@pytest.mark.long
def test_torchsde_solves_the_equation_of_the_library():
    torch = prepared(lambda: throughput.peer("torch"))
    size = langevin.Size(width=4, depth=3)
    process = langevin.langevin(size)
    teacher = torch.from_numpy(np.array(process.problem.data.matrix))
    equation = langevin.equation_for_torch(torch, teacher, size.depth, size.width)
    θ = np.array(process.initial_position()) + 0.1
    z = np.random.default_rng(0).normal(size=(1, 2 * size.width**2))
    drift, kick = equation.f_and_g_prod(0.0, torch.from_numpy(θ[None]), torch.from_numpy(z))
    sources = tuple(jnp.asarray(z.reshape(2, size.width, size.width)))
    np.testing.assert_allclose(drift[0], process.drift(NOW, jnp.asarray(θ)), atol=1e-12)
    np.testing.assert_allclose(kick[0], process.diffusion(NOW, jnp.asarray(θ)).mv(sources), atol=1e-12)


@pytest.mark.long
def test_diffrax_solves_the_oscillators_of_the_library():
    size = oscillators.Size(inputs=4)
    process = oscillators.langevin(size)
    start, equation = process.problem.minimum(), oscillators.Equation.of(process)
    replicas = sgd.ensemble.replicate(
        *sgd.ensemble.cast((process, jnp.broadcast_to(start[None], (3, 4))), jnp.float32), None, KEY
    )
    ours = reference_kernel(sgd.ensemble.cast(process, jnp.float32), replicas, 12).position
    theirs = jnp.stack([equation.cheap_path(12, key) for key in replicas.keys])
    np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5)
    assert np.abs(ours - start[None].astype(jnp.float32)).max() > 1e-3


def test_the_exact_transitions_are_those_of_the_same_oscillators():
    process = oscillators.langevin(oscillators.Size(inputs=4))
    exact = oscillators.modes(process, stride=1e-4)
    dt, minimum = 1e-4 * oscillators.LEARNING_RATE, process.problem.minimum()
    F, Q = exact.transition()
    x = jnp.linspace(-1.0, 1.0, 8)
    θ, v = process.drift(NOW, (minimum + x[:4], x[4:]))
    np.testing.assert_allclose((F @ x - x) / dt, jnp.concatenate([θ, v]), rtol=1e-3, atol=1e-3)
    C = process.noise.covariance(minimum) * oscillators.LEARNING_RATE * oscillators.FORCE**2
    np.testing.assert_allclose(Q[4:, 4:] / dt, C, rtol=1e-3, atol=1e-3 * float(jnp.abs(C).max()))


# --- records and tables ---------------------------------------------------------------------------------------


def test_a_missing_peer_is_skipped_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    contenders = {"theirs": Contender(peers.torch, 1.0), "ours": Contender(lambda: lambda: 0, 1.0)}
    record = throughput.measure(contenders, quick=True, rounds=2) | {"base": "theirs"}
    assert record["skipped"] == {"theirs": "torch is not installed; pip install 'sgdynamics[bench]'"}
    assert set(record["contenders"]) == {"ours"}
    assert "skipped: theirs: torch is not installed" in throughput.table(record)


def test_the_floors_are_held_by_the_median_of_paired_rounds(monkeypatch):
    of = {"work": 10.0, "seconds": [1.0, 2.0, 4.0], "rate": 5.0}
    to = {"work": 1.0, "seconds": [1.0, 1.0, 1.0], "rate": 1.0}
    record = {"contenders": {"ours": of, "theirs": to}}
    rows = (("one", "ours", "theirs", 4.0, 6.0), ("one", "ours", "gone", 1.0, None), ("two", "", "", 1.0, None))
    monkeypatch.setattr(floors, "FLOORS", rows)
    held, missing = floors.hold({"one": record})
    assert held["measured"] == 5.0 and (held["lowest"], held["highest"]) == (2.5, 10.0)
    assert held["met"] is True and held["aim_met"] is False
    assert missing["measured"] is None and missing["met"] is None
    assert "| one | ours | theirs | 4 | 6 | 5 | 2.5 … 10 | yes |" in floors.table([held, missing])


def test_every_floor_names_contenders_that_there_are():
    there = {
        "regression": regression.contenders(regression.Size()),
        "deep_linear": deep_linear.contenders(deep_linear.Size(), 64),
        "langevin": langevin.contenders(langevin.Size()),
        "oscillators": oscillators.contenders(oscillators.Size(inputs=4)),
        "tanh_network": tanh_network.contenders(tanh_network.Size()),
    }
    for benchmark, of, to, least, aim in floors.FLOORS:
        assert {of, to} <= set(there[benchmark]) and (aim is None or aim > least)


def test_the_command_writes_records_ratios_and_a_picture(monkeypatch, tmp_path, capsys):
    fake = types.ModuleType("sgdynamics_benchmarks.fake")
    contenders = {"simulate": Contender(lambda: lambda: 0, 1.0), "peer": Contender(lambda: lambda: 0, 1.0)}
    fake.run = lambda quick, rounds: throughput.measure(contenders, quick=quick, rounds=rounds) | {"base": "peer"}
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    monkeypatch.setattr(sgdynamics_benchmarks, "BENCHMARKS", {"fake": "nothing at all"})
    monkeypatch.setattr("sgdynamics_benchmarks.runner.BENCHMARKS", {"fake": "nothing at all"})
    assert cli.main(["bench", "--quick", "--rounds", "3", "--out", str(tmp_path / "here")]) == 0
    record = json.loads((tmp_path / "here/fake.json").read_text())
    assert {"processor", "cores", "system", "device", "devices", "date", "versions"} <= set(record["machine"])
    assert {"jax", "diffrax", "numpy"} <= set(record["machine"]["versions"])
    assert all(len(contender["seconds"]) == 3 for contender in record["contenders"].values())
    assert json.loads((tmp_path / "here/ratios.json").read_text())["ratios"] == []
    assert (tmp_path / "here/fake.png").stat().st_size > 1000
    assert "nothing at all" in capsys.readouterr().out


def test_an_unknown_benchmark_is_refused(tmp_path, capsys):
    assert cli.main(["bench", "regresion", "--out", str(tmp_path / "x")]) == 2
    assert "there is no benchmark 'regresion'. There are regression, " in capsys.readouterr().err
    assert cli.main(["bench", "--rounds", "0", "--out", str(tmp_path / "x")]) == 2
    assert not (tmp_path / "x").exists()


# --- all of them, tiny ----------------------------------------------------------------------------------------

RATES = ("regression", "deep_linear", "langevin", "oscillators", "tanh_network", "epochs")


@pytest.mark.long
@pytest.mark.parametrize("name", RATES)
def test_every_contender_has_a_rate(name, tmp_path):
    module = sgdynamics_benchmarks.load(name)
    record = json.loads(json.dumps(module.run(quick=True, rounds=1)))
    rates = [contender["rate"] for contender in record["contenders"].values()]
    assert rates and np.all(np.isfinite(rates)) and np.min(rates) > 0
    optional = {"torch", "torchsde"} - {name for name in ("torch", "torchsde") if importlib.util.find_spec(name)}
    assert all(any(gone in reason for gone in optional) or "C" in reason for reason in record["skipped"].values())
    throughput.draw(record, tmp_path / "picture.png")
    assert throughput.table(record).count("\n") >= len(rates)


@pytest.mark.long
def test_other_numbers_compile_nothing():
    record = sgdynamics_benchmarks.load("compilation").run(quick=True)
    for row in record["rows"].values():
        first, *later = row["compilations"].values()
        assert first > 0 and later == [0, 0]


@pytest.mark.long
def test_memory_does_not_grow_with_steps():
    scaling = sgdynamics_benchmarks.load("scaling")
    few, many = (
        scaling.probe(regression.Size(inputs=4, samples=8, batch_size=2, replicas=64, steps=steps), devices=1, rounds=1)
        for steps in (1000, 200_000)
    )
    if few["peak_bytes"] is None:
        pytest.skip("this system does not tell a process its peak memory")
    # a trace of all steps would take 200 MB
    assert many["peak_bytes"] < few["peak_bytes"] + 60 * 2**20
