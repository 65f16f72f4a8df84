"""The picture: errors against learning rate for every problem, learning curves, batch size, cost."""

import pathlib
from typing import Any

import numpy as np

from sgdynamics_benchmarks.picture import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, YELLOW, panels
from sgdynamics_benchmarks.weak_error.orders import RESOLVED, ROUNDING, shown

STYLES = {
    "order 1": (BLUE, "o"), "order 2": (ORANGE, "s"), "frozen": (GREEN, "^"), "isotropic": (PURPLE, "D"),
    "no noise": (GREY, "x"), "SVAG": (YELLOW, "v"),
}  # fmt: skip


def draw(record: dict[str, Any], path: pathlib.Path) -> None:
    """A row of the regression, a row of the networks beside the cost, a row of learning curves."""
    networks, exact = record["networks"], record["regression"]
    figure, axes = panels(4, 3, width=3.7, height=3.0)
    for axis, measure in zip(axes, ("mean", "learning curve", "stationary covariance"), strict=False):
        _regression(axis, exact, measure)
    _batch_size(axes[3], exact["batch_sizes"])
    _cost(axes[4], record["cost"]["studies"][-1])
    for axis, (name, found) in zip(axes[5:8], networks.items(), strict=False):
        _network(axis, name, found)
    for axis, (name, found) in zip(axes[8:11], networks.items(), strict=False):
        _curves(axis, name, found)
    varied = [(name, found) for name, found in networks.items() if found["batch_sizes"]]
    for name, found in varied[:1]:
        _network_batch_size(axes[11], name, found)
    for axis in axes:
        axis.set_visible(axis.has_data())
    figure.savefig(path)


def _regression(axis: Any, found: dict[str, Any], measure: str) -> None:
    rates = np.array(found["learning_rates"])
    for name, errors in found["errors"].items():
        if name.partition(",")[0] in STYLES:
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
    axis.text(1, 0.97, " SGD itself", transform=axis.get_xaxis_transform(), fontsize=7)
    title = f"regression: error against cost, η = 1/{1 / study['learning_rate']:g}"
    axis.set(xlabel="seconds, in units of SGD's", ylabel="learning curve's distance to SGD's", title=title)
    axis.set_xlim(axis.get_xlim()[0] / 60, None)
    axis.legend(loc="lower left")


def _network(axis: Any, name: str, found: dict[str, Any]) -> None:
    """|Weak error| of the loss at T; errors that are not resolved are hollow."""
    rates = np.array(found["learning_rates"])
    for model, errors in found["models"].items():
        label = f"{model}: {shown(found['orders'][model][-1][0])}"
        _absolute(axis, rates, errors, model, label)
    axis.set_xscale("log")
    axis.set_yscale("log")
    smallest = np.nanmin([_loss(errors)[1][:, -1] for errors in found["models"].values()])
    axis.set(xlabel="learning rate η", ylabel="|weak error| of the loss", ylim=(smallest / 2, None),
             title=f"{name}, sampled: loss at t = {found['times'][-1]:g}")  # fmt: skip
    _slopes(axis, rates)


def _network_batch_size(axis: Any, name: str, found: dict[str, Any]) -> None:
    varied = found["batch_sizes"]
    for model, errors in varied["models"].items():
        order = shown(varied["orders_of_the_noises_part"][model][-1][0])
        _absolute(axis, np.array(varied["sizes"]), errors, model, f"{model}: {order}")
    axis.set_yscale("log")
    _powers_of_two(axis)
    axis.set(xlabel="batch size S", ylabel="|weak error| of the loss",
             title=f"{name}: loss at t = {found['times'][-1]:g}, η = 1/{1 / varied['learning_rate']:g}")  # fmt: skip
    axis.legend(title="order in 1/S of the noise's part", fontsize=7)


def _absolute(axis: Any, x: np.ndarray, errors: dict[str, Any], model: str, label: str) -> None:
    """Of the loss at T."""
    (e, total), style = (part[:, -1] for part in _loss(errors)), _style(model)
    seen = np.abs(e) > RESOLVED * total
    axis.errorbar(x, np.abs(e), total, **style | {"linewidth": 0.8}, capsize=2, label=label)
    axis.plot(x[~seen], np.abs(e)[~seen], **style | {"linestyle": ""}, markerfacecolor="white", zorder=3)


def _curves(axis: Any, name: str, found: dict[str, Any]) -> None:
    """Weak error of the learning curve at the largest learning rate, in units of SGD's."""
    times, loss = found["times"], np.array(found["sgd"]["value"])[0, :, 0]
    for model, errors in found["models"].items():
        e, total = (part[0] for part in _loss(errors))
        axis.errorbar(times, 100 * e / loss, 100 * total / loss, **_style(model), capsize=2, label=model)
    axis.axhline(0, color=BLACK, linewidth=0.8)
    axis.set(xlabel="time t = η × step", ylabel="E L, model − SGD (% of SGD's)",
             title=f"{name}: learning curve at η = {found['learning_rates'][0]:g}")  # fmt: skip
    axis.set_ylim(axis.get_ylim()[0] * 1.6, None)
    axis.legend(ncols=2, loc="lower left")


def _loss(errors: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Weak errors of the loss [runs, parts], nan where unusable, and their errors, what dt may add among them."""
    e, σ, bound, usable = (np.array(errors[f])[:, :, 0] for f in ("weak_error", "sigma", "dt_bound", "usable"))
    return np.where(usable, e, np.nan), np.hypot(σ, bound)


def _slopes(axis: Any, rates: np.ndarray) -> None:
    """Guides of slope 1 and 2 from the top right corner, and room below for the legend."""
    low, high = axis.get_ylim()
    ends = np.array([rates.min(), rates.max()])
    for order, style in ((1, "--"), (2, ":")):
        axis.plot(ends, high * (ends / ends[1]) ** order, color=GREY, linestyle=style, linewidth=0.7, zorder=0)
    axis.set_ylim(low / (high / low) ** 0.8, high * 1.3)
    _powers_of_two(axis)
    axis.legend(title="order in η (guides: 1, 2)", loc="lower right", ncols=2, fontsize=6.5, columnspacing=0.8,
                handlelength=1.4, handletextpad=0.5)  # fmt: skip


def _powers_of_two(axis: Any) -> None:
    axis.set_xscale("log", base=2)


def _style(name: str) -> dict[str, Any]:
    colour, marker = STYLES[name.partition(",")[0]]
    return {"color": colour, "marker": marker, "markersize": 4, "linestyle": "-", "linewidth": 1.0}
