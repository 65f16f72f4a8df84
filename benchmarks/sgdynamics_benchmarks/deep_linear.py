"""Replica-steps per second of online SGD, batch size 1, of a deep linear network: four layers 12×12, label noise 0.3.

Peers make the same step, with generators of their own but for C, and gather no statistics:

    NumPy               back-propagation written out, replicas in batched products
    vmap(scan(grad))    the gradient of the example's loss in a scan, mapped over replicas, shared out to devices
    PyTorch bmm         back-propagation written out, replicas in batched products
    C limit             `limits/deep_linear.c`: the library's own draws, sixteen replicas a vector, all cores

On an NVIDIA GPU `simulate` is measured with more replicas, too, beside the form that XLA makes there.
"""

from dataclasses import asdict, dataclass

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics.ensemble import DeepLinearKernel
from sgdynamics.networks import DeepLinear
from sgdynamics.samplers import Online
from sgdynamics_benchmarks import limits, peers
from sgdynamics_benchmarks.throughput import Contender, Record, measure

LEARNING_RATE, LABEL_NOISE, EVERY = 0.005, 0.3, 20


@dataclass(frozen=True)
class Size:
    """Of the network, and replica-steps in a round: of `simulate`, NumPy and JAX, PyTorch, and C; on a GPU, replicas
    and steps of `simulate` there."""

    width: int = 12
    depth: int = 4
    replicas: tuple[int, ...] = (64, 1024)
    work: int = 6_000_000
    peers_work: int = 150_000
    torch_work: int = 80_000
    limit_work: int = 8_000_000
    cuda_replicas: int = 131_072
    cuda_steps: int = 2000


QUICK = Size(
    width=3, depth=2, replicas=(16,), work=16 * 40, peers_work=16 * 5, torch_work=16 * 5, limit_work=16 * 40,
    cuda_replicas=64, cuda_steps=40,
)  # fmt: skip


def run(quick: bool = False, rounds: int | None = None) -> Record:
    """The rates of all contenders, for each number of replicas."""
    size = QUICK if quick else Size()
    groups = [*(contenders(size, replicas) for replicas in size.replicas), on_cuda(size)]
    record = measure({name: one for group in groups for name, one in group.items()}, quick=quick, rounds=rounds)
    base = {name: next(iter(group)) for group in groups for name in group}
    title = f"deep linear network, {size.depth} layers {size.width}×{size.width}, online, batch size 1, float32"
    return record | {"title": title, "base": base, "size": asdict(size)}


def problem(width: int = 12, depth: int = 4) -> sgd.Problem:
    """The teacher of Corlouer et al. and a network half-way to it."""
    teacher = sgd.data.Teacher.of_singular_values(
        key=jax.random.key(0), inputs=width, outputs=width, label_noise_std=LABEL_NOISE
    )
    network = DeepLinear.aligned(teacher.matrix, [0.5, 0.3, 0.1], (width,) * (depth + 1), key=jax.random.key(1))
    return sgd.Problem(network, teacher)


def descent(learned: sgd.Problem) -> sgd.SGD:
    """Online, one example a step."""
    return sgd.SGD(learned, learning_rate=LEARNING_RATE, sampler=Online(1))


