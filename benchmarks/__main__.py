"""Runs the benchmarks, prints a table, and writes `results/bench/regression.json`."""

import json
import pathlib

from benchmarks import regression
from benchmarks.timing import machine


def main() -> None:
    timings = regression.run()
    base = next(iter(timings.values())).rate
    print(f"{'one-layer regression':48} {'10⁶ replica-steps/s':>20} {'ratio':>7}")
    for name, timing in timings.items():
        print(f"{name:48} {timing.rate / 1e6:20.2f} {timing.rate / base:7.2f}")
    record = {
        "machine": machine(),
        "replica_steps_per_second": {name: timing.rate for name, timing in timings.items()},
        "seconds": {name: timing.seconds for name, timing in timings.items()},
    }
    folder = pathlib.Path("results/bench")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "regression.json").write_text(json.dumps(record, indent=2))
    print(f"written to {folder / 'regression.json'}")


if __name__ == "__main__":
    main()
