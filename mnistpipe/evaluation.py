"""Scores of a network on labelled pictures.

Pictures are float32 [N, H, W, C] as the network was trained on them, without
the random part of the augmentation; labels are int64 [N] in [0, classes).
"""

import dataclasses
from typing import Any

import numpy as np

BATCH_SIZE = 500  # large enough to keep the cores busy, small enough for memory


@dataclasses.dataclass(frozen=True)
class ClassScore:
    """One class: how many examples there are, how many were recognised."""

    label: int
    examples: int
    correct: int
    accuracy: float | None  # None without examples


@dataclasses.dataclass(frozen=True)
class Scores:
    """Accuracy and mean cross-entropy (nats, no label smoothing)."""

    examples: int
    correct: int
    accuracy: float
    loss: float
    per_class: tuple[ClassScore, ...]


def evaluate(network: Any, pictures: np.ndarray, labels: np.ndarray) -> Scores:
    """Scores a network that answers with probabilities."""
    probabilities = network.predict(pictures, batch_size=BATCH_SIZE, verbose=0)
    return score(probabilities, labels)


def score(probabilities: np.ndarray, labels: np.ndarray) -> Scores:
    """Scores probabilities float [N, classes] against labels int [N].

    The network of a run that diverged answers NaN: such an answer is wrong,
    whatever its argmax, and makes the loss NaN.
    """
    classes = probabilities.shape[1]
    answered = np.isfinite(probabilities).all(axis=1)
    right = answered & (probabilities.argmax(axis=1) == labels)
    examples = np.bincount(labels, minlength=classes)
    correct = np.bincount(labels[right], minlength=classes)
    return Scores(
        examples=len(labels),
        correct=int(correct.sum()),
        accuracy=float(correct.sum() / len(labels)),
        loss=_cross_entropy(probabilities, labels),
        per_class=tuple(
            ClassScore(label, int(n), int(c), float(c / n) if n else None)
            for label, (n, c) in enumerate(zip(examples, correct, strict=True))
        ),
    )


def _cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    # Here, not above: scikit-learn takes a second to import.
    from sklearn import metrics

    if not np.isfinite(probabilities).all():
        return float("nan")
    classes = range(probabilities.shape[1])
    return float(metrics.log_loss(labels, probabilities, labels=list(classes)))
