"""Runs the benchmarks, prints a table of each, and writes `results/bench/NAME.json`."""

import json
import pathlib
from types import ModuleType

import jax

from benchmarks import deep_linear, epochs, regression
from benchmarks.timing import machine

BENCHMARKS = {"regression": regression, "epochs": epochs, "deep_linear": deep_linear}


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    for name, module in BENCHMARKS.items():
        report(name, module)


def report(name: str, module: ModuleType) -> None:
    """Runs one benchmark; ratios of rates are against its first contender, or the one that its `base` names."""
    timings = module.run()
    base = getattr(module, "base", lambda contender: next(iter(timings)))
    print(f"{name:48} {'10⁶ replica-steps/s':>20} {'ratio':>9}")
    for contender, timing in timings.items():
        print(f"{contender:48} {timing.rate / 1e6:20.4f} {timing.rate / timings[base(contender)].rate:9.2f}")
    record = {
        "machine": machine(),
        "replica_steps_per_second": {contender: timing.rate for contender, timing in timings.items()},
        "seconds": {contender: timing.seconds for contender, timing in timings.items()},
    }
    folder = pathlib.Path("results/bench")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(record, indent=2))
    print(", ".join(f"{name} {value}" for name, value in record["machine"].items()))
    print(f"written to {folder / name}.json")


if __name__ == "__main__":
    main()
