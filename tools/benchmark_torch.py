"""The same networks in PyTorch, trained on the same cores.

The twin is made from the Keras model, layer by layer, and has as many
parameters in each; initial values differ, which costs no time. Where Keras
pads an even side on one side more (strides of 2), PyTorch pads both alike:
the same outputs, one row of zeros more.
"""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Callable

import benchmark_fit
import benchmark_timing as timing
import keras
import numpy as np
import torch
from torch import nn

from mnistpipe import data, recipes


def twin(network: keras.Model) -> nn.Sequential:
    """The Keras network's layers in PyTorch; the last one gives logits.

    Raises:
      ValueError: a layer of a kind that the networks don't have, or of
        another number of parameters.
    """
    modules: list[nn.Module] = []
    for layer in network.layers:
        made = _modules(layer)
        mine = sum(p.numel() for m in made for p in _numbers(m))
        if mine != layer.count_params():
            raise ValueError(
                f"Expected {layer.count_params()} parameters in {layer.name}."
                f" Received: {mine}"
            )
        modules.extend(made)
    return nn.Sequential(*modules)


def _numbers(module: nn.Module) -> list[torch.Tensor]:
    """Weights and moving averages; not the count of batches, an integer."""
    both = [*module.parameters(), *module.buffers()]
    return [number for number in both if number.is_floating_point()]


def _modules(layer: keras.layers.Layer) -> list[nn.Module]:
    layers = keras.layers
    if isinstance(layer, layers.InputLayer):
        return []
    if isinstance(layer, layers.Conv2D):
        size = layer.kernel_size[0]
        module = nn.Conv2d(
            layer.kernel.shape[2],
            layer.filters,
            size,
            stride=layer.strides,
            padding=size // 2 if layer.padding == "same" else 0,
            dilation=layer.dilation_rate,
            bias=layer.use_bias,
        )
        return [module, *_activation(layer.activation)]
    if isinstance(layer, layers.Dense):
        module = nn.Linear(*layer.kernel.shape, bias=layer.use_bias)
        return [module, *_activation(layer.activation)]
    if isinstance(layer, layers.BatchNormalization):
        features, momentum = layer.gamma.shape[0], 1 - layer.momentum
        kinds = {2: nn.BatchNorm1d, 4: nn.BatchNorm2d}
        kind = kinds[len(layer.output.shape)]
        return [kind(features, eps=layer.epsilon, momentum=momentum)]
    if isinstance(layer, layers.MaxPooling2D):
        return [nn.MaxPool2d(layer.pool_size, layer.strides)]
    if isinstance(layer, layers.GlobalAveragePooling2D):
        return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if isinstance(layer, layers.Dropout):
        return [nn.Dropout(layer.rate)]
    if isinstance(layer, layers.Activation):
        return _activation(layer.activation)
    if isinstance(layer, layers.Flatten):
        return [nn.Flatten()]
    raise ValueError(f"Expected a layer with a twin. Received: {layer}")


def _activation(function: Callable) -> list[nn.Module]:
    # The softmax is the loss' in PyTorch.
    kinds = {"relu": [nn.ReLU()], "linear": [], "softmax": []}
    return kinds[function.__name__]


class Training:
    """Training steps on one constant batch, as `fit` does them.

    Loss, gradient, Adam, the sums of loss and accuracy.

    Args:
      network: the Keras network.
      pictures: float32 [B, H, W, C].
      labels: int [B].
      label_smoothing: of the loss.
      tuned: with what a user of PyTorch can switch on: the channels last in
        memory, Adam in one kernel.
    """

    def __init__(
        self,
        network: keras.Model,
        pictures: np.ndarray,
        labels: np.ndarray,
        label_smoothing: float,
        tuned: bool = False,
    ) -> None:
        self.module = twin(network).train()
        layout = torch.channels_last if tuned else torch.contiguous_format
        self.module.to(memory_format=layout)
        channels_first = np.ascontiguousarray(np.moveaxis(pictures, -1, 1))
        self.pictures = torch.from_numpy(channels_first)
        self.pictures = self.pictures.contiguous(memory_format=layout)
        self.labels = torch.from_numpy(labels.astype(np.int64))
        self.loss = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
        # A learning rate of 0, as `fit` has it in this benchmark.
        self.optimizer = torch.optim.Adam(
            self.module.parameters(), lr=0.0, fused=tuned or None
        )
        self.sums = [torch.zeros(()), torch.zeros(())]

    def step(self) -> None:
        """One step."""
        self.optimizer.zero_grad()
        logits = self.module(self.pictures)
        loss = self.loss(logits, self.labels)
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            self.sums[0] += loss
            self.sums[1] += (logits.argmax(1) == self.labels).float().mean()

    def steps(self, count: int) -> None:
        """Some steps; fails if the loss is no number."""
        for _ in range(count):
            self.step()
        if not math.isfinite(float(self.sums[0])):
            raise ArithmeticError("The loss in PyTorch is no number.")


def compare(
    archs: list[str], rounds: int, seconds: float
) -> list[timing.Table]:
    """A step of `fit`, its compiled function alone, and PyTorch's."""
    cores = os.cpu_count()
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(cores)  # as many as TensorFlow takes
    digits = data.load()
    table = timing.Table(
        f"The same networks on a constant batch, ms a step on {cores} cores: "
        "fit, its compiled step called without fit, PyTorch as it comes, "
        "PyTorch with channels last and fused Adam; speed of fit beside "
        "PyTorch's faster one"
    )
    for arch in archs:
        recipe = recipes.recipe_for(arch)
        figures = timing.interleaved(_measures(recipe, digits, seconds), rounds)
        median = timing.medians(figures)
        best = min(("PyTorch", "tuned"), key=median.get)
        speed = timing.ratio(figures, best, "fit")
        row = {"": arch, "batch": recipe.batch_size, **median, "speed": speed}
        table.rows.append(row)
        if speed < 1:
            table.notes.append(f"{arch}: behind PyTorch, {speed:.2f} of it")
    return [table]


def _measures(
    recipe: recipes.Recipe, digits: data.Digits, seconds: float
) -> dict[str, Callable[[], float]]:
    """Functions that measure ms a step."""
    model = benchmark_fit.still_feed(recipe, digits, "host").model
    pictures, labels, batches = benchmark_fit.constant_batches(recipe, digits)
    count = benchmark_fit.enough_steps(model, batches, seconds)
    fit = functools.partial(benchmark_fit.step_seconds, model, batches, count)
    forever, step = iter(batches), model.train_function

    def compiled(steps: int) -> None:
        for _ in range(steps):
            step(forever)

    def measure(steps_of: Callable[[int], None]) -> Callable[[], float]:
        def milliseconds() -> float:
            steps_of(2)  # until the other library's threads sleep
            start = time.perf_counter()
            steps_of(count)
            return (time.perf_counter() - start) / count * 1e3

        return milliseconds

    trainings = [
        Training(model, pictures, labels, recipe.label_smoothing, tuned)
        for tuned in (False, True)
    ]
    return {
        "fit": lambda: fit()[0] * 1e3,
        "its step": measure(compiled),
        "PyTorch": measure(trainings[0].steps),
        "tuned": measure(trainings[1].steps),
    }
