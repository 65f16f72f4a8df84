"""A learning problem: a network, data, and a loss, as functions of one flat parameter vector θ.

    L(θ) = (1/P) Σ_μ ℓ(f(x_μ; θ), y_μ),        ℓ = ½ |f − y|², summed over outputs, unless told

θ holds the network's floating-point leaves in order, each flattened row by row; `unflatten(θ)` gives the network
back. On a `Teacher` the average is over its population: in closed form, L = ½|M − W(θ)|² + ½ σ² outputs, where
the network is a linear map and the loss is `squared_error`; otherwise over a fixed sample of 10,000 examples.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, Real

from sgdynamics import _checks
from sgdynamics._linalg import LeadingEigenpairs, leading_eigenpairs
from sgdynamics._minimise import descent, newton
from sgdynamics._types import Matrix, RealScalar, Scalar, Vector
from sgdynamics.data import AbstractFiniteData, Data, Teacher
from sgdynamics.networks import AbstractLinearMap, Linear

POPULATION_SAMPLE = 10_000
DENSE_HESSIAN_LIMIT = 4_000
HESSIAN_CHUNK = 128
NEWTON_ALONE, DESCENT_STEPS = 200, 50


def squared_error(prediction: Real[Array, "*outputs"], target: Real[Array, "*targets"]) -> Scalar:
    """½ |f − y|², summed over outputs. A scalar target goes with a network of one output."""
    if target.shape != prediction.shape and not (target.shape == () and prediction.shape == (1,)):
        remedy = "Give y one column for each output."
        if target.shape == () and jnp.issubdtype(target.dtype, jnp.integer):
            remedy += " If y holds classes, use loss=sgdynamics.cross_entropy."
        raise ValueError(
            f"y has shape {_of_samples(target.shape)}, but the network's outputs have shape "
            f"{_of_samples(prediction.shape)}. {remedy}"
        )
    return jnp.sum((prediction - target) ** 2) / 2


def cross_entropy(prediction: Real[Array, " classes"], target: Real[Array, "*targets"]) -> Scalar:
    """−log softmax(f)_y for an integer class y, or −Σ_k y_k log softmax(f)_k for class probabilities y.

    Classes are 0 … K − 1 for K outputs; of any other it is nan. `Problem` refuses data that hold one.
    """
    log_probabilities = jax.nn.log_softmax(prediction)
    is_class = jnp.issubdtype(target.dtype, jnp.integer)
    if target.shape != (() if is_class else prediction.shape):
        raise ValueError(
            f"y has shape {_of_samples(target.shape)} and dtype {target.dtype}, but it must hold integer classes "
            f"[samples] or float probabilities [samples, {prediction.shape[0]}]."
        )
    if is_class:
        chosen = log_probabilities.at[target].get(mode="fill", fill_value=jnp.nan)
        return -jnp.where(target < 0, jnp.nan, chosen)  # otherwise −1 were the last class
    return -jnp.sum(target * log_probabilities)


def _of_samples(shape: tuple[int, ...]) -> str:
    """The shape of many examples, as one writes it."""
    return f"[{', '.join(['samples', *map(str, shape)])}]"


class Problem(eqx.Module):
    """Data, a network and a loss, as functions of the flat parameter vector θ [parameters].

    Arguments
    - network: an Equinox module, called on one input and returning one output.
    - data: a `Dataset`, `FreshLabels` or `Teacher`.
    - loss: (prediction, target) of one example -> scalar. A constant of the compiled program: define it once.

    Where a method takes `data=`, it is evaluated there instead (a minibatch, a test set).
    Raises `ValueError` where network, data and loss do not fit together.
    """

    network: PyTree
    data: Data
    example_loss: Callable = eqx.field(static=True)

    def __init__(self, network: PyTree, data: Data, loss: Callable = squared_error):
        if not callable(loss):
            raise ValueError(
                f"loss = {loss!r}, but it must be a function of the prediction and the target of one example: "
                "sgdynamics.squared_error, sgdynamics.cross_entropy, or your own."
            )
        if not isinstance(data, AbstractFiniteData | Teacher):
            raise ValueError(
                f"data is a {type(data).__name__}, but it must be one of sgdynamics.data. "
                "Give sgdynamics.data.Dataset(x, y)."
            )
        self.network, self.data, self.example_loss = network, data, loss
        self._check_shapes()

    def _check_shapes(self) -> None:
        if isinstance(self.data, Teacher):
            outputs, inputs = self.data.matrix.shape
            x, y = jax.ShapeDtypeStruct((inputs,), float), jax.ShapeDtypeStruct((outputs,), float)
            self._check_teacher(x, y)
        else:
            x, y = (jax.ShapeDtypeStruct(a.shape[1:], a.dtype) for a in (self.data.x, self.data.y))
        try:
            value = eqx.filter_eval_shape(lambda x, y: self.example_loss(self.network(x), y), x, y)
        except TypeError as error:
            raise ValueError(f"the network cannot be applied to an input of shape {x.shape}: {error}") from error
        if value.shape != ():
            raise ValueError(f"loss has shape {value.shape} for one example, but it must be a scalar.")
        if self.example_loss is cross_entropy and jnp.issubdtype(y.dtype, jnp.integer):
            self._check_classes(eqx.filter_eval_shape(self.network, x).shape[0])

    def _check_classes(self, outputs: int) -> None:
        """An error where y, if its values can be read now, holds a class that no output stands for."""
        classes = _checks.known(self.data.y)
        if classes is None or classes.size == 0 or (0 <= classes.min() and classes.max() < outputs):
            return
        wrong = classes.min() if classes.min() < 0 else classes.max()
        remedy = "Number the classes from 0, and give the network one output per class."
        if outputs == 1:
            remedy = "cross_entropy needs one output per class; for two classes use two."
        raise ValueError(
            f"y holds the class {wrong}, but with outputs = {outputs} it must be in 0 … {outputs - 1}. {remedy}"
        )

    def _check_teacher(self, x: jax.ShapeDtypeStruct, y: jax.ShapeDtypeStruct) -> None:
        try:
            shape = eqx.filter_eval_shape(self.network, x).shape
            found = f"maps it to {shape}"
        except TypeError as error:
            shape, found = None, f"cannot be applied to it ({error})"
        if shape != y.shape:
            raise ValueError(
                f"data is a Teacher whose matrix has shape {self.data.matrix.shape}: from inputs {x.shape} to outputs "
                f"{y.shape}. The network {found}. Give a teacher [outputs, inputs] of the network's widths."
            )

    # --- parameters ---------------------------------------------------------------------------------------

    @property
    def parameters(self) -> Vector:
        """θ of the network as it was given."""
        leaves = jax.tree.leaves(eqx.filter(self.network, eqx.is_inexact_array))
        if not leaves:
            raise ValueError("network has no floating-point arrays, so that there is nothing to train.")
        return jnp.concatenate([leaf.reshape(-1) for leaf in leaves])

    def unflatten(self, θ: Vector) -> PyTree:
        """The network with parameters θ."""
        arrays, rest = eqx.partition(self.network, eqx.is_inexact_array)
        leaves, structure = jax.tree.flatten(arrays)
        parts, start = [], 0
        for leaf in leaves:
            parts.append(θ[start : start + leaf.size].reshape(leaf.shape))
            start += leaf.size
        if start != θ.shape[0]:
            raise ValueError(f"θ has {θ.shape[0]} entries, but the network has {start} parameters.")
        return eqx.combine(jax.tree.unflatten(structure, parts), rest)

    @property
    def is_linear_regression(self) -> bool:
        """Whether the model is linear in θ and the loss is the squared error: the case of exact theory."""
        return isinstance(self.network, Linear) and self.example_loss is squared_error

    # --- the loss and its derivatives ---------------------------------------------------------------------

    def predictions(self, θ: Vector, data: Data | None = None) -> Float[Array, "samples *outputs"]:
        """f(x_μ; θ) for every example."""
        return jax.vmap(self.unflatten(θ))(self._finite(data).x)

    def example_losses(self, θ: Vector, data: Data | None = None) -> Float[Array, " samples"]:
        """ℓ(f(x_μ; θ), y_μ) for every example."""
        return jax.vmap(self.example_loss)(self.predictions(θ, data), self._finite(data).y)

    def loss(self, θ: Vector, data: Data | None = None) -> Scalar:
        """L(θ)."""
        data = self.data if data is None else data
        if isinstance(data, Teacher) and self._has_population_loss():
            return data.population_loss(self.unflatten(θ).matrix())
        return jnp.mean(self.example_losses(θ, self._finite(data)))

    def gradient(self, θ: Vector, data: Data | None = None) -> Vector:
        """∇L(θ)."""
        return jax.grad(self.loss)(θ, data)

    def weighted_gradient(self, θ: Vector, weights: Float[Array, " samples"]) -> Vector:
        """Σ_μ a_μ ∇ℓ_μ(θ), as one vector-Jacobian product: per-example gradients are never stored."""
        return jax.grad(lambda θ: jnp.dot(weights, self.example_losses(θ)))(θ)

    def example_gradients(self, θ: Vector, data: Data | None = None) -> Float[Array, "samples parameters"]:
        """∇ℓ_μ(θ) for every example."""
        one = lambda x, y: jax.grad(lambda θ: self.example_loss(self.unflatten(θ)(x), y))(θ)
        data = self._finite(data)
        return jax.vmap(one)(data.x, data.y)

    def hessian_product(self, θ: Vector, direction: Vector, data: Data | None = None) -> Vector:
        """∇²L(θ) · direction, without the Hessian."""
        return jax.jvp(lambda θ: self.gradient(θ, data), (θ,), (direction,))[1]

    def hessian(self, θ: Vector, data: Data | None = None) -> Matrix:
        """∇²L(θ), dense."""
        if θ.shape[0] <= HESSIAN_CHUNK:
            return jax.jacfwd(self.gradient)(θ, data)
        # all directions at once would hold every layer's output for every example and every direction
        product = lambda direction: self.hessian_product(θ, direction, data)
        return jax.lax.map(product, jnp.eye(θ.shape[0], dtype=θ.dtype), batch_size=HESSIAN_CHUNK)

    def leading_modes(self, θ: Vector, modes: int, *, weight_decay: RealScalar = 0.0) -> LeadingEigenpairs:
        """The `modes` largest eigenvalues of ∇²L(θ) + weight_decay and their eigenvectors, without the Hessian.

        Gives `.values` [modes], descending, `.vectors` [parameters, modes] and `.residuals` |A v − λ v| [modes], within
        which an eigenvalue lies: look at them, for what has not converged is not an error. By block Krylov spaces.
        """
        _checks.x64()
        return _leading_modes(self, θ, jnp.asarray(weight_decay, θ.dtype), modes)

    # --- minimum ------------------------------------------------------------------------------------------

    def minimum(
        self,
        weight_decay: RealScalar = 0.0,
        start: Vector | None = None,
        *,
        tolerance: float | None = None,
        steps: int = 200,
    ) -> Vector:
        """A minimum of L(θ) + ½ weight_decay |θ|², by damped Newton steps from `start` (None: `parameters`).

        Above 200 parameters L-BFGS leads into the basin first; above 4,000, where the Hessian is not built, alone.
        For a model that is linear in θ one Newton step is exact and, where the minimum is not unique, gives the one
        nearest to `start` (from θ = 0: of minimum norm).
        Raises `ValueError` where |gradient| does not fall below `tolerance` × (1 + |gradient at start|) within
        `steps` of Newton's, or 50 times as many of L-BFGS, naming the gradient that is left. `tolerance` is 1e-10 in
        64 bits, 1e-5 in 32, unless told. Derivatives, in both modes, are those of the implicit function;
        above 4,000 parameters flat directions, which keep the start's value, have none.
        """
        _checks.not_negative("weight_decay", weight_decay)
        θ = self.parameters if start is None else jnp.asarray(start)
        if tolerance is None:
            tolerance = 1e-10 if θ.dtype == jnp.float64 else 1e-5
        decay = jnp.asarray(weight_decay, θ.dtype)
        θ, left, scale = _minimise(self, θ, decay, jnp.asarray(tolerance, θ.dtype), steps)
        allowed = f"below {tolerance} × (1 + {scale})"
        remedy = (
            "Start nearer to a minimum (`start=`), allow more `steps` or a larger `tolerance`. A network with kinks "
            "(relu) may have no smooth minimum."
        )
        return _checks.provided(θ, "|gradient| at the end of minimum()", left, left <= tolerance * (1 + scale),
                                allowed=allowed, remedy=remedy)  # fmt: skip

    # --- where averages are taken -------------------------------------------------------------------------

    def _has_population_loss(self) -> bool:
        return isinstance(self.network, AbstractLinearMap) and self.example_loss is squared_error

    def _finite(self, data: Data | None) -> AbstractFiniteData:
        data = self.data if data is None else data
        return data.sample(jax.random.key(0), POPULATION_SAMPLE) if isinstance(data, Teacher) else data


@eqx.filter_jit
def _leading_modes(problem: Problem, θ: Vector, decay: Scalar, modes: int) -> LeadingEigenpairs:
    product = lambda v: problem.hessian_product(θ, v) + decay * v
    return leading_eigenpairs(product, θ.shape[0], modes)


@eqx.filter_custom_jvp
def _minimise(
    problem: Problem, θ: Vector, decay: Scalar, tolerance: Scalar, steps: int
) -> tuple[Vector, Scalar, Scalar]:
    """θ, |gradient| there and |gradient| at the start, of L + ½ decay |θ|²."""
    return _minimised(problem, θ, decay, tolerance, steps)


@_minimise.def_jvp
def _implicit(primals, tangents):
    """From ∇L + λ θ = 0: dθ = −(∇²L + λ)⁺ d(∇L + λ θ), and along what is flat the start's."""
    problem, _, decay, *_ = primals
    d_problem, d_start, d_decay, *_ = tangents
    θ, left, scale = _minimise(*primals)
    moved = lambda problem, decay: problem.gradient(θ) + decay * θ
    dg = eqx.filter_jvp(moved, (problem, decay), (d_problem, d_decay))[1]
    d_start = jnp.zeros_like(θ) if d_start is None else d_start
    return (θ, left, scale), (_answer(problem, θ, decay, dg, d_start), jnp.zeros_like(left), jnp.zeros_like(scale))


