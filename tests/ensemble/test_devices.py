"""Replicas on several devices and in several processes: the same paths, the same estimates, no collective in the loop.
In processes of their own, because the number of devices is set before JAX starts."""

import json
import os
import pathlib
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

from sgdynamics.ensemble import _compiled, _devices
from sgdynamics.statistics import Groups

SCRIPT = r"""
import json, re, sys
import jax
devices, process, processes, port, replicas, groups, *names = sys.argv[1:]
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", int(devices))
if int(processes) > 1:
    jax.distributed.initialize("127.0.0.1:" + port, int(processes), int(process))
import jax.numpy as jnp
import numpy as np
import sgdynamics as sgd
from every_statistic import every_statistic
from sgdynamics.ensemble import _pieces
from sgdynamics.samplers import Epochs

compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda name, seconds, **_: compiled.append(name) if "backend_compile" in name else None
)
KEY = jax.random.key(3)
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
        "underdamped": sgd.UnderdampedLangevin(regression, learning_rate=η, momentum=0.5, sampler=4, substeps=1),
        "deep linear": sgd.SGD(linear, learning_rate=η, sampler=sgd.samplers.Online(1)),
    }

def simulated(dynamics, steps=33):
    statistics = every_statistic(dynamics.problem, velocities=dynamics.takes_velocity)
    if dynamics.problem is square:
        statistics = {"lagged": sgd.statistics.Autocovariance(tuple(range(0, 24, 3)))}  # as many lags as groups
    sizes = {"replicas": int(replicas), "groups": int(groups), "steps": steps, "every": 3, "burn_in": 7}
    return sgd.simulate(dynamics, statistics, key=KEY, dtype=jnp.float64, **sizes)

programs = []
def watched(piece):
    def call(*arguments):
        programs.append(lambda: piece.lower(*arguments).compile().compiled.as_text())
        return piece(*arguments)
    return call
_pieces._evolve_shares = watched(_pieces._evolve_shares)
_pieces._advance_shares = watched(_pieces._advance_shares)

def leaves(tree):
    return [np.asarray(x, float).ravel().tolist() for x in jax.tree.leaves(tree)]

out = {}
kinds = "infeed|outfeed|send|recv|all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter"
for name in names:
    result = simulated(cases(0.05)[name])
    before = len(compiled)
    simulated(cases(0.06)[name], 36)
    anew = len(compiled) - before
    text = "".join(program() for program in (programs[0], programs[-1])) if programs else ""
    programs.clear()
    out[name] = {
        "devices": result.provenance["devices"],
        "processes": result.provenance["processes"],
        "placed": [len(x.devices()) for x in jax.tree.leaves(result.state)],
        "state": leaves(result.state),
        "estimates": {name: leaves(e) for name, e in result.estimates.items()},
        "compiled anew": anew,
        "loops": len(re.findall(" while[(]", text)),
        "outside": re.findall(rf" ({kinds})(?:-start)?[(]", text),
    }
# the control: a loop with a sum over devices in it is found out
if jax.process_count() == 1 < jax.device_count():
    mesh = jax.make_mesh((jax.device_count(),), ("replicas",), axis_types=(jax.sharding.AxisType.Auto,))
    P = jax.sharding.PartitionSpec
    total = lambda x: jax.lax.fori_loop(0, 9, lambda i, x: x + jax.lax.psum(x, "replicas"), x)
    summed = jax.jit(jax.shard_map(total, mesh=mesh, in_specs=P("replicas"), out_specs=P("replicas")))
    out["control"] = re.findall(rf" ({kinds})(?:-start)?[(]", summed.lower(jnp.zeros(16)).compile().as_text())
print("result " + json.dumps(out))
"""
NAMES = ("regression", "epochs", "as many parameters as replicas", "network", "Langevin", "underdamped", "deep linear")