def contenders(size: Size, replicas: int) -> dict[str, Contender]:
    """In the order of the table."""
    learned = problem(size.width, size.depth)
    teacher = learned.data
    matrix = np.asarray(teacher.matrix, np.float32)
    weights = np.asarray(learned.parameters, np.float32).reshape(size.depth, size.width, size.width)
    steps = max(EVERY, size.work // replicas // EVERY * EVERY)
    other, torch_steps, limit = (
        max(1, work // replicas) for work in (size.peers_work, size.torch_work, size.limit_work)
    )
    start = np.broadcast_to(weights, (replicas, *weights.shape))
    keys = limits.keys(jax.random.key(0), replicas)
    one_replica = lambda key: scan_sgd(jnp.asarray(weights), jnp.asarray(matrix), other, key)
    rows = {
        "NumPy": Contender(lambda: lambda: numpy_sgd(weights, matrix, replicas, other), replicas * other),
        "vmap(scan(grad)), all cores": peers.keyed(one_replica, replicas, replicas * other),
        "PyTorch bmm": Contender(lambda: torch_bmm(weights, matrix, replicas, torch_steps), replicas * torch_steps),
        "simulate, mean every 20": peers.simulated(descent(learned), replicas=replicas, steps=steps, every=EVERY),
        "simulate": peers.simulated(descent(learned), replicas=replicas, steps=steps, every=steps),
        "C limit": Contender(lambda: limits.deep_linear(start, teacher, keys, LEARNING_RATE, limit), replicas * limit),
    }
    return {f"{name}, R = {replicas}": contender for name, contender in rows.items()}


def on_cuda(size: Size) -> dict[str, Contender]:
    """`simulate` on a GPU: with the kernel chosen there, and with that of CPUs, which XLA compiles for any device."""
    learned, steps = descent(problem(size.width, size.depth)), size.cuda_steps
    forms = {"simulate, on CUDA, XLA form": DeepLinearKernel(True, True), "simulate, on CUDA": None}
    return {
        name: peers.on_cuda(
            peers.simulated(learned, replicas=size.cuda_replicas, steps=steps, every=steps // 2, kernel=kernel)
        )
        for name, kernel in forms.items()
    }


def numpy_sgd(weights: np.ndarray, matrix: np.ndarray, replicas: int, steps: int) -> np.ndarray:
    """All replicas at once, back-propagation written out."""
    rng = np.random.default_rng(0)
    layers = [np.repeat(W[None], replicas, axis=0) for W in weights]
    rate, noise = np.float32(LEARNING_RATE), np.float32(LABEL_NOISE)
    for _ in range(steps):
        x = rng.standard_normal((replicas, matrix.shape[1]), np.float32)
        y = x @ matrix.T + noise * rng.standard_normal((replicas, matrix.shape[0]), np.float32)
        activations = [x[:, :, None]]
        for W in layers:
            activations.append(np.matmul(W, activations[-1]))
        error = rate * (y[:, :, None] - activations.pop())
        for W, a in zip(layers[::-1], activations[::-1], strict=True):
            back = np.matmul(W.transpose(0, 2, 1), error)
            W += error * a.transpose(0, 2, 1)
            error = back
    return np.stack(layers)


def scan_sgd(weights: jax.Array, matrix: jax.Array, steps: int, key: jax.Array) -> jax.Array:
    """One replica, as a careful user of JAX writes it."""

    def loss(weights, x, y):
        for W in weights:
            x = W @ x
        return jnp.sum((y - x) ** 2) / 2

    def step(weights, k):
        input_key, label_key = jax.random.split(jax.random.fold_in(key, k))
        x = jax.random.normal(input_key, matrix.shape[1:], weights.dtype)
        y = matrix @ x + LABEL_NOISE * jax.random.normal(label_key, matrix.shape[:1], weights.dtype)
        return weights - LEARNING_RATE * jax.grad(loss)(weights, x, y), None

    return jax.lax.scan(step, weights, jnp.arange(steps))[0]


def torch_bmm(weights: np.ndarray, matrix: np.ndarray, replicas: int, steps: int):
    """All replicas at once, back-propagation written out."""
    torch = peers.torch()
    M, noise = torch.from_numpy(matrix), LABEL_NOISE
    start = [torch.from_numpy(W.copy()) for W in weights]

    @torch.no_grad()
    def run():
        layers = [W.expand(replicas, *W.shape).clone() for W in start]
        for _ in range(steps):
            x = torch.randn(replicas, M.shape[1])
            y = x @ M.T + noise * torch.randn(replicas, M.shape[0])
            activations = [x[:, :, None]]
            for W in layers:
                activations.append(torch.bmm(W, activations[-1]))
            error = y[:, :, None] - activations.pop()
            for W, a in zip(layers[::-1], activations[::-1], strict=True):
                back = torch.bmm(W.transpose(1, 2), error)
                W.baddbmm_(error, a.transpose(1, 2), alpha=LEARNING_RATE)
                error = back
        return torch.stack(layers).numpy()

    return peers.in_torch(run)
