"""Progress of an experiment: stages of a known number of steps, shown as bars or not at all."""

import sys
from typing import Protocol, runtime_checkable

from tqdm import tqdm


@runtime_checkable
class Progress(Protocol):
    """Who is told how far a run has come. A stage ends where the next begins, the last at `close`."""

    def stage(self, name: str, steps: int) -> None:
        """A stage of `steps` steps begins."""
        ...

    def advance(self, steps: int = 1) -> None:
        """So many further steps of this stage are done."""
        ...

    def close(self) -> None:
        """The run has ended, by itself or by an error."""
        ...


class Silence:
    """Shows nothing."""

    def stage(self, name: str, steps: int) -> None:
        pass

    def advance(self, steps: int = 1) -> None:
        pass

    def close(self) -> None:
        pass


class Bars:
    """One bar a stage, on standard error."""

    def __init__(self):
        self._bar: tqdm | None = None

    def stage(self, name: str, steps: int) -> None:
        self.close()
        self._bar = tqdm(total=steps, desc=name, unit="step", unit_scale=True, file=sys.stderr)

    def advance(self, steps: int = 1) -> None:
        if self._bar is not None:
            self._bar.update(steps)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None
