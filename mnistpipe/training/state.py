"""The state of a training at a step: read from Keras' objects and restored.

    network/…    weights, moving averages, dropout's generators
    optimizer/…  moments, iterations, learning rate
    metrics/…    sums so far, within an epoch
    best/…       the weights of the best epoch
    facts        memory of the callbacks, history, provenance of the run

Variables are identified by their position: for the same recipe Keras makes
them in the same order, but not always with the same names. The state holds the
best weights too, because best.keras may be of an epoch after the state.

Reading a state changes nothing, so a training has the same bits however often
its state is saved.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from mnistpipe.runs import runfolder
from mnistpipe.runs.record import Provenance
from mnistpipe.training import callbacks, checkpoint, optimizers
from mnistpipe.training.facts import (
    BestMemory,
    Memory,
    PlateauMemory,
    StateFacts,
    StoppingMemory,
)
from mnistpipe.training.feeding import Feed

_MEMORIES = {
    "ReduceLROnPlateau": PlateauMemory,
    "EarlyStopping": StoppingMemory,
    "SaveBest": BestMemory,
}


def make_dropout_saveable() -> None:
    """Makes Keras 2 keep dropout's generators in variables, as Keras 3 does.

    Call this function before the network is built.
    """
    if not hasattr(keras, "Variable"):
        keras.backend.experimental.enable_tf_random_generator()


def variables(network: keras.Model, trainer: keras.Model) -> dict[str, list]:
    """Returns all variables that decide the next step, by kind."""
    return {
        "network": [*network.variables, *_generators(network)],
        "optimizer": optimizers.variables(
            trainer.optimizer, trainer.trainable_variables
        ),
    }


def _generators(network: keras.Model) -> list:
    """Returns dropout's generators of Keras 2, which no layer lists."""
    holders = [
        getattr(layer, "_random_generator", None) for layer in network.layers
    ]
    generators = [getattr(holder, "_generator", None) for holder in holders]
    return [one.state for one in generators if one is not None]


def metrics(trainer: keras.Model) -> list:
    """Returns the variables of loss and metrics.

    Keras makes these variables at the first batch.
    """
    return [v for metric in trainer.metrics for v in metric.variables]


@dataclasses.dataclass(frozen=True)
class Callbacks:
    """The callbacks whose memory belongs to the state.

    Attributes:
      in_order: all callbacks before the StateCallback, in Keras' order.
      history: Keras' History, one of them.
      best: one of them if the run validates.
    """

    in_order: Sequence[keras.callbacks.Callback]
    history: keras.callbacks.History
    best: callbacks.SaveBest


