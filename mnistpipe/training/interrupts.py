"""Holds Ctrl-C until the next batch where an interrupt could lose weights.

JAX donates the memory of the weights to the training step, which writes the
new weights there. An interrupt within a step would leave neither the old nor
the new weights, so under JAX interrupts wait for the next batch.

In a group of several processes, an interrupt of one process stops all of them
before the same batch.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

import keras

from mnistpipe.processes import group
from mnistpipe.runs import backends


class _Hold(keras.callbacks.Callback):
    """Receives signals and passes them on between two batches."""

    # Otherwise Keras 2 would wait for the logs at each batch.
    _supports_tf_logs = True

    def __init__(self) -> None:
        super().__init__()
        self.handlers: dict[int, Any] = {}
        self.pending: list[int] = []

    def take(self) -> None:
        """Replaces the handlers that are written in Python.

        Other handlers end the process, and weights no longer matter.
        """
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


class _StopTogether(keras.callbacks.Callback):
    """Stops all processes of a group before the same batch."""

    def __init__(self) -> None:
        super().__init__()
        self.step = 0  # counted over all calls of `fit`

    def on_train_batch_begin(
        self, batch: int, logs: dict | None = None
    ) -> None:
        self.step += 1
        group.stop_together(self.step)


@contextlib.contextmanager
def between_batches() -> Iterator[list[keras.callbacks.Callback]]:
    """Holds interrupts until a batch begins, if the backend needs this.

    Yields:
      The callbacks for every `fit` inside the `with` statement.
    """
    if group.count() > 1:
        yield [_StopTogether()]
        return
    main = threading.current_thread() is threading.main_thread()
    # Python handles signals only in the main thread.
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
