"""How the rate of `simulate` scales with replicas, inputs, samples, batch size and devices; memory with steps.

One-layer regression (N = 100, P = 200, S = 10, R = 1,024, float32) unless said, a mean every 20 steps; the kernel is
chosen anew at every point, and named in the record, as is the number of devices that the replicas were shared out to
(R = 1 has one; the others, powers of two, have all where those are a power of two). Devices, steps and memory are
measured in processes of their own (`probe`), held to as many cores as they have devices where the system allows it:
peak resident memory of the whole process, compiler included. It must not grow with the number of steps.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace

from sgdynamics_benchmarks import deep_linear, peers, picture, regression
from sgdynamics_benchmarks.regression import Size
from sgdynamics_benchmarks.throughput import Contender, Record
from sgdynamics_benchmarks.timing import Timing, cores, interleaved

EVERY = 20
# numbers moved in a round of one point, about, and the most steps of it
WORK, MOST_STEPS, FEWEST_STEPS = 2 * 10**9, 20_000, 100
REPLICAS = (1, 32, 1024, 2**15, 2**17)
SWEEPS = {
    "inputs": (10, 30, 100, 200, 500, 1000),
    "samples": (100, 200, 500, 1000, 3000, 10_000),
    "batch_size": (1, 3, 10, 30, 100, 200),
}
STEPS = (1000, 10_000, 100_000)


def run(quick: bool = False, rounds: int | None = None) -> Record:
    """Every sweep; points of one sweep take turns."""
    rounds = rounds or (1 if quick else 3)
    base = regression.QUICK if quick else Size()
    replicas = REPLICAS[:2] if quick else REPLICAS
    sweeps = {
        "replicas": sweep([(R, regression_point(replace(base, replicas=R))) for R in replicas], rounds),
        "replicas, deep linear network": sweep([(R, deep_linear_point(R, quick)) for R in replicas], rounds),
    }
    for name, values in SWEEPS.items():
        values = (2, 4) if quick else values
        points = [(value, regression_point(replace(base, **{name: value}))) for value in values]
        sweeps[name] = sweep(points, rounds)
    per_steps = (40, 80) if quick else STEPS
    return {
        "unit": "replica-steps/s",
        "sweeps": sweeps,
        "devices": [probe(base, devices=n, rounds=rounds) | {"devices": n, "value": n} for n in device_counts(cores())],
        "memory": [
            probe(replace(base, steps=steps, replicas=min(base.replicas, 64)), devices=1, rounds=rounds)
            | {"steps": steps, "value": steps}
            for steps in per_steps
        ],
        "size": asdict(base),
    }


def device_counts(most: int) -> list[int]:
    """1, 2, 4 … and all there are."""
    return sorted({2**i for i in range(most.bit_length()) if 2**i <= most} | {most})


def regression_point(size: Size) -> Contender:
    """`simulate` on this regression, for about as long as the others."""
    return peers.simulated(regression.descent(size), replicas=size.replicas, steps=steps_of(size), every=EVERY)


def steps_of(size: Size) -> int:
    """So that rounds last about as long: a step moves S rows of P or N numbers, and draws."""
    cost = size.batch_size * min(size.samples, 4 * size.inputs) + 100
    return steps(WORK // (cost * size.replicas))


def deep_linear_point(replicas: int, quick: bool) -> Contender:
    """`simulate` on the deep linear network, online."""
    learned = deep_linear.problem(*((3, 2) if quick else (12, 4)))
    return peers.simulated(
        deep_linear.descent(learned), replicas=replicas, steps=steps(500_000 // replicas), every=EVERY
    )


def steps(wanted: int) -> int:
    """Whole records, within the limits."""
    return min(max(wanted, FEWEST_STEPS), MOST_STEPS) // EVERY * EVERY


def sweep(points: list[tuple[int, Contender]], rounds: int) -> list[Record]:
    """The rate at every point, in every round."""
    runs = {str(value): contender.prepare() for value, contender in points}
    timings = interleaved(runs, {str(value): contender.work for value, contender in points}, rounds)
    return [{"value": value} | measured(timings[str(value)], runs[str(value)]) for value, _ in points]


def measured(timing: Timing, run: Callable) -> Record:
    """Median rate, every round's, the kernel and the devices."""
    return {"rate": timing.rate, "rates": list(timing.rates), "details": getattr(run, "details", {})}


def probe(size: Size, *, devices: int, rounds: int) -> Record:
    """Rate and peak memory of a process with so many CPU devices."""
    request = json.dumps({"size": asdict(size), "devices": devices, "rounds": rounds})
    command = [sys.executable, "-m", "sgdynamics_benchmarks.scaling", request]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    if answer.returncode:
        raise RuntimeError(f"a process of the scaling benchmark ended with {answer.returncode}: {answer.stderr}")
    return json.loads(answer.stdout.splitlines()[-1])


