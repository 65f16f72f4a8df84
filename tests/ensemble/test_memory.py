"""Memory: the estimate against the compiler's and against what a run really takes; the refusal and what it suggests."""

import os
import re
import subprocess
import sys
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics.ensemble import _memory, memory
from sgdynamics.statistics import Groups

KEY = jax.random.key(5)
S = sgd.statistics
GiB = 2**30


def descent(inputs=3, sampler=4):
    data = sgd.data.teacher_student(KEY, samples=20, inputs=inputs, label_noise_std=0.5)
    return sgd.SGD(sgd.Problem(sgd.networks.Linear(inputs, 1), data), learning_rate=0.1, sampler=sampler)


def having(monkeypatch, number):
    monkeypatch.setattr(_memory, "available", lambda device: number)


def test_states_and_sums_are_counted():
    found = memory(descent(), {"one": S.Covariance(), "two": S.Mean()}, replicas=1024, groups=8)
    one_state = 3 * 4 + 3 * 4 + 8 + 1  # position, velocity, key, alive
    assert found.phases["records"]["states"] == 4 * (1024 * one_state + 4)
    opened = S.Covariance().init(sgd.State(jnp.zeros((16, 3), jnp.float32)), jnp.ones(16, bool), Groups(16, 8),
                                 S.Records(10))  # fmt: skip
    assert found.phases["records"]["sums of Covariance['one']"] == 3 * sum(x.nbytes for x in jax.tree.leaves(opened))
    assert found.total == sum(found.parts.values()) == max(sum(parts.values()) for parts in found.phases.values())
    table = str(found).splitlines()
    assert table[0].split() == ["MiB", "start", "opening", "records", "end"] and table[-1].startswith("total")


def test_nothing_is_allocated():
    before = len(jax.live_arrays())
    assert memory(descent(), S.Covariance(), replicas=10**9).total > 100 * GiB
    assert len(jax.live_arrays()) <= before + 8  # data and weights alone


def test_it_grows_with_the_replicas():
    sizes = [memory(descent(), S.Mean(), replicas=n).total for n in (10**4, 10**5, 10**6)]
    assert sizes[0] * 9 < sizes[1] < sizes[2] / 9


@pytest.mark.parametrize("kernel", [sgd.ensemble.reference_kernel, None])
@pytest.mark.parametrize("statistic", [S.Mean(), S.Covariance()])
def test_the_workspace_is_what_the_compiler_says(kernel, statistic):
    dynamics = descent(20)
    kernel = kernel or sgd.ensemble.choose(dynamics, every=4, dtype=jnp.float32)
    run = _memory._Run(dynamics, statistic, kernel, 4, np.dtype(np.float32), None)
    groups = Groups(2048, 32)
    arguments = (run.dynamics, run.statistics, run.kernel, run._replicas(2048), run._opened(statistic, groups))
    shapes, static = eqx.partition(arguments, lambda x: isinstance(x, jax.ShapeDtypeStruct))
    program = lambda n, shapes: jax.tree.leaves(
        eqx.filter(_memory._loop(*eqx.combine(shapes, static), n), eqx.is_array)
    )
    compiled = jax.jit(program).lower(jax.ShapeDtypeStruct((), jnp.int32), shapes).compile()
    said = compiled.memory_analysis().temp_size_in_bytes
    assert 0.7 * said < run.workspace(groups) < 2.5 * said


