"""The wish to stop: SIGTERM and SIGINT end a run between two chunks, with a checkpoint, rather than in mid-step.

The first signal is noted; the handlers are then as they were before, so that a second one ends the process at once.
Only the main thread of Python can be told of signals: elsewhere they act as ever.
"""

import signal
import threading
from types import FrameType
from typing import Any

NOTED = (signal.SIGTERM, signal.SIGINT)


class Interrupted(KeyboardInterrupt):
    """A run was stopped by a signal, and can be resumed. `signal`: its number, None where another process got it."""

    def __init__(self, message: str, number: int | None):
        super().__init__(message)
        self.signal = number

    def __reduce__(self) -> tuple:
        return type(self), (str(self), self.signal)  # it may come from another process


class Wish:
    """Notes the first signal that asks to stop: `number`."""

    def __init__(self):
        self.number: int | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Wish":
        if threading.current_thread() is threading.main_thread():
            heard = [kind for kind in NOTED if signal.getsignal(kind) is not signal.SIG_IGN]
            self._before = {kind: signal.signal(kind, self._note) for kind in heard}
        return self

    def __exit__(self, *_: object) -> None:
        before, self._before = self._before, {}
        for kind, handler in before.items():
            signal.signal(kind, signal.SIG_DFL if handler is None else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self.__exit__()
