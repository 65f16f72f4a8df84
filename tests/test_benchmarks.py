"""The benchmarks: contenders do the same work, records are complete, missing peers are named, ratios are held."""

import functools
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
    derivatives,
    langevin,
    limits,
    must_hold,
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
    monkeypatch.setenv("CC", "no-such-compiler -m64")
    with pytest.raises(Missing, match=r"no C compiler \(no-such-compiler\)"):
        limits.library("regression", "-DANEW")


def test_a_compiler_that_does_not_end_is_skipped_by_name(monkeypatch, tmp_path):
    (tmp_path / "slow").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "slow").chmod(0o755)
    monkeypatch.setenv("CC", f"{tmp_path}/slow -m64")
    monkeypatch.setattr(limits, "SECONDS", 0.1)
    with pytest.raises(Missing, match=r"slow cannot be run: .* timed out"):
        limits.library("regression", "-DANEW")


def test_a_library_that_cannot_be_loaded_is_skipped_by_name(monkeypatch, tmp_path):
    (tmp_path / "idle").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "idle").chmod(0o755)
    monkeypatch.setenv("CC", f"{tmp_path}/idle")
    with pytest.raises(Missing, match="cannot be loaded"):
        limits.library("regression", "-DANEW")


def test_the_limit_leaves_subnormal_numbers_as_they_are():
    prepared(lambda: limits.library("regression"))
    assert np.float32(1.2e-38) * np.float32(0.5) > 0


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
        ("regression", "PyTorch embedding_bag"),
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
    found = prepared(contenders[name + of].prepare)()
    found = np.concatenate([np.asarray(leaf).reshape(*shape) for leaf, shape in parts(found, benchmark)], axis=1)
    have_the_same_moments(found, reference(descent, REPLICAS, STEPS))


@pytest.mark.long
def test_other_noise_has_other_moments(monkeypatch):
    expected = reference(deep_linear.descent(deep_linear.problem(3, 2)), REPLICAS, STEPS)
    monkeypatch.setattr(deep_linear, "LABEL_NOISE", 0.0)
    found = prepared(deep_linear.contenders(DEEP, REPLICAS)[f"NumPy, R = {REPLICAS}"].prepare)()
    with pytest.raises(AssertionError):
        have_the_same_moments(found.swapaxes(0, 1).reshape(REPLICAS, -1), expected)


def have_the_same_moments(found, expected):
    """Of 2,048 replicas, the spread is known to 1.6 %: six standard errors."""
    spread = expected.std(axis=0)
    np.testing.assert_array_less(np.abs(found.mean(axis=0) - expected.mean(axis=0)), 8 * spread / REPLICAS**0.5 + 1e-6)
    np.testing.assert_allclose(found.std(axis=0), spread, rtol=0.1, atol=1e-6)


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


def test_the_ratios_are_held_by_the_median_of_paired_rounds(monkeypatch):
    of = {"work": 10.0, "seconds": [1.0, 2.0, 4.0], "rate": 5.0}
    to = {"work": 1.0, "seconds": [1.0, 1.0, 1.0], "rate": 1.0}
    record = {"contenders": {"ours": of, "theirs": to}}
    Row = must_hold.Row
    rows = (Row("one", "ours", "theirs", 4.0, 6.0), Row("one", "ours", "gone", 1.0), Row("two", "", "", 1.0))
    elsewhere, rate = Row("one", "ours", "theirs", 4.0, platform="gpu"), Row("one", "ours", None, 5.0)
    monkeypatch.setattr(must_hold, "ROWS", (*rows, elsewhere, rate))
    held, missing, not_here, alone = must_hold.hold({"one": record})
    assert held["measured"] == 5.0 and (held["lowest"], held["highest"]) == (2.5, 10.0)
    assert held["met"] is True and held["aim_met"] is False
    assert missing["measured"] is None and missing["met"] is None
    assert not_here["measured"] is None and not_here["met"] is None
    assert alone["measured"] == 5.0 and alone["met"] is True
    assert "| one | ours | theirs | 4 | 6 | 5 | 2.5 … 10 | yes, not the aim |" in must_hold.table([held, missing])
    assert "not measured: no CUDA device" in must_hold.table([not_here])


def test_every_ratio_names_contenders_that_there_are():
    there = {
        "regression": regression.contenders(regression.Size()),
        "deep_linear": deep_linear.contenders(deep_linear.Size(), 64) | deep_linear.on_cuda(deep_linear.Size()),
        "langevin": langevin.contenders(langevin.Size()),
        "oscillators": oscillators.contenders(oscillators.Size(inputs=4)),
        "tanh_network": tanh_network.contenders(tanh_network.Size()),
        "derivatives": derivatives.contenders(),
    }
    for row in must_hold.ROWS:
        assert {row.contender, row.against} - {None} <= set(there[row.benchmark])
        assert row.aim is None or row.at_least is None or row.aim > row.at_least


def test_without_a_gpu_its_contenders_are_skipped_by_name():
    contenders = deep_linear.on_cuda(deep_linear.QUICK)
    if jax.default_backend() == "gpu":
        pytest.skip("there is one")
    skipped = throughput.measure(contenders, quick=True, rounds=1)["skipped"]
    assert skipped == dict.fromkeys(contenders, "no CUDA device")


def test_replicas_that_diverge_are_an_error():
    problem = regression.descent(regression.QUICK).problem
    run = peers.simulated(sgd.SGD(problem, learning_rate=1e3, sampler=2), replicas=32, steps=40, every=20).prepare()
    with pytest.warns(UserWarning, match="diverged"), pytest.raises(FloatingPointError, match="32 of 32 replicas"):
        run()


