"""What a training is at a step: taken from Keras' objects, and put back.

    network/…    weights, moving averages, dropout's generators
    optimizer/…  moments, iterations, learning rate
    metrics/…    sums so far, within an epoch
    best/…       the weights of the best epoch
    facts        memory of the callbacks, history, what the run was begun with

Variables are told apart by their place: Keras makes them in the same order
for the same recipe, but not always with the same names. The best weights are
here and not only in best.keras, which may be of an epoch after the state.

Taking a state reads and never writes, so that a training has the same bits
however often it is saved.
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

_MEMORIES = {
    "ReduceLROnPlateau": PlateauMemory,
    "EarlyStopping": StoppingMemory,
    "SaveBest": BestMemory,
}


def make_dropout_saveable() -> None:
    """Keras 2 keeps dropout's generators in ops unless told; 3 in variables.

    To be called before the network is made.
    """
    if not hasattr(keras, "Variable"):
        keras.backend.experimental.enable_tf_random_generator()


def forgets(optimizer: str) -> bool:
    """Whether an optimizer keeps something where it can't be taken from."""
    return optimizer == "nadam" and not hasattr(keras, "Variable")


def variables(network: keras.Model, trainer: keras.Model) -> dict[str, list]:
    """All variables that decide the next step, by kind."""
    return {
        "network": [*network.variables, *_generators(network)],
        "optimizer": optimizers.variables(
            trainer.optimizer, trainer.trainable_variables
        ),
    }


def _generators(network: keras.Model) -> list:
    """Dropout's generators in Keras 2, where they are no layer's weights."""
    holders = [
        getattr(layer, "_random_generator", None) for layer in network.layers
    ]
    generators = [getattr(holder, "_generator", None) for holder in holders]
    return [one.state for one in generators if one is not None]


def metrics(trainer: keras.Model) -> list:
    """The variables of loss and metrics; made by Keras at the first batch."""
    return [v for metric in trainer.metrics for v in metric.variables]


class Keeper(keras.callbacks.Callback):
    """Saves a training's state at each epoch's end and every `every` steps.

    To be the last of the callbacks, since it keeps what the others remember
    and, in a `fit` that goes on with a training, puts it back after they
    forgot it.

    Args:
      network: what is trained.
      trainer: the model that `fit` is called of.
      watchers: the callbacks before this one.
      history: Keras' History, one of these.
      best: callbacks.SaveBest, one of these where the run validates.
      folder: where to.
      begun: what the run was begun with.
      every: steps; 0 saves at the ends of epochs only.
      steps_per_epoch: of the stream.
    """

    # Keras 2 would wait for the logs at each batch.
    _supports_tf_logs = True

    def __init__(
        self,
        network: keras.Model,
        trainer: keras.Model,
        watchers: Sequence[keras.callbacks.Callback],
        history: keras.callbacks.History,
        best: callbacks.SaveBest,
        folder: runfolder.RunFolder,
        begun: Provenance,
        every: int,
        steps_per_epoch: int,
    ) -> None:
        super().__init__()
        self.network = network
        self.trainer = trainer
        self.watchers = {type(one).__name__: one for one in watchers}
        self.history = history
        self.best = best
        self.folder = folder
        self.begun = begun
        self.every = every
        self.steps_per_epoch = steps_per_epoch
        self.variables = variables(network, trainer)
        self.memory = Memory()  # at the last epoch's end
        self.stopped = False
        self.started = time.perf_counter()
        self.seconds_before = 0.0
        self.resumed: list[int] = []
        self.epoch = 0
        self.first = 0  # the step within the epoch at which this fit began
        self.saved = 0  # and the one of the last state
        self.sums: list[np.ndarray] = []  # metrics to put back in that epoch

    @property
    def seconds(self) -> float:
        """Spent in training, in all sessions of the run."""
        return self.seconds_before + time.perf_counter() - self.started

    # As a callback

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Gives the other callbacks their memory back."""
        for name, values in vars(self.memory).items():
            for attribute, value in vars(values).items() if values else ():
                setattr(self.watchers[name], attribute, value)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Gives the metrics of an epoch that is entered midway their sums."""
        self.epoch = epoch
        self.saved = self.first
        if self.sums:
            _assign("metrics", metrics(self.trainer), self.sums)

    def on_train_batch_begin(
        self, batch: int, logs: dict | None = None
    ) -> None:
        """Saves if it is time: what is before a batch is after the last.

        A hook at a batch's end would have Keras wait for the device's logs.
        """
        step = self.first + batch
        if self.every and step // self.every > self.saved // self.every:
            self.save(step)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Saves, as the beginning of the next epoch."""
        self.epoch, self.first, self.sums = epoch + 1, 0, []
        self.memory = self._remembered()
        self.stopped = bool(self.trainer.stop_training)
        self.save(0)

    # To disk and back

    def save(self, step: int) -> None:
        """Writes the state after `step` steps of the present epoch."""
        arrays = {
            f"{kind}/{place:03}": array
            for kind, group in self._groups(step > 0).items()
            for place, array in enumerate(group)
        }
        facts = StateFacts(
            **vars(self.begun),
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
        # is asked for its model, which it has once a `fit` has begun.
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
        """Makes the training, its history and best.keras what they were."""
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
        self.on_train_begin()  # for a training of which nothing is left
        self.stopped = facts.stopped
        self.history.history = {n: [*f] for n, f in facts.history.items()}
        self.folder.write(runfolder.HISTORY, facts.history_file)
        self.seconds_before = facts.seconds
        self.resumed = [*facts.resumed, state.step]
        self.sums = _arrays(state, "metrics")

    def _restore_best(self, weights: list[np.ndarray]) -> None:
        """best.keras may be missing, or of an epoch that is yet to come."""
        self.best.weights = weights or None
        if weights:
            self.network.set_weights(weights)
            self.folder.save_network(self.network, runfolder.BEST)
        else:
            self.folder.remove(runfolder.BEST)

    def _check_facts(self, facts: StateFacts) -> None:
        """Refuses facts that this training cannot have written."""
        used = [name for name, value in vars(facts.memory).items() if value]
        unknown = [name for name in used if name not in self.watchers]
        if unknown or facts.epochs != self.epoch:
            raise runfolder.RunFolderError(
                f"saved state: expected the figures of {self.epoch} epochs and"
                f" memory of {', '.join(self.watchers)}, got {facts.epochs} "
                f"epochs and memory of {', '.join(used) or 'nothing'}"
            )

    def _remembered(self) -> Memory:
        return Memory(
            **{
                name: kind(
                    **{
                        field.name: _plain(
                            getattr(self.watchers[name], field.name, None)
                        )
                        for field in dataclasses.fields(kind)
                    }
                )
                for name, kind in _MEMORIES.items()
                if name in self.watchers
            }
        )


def _arrays(state: checkpoint.State, kind: str) -> list[np.ndarray]:
    """In their order, which is that of their names."""
    names = sorted(n for n in state.arrays if n.startswith(f"{kind}/"))
    return [state.arrays[name] for name in names]


def _check(kind: str, group: Sequence, arrays: Sequence[np.ndarray]) -> None:
    """Refuses other shapes and types, which only a forged state can have."""
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
    """NumPy's numbers as Python's, which hold each of their values."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int):
        return value
    number = float(value)
    whole = math.isfinite(number) and isinstance(value, np.integer)
    return int(number) if whole else number
