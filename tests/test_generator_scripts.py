"""Kinds of code from public repositories: import changed, nothing else.

Each script runs with ``mnistpipe.pipeline.image`` and with Keras' own module,
which is made to use the same order and draws. All images must be the same.
"""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from replayed_keras import keras, replayed

from mnistpipe.pipeline import image as ours

COUNT, BATCH, SHAPE = 20, 6, (9, 8, 3)
IS_KERAS_2 = keras.__version__.startswith("2.")
MOVING = {"rotation_range": 20, "width_shift_range": 0.1, "shear_range": 5}

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:Please import `affine_transform`:DeprecationWarning"
    ),
    pytest.mark.filterwarnings("ignore:.*turns|.*overrides"),
]


@pytest.fixture(scope="module")
def x():
    rng = np.random.default_rng(5)
    return rng.integers(0, 256, (COUNT, *SHAPE)).astype(np.uint8)


@pytest.fixture(scope="module")
def y():
    return np.eye(4, dtype=np.float32)[np.arange(COUNT) % 4]


@pytest.fixture(scope="module")
def folder(x, tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes")
    for i, picture in enumerate(x):
        path = folder / ["cats", "dogs"][i % 2] / f"{i:02}.png"
        path.parent.mkdir(exist_ok=True)
        keras.utils.save_img(path, picture, scale=False)
    return folder


def same_results(first, second):
    """Within 1e-3 of the range of values, but for 1 in 1000 values."""
    first, second = tf.nest.flatten(first), tf.nest.flatten(second)
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape
        if a.dtype.kind not in "fiub":
            np.testing.assert_array_equal(a, b)
            continue
        far = np.abs(a.astype(float) - b) > 1e-3 * max(np.ptp(b), 1e-3)
        assert np.mean(far) <= 1e-3, np.mean(far)


def taken(flow, batches):
    return [next(flow) for _ in range(batches)]


def dense(classes=4):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
    model.compile("sgd", "categorical_crossentropy")
    return model


# -- the scripts --------------------------------------------------------------


def arrays_and_fit(image, x, y, **_):
    """Keras' CIFAR-10 example: statistics by fit, then model.fit."""
    datagen = image.ImageDataGenerator(
        featurewise_center=True,
        featurewise_std_normalization=True,
        horizontal_flip=True,
        **MOVING,
    )
    datagen.fit(x)
    flow = datagen.flow(x, y, batch_size=BATCH, seed=1)
    history = dense().fit(
        flow,
        steps_per_epoch=COUNT // BATCH,
        epochs=1,
        verbose=0,
        shuffle=False,
    )
    return [datagen.mean, datagen.std, history.history["loss"]]


def manual_loop(image, x, y, **_):
    """The loop of Keras' documentation, which the script has to leave."""
    datagen = image.ImageDataGenerator(zoom_range=0.2, vertical_flip=True)
    seen, batches = [], 0
    for x_batch, y_batch in datagen.flow(x, y, batch_size=BATCH):
        seen.append((x_batch, y_batch))
        batches += 1  # noqa: SIM113
        if batches >= 2 * len(x) / BATCH:
            break
    return seen


def folders_and_predict(image, folder, **_):
    """Cats and dogs: two subsets of a folder, then predictions in order."""
    datagen = image.ImageDataGenerator(
        rescale=1.0 / 255, validation_split=0.3, horizontal_flip=True
    )
    common = {"target_size": SHAPE[:2], "batch_size": 4}
    train = datagen.flow_from_directory(
        folder, subset="training", class_mode="binary", seed=3, **common
    )
    test = image.ImageDataGenerator(rescale=1.0 / 255).flow_from_directory(
        folder, class_mode=None, shuffle=False, **common
    )
    test.reset()
    predicted = dense(2).predict(test, steps=len(test), verbose=0)
    names = {number: name for name, number in train.class_indices.items()}
    return [
        taken(train, 5),
        predicted,
        [names[number] for number in np.argmax(predicted, axis=1)],
        list(test.filenames),
    ]


def table(image, folder, **_):
    """A table of names with several columns of numbers."""
    names = sorted(str(p.relative_to(folder)) for p in folder.glob("*/*"))
    frame = pd.DataFrame({"id": names, "age": np.arange(COUNT) / 2.0})
    frame["height"] = frame["age"] * 3
    flow = image.ImageDataGenerator(rotation_range=20).flow_from_dataframe(
        frame,
        directory=folder,
        x_col="id",
        y_col=["age", "height"],
        class_mode="raw",
        target_size=SHAPE[:2],
        batch_size=BATCH,
        seed=4,
    )
    return taken(flow, 3)


def image_and_mask(image, x, folder, **_):
    """U-Net: two flows of one seed, zipped in a generator."""
    arguments = {"rotation_range": 20, "fill_mode": "reflect"}
    folders = {
        "directory": folder,
        "classes": ["cats"],
        "class_mode": None,
        "color_mode": "grayscale",
        "target_size": SHAPE[:2],
        "batch_size": 2,
        "seed": 1,
    }
    pictures = image.ImageDataGenerator(**arguments)
    masks = image.ImageDataGenerator(**arguments)

    def pairs():
        for picture, mask in zip(
            pictures.flow_from_directory(**folders),
            masks.flow_from_directory(**folders),
            strict=False,
        ):
            yield picture / 255, (mask > 127).astype("float32")

    results = taken(pairs(), 4)
    for picture, mask in results:
        np.testing.assert_array_equal(mask, picture * 255 > 127)
    return results


def preview(image, x, tmp_path, **_):
    """Keras' blog: write some versions of one picture as files."""
    datagen = image.ImageDataGenerator(horizontal_flip=True, **MOVING)
    picture = image.img_to_array(image.array_to_img(x[0], scale=False))
    seen = []
    for batch in datagen.flow(
        picture.reshape((1, *picture.shape)),
        batch_size=1,
        save_to_dir=str(tmp_path),
        save_prefix="cat",
        save_format="jpeg",
    ):
        seen.append(batch)
        if len(seen) > 4:
            break
    files = sorted(tmp_path.iterdir())
    assert all(path.name.startswith("cat_0_") for path in files)
    return [seen, len(files), image.load_img(files[0]).size]


def two_inputs(image, x, y, **_):
    """A second input beside the pictures, by two flows of one seed."""
    gen = image.ImageDataGenerator(vertical_flip=True, rotation_range=10)
    angles = np.arange(COUNT) / 10

    def gen_flow_for_two_inputs(X1, X2, y):
        genX1 = gen.flow(X1, y, batch_size=BATCH, seed=55)
        genX2 = gen.flow(X1, X2, batch_size=BATCH, seed=55)
        while True:
            X1i = genX1.next()
            X2i = genX2.next()
            np.testing.assert_array_equal(X1i[0], X2i[0])
            yield [X1i[0], X2i[1]], X1i[1]

    return taken(gen_flow_for_two_inputs(x, angles, y), 5)


def bottleneck_features(image, folder, **_):
    """Features of all pictures, batch after batch, by the count."""
    generator = image.ImageDataGenerator(rescale=1.0 / 255).flow_from_directory(
        folder, target_size=SHAPE[:2], batch_size=8, class_mode="sparse"
    )
    features, labels = np.zeros((COUNT, 3)), np.zeros(COUNT)
    i = 0
    for inputs_batch, labels_batch in generator:
        part = slice(i * 8, (i + 1) * 8)
        features[part] = inputs_batch.mean(axis=(1, 2))
        labels[part] = labels_batch
        i += 1  # noqa: SIM113
        if i * 8 >= COUNT:
            break
    return [features, labels]


def random_eraser(image, x, y, **_):
    """A preprocessing_function that draws from NumPy."""

    def eraser(picture):
        top, left = np.random.randint(0, 5), np.random.randint(0, 4)
        picture[top : top + 3, left : left + 3] = np.random.uniform(0, 255)
        return picture

    datagen = image.ImageDataGenerator(
        preprocessing_function=eraser, horizontal_flip=True
    )
    return taken(datagen.flow(x, y, batch_size=BATCH, seed=2), 5)


def skips_broken_files(image, folder, **_):
    """A subclass whose batch method leaves out what it cannot read."""

    class Careful(image.DirectoryIterator):
        def _get_batches_of_transformed_samples(self, index_array):
            good = [i for i in index_array if i % 3]
            batch = super()._get_batches_of_transformed_samples(good)
            return (*batch, np.array(self.filenames)[good])

    flow = Careful(
        str(folder),
        image.ImageDataGenerator(rotation_range=20),
        target_size=SHAPE[:2],
        batch_size=BATCH,
        seed=7,
    )
    results = taken(flow, 4)
    assert {len(x) for x, _, _ in results} <= {3, 4, 5, 1, 2}
    return results


def own_batches(image, x, y, **_):
    """A base-class iterator with its own batches, as Siamese networks use."""

    class Pairs(image.Iterator):
        def __init__(self, x, y, image_data_generator, batch_size, seed):
            self.x, self.y = x, y
            self.image_data_generator = image_data_generator
            super().__init__(len(x), batch_size, True, seed)

        def next(self):
            with self.lock:
                index_array = next(self.index_generator)
            return self._get_batches_of_transformed_samples(index_array)

        def _get_batches_of_transformed_samples(self, index_array):
            left = self.x[index_array].astype("float32")
            right = self.x[(index_array + 1) % self.n].astype("float32")
            left = np.stack(
                [self.image_data_generator.standardize(one) for one in left]
            )
            return [left, right], self.y[index_array]

    datagen = image.ImageDataGenerator(samplewise_center=True)
    return taken(Pairs(x, y, datagen, BATCH, 1), 5)


def balanced_classes(image, x, y, **_):
    """A subclass that says in which order the examples come."""

    class Balanced(image.NumpyArrayIterator):
        def _set_index_array(self):
            super()._set_index_array()
            self.index_array = np.sort(self.index_array)[::-1] // 2

    flow = Balanced(
        x, y, image.ImageDataGenerator(), batch_size=BATCH, shuffle=True
    )
    results = taken(flow, 5)
    np.testing.assert_array_equal(results[0][0][0], x[(COUNT - 1) // 2])
    return results


def parameters_for_image_and_mask(image, x, **_):
    """Parameters drawn once and applied to a picture and to its mask."""
    datagen = image.ImageDataGenerator(brightness_range=(0.5, 1.5), **MOVING)
    results = []
    for picture in x[:4]:
        picture = picture.astype("float64")
        parameters = datagen.get_random_transform(picture.shape)
        moved = datagen.apply_transform(picture, parameters)
        parameters.pop("brightness")
        mask = datagen.apply_transform(picture, parameters) > 100
        results.append((moved, mask.mean() // 0.1))
    return results


def crops_of_a_flow(image, x, y, **_):
    """A generator around a flow that crops what comes."""
    batches = image.ImageDataGenerator(horizontal_flip=True).flow(
        x, y, batch_size=BATCH, seed=1
    )

    def crops(batches, length):
        while True:
            batch_x, batch_y = next(batches)
            yield batch_x[:, 1 : 1 + length, 2 : 2 + length], batch_y

    return taken(crops(batches, 5), 5)


def from_generator(image, x, y, **_):
    """A flow inside tf.data.Dataset.from_generator."""
    datagen = image.ImageDataGenerator(horizontal_flip=True)
    dataset = tf.data.Dataset.from_generator(
        lambda: datagen.flow(x, y, batch_size=BATCH, seed=1),
        output_types=(tf.float32, tf.float32),
        output_shapes=([None, *SHAPE], [None, 4]),
    )
    return list(dataset.take(5).as_numpy_iterator())


def mean_by_hand(image, x, folder, **_):
    """ImageNet's mean written into the generator instead of fit."""
    datagen = image.ImageDataGenerator(featurewise_center=True, zoom_range=0.1)
    datagen.mean = np.array([103.939, 116.779, 123.68], dtype=np.float32)
    flow = datagen.flow_from_directory(
        folder, target_size=SHAPE[:2], class_mode="input", seed=1
    )
    return taken(flow, 2)


def functions_in_a_map(image, x, **_):
    """The module's functions inside a tf.data map."""

    def augment(picture):
        np.random.seed(int(picture[0, 0, 0]))
        axes = {"row_axis": 0, "col_axis": 1, "channel_axis": 2}
        picture = image.random_rotation(picture, 20, **axes)
        return image.random_zoom(picture, (0.8, 1.1), **axes)

    dataset = tf.data.Dataset.from_tensor_slices(x.astype("float32")[:5])
    dataset = dataset.map(
        lambda one: tf.numpy_function(augment, [one], tf.float32)
    )
    return list(dataset.as_numpy_iterator())


def standardize_on_an_instance(image, x, **_):
    """standardize replaced on one generator, as some notebooks do."""
    datagen = image.ImageDataGenerator(rotation_range=20)
    datagen.standardize = lambda picture: picture / 127.5 - 1
    return taken(datagen.flow(x, batch_size=BATCH, seed=1), 3)


SCRIPTS = [
    arrays_and_fit,
    manual_loop,
    folders_and_predict,
    table,
    image_and_mask,
    preview,
    two_inputs,
    bottleneck_features,
    random_eraser,
    skips_broken_files,
    own_batches,
    balanced_classes,
    parameters_for_image_and_mask,
    crops_of_a_flow,
    from_generator,
    mean_by_hand,
    functions_in_a_map,
    standardize_on_an_instance,
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_only_the_import_is_changed(script, x, y, folder, tmp_path):
    results = []
    state = np.random.get_state()
    for name, image in (("ours", ours), ("keras", replayed)):
        (tmp_path / name).mkdir()
        np.random.seed(3)
        results.append(
            script(image, x=x, y=y, folder=folder, tmp_path=tmp_path / name)
        )
    np.random.set_state(state)
    same_results(*results)
