"""Path-steps per second of the deep linear network's Langevin SDE: four layers 12×12, label noise, Euler-Maruyama.

The noise is anisotropic and depends on θ: of rank 144 at most in 576 dimensions, for it is pulled back from the
network's matrix. All but the dense route know its structure, S = Δ(G + Gᵀ)/√2 + σZ pulled back through the layers:

    dense            the covariance built [576, 576] and decomposed in float32 in every step, one path after another
    diffrax          `dynamics.solve`, mapped and shared out to devices: Euler, with the Brownian tree, and with
                     increments keyed by the step (the cheap path)
    torchsde         Euler-Maruyama with f_and_g_prod, paths batched, drift and noise [Δ | S] pulled back together
    simulate         the sum of drift and noise pulled back
"""

from dataclasses import asdict, dataclass

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics.samplers import Online
from sgdynamics.theory import deep_linear as theory
from sgdynamics_benchmarks import deep_linear, peers
from sgdynamics_benchmarks.deep_linear import LABEL_NOISE, LEARNING_RATE
from sgdynamics_benchmarks.throughput import Contender, Record, measure, peer

EVERY = 20


@dataclass(frozen=True)
class Size:
    """Of the network, and steps of a round: of `simulate`, of peers, and with the tree."""

    width: int = 12
    depth: int = 4
    replicas: int = 64
    steps: int = 10_000
    peer_steps: int = 600
    torch_steps: int = 150
    tree_steps: int = 60
    dense_steps: int = 2


QUICK = Size(width=3, depth=2, replicas=8, steps=40, peer_steps=5, torch_steps=5, tree_steps=5, dense_steps=2)


def run(quick: bool = False, rounds: int | None = None) -> Record:
    """The rates of all contenders."""
    size = QUICK if quick else Size()
    record = measure(contenders(size), quick=quick, rounds=rounds, unit="path-steps/s")
    network = f"{size.depth} layers {size.width}×{size.width}"
    title = f"Langevin SDE of a deep linear network, {network}, R = {size.replicas}, float32"
    return record | {"title": title, "base": "diffrax Euler, cheap path", "size": asdict(size)}


def langevin(size: Size) -> sgd.Langevin:
    """One Euler-Maruyama step for each learning rate."""
    learned = deep_linear.problem(size.width, size.depth)
    return sgd.Langevin(learned, learning_rate=LEARNING_RATE, sampler=Online(1), substeps=1)


def contenders(size: Size) -> dict[str, Contender]:
    """In the order of the table."""
    process, R = langevin(size), size.replicas
    tree = lambda key: tree_path(process, size.tree_steps, key)
    cheap = lambda key: cheap_path(process, size.peer_steps, key)
    return {
        "dense: build Σ, decompose": dense(process, size.dense_steps),
        "diffrax Euler, Brownian tree": peers.keyed(tree, R, R * size.tree_steps),
        "diffrax Euler, cheap path": peers.keyed(cheap, R, R * size.peer_steps),
        "torchsde g_prod": Contender(lambda: torch_sde(process, size), R * size.torch_steps),
        "simulate, mean every 20": peers.simulated(process, replicas=R, steps=size.steps, every=EVERY),
        "simulate": peers.simulated(process, replicas=R, steps=size.steps, every=size.steps),
    }


def dense(process: sgd.Langevin, steps: int) -> Contender:
    """θ − η ∇L + η Σ^{1/2} z, with Σ built and decomposed."""
    learned = sgd.ensemble.cast(process.problem, jnp.float32)
    teacher = learned.data

    def step(θ, key):
        weights = learned.unflatten(θ).weights
        Σ = theory.noise_covariance(weights, teacher.matrix, label_noise_std=teacher.label_noise_std)
        values, vectors = jnp.linalg.eigh(Σ.astype(θ.dtype))
        z = jnp.sqrt(jnp.maximum(values, 0)) * jax.random.normal(key, θ.shape, θ.dtype)
        return θ - LEARNING_RATE * learned.gradient(θ) + LEARNING_RATE * vectors @ z

    def prepare():
        path = jax.jit(lambda θ, keys: jax.lax.scan(lambda θ, key: (step(θ, key), None), θ, keys)[0])
        keys = jax.random.split(jax.random.key(0), steps)
        return lambda: path(learned.parameters, keys)

    return Contender(prepare, steps)