def main(request: str) -> None:
    """What `probe` asks for, printed as JSON."""
    import jax

    asked = json.loads(request)
    pinned = pin(asked["devices"])
    jax.config.update("jax_num_cpu_devices", asked["devices"])
    jax.config.update("jax_enable_x64", True)
    size = Size(**asked["size"])
    contender = peers.simulated(regression.descent(size), replicas=size.replicas, steps=size.steps, every=EVERY)
    run = contender.prepare()
    timing = interleaved({"": run}, {"": contender.work}, asked["rounds"])[""]
    print(json.dumps(measured(timing, run) | {"peak_bytes": peak_bytes(), "pinned": pinned}))


def pin(number: int) -> bool:
    """Holds this process to so many cores, before JAX starts its threads. Whether the system does that."""
    if not hasattr(os, "sched_setaffinity"):
        return False
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:number])
    return True


def peak_bytes() -> int | None:
    """The largest resident memory that this process ever had; None where the system does not tell.

    Not `resource.getrusage`: on Linux its figure begins with that of the process which started this one.
    """
    status = pathlib.Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)


def table(record: Record) -> str:
    """A line for each sweep: value: 10⁶ replica-steps/s."""
    lines = []
    for name, points in record["sweeps"].items():
        row = "   ".join(f"{point['value']:,}: {point['rate'] / 1e6:.3g}" for point in points)
        lines.append(f"{name:30} {row}")
    for name, label in (("devices", "devices"), ("memory", "steps (R ≤ 64, one device)")):
        row = "   ".join(f"{point['value']:,}: {point['rate'] / 1e6:.3g}" for point in record[name])
        lines.append(f"{label:30} {row}")
    memory = [point for point in record["memory"] if point["peak_bytes"]]
    row = "   ".join(f"{point['steps']:,}: {point['peak_bytes'] / 2**20:.0f} MiB" for point in memory)
    return "\n".join(["10⁶ replica-steps/s", *lines, f"{'peak memory, by steps':30} {row}"])


def draw(record: Record, path: pathlib.Path) -> None:
    """A panel for each sweep."""
    figure, panels = picture.panels(4, 2)
    titles = {"replicas": "replicas R", "inputs": "inputs N", "samples": "samples P", "batch_size": "batch size S"}
    for axes, (name, label) in zip(panels, titles.items(), strict=False):
        curve(axes, record["sweeps"][name], "regression", 0)
        if name == "replicas":
            curve(axes, record["sweeps"]["replicas, deep linear network"], "deep linear network", 1)
            axes.legend()
        axes.set(xscale="log", yscale="log", xlabel=label, ylabel="10⁶ replica-steps/s")
    devices, memory = record["devices"], [point for point in record["memory"] if point["peak_bytes"]]
    counts, rates = [point["devices"] for point in devices], [point["rate"] / 1e6 for point in devices]
    curve(panels[4], devices, "measured", 0)
    if all(point["pinned"] for point in devices):
        ideal = [rates[0] * count / counts[0] for count in counts]
        panels[4].plot(counts, ideal, "--", color=picture.GREY, label="ideal")
    panels[4].set(xlabel="CPU devices, a core each", ylabel="10⁶ replica-steps/s", xticks=counts)
    panels[4].set_ylim(bottom=0)
    panels[4].legend()
    curve(panels[5], record["memory"], "regression", 0)
    panels[5].set(xscale="log", xlabel="steps (R ≤ 64, one device)", ylabel="10⁶ replica-steps/s")
    panels[5].set_ylim(bottom=0)
    panels[6].plot(
        [point["steps"] for point in memory],
        [point["peak_bytes"] / 2**20 for point in memory],
        "o-",
        color=picture.BLUE,
    )
    panels[6].set(xscale="log", xlabel="steps", ylabel="peak resident memory (MiB)")
    panels[6].set_ylim(0, 1.2 * max((point["peak_bytes"] / 2**20 for point in memory), default=1))
    panels[7].set_axis_off()
    figure.savefig(path)


def curve(axes, points: list[Record], label: str, number: int) -> None:
    """Medians, with bars from the slowest to the fastest round."""
    x, rates = [point["value"] for point in points], [[rate / 1e6 for rate in point["rates"]] for point in points]
    middle = [statistics.median(row) for row in rates]
    below = [m - min(row) for m, row in zip(middle, rates, strict=True)]
    above = [max(row) - m for m, row in zip(middle, rates, strict=True)]
    axes.errorbar(
        x, middle, yerr=[below, above], label=label, color=picture.COLOURS[number], fmt=picture.MARKERS[number] + "-",
        markersize=4, linewidth=1.2, capsize=2,
    )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1])
