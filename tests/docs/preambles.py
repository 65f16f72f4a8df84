"""What pages leave out: names that they take for granted, and sizes that would take too long for a test.

`PREAMBLES[page][heading]` is called with the page's namespace before the first block under that heading ("" before
everything).
"""

import functools
import pathlib
from typing import Any

Names = dict[str, Any]


def smaller(*, replicas: int = 64, steps: int = 200) -> None:
    """From here on `sgd.simulate` runs at most so many replicas and steps, and a path is taken relative to here."""
    import sgdynamics as sgd

    simulate = sgd.simulate

    @functools.wraps(simulate)
    def reduced(*arguments: Any, **options: Any) -> Any:
        for name, most in (("replicas", replicas), ("steps", steps), ("burn_in", steps), ("groups", replicas // 2)):
            if name in options:
                options[name] = min(options[name], most)
        if "checkpoint" in options:
            options["checkpoint"] = _here(options["checkpoint"])
        return simulate(*arguments, **options)

    sgd.simulate = reduced
    save = sgd.Ensemble.save
    sgd.Ensemble.save = lambda self, path, **options: save(self, _here(path), **options)


def _here(path: Any) -> Any:
    """An absolute path, of which a page may speak, below the folder in which the test runs."""
    path = pathlib.Path(path)
    return path.relative_to(path.anchor) if path.is_absolute() else path


def _imports(names: Names) -> None:
    import jax

    import sgdynamics as sgd

    jax.config.update("jax_enable_x64", True)
    names |= {"jax": jax, "sgd": sgd, "key": jax.random.key(0)}


def _readme(names: Names) -> None:
    _imports(names)
    smaller(replicas=256, steps=5000)


def _readme_network(names: Names) -> None:
    """A small classification: three classes of Gaussian points, which overlap."""
    import jax

    import sgdynamics as sgd

    inputs, network = jax.random.split(jax.random.key(1))
    y = jax.numpy.arange(60) % 3
    x = jax.random.normal(inputs, (60, 4)) + jax.nn.one_hot(y, 4)
    names["data"] = sgd.data.Dataset(x, y)
    names["my_equinox_module"] = sgd.networks.MLP((4, 8, 3), key=network)


def _readme_momentum(names: Names) -> None:
    """A regression, and the curvatures and noise along its modes."""
    import jax

    import sgdynamics as sgd

    data = sgd.data.teacher_student(jax.random.key(2), samples=200, inputs=8, label_noise_std=0.5)
    names["problem"] = problem = sgd.Problem(sgd.networks.Linear(8, 1), data)
    θ = problem.minimum()
    H, C = problem.hessian(θ), sgd.noise.minibatch(problem, sgd.samplers.as_sampler(10)).covariance(θ)
    curvature, vectors = jax.numpy.linalg.eigh(H)
    noise_variance = jax.numpy.diagonal(vectors.T @ C @ vectors)
    names |= {"hessian": H, "noise_covariance": C, "curvature": curvature, "noise_variance": noise_variance}


def _readme_epochs(names: Names) -> None:
    import optax

    names["optax"] = optax


def _cluster(names: Names) -> None:
    """One process, which has nobody to meet."""
    import jax

    _imports(names)
    _readme_momentum(names)
    names["descent"] = names["sgd"].SGD(names["problem"], learning_rate=0.05, sampler=10)
    names["statistics"] = names["sgd"].statistics.Mean()
    jax.distributed.initialize = lambda *arguments, **options: None
    smaller(replicas=256, steps=1000)


PREAMBLES: dict[str, dict[str, Any]] = {
    "README.md": {
        "": _readme,
        "Two layers, and any network at its minimum": _readme_network,
        "Momentum: underdamped Langevin dynamics and anomalous diffusion": _readme_momentum,
        "Epochs: anti-correlated noise": _readme_epochs,
        "Long runs, many devices": lambda names: smaller(replicas=256, steps=2000),
    },
    "docs/cluster.md": {"": _cluster},
}
