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
    Gamma                  raises values to a power
    Invert                 exchanges black and white
    Solarize               inverts the light values
    Posterize              keeps the highest bits
    AutoContrast           stretches each channel to the value range
    Equalize               makes each channel's levels equally frequent
    GaussianNoise          adds normal noise to every value
    RandomErasing          paints a rectangle over part of the picture
Colour
    ColorJitter            brightness, contrast, saturation, hue, any order
    Saturation             blends with the grey picture
    Hue                    turns the hue
    Grayscale              removes the colour
Filters
    Sharpness              sharpens or smooths
    GaussianBlur           blurs by a random deviation
    StrokeThickness        thickens or thins strokes
Policies
    RandAugment            n operations at one magnitude
    TrivialAugmentWide     one operation at a random magnitude
    AugMix                 mixes chains of operations
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
    MixUp                  blends each picture with another one
    CutMix                 pastes a rectangle of another picture
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
from mnistpipe.pipeline.mixing.mix import CutMix, MixUp
from mnistpipe.pipeline.stream import Stream
from mnistpipe.pipeline.transform import Transform
from mnistpipe.pipeline.transforms.affine import RandomAffine
from mnistpipe.pipeline.transforms.appearance.color import (
    ColorJitter,
    Grayscale,
    Hue,
    Saturation,
)
from mnistpipe.pipeline.transforms.appearance.filters import (
    GaussianBlur,
    Sharpness,
)
from mnistpipe.pipeline.transforms.appearance.morphology import StrokeThickness
from mnistpipe.pipeline.transforms.appearance.tone import (
    AutoContrast,
    Equalize,
    Gamma,
    Invert,
    Posterize,
    Solarize,
)
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
from mnistpipe.pipeline.transforms.policies.augmix import AugMix
from mnistpipe.pipeline.transforms.policies.randaugment import (
    RandAugment,
    TrivialAugmentWide,
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
    "AugMix",
    "AutoContrast",
    "Brightness",
    "CenterCrop",
    "ChannelShift",
    "ColorJitter",
    "Compose",
    "Contrast",
    "CutMix",
    "Draws",
    "ElasticDistortion",
    "Equalize",
    "FeaturewiseNormalize",
    "Gamma",
    "GaussianBlur",
    "GaussianNoise",
    "Grayscale",
    "GridDistortion",
    "Hue",
    "Invert",
    "MixUp",
    "OneOf",
    "Pad",
    "Posterize",
    "RandAugment",
    "RandomAffine",
    "RandomCrop",
    "RandomErasing",
    "RandomPerspective",
    "RandomResizedCrop",
    "Rescale",
    "Resize",
    "SamplewiseNormalize",
    "Saturation",
    "Sharpness",
    "Solarize",
    "SomeOf",
    "Stream",
    "StrokeThickness",
    "Transform",
    "TrivialAugmentWide",
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
