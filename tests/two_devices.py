"""What test_devices.py has a process with two CPU devices check.

    TF_ENABLE_ONEDNN_OPTS=0 pytest -n0 two_devices.py

Two are one that is divided; that has to be before TensorFlow begins. oneDNN
mistakes one's convolutions for the other's (TensorFlow 2.15 and 2.21).
"""

import helpers
import keras
import numpy as np
import pytest
import tensorflow as tf
import test_resume

from mnistpipe.errors import UserError
from mnistpipe.networks import models
from mnistpipe.recipes import RecipeError
from mnistpipe.training import distribution, feeding, protocol

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)
# 123 examples: 5 steps of an epoch, the last of 3, which are 2 and 1.
EXAMPLES = 123
RECIPE = helpers.quick_recipe(
    batch_size=30, dropout=0, output_dropout=0, noise=0.1, learning_rate=0.003
)
PATHS = ("host", "device")


def feed_of(recipe, tmp_path, network, **options):
    digits = helpers.few_digits()
    small = {"train_examples": EXAMPLES, "strategy": "mirrored", **options}
    options = helpers.quick_options(tmp_path, **small)
    split = protocol.split_rows(options, digits)
    strategy = distribution.strategy(options.strategy)
    with strategy.scope():
        feed = feeding.make_feed(
            recipe, options, network(), split, digits.classes
        )
    return strategy, feed


def tiny():
    return helpers.tiny_network(helpers.quick_recipe(), (28, 28, 1), 10)


def narrow():
    keras.utils.set_random_seed(1)
    return helpers.network("wide900k", width=0.25, dropout=0, output_dropout=0)


def test_the_devices():
    assert distribution.names() == ["/device:CPU:0", "/device:CPU:1"]
    assert [distribution.number(name) for name in ("one", "mirrored")] == [1, 2]


@pytest.mark.parametrize("batch_size", [40, 33])
@pytest.mark.parametrize("path", PATHS)
def test_each_global_batch_is_cut_by_position(tmp_path, path, batch_size):
    """As `fit` does it, beside the batches of one device."""
    recipe = RECIPE.replace(batch_size=batch_size)
    strategy, feed = feed_of(recipe, tmp_path, tiny, input=path)
    assert strategy.num_replicas_in_sync == 2
    steps = feed.stream.steps_per_epoch
    dataset = feed.batches(0, 2 * steps)
    cut = strategy.experimental_distribute_dataset(dataset)
    seen = []
    for whole, batch in zip(dataset, cut, strict=True):
        expected = tf.nest.flatten(whole)
        first, second = zip(
            *map(strategy.experimental_local_results, flat(batch)), strict=True
        )
        length = len(expected[0])
        assert len(first[0]) == -(-length // 2)
        for *parts, value in zip(first, second, expected, strict=True):
            np.testing.assert_array_equal(np.concatenate(parts), value)
        seen.extend(np.concatenate([first[0], second[0]]).tolist())
    assert len(seen) == 2 * EXAMPLES
    if path == "device":  # each index once per epoch
        for epoch in (seen[:EXAMPLES], seen[EXAMPLES:]):
            assert sorted(epoch) == list(range(EXAMPLES))
        assert seen[:EXAMPLES] != seen[EXAMPLES:]


def flat(batch):
    """A batch's members; flattened by TensorFlow, each were its parts."""
    inputs, targets = batch
    return [*(inputs if isinstance(inputs, tuple) else [inputs]), targets]


def test_each_device_reads_its_own_copy(tmp_path):
    """Told apart by painting the second one black."""
    strategy, feed = feed_of(RECIPE, tmp_path, tiny, input="device")
    resident = feed.model.get_layer("resident")
    places = [copy.device for copy in resident._copies]
    assert [place[-5:] for place in places] == ["CPU:0", "CPU:1"]
    first, second = resident._copies
    np.testing.assert_array_equal(first, second)
    resident._copies = (first, tf.zeros_like(second))
    show = tf.function(
        lambda inputs: strategy.run(resident, args=(inputs,)), autograph=False
    )
    (inputs, _) = next(
        iter(strategy.experimental_distribute_dataset(feed.batches(0, 1)))
    )
    seen = [part.numpy().max() for part in show(inputs).values]
    assert seen[0] > 0.5 and seen[1] == 0


def test_the_losses_are_those_of_one_device(tmp_path):
    """Over 20 steps, without dropout and BatchNorm; batches uneven too."""
    one = history_of(RECIPE, tmp_path, strategy="one", input="host")
    two = history_of(RECIPE, tmp_path, strategy="mirrored", input="device")
    assert two.keys() == one.keys()
    for name, values in one.items():
        assert len(values) == 4
        np.testing.assert_allclose(two[name], values, rtol=1e-4)


def history_of(recipe, tmp_path, **options):
    _, feed = feed_of(recipe, tmp_path, narrow, **options)
    steps = feed.stream.steps_per_epoch
    fitted = feed.model.fit(
        feed.batches(0, 4 * steps),
        epochs=4,
        steps_per_epoch=steps,
        shuffle=False,
        validation_data=feed.validation,
        validation_batch_size=7,  # the last is one example, for one device
        verbose=0,
    )
    return fitted.history


# Whole runs


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(models, "build", test_resume.small_network)


def test_a_run_goes_on_to_the_same_end(small, tmp_path):
    """With dropout, BatchNorm and averages, from within an epoch."""
    recipe = test_resume.RECIPE.replace(
        ema_momentum=0.8, epochs=2, checkpoint="none"
    )
    options = {
        "strategy": "mirrored",
        "input": "device",
        "evaluate_test": True,
    }
    whole = test_resume.Reference(tmp_path / "whole", recipe, **options)
    assert whole.metrics.devices == 2
    assert whole.metrics.options.strategy == "mirrored"
    assert 0 <= whole.metrics.test_accuracy <= 1
    path = whole.killed_at(tmp_path / "run", 2)
    whole.check(path, test_resume.go_on(path, recipe, **options))


def test_a_run_goes_on_with_as_many_devices(small, tmp_path, monkeypatch):
    recipe = test_resume.RECIPE.replace(epochs=1)
    test_resume.run(tmp_path, recipe, strategy="mirrored")
    longer = recipe.replace(epochs=2)
    monkeypatch.setattr(distribution, "names", lambda: ["/device:CPU:0"])
    with pytest.raises(UserError, match=r"expected the 2 devices .* got 1"):
        test_resume.go_on(tmp_path, longer, strategy="mirrored")


@pytest.mark.parametrize(
    ("batch_size", "options", "words"),
    [
        (1, {}, "each of the 2 devices, got 1 with a batch of 1"),
        (61, {}, "got 61 with a batch of 1"),  # 123 = 61 + 61 + 1
        (30, {"jit_compile": "on"}, "auto or off with 2 devices"),
    ],
)
def test_what_two_devices_cannot_share(tmp_path, batch_size, options, words):
    recipe = RECIPE.replace(batch_size=batch_size)
    with pytest.raises(RecipeError, match=words) as error:
        feed_of(recipe, tmp_path, tiny, **options)
    assert "\n" not in str(error.value)
