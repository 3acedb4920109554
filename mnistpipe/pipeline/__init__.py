"""Fast, reproducible image augmentation in TensorFlow.

    from mnistpipe import pipeline

    augment = pipeline.Compose([
        pipeline.RandomAffine(rotation=10, width_shift=0.1, zoom=0.1),
        pipeline.Rescale(1 / 255),
        pipeline.GaussianNoise(0.05),
    ])
    stream = pipeline.Stream(len(images), batch_size=64, seed=1)
    train = pipeline.host_dataset(images, labels, stream, augment, stop=9_000)

A batch is a pure function of (seed, step). Nothing here knows MNIST, flags
or recipes; the core needs TensorFlow and NumPy only. The Keras layers are
in ``mnistpipe.pipeline.layers``.
"""

from typing import Any

from mnistpipe.pipeline.draws import Draws, example_keys
from mnistpipe.pipeline.feeds import (
    augmented_dataset,
    device_dataset,
    host_dataset,
    with_keys,
)
from mnistpipe.pipeline.stream import Stream
from mnistpipe.pipeline.transform import Compose, Transform
from mnistpipe.pipeline.transforms.affine import RandomAffine
from mnistpipe.pipeline.transforms.elastic import ElasticDistortion
from mnistpipe.pipeline.transforms.erasing import RandomErasing
from mnistpipe.pipeline.transforms.normalize import (
    FeaturewiseNormalize,
    SamplewiseNormalize,
    ZCAWhitening,
)
from mnistpipe.pipeline.transforms.pixels import (
    Apply,
    Brightness,
    ChannelShift,
    Contrast,
    GaussianNoise,
    Rescale,
)

__all__ = [
    "Apply",
    "Brightness",
    "ChannelShift",
    "Compose",
    "Contrast",
    "Draws",
    "ElasticDistortion",
    "FeaturewiseNormalize",
    "GaussianNoise",
    "RandomAffine",
    "RandomErasing",
    "Rescale",
    "SamplewiseNormalize",
    "Stream",
    "Transform",
    "ZCAWhitening",
    "augmented_dataset",
    "device_dataset",
    "example_keys",
    "host_dataset",
    "with_keys",
]


def __getattr__(name: str) -> Any:
    """Loads the drop-in, and Keras with it, when it is first asked for."""
    if name == "ImageDataGenerator":
        from mnistpipe.pipeline.generator import ImageDataGenerator

        return ImageDataGenerator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