@eqx.filter_jit
def _answer(problem: Problem, θ: Vector, decay: Scalar, dg: Vector, d_start: Vector) -> Vector:
    if θ.shape[0] > DENSE_HESSIAN_LIMIT:
        product = lambda v: problem.hessian_product(θ, v) + decay * v
        answer = jax.scipy.sparse.linalg.cg(product, dg, tol=1e-10, maxiter=10_000)[0]
        left = jnp.linalg.norm(product(answer) - dg)
        return -_checks.provided(
            answer, "the residual of the minimum's derivative", left, left <= 1e-6 * jnp.linalg.norm(dg),
            allowed="below 1e-6 of its right-hand side", remedy="Give the problem a larger weight_decay.",
        )  # fmt: skip
    values, vectors = jnp.linalg.eigh(problem.hessian(θ) + decay * jnp.eye(θ.shape[0], dtype=θ.dtype))
    kept = jnp.abs(values) > θ.shape[0] * jnp.finfo(θ.dtype).eps * jnp.abs(values).max()
    inverse = jnp.where(kept, 1 / jnp.where(kept, values, 1), 0)
    return vectors @ (jnp.where(kept, 0, 1) * (vectors.T @ d_start) - inverse * (vectors.T @ dg))


@eqx.filter_jit
def _minimised(problem: Problem, θ: Vector, decay: Scalar, tolerance: Scalar, steps: int):
    objective = lambda θ: problem.loss(θ) + decay * jnp.sum(θ**2) / 2
    hessian = lambda θ: problem.hessian(θ) + decay * jnp.eye(θ.shape[0], dtype=θ.dtype)
    first = jnp.linalg.norm(jax.grad(objective)(θ))
    target = tolerance * (1 + first) * 0.1
    size, left = θ.shape[0], first
    if size > DENSE_HESSIAN_LIMIT or (size > NEWTON_ALONE and not problem.is_linear_regression):
        θ, left = descent(objective, θ, target, DESCENT_STEPS * steps)
    if size <= DENSE_HESSIAN_LIMIT:
        θ, left = newton(objective, hessian, θ, target, steps)
    return θ, left, first
