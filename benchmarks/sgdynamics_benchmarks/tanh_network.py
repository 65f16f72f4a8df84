"""Replica-steps per second of a network that no kernel knows: tanh, about 2,000 parameters, P = 200, S = 10.

PyTorch torch.func      vmap(grad) through functional_call, parameters stacked
vmap(scan(grad))        the gradient of the minibatch's loss in a scan, mapped over replicas, shared out to devices
simulate                whatever form it chooses, which the record names
"""

from dataclasses import asdict, dataclass

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics_benchmarks import peers
from sgdynamics_benchmarks.throughput import Contender, Record, measure

LEARNING_RATE, EVERY = 0.05, 20


@dataclass(frozen=True)
class Size:
    """Of the problem (1,941 parameters), and steps of a round: of JAX, of `simulate`, and of PyTorch."""

    widths: tuple[int, ...] = (16, 40, 30, 1)
    samples: int = 200
    batch_size: int = 10
    replicas: int = 256
    steps: int = 200
    long: int = 1600
    torch_steps: int = 40


QUICK = Size(widths=(3, 4, 1), samples=8, batch_size=2, replicas=16, steps=20, long=40, torch_steps=3)


def run(quick: bool = False, rounds: int | None = None) -> Record:
    """The rates of all contenders."""
    size = QUICK if quick else Size()
    learned = problem(size)
    record = measure(contenders(size), quick=quick, rounds=rounds)
    title = f"tanh network, {learned.parameters.size} parameters, S = {size.batch_size}, R = {size.replicas}, float32"
    return record | {"title": title, "base": "PyTorch torch.func vmap(grad)", "size": asdict(size)}


def problem(size: Size) -> sgd.Problem:
    """A network of this shape on the noisy labels of a linear teacher."""
    data_key, network_key = jax.random.split(jax.random.key(0))
    data = sgd.data.teacher_student(data_key, samples=size.samples, inputs=size.widths[0], label_noise_std=0.1)
    return sgd.Problem(sgd.networks.MLP(size.widths, key=network_key), data)


def descent(learned: sgd.Problem, size: Size) -> sgd.SGD:
    """Plain SGD."""
    return sgd.SGD(learned, learning_rate=LEARNING_RATE, sampler=size.batch_size)


def contenders(size: Size) -> dict[str, Contender]:
    """In the order of the table."""
    learned, R = problem(size), size.replicas
    return {
        "PyTorch torch.func vmap(grad)": Contender(lambda: torch_func(learned, size), R * size.torch_steps),
        "vmap(scan(grad)), all cores": peers.keyed(lambda key: scan_sgd(learned, size, key), R, R * size.steps),
        "simulate, mean every 20": peers.simulated(descent(learned, size), replicas=R, steps=size.long, every=EVERY),
        "simulate": peers.simulated(descent(learned, size), replicas=R, steps=size.long, every=size.long),
    }


def scan_sgd(learned: sgd.Problem, size: Size, key: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
    """One replica, as a careful user of JAX writes it."""
    x, y = learned.data.x.astype(jnp.float32), learned.data.y.astype(jnp.float32).reshape(-1, size.widths[-1])
    start = [(layer.weight.astype(jnp.float32), layer.bias.astype(jnp.float32)) for layer in learned.network.layers]

    def loss(layers, x, y):
        for W, b in layers[:-1]:
            x = jnp.tanh(x @ W.T + b[None])
        W, b = layers[-1]
        return jnp.sum((x @ W.T + b[None] - y) ** 2) / (2 * len(x))

    def step(layers, k):
        indices = jax.random.randint(jax.random.fold_in(key, k), (size.batch_size,), 0, size.samples, jnp.int32)
        gradient = jax.grad(loss)(layers, x[indices], y[indices])
        return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, layers, gradient), None

    return jax.lax.scan(step, start, jnp.arange(size.steps))[0]


def torch_func(learned: sgd.Problem, size: Size):
    """vmap(grad) of the minibatch's loss through functional_call."""
    torch = peers.torch()
    x = torch.from_numpy(np.asarray(learned.data.x, np.float32))
    y = torch.from_numpy(np.asarray(learned.data.y, np.float32).reshape(-1, size.widths[-1]))
    network, start = network_in_torch(torch, learned)

    def loss(parameters, x, y):
        return ((torch.func.functional_call(network, parameters, (x,)) - y) ** 2).sum() / (2 * len(x))

    gradients = torch.func.vmap(torch.func.grad(loss))

    def run():
        stacked = {name: p.expand(size.replicas, *p.shape).clone() for name, p in start.items()}
        for _ in range(size.torch_steps):
            indices = torch.randint(size.samples, (size.replicas, size.batch_size))
            found = gradients(stacked, x[indices], y[indices])
            for name, p in stacked.items():
                p.sub_(found[name], alpha=LEARNING_RATE)
        return [p.numpy() for p in stacked.values()]

    return peers.in_torch(run)


def network_in_torch(torch, learned: sgd.Problem):
    """The same network, and its parameters."""
    modules = []
    for layer in learned.network.layers:
        linear = torch.nn.Linear(layer.in_features, layer.out_features)
        linear.weight.data = torch.from_numpy(np.array(layer.weight, np.float32))
        linear.bias.data = torch.from_numpy(np.array(layer.bias, np.float32))
        modules += [linear, torch.nn.Tanh()]
    network = torch.nn.Sequential(*modules[:-1])
    return network, {name: p.detach() for name, p in network.named_parameters()}