def test_what_does_not_fit_is_refused_with_numbers_and_a_size_that_fits(monkeypatch):
    sizes = {"steps": 4, "key": KEY, "every": 2}
    having(monkeypatch, GiB // 2)
    with pytest.raises(ValueError, match=r"replicas = 100000000 need .* GiB .*states .* GiB.* but 0.5 GiB") as refusal:
        sgd.simulate(descent(), S.Mean(), replicas=10**8, **sizes)
    suggested = int(re.search(r"At most (\d+) replicas fit", str(refusal.value))[1])
    assert suggested > 10**5
    kernel = sgd.ensemble.choose(descent(), every=2, dtype=jnp.float32)
    rest = (2, np.dtype(np.float32), kernel, None)
    _memory.check(descent(), S.Mean(), Groups(suggested, 32), *rest)
    with pytest.raises(ValueError, match="At most"):  # and not far below what there is
        _memory.check(descent(), S.Mean(), Groups(int(1.1 * suggested), 32), *rest)


def test_where_sums_weigh_most_fewer_groups_are_suggested_that_fit(monkeypatch):
    having(monkeypatch, GiB // 2)
    dynamics, statistic = descent(900), S.Covariance()
    rest = (2, np.dtype(np.float32), sgd.ensemble.reference_kernel, None)
    with pytest.raises(ValueError, match=r"sums of Covariance .* GiB.*of=statistics.Projection") as refusal:
        _memory.check(dynamics, statistic, Groups(64, 32), *rest)
    suggested = int(re.search(r"in groups = (\d+)", str(refusal.value))[1])
    assert 2 <= suggested < 32
    _memory.check(dynamics, statistic, Groups(64, suggested), *rest)
    few = Groups(int(re.search(r"At most (\d+) replicas fit", str(refusal.value))[1]), 32)
    _memory.check(dynamics, statistic, few, *rest)


def test_where_nothing_fits_that_is_said(monkeypatch):
    having(monkeypatch, 1000)
    with pytest.raises(ValueError, match="Not even one replica fits"):
        _memory.check(descent(900), S.Covariance(), Groups(64, 32), 1, np.dtype(np.float32),
                      sgd.ensemble.reference_kernel, None)  # fmt: skip


def test_devices_that_do_not_tell_are_not_asked(monkeypatch):
    having(monkeypatch, None)
    _memory.check(descent(), S.Mean(), Groups(10**12, 32), 1, np.dtype(np.float32), sgd.ensemble.reference_kernel, None)


@pytest.mark.parametrize("stats, left", [(None, None), ({"bytes_in_use": 3}, None),
                                         ({"bytes_limit": 10, "bytes_in_use": 3}, 7)])  # fmt: skip
def test_what_an_accelerator_has_left(stats, left):
    class Device:
        platform = "gpu"

        def memory_stats(self):
            return stats

    assert _memory.available(Device()) == left


def container(tmp_path, monkeypatch, membership, files):
    (tmp_path / "membership").write_text(membership)
    for name, content in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(content))
    monkeypatch.setattr(_memory, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(_memory, "MEMBERSHIP", tmp_path / "membership")
    return sorted(_memory._left_in_containers())


def test_what_a_container_has_left(tmp_path, monkeypatch):
    files = {
        "a/b/memory.max": "max", "a/b/memory.current": 50, "a/memory.max": 1000, "a/memory.current": 700,
        "a/memory.stat": "anon 5\ninactive_file 100\nactive_file 9\n",
    }  # fmt: skip
    assert container(tmp_path, monkeypatch, "0::/a/b\n", files) == [400]
    assert _memory.available(jax.devices()[0]) == 400


def test_what_a_container_of_the_old_kind_has_left(tmp_path, monkeypatch):
    files = {"memory/memory.limit_in_bytes": 1000, "memory/memory.usage_in_bytes": 1200}
    # the group itself is not to be seen from inside
    assert container(tmp_path, monkeypatch, "9:name=systemd:/\n4:memory:/elsewhere/x\n0::/\n", files) == [0]


def test_where_there_is_no_container(tmp_path, monkeypatch):
    assert container(tmp_path, monkeypatch, "", {}) == []
    (tmp_path / "membership").unlink()
    assert list(_memory._left_in_containers()) == []
    assert _memory.available(jax.devices()[0]) > 0


def test_a_small_run_is_checked_in_no_time():
    dynamics = descent()
    kernel = sgd.ensemble.choose(dynamics, every=1, dtype=jnp.float32)
    checked = lambda: _memory.check(dynamics, S.Covariance(), Groups(1000, 32), 1, np.dtype(np.float32), kernel, None)
    checked()
    seconds = []
    for _ in range(20):
        began = time.perf_counter()
        checked()
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.02


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="replicas = 0"):
        memory(descent(), S.Mean(), replicas=0)
    with pytest.raises(ValueError, match="the size of the sums"):
        memory(descent(1200), S.Covariance(), replicas=64)


SCRIPT = r"""
import sys, threading, time
import jax
import jax.numpy as jnp
devices, replicas, inputs, name = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
jax.config.update("jax_num_cpu_devices", devices)
import psutil
import sgdynamics as sgd
key = jax.random.key(0)
data = sgd.data.teacher_student(key, samples=200, inputs=inputs, label_noise_std=0.5)
dynamics = sgd.SGD(sgd.Problem(sgd.networks.Linear(inputs, 1), data), learning_rate=0.01, sampler=10)
statistic = getattr(sgd.statistics, name)()
kernel = sgd.ensemble.choose(dynamics, every=4, dtype=jnp.float32)
run = lambda n: sgd.simulate(dynamics, statistic, replicas=n, steps=8, key=key, kernel=kernel, burn_in=64, every=4)
run(64)
resident = psutil.Process().memory_info
before, peak, over = resident().rss, 0, False
def watch():
    global peak
    while not over:
        peak = max(peak, resident().rss)
        time.sleep(0.002)
thread = threading.Thread(target=watch)
thread.start()
run(replicas)
over = True
thread.join()
needed = sgd.ensemble.memory(dynamics, statistic, replicas=replicas, kernel=kernel, every=4).total
print("ratio", needed / (peak - before))
"""


@pytest.mark.long
@pytest.mark.parametrize("devices, replicas, inputs, statistic", [
    (1, 200_000, 50, "Mean"), (1, 4096, 400, "Covariance"), (2, 200_000, 50, "Mean"), (2, 4096, 400, "Covariance"),
])  # fmt: skip
def test_the_estimate_is_what_a_run_takes(devices, replicas, inputs, statistic):
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    arguments = [sys.executable, "-c", SCRIPT, *map(str, (devices, replicas, inputs)), statistic]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert 0.85 < float(done.stdout.split("ratio ")[1]) < 1.6
