"""Scores against numbers worked out by hand."""

import math

import helpers
import keras
import numpy as np
import pytest

from mnistpipe import evaluation

PROBABILITIES = np.array(
    [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.25, 0.25], [0.2, 0.2, 0.6]],
    np.float32,
)


def test_scores_by_hand():
    scores = evaluation.score(PROBABILITIES, np.array([0, 1, 1, 2]))
    assert (scores.examples, scores.correct) == (4, 3)
    assert scores.accuracy == 0.75
    loss = -sum(map(math.log, (0.7, 0.8, 0.25, 0.6))) / 4
    assert scores.loss == pytest.approx(loss, rel=1e-6)
    assert [(c.examples, c.correct) for c in scores.per_class] == [
        (1, 1),
        (2, 1),
        (1, 1),
    ]
    assert [c.accuracy for c in scores.per_class] == [1.0, 0.5, 1.0]


def test_a_class_without_examples_has_no_accuracy():
    scores = evaluation.score(PROBABILITIES, np.array([0, 1, 0, 1]))
    assert scores.per_class[2].accuracy is None
    assert scores.accuracy == 0.75
    assert math.isfinite(scores.loss)


def test_an_answer_that_is_not_a_number_is_wrong():
    broken = PROBABILITIES.copy()
    broken[0] = np.nan  # whose argmax is 0, the right class
    scores = evaluation.score(broken, np.array([0, 1, 0, 2]))
    assert scores.correct == 3
    assert math.isnan(scores.loss)


def test_loss_is_keras_cross_entropy():
    rng = np.random.default_rng(7)
    raw = rng.random((200, 10)).astype(np.float32) + 1e-3
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    labels = rng.integers(0, 10, 200)
    keras_loss = keras.losses.SparseCategoricalCrossentropy()
    scores = evaluation.score(probabilities, labels)
    expected = float(keras_loss(labels, probabilities))
    assert scores.loss == pytest.approx(expected, rel=1e-5)


def test_every_picture_is_scored_once_whatever_the_batches(monkeypatch):
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    test = helpers.few_digits().test
    pictures = test.images.astype(np.float32) / 255
    monkeypatch.setattr(evaluation, "BATCH_SIZE", 33)  # does not divide 100
    scores = evaluation.evaluate(network, pictures, test.labels)
    assert scores.examples == 100
    assert scores.accuracy == helpers.accuracy(network, test)
