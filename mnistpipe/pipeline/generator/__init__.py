"""The drop-in replacement of Keras' ImageDataGenerator."""

from mnistpipe.pipeline.generator.image_data_generator import (
    ImageDataGenerator,
)

__all__ = ["ImageDataGenerator"]
