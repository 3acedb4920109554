"""Keras' own keras.preprocessing.image, and the same with our draws.

``keras_image`` is Keras' legacy module. ``replayed`` has the same classes, but
order and draws come from mnistpipe: a script that runs with ``replayed`` and
with ``mnistpipe.pipeline.image`` must see the same images.
"""

import contextlib
import types

import keras
import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws
from mnistpipe.pipeline.generator import ImageDataGenerator as Ours
from mnistpipe.pipeline.generator.iterator import fresh_seed
from mnistpipe.pipeline.stream import Stream

if keras.__version__.startswith("2."):
    from keras.src.preprocessing import image as keras_image
else:
    from keras.src.legacy.preprocessing import image as keras_image

Real = keras_image.ImageDataGenerator
UTILITIES = {
    name: getattr(keras.utils, name)
    for name in ("load_img", "img_to_array", "array_to_img", "save_img")
}


@contextlib.contextmanager
def numpy_kept():
    """Keras' iterators reseed NumPy's global generator; ours do not."""
    state = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(state)


class Replay:
    """Before one of Keras' iterators: our order, our keys."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.start_replay()

    def start_replay(self):
        self.our_seed = fresh_seed() if self.seed is None else self.seed
        self.our_epoch = -1

    def _set_index_array(self):
        self.our_epoch += 1
        stream = Stream(self.n, self.batch_size, self.our_seed, self.shuffle)
        order = stream.order(self.our_epoch, tf.range(self.n, dtype=tf.int64))
        self.index_array = order.numpy()

    def __getitem__(self, i):
        with numpy_kept():
            return super().__getitem__(i)

    def next(self):
        with numpy_kept():
            with self.lock:
                index = next(self.index_generator)
            return self._get_batches_of_transformed_samples(index)

    def __next__(self):
        return self.next()

    def _get_batches_of_transformed_samples(self, index_array):
        index = np.asarray(index_array)
        keys = draws.example_keys(self.our_seed, self.our_epoch, index)
        generator = self.image_data_generator
        if isinstance(generator, Replayed):
            generator.keys = list(keys.numpy())
        return super()._get_batches_of_transformed_samples(index_array)


class Replayed(Real):
    """Keras' class with the draws of ours."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.ours = Ours(*args, **kwargs)
        self.keys = []
        self.key = None

    def get_random_transform(self, img_shape, seed=None):
        for name in vars(self).keys() & vars(self.ours).keys():
            setattr(self.ours, name, getattr(self, name))
        if not self.keys:
            return self.ours.get_random_transform(img_shape, seed)
        self.key = self.keys.pop(0)
        drawn = self.ours.augmentation().draw(
            draws.Draws(tf.constant(self.key[None]), 0), img_shape
        )
        return {name: value.numpy()[0] for name, value in drawn.items()}

    def standardize(self, x):
        if self.key is not None:
            np.random.seed(self.key)
        return super().standardize(x)

    def flow(self, *args, **kwargs):
        return _replaying(super().flow(*args, **kwargs))

    def flow_from_directory(self, *args, **kwargs):
        return _replaying(super().flow_from_directory(*args, **kwargs))

    def flow_from_dataframe(self, *args, **kwargs):
        return _replaying(super().flow_from_dataframe(*args, **kwargs))


ITERATORS = {
    name: type(name, (Replay, getattr(keras_image, name)), {})
    for name in (
        "Iterator",
        "NumpyArrayIterator",
        "DirectoryIterator",
        "DataFrameIterator",
    )
}


def _replaying(flow):
    flow.__class__ = ITERATORS[type(flow).__name__]
    flow.start_replay()
    return flow


FUNCTIONS = {
    name: value
    for name, value in vars(keras_image).items()
    if name.startswith(("random_", "apply_"))
}
replayed = types.SimpleNamespace(
    ImageDataGenerator=Replayed, **ITERATORS, **UTILITIES, **FUNCTIONS
)
