"""The tables of `weak_error`, in Markdown."""

from typing import Any

import numpy as np

from sgdynamics_benchmarks.weak_error.orders import shown
from sgdynamics_benchmarks.weak_error.regression import MEASURES

SHOWN = (("loss, T/4", 0, 0), ("loss, T", -1, 0), ("u·θ, T", -1, 1), ("|θ|², T/4", 0, 2), ("|θ|², T", -1, 2))


def table(record: dict[str, Any]) -> str:
    """All of them."""
    parts = [regression(record["regression"]), cost(record["cost"])]
    parts += [network(name, found) for name, found in record["networks"].items()]
    return "\n\n".join(parts)


def regression(found: dict[str, Any]) -> str:
    rates = found["learning_rates"]
    rows = [["model", *MEASURES]]
    for name, orders in found["orders"].items():
        rows.append([name, *(f"{shown(orders[m])} ({found['errors'][name][m][2]:.2g})" for m in MEASURES)])
    head = f"regression, exact: order in the learning rate (error at {rates[2]:g})"
    batch = found["batch_sizes"]
    few = [["model", *(f"S = {size}" for size in batch["sizes"]), "S → ∞", "order of the noise's part in 1/S"]]
    for name, errors in batch["errors"].items():
        m = "stationary covariance"
        values = [f"{value:.3g}" for value in [*errors[m], batch["without_noise"][name][m]]]
        few.append([name, *values, shown(batch["orders_of_the_noises_part"][name][m])])
    second = (
        f"regression: relative error of the stationary covariance against batch size, at {batch['learning_rate']:g}"
    )
    return f"{head}\n{markdown(rows)}\n\n{second}\n{markdown(few)}"


def cost(found: dict[str, Any]) -> str:
    parts = []
    for study in found["studies"]:
        rows = [["", "µs a step", "floor", *(f"ε = {ε:g}" for ε in found["targets"])]]
        base = study["found"]["SGD"]["seconds"][0]
        for name, reached in study["seconds_to_reach"].items():
            floor = study["found"][name].get("floor", 0.0)
            micro = 1e6 * found["seconds_per_replica_step"][name]
            costs = ["–" if seconds is None else f"{seconds / base:.3g}" for seconds in reached]
            rows.append([name, f"{micro:.3g}", f"{floor:.2g}", *costs])
        η = study["learning_rate"]
        head = (
            f"regression: cost of SGD's learning curve to within ε, in units of SGD's own (readable steps), η = {η:g}"
        )
        parts.append(f"{head}\n{markdown(rows)}")
    return "\n\n".join(parts)


def network(name: str, found: dict[str, Any]) -> str:
    rows = [["model", *(words for words, *_ in SHOWN), "usable", "diverged"]]
    for model, orders in found["orders"].items():
        errors = found["models"][model]
        linear = found["linear_parts"][model]
        cells = [f"{shown(orders[i][j])}; {_linear(linear[i][j])} ({_first(errors, i, j)})" for _, i, j in SHOWN]
        rows.append([model, *cells, f"{np.mean(errors['usable']):.0%}", str(sum(errors["diverged"]))])
    svag = found["svag"]
    cells = [f"{shown(svag['orders'][i][j])} ({_first(svag, i, j)})" for _, i, j in SHOWN]
    rows.append(["SVAG to order 1, in 1/l", *cells, "", str(sum(svag["diverged"]))])
    rates = ", ".join(f"{rate:g}" for rate in found["learning_rates"])
    head = (
        f"{name}: order in the learning rate {rates}, in brackets where it is but a local slope; a of "
        "e = aη + bη² + … (weak error e at the largest ± its standard error and what dt may add)"
    )
    varied = found["batch_sizes"]
    return f"{head}\n{markdown(rows)}" + (f"\n\n{batch_sizes(name, varied)}" if varied else "")


def batch_sizes(name: str, varied: dict[str, Any]) -> str:
    rows = [["model", *(words for words, *_ in SHOWN)]]
    for model, orders in varied["orders_of_the_noises_part"].items():
        errors, limit = varied["models"][model], varied["without_noise"][model]
        linear = varied["linear_parts_of_it"][model]
        cells = [
            f"{shown(orders[i][j])}; {_linear(linear[i][j])} ({_first(errors, i, j)}; {_first(limit, i, j)})"
            for _, i, j in SHOWN
        ]
        rows.append([model, *cells])
    sizes = ", ".join(str(size) for size in varied["sizes"])
    head = (
        f"{name}: order in 1/S of the noise's part of the weak error, S = {sizes}, at η = {varied['learning_rate']:g}; "
        "a of a/S + b/S² (weak error at the smallest S; without noise)"
    )
    return f"{head}\n{markdown(rows)}"


def markdown(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def _first(errors: dict[str, Any], i: int, j: int) -> str:
    """The first weak error, with what dt may add, where it is usable."""
    error = np.hypot(errors["sigma"][0][i][j], errors["dt_bound"][0][i][j])
    return f"{errors['weak_error'][0][i][j]:+.2g} ± {error:.1g}" if errors["usable"][0][i][j] else "unusable"


def _linear(part: dict[str, Any]) -> str:
    return (
        part["verdict"].partition(":")[0]
        if part["value"] is None
        else f"a = {part['value']:+.2g} ± {part['error']:.1g}"
    )
