"""Measures the pipeline beside its peers, and `fit` with it.

    python tools/benchmark.py                    # every section
    python tools/benchmark.py --section=augment --sizes=28
    python tools/benchmark.py --section=fit --arch=strided400k,pool2m

Each section runs its candidates in turn, round after round, and prints the
median of the rounds: the machine's noise hits all of them alike, so read the
ratios. Peers that are not installed are named and left out (the extra
`bench` installs them). Run it with nothing else running.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from mnistpipe import data, models, pipeline

# Recipe 1: degrees, fractions, degrees, fraction, stddev on [0, 1] pixels.
ROTATION, SHIFT, SHEAR, ZOOM, NOISE = 10, 0.1, 0.2, 0.1, 0.05

Batches = Iterator[object]
Candidate = Callable[[np.ndarray, int], Batches]


def ours(images: np.ndarray, batch_size: int) -> Batches:
    """The vectorised pipeline, on the host."""
    labels = np.zeros(len(images), np.int64)
    return iter(training_dataset(images, labels, batch_size))


def training_dataset(
    images: np.ndarray, targets: np.ndarray, batch_size: int
) -> tf.data.Dataset:
    """Recipe 1's augmentation as training uses it."""
    augment = pipeline.Compose(
        [
            pipeline.RandomAffine(
                rotation=ROTATION,
                width_shift=SHIFT,
                height_shift=SHIFT,
                shear=SHEAR,
                zoom=ZOOM,
            ),
            pipeline.Rescale(1 / 255),
            pipeline.GaussianNoise(NOISE),
        ]
    )
    stream = pipeline.Stream(len(images), batch_size, drop_remainder=True)
    return pipeline.host_dataset(images, targets, stream, augment, stop=10**9)


def _image_data_generator(
    images: np.ndarray, batch_size: int, noise: Callable
) -> Batches:
    try:
        from keras.src.legacy.preprocessing import image
    except ImportError:  # Keras 2
        from keras.preprocessing import image
    generator = image.ImageDataGenerator(
        rotation_range=ROTATION,
        width_shift_range=SHIFT,
        height_shift_range=SHIFT,
        shear_range=SHEAR,
        zoom_range=ZOOM,
        fill_mode="nearest",
        preprocessing_function=noise,
    )
    return generator.flow(
        images.astype(np.float32) / 255, batch_size=batch_size
    )


def image_data_generator(images: np.ndarray, batch_size: int) -> Batches:
    """Keras' own class, with the noise function that recipe 1 documents."""
    return _image_data_generator(
        images,
        batch_size,
        lambda x: x + tf.random.normal(tf.shape(x), stddev=NOISE),
    )


def image_data_generator_numpy(images: np.ndarray, batch_size: int) -> Batches:
    """Keras' own class, with noise by NumPy, which is faster on it."""
    rng = np.random.default_rng(0)
    return _image_data_generator(
        images,
        batch_size,
        lambda x: x + NOISE * rng.standard_normal(x.shape, np.float32),
    )


def keras_layers(images: np.ndarray, batch_size: int) -> Batches:
    """Keras' Random* layers and GaussianNoise, batched in tf.data."""
    layers = keras.layers
    steps = [
        layers.Rescaling(1 / 255),
        layers.RandomRotation(ROTATION / 360, fill_mode="nearest"),
        layers.RandomTranslation(SHIFT, SHIFT, fill_mode="nearest"),
        layers.RandomZoom(ZOOM, ZOOM, fill_mode="nearest"),
    ]

    def augment(batch: tf.Tensor) -> tf.Tensor:
        batch = tf.cast(batch, tf.float32)
        for step in steps:
            batch = step(batch, training=True)
        # keras.layers.GaussianNoise fails in a tf.data map (Keras 3).
        return batch + tf.random.normal(tf.shape(batch), stddev=NOISE)

    return _mapped(images, batch_size, augment)


