"""Two-layer students: amplitudes and diffusion against samples, gradients and the linear theory; a tiny run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from sgdynamics import experiments, plotting
from sgdynamics.data import Teacher
from sgdynamics.experiments import _store
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments.beyond import _nonlinear_students
from sgdynamics.experiments.beyond._two_layer import ACTIVATIONS, Student, TwoLayer
from sgdynamics.experiments.beyond._two_layer_paths import rank_correlation
from sgdynamics.theory import deep_linear

pytestmark = pytest.mark.long

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def result():
    config = _nonlinear_students.NonlinearStudentsConfig(
        singular_values=(1.0, 0.6), width=3, hidden=12, exponent=6.0, replicas=24, time=30.0, records=60, examples=300
    )
    return _nonlinear_students.run(config, experiments.Silence())


def test_every_verdict_is_the_expected_one_where_so_few_examples_decide(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    coarse = {"identity/per-example gradients", *(f"{φ}/amplitude at the peak" for φ in ACTIVATIONS)}
    assert {verdict for id, verdict in verdicts.items() if id not in coarse} == {"reproduced"}, verdicts
    assert {verdicts[id] for id in coarse} <= {"reproduced", "undecided"}
    controls = {f"{φ}/amplitude at the peak of eight layers/control" for φ in ACTIVATIONS}
    controls |= {"identity/half the data term/control", "tanh/residual as label noise/control"}
    assert {id for id in verdicts if id.endswith("/control")} == controls


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("beyond/nonlinear_students", result.data)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1", "0.6"]


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_functions_correlation_is_that_of_a_sample(activation):
    first, second, x = (jax.random.normal(jax.random.key(k), s) for k, s in enumerate([(4, 3), (2, 4), (100_000, 3)]))
    network = TwoLayer(first, second, ACTIVATIONS[activation])
    products = jax.vmap(network)(x)[:, :, None] * x[:, None, :]
    z = (jnp.mean(products, axis=0) - network.correlation()) / (jnp.std(products, axis=0) / len(x) ** 0.5)
    assert float(jnp.abs(z).max()) < 4.5


def test_mean_slopes_of_tanh_by_quadrature():
    norms = np.array([0.1, 0.7, 1.5])
    network = TwoLayer(jnp.asarray(norms)[:, None], jnp.ones((1, 3)), jnp.tanh)
    slope = lambda z, a: np.exp(-z * z / 2) / np.sqrt(2 * np.pi) / np.cosh(a * z) ** 2
    np.testing.assert_allclose(network.mean_slopes(), [quad(slope, -12, 12, args=(a,))[0] for a in norms], rtol=1e-5)


def test_diffusion_is_the_variance_of_example_gradients_along_the_mode():
    student, θ, examples = _student("tanh", label_noise_std=0.3)
    one = lambda θ: student.problem.example_gradients(θ, examples) @ jax.jacrev(student.amplitudes)(θ).T
    along, diffusion = once(lambda θ: (one(θ), student.diffusion(θ, examples)))(θ)
    np.testing.assert_allclose(diffusion, 0.01 / 2 * jnp.var(along, axis=0, ddof=1), rtol=1e-10)


def test_the_linear_students_amplitudes_and_diffusion_are_the_theorys():
    student, θ, examples = _student("identity", size=100_000)
    network = student.problem.unflatten(θ)
    weights = network.first, network.second
    expected = once(deep_linear.mode_amplitudes)(weights, student.teacher.matrix)[:2]
    np.testing.assert_allclose(once(student.amplitudes)(θ), expected, atol=1e-12)
    np.testing.assert_allclose(once(student.diffusion)(θ, examples), once(student.linear_diffusion)(θ), rtol=0.05)


def test_label_noise_alone_is_independent_of_the_inputs():
    """Where f = M x, all residuals are label noise: both diffusions agree, and are (7) at w = s."""
    teacher = Teacher.of_singular_values((1.0, 0.5), key=KEY, inputs=3, outputs=3, label_noise_std=0.4)
    student = Student(teacher, 2, "identity", 0.01, 1)
    U, s, V = deep_linear.singular_triplets(teacher.matrix)
    root = jnp.sqrt(s[:2])
    θ = jnp.concatenate([(root[:, None] * V[:, :2].T).reshape(-1), (U[:, :2] * root[None, :]).reshape(-1)])
    examples = teacher.sample(jax.random.key(1), 100_000)
    for diffusion in (student.diffusion, student.independent_diffusion):
        np.testing.assert_allclose(once(diffusion)(θ, examples), 0.01 * 4 * 0.4**2 * s[:2] ** 2, rtol=0.05)


def test_pairs_of_relu_units():
    """One mode made of one unit on each side, which make p x₊ and q x₋ of it, against the formula of the module."""
    student = Student(Teacher(jnp.ones((1, 1)), 0.0), 2, "relu", 0.01, 1)
    examples = student.teacher.sample(jax.random.key(3), 200_000)
    observed = once(lambda θ: (student.amplitudes(θ), student.diffusion(θ, examples)))
    for p, q in (0.5, 0.5), (0.7, 0.3), (0.9, 0.4):
        root = jnp.sqrt(jnp.asarray([p, q]))
        w, D = observed(jnp.concatenate([root, root]) * jnp.asarray([1.0, -1.0, 1.0, -1.0]))
        h, k = (1 - p) * p, (1 - q) * q
        np.testing.assert_allclose(w, [(p + q) / 2], atol=1e-12)
        np.testing.assert_allclose(D, [0.01 * (1.5 * (h**2 + k**2) - (h + k) ** 2 / 4)], rtol=0.03)


def test_rank_correlation_of_ordered_and_reversed_values():
    values = np.random.default_rng(0).normal(size=(8, 2))
    assert float(rank_correlation(values, np.exp(values)).value) == pytest.approx(1)
    mixed = np.stack([values[:, 0], -values[:, 1]], axis=1)
    assert float(rank_correlation(values, mixed).value) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("field", "value"),
    [("hidden", 5), ("replicas", 3), ("singular_values", (0.4, 1.0)), ("examples", 10), ("learning_rate", 0.0)],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _nonlinear_students.NonlinearStudentsConfig(**{field: value})


def _student(activation: str, label_noise_std: float = 0.0, size: int = 500):
    teacher = Teacher.of_singular_values((1.0, 0.5), key=KEY, inputs=3, outputs=3, label_noise_std=label_noise_std)
    student = Student(teacher, 4, activation, 0.01, 2)
    θ = jax.random.normal(jax.random.key(2), student.problem.parameters.shape) / 2
    return student, θ, teacher.sample(jax.random.key(1), size)
