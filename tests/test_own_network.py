"""The examples of docs/howto/own_network.md, as they stand there: a user's network, arrays, loss and optimiser."""

import pathlib
import re

import jax
import pytest

import sgdynamics as sgd

PAGE = pathlib.Path(__file__).parents[1] / "docs/howto/own_network.md"
MOST_LINES = 20

BEFORE, MSE, CROSS_ENTROPY, OWN_LOSS, OPTAX = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)


def lines(block: str) -> int:
    return sum(bool(line.strip()) for line in block.splitlines())


@pytest.fixture(scope="module")
def names():
    """What the page has defined when its examples begin, and the network and arrays of the first one."""
    names = {}
    exec(BEFORE + MSE.split("problem = ")[0], names)
    return names


def run(block: str, names: dict) -> dict:
    names = dict(names)
    exec(block, names)
    return names


@pytest.mark.parametrize("block", [MSE, CROSS_ENTROPY, OWN_LOSS, OPTAX])
def test_an_example_is_short(block):
    assert lines(block) < MOST_LINES


@pytest.mark.long
@pytest.mark.parametrize("block", [MSE, CROSS_ENTROPY, OWN_LOSS], ids=["squared error", "cross-entropy", "own loss"])
def test_ensemble_has_the_law_that_is_predicted_and_not_that_of_another_batch_size(block, names):
    example = run(block, names)
    run_, law, descent = (example[name] for name in ("run", "law", "descent"))
    assert law.form.startswith("frozen") and run_.diverged == 0
    assert sgd.compare(run_, law).agrees
    other = sgd.SGD(
        example["problem"], learning_rate=descent.learning_rate, sampler=15, weight_decay=descent.weight_decay
    )
    assert not sgd.compare(run_, sgd.predict(other, at=law.mean)).agrees


@pytest.mark.long
def test_optax_makes_the_law_of_sgd_and_adam_another(names):
    with jax.numpy_dtype_promotion("standard"):  # Adam mixes floats and integers, as users' sessions let it
        example = run(OPTAX, run(OWN_LOSS, names))
    assert sgd.compare(example["run"].estimates, example["law"]).agrees
    assert not sgd.compare(example["adam_run"].estimates, example["law"]).agrees
    with pytest.raises(ValueError, match="Descent"):
        sgd.predict(example["plain"])