def projective_transform(images: np.ndarray, batch_size: int) -> Batches:
    """TensorFlow's own warp operation and a stateless normal."""

    def augment(batch: tf.Tensor) -> tf.Tensor:
        count, size = batch_size, images.shape[1]
        low = [-ROTATION, -SHIFT * size, -SHIFT * size, -SHEAR, 1 - ZOOM]
        high = [ROTATION, SHIFT * size, SHIFT * size, SHEAR, 1 + ZOOM]
        drawn = tf.random.uniform([count, 5])
        drawn = drawn * (np.float32(high) - low) + np.float32(low)
        theta, sigma = drawn[:, 0] * np.pi / 180, drawn[:, 3] * np.pi / 180
        zoom, half = drawn[:, 4], (size - 1) / 2
        a, b = zoom * tf.cos(theta), -zoom * tf.sin(theta + sigma)
        c, d = zoom * tf.sin(theta), zoom * tf.cos(theta + sigma)
        x = drawn[:, 1] + half - a * half - b * half
        y = drawn[:, 2] + half - c * half - d * half
        zero = tf.zeros_like(a)
        moved = tf.raw_ops.ImageProjectiveTransformV3(
            images=tf.cast(batch, tf.float32) / 255,
            transforms=tf.stack([a, b, x, c, d, y, zero, zero], axis=1),
            output_shape=images.shape[1:3],
            interpolation="BILINEAR",
            fill_mode="NEAREST",
            fill_value=0.0,
        )
        seed = tf.random.uniform([2], maxval=2**31 - 1, dtype=tf.int32)
        return moved + tf.random.stateless_normal(
            tf.shape(moved), seed, stddev=NOISE
        )

    return _mapped(images, batch_size, augment)


def _mapped(images: np.ndarray, batch_size: int, augment: Callable) -> Batches:
    dataset = tf.data.Dataset.from_tensor_slices(images)
    dataset = dataset.shuffle(len(images)).repeat()
    dataset = dataset.batch(batch_size, drop_remainder=True)
    dataset = dataset.map(augment, num_parallel_calls=tf.data.AUTOTUNE)
    return iter(dataset.prefetch(tf.data.AUTOTUNE))


def albumentations(images: np.ndarray, batch_size: int) -> Batches:
    """Albumentations, picture by picture in one process, its usual way."""
    import albumentations as a
    import cv2

    augment = a.Compose(
        [
            a.Affine(
                rotate=(-ROTATION, ROTATION),
                translate_percent=(-SHIFT, SHIFT),
                shear=(-SHEAR, SHEAR),
                scale=(1 - ZOOM, 1 + ZOOM),
                border_mode=cv2.BORDER_REPLICATE,
                p=1,
            ),
            a.GaussNoise(std_range=(NOISE, NOISE), p=1),
        ]
    )
    rng = np.random.default_rng(0)
    while True:
        rows = rng.integers(0, len(images), batch_size)
        yield np.stack(
            [
                augment(image=images[row].astype(np.float32) / 255)["image"]
                for row in rows
            ]
        )


def kornia(images: np.ndarray, batch_size: int) -> Batches:
    """Kornia on the CPU, a batch at a time."""
    import torch
    from kornia import augmentation

    torch.set_num_threads(os.cpu_count())
    augment = augmentation.AugmentationSequential(
        augmentation.RandomAffine(
            degrees=ROTATION,
            translate=(SHIFT, SHIFT),
            shear=SHEAR,
            scale=(1 - ZOOM, 1 + ZOOM),
            padding_mode="border",
            p=1.0,
        ),
        augmentation.RandomGaussianNoise(std=NOISE, p=1.0),
    )
    tensor = torch.from_numpy(np.moveaxis(images, -1, 1).copy())
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        while True:
            rows = torch.randint(
                len(images), (batch_size,), generator=generator
            )
            yield augment(tensor[rows].float() / 255)


# By the package that each needs, TensorFlow and Keras being here anyway.
CANDIDATES: dict[str, tuple[str, Candidate]] = {
    "mnistpipe": ("tensorflow", ours),
    "ImageDataGenerator, recipe 1": ("keras", image_data_generator),
    "ImageDataGenerator, NumPy noise": ("keras", image_data_generator_numpy),
    "Keras layers": ("keras", keras_layers),
    "ImageProjectiveTransformV3": ("tensorflow", projective_transform),
    "albumentations": ("albumentations", albumentations),
    "kornia": ("kornia", kornia),
}


