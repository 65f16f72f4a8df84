"""Replica-steps per second of one-layer regression: N = 100, P = 200, S = 10, 1,024 replicas in float32.

Peers make the same step, with generators of their own but for C, and gather no statistics:

    NumPy                   vectorised over replicas, in its faster form (batched matrix products; einsum is slower)
    vmap(scan)              the gradient of the minibatch's loss in a scan, mapped over replicas, shared out to devices
    PyTorch bmm             the gradient written out, replicas batched
    PyTorch embedding_bag   the same, with one product for all predictions and the drawn rows summed by weights
    PyTorch torch.func      vmap(grad) of the minibatch's loss
    C limit                 `limits/regression.c`: residual form, one thread for each core, and the library's own draws

On an NVIDIA GPU `simulate` is measured with more replicas, too, beside the form that XLA makes there.
"""

from dataclasses import asdict, dataclass

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics.ensemble import _regression_residual
from sgdynamics_benchmarks import limits, peers
from sgdynamics_benchmarks.throughput import Contender, Record, measure

LEARNING_RATE, EVERY = 0.1, 20


@dataclass(frozen=True)
class Size:
    """Of the problem, and steps in a round: of `simulate` and C, of JAX and the reference step, of PyTorch with
    products, and of NumPy and torch.func (slow); on a GPU, replicas and steps of `simulate` there."""

    inputs: int = 100
    samples: int = 200
    batch_size: int = 10
    replicas: int = 1024
    steps: int = 10_000
    jax_steps: int = 600
    other_steps: int = 300
    slow_steps: int = 150
    cuda_replicas: int = 131_072
    cuda_steps: int = 2000


QUICK = Size(
    inputs=4, samples=8, batch_size=2, replicas=16, steps=40, jax_steps=10, other_steps=5, slow_steps=5,
    cuda_replicas=64, cuda_steps=40,
)  # fmt: skip


def run(quick: bool = False, rounds: int | None = None) -> Record:
    """The rates of all contenders."""
    size = QUICK if quick else Size()
    record = measure(contenders(size), quick=quick, rounds=rounds)
    title = f"regression, N = {size.inputs}, P = {size.samples}, S = {size.batch_size}, R = {size.replicas}, float32"
    return record | {"title": title, "base": "NumPy", "size": asdict(size)}


def descent(size: Size) -> sgd.SGD:
    """SGD on a teacher's noisy labels, from w = 0."""
    data = sgd.data.teacher_student(jax.random.key(0), samples=size.samples, inputs=size.inputs, label_noise_std=0.5)
    problem = sgd.Problem(sgd.networks.Linear(size.inputs, 1), data)
    return sgd.SGD(problem, learning_rate=LEARNING_RATE, sampler=size.batch_size)


