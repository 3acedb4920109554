"""Ctrl-C where it does no harm.

JAX gives a training step its weights' memory to write the new ones to. An
interrupt that Python raises within a step, which is most of the time, leaves
neither the old weights nor the new ones, so there it waits for the next batch.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

import keras

from mnistpipe.runs import backends


class _Hold(keras.callbacks.Callback):
    """Takes signals and hands them on between two batches."""

    # Keras 2 would wait for the logs at each batch.
    _supports_tf_logs = True

    def __init__(self) -> None:
        super().__init__()
        self.handlers: dict[int, Any] = {}
        self.pending: list[int] = []

    def take(self) -> None:
        """Only from handlers in Python: others end the process."""
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):
                self.handlers[number] = handler
                signal.signal(number, self._note)

    def give_back(self) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def hand_on(self) -> None:
        while self.pending:
            number = self.pending.pop()
            self.handlers[number](number, None)

    def _note(self, number: int, _: Any) -> None:
        self.pending.append(number)

    def on_train_batch_begin(
        self, batch: int, logs: dict | None = None
    ) -> None:
        self.hand_on()

    def on_test_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self.hand_on()


@contextlib.contextmanager
def between_batches() -> Iterator[list[keras.callbacks.Callback]]:
    """Holds interrupts until a batch begins, where that is needed.

    Yields:
      The callbacks to give to every `fit` within it.
    """
    main = threading.current_thread() is threading.main_thread()
    # Signals are the main thread's in Python.
    if backends.name() != "jax" or not main:
        yield []
        return
    hold = _Hold()
    hold.take()
    try:
        yield [hold]
    finally:
        hold.give_back()
    hold.hand_on()
