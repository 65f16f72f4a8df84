"""Who is told how far a run has come: a bar with rate and remaining time, a function of the user's, or nobody."""

from collections.abc import Callable

import jax

from sgdynamics.ensemble._run import AbstractWatcher, Point


class Reporter(AbstractWatcher):
    """Tells of steps done; `progress` is True for a bar, a function of the number of steps, or False; `done` is the
    number of steps that an earlier run has made. Of several processes the first alone shows a bar."""

    def __init__(self, progress: bool | Callable[[int], None], total: int, done: int = 0):
        self.bar = _bar(total, done) if progress is True and jax.process_index() == 0 else None
        self.report = self.bar.update if self.bar else progress if callable(progress) else lambda steps: None
        if done and callable(progress):
            progress(done)

    def look(self, point: Point, steps: int) -> None:
        self.report(steps)

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.close()


def _bar(total: int, done: int):
    from tqdm import tqdm

    return tqdm(total=total, initial=done, unit="step", unit_scale=True, desc="simulate")
