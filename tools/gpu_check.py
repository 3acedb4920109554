"""Measures everything that needs a real GPU, in five minutes.

    python tools/gpu_check.py                      # writes gpu_check.json
    python tools/gpu_check.py --arch=pool2m --minutes=2
    KERAS_BACKEND=jax python tools/gpu_check.py    # the same on JAX

Measured are images/s of `fit` on the host path and on the device path, with
and without XLA, with one and with several steps in a call, beside Keras'
ImageDataGenerator feeding the same network; memory on the device; whether both
paths show the same pictures and learn the same; and the time of an epoch and
of a documented recipe. Measurements for which no time is left are named; the
least important come last. Without a GPU the figures are a CPU's, and the
output says so. Nothing else should run meanwhile.

On JAX every measurement is compiled by XLA, TensorFlow needs no GPU, and the
peak of the memory is the highest of the process so far.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from mnistpipe import data, recipes
from mnistpipe.evaluation import scoring
from mnistpipe.networks import models
from mnistpipe.recipes import Recipe, RunOptions
from mnistpipe.runs import backends, provenance
from mnistpipe.training import feeding, protocol

GENERATOR = "ImageDataGenerator"
# Path, XLA, several steps in a call; the most telling configurations first.
CONFIGURATIONS = (
    ("device", True, True),
    ("host", False, False),
    (GENERATOR, False, False),
    ("device", True, False),
    ("host", True, True),
    ("device", False, False),
    ("host", True, False),
    ("device", False, True),
    ("host", False, True),
)
BACKENDS = ("tensorflow", "jax")
STEPS_PER_CALL = 20  # at most, where several are asked for
TOLERANCE = 1e-5  # of the pixel range, between the paths
COMPARED_STEPS = 20
_FORM = "{:14}{:20}{:5}{:>10}{:>12}{:>9}{:>10}"
HEADINGS = _FORM.format(
    *("network", "pictures from", "XLA", "steps/call", "images/s"),
    *("first s", "peak MiB"),
)


class Checks:
    """The command line, the data and the time that is left."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.digits = data.load()
        self.split = protocol.split_rows(self.run_options(), self.digits)
        self.deadline = time.perf_counter() + 60 * options.minutes

    @property
    def left(self) -> float:
        """Seconds until the time is up."""
        return self.deadline - time.perf_counter()

    def run_options(self, **changes: Any) -> RunOptions:
        """A run's options, with the command line's number of examples."""
        examples = self.options.train_examples
        small = {"validation_size": examples} if examples else {}
        return backends.settle(
            RunOptions(train_examples=examples, seed=1, **small, **changes)
        )

    def recipe(self, arch: str) -> Recipe:
        """The recipe, with the command line's width."""
        return recipes.recipe_for(arch).replace(width=self.options.width)

    def feed(self, recipe: Recipe, path: str, **changes: Any) -> feeding.Feed:
        """What a training would be given, with new weights."""
        # Earlier networks keep their memory until they are collected.
        keras.backend.clear_session()
        gc.collect()
        keras.utils.set_random_seed(1)
        shape, classes = self.digits.train.images.shape[1:], self.digits.classes
        network = models.build(recipe, shape, classes)
        options = self.run_options(input=path, **changes)
        return feeding.make_feed(recipe, options, network, self.split, classes)


def configurations() -> list[tuple[str, bool, bool]]:
    """What is measured: on JAX only what XLA compiles."""
    if backends.name() == "tensorflow":
        return list(CONFIGURATIONS)
    compiled = [(path, True, several) for path, _, several in CONFIGURATIONS]
    return list(dict.fromkeys(compiled))


def reset_memory() -> None:
    """Makes TensorFlow forget the peak of its memory; JAX cannot."""
    if backends.name() == "tensorflow":
        for gpu in tf.config.list_logical_devices("GPU"):
            tf.config.experimental.reset_memory_stats(gpu.name)