def test_the_record_says_how_simulate_ran():
    run = peers.simulated(regression.descent(regression.QUICK), replicas=32, steps=40, every=20)
    details = throughput.measure({"simulate": run}, quick=True, rounds=1)["contenders"]["simulate"]["details"]
    assert details == {"kernel": "ResidualKernel", "devices": 1, "dtype": "float32"}


@pytest.mark.parametrize("replicas", [1, 7, 12])
def test_any_number_of_replicas_is_shared_out(monkeypatch, replicas):
    monkeypatch.setattr(jax, "device_count", lambda: 5)
    found = []
    monkeypatch.setattr(jax, "devices", lambda: list(range(5)))
    monkeypatch.setattr(jax, "make_mesh", lambda shape, *_, **options: found.append((shape, options["devices"])))
    monkeypatch.setattr(jax, "shard_map", lambda f, **_: f)
    peers.on_all_devices(lambda key: key, replicas)
    number = {1: 1, 7: 1, 12: 4}[replicas]
    assert found == [((number,), list(range(number)))]


def benchmarks(monkeypatch, **runs):
    """In the place of all benchmarks, these."""
    for name, run in runs.items():
        module = types.ModuleType(f"sgdynamics_benchmarks.{name}")
        module.run = run
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(sgdynamics_benchmarks, "BENCHMARKS", dict.fromkeys(runs, "nothing at all"))
    monkeypatch.setattr("sgdynamics_benchmarks.runner.BENCHMARKS", dict.fromkeys(runs, "nothing at all"))


def nothing(quick, rounds):
    contenders = {"simulate": Contender(lambda: lambda: 0, 1.0), "peer": Contender(lambda: lambda: 0, 1.0)}
    return throughput.measure(contenders, quick=quick, rounds=rounds) | {"base": "peer"}


def failing(quick, rounds):
    raise RuntimeError("out of luck")


def test_the_command_writes_records_ratios_and_a_picture(monkeypatch, tmp_path, capsys):
    benchmarks(monkeypatch, fake=nothing)
    assert cli.main(["bench", "--quick", "--rounds", "3", "--out", str(tmp_path / "here")]) == 0
    record = json.loads((tmp_path / "here/fake.json").read_text())
    told = {
        "processor",
        "cores",
        "memory_bytes",
        "system",
        "device",
        "devices",
        "load",
        "date",
        "environment",
        "commit",
    }
    assert told | {"versions"} <= set(record["machine"])
    assert {"jax", "diffrax", "numpy"} <= set(record["machine"]["versions"])
    assert all(len(contender["seconds"]) == 3 for contender in record["contenders"].values())
    assert json.loads((tmp_path / "here/ratios.json").read_text())["ratios"] == []
    assert (tmp_path / "here/fake.png").stat().st_size > 1000
    assert "10⁶ replica-steps/s" in (tmp_path / "here/fake.md").read_text()
    assert "nothing at all" in capsys.readouterr().out


def test_a_benchmark_that_fails_does_not_stop_the_others(monkeypatch, tmp_path, capsys):
    benchmarks(monkeypatch, bad=failing, good=nothing)
    assert cli.main(["bench", "--rounds", "1", "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "bad failed:" in said and "out of luck" in said and "failed: bad" in said
    assert {path.name for path in tmp_path.glob("*.json")} == {"good.json", "ratios.json"}


def test_ratios_of_other_benchmarks_are_kept(monkeypatch, tmp_path):
    benchmarks(monkeypatch, one=nothing, two=nothing)
    monkeypatch.setattr(must_hold, "ROWS", [must_hold.Row(name, "simulate", "peer", 0.0) for name in ("one", "two")])
    ratios = lambda: {
        row["benchmark"]: row["measured"] for row in json.loads((tmp_path / "ratios.json").read_text())["ratios"]
    }
    assert cli.main(["bench", "--rounds", "3", "--out", str(tmp_path)]) == 0
    before = ratios()
    assert cli.main(["bench", "two", "--rounds", "3", "--out", str(tmp_path)]) == 0
    assert list(ratios()) == ["one", "two"]
    assert ratios()["one"] == before["one"] and ratios()["two"] != before["two"]


def test_tiny_sizes_have_a_folder_of_their_own(monkeypatch, tmp_path):
    benchmarks(monkeypatch, fake=nothing)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bench", "--quick"]) == 0
    assert (tmp_path / "results/bench-quick/fake.json").exists() and not (tmp_path / "results/bench").exists()


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
    assert all(map(may_be_missing, record["skipped"].items()))
    throughput.draw(record, tmp_path / "picture.png")
    assert throughput.table(record).count("\n") >= len(rates)


def may_be_missing(skipped):
    """Whether this machine has not what a contender was skipped for."""
    name, reason = skipped
    if "CUDA" in name:
        return reason == "no CUDA device" and jax.default_backend() != "gpu"
    if "C limit" in name:
        return reason == (no_compiler() or "there is one")
    gone = [package for package in ("torch", "torchsde") if not importlib.util.find_spec(package)]
    return reason in [f"{package} is not installed; pip install 'sgdynamics[bench]'" for package in gone]


@functools.cache
def no_compiler():
    """Why there is none."""
    try:
        limits.compiler()
    except Missing as missing:
        return str(missing)
    return None


@pytest.mark.long
def test_the_cost_of_derivatives_is_measured():
    record = derivatives.run(quick=True)
    assert len(record["contenders"]) == 15 and not record["skipped"]
    assert record["contenders"]["simulate, backwards, tanh network"]["details"]["temporary_bytes"] > 0
    assert len(derivatives.table(record).splitlines()) == 16


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
