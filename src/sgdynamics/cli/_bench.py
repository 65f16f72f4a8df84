"""`sgdynamics bench`: what benchmarks measure."""

import pathlib

from sgdynamics.cli._commands import Bench
from sgdynamics.cli._messages import refused


def bench(settings: Bench) -> int:
    """Runs benchmarks, prints their tables and stores what they measured; 1 where one of them fails."""
    from sgdynamics_benchmarks import runner

    out = settings.out or pathlib.Path("results/bench-quick" if settings.quick else "results/bench")
    try:
        plan = runner.plan(settings.names, out=out, rounds=settings.rounds, quick=settings.quick)
    except (ValueError, OSError) as error:
        return refused(error)
    return 0 if runner.run(plan) else 1
