"""The drop-in replacement of Keras' ImageDataGenerator.

``mnistpipe.pipeline.image`` has the other names of keras.preprocessing.image.
"""

import keras

from mnistpipe.pipeline.generator.arrays import NumpyArrayIterator
from mnistpipe.pipeline.generator.folders import DirectoryIterator
from mnistpipe.pipeline.generator.image_data_generator import (
    ImageDataGenerator,
)
from mnistpipe.pipeline.generator.iterator import Iterator
from mnistpipe.pipeline.generator.tables import DataFrameIterator

# Scripts import Keras' own functions in the same line as the class.
array_to_img = keras.utils.array_to_img
img_to_array = keras.utils.img_to_array
load_img = keras.utils.load_img

__all__ = [
    "DataFrameIterator",
    "DirectoryIterator",
    "ImageDataGenerator",
    "Iterator",
    "NumpyArrayIterator",
    "array_to_img",
    "img_to_array",
    "load_img",
]
