"""The replicas' loop as a pure function: addressed draws, pieces, derivatives, and what its program contains."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics.data import Dataset
from sgdynamics.ensemble import advance, evolve, replicate
from sgdynamics.ensemble._pieces import _evolve, _open
from sgdynamics.samplers import Epochs
from sgdynamics.statistics import Covariance, Groups, Mean, Records

RNG = np.random.default_rng(0)
KEY = jax.random.key(8)
PROBLEM = sgd.Problem(sgd.networks.Linear(3, 1), Dataset(RNG.normal(size=(12, 3)), RNG.normal(size=12)))


def descent(learning_rate=0.1, sampler=3):
    return sgd.SGD(PROBLEM, learning_rate=learning_rate, sampler=sampler, momentum=0.5)


def started(dynamics, replicas):
    return replicate(dynamics, jnp.ones((replicas, 3)), None, KEY)


def opened(statistic, replicas, records, every=1):
    return statistic.init(replicas.states, replicas.alive, Groups(replicas.alive.size, 4), Records(records, every))


@pytest.mark.parametrize("sampler", [3, Epochs(4)])
def test_a_replicas_path_is_the_readable_step_with_its_own_key(sampler):
    dynamics = descent(sampler=sampler)
    end = jax.jit(lambda: advance(dynamics, started(dynamics, 5), 9))()
    state, key = dynamics.init(jnp.ones(3)), jax.random.fold_in(KEY, 3)
    step = jax.jit(lambda state, k: dynamics.step(state, k, key))
    for k in range(9):
        state = step(state, jnp.int32(k))
    assert jnp.abs(end.states.position[3] - state.position).max() < 1e-14
    assert int(end.step) == 9 and end.alive.all()


def test_a_replicas_path_does_not_know_how_many_run_beside_it():
    dynamics = descent()
    few, many = (jax.jit(lambda n=n: advance(dynamics, started(dynamics, n), 20))() for n in (3, 50))
    assert jnp.abs(few.states.position - many.states.position[:3]).max() < 1e-14
    assert len(set(np.asarray(many.states.position[:, 0]).tolist())) == 50


def test_steps_as_an_integer_and_as_an_array_are_the_same():
    dynamics = descent()
    loop = jax.jit(lambda n: advance(dynamics, started(dynamics, 3), n))(jnp.int32(20))
    scan = jax.jit(lambda: advance(dynamics, started(dynamics, 3), 20))()
    assert jnp.abs(loop.states.position - scan.states.position).max() < 1e-14


def test_a_run_in_pieces_is_the_run_in_one_to_the_last_bit():
    dynamics, statistic = descent(sampler=Epochs(4)), Covariance()
    start = started(dynamics, 8)

    def run(*pieces):
        replicas, sums, done = start, _open(statistic, start, Groups(8, 4), jnp.int32(12), 2), 0
        for length in pieces:
            replicas, sums = _evolve(
                dynamics, statistic, replicas, sums, jnp.int32(done), jnp.int32(length), jnp.int32(2),
                sgd.ensemble.reference_kernel,
            )  # fmt: skip
            done += length
        return jax.tree.leaves((replicas.states, sums))

    whole, pieces = run(12), run(1, 5, 4, 2)
    assert all(jnp.array_equal(a, b) for a, b in zip(whole, pieces, strict=True))


def test_the_dead_stay_dead():
    dynamics = descent()
    start = replicate(dynamics, jnp.ones((4, 3)).at[1].set(jnp.nan), None, KEY)
    assert start.alive.tolist() == [True, False, True, True]
    states = jax.vmap(dynamics.init)(jnp.zeros((4, 3)))
    again = advance(dynamics, sgd.ensemble.Replicas(states, start.keys, start.alive, start.step), 1)
    assert again.alive.tolist() == [True, False, True, True]


@pytest.mark.parametrize("make", [descent, lambda η: sgd.Langevin(PROBLEM, learning_rate=η, sampler=3, substeps=2)])
def test_a_run_can_be_differentiated_with_respect_to_the_learning_rate(make):
    statistic = Mean()

    def mean(η):
        dynamics = make(η)
        replicas = started(dynamics, 8)
        sums = opened(statistic, replicas, 5)
        _, sums = evolve(dynamics, statistic, replicas, sums, first_record=0, records=5, every=2)
        return jnp.sum(statistic.conclude(sums).value ** 2)

    h = 1e-5
    reverse = jax.jit(jax.grad(mean))(0.1)
    differences = jax.jit(lambda: (mean(0.1 + h) - mean(0.1 - h)) / (2 * h))()  # the same draws: the key is the same
    assert abs(reverse / differences - 1) < 1e-6  # h² × (third derivative/first: hundreds), rounding 1e-16/h
    assert abs(reverse) > 1e-2


def test_a_sweep_over_learning_rates_is_a_vmap():
    def end(η):
        dynamics = descent(η)
        return advance(dynamics, started(dynamics, 4), 7).states.position

    rates = jnp.array([0.05, 0.1])
    assert jnp.abs(jax.jit(jax.vmap(end))(rates)[1] - jax.jit(end)(rates[1])).max() < 1e-14


# --- the compiled program -------------------------------------------------------------------------------------


def program(dynamics, replicas=16, kernel=sgd.ensemble.reference_kernel):
    start = started(dynamics, replicas)
    sums = _open(Covariance(), start, Groups(replicas, 4), jnp.int32(10), 1)
    arguments = (start, sums, jnp.int32(0), jnp.int32(10), jnp.int32(3), kernel)
    return _evolve.lower(dynamics, Covariance(), *arguments).compile().compiled


def outside_calls(text):
    """What a program does outside its device: host callbacks, transfers, collectives."""
    callbacks = re.findall(r'custom_call_target="([^"]*callback[^"]*)"', text)
    kinds = "infeed|outfeed|send|recv|all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter"
    return callbacks + re.findall(rf" ({kinds})(?:-start)?\(", text)


@pytest.mark.parametrize("sampler", [3, Epochs(4)])
def test_the_loop_calls_nothing_outside(sampler):
    text = program(descent(sampler=sampler)).as_text()
    assert " while(" in text and outside_calls(text) == []


def unconditional(text):
    """The computations of a program that run whatever its conditionals decide: name -> text."""
    found = re.findall(r"^(?:ENTRY )?%(\S+) .*?^}", text, re.M | re.S)
    bodies = dict(zip(found, (m[0] for m in re.finditer(r"^(?:ENTRY )?%\S+ .*?^}", text, re.M | re.S)), strict=True))
    branches = re.compile(r"(?:branch_computations=\{[^}]*\}|(?:true|false)_computation=%[\w.\-]+)")
    reached, new = set(), set(re.findall(r"^ENTRY %(\S+) ", text, re.M))
    while new:
        reached |= new
        called = " ".join(branches.sub("", bodies[name]) for name in new)
        new = set(re.findall(r"=\{?%([\w.\-]+)", called)) & set(bodies) - reached
    return {name: bodies[name] for name in reached}


def shuffles(text):
    """How many loops with an order of 12 of 16 replicas, in half as wide integers, run in every step."""
    return sum(len(re.findall(r"u16\[[^\]]*12[^\]]*\].* while\(", body)) for body in unconditional(text).values())


def every_step(dynamics, replicas=16):
    """A program whose conditional has become a select: with a step for each replica."""
    start = started(dynamics, replicas)
    step = jax.vmap(dynamics.step)
    steps = jnp.arange(replicas, dtype=jnp.int32)
    return jax.jit(step).lower(start.states, steps, start.keys).compile()


@pytest.mark.parametrize("kernel", ["reference_kernel", "ResidualKernel"])
def test_orders_are_drawn_once_an_epoch(kernel):
    dynamics = descent(sampler=Epochs(4))
    chosen = sgd.ensemble.reference_kernel
    if kernel == "ResidualKernel":
        chosen = sgd.ensemble.choose(dynamics, every=100, dtype=jnp.float64)
        assert isinstance(chosen, sgd.ensemble.ResidualKernel)
    text = program(dynamics, kernel=chosen).as_text()
    assert " conditional(" in text and "u16[" in text and shuffles(text) == 0


def test_orders_drawn_in_every_step_would_be_seen():
    text = every_step(descent(sampler=Epochs(4))).as_text()
    assert " conditional(" not in text and shuffles(text) == 1


def test_a_callback_would_be_seen():
    shown = jax.jit(lambda x: jax.pure_callback(np.sin, jax.ShapeDtypeStruct((), x.dtype), x))
    assert outside_calls(shown.lower(jnp.array(1.0)).compile().as_text())


def test_the_programs_memory_has_no_steps_in_it():
    """Lengths are arguments, so that one program serves all; what it needs is a few times the state."""
    memory = program(descent(), 256).memory_analysis()
    state = 256 * 3 * 8
    assert memory.temp_size_in_bytes < 100 * state  # Covariance's sums, a minibatch of 3 × 4 numbers, draws
