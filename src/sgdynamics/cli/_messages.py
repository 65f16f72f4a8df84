"""What is said where: results on standard output, refusals and what the library logs on standard error."""

import contextlib
import logging
import os
import pathlib
import signal
import sys
from collections.abc import Iterator

from tqdm import tqdm

from sgdynamics.ensemble import Interrupted


def say(words: str, *, aside: bool = False) -> None:
    """Prints, at once, for a run takes a while; `aside`: on standard error, where the output is a JSON document."""
    print(words, file=sys.stderr if aside else sys.stdout, flush=True)


def refused(error: Exception) -> int:
    """The exit code of a bad value, which the message names."""
    print(f"sgdynamics: {error}", file=sys.stderr)
    return 2


def stopped(stop: Interrupted) -> int:
    """The exit code of a process that a signal has ended."""
    print(f"sgdynamics: {stop}; the same command with --resume goes on.", file=sys.stderr)
    return 128 + (stop.signal or signal.SIGTERM)


def shown(path: pathlib.Path) -> str:
    """A path as a reader of the terminal would write it."""
    return os.path.relpath(path) if path.is_relative_to(pathlib.Path.cwd()) else str(path)


class _AboveBars(logging.Handler):
    """Writes to standard error, above the bar that is there."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


@contextlib.contextmanager
def listening(verbose: bool) -> Iterator[None]:
    """While a command runs: what the library logs is shown, with `verbose` all that it tells."""
    logger, handler = logging.getLogger("sgdynamics"), _AboveBars()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S"))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO if verbose else logging.WARNING)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
