"""Networks at their minimum: that they are there, and what the cache takes back and what it refuses."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics.experiments import _pretrained
from sgdynamics.experiments._pretrained import Recipe, pretrained

TINY = Recipe("residual", (2,), samples=30, blocks=1, weight_decay=0.1)
LINEAR = Recipe("linear", samples=50)


@pytest.fixture
def minima(monkeypatch):
    """How many minima were searched for."""
    searched, minimum = [], _pretrained.minimum
    monkeypatch.setattr(_pretrained, "minimum", lambda *arguments: searched.append(1) or minimum(*arguments))
    return searched


@pytest.mark.long
def test_a_residual_network_is_at_a_minimum(tmp_path):
    trained = pretrained(TINY, folder=tmp_path)
    problem, θ = trained.problem, trained.parameters
    gradient = jax.jit(lambda θ: jax.grad(problem.loss)(θ) + 0.1 * θ)
    left, start = jnp.linalg.norm(gradient(θ)), jnp.linalg.norm(gradient(problem.parameters))
    assert left <= 1e-8 * start
    assert abs(trained.gradient_norm - left) < 1e-13 and abs(trained.start_gradient_norm / start - 1) < 1e-9
    # the Hessian by differences of the gradient
    steps = 1e-5 * np.eye(len(θ))
    H = np.stack([np.asarray(gradient(θ + e) - gradient(θ - e)) for e in steps]) / 2e-5
    h = np.linalg.eigvalsh((H + H.T) / 2)[::-1]
    assert h[-1] > 0 and np.allclose(trained.spectrum(), h, atol=1e-7 * h[0])
    found = trained.modes(3)
    assert np.allclose(found.values, h[:3], rtol=1e-7)
    assert np.allclose(np.linalg.norm(H @ found.vectors - found.vectors * found.values[None, :], axis=0), 0, atol=1e-6)
    assert jnp.max(found.residuals) < 1e-8 * h[0]


def test_a_linear_network_is_ridge_regression_of_the_training_images_and_told_on_the_others(tmp_path):
    trained = pretrained(LINEAR, folder=tmp_path)
    x, y = np.asarray(trained.problem.data.x), np.asarray(trained.problem.data.y)
    W = np.linalg.solve(x.T @ x / 50 + 0.01 * np.eye(61), x.T @ y / 50).T
    assert x.shape == (50, 61) and np.allclose(trained.parameters.reshape(10, 61), W, atol=1e-7)
    error, told = np.asarray(trained.test.x) @ W.T - np.asarray(trained.test.y), np.asarray(trained.test.x) @ W.T
    assert trained.test.samples == 360 and abs(trained.test_loss - (error**2).sum() / 720) < 1e-6
    assert trained.test_accuracy == np.mean(told.argmax(1) == np.asarray(trained.test.y).argmax(1))
    seen = {row.tobytes() for row in x}
    assert not any(row.tobytes() in seen for row in np.asarray(trained.test.x))


def test_what_is_kept_is_not_searched_for_again(tmp_path, minima):
    first, again = pretrained(LINEAR, folder=tmp_path), pretrained(LINEAR, folder=tmp_path)
    assert len(minima) == 1 and not first.from_cache and again.from_cache
    assert jnp.array_equal(first.parameters, again.parameters) and first.seconds == again.seconds
    assert again.provenance == json.loads(json.dumps(first.provenance)) and "versions" in again.provenance
    other = pretrained(Recipe("linear", samples=50, weight_decay=0.02), folder=tmp_path)
    assert len(minima) == 2 and not jnp.allclose(other.parameters, first.parameters)
    assert len(list(tmp_path.iterdir())) == 2


def rewritten(path, **changes):
    with np.load(path, allow_pickle=False) as file:
        content = dict(file) | changes
    np.savez(path, **content)


def test_what_is_broken_or_made_otherwise_is_made_again(tmp_path, minima):
    expected = pretrained(LINEAR, folder=tmp_path).parameters
    path = next(tmp_path.iterdir())
    whole = path.read_bytes()
    moved = np.asarray(expected) + 1e-3
    signed = _pretrained.digest(moved.tobytes() + LINEAR.description.encode())
    breakages = [
        lambda: path.write_bytes(whole[: len(whole) // 2]),
        lambda: path.write_bytes(b""),
        lambda: path.write_bytes(whole[:300] + bytes([whole[300] ^ 1]) + whole[301:]),
        lambda: rewritten(path, parameters=moved),
        lambda: rewritten(path, parameters=moved, digest=signed),  # no minimum
        lambda: rewritten(path, recipe=Recipe("linear").description),
        lambda: rewritten(path, parameters=np.array([{"an": "object"}], dtype=object)),
    ]
    for k, breaks in enumerate(breakages):
        breaks()
        trained = pretrained(LINEAR, folder=tmp_path)
        assert not trained.from_cache and jnp.allclose(trained.parameters, expected, atol=1e-12)
        assert len(minima) == k + 2 and pretrained(LINEAR, folder=tmp_path).from_cache


def test_where_nothing_can_be_written_a_warning_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="could not be written"):
        assert not pretrained(LINEAR, folder=tmp_path / "file").from_cache


def test_the_cache_lies_where_the_system_wants_it(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert _pretrained.cache() == tmp_path / "sgdynamics" / "networks"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert _pretrained.cache().parts[-3:] == (".cache", "sgdynamics", "networks")
    assert _pretrained.cache(tmp_path) == tmp_path


@pytest.mark.parametrize(("name", "size", "message"), [
    ("transformer", "quick", "network = 'transformer'.*'linear', 'one_hidden'"),
    ("linear", "huge", "size = 'huge'.*'full', 'quick'"),
])  # fmt: skip
def test_other_names_are_refused(name, size, message):
    with pytest.raises(ValueError, match=message):
        pretrained(name, size)


def test_every_recipe_makes_a_network_for_its_images():
    for recipes in _pretrained.RECIPES.values():
        assert list(recipes) == ["linear", "one_hidden", "two_hidden", "convolutional", "residual"]
        for name, recipe in recipes.items():
            assert recipe.architecture == name and recipe.samples <= 1437
    inputs = {recipe.network() and recipe.data()[0].x.shape[1] for recipe in _pretrained.RECIPES["quick"].values()}
    assert inputs == {61, 64}