def contenders(size: Size) -> dict[str, Contender]:
    """In the order of the table."""
    learned = descent(size)
    data = learned.problem.data
    x, y = np.asarray(data.x, np.float32), np.asarray(data.y, np.float32).reshape(-1)

    def simulate(statistic=None, steps=size.steps, kernel=None, every=EVERY, replicas=size.replicas):
        return peers.simulated(learned, replicas=replicas, steps=steps, every=every, statistic=statistic, kernel=kernel)

    def cuda(kernel=None):
        return peers.on_cuda(simulate(None, size.cuda_steps, kernel, size.cuda_steps // 2, size.cuda_replicas))

    covariance, reference = sgd.statistics.Covariance(), sgd.ensemble.reference_kernel
    in_xla = _regression_residual.build(learned, EVERY, jnp.dtype(jnp.float32)) or reference
    return {
        "NumPy": Contender(lambda: lambda: numpy_sgd(x, y, size), size.replicas * size.slow_steps),
        "vmap(scan), all cores": peers.keyed(
            lambda key: scan_sgd(jnp.asarray(x), jnp.asarray(y), size, key),
            size.replicas,
            size.replicas * size.jax_steps,
        ),
        "PyTorch bmm": Contender(lambda: torch_bmm(x, y, size), size.replicas * size.other_steps),
        "PyTorch embedding_bag": Contender(lambda: torch_bag(x, y, size), size.replicas * size.other_steps),
        "PyTorch torch.func vmap(grad)": Contender(lambda: torch_func(x, y, size), size.replicas * size.slow_steps),
        "simulate, covariance every 20, reference step": simulate(covariance, max(EVERY, size.jax_steps), reference),
        "simulate, covariance every 20": simulate(covariance),
        "simulate, mean every 20": simulate(),
        "simulate, one record": simulate(every=size.steps),
        "simulate, on CUDA": cuda(),
        "simulate, on CUDA, XLA form": cuda(in_xla),
        "C limit": Contender(lambda: c_limit(learned, size), size.replicas * size.steps),
    }


def numpy_sgd(x: np.ndarray, y: np.ndarray, size: Size) -> np.ndarray:
    """SGD of all replicas at once, as a careful user of NumPy writes it."""
    rng = np.random.default_rng(0)
    w = np.zeros((size.replicas, size.inputs), np.float32)
    rate = np.float32(LEARNING_RATE / size.batch_size)
    for _ in range(size.slow_steps):
        indices = rng.integers(0, size.samples, (size.replicas, size.batch_size))
        batch = x[indices]
        residuals = np.matmul(batch, w[:, :, None])[:, :, 0] - y[indices]
        w -= rate * np.matmul(residuals[:, None, :], batch)[:, 0]
    return w


def scan_sgd(x: jax.Array, y: jax.Array, size: Size, key: jax.Array) -> jax.Array:
    """SGD of one replica, as a careful user of JAX writes it."""

    def step(w, k):
        indices = jax.random.randint(jax.random.fold_in(key, k), (size.batch_size,), 0, size.samples, jnp.int32)
        loss = lambda w: jnp.mean((x[indices] @ w - y[indices]) ** 2) / 2
        return w - LEARNING_RATE * jax.grad(loss)(w), None

    return jax.lax.scan(step, jnp.zeros(x.shape[1], x.dtype), jnp.arange(size.jax_steps))[0]


def torch_bmm(x: np.ndarray, y: np.ndarray, size: Size):
    """The gradient written out, as batched products."""
    torch = peers.torch()
    x, y = torch.from_numpy(x), torch.from_numpy(y)

    @torch.no_grad()
    def run():
        w = torch.zeros(size.replicas, size.inputs, 1)
        for _ in range(size.other_steps):
            indices = torch.randint(size.samples, (size.replicas, size.batch_size))
            batch = x[indices]
            residuals = torch.bmm(batch, w) - y[indices][:, :, None]
            w.baddbmm_(batch.transpose(1, 2), residuals, alpha=-LEARNING_RATE / size.batch_size)
        return w.numpy()

    return peers.in_torch(run)


def torch_bag(x: np.ndarray, y: np.ndarray, size: Size):
    """Predictions for all examples in one product, and the gradient as the drawn rows' weighted sums."""
    torch = peers.torch()
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    rows = torch.nn.functional.embedding_bag

    @torch.no_grad()
    def run():
        w = torch.zeros(size.replicas, size.inputs)
        for _ in range(size.other_steps):
            indices = torch.randint(size.samples, (size.replicas, size.batch_size))
            residuals = (w @ x.T).gather(1, indices) - y[indices]
            w.sub_(rows(indices, x, per_sample_weights=residuals, mode="sum"), alpha=LEARNING_RATE / size.batch_size)
        return w.numpy()

    return peers.in_torch(run)


def torch_func(x: np.ndarray, y: np.ndarray, size: Size):
    """vmap(grad) of the minibatch's loss."""
    torch = peers.torch()
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    loss = lambda w, x, y: ((x @ w - y) ** 2).mean() / 2
    gradients = torch.func.vmap(torch.func.grad(loss))

    def run():
        w = torch.zeros(size.replicas, size.inputs)
        for _ in range(size.slow_steps):
            indices = torch.randint(size.samples, (size.replicas, size.batch_size))
            w -= LEARNING_RATE * gradients(w, x[indices], y[indices])
        return w.numpy()

    return peers.in_torch(run)


def c_limit(descent: sgd.SGD, size: Size):
    """The machine's limit, from w = 0: residuals after `size.steps` steps."""
    keys = limits.keys(jax.random.key(0), size.replicas)
    return limits.regression(descent.problem.data, keys, LEARNING_RATE, size.batch_size, size.steps)
