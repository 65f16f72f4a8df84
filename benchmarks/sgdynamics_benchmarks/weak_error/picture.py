"""The picture of `weak_error`: errors against learning rate for every problem, learning curves, batch size, cost."""

import pathlib
from typing import Any

import numpy as np

from sgdynamics_benchmarks.picture import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, YELLOW, panels
from sgdynamics_benchmarks.weak_error.orders import ROUNDING, shown

STYLES = {
    "order 1": (BLUE, "o"), "order 2": (ORANGE, "s"), "frozen": (GREEN, "^"), "isotropic": (PURPLE, "D"),
    "no noise": (GREY, "x"), "SVAG": (YELLOW, "v"),
}  # fmt: skip


def draw(record: dict[str, Any], path: pathlib.Path) -> None:
    """All panels, as a PNG."""
    networks = record["networks"]
    figure, axes = panels(4, 1 + -(-(3 + len(networks)) // 4), width=3.7, height=3.0)
    free = iter(axes)
    for measure in ("mean", "learning curve", "stationary covariance"):
        _regression(next(free), record["regression"], measure)
    _batch_size(next(free), record["regression"]["batch_sizes"])
    for study in record["cost"]["studies"][-1:]:
        _cost(next(free), study)
    for name, found in networks.items():
        _network(next(free), name, found, part=0)
    name, found = next(iter(networks.items()))
    _curves(next(free), name, found)
    for axis in free:
        axis.set_visible(False)
    figure.savefig(path)


def _regression(axis: Any, found: dict[str, Any], measure: str) -> None:
    rates = np.array(found["learning_rates"])
    for name, errors in found["errors"].items():
        if name in STYLES:
            axis.loglog(
                rates, errors[measure], **_style(name), label=f"{name}: {shown(found['orders'][name][measure])}"
            )
    what = "relative error" if "covariance" in measure else "weak error"
    axis.set(xlabel="learning rate η", ylabel=what, title=f"regression, exact: {measure}")
    _slopes(axis, rates)


def _batch_size(axis: Any, found: dict[str, Any]) -> None:
    for name, errors in found["errors"].items():
        axis.loglog(found["sizes"], errors["stationary covariance"], **_style(name), label=name)
    title = f"regression: stationary covariance, η = 1/{1 / found['learning_rate']:g}"
    axis.set(xlabel="batch size S", ylabel="relative error", title=title)
    _powers_of_two(axis)
    axis.set_ylim(axis.get_ylim()[0] / 5, 2)
    axis.legend(ncols=2, loc="lower left")


def _cost(axis: Any, study: dict[str, Any]) -> None:
    base = study["found"]["SGD"]["seconds"][0]
    for name, found in study["found"].items():
        model, _, scheme = name.partition(", ")
        if model in STYLES:
            style = _style(model) | {"linestyle": ":" if scheme == "Euler" else "-", "markersize": 3}
            # Euler-Maruyama at dt = η and SVAG at l = 1 are SGD, or have its moments: no error to show
            distances = np.where(np.array(found["to_sgd"]) > ROUNDING, found["to_sgd"], np.nan)
            axis.loglog(np.array(found["seconds"]) / base, distances, **style, label=name)
    axis.axvline(1, color=BLACK, linewidth=0.8)
    axis.text(1, 0.02, " SGD itself", transform=axis.get_xaxis_transform(), fontsize=7)
    title = f"regression: error against cost, η = 1/{1 / study['learning_rate']:g}"
    axis.set(xlabel="seconds, in units of SGD's", ylabel="learning curve's distance to SGD's", title=title)
    axis.set_xlim(axis.get_xlim()[0] / 60, None)
    axis.legend(loc="lower left")


def _network(axis: Any, name: str, found: dict[str, Any], part: int) -> None:
    """|Weak error| of the loss; errors that are not resolved are hollow."""
    rates = np.array(found["learning_rates"])
    for model, errors in found["models"].items():
        e, σ = (np.array(errors[field])[:, part, 0] for field in ("weak_error", "sigma"))
        bound = np.array(errors["dt_bound"])[:, part, 0]
        total, style = np.hypot(σ, bound), _style(model.partition(",")[0])
        seen = np.abs(e) > 3 * total
        order = shown(found["orders"][model][part][0])
        axis.errorbar(rates, np.abs(e), total, **style | {"linestyle": "-", "linewidth": 0.8}, capsize=2,
                      label=f"{model}: {order}")  # fmt: skip
        axis.plot(rates[~seen], np.abs(e)[~seen], **style | {"linestyle": ""}, markerfacecolor="white")
    smallest = np.min([np.array(m["sigma"])[:, part, 0] for m in found["models"].values()])
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set(xlabel="learning rate η", ylabel="|weak error| of the loss", ylim=(smallest / 2, None),
             title=f"{name}, sampled: loss at t = {found['times'][part]:g}")  # fmt: skip
    _slopes(axis, rates)


def _curves(axis: Any, name: str, found: dict[str, Any]) -> None:
    """Weak error of the learning curve at the largest learning rate, relative to SGD's."""
    times, loss = found["times"], np.array(found["sgd"]["value"])[0, :, 0]
    for model, errors in found["models"].items():
        e, σ = (np.array(errors[field])[0, :, 0] for field in ("weak_error", "sigma"))
        axis.errorbar(times, 100 * e / loss, 100 * σ / loss, **_style(model.partition(",")[0]), capsize=2, label=model)
    axis.axhline(0, color=BLACK, linewidth=0.8)
    axis.set(xlabel="time t = η × step", ylabel="E L, model − SGD (% of SGD's)",
             title=f"{name}: learning curve at η = {found['learning_rates'][0]:g}")  # fmt: skip
    axis.legend(ncols=2)


def _slopes(axis: Any, rates: np.ndarray) -> None:
    """Guides of slope 1 and 2 from the top right corner, and room below for the legend."""
    low, high = axis.get_ylim()
    ends = np.array([rates.min(), rates.max()])
    for order, style in ((1, "--"), (2, ":")):
        axis.plot(ends, high * (ends / ends[1]) ** order, color=GREY, linestyle=style, linewidth=0.7, zorder=0)
    axis.set_ylim(low / (high / low) ** 0.6, high * 1.3)
    _powers_of_two(axis)
    axis.legend(title="order in η (guides: 1, 2)", loc="lower right", ncols=2, fontsize=7, columnspacing=1.0)


def _powers_of_two(axis: Any) -> None:
    axis.set_xscale("log", base=2)


def _style(name: str) -> dict[str, Any]:
    colour, marker = STYLES[name]
    return {"color": colour, "marker": marker, "markersize": 4, "linestyle": "-", "linewidth": 1.0}