class StateCallback(keras.callbacks.Callback):
    """Saves the state at each epoch's end and every `save_every` steps.

    This must be the last callback. It saves the memory of the other callbacks
    and, in a `fit` that continues a training, restores their memory after
    their `on_train_begin` has cleared it.

    Args:
      run: what the run was begun with.
      feed: the trained model and its steps.
      others: the other callbacks.
      folder: the run folder.
    """

    # Otherwise Keras 2 would wait for the logs at each batch.
    _supports_tf_logs = True

    def __init__(
        self,
        run: Provenance,
        feed: Feed,
        others: Callbacks,
        folder: runfolder.RunFolder,
    ) -> None:
        super().__init__()
        self.run = run
        self.network = feed.network
        self.trainer = feed.model
        self.steps_per_epoch = feed.stream.steps_per_epoch
        self.history = others.history
        self.best = others.best
        self.by_name = {type(one).__name__: one for one in others.in_order}
        self.folder = folder
        self.variables = variables(feed.network, feed.model)
        self.memory = Memory()  # of the callbacks, at the last epoch's end
        self.stopped = False
        self.started = time.perf_counter()
        self.seconds_before = 0.0
        self.resumed: list[int] = []
        self.epoch = 0
        self.first = 0  # the step of the epoch at which this `fit` began
        self.saved = 0  # the step of the epoch that was saved last
        self.sums: list[np.ndarray] = []  # metrics to restore in the epoch

    @property
    def seconds(self) -> float:
        """The time spent in training, in all sessions of the run."""
        return self.seconds_before + time.perf_counter() - self.started

    # As a callback

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Restores the memory of the other callbacks."""
        for name, values in vars(self.memory).items():
            for attribute, value in vars(values).items() if values else ():
                setattr(self.by_name[name], attribute, value)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Restores the sums of the metrics in an epoch entered midway."""
        self.epoch = epoch
        self.saved = self.first
        if self.sums:
            _assign("metrics", metrics(self.trainer), self.sums)

    def on_train_batch_begin(
        self, batch: int, logs: dict | None = None
    ) -> None:
        """Saves the state before a batch if it is time.

        A method for the end of a batch would make Keras wait for the logs.
        """
        step, every = self.first + batch, self.run.options.save_every
        if every and step // every > self.saved // every:
            self.save(step)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Saves the state as the beginning of the next epoch."""
        self.epoch, self.first, self.sums = epoch + 1, 0, []
        self.memory = self._memory_of_others()
        self.stopped = bool(self.trainer.stop_training)
        self.save(0)

    # To disk and back

    def save(self, step: int) -> None:
        """Writes the state after `step` steps of the present epoch."""
        arrays = {
            f"{kind}/{position:03}": array
            for kind, group in self._groups(step > 0).items()
            for position, array in enumerate(group)
        }
        facts = StateFacts(
            **vars(self.run),
            memory=self.memory,
            stopped=self.stopped,
            history=_plain(self.history.history),
            history_file=self.folder.read(runfolder.HISTORY),
            seconds=self.seconds,
            resumed=tuple(self.resumed),
        )
        number = self.epoch * self.steps_per_epoch + step
        with self.folder.errors():
            checkpoint.write(
                self.folder.path, checkpoint.State(number, facts, arrays)
            )
        self.saved = step

    def _groups(self, within_epoch: bool) -> dict[str, list[np.ndarray]]:
        # Under JAX the variables are empty within an epoch, until a callback
        # reads its `model`, which Keras sets when a `fit` begins.
        trainer = self.model or self.trainer
        groups = dict(self.variables)
        if within_epoch:
            groups["metrics"] = metrics(trainer)
        arrays = {
            kind: [variable.numpy() for variable in group]
            for kind, group in groups.items()
        }
        return {**arrays, "best": self.best.weights or []}

    def restore(self, state: checkpoint.State) -> None:
        """Restores the training, its history and best.keras."""
        facts = state.facts
        self.epoch, self.first = divmod(state.step, self.steps_per_epoch)
        self._check_facts(facts)
        best = _arrays(state, "best")
        if best:
            _check("best", self.network.weights, best)
        for kind, group in self.variables.items():
            _check(kind, group, _arrays(state, kind))
        self._restore_best(best)
        for kind, group in self.variables.items():
            _assign(kind, group, _arrays(state, kind))
        self.memory = facts.memory
        self.on_train_begin()  # No `fit` follows if no epoch is left.
        self.stopped = facts.stopped
        self.history.history = {n: [*f] for n, f in facts.history.items()}
        self.folder.write(runfolder.HISTORY, facts.history_file)
        self.seconds_before = facts.seconds
        self.resumed = [*facts.resumed, state.step]
        self.sums = _arrays(state, "metrics")

    def _restore_best(self, weights: list[np.ndarray]) -> None:
        """Writes best.keras, which may be missing or of a later epoch."""
        self.best.weights = weights or None
        if weights:
            self.network.set_weights(weights)
            self.folder.save_network(self.network, runfolder.BEST)
        else:
            self.folder.remove(runfolder.BEST)

    def _check_facts(self, facts: StateFacts) -> None:
        """Refuses facts that this training cannot have written."""
        used = [name for name, value in vars(facts.memory).items() if value]
        unknown = [name for name in used if name not in self.by_name]
        if unknown or facts.epochs != self.epoch:
            raise runfolder.RunFolderError(
                f"saved state: expected the figures of {self.epoch} epochs and"
                f" memory of {', '.join(self.by_name)}, got {facts.epochs} "
                f"epochs and memory of {', '.join(used) or 'nothing'}"
            )

    def _memory_of_others(self) -> Memory:
        return Memory(
            **{
                name: kind(
                    **{
                        field.name: _plain(
                            getattr(self.by_name[name], field.name, None)
                        )
                        for field in dataclasses.fields(kind)
                    }
                )
                for name, kind in _MEMORIES.items()
                if name in self.by_name
            }
        )


def _arrays(state: checkpoint.State, kind: str) -> list[np.ndarray]:
    """Returns the arrays of a kind in the order of their positions."""
    names = sorted(n for n in state.arrays if n.startswith(f"{kind}/"))
    return [state.arrays[name] for name in names]


def _check(kind: str, group: Sequence, arrays: Sequence[np.ndarray]) -> None:
    """Refuses shapes and dtypes of another network or of a forged state."""
    expected = [
        (tuple(v.shape), str(getattr(v.dtype, "name", v.dtype))) for v in group
    ]
    got = [(array.shape, str(array.dtype)) for array in arrays]
    if expected != got:
        raise runfolder.RunFolderError(
            f"saved state: expected {kind} variables {expected}, got {got}"
        )


def _assign(kind: str, group: Sequence, arrays: Sequence[np.ndarray]) -> None:
    _check(kind, group, arrays)
    for variable, array in zip(group, arrays, strict=True):
        variable.assign(array)


def _plain(value: Any) -> Any:
    """Returns NumPy's numbers as Python's, which hold the same values."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int):
        return value
    number = float(value)
    whole = math.isfinite(number) and isinstance(value, np.integer)
    return int(number) if whole else number
