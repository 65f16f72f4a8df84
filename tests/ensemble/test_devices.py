"""Replicas on two host devices: the same paths, the same estimates, no collective. In a process of its own, because the
number of devices is set before JAX starts."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from sgdynamics.ensemble import _compiled, _devices
from sgdynamics.statistics import Groups

SCRIPT = r"""
import json, re, sys
import jax
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
import jax.numpy as jnp
import numpy as np
import sgdynamics as sgd
from sgdynamics.ensemble import _kernels, _simulate
from sgdynamics.samplers import Epochs

compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda name, seconds, **_: compiled.append(name) if "backend_compile" in name else None
)
KEY = jax.random.key(3)
S = sgd.statistics
data = sgd.data.teacher_student(KEY, samples=40, inputs=6, label_noise_std=0.5)
regression = sgd.Problem(sgd.networks.Linear(6, 1), data)
wide = sgd.data.teacher_student(KEY, samples=40, inputs=16, label_noise_std=0.5)  # as many as replicas
square = sgd.Problem(sgd.networks.Linear(16, 1), wide)
network = sgd.Problem(sgd.networks.MLP((6, 4, 1), jnp.tanh, key=KEY), data)
linear = sgd.Problem(sgd.networks.DeepLinear((3, 3, 3), key=KEY), sgd.data.Teacher(np.eye(3), 0.3))

def cases(η):
    return {
        "regression": sgd.SGD(regression, learning_rate=η, sampler=4, momentum=0.5),
        "epochs": sgd.SGD(regression, learning_rate=η, sampler=Epochs(4)),
        "as many parameters as replicas": sgd.SGD(square, learning_rate=η, sampler=4),
        "network": sgd.SGD(network, learning_rate=η, sampler=4),
        "Langevin": sgd.Langevin(network, learning_rate=η, sampler=4, substeps=1),
        "deep linear": sgd.SGD(linear, learning_rate=η, sampler=sgd.samplers.Online(1)),
    }

STATISTICS = {
    "mean": S.Mean(), "covariance": S.Covariance(), "snapshot": S.Snapshots((9,)),
    "lagged": S.Autocovariance(tuple(range(0, 24, 3))),  # as many lags as groups
}

def simulated(dynamics, steps=33):
    return sgd.simulate(
        dynamics, STATISTICS, replicas=16, groups=8, steps=steps, every=3, burn_in=7, key=KEY, dtype=jnp.float64
    )

def program(dynamics):
    dtype = jnp.dtype(jnp.float32)
    kernel = _kernels.choose(dynamics, every=3, dtype=dtype)
    dynamics, statistics, kernel = _simulate.cast((dynamics, STATISTICS, kernel), dtype)
    run = _simulate.Run(dynamics, statistics, kernel, 16, 33, 0, 3, 8)
    start = jnp.tile(dynamics.initial_position()[None], (16, 1))
    number = _simulate._int
    replicas, sums = run.started(start, None, None, KEY, lambda steps: None)
    arguments = (run.dynamics, run.statistics, replicas, sums, number(0), number(11), number(3), run.kernel)
    return _simulate._evolve.lower(*arguments).compile().compiled.as_text()

out = {}
for name, dynamics in cases(0.05).items():
    result = simulated(dynamics)
    before = len(compiled)
    simulated(cases(0.06)[name], 36)
    anew = len(compiled) - before
    text = program(dynamics) if name in ("epochs", "as many parameters as replicas", "deep linear") else " while("
    kinds = "infeed|outfeed|send|recv|all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter"
    out[name] = {
        "devices": result.provenance["devices"],
        "placed": [len(x.devices()) for x in jax.tree.leaves(result.state)],
        "numbers": [np.asarray(x).ravel().tolist() for x in jax.tree.leaves((result.state, [
            (e.value, e.standard_error) for n, e in sorted(result.estimates.items()) if n != "snapshot"]))],
        "compiled anew": anew,
        "loops": len(re.findall(" while[(]", text)),
        "outside": re.findall(rf" ({kinds})(?:-start)?[(]", text),
    }
print(json.dumps(out))
"""


def ran(devices):
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(devices)], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.long
def test_two_devices_make_what_one_makes():
    one, two = ran(1), ran(2)
    for name in one:
        assert (one[name]["devices"], two[name]["devices"]) == (1, 2)
        assert set(two[name]["placed"]) == {1}  # results are as if one device had made them
        for a, b in zip(one[name]["numbers"], two[name]["numbers"], strict=True):
            a, b = np.array(a, float), np.array(b, float)
            assert np.abs(a - b).max() <= 1e-11 * max(1, np.abs(a).max()), name
        assert two[name]["compiled anew"] == 0, name
        assert two[name]["loops"] > 0 and two[name]["outside"] == [], name


def test_one_device_is_not_spread_over():
    assert jax.device_count() > 1 or _devices.mesh_for(Groups(64, 32)) is None


@pytest.mark.parametrize("replicas, groups", [(33, 32), (5, 32), (64, 31)])
def test_what_does_not_divide_stays_on_fewer_devices(monkeypatch, replicas, groups):
    class Device:
        platform = "cpu"

    monkeypatch.setattr(jax, "devices", lambda: [Device()] * 3)
    assert _devices.mesh_for(Groups(replicas, groups)) is None


@pytest.mark.parametrize("devices", [1, 2])
def test_products_stay_in_one_thread_where_cores_are_devices(monkeypatch, devices):
    monkeypatch.setattr(jax, "local_device_count", lambda: devices)
    found = _compiled.options.__wrapped__()
    assert found.items() >= _compiled.WIDE_VECTORS.items()
    assert (found.items() >= _compiled.ONE_THREAD.items()) == (devices > 1)


def test_options_that_the_compiler_does_not_know_are_left_out(monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    monkeypatch.setattr(_compiled, "WIDE_VECTORS", {"xla_no_such_option": 1})
    assert _compiled.options.__wrapped__() == {}
