"""Rates by step and averaged weights, beside NumPy written out."""

import helpers
import keras
import numpy as np
import pytest

from mnistpipe.evaluation import scoring
from mnistpipe.networks import models
from mnistpipe.recipes import RECIPES
from mnistpipe.training import feeding, optimizers, train

STEPS_PER_EPOCH, EPOCHS = 5, 4
ALL = STEPS_PER_EPOCH * EPOCHS
RECIPE = RECIPES["wide900k"].replace(
    epochs=EPOCHS, learning_rate=0.02, final_rate_factor=0.1
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(models, "build", helpers.tiny_network)


def half_cosine(done: np.ndarray) -> np.ndarray:
    """From 1 at 0 to 0.1 at 1."""
    return 0.1 + 0.9 * (1 + np.cos(np.pi * done)) / 2


def rates(recipe):
    rate_at = optimizers.learning_rate(recipe, STEPS_PER_EPOCH)
    return np.array([float(rate_at(step)) for step in range(ALL + 1)])


def test_cosine():
    expected = 0.02 * half_cosine(np.arange(ALL + 1) / ALL)
    np.testing.assert_allclose(
        rates(RECIPE.replace(schedule="cosine")), expected, rtol=1e-5
    )


def test_one_cycle():
    recipe = RECIPE.replace(
        schedule="one_cycle", warmup_share=0.25, initial_rate_factor=0.2
    )
    rise = 0.02 * np.linspace(0.2, 1, 6)  # 0 … 5 of 20 steps
    fall = 0.02 * half_cosine(np.arange(1, 16) / 15)
    np.testing.assert_allclose(
        rates(recipe), np.concatenate([rise, fall]), rtol=1e-5
    )


def test_a_cycle_shorter_than_its_rise_still_ends():
    recipe = RECIPE.replace(schedule="one_cycle", warmup_share=0.99, epochs=1)
    rate_at = optimizers.learning_rate(recipe, 1)
    assert float(rate_at(1)) == pytest.approx(0.002)


def test_no_epochs_have_no_schedule():
    recipe = RECIPE.replace(schedule="cosine", epochs=0)
    assert optimizers.learning_rate(recipe, STEPS_PER_EPOCH) == 0.02


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
def test_the_history_has_the_rate_of_each_epochs_last_step(tmp_path, schedule):
    """300 examples, 50 held out, 50 a step."""
    recipe = RECIPE.replace(schedule=schedule, batch_size=50)
    metrics = train.train(
        recipe, helpers.quick_options(tmp_path), helpers.few_digits()
    )
    last_steps = STEPS_PER_EPOCH * np.arange(1, EPOCHS + 1) - 1
    np.testing.assert_allclose(
        metrics.history["learning_rate"], rates(recipe)[last_steps]
    )


class Weights(keras.callbacks.Callback):
    """The weights after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.after: list[list[np.ndarray]] = []

    def on_train_batch_end(self, batch, logs=None):
        """Copies them."""
        self.after.append([np.array(w) for w in self.model.get_weights()])


def averages(first, after, momentum):
    """The formula of Keras' `ema_momentum`, in NumPy."""
    average = first
    for weights in after:
        average = [
            momentum * a + (1 - momentum) * w
            for a, w in zip(average, weights, strict=True)
        ]
    return average


def test_averaged_weights_are_kept_and_validated(tmp_path, monkeypatch):
    """Two epochs of five steps; what is kept beside an average by hand."""
    watch = Weights()
    made = []
    make_feed = feeding.make_feed

    def spied(*args):
        feed = make_feed(*args)
        made.append([np.array(w) for w in feed.model.get_weights()])
        fit = feed.model.fit
        feed.model.fit = lambda *a, callbacks, **k: fit(
            *a, callbacks=[*callbacks, watch], **k
        )
        return feed

    monkeypatch.setattr(feeding, "make_feed", spied)
    recipe = RECIPE.replace(
        epochs=2, batch_size=50, schedule="constant", ema_momentum=0.7
    )
    digits = helpers.few_digits()
    metrics = train.train(recipe, helpers.quick_options(tmp_path), digits)
    # Keras 3 begins with the weights after the first step, Keras 2 before it.
    first = watch.after[0] if hasattr(keras, "Variable") else made[0]
    expected = averages(first, watch.after, 0.7)
    last = models.load(tmp_path / "last.keras")
    for built, by_hand in zip(last.get_weights(), expected, strict=True):
        np.testing.assert_allclose(built, by_hand, atol=1e-6)
    assert not np.allclose(expected[0], watch.after[-1][0], atol=1e-4)
    # best.keras is of the epoch that it says, and was validated as it is.
    best = models.load(tmp_path / metrics.weights)
    after = watch.after[: 5 * (metrics.best_epoch + 1)]
    expected = averages(first, after, 0.7)
    for built, by_hand in zip(best.get_weights(), expected, strict=True):
        np.testing.assert_allclose(built, by_hand, atol=1e-6)
    kept = max(metrics.history["val_accuracy"])
    assert validated(best, digits) == pytest.approx(kept)


def validated(network, digits):
    from mnistpipe.recipes import RunOptions
    from mnistpipe.training import protocol

    options = RunOptions(validation_size=50, seed=1)
    held_out = protocol.split_rows(options, digits).validation
    pictures = held_out.images.astype(np.float32) / 255
    return scoring.evaluate(network, pictures, held_out.labels).accuracy


def test_averages_leave_the_training_itself_alone(tmp_path):
    """Training loss and accuracy of the same steps, averaged or not."""
    digits = helpers.few_digits()
    histories = [
        train.train(
            RECIPE.replace(
                epochs=2, batch_size=50, schedule="constant", ema_momentum=m
            ),
            helpers.quick_options(tmp_path / str(m)),
            digits,
        ).history
        for m in (0.0, 0.7)
    ]
    assert histories[0]["loss"] == histories[1]["loss"]
    assert histories[0]["val_loss"] != histories[1]["val_loss"]