def ran(*names, devices=1, processes=1, replicas=16, groups=8):
    """What each process says of a run on so many devices of its own."""
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    environment["PYTHONPATH"] = str(pathlib.Path(__file__).parent)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    numbers = lambda process: map(str, (devices, process, processes, port, replicas, groups))
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *numbers(process), *names],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )
        for process in range(processes)
    ]  # fmt: skip
    try:
        # all at once: one that cannot get rid of what it says would keep the others waiting for it at the end
        with ThreadPoolExecutor(processes) as readers:
            said = list(readers.map(lambda process: process.communicate(timeout=600), running))
    finally:
        for process in running:
            process.kill()
    for process, (_, errors) in zip(running, said, strict=True):
        assert process.returncode == 0, errors[-3000:]
    results = [next(line for line in out.splitlines() if line.startswith("result ")) for out, _ in said]
    return [json.loads(line.removeprefix("result ")) for line in results]


def distance(a, b):
    """The largest difference, relative to the largest number; nan and inf must be in the same places."""
    a, b = np.array(a, float), np.array(b, float)
    assert np.array_equal(np.isnan(a), np.isnan(b)) and np.array_equal(np.isinf(a), np.isinf(b))
    finite = np.isfinite(a)
    return np.abs(a - b)[finite].max(initial=0.0) / max(1.0, np.abs(a[finite]).max(initial=0.0))


def assert_same(one, many):
    for name, expected in one.items():
        found = many[name]
        assert set(found["placed"]) == {1}  # results are as if one device had made them
        assert max(map(distance, expected["state"], found["state"])) <= 1e-12, name
        for statistic, numbers in expected["estimates"].items():
            assert max(map(distance, numbers, found["estimates"][statistic])) <= 1e-9, (name, statistic)


SIZES = [
    (2, 16, 8, NAMES),
    (8, 33, 32, ("regression", "Langevin")),
    (8, 5, 32, ("underdamped",)),
    (2, 13, 5, ("epochs", "deep linear")),
]


@pytest.mark.long
@pytest.mark.parametrize("devices, replicas, groups, names", SIZES)
def test_many_devices_make_what_one_makes(devices, replicas, groups, names):
    ((one,), (many,)) = (ran(*names, devices=n, replicas=replicas, groups=groups) for n in (1, devices))
    assert many.pop("control")
    assert_same(one, many)
    for name in names:
        assert one[name]["devices"] == 1 < many[name]["devices"] <= devices
        assert many[name]["compiled anew"] == 0, name
        assert many[name]["loops"] > 0 and many[name]["outside"] == [], name


@pytest.mark.long
@pytest.mark.parametrize("processes, devices, replicas, groups", [(2, 1, 16, 8), (2, 2, 13, 5), (4, 1, 33, 32)])
def test_many_processes_make_what_one_makes(processes, devices, replicas, groups):
    names = ("regression", "Langevin", "underdamped")
    (one,) = ran(*names, replicas=replicas, groups=groups)
    many = ran(*names, devices=devices, processes=processes, replicas=replicas, groups=groups)
    for each in many:
        assert_same(one, each)
        for name in names:
            assert (each[name]["devices"], each[name]["processes"]) == (processes * devices, processes)
            assert each[name]["loops"] > 0 and each[name]["outside"] == [], name
    assert all(each == many[0] for each in many)  # every process has the whole result


@pytest.mark.parametrize(
    "replicas, groups, devices, used",
    [(64, 32, 8, 8), (64, 32, 3, 3), (33, 32, 2, 1), (33, 32, 8, 8), (5, 32, 8, 5), (1, 32, 8, 1), (64, 1, 8, 1)],
)
def test_as_many_devices_as_shorten_the_work(replicas, groups, devices, used):
    assert _devices.worth_using(Groups(replicas, groups), devices) == used


def test_a_device_that_the_user_has_chosen_does_it_all():
    with jax.default_device(jax.devices()[0]):
        assert _devices.mesh_for(Groups(64, 32), None) is None


def test_what_is_no_mesh_is_refused():
    with pytest.raises(ValueError, match=r"mesh is 8, but it must be a jax.sharding.Mesh"):
        _devices.check_mesh(8)


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
