"""Fast, reproducible image augmentation in TensorFlow.

    from mnistpipe import pipeline

    augment = pipeline.Compose([
        pipeline.RandomAffine(rotation=10, width_shift=0.1, zoom=0.1),
        pipeline.Rescale(1 / 255),
        pipeline.GaussianNoise(0.05),
    ])
    stream = pipeline.Stream(len(images), batch_size=64, seed=1)
    train = pipeline.host_dataset(images, labels, stream, augment)
    model.fit(train, epochs=10)

A batch is a pure function of (seed, step). Each transform's docstring says
what its arguments mean.

Geometry
    RandomAffine           rotation, shift, shear, zoom and flips at once
    Resize                 stretches to a size, antialiased
    CenterCrop             cuts the centre out
    RandomCrop             cuts a part out
    RandomResizedCrop      cuts a part of random size out and resizes it
    Pad                    adds pixels around
    RandomPerspective      looks at the picture from aside
    GridDistortion         stretches and squeezes rows and columns
    ElasticDistortion      moves pixels by a smooth random field
Values of pixels
    Brightness             scales and shifts the values
    Contrast               scales the distance from each channel's mean
    ChannelShift           adds a number to the picture or to each channel
    GaussianNoise          adds normal noise to every value
    RandomErasing          paints a rectangle over part of the picture
Normalisation
    Rescale                multiplies and adds, such as 1 / 255
    SamplewiseNormalize    by the mean and deviation of each picture
    FeaturewiseNormalize   by the mean and deviation of a data set
    ZCAWhitening           removes the correlations between pixels
Choosing
    OneOf                  one of several transforms per example
    SomeOf                 some of several transforms per example
Your own
    Apply                  calls a function on batches
    Transform              the class to subclass
Putting together
    Compose                several transforms as one compiled program
Feeding
    Stream                 which examples make up which batch
    host_dataset           batches of augmented pictures from arrays
    device_dataset         batches of indices, for pictures on the device
    augmented_dataset      augments any tf.data.Dataset
    with_keys              gives each element of a dataset its key
    example_keys           keys from (seed, epoch, index)
    Draws                  what a transform of your own draws from
In place of Keras
    ImageDataGenerator     the drop-in class

Nothing here knows MNIST, flags or recipes. The core needs TensorFlow and
NumPy only. The Keras layers are in ``mnistpipe.pipeline.layers``: import that
module before you load a model that holds one.
"""

from typing import Any

from mnistpipe.pipeline.compose import Compose
from mnistpipe.pipeline.draws import Draws, example_keys
from mnistpipe.pipeline.feeds import (
    augmented_dataset,
    device_dataset,
    host_dataset,
    with_keys,
)
from mnistpipe.pipeline.stream import Stream
from mnistpipe.pipeline.transform import Transform
from mnistpipe.pipeline.transforms.affine import RandomAffine
from mnistpipe.pipeline.transforms.choose import OneOf, SomeOf
from mnistpipe.pipeline.transforms.elastic import ElasticDistortion
from mnistpipe.pipeline.transforms.erasing import RandomErasing
from mnistpipe.pipeline.transforms.normalize import (
    FeaturewiseNormalize,
    SamplewiseNormalize,
    ZCAWhitening,
)
from mnistpipe.pipeline.transforms.perspective import (
    GridDistortion,
    RandomPerspective,
)
from mnistpipe.pipeline.transforms.pixels import (
    Apply,
    Brightness,
    ChannelShift,
    Contrast,
    GaussianNoise,
    Rescale,
)
from mnistpipe.pipeline.transforms.resize import (
    CenterCrop,
    Pad,
    RandomCrop,
    RandomResizedCrop,
    Resize,
)

__all__ = [
    "Apply",
    "Brightness",
    "CenterCrop",
    "ChannelShift",
    "Compose",
    "Contrast",
    "Draws",
    "ElasticDistortion",
    "FeaturewiseNormalize",
    "GaussianNoise",
    "GridDistortion",
    "OneOf",
    "Pad",
    "RandomAffine",
    "RandomCrop",
    "RandomErasing",
    "RandomPerspective",
    "RandomResizedCrop",
    "Rescale",
    "Resize",
    "SamplewiseNormalize",
    "SomeOf",
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
    """Loads on first use what needs more than TensorFlow and NumPy."""
    if name == "ImageDataGenerator":  # Keras
        from mnistpipe.pipeline.generator import ImageDataGenerator

        return ImageDataGenerator
    if name == "preview":  # matplotlib
        from mnistpipe.pipeline.previews import preview

        return preview
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