def cheap_path(process: sgd.Langevin, steps: int, key: jax.Array) -> jax.Array:
    """diffrax's Euler with increments keyed by the step."""
    process = sgd.ensemble.cast(process, jnp.float32)
    path = peers.StepPath(jnp.float32(LEARNING_RATE), sources(process), key)  # pyright: ignore[reportCallIssue]
    return peers.end(sgd.dynamics.solve(process, steps=steps, key=key, path=path, initial=process.initial_position()))


def tree_path(process: sgd.Langevin, steps: int, key: jax.Array) -> jax.Array:
    """diffrax's Euler with its Brownian tree, resolved to half a step."""
    process = sgd.ensemble.cast(process, jnp.float32)
    dt = jnp.float32(LEARNING_RATE)
    tree = diffrax.VirtualBrownianTree(jnp.float32(0), steps * dt, dt / 2, sources(process), key)
    options = {"path": tree, "initial": process.initial_position()}
    return peers.end(sgd.dynamics.solve(process, steps=steps, key=key, **options))


def sources(process: sgd.Langevin):
    """What a step's noise is made of, in float32."""
    return jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, jnp.float32), process.sources())


def torch_sde(process: sgd.Langevin, size: Size):
    """torchsde's Euler with the drift and the product with the diffusion pulled back together."""
    torch, torchsde = peers.torch(), peer("torchsde")
    width, depth, R = size.width, size.depth, size.replicas
    M = torch.from_numpy(np.asarray(process.problem.data.matrix, np.float32))
    θ = torch.from_numpy(np.asarray(process.initial_position(), np.float32)).expand(R, -1)
    equation = equation_for_torch(torch, M, depth, width)
    times, noises = torch.tensor([0.0, size.torch_steps * LEARNING_RATE]), 2 * width * width

    @torch.no_grad()
    def run():
        W = torchsde.BrownianInterval(times[0], times[1], size=(R, noises), dt=LEARNING_RATE, cache_size=None)
        return torchsde.sdeint(equation, θ.clone(), times, bm=W, dt=LEARNING_RATE, method="euler")[-1].numpy()

    return peers.in_torch(run)


def equation_for_torch(torch, M, depth: int, width: int):
    """dθ = W_>ᵀ (Δ dt + √η S) W_<ᵀ, layer by layer."""

    class Equation(torch.nn.Module):
        noise_type, sde_type = "general", "ito"

        def parts(self, θ):
            layers = θ.view(-1, depth, width, width).unbind(1)
            before = [layers[0]]
            for W in layers[1:]:
                before.append(torch.bmm(W, before[-1]))
            return layers, before, M - before[-1]

        def pulled(self, layers, before, *sources):
            S, found = torch.cat(sources, 2), []
            for l in range(depth - 1, 0, -1):
                found.append([torch.bmm(s, before[l - 1].transpose(1, 2)) for s in S.split(width, 2)])
                S = torch.bmm(layers[l].transpose(1, 2), S)
            found.append(S.split(width, 2))
            return tuple(torch.stack(each[::-1], 1).flatten(1) for each in zip(*found, strict=True))

        def source(self, Δ, z):
            G, Z = z.view(-1, 2, width, width).unbind(1)
            S = torch.bmm(Δ, G + G.transpose(1, 2)) * 0.5**0.5 + LABEL_NOISE * Z
            return LEARNING_RATE**0.5 * S

        def f(self, t, θ):
            layers, before, Δ = self.parts(θ)
            return self.pulled(layers, before, Δ)[0]

        def g_prod(self, t, θ, z):
            layers, before, Δ = self.parts(θ)
            return self.pulled(layers, before, self.source(Δ, z))[0]

        def f_and_g_prod(self, t, θ, z):
            layers, before, Δ = self.parts(θ)
            return self.pulled(layers, before, Δ, self.source(Δ, z))

    return Equation()