def pictures(size: int) -> np.ndarray:
    """MNIST's own at 28×28×1, else random uint8 of three channels."""
    if size == 28:
        return data.load().train.images
    count = max(128, 2048 * 28 * 28 // size**2)
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def _images_per_second(
    batches: Batches, batch_size: int, seconds: float
) -> float:
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        next(batches)
        count += batch_size
    return count / (time.perf_counter() - start)


def benchmark_augment(
    sizes: list[int], rounds: int, seconds: float
) -> dict[str, dict[str, float]]:
    """Images/s of each candidate at each size: medians, interleaved."""
    results = {}
    for size in sizes:
        images = pictures(size)
        batch_size = {28: 256, 96: 64}.get(size, 32)
        feeds = {}
        for name, (package, make) in CANDIDATES.items():
            if importlib.util.find_spec(package) is None:
                print(f"{name} is not installed: left out")
                continue
            feeds[name] = make(images, batch_size)
            _images_per_second(feeds[name], batch_size, seconds / 2)  # warm
        rates = {name: [] for name in feeds}
        for _ in range(rounds):
            for name, feed in feeds.items():
                # Until what was prefetched while others ran is used up.
                _images_per_second(feed, batch_size, seconds / 4)
                rate = _images_per_second(feed, batch_size, seconds)
                rates[name].append(rate)
        medians = {n: statistics.median(r) for n, r in rates.items()}
        shape = "×".join(map(str, images.shape[1:]))
        print(f"\n{shape}, batch {batch_size}: images/s, mnistpipe / it")
        for name, rate in medians.items():
            ratio = medians["mnistpipe"] / rate
            print(f"  {name:34s}{rate:12,.0f}{ratio:10.1f}")
        results[shape] = medians
    return results


def benchmark_fit(
    archs: list[str], rounds: int, steps: int
) -> dict[str, dict[str, float]]:
    """`fit` with the pipeline beside `fit` on one constant batch."""
    train = data.load().train
    targets = keras.utils.to_categorical(train.labels, 10)
    results = {}
    print("\nfit: ms per step, constant batch / pipeline")
    for arch in archs:
        batch_size = 64
        network = models.build(arch)
        # A learning rate of 0: all of the work, but neither feed may change
        # the network, or it learns the constant batch by heart.
        network.compile(
            keras.optimizers.Adam(0.0),
            "categorical_crossentropy",
            metrics=["accuracy"],
            jit_compile=False,
        )
        batches = training_dataset(train.images, targets, batch_size)
        picture, target = next(iter(batches))
        constant = tf.data.Dataset.from_tensors((picture, target)).repeat()
        feeds = {"constant": constant, "pipeline": batches}
        times = {name: [] for name in feeds}
        for round_ in range(rounds + 1):
            for name, feed in feeds.items():
                start = time.perf_counter()
                network.fit(
                    feed, steps_per_epoch=steps, verbose=0, shuffle=False
                )
                if round_:  # the first one traces
                    times[name].append(time.perf_counter() - start)
        median = {
            name: statistics.median(t) / steps * 1e3
            for name, t in times.items()
        }
        # Pairs of one round, so that the machine's drift cancels.
        ratio = statistics.median(
            c / p
            for c, p in zip(times["constant"], times["pipeline"], strict=True)
        )
        results[arch] = {**median, "ratio": ratio}
        print(
            f"  {arch:14s} constant {median['constant']:8.1f}   pipeline "
            f"{median['pipeline']:8.1f}   ratio {ratio:.3f}"
        )
    return results


def main() -> None:
    """Parses the command line and runs the sections."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--section", choices=["augment", "fit", "all"])
    parser.add_argument("--sizes", default="28,96,224")
    parser.add_argument("--arch", default="strided400k")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--json", help="also write the figures to this file")
    parser.set_defaults(section="all")
    options = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} "
        f"cores; TensorFlow {tf.__version__}, Keras {keras.__version__}; "
        f"medians of {options.rounds} interleaved rounds"
    )
    results = {}
    if options.section in ("augment", "all"):
        sizes = [int(size) for size in options.sizes.split(",")]
        results["augment"] = benchmark_augment(
            sizes, options.rounds, options.seconds
        )
    if options.section in ("fit", "all"):
        results["fit"] = benchmark_fit(
            options.arch.split(","), options.rounds, options.steps
        )
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2)


if __name__ == "__main__":
    main()
