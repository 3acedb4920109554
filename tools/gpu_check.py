"""Everything that needs a real GPU, in five minutes.

    python tools/gpu_check.py                      # writes gpu_check.json
    python tools/gpu_check.py --arch=pool2m --minutes=2

Images/s of `fit` on the host path and on the device path, compiled by XLA and
not, one step and several in a call, beside Keras' ImageDataGenerator feeding
the same network; memory on the device; whether both paths show the same
pictures and learn the same; the time of an epoch and of a documented recipe.
What the time does not suffice for is named and left out, the least important
last.

It runs without a GPU too, slowly; its figures are then a CPU's, and it says
so. Run it with nothing else running.
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
# Path, XLA, several steps in a call; the most telling first.
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
STEPS_PER_CALL = 20  # at most, where several are asked for
TOLERANCE = 1e-5  # of the pixel range, between the paths
COMPARED_STEPS = 20


class Checks:
    """What one invocation works on.

    Args:
      options: the command line's.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.digits = data.load()
        self.split = protocol.split_rows(self.run_options(), self.digits)
        self.deadline = time.perf_counter() + 60 * options.minutes

    def run_options(self, **changes: Any) -> RunOptions:
        """A run's options, with as many examples as the command line says."""
        examples = self.options.train_examples
        small = {"validation_size": examples} if examples else {}
        return RunOptions(train_examples=examples, seed=1, **small, **changes)

    def recipe(self, arch: str) -> Recipe:
        """The documented recipe, as wide as the command line says."""
        return recipes.recipe_for(arch).replace(width=self.options.width)

    def steps_per_epoch(self, recipe: Recipe) -> int:
        """With a last batch that may be short."""
        return -(-len(self.split.train.labels) // recipe.batch_size)

    def feed(self, recipe: Recipe, **changes: Any) -> feeding.Feed:
        """What a training would be given, with new weights."""
        # Networks before this one keep their memory until they are forgotten.
        keras.backend.clear_session()
        gc.collect()
        keras.utils.set_random_seed(1)
        shape = self.digits.train.images.shape[1:]
        network = models.build(recipe, shape, self.digits.classes)
        options = self.run_options(**changes)
        return feeding.make_feed(
            recipe, options, network, self.split, self.digits.classes
        )

    @property
    def left(self) -> float:
        """Seconds until the time is up."""
        return self.deadline - time.perf_counter()


class _Rounds(keras.callbacks.Callback):
    """Times the epochs of a `fit`, each of which waits for the device.

    Args:
      seconds: after which no further one is begun.
    """

    _supports_tf_logs = True  # Keras 2 would wait at each batch

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.times: list[float] = []
        self.begun = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.begun = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.times.append(time.perf_counter() - self.begun)
        # The first compiles, and the second fills what the first emptied.
        if len(self.times) > 2 and sum(self.times[1:]) > self.seconds:
            self.model.stop_training = True


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


def steps_per_call(per_epoch: int) -> int:
    """The largest divisor of an epoch's steps that is not too large."""
    return max(n for n in range(1, STEPS_PER_CALL + 1) if per_epoch % n == 0)


def throughput(
    checks: Checks, arch: str, path: str, compiled: bool, several: bool
) -> dict[str, Any]:
    """Images/s of `fit`, the median of some rounds of so many steps."""
    recipe = checks.recipe(arch)
    per_call = 1
    if several:
        per_call = steps_per_call(checks.steps_per_epoch(recipe))
    started = time.perf_counter()
    _reset_memory()
    feed = checks.feed(
        recipe,
        input="host" if path == GENERATOR else path,
        jit_compile="on" if compiled else "off",
        steps_per_execution=per_call,
    )
    steps = -(-checks.options.steps // per_call) * per_call
    endless = 10**9 // per_call * per_call
    batches = feed.batches(0, endless)
    if path == GENERATOR:
        batches = generator(checks, recipe)
    rounds = _Rounds(checks.options.seconds)
    feed.model.fit(
        batches,
        epochs=1000,
        steps_per_epoch=steps,
        shuffle=False,
        callbacks=[rounds],
        verbose=0,
    )
    seconds = statistics.median(rounds.times[1:])
    return {
        "arch": arch,
        "path": path,
        "xla": compiled,
        "steps_per_call": per_call,
        "batch_size": recipe.batch_size,
        "images_per_second": steps * recipe.batch_size / seconds,
        "rounds": len(rounds.times) - 1,
        "first_round_seconds": rounds.times[0],
        "seconds": time.perf_counter() - started,
        **_memory(),
    }


def _reset_memory() -> None:
    for gpu in tf.config.list_logical_devices("GPU"):
        tf.config.experimental.reset_memory_stats(gpu.name)


def _memory() -> dict[str, int | None]:
    """Bytes that TensorFlow has in use on the first GPU, if there is one."""
    gpus = tf.config.list_logical_devices("GPU")
    if not gpus:
        return {"bytes_now": None, "bytes_peak": None}
    info = tf.config.experimental.get_memory_info(gpus[0].name)
    return {"bytes_now": info["current"], "bytes_peak": info["peak"]}


def pictures(checks: Checks, arch: str, batches: int = 10) -> dict[str, Any]:
    """How far the host's pictures and the device's differ, pixel range 1."""
    recipe = checks.recipe(arch)
    feed = checks.feed(recipe, input="host")
    host = [x.numpy() for x, _ in feed.batches(0, batches)]
    feed = checks.feed(recipe, input="device")
    resident = feed.model.get_layer("resident")

    @tf.function(jit_compile=True, autograph=False)
    def gather(index: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
        return resident((index, key), training=True)

    device = [gather(*x).numpy() for x, _ in feed.batches(0, batches)]
    difference = np.abs(np.concatenate(host) - np.concatenate(device))
    return {
        "arch": arch,
        "pictures": len(difference),
        "largest_difference": float(difference.max()),
        "tolerance": TOLERANCE,
        "share_beyond": float(np.mean(difference > TOLERANCE)),
    }


def losses(checks: Checks, arch: str) -> dict[str, Any]:
    """Each step's loss on both paths, without dropout."""
    recipe = checks.recipe(arch).replace(dropout=0.0, output_dropout=0.0)
    found = {}
    for path in ("host", "device"):
        feed = checks.feed(recipe, input=path)
        history = feed.model.fit(
            feed.batches(0, COMPARED_STEPS),
            epochs=COMPARED_STEPS,
            steps_per_epoch=1,  # so that each has figures of its own
            shuffle=False,
            verbose=0,
        )
        found[path] = [float(loss) for loss in history.history["loss"]]
    pairs = zip(found["host"], found["device"], strict=True)
    largest = max(abs(a - b) for a, b in pairs)
    return {"arch": arch, **found, "largest_difference": largest}


def epoch(
    checks: Checks, arch: str, rates: list[dict[str, Any]]
) -> dict[str, Any]:
    """The time of an epoch with its validation, and of the whole recipe.

    Measured if there is time for it, else from the images/s.
    """
    recipe = checks.recipe(arch)
    best = max(
        (r for r in rates if r["arch"] == arch and r["path"] != GENERATOR),
        key=lambda r: r["images_per_second"],
    )
    images = len(checks.split.train.labels)
    seconds = images / best["images_per_second"]
    # Twice, since the first compiles.
    measured = 2 * seconds + best["first_round_seconds"] < checks.left
    if measured:
        seconds = _epoch_seconds(checks, recipe, best)
    return {
        "arch": arch,
        "path": best["path"],
        "xla": best["xla"],
        "steps_per_call": best["steps_per_call"],
        "images": images,
        "seconds": seconds,
        "measured": measured,
        "recipe_epochs": recipe.epochs,
        "recipe_seconds": recipe.epochs * seconds,
    }


def _epoch_seconds(
    checks: Checks, recipe: Recipe, best: dict[str, Any]
) -> float:
    feed = checks.feed(
        recipe,
        input=best["path"],
        jit_compile="on" if best["xla"] else "off",
        steps_per_execution=best["steps_per_call"],
    )
    steps = feed.stream.steps_per_epoch
    rounds = _Rounds(0.0)
    feed.model.fit(
        feed.batches(0, 2 * steps),
        epochs=2,
        steps_per_epoch=steps,
        shuffle=False,
        validation_data=feed.validation,
        validation_batch_size=scoring.BATCH_SIZE,
        callbacks=[rounds],
        verbose=0,
    )
    return rounds.times[1]


def in_order(
    archs: list[str], most: int
) -> Iterator[tuple[str, tuple[str, bool, bool]]]:
    """Each architecture's most telling configuration before any's next."""
    for configuration in CONFIGURATIONS[:most]:
        for arch in archs:
            yield arch, configuration


def check(checks: Checks) -> dict[str, Any]:
    """All of it, as far as the time goes."""
    archs = checks.options.arch.split(",")
    results: dict[str, Any] = {"throughput": [], "left_out": []}

    def attempt(name: str, found: Callable[[], Any]) -> Any:
        if checks.left > 0:
            return found()
        results["left_out"].append(name)
        return None

    # What may be wrong, before what may be slow.
    first = archs[0]
    results["pictures"] = attempt("pictures", lambda: pictures(checks, first))
    results["losses"] = attempt("losses", lambda: losses(checks, first))
    print(HEADINGS)
    rates = results["throughput"]
    for arch, configuration in in_order(archs, checks.options.most):
        name = "/".join([arch, *map(str, configuration)])
        row = attempt(
            name, lambda a=arch, c=configuration: throughput(checks, a, *c)
        )
        if row:
            rates.append(row)
            print(line(row), flush=True)
    results["epoch"] = attempt("epoch", lambda: epoch(checks, first, rates))
    return results


HEADINGS = (
    f"{'network':14s}{'pictures from':20s}{'XLA':5s}{'steps/call':>10s}"
    f"{'images/s':>12s}{'first s':>9s}{'peak MiB':>10s}"
)


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    peak = row["bytes_peak"]
    return (
        f"{row['arch']:14s}{row['path']:20s}{'yes' if row['xla'] else 'no':5s}"
        f"{row['steps_per_call']:10d}{row['images_per_second']:12,.0f}"
        f"{row['first_round_seconds']:9.1f}"
        f"{'-' if peak is None else f'{peak / 2**20:,.0f}':>10s}"
    )


def conclusions(results: dict[str, Any]) -> Iterator[str]:
    """What else was found, a line each."""
    rates = {}
    for row in results["throughput"]:
        rates.setdefault(row["arch"], []).append(row)
    for arch, rows in rates.items():
        best = max(rows, key=lambda row: row["images_per_second"])
        for row in rows:
            if row["path"] == GENERATOR:
                ratio = best["images_per_second"] / row["images_per_second"]
                yield f"{arch}: {best['path']} {ratio:.1f} times {GENERATOR}"
    if found := results["pictures"]:
        yield (
            f"pictures: of {found['pictures']:,}, largest difference "
            f"{found['largest_difference']:.2g} of the pixel range, "
            f"{found['share_beyond']:.2%} of the pixels beyond {TOLERANCE}"
        )
    if found := results["losses"]:
        yield (
            f"losses: over {COMPARED_STEPS} steps, largest difference "
            f"{found['largest_difference']:.2g}"
        )
    if found := results["epoch"]:
        how = "measured" if found["measured"] else "from the images/s"
        yield (
            f"epoch: {found['seconds']:.1f} s of {found['arch']} ({how}); its "
            f"{found['recipe_epochs']} take "
            f"{found['recipe_seconds'] / 60:.1f} min"
        )
    if results["left_out"]:
        yield f"no time for: {', '.join(results['left_out'])}"


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default=",".join(recipes.ARCHS))
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument(
        "--minutes", type=float, default=5.0, help="begin nothing after these"
    )
    parser.add_argument(
        "--most",
        type=int,
        default=len(CONFIGURATIONS),
        help="configurations per network, the most telling",
    )
    parser.add_argument("--steps", type=int, default=100, help="of a round")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="of rounds, at least"
    )
    parser.add_argument(
        "--train_examples", type=int, default=0, help="0 is all"
    )
    parser.add_argument("--json", default="gpu_check.json")
    return parser.parse_args(arguments)


def main() -> None:
    """Checks, prints and writes."""
    options = parse(sys.argv[1:])
    if backends.load() != "tensorflow":
        sys.exit("error: KERAS_BACKEND: expected tensorflow")
    hardware, versions = provenance.hardware(), provenance.versions()
    note = f"On {', '.join(hardware.gpus)}."
    if not hardware.gpus:
        note = (
            "No GPU was found: these are a CPU's figures and say nothing "
            "about a GPU's."
        )
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