def memory() -> tuple[int | None, int | None]:
    """Bytes in use on the first GPU, now and at the peak, if there is one."""
    if backends.name() == "jax":
        import jax

        found = jax.local_devices()[0].memory_stats() or {}
        return found.get("bytes_in_use"), found.get("peak_bytes_in_use")
    gpus = tf.config.list_logical_devices("GPU")
    if not gpus:
        return None, None
    found = tf.config.experimental.get_memory_info(gpus[0].name)
    return found["current"], found["peak"]


class _Epochs(keras.callbacks.Callback):
    """Times epochs, and stops after so many seconds without the first one."""

    _supports_tf_logs = True  # otherwise Keras 2 waits at each batch

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.times: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.begun = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.times.append(time.perf_counter() - self.begun)
        # The first epoch compiles; the second, which refills emptied buffers,
        # counts, so the median needs more than two.
        if len(self.times) > 4 and sum(self.times[1:]) > self.seconds:
            self.model.stop_training = True


def epoch_seconds(
    model: keras.Model, batches: Any, steps: int, seconds: float, **how: Any
) -> list[float]:
    """Runs `fit` for some seconds; returns the time of each epoch."""
    epochs = _Epochs(seconds)
    model.fit(
        batches,
        steps_per_epoch=steps,
        shuffle=False,
        callbacks=[epochs],
        verbose=0,
        **how,
    )
    return epochs.times


def generator(checks: Checks, recipe: Recipe) -> Any:
    """Keras' own ImageDataGenerator as the document uses it, endless."""
    try:
        from keras.src.legacy.preprocessing import image
    except ImportError:  # Keras 2
        from keras.preprocessing import image
    rng = np.random.default_rng(0)

    def noise(x: np.ndarray) -> np.ndarray:
        return x + recipe.noise * rng.standard_normal(x.shape, np.float32)

    train = checks.split.train
    return image.ImageDataGenerator(
        rotation_range=recipe.rotation,
        width_shift_range=recipe.width_shift,
        height_shift_range=recipe.height_shift,
        shear_range=recipe.shear,
        zoom_range=recipe.zoom,
        fill_mode=recipe.fill_mode,
        preprocessing_function=noise if recipe.noise else None,
    ).flow(
        train.images.astype(np.float32) / 255,
        feeding.one_hot(train.labels, checks.digits.classes),
        batch_size=recipe.batch_size,
    )


def throughput(
    checks: Checks, arch: str, path: str, compiled: bool, several: bool
) -> dict[str, Any]:
    """Images/s of `fit`: the median of some rounds of `--steps` steps."""
    recipe, started, per_call = checks.recipe(arch), time.perf_counter(), 1
    if several:  # the largest divisor of an epoch's steps
        per_epoch = -(-len(checks.split.train.labels) // recipe.batch_size)
        sizes = range(1, STEPS_PER_CALL + 1)
        per_call = max(n for n in sizes if per_epoch % n == 0)
    reset_memory()
    feed = checks.feed(
        recipe,
        "host" if path == GENERATOR else path,
        jit_compile="on" if compiled else "off",
        steps_per_execution=per_call,
    )
    steps = -(-checks.options.steps // per_call) * per_call
    batches = feed.batches(0, 10**9 // per_call * per_call)
    if path == GENERATOR:
        batches = generator(checks, recipe)
    first, *rounds = epoch_seconds(
        feed.model, batches, steps, checks.options.seconds, epochs=1000
    )
    bytes_now, bytes_peak = memory()
    images = steps * recipe.batch_size
    return {
        "arch": arch,
        "path": path,
        "xla": compiled,
        "steps_per_call": per_call,
        "batch_size": recipe.batch_size,
        "images_per_second": images / statistics.median(rounds),
        "rounds": len(rounds),
        "first_round_seconds": first,
        "seconds": time.perf_counter() - started,
        "bytes_now": bytes_now,
        "bytes_peak": bytes_peak,
    }


def pictures(checks: Checks, arch: str, batches: int = 10) -> dict[str, Any]:
    """Compares the host's pictures with the device's, pixel range 1."""
    recipe = checks.recipe(arch)
    host = [
        x.numpy() for x, _ in checks.feed(recipe, "host").batches(0, batches)
    ]
    feed = checks.feed(recipe, "device")
    resident = feed.model.get_layer("resident")

    def gather(index: Any, key: Any) -> Any:
        return resident((index, key), training=True)

    if backends.name() == "tensorflow":
        gather = tf.function(gather, jit_compile=True, autograph=False)
    device = [
        np.asarray(gather(index.numpy(), key.numpy()))
        for (index, key), _ in feed.batches(0, batches)
    ]
    difference = np.abs(np.concatenate(host) - np.concatenate(device))
    return {
        "arch": arch,
        "pictures": len(difference),
        "largest_difference": float(difference.max()),
        "tolerance": TOLERANCE,
        "share_beyond": float(np.mean(difference > TOLERANCE)),
    }


def losses(checks: Checks, arch: str) -> dict[str, Any]:
    """Compares each step's loss on both paths, without dropout."""
    recipe = checks.recipe(arch).replace(dropout=0.0, output_dropout=0.0)
    found = {}
    for path in ("host", "device"):
        feed = checks.feed(recipe, path)
        history = feed.model.fit(
            feed.batches(0, COMPARED_STEPS),
            epochs=COMPARED_STEPS,
            steps_per_epoch=1,  # so that each step has its own loss
            shuffle=False,
            verbose=0,
        )
        found[path] = [float(loss) for loss in history.history["loss"]]
    largest = np.abs(np.subtract(found["host"], found["device"])).max()
    return {"arch": arch, **found, "largest_difference": float(largest)}


def epoch(
    checks: Checks, arch: str, rates: list[dict[str, Any]]
) -> dict[str, Any]:
    """The time of an epoch with its validation, and of the whole recipe.

    The time is measured if the time that is left suffices, or else computed
    from the images/s.
    """
    recipe, images = checks.recipe(arch), len(checks.split.train.labels)
    own = [r for r in rates if r["arch"] == arch and r["path"] != GENERATOR]
    best = max(own, key=lambda row: row["images_per_second"])
    seconds = images / best["images_per_second"]
    # Two epochs are trained, since the first one compiles.
    measured = 2 * seconds + best["first_round_seconds"] < checks.left
    if measured:
        feed = checks.feed(
            recipe,
            best["path"],
            jit_compile="on" if best["xla"] else "off",
            steps_per_execution=best["steps_per_call"],
        )
        steps = feed.stream.steps_per_epoch
        _, seconds = epoch_seconds(
            *(feed.model, feed.batches(0, 2 * steps), steps, 0.0),
            epochs=2,
            validation_data=feed.validation,
            validation_batch_size=scoring.BATCH_SIZE,
        )
    return {
        **{n: best[n] for n in ("arch", "path", "xla", "steps_per_call")},
        "images": images,
        "seconds": seconds,
        "measured": measured,
        "recipe_epochs": recipe.epochs,
        "recipe_seconds": recipe.epochs * seconds,
    }


def check(checks: Checks) -> dict[str, Any]:
    """Measures as much as the time allows."""
    archs = checks.options.arch.split(",")
    results: dict[str, Any] = {"throughput": [], "left_out": []}

    def attempt(name: str, measure: Callable[..., Any], *arguments: Any) -> Any:
        if checks.left > 0:
            return measure(checks, *arguments)
        results["left_out"].append(name)
        return None

    # What may be wrong comes before what may be slow.
    first, rates = archs[0], results["throughput"]
    results["pictures"] = attempt("pictures", pictures, first)
    results["losses"] = attempt("losses", losses, first)
    print(HEADINGS)
    for configuration in configurations()[: checks.options.most]:
        for arch in archs:
            name = "/".join([arch, *map(str, configuration)])
            if row := attempt(name, throughput, arch, *configuration):
                rates.append(row)
                print(line(row), flush=True)
    results["epoch"] = attempt("epoch", epoch, first, rates)
    return results


def line(row: dict[str, Any]) -> str:
    """A row of the printed table."""
    peak = row["bytes_peak"]
    return _FORM.format(
        *(row["arch"], row["path"], "yes" if row["xla"] else "no"),
        *(row["steps_per_call"], f"{row['images_per_second']:,.0f}"),
        f"{row['first_round_seconds']:.1f}",
        "-" if peak is None else f"{peak / 2**20:,.0f}",
    )


def conclusions(results: dict[str, Any]) -> Iterator[str]:
    """What else was found, a line each."""
    rows = results["throughput"]
    for row in rows:
        if row["path"] == GENERATOR:
            rivals = [other for other in rows if other["arch"] == row["arch"]]
            best = max(rivals, key=lambda row: row["images_per_second"])
            ratio = best["images_per_second"] / row["images_per_second"]
            yield f"{row['arch']}: {best['path']} {ratio:.1f} times {GENERATOR}"
    if found := results["pictures"]:
        yield (
            f"pictures: of {found['pictures']:,}, largest difference "
            f"{found['largest_difference']:.2g} of the pixel range, "
            f"{found['share_beyond']:.2%} of the pixels beyond {TOLERANCE}"
        )
    if found := results["losses"]:
        largest = found["largest_difference"]
        yield f"losses: over {COMPARED_STEPS} steps, difference {largest:.2g}"
    if found := results["epoch"]:
        how = "measured" if found["measured"] else "from the images/s"
        minutes = found["recipe_seconds"] / 60
        yield (
            f"epoch: {found['seconds']:.1f} s of {found['arch']} ({how}); its "
            f"{found['recipe_epochs']} take {minutes:.1f} min"
        )
    if results["left_out"]:
        yield f"no time for: {', '.join(results['left_out'])}"


def parse(arguments: list[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default, text in (
        ("arch", ",".join(recipes.ARCHS), "networks, comma-separated"),
        ("width", 1.0, "of the networks"),
        ("minutes", 5.0, "begin nothing after so many"),
        ("most", len(CONFIGURATIONS), "configurations per network"),
        ("steps", 100, "of a round"),
        ("seconds", 1.0, "of all rounds, at least"),
        ("train_examples", 0, "0 is all"),
        ("json", "gpu_check.json", "file to write"),
    ):
        parser.add_argument(
            f"--{name}", type=type(default), default=default, help=text
        )
    return parser.parse_args(arguments)


def main() -> None:
    """Measures, prints and writes."""
    options = parse(sys.argv[1:])
    if (backend := backends.load()) not in BACKENDS:
        names = " or ".join(BACKENDS)
        sys.exit(f"error: {backends.VARIABLE}: expected {names}, got {backend}")
    backends.leave_devices()
    hardware, versions = provenance.hardware(), provenance.versions()
    note = "No GPU was found: these are a CPU's figures and say nothing about "
    note += "a GPU's."
    if hardware.gpus:
        note = f"On {', '.join(hardware.gpus)}."
    print(f"{note}\n{backends.summary(versions)}; {hardware.cpu}\n")
    started = time.perf_counter()
    results = check(Checks(options))
    print("", *conclusions(results), "", note, sep="\n")
    record = {
        "gpu": bool(hardware.gpus),
        "note": note,
        "versions": versions,
        "hardware": dataclasses.asdict(hardware),
        "settings": vars(options),
        "seconds": time.perf_counter() - started,
        **results,
    }
    with open(options.json, "w", encoding="utf-8") as file:
        json.dump(record, file, indent=2)
        file.write("\n")


if __name__ == "__main__":
    main()
